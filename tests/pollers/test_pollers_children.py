"""A job that is made of others: when its set of children is whole, and what they add up to."""

import dataclasses
import json
from typing import Any

import pytest
from msgspec.structs import replace

from pollers import Child, Job, JobChanged, JobExpired, JobKey, JobSucceeded, Sighting, State
from pollers._core.children import Family, fold, found, is_whole, listed, still_open
from pollers._core.events import event_of
from pollers._core.model import EventRow, NewJob, Phase, Transition
from pollers._core.step import cancel, expire, opening, step

OK = Sighting(remote_id="", phase=Phase.SUCCEEDED, status="PARSE")
BAD = Sighting(remote_id="", phase=Phase.FAILED, status="FAILED", cause="codec")
BUSY = Sighting(remote_id="", phase=Phase.PENDING, status="UNPARSE")


def family(*answers: tuple[float, float, str]) -> Family:
    """What is known after these answers: when asked, when answered, and the ids, one letter each."""
    known = Family()
    for asked, now, ids in answers:
        listed(known, ids, asked=asked, now=now)
    return known


# -- is it whole? -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "expect", "settle", "whole"),
    [
        pytest.param([], None, 0.0, False, id="never-asked"),
        pytest.param([(0, 0, ""), (99, 99, "")], None, 30.0, False, id="empty-never-settles"),
        pytest.param([(0, 0, "")], 1, 0.0, False, id="empty-is-not-one"),
        pytest.param([(0, 0, "ab")], 2, 30.0, True, id="as-many-as-expected"),
        pytest.param([(0, 0, "abc")], 2, 30.0, True, id="more-than-expected"),
        pytest.param([(0, 0, "aa")], 2, 30.0, False, id="duplicates-are-one"),
        pytest.param([(0, 0, "a"), (30, 30, "a")], 5, 30.0, True, id="expected-too-many-settles"),
        pytest.param([(0, 0, "a"), (29.9, 29.9, "a")], None, 30.0, False, id="not-settled"),
        pytest.param([(0, 0, "ab"), (30, 30, "ba")], None, 30.0, True, id="order-does-not-matter"),
        pytest.param([(0, 0, "a"), (20, 20, "ab"), (49, 49, "ab")], None, 30.0, False, id="grown"),
        pytest.param([(0, 0, "a"), (20, 20, "ab"), (50, 50, "ab")], None, 30.0, True, id="settled"),
        pytest.param([(0, 0, "a"), (20, 20, ""), (31, 31, "a")], None, 30.0, False, id="it-left"),
        pytest.param([(0, 0, "a"), (20, 20, "b"), (31, 31, "b")], None, 30.0, False, id="replaced"),
        pytest.param([(0, 9, "a"), (38, 60, "a")], None, 30.0, False, id="slow-answers-count-less"),
        pytest.param([(0, 9, "a"), (39, 60, "a")], None, 30.0, True, id="arrival-to-sending"),
        pytest.param([(0, 9, "a")], None, 0.0, True, id="settle-at-once"),
    ],
)
def test_a_set_is_whole_when_expected_or_settled(
    answers: Any, expect: int | None, settle: float, whole: bool
) -> None:
    """`expect` ids are known, or a set that isn't empty hasn't changed for `settle` seconds."""
    assert is_whole(family(*answers), expect=expect, settle=settle) is whole


# -- what do they add up to? ----------------------------------------------------------------------

# children (a letter each), what is known of them, expect, settled -> phase and text
SUMS = [
    ("", {}, None, False, Phase.PENDING, "0 of 0 parsed, more may come"),
    ("", {}, 2, False, Phase.PENDING, "0 of 2 parsed"),
    ("ab", {"a": BUSY, "b": BUSY}, None, False, Phase.PENDING, "0 of 2 parsed, more may come"),
    ("ab", {"a": OK, "b": OK}, None, False, Phase.PENDING, "2 of 2 parsed, more may come"),
    ("ab", {"a": OK, "b": OK}, 3, False, Phase.PENDING, "2 of 3 parsed"),
    ("ab", {"a": OK, "b": BUSY}, None, True, Phase.PENDING, "1 of 2 parsed"),
    ("ab", {"a": OK}, None, True, Phase.PENDING, "1 of 2 parsed"),
    ("ab", {"a": OK, "b": OK}, None, True, Phase.SUCCEEDED, "2 of 2 parsed"),
    ("ab", {"a": OK, "b": OK}, 2, False, Phase.SUCCEEDED, "2 of 2 parsed"),
    ("ab", {"a": OK, "b": OK}, 5, True, Phase.SUCCEEDED, "2 of 5 parsed"),
    ("ab", {"a": OK, "b": BAD}, None, True, Phase.SUCCEEDED, "1 of 2 parsed, 1 failed"),
    ("ab", {"a": BAD, "b": BUSY}, None, True, Phase.PENDING, "0 of 2 parsed, 1 failed"),
    ("ab", {"a": BAD, "b": BAD}, None, True, Phase.FAILED, "0 of 2 parsed, 2 failed"),
    ("ab", {"a": BAD, "b": BAD}, None, False, Phase.PENDING, "0 of 2 parsed, 2 failed, more may come"),
]  # fmt: skip


