"""The moves of a job without an id, its intent, and the search among the videos of Memories.ai."""

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from pollers import Intent, Job, JobKey, Match, State
from pollers._core.events import event_of
from pollers._core.model import ENDED, MOVES, EventRow, NewJob
from pollers._core.step import IllegalMove, opening
from pollers._core.submit import intent_of, known_as, named, pause, refused, uncertain
from pollers._submitting import new_token, shape_of
from pollers.sources import MemoriesScrapes, MemoriesVideos, MemosFiles, MemosTasks
from pollers.sources._tagged import SLACK, find_tagged
from resilience.testing import run_virtual

TOKEN = "rp-0123456789abcdef"
KEY = JobKey("memories_ai", "api.memories.ai", "acme", "videos", TOKEN)
BORN, NOW = 1_000.0, 1_060.5


def job(state: State = State.SUBMITTING, **changes: Any) -> Job:
    plain = Job(
        rid=7, version=1, key=KEY, state=state, created_at=BORN, deadline=BORN + 600.0,
        ended_at=NOW if state in ENDED else None, data={"user": 7},
        features={"expect": 3, "name": "holiday"},
    )  # fmt: skip
    return replace(plain, **changes)


def told(move: Any) -> Any:
    row = EventRow(
        seq=1, rid=move.after.rid, version=move.after.version, shard=KEY.shard, kind="videos",
        subject=move.after.key.remote_id, type=move.type, at=move.at, data=move.data,
    )  # fmt: skip
    return event_of(row, "f" * 32)


MAKERS = {
    State.WATCHING: lambda one: named(one, "VI1", at=NOW, at_once=True),
    State.FAILED: lambda one: refused(one, "0402: no points", at=NOW),
    State.UNCERTAIN: lambda one: uncertain(one, "none", at=NOW, cause="lost"),
    State.CANCELLED: lambda one: known_as(one, job(rid=3), at=NOW),
}


@pytest.mark.parametrize("target", list(MAKERS))
@pytest.mark.parametrize("state", list(State))
def test_exactly_the_moves_of_the_table(state: State, target: State) -> None:
    """Whatever is not in it is our mistake."""
    if target in MOVES.get(state, ()):
        made = MAKERS[target](job(state))
        assert (made.after.state, made.after.version, made.at) == (target, 2, NOW)
        assert made.after.ended_at == (NOW if target.ended else None)
        assert (made.after.rid, made.after.data) == (7, {"user": 7})
    else:
        with pytest.raises(IllegalMove):
            MAKERS[target](job(state))


def test_the_table_says_all_of_it() -> None:
    """From where to where, of those that have no id."""
    assert MOVES[State.SUBMITTING] == {
        State.WATCHING, State.UNCERTAIN, State.FAILED, State.CANCELLED,
    }  # fmt: skip
    assert MOVES[State.UNCERTAIN] == {State.WATCHING, State.CANCELLED}
    assert not any(MOVES.get(state) for state in ENDED)


def test_an_intent_opens_a_row_with_its_token() -> None:
    """Version 1, submitting, the token in the place of the id."""
    made = opening(NewJob(key=KEY, state=State.SUBMITTING, created_at=BORN, data="x"), 9)
    assert (made.after.rid, made.after.version, made.after.state) == (9, 1, State.SUBMITTING)
    event = told(made)
    assert (type(event).__name__, event.subject, event.user_data) == ("JobSubmitting", TOKEN, "x")
    assert event.to_cloudevent()["type"] == "pollers.job.submitting"


@pytest.mark.parametrize(("at_once", "submitted"), [(True, NOW), (False, BORN)])
@pytest.mark.parametrize("state", [State.SUBMITTING, State.UNCERTAIN])
def test_times_count_from_the_id(state: State, at_once: bool, submitted: float) -> None:
    """The deadline, the grace and the age; a long upload takes nothing from them."""
    before = job(state, reason="none", cause="lost")
    after = named(before, "VI1", at=NOW, at_once=at_once).after
    assert (after.created_at, after.deadline, after.submitted_at) == (NOW, NOW + 600.0, submitted)
    assert (after.key.remote_id, after.reason, after.cause) == ("VI1", None, None)
    assert named(replace(before, deadline=None), "VI1", at=NOW, at_once=True).after.deadline is None


