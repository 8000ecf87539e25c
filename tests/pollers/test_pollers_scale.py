"""What a million jobs cost, by counts that do not depend on the machine: bytes, steps, statements."""

import gc
import random
import tracemalloc
from array import array
from typing import Any

import pytest

from pollers import Job, JobKey, Sighting, State
from pollers._core import calendar
from pollers._core.calendar import PART, Calendar
from pollers._core.model import Phase
from pollers._core.table import BLOCK, Index, Table
from pollers._queue import SET_ASIDE, Hand
from pollers._watch import Pace, Watch


def row(rid: int, **more: Any) -> Job:
    key = JobKey("custom", "local", "default", "jobs", f"VI{400_000_000_000_000_000 + rid:018d}")
    given = {"version": 1, "state": State.WATCHING, "created_at": 0.0, **more}
    return Job(rid=rid, key=key, **given)


def running(name: str, **features: Any) -> Sighting:
    return Sighting(remote_id=name, phase=Phase.PENDING, status="UNPARSE", features=features)


# -- memory ---------------------------------------------------------------------------------------


def held_by(jobs: int) -> int:
    """Bytes of a watch with so many jobs, each of which was looked at once."""
    gc.collect()
    tracemalloc.start()
    try:
        watch = Watch(Pace(), 200, lambda: 0.0)
        for rid in range(1, jobs + 1):
            watch.add(row(rid, deadline=9e9, status="UNPARSE"), now=5.0, wall=1.0, first_look=5.05)
        for at in range(jobs // 200):
            now = 6.0 + at / 5.0
            picked = watch.pick(hand := Hand(), 200, now=now)
            seen = {one: running(one, duration=30.0 + at, size=now) for one in picked}
            assert watch.saw(hand, seen, now=now, wall=now) == []
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_a_job_takes_230_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its id of 20 characters and a length of its own; the rest of a watch is small."""
    monkeypatch.setattr(calendar, "PART", 64)  # what is opened at once is many of so few
    few, many = held_by(1_000), held_by(6_000)
    assert (many - few) / 5_000 <= 230.0
    assert few <= 600_000


def test_slots_are_used_again() -> None:
    """Ten generations of jobs take as many slots as one."""
    table = Table()
    for generation in range(10):
        rids = range(1 + 500 * generation, 501 + 500 * generation)
        for rid in rids:
            table.add(row(rid), born=0.0, deadline=1.0)
        assert list(table) == list(rids)
        for rid in rids:
            assert table.pop(rid)
    assert (len(table), len(table.rid)) == (0, 512)


def test_a_slot_tells_nothing_of_the_job_before() -> None:
    """All of it is written anew."""
    table = Table(("expect",))
    first = table.add(
        row(1, version=2, status="x", looks=7, features={"duration": 3.0, "kind": "a", "expect": 2}),
        born=5.0, deadline=9.0,
    )  # fmt: skip
    assert first.features == {"duration": 3.0, "kind": "a", "expect": 2}
    first.odd = True
    table.pop(1)
    second = table.add(row(2), born=6.0, deadline=8.0)
    assert (first.is_live, second.is_live, second.slot) == (False, True, first.slot)
    assert (second.features, second.status, second.looks, second.odd) == ({}, None, 0, False)
    assert (second.teaches, second.missing_since, second.alive_at) == (True, 6.0, 6.0)


def test_what_can_foretell_nothing_is_not_held() -> None:
    """Sizes that are no numbers above 0, and facts that no look needs."""
    table = Table()
    for rid, size in enumerate((0, -1.0, True, "12", float("inf"), None), 1):
        one = table.add(row(rid, features={"size": size, "fps": 30}), born=0.0, deadline=1.0)
        assert one.features == {}


# -- the index ------------------------------------------------------------------------------------


def test_the_index_is_a_dict() -> None:
    """Row ids that come in order, late, and go at random; blocks are cut and dropped."""
    rng, index, model = random.Random(1), Index(), dict[int, int]()
    late = rng.sample(range(1, 20_000), 6_000)
    for rid in [*range(20_000, 30_000), *late]:
        index.put(rid, rid % 97)
        model[rid] = rid % 97
    assert list(index) == sorted(model)
    for rid in rng.sample(sorted(model), 15_000):
        assert index.pop(rid) == model.pop(rid)
        assert index.pop(rid) is None
    assert (list(index), len(index)) == (sorted(model), len(model))
    assert all(index.find(rid) == model.get(rid) for rid in range(31_000))
    assert max(len(block) for block in index._rids) <= 2 * BLOCK
    for rid in list(model):
        index.pop(rid)
    assert (index._rids, index.find(1)) == ([], None)


# -- the calendar ---------------------------------------------------------------------------------


class Diary:
    """A calendar and where each slot should be."""

    def __init__(self, slots: int) -> None:
        self.at = [float("nan")] * slots
        self.steps = 0
        self.calendar = Calendar(self._instant, array("q", range(1, slots + 1)))

    def _instant(self, slot: int) -> float:
        self.steps += 1
        return self.at[slot]

    def put(self, slot: int, at: float) -> None:
        self.at[slot] = at
        self.calendar.add(slot, at)

    def take(self) -> tuple[float, int]:
        at = self.calendar.first()
        slot = self.calendar.take()
        assert self.at[slot] == at
        self.at[slot] = float("nan")
        return at, slot

    def left(self) -> list[tuple[float, int]]:
        return sorted((at, slot) for slot, at in enumerate(self.at) if at == at)


def test_a_calendar_is_a_sorted_list() -> None:
    """Slots that move about, leave, come back to the same day, and are taken in between."""
    rng, diary = random.Random(2), Diary(300)
    for _ in range(6_000):
        slot = rng.randrange(300)
        match rng.randrange(4):
            case 0 if diary.left():
                expected = diary.left()[0]
                assert diary.take() == expected
            case 1:
                diary.at[slot] = float("nan")
            case _:
                diary.put(slot, rng.choice([-3.5, 0.25, 2.5, 2.75, 7.0, 90.0]) + rng.random())
    left = diary.left()
    assert [diary.take() for _ in left] == left
    assert (diary.calendar.first(), len(diary.calendar)) == (float("inf"), 0)


def test_a_crowded_day_is_opened_in_parts() -> None:
    """A hundred thousand of one second: the first is there in a few thousand steps, all in order."""
    diary = Diary(100_000)
    for slot in range(100_000):
        diary.put(slot, 5.5)
    assert diary.take() == (5.5, 0)
    assert diary.steps <= 3 * PART
    assert [slot for _, slot in (diary.take() for _ in range(99_999))] == list(range(1, 100_000))
    assert diary.steps <= 5 * 100_000


def test_what_comes_before_an_opened_day_does_not_pile_up() -> None:
    """The only job was due in an hour; then very many are due now."""
    diary = Diary(50_000)
    diary.put(49_999, 3600.0)
    assert diary.calendar.first() == 3600.0
    for slot in range(49_999):
        diary.put(slot, 1.5)
    assert len(diary.calendar._near) <= 2 * PART
    taken = [diary.take() for _ in range(50_000)]
    assert sorted(taken) == [(1.5, slot) for slot in range(49_999)] + [(3600.0, 49_999)]
    assert taken[-1] == (3600.0, 49_999)


# -- jobs that cost a request each -------------------------------------------------------------------


def test_a_crowd_of_dear_jobs_is_passed_over_once() -> None:
    """20,000 due tasks that cost a request each, and ten that do not: no pick asks for all of them."""
    asked = 0

    def dear(one: Any) -> bool:
        nonlocal asked
        asked += 1
        return one.rid > 10

    watch = Watch(Pace(grace=1000.0), 20, lambda: 0.0)
    for rid in range(1, 20_011):
        watch.add(row(rid), now=0.0, wall=0.0, first_look=0.05)
    served: list[str] = []
    most = 0
    for at in range(1, 201):
        before = asked
        picked = watch.pick(hand := Hand(), 20, now=float(at), dear=dear)
        most = max(most, asked - before)
        costly = [one.remote_id for one in hand.picked if one.rid > 10]
        assert len(costly) == 1
        served += costly
        watch.saw(hand, {}, now=float(at), wall=float(at))
        assert len(picked) == (1 if 1 < at < 100 else 11)
    assert most <= SET_ASIDE * 20 + 20 + 2
    assert len(set(served)) == 200


def test_an_odd_job_has_its_turn_among_many_dear_ones() -> None:
    """It is asked for alone, before those that were set aside, and then again after a while."""
    watch = Watch(Pace(max_interval=10.0), 20, lambda: 0.0)
    for rid in range(1, 101):
        watch.add(row(rid), now=0.0, wall=0.0, first_look=0.05)
    alone = []
    for at in range(1, 60):
        picked = watch.pick(hand := Hand(), 20, now=float(at), dear=lambda one: one.rid > 1)
        if picked == [row(1).key.remote_id]:
            alone.append(at)
            watch.failed(hand, now=float(at), retry_at=at + 10.0, odd=True)
        elif at == 1:
            assert picked[0] == row(1).key.remote_id
            watch.failed(hand, now=1.0, retry_at=11.0, odd=True)
        else:
            assert len(picked) == 1
            watch.saw(hand, {}, now=float(at), wall=float(at))
    assert alone == [11, 21, 31, 41, 51]


# -- deadlines ------------------------------------------------------------------------------------


def test_deadlines_of_jobs_that_ended_are_forgotten() -> None:
    """Also where their slots are free, or others have them by then."""
    watch = Watch(Pace(final_grace=30.0), 20, lambda: 0.0)
    for rid in range(1, 101):
        watch.add(row(rid, deadline=500.0), now=0.0, wall=0.0, first_look=0.05)
    assert watch.next_expiry() == 530.0
    for rid in range(1, 101):
        watch.remove(rid)
    watch.add(row(101, deadline=500.0), now=0.0, wall=0.0, first_look=0.05)
    assert [rid for rid, _ in watch.overdue(now=530.0, wall=530.0, blocked="down", since=0.0)] == [
        101
    ]
    watch.remove(101)
    watch.add(row(101, deadline=800.0), now=0.0, wall=0.0, first_look=0.05)
    assert watch.next_expiry() == 830.0
    assert watch.overdue(now=829.9, wall=829.9, blocked="down", since=0.0) == []
    (over,) = watch.overdue(now=830.0, wall=830.0, blocked="down", since=0.0)
    assert over[0] == 101
    assert watch.next_expiry() == float("inf")


def test_an_overdue_job_whose_look_may_come_is_waited_for() -> None:
    """Again and again, a final grace at a time, until looks do not work any more."""
    watch = Watch(Pace(final_grace=30.0), 20, lambda: 0.0)
    watch.add(row(1, deadline=100.0), now=0.0, wall=0.0, first_look=0.05)
    assert watch.overdue(now=130.0, wall=130.0, blocked=None, since=0.0) == []
    assert watch.next_expiry() == 160.0
    assert watch.overdue(now=160.5, wall=160.5, blocked=None, since=0.0) == []
    assert watch.next_expiry() == 190.5
    assert [rid for rid, _ in watch.overdue(now=190.5, wall=190.5, blocked="down", since=0.0)] == [
        1
    ]


def test_a_job_expires_once_though_its_slot_had_another_of_that_second() -> None:
    """More have their deadline in one second than are opened at once; a row is changed once."""
    watch = Watch(Pace(final_grace=30.0), 20, lambda: 0.0)
    last = PART + 100
    for rid in range(1, last + 1):
        watch.add(row(rid, deadline=10.0), now=0.0, wall=0.0, first_look=0.05)
    assert watch.next_expiry() == 40.0
    watch.remove(last)
    watch.add(row(last + 1, deadline=10.2), now=0.0, wall=0.0, first_look=0.05)
    over = [rid for rid, _ in watch.overdue(now=100.0, wall=100.0, blocked="down", since=0.0)]
    assert sorted(over) == [*range(1, last), last + 1]