@pytest.mark.parametrize(("ids", "known", "expect", "settled", "phase", "text"), SUMS)
def test_children_add_up_to_their_job(
    ids: str, known: dict[str, Sighting], expect: int | None, settled: bool, phase: Phase, text: str
) -> None:
    """Pending while one is or more may come; succeeded if one did; failed if all have."""
    one = family((0, 0, ids), (30 if settled else 1, 30 if settled else 1, ids))
    found(one, known, {}, now=30.0)
    told = fold(
        "T1", one, word="parsed", expect=expect, settle=30.0, now=31.0, grace=60.0
    )  # fmt: skip
    assert (told.phase, told.status) == (phase, text)
    assert told.cause == ("codec" if phase is Phase.FAILED else None)
    assert [child.phase for child in told.children] == [
        known[i].phase if i in known else Phase.MISSING for i in ids
    ]


@pytest.mark.parametrize(
    ("known", "later", "phase", "text"),
    [
        pytest.param("a", 59.9, Phase.PENDING, "1 of 2 parsed", id="within-grace"),
        pytest.param("a", 60.0, Phase.SUCCEEDED, "1 of 2 parsed, 1 missing", id="one-is-there"),
        pytest.param("", 60.0, Phase.MISSING, "0 of 2 parsed, 2 missing", id="none-is-there"),
    ],
)
def test_a_child_that_nobody_knows_is_waited_for_during_grace(
    known: str, later: float, phase: Phase, text: str
) -> None:
    """Then it counts as gone: neither a success nor a failure of the provider's."""
    one = family((0, 0, "ab"))
    found(one, dict.fromkeys(known, OK), {}, now=0.0)
    found(one, {}, {}, now=later)
    told = fold("T1", one, word="parsed", expect=2, settle=30.0, now=later, grace=60.0)
    assert (told.phase, told.status) == (phase, text)


def test_a_child_that_comes_back_was_never_gone() -> None:
    """The grace of a child begins anew with each absence."""
    one = family((0, 0, "a"))
    found(one, {}, {}, now=0.0)
    found(one, {"a": BUSY}, {}, now=50.0)
    found(one, {}, {}, now=70.0)
    told = fold("T1", one, word="parsed", expect=1, settle=0.0, now=120.0, grace=60.0)
    assert (told.phase, told.status) == (Phase.PENDING, "0 of 1 parsed")


def test_a_set_that_grows_keeps_what_was_known() -> None:
    """An end stays an end, and the grace of those that were absent goes on."""
    one = family((0, 0, "ab"))
    found(one, {"a": OK}, {}, now=0.0)
    listed(one, "cab", asked=50.0, now=50.0)
    assert still_open(one) == ["c", "b"]
    found(one, {"c": OK}, {}, now=50.0)
    told = fold("T1", one, word="parsed", expect=3, settle=0.0, now=60.0, grace=60.0)
    assert (told.phase, told.status) == (Phase.SUCCEEDED, "2 of 3 parsed, 1 missing")


def test_what_was_looked_up_is_the_truth_and_the_rest_is_hearsay() -> None:
    """The list's answer about children counts only for those that can't be looked up."""
    one = family((0, 0, "ab"))
    found(one, {"a": BUSY}, {"a": OK, "b": OK}, now=0.0)
    assert {i: seen.phase for i, seen in one.seen.items()} == {
        "a": Phase.PENDING, "b": Phase.SUCCEEDED,
    }  # fmt: skip
    assert still_open(one) == ["a"]


def test_an_end_is_an_end() -> None:
    """What has succeeded or failed isn't asked for again, and can't be taken back."""
    one = family((0, 0, "ab"))
    found(one, {"a": OK, "b": BAD}, {}, now=0.0)
    found(one, {"a": BUSY}, {}, now=1.0)
    assert still_open(one) == []
    assert one.seen["a"] == OK


