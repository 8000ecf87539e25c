"""Events as rows, as classes and as CloudEvents; cursors; the schedule."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pollers
from pollers import BadCursor, Event, JobEvent
from pollers._core import schedule
from pollers._core.events import cursor_of, event_of, seq_of
from pollers._core.model import EventRow, Shard

STORE = "0123456789abcdef0123456789abcdef"
SHARD = Shard("memories_ai", "api.memories.ai", "acme")
JOB = {"v": 1, "status": "PARSE", "cause": None, "elapsed": 12.5, "looks": 3, "user_data": {"n": 1}}
STALL = {
    "code": "0402", "message": "no points", "title": "You don't have enough points",
    "remedy": "Add credits.", "resume_at": "2023-11-14T22:14:20+00:00",
}  # fmt: skip

# class name, row type, CloudEvents type, data of the row, data of the event
LOST = {"reason": "several", "candidates": ["VI1", "VI2"], "remedy": "Choose one."}
CASES = [
    ("JobSubmitting", "submitting", "pollers.job.submitting", JOB),
    ("JobUncertain", "uncertain", "pollers.job.uncertain", JOB | LOST),
    ("JobWatching", "watching", "pollers.job.watching", JOB),
    ("JobChanged", "changed", "pollers.job.changed", JOB | {"previous": "UNPARSE"}),
    ("JobSucceeded", "succeeded", "pollers.job.succeeded", JOB),
    ("JobFailed", "failed", "pollers.job.failed", JOB | {"cause": "broken file"}),
    ("JobExpired", "expired", "pollers.job.expired", JOB | {"reason": "missing"}),
    ("JobCancelled", "cancelled", "pollers.job.cancelled", JOB),
    ("PollerStalled", "stalled", "pollers.stalled", STALL),
    ("PollerResumed", "resumed", "pollers.resumed", {"stalled_for": 61.5}),
]
EACH = pytest.mark.parametrize(
    ("cls", "kind", "cloud_type", "data"), [pytest.param(*c, id=c[0]) for c in CASES]
)


def row(kind: str, data: dict[str, Any], **changes: Any) -> EventRow:
    notice = kind in ("stalled", "resumed")
    plain = {
        "seq": 41, "rid": 0 if notice else 7, "version": 3, "shard": SHARD,
        "kind": "" if notice else "videos", "subject": "acme" if notice else "VI1", "type": kind,
        "at": 1_700_000_000.25, "data": data,
    }  # fmt: skip
    return EventRow(**plain | changes)


@EACH
def test_every_event_is_made_from_its_row(cls: str, kind: str, cloud_type: str, data: Any) -> None:
    """Each row type has its class, which carries all that the row's data says."""
    event = event_of(row(kind, data), STORE)
    assert type(event) is getattr(pollers, cls)
    assert event.time == datetime(2023, 11, 14, 22, 13, 20, 250_000, tzinfo=UTC)
    assert event.data() == {key: value for key, value in data.items() if key != "v"}
    assert event_of(row(kind, data), STORE) == event


@EACH
def test_an_event_is_a_valid_cloudevent(cls: str, kind: str, cloud_type: str, data: Any) -> None:
    """CloudEvents 1.0: the required attributes, an RFC 3339 time, lower-case extension names."""
    event = event_of(row(kind, data), STORE)
    cloud = json.loads(json.dumps(event.to_cloudevent()))
    # https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#required-attributes
    assert cloud["specversion"] == "1.0"
    assert cloud["type"] == cloud_type
    assert isinstance(cloud["id"], str) and cloud["id"]
    assert cloud["source"] and urlsplit(cloud["source"]).path == cloud["source"]
    assert cloud["subject"] == event.subject != ""
    assert cloud["time"] == "2023-11-14T22:13:20.250000Z"
    assert datetime.fromisoformat(cloud["time"]).utcoffset() is not None
    assert cloud["datacontenttype"] == "application/json"
    assert all(name.isalnum() and name == name.lower() for name in cloud)
    assert cloud["data"] == event.data()
    assert cloud["cursor"] == event.cursor


def test_a_job_event_says_what_the_design_promises() -> None:
    """Source, subject, id and the keys of `data` are exactly those of the design."""
    cloud = event_of(row("succeeded", JOB), STORE).to_cloudevent()
    assert cloud["source"] == "/memories_ai/acme/videos"
    assert cloud["subject"] == "VI1"
    assert cloud["id"] == f"{STORE}:7:3"
    assert cloud["data"] == {
        "status": "PARSE", "cause": None, "elapsed": 12.5, "looks": 3, "user_data": {"n": 1},
    }  # fmt: skip
    expired = event_of(row("expired", JOB | {"reason": "missing"}), STORE)
    assert expired.to_cloudevent()["data"]["reason"] == "missing"