def test_watching_tells_the_token() -> None:
    """So that what came before can be put together with what comes; others have none to tell."""
    event = told(named(job(), "VI1", at=NOW, at_once=True))
    assert (event.subject, event.data()["token"]) == ("VI1", TOKEN)
    plain = told(opening(NewJob(key=KEY, created_at=BORN), 9))
    assert (plain.token, "token" in plain.data()) == (None, False)


@pytest.mark.parametrize("reason", ["several", "none", "no_search"])
def test_uncertain_tells_why_and_what_to_do(reason: str) -> None:
    """Reason, cause, candidates, and a remedy that names the row and the token."""
    found = ["VI1", "VI2"] if reason == "several" else []
    event = told(uncertain(job(), reason, at=NOW, cause="TimeoutError", candidates=found))
    assert (event.reason, event.cause, event.candidates) == (reason, "TimeoutError", tuple(found))
    assert event.data()["candidates"] == found
    assert "settle(7, remote_id=…)" in event.remedy
    assert f"or 'pollers settle {TOKEN} ID'" in event.remedy
    assert ("submit again" in event.remedy) is (reason != "several")
    assert event.to_cloudevent()["type"] == "pollers.job.uncertain"


def test_a_known_id_names_the_row_that_has_it() -> None:
    """The honest end of the other."""
    other = job(State.WATCHING, rid=3, key=replace(KEY, remote_id="VI1"))
    assert known_as(job(), other, at=NOW).data["cause"] == "VI1 is known already, as job 3"


def test_pauses_double_up_to_a_bound() -> None:
    """Seconds between searches."""
    assert [pause(n) for n in range(6)] == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert pause(10**6) == 15.0


def test_an_intent_is_read_from_its_row() -> None:
    """So a later process has the same."""
    intent = intent_of(job())
    assert intent == Intent(
        rid=7, token=TOKEN, created_at=BORN, kind="videos", account="acme", name="holiday",
        data={"user": 7},
    )  # fmt: skip
    assert intent.idempotency_key == TOKEN


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("https://a.example/cb", f"https://a.example/cb?rp={TOKEN}"),
        ("https://a.example/cb?x=1#y", f"https://a.example/cb?x=1&rp={TOKEN}#y"),
    ],
)
def test_a_callback_carries_the_token(url: str, whole: str) -> None:
    """Beside what is in the query already."""
    assert intent_of(job()).callback(url) == whole


def test_tokens_are_tags_that_nobody_else_has() -> None:
    """Letters, digits and a dash: legal as a tag, in a header and in a URL."""
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(one) == 19 and one.startswith("rp-") for one in tokens)
    assert all(set(one[3:]) <= set("0123456789abcdef") for one in tokens)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"key": "secret"}, "a mapping with key"),
        ({}, "a mapping with nothing in it"),
        (None, "None"),
        ("", "''"),
        (["secret"], "a list"),
    ],
)
def test_a_shape_tells_nothing_of_what_is_in_it(value: Any, said: str) -> None:
    """It goes into errors and events."""
    assert shape_of(value) == said


# -- the id in an answer ----------------------------------------------------------------------

VIDEO = {"videoNo": "VI1", "videoName": "x", "videoStatus": "UNPARSE", "uploadTime": "1"}
FILE = {"id": "f1", "name": "x", "sizeMB": 0.063, "status": "running"}


@pytest.mark.parametrize(
    ("source", "answer", "found"),
    [
        (MemoriesVideos, {"code": "0000", "msg": "success", "data": VIDEO}, "VI1"),
        (MemoriesVideos, VIDEO, "VI1"),
        (MemoriesVideos, {"data": {"video_no": "VI2"}}, "VI2"),
        (MemoriesVideos, {"data": None}, None),
        (MemoriesVideos, ["VI1"], None),
        (MemoriesScrapes, {"code": "0000", "data": {"taskId": "t1"}}, "t1"),
        (MemoriesScrapes, {"task_id": "t1"}, "t1"),
        (MemoriesScrapes, {"data": VIDEO}, None),
        (MemosTasks, {"code": 0, "data": {"success": True, "task_id": "t1"}}, "t1"),
        (MemosTasks, {"code": 0, "data": {"success": True}}, None),
        (MemosFiles, {"code": 0, "data": [FILE]}, "f1"),
        (MemosFiles, [FILE], "f1"),
        (MemosFiles, {"code": 0, "data": [FILE, FILE]}, None),
        (MemosFiles, {"code": 0, "data": []}, None),
        (MemosFiles, {"code": 0, "data": None}, None),
    ],
)
def test_a_source_reads_the_id(source: Any, answer: Any, found: Any) -> None:
    """Out of the documented answers, whole or their data; two files are no one job."""
    assert source.submitted_id(object.__new__(source), answer) == found


