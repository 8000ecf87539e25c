"""Figures of the job's core, worked out by hand: where being a little wrong would show nowhere else."""

import pytest
from msgspec.structs import replace

from pollers import Job, JobKey, Sighting, State
from pollers._core import schedule
from pollers._core.events import cursor_of, event_of, seq_of
from pollers._core.model import EventRow, NewJob, Phase, Shard
from pollers._core.step import cancel, expire, opening, step

KEY = JobKey("memories_ai", "api.memories.ai", "acme", "videos", "VI1")
JOB = Job(
    rid=7, version=3, key=KEY, state=State.WATCHING, status="UNPARSE", created_at=1_000.0, looks=4,
    data={"user": 7}, features={"size": 1.0},
)  # fmt: skip
ROW = EventRow(
    seq=41, rid=7, version=3, shard=Shard("memories_ai", "api.memories.ai", "ac/me"), kind="videos",
    subject="VI1", type="changed", at=1_700_000_000.25,
    data={"v": 1, "status": "X", "cause": None, "elapsed": 1.0, "looks": 3, "user_data": None},
)  # fmt: skip


def test_the_first_transition_is_the_job_as_it_was_given():
    """Version one, being watched, no look yet, not a second old."""
    new = NewJob(key=KEY, created_at=1_000.5, submitted_at=990.0, deadline=2_800.5, data={"u": 1})
    made = opening(new, 9)
    assert made.after == Job(
        rid=9, version=1, key=KEY, state=State.WATCHING, created_at=1_000.5, submitted_at=990.0,
        deadline=2_800.5, data={"u": 1},
    )  # fmt: skip
    assert (made.type, made.at) == ("watching", 1_000.5)
    assert made.data == {
        "v": 1, "status": None, "cause": None, "elapsed": 0.0, "looks": 0, "user_data": {"u": 1},
    }  # fmt: skip


def test_a_change_keeps_all_that_was_seen():
    """Status, cause and features, the old ones too; the event says what it was before."""
    seen = Sighting(
        remote_id="VI1",
        phase=Phase.PENDING,
        status="PARSING",
        cause="queue",
        features={"length": 2.0},
    )
    made = step(JOB, seen, at=1_060.25, looks=5)
    assert made is not None
    assert made.after == replace(
        JOB, version=4, status="PARSING", cause="queue", looks=5,
        features={"size": 1.0, "length": 2.0},
    )  # fmt: skip
    assert (made.type, made.at) == ("changed", 1_060.25)
    assert made.data == {
        "v": 1, "status": "PARSING", "cause": "queue", "elapsed": 60.25, "looks": 5,
        "user_data": {"user": 7}, "previous": "UNPARSE",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "state"), [(Phase.SUCCEEDED, State.SUCCEEDED), (Phase.FAILED, State.FAILED)]
)
def test_an_end_keeps_all_that_was_seen(phase, state):
    """A status that was not told is the last one known."""
    seen = Sighting(
        remote_id="VI1", phase=phase, status=None, cause="why", features={"length": 2.0}
    )
    made = step(JOB, seen, at=1_060.0, looks=5)
    assert made is not None
    assert made.after == replace(
        JOB, version=4, state=state, cause="why", looks=5, ended_at=1_060.0,
        features={"size": 1.0, "length": 2.0},
    )  # fmt: skip
    assert made.data == {
        "v": 1, "status": "UNPARSE", "cause": "why", "elapsed": 60.0, "looks": 5,
        "user_data": {"user": 7},
    }  # fmt: skip


def test_without_a_grace_the_missing_are_gone_at_once():
    """And with one when it is over, not before."""
    missing = Sighting(remote_id="VI1", phase=Phase.MISSING)
    gone = step(JOB, missing, at=1_060.0, looks=5)
    assert gone is not None
    assert (gone.after.state, gone.after.reason) == (State.EXPIRED, "missing")
    assert step(JOB, missing, at=1_060.0, looks=5, missing_for=9.5, grace=10.0) is None
    late = step(JOB, missing, at=1_060.0, looks=5, missing_for=10.0, grace=10.0)
    assert late is not None
    assert late.data["reason"] == "missing"


def test_a_deadline_keeps_the_last_status():
    """The one that was seen then, else the one before."""
    seen = Sighting(remote_id="VI1", phase=Phase.PENDING, status="PARSING")
    made = step(JOB, seen, at=1_060.0, looks=5, over=True)
    assert made is not None
    assert (made.after.status, made.after.reason) == ("PARSING", "deadline")
    assert expire(JOB, "deadline", at=1_060.0, looks=5).after.status == "UNPARSE"


def test_a_cancelled_job_ends_as_it_was():
    """No reason, no cause; the clock may have gone back."""
    made = cancel(JOB, at=900.0, looks=6)
    assert made.after == replace(JOB, version=4, state=State.CANCELLED, ended_at=900.0, looks=6)
    assert (made.type, made.data["elapsed"]) == ("cancelled", 0.0)


def test_pauses_end_to_double_after_twenty_one_failures():
    """However many there were: two to the power of twenty seconds."""
    pauses = [
        schedule.after_failure(failures, hint=None, longest=1e9, draw=1.0)
        for failures in (20, 21, 22, 5_000)
    ]
    assert pauses == [524_288.0, 1_048_576.0, 1_048_576.0, 1_048_576.0]


def test_cursors_lead_back_to_where_they_are_from():
    """Whatever letters they end with, and whatever the store is called."""
    for store in ("0123456789abcdef", "a.b.c.d.e"):
        cursors = [cursor_of(seq, store) for seq in range(300)]
        assert [seq_of(cursor, store) for cursor in cursors] == list(range(300))


def test_an_event_says_where_it_stands():
    """Its cursor leads behind it, and a slash in an account's name is no step of its source."""
    event = event_of(ROW, "0123456789abcdef")
    assert seq_of(event.cursor, "0123456789abcdef") == 41
    assert event.source == "/memories_ai/ac%2Fme/videos"
    assert event.id == "0123456789abcdef:7:3"