def test_the_source_is_a_uri_reference_whatever_the_account_is_called() -> None:
    """A name with spaces, slashes or umlauts doesn't break the CloudEvents source."""
    odd = Shard("memories_ai", "api", "Zoë & Söhne/2 ?#")
    source = event_of(row("succeeded", JOB, shard=odd), STORE).source
    assert source == "/memories_ai/Zo%C3%AB%20%26%20S%C3%B6hne%2F2%20%3F%23/videos"


def test_ids_are_stable_and_unique() -> None:
    """An id depends on store, row and version alone; notices never collide, not even with jobs."""
    one = event_of(row("succeeded", JOB), STORE)
    later = event_of(row("succeeded", JOB, seq=99), STORE)
    assert one.id == later.id
    others = [
        row("succeeded", JOB, rid=8), row("succeeded", JOB, version=4), row("stalled", STALL),
        row("stalled", STALL, shard=Shard("memories_ai", "127.0.0.1:80", "acme")),
        row("stalled", STALL, shard=Shard("custom", "api.memories.ai", "acme")),
        row("stalled", STALL, shard=Shard("memories_ai", "api.memories.ai", "7")),
    ]  # fmt: skip
    ids = {one.id, *(event_of(other, STORE).id for other in others)}
    assert len(ids) == 1 + len(others)
    assert event_of(row("succeeded", JOB), "f" * 32).id != one.id


def test_what_an_older_or_newer_version_wrote_can_be_read() -> None:
    """Fields that nobody knows any more are left out."""
    event = event_of(row("succeeded", JOB | {"v": 2, "novelty": 1}), STORE)
    assert isinstance(event, JobEvent)
    assert "novelty" not in event.data()


@given(st.integers(min_value=0, max_value=2**63))
def test_a_cursor_leads_back_to_its_number(seq: int) -> None:
    """Safe in URLs and shells, and it stands behind exactly one event."""
    cursor = cursor_of(seq, STORE)
    assert seq_of(cursor, STORE) == seq
    assert all(char.isalnum() or char in "-_" for char in cursor)


def test_the_empty_cursor_is_the_start() -> None:
    """`""` means from the first event on."""
    assert seq_of("", STORE) == 0


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "41", "garbage", "!!!", "ä", " ", "\x00", "a" * 1000,
        pytest.param(cursor_of(41, STORE)[:-1], id="cut"),
        pytest.param(cursor_of(41, STORE) + "!!", id="tail"),
        pytest.param(cursor_of(41, STORE) + "\n", id="newline"),
        pytest.param(cursor_of(-5, STORE), id="negative"),
        pytest.param(cursor_of(41, "f" * 32), id="another-store"),
        pytest.param(cursor_of(" 41", STORE), id="space"),  # type: ignore[arg-type]
        pytest.param(cursor_of("4_1", STORE), id="underscore"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_not_a_cursor_is_refused(cursor: str) -> None:
    """Garbage, what was tampered with, and another store's cursor are a BadCursor that shows it."""
    with pytest.raises(BadCursor, match="cursor"):
        seq_of(cursor, STORE)
    assert issubclass(BadCursor, ValueError)


@given(st.text(max_size=30))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """No text makes anything else than a number or a BadCursor."""
    try:
        seq = seq_of(text, STORE)
    except BadCursor:
        return
    assert text == "" or cursor_of(seq, STORE) == text


def test_events_are_frozen() -> None:
    """Nobody changes what has happened."""
    event: Event = event_of(row("succeeded", JOB), STORE)
    with pytest.raises(AttributeError):
        event.id = "x"  # type: ignore[misc]


# -- pauses -----------------------------------------------------------------------------

draws = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


@given(failures=st.integers(1, 10_000), draw=draws, hint=st.none() | st.floats(0.0, 1e6))
def test_a_failed_source_is_left_alone(failures: int, draw: float, hint: float | None) -> None:
    """At least half a second and the hint's time, at most `longest` or the hint."""
    pause = schedule.after_failure(failures, hint=hint, longest=30.0, draw=draw)
    assert max(0.5, hint or 0.0) <= pause <= max(30.0, hint or 0.0)


def test_pauses_double_up_to_the_longest() -> None:
    """0.5, 1, 2, 4, 8, 15 s with the smallest draw, twice that with the largest."""
    low = [schedule.after_failure(n, hint=None, longest=30.0, draw=0.0) for n in range(1, 8)]
    high = [schedule.after_failure(n, hint=None, longest=30.0, draw=1.0) for n in range(1, 8)]
    assert low == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert high == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