# -- the search among videos ------------------------------------------------------------------


class Deployment:
    """A list of videos, newest first, that obeys a tag or not, and shows tags or not."""

    def __init__(self, *, obeys: bool = True, shows: bool = True, size: int = 2) -> None:
        self.obeys, self.shows, self.size = obeys, shows, size
        self.videos: list[dict[str, Any]] = []
        self.asked: list[tuple[int, str]] = []

    def add(self, number: str, *tags: str, name: str = "x", at: float = NOW) -> None:
        made = {"video_no": number, "video_name": name, "create_time": str(int(at * 1000))}
        self.videos.insert(0, {**made, "tags": [*tags, "api"]})

    async def page(self, number: int, tag: str) -> Any:
        self.asked.append((number, tag))
        found = [one for one in self.videos if not self.obeys or tag in one["tags"]]
        shown = found[(number - 1) * self.size : number * self.size]
        if not self.shows:
            shown = [{k: v for k, v in one.items() if k != "tags"} for one in shown]
        pages = -(-len(found) // self.size)
        return [(one["video_no"], one) for one in shown], pages

    def find(self, **changes: Any) -> list[Match]:
        intent = dataclasses.replace(intent_of(job()), **changes)
        return run_virtual(lambda: find_tagged(self.page, intent))


@pytest.mark.parametrize("shows", [True, False])
@pytest.mark.parametrize("obeys", [True, False])
def test_a_tagged_video_is_found(obeys: bool, shows: bool) -> None:
    """By its tag where the deployment obeys it or shows it, else by its name, and then not surely."""
    here = Deployment(obeys=obeys, shows=shows)
    here.add("VI1", name="holiday", at=BORN - 3600.0)
    here.add("VI2", TOKEN, name="holiday")
    for i in range(5):
        here.add(f"VI{i + 3}")
    assert here.find() == [Match("VI2", sure=obeys or shows)]


@pytest.mark.parametrize(("obeys", "shows"), [(True, True), (True, False), (False, True)])
def test_two_with_the_tag_are_both_found(obeys: bool, shows: bool) -> None:
    """On whatever pages they are."""
    here = Deployment(obeys=obeys, shows=shows, size=1)
    for number in ("VI1", "VI2", "VI3"):
        here.add(number, TOKEN)
        here.add(f"other {number}")
    assert {one.remote_id for one in here.find()} == {"VI1", "VI2", "VI3"}


@pytest.mark.parametrize("shows", [True, False])
@pytest.mark.parametrize("obeys", [True, False])
def test_nothing_is_found_where_nothing_is(obeys: bool, shows: bool) -> None:
    """Others' videos, and our own of other intents, are none of it."""
    here = Deployment(obeys=obeys, shows=shows)
    assert here.find() == []
    here.add("VI1", "rp-ffffffffffffffff", name="other")
    here.add("VI2", name="holiday", at=BORN - SLACK - 1.0)
    assert here.find() == []


def test_a_name_is_the_last_resort() -> None:
    """With or without the extension; none was given, nothing is guessed."""
    here = Deployment(obeys=False, shows=False)
    here.add("VI1", name="holiday", at=BORN - SLACK)
    assert here.find(name="holiday.mp4") == here.find() == [Match("VI1", sure=False)]
    assert here.find(name=None) == []
    assert here.find(name="holi") == []


def test_old_pages_are_not_asked_for() -> None:
    """Where the newest come first, what is older than the intent is none of it."""
    here = Deployment(obeys=False)
    for i in range(100):
        here.add(f"old {i}", at=BORN - 10_000.0 + i)
    here.add("VI1", TOKEN)
    assert here.find() == [Match("VI1")]
    assert len(here.asked) == 1  # the first page ends before the intent
    here.videos.reverse()
    here.asked.clear()
    assert here.find() == [Match("VI1")]
    assert len(here.asked) == 51


def test_tags_may_be_one_text() -> None:
    """Separated by commas, as they are sent."""
    here = Deployment()
    here.add("VI1", TOKEN)
    here.videos[0]["tags"] = f"a, {TOKEN} ,api"
    here.obeys = False
    assert here.find() == [Match("VI1")]