def test_causes_are_told_once_each_and_three_at_most() -> None:
    """Fifty videos that fail for one reason are one reason."""
    one = family((0, 0, "abcdef"))
    causes = zip("abcdef", ["x", "x", None, "y", "z", "w"], strict=True)
    found(one, {i: dataclasses.replace(BAD, cause=cause) for i, cause in causes}, {}, now=0.0)
    told = fold("T1", one, word="parsed", expect=6, settle=0.0, now=0.0, grace=60.0)
    assert told.cause == "x; y; z; and 1 more"


# -- in a row, in an event --------------------------------------------------------------------------

KEY = JobKey("memories_ai", "api.memories.ai", "acme", "scrapes", "T1")
CHILDREN = (
    Sighting(remote_id="VI1", phase=Phase.SUCCEEDED, status="PARSE"),
    Sighting(remote_id="VI2", phase=Phase.FAILED, status="FAIL", cause="codec"),
    Sighting(remote_id="VI3", phase=Phase.MISSING),
)
PLAIN = [
    {"id": "VI1", "state": "succeeded", "status": "PARSE", "cause": None},
    {"id": "VI2", "state": "failed", "status": "FAIL", "cause": "codec"},
    {"id": "VI3", "state": "missing", "status": None, "cause": None},
]


def job() -> Job:
    new = NewJob(key=KEY, created_at=1_000.0, features={"expect": 3, "settle": 5.0})
    return opening(new, 7).after


def seen(phase: Phase, status: str = "1 of 3 parsed") -> Sighting:
    return Sighting(remote_id="T1", phase=phase, status=status, children=CHILDREN)


def event(made: Transition | None) -> Any:
    assert made is not None
    row = EventRow(
        seq=1, rid=7, version=made.after.version, shard=KEY.shard, kind="scrapes", subject="T1",
        type=made.type, at=made.at, data=json.loads(json.dumps(made.data)),
    )  # fmt: skip
    return event_of(row, "0" * 32)


def test_the_terminal_event_has_each_child() -> None:
    """On the class as values, in the CloudEvent as JSON; what was told at `watch` stays in the row."""
    made = step(job(), seen(Phase.SUCCEEDED), at=1_010.0, looks=3)
    ended = event(made)
    assert isinstance(ended, JobSucceeded)
    assert ended.children[1] == Child(id="VI2", state="failed", status="FAIL", cause="codec")
    assert json.loads(json.dumps(ended.to_cloudevent()))["data"]["children"] == PLAIN
    assert made is not None
    assert made.after.features == {"expect": 3, "settle": 5.0, "children": PLAIN}


def test_a_change_counts_them_and_does_not_list_them() -> None:
    """Neither in its event nor in the row: with each of n changes it would be n times n."""
    made = step(job(), seen(Phase.PENDING), at=1_010.0, looks=3)
    changed = event(made)
    assert isinstance(changed, JobChanged)
    assert (changed.status, changed.children) == ("1 of 3 parsed", ())
    assert "children" not in changed.to_cloudevent()["data"]
    assert made is not None
    assert step(made.after, seen(Phase.PENDING), at=1_011.0, looks=4) is None
    assert made.after.features == {"expect": 3, "settle": 5.0}


def test_every_end_has_the_children_that_were_known() -> None:
    """Past its deadline, missing, given up without a look, unwatched."""
    then = {"at": 1_020.0, "looks": 4}
    known = seen(Phase.PENDING).children
    ends = [
        step(job(), seen(Phase.PENDING), over=True, **then),
        step(job(), seen(Phase.MISSING), missing_for=60.0, grace=60.0, **then),
        expire(job(), "deadline", children=known, **then),
        cancel(job(), children=known, **then),
    ]
    assert [event(end).data()["children"] for end in ends] == [PLAIN] * 4
    assert [type(event(end)) for end in ends[:2]] == [JobExpired, JobExpired]
    assert {end.after.state for end in ends if end} == {State.EXPIRED, State.CANCELLED}


def test_what_a_newer_version_wrote_of_children_can_be_read() -> None:
    """Fields of a child that nobody knows are left out."""
    made = step(job(), seen(Phase.SUCCEEDED), at=1_010.0, looks=3)
    assert made is not None
    data = {**made.data, "children": [{"id": "VI1", "state": "odd", "novelty": 1}]}
    assert event(replace(made, data=data)).children == (Child(id="VI1", state="odd"),)
