"""Rates, quantiles, ages and tallies: small, bounded, and right."""

import math
import random

import pytest
from pollers_kit import NEVER

from pollers._core.gauges import BUCKETS, HALF_LIFE, SPAN, Ages, Quantiles, Rate
from pollers._core.stalls import Stalls
from pollers._core.tally import Tally, delay_of
from pollers._core.turns import MOST_COUNTED
from pollers._queue import Hand
from pollers._watch import Pace, Watch

# -- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [10.0, 60.0, 600.0])
def test_a_steady_rate_is_shown_from_the_start(after):
    """Two a second are two a second, after seconds as after minutes."""
    rate = Rate()
    for i in range(int(2 * after)):
        rate.add(1, 1000.0 + i / 2)
    assert rate.per_second(1000.0 + after) == pytest.approx(2.0, rel=0.08)


def test_a_rate_forgets():
    """A minute after the last, a third is left; after an hour nothing; without any it is 0."""
    rate = Rate()
    assert rate.per_second(5.0) == 0.0
    for second in range(600):
        rate.add(5, float(second))
    assert rate.per_second(599.0 + SPAN) == pytest.approx(5.0 / math.e, rel=0.02)
    assert rate.per_second(599.0 + 3600.0) < 1e-9


def test_one_thing_is_no_storm():
    """A single one, just now, is at most one a second."""
    rate = Rate()
    rate.add(1, 7.0)
    assert rate.per_second(7.0) == 1.0


# -- quantiles ------------------------------------------------------------------------------------


def test_quantiles_are_right_to_five_percent():
    """Of a thousand lognormal values, against the sorted list."""
    chance = random.Random(3)
    values = sorted(chance.lognormvariate(1.0, 1.5) for _ in range(1000))
    quantiles = Quantiles()
    for value in chance.sample(values, 1000):
        quantiles.add(value, 0.0)
    for part, found in zip((0.5, 0.9, 0.99), quantiles.at([0.5, 0.9, 0.99]), strict=True):
        assert found == pytest.approx(values[int(part * 1000) - 1], rel=0.05)
    assert quantiles.mean == pytest.approx(sum(values) / 1000)
    assert quantiles.count(0.0) == 1000


def test_quantiles_without_values_are_none():
    """Not 0: nothing is known."""
    quantiles = Quantiles()
    assert (quantiles.at([0.5]), quantiles.mean, quantiles.count(9.0)) == ([None], None, 0.0)


def test_quantiles_forget():
    """A hundred slow ones count as one after seven half-lives; a thousand half-lives do no harm."""
    quantiles = Quantiles()
    for _ in range(100):
        quantiles.add(50.0, 0.0)
    late = 7 * HALF_LIFE
    assert quantiles.count(late) == pytest.approx(100 / 128)
    for _ in range(10):
        quantiles.add(1.0, late)
    assert quantiles.at([0.5, 0.9]) == [pytest.approx(1.0, rel=0.05)] * 2
    assert quantiles.mean == pytest.approx((100 / 128 * 50 + 10) / (100 / 128 + 10))
    for value, when in ((2.0, 1000 * HALF_LIFE), (3.0, 10_000 * HALF_LIFE)):
        quantiles.add(value, when)
        assert quantiles.at([0.5]) == [pytest.approx(value, rel=0.05)]
        assert quantiles.count(when) == pytest.approx(1.0)


@pytest.mark.parametrize(("value", "shown"), [(0.0, 0.0), (1e-9, 0.0), (1e12, 2.0**20.9)])
def test_absurd_values_have_a_bucket(value, shown):
    """Bounded: the smallest are 0, the largest are weeks."""
    quantiles = Quantiles()
    quantiles.add(value, 0.0)
    assert quantiles.at([0.5]) == [pytest.approx(shown, rel=0.1)]
    assert len(quantiles._buckets) == BUCKETS


# -- ages -----------------------------------------------------------------------------------------


def test_the_greatest_age_is_right_to_a_second():
    """Against a plain list, through a thousand random steps; and it stays small."""
    chance = random.Random(5)
    ages, held, now = Ages(), [], 100.0
    for _ in range(1000):
        now += chance.random()
        what = chance.random()
        if what < 0.4 or not held:
            held.append((now, ages.enter(now)))
        elif what < 0.7:
            i = chance.randrange(len(held))
            held[i] = (now, ages.again(held[i][1], now))
        else:
            ages.leave(held.pop(chance.randrange(len(held)))[1])
        true = now - min((at for at, _ in held), default=now)
        assert true - 1.0 <= ages.greatest(now) <= true
    assert len(ages._counts) <= len(held)
    for _, second in held:
        ages.leave(second)
    assert (ages._counts, ages.greatest(now)) == ({}, 0.0)


def test_a_million_of_one_second_are_one_entry():
    """However many there are."""
    ages = Ages()
    for _ in range(1000):
        ages.enter(3.5)
    assert ages._counts == {3: 1000}
    assert ages.greatest(10.0) == 6.0


# -- tallies --------------------------------------------------------------------------------------


def test_the_delay_of_an_end():
    """Half of what brackets it, and what the answer took."""
    assert delay_of(4.0, asked=10.0, now=10.5) == 2.5
    tally = Tally()
    tally.looked(3, [2.5, 0.5], 10.5)
    assert (tally.delays.count(10.5), tally.delays.mean) == (2.0, 1.5)


def test_fill_is_of_what_could_be_asked_for():
    """Two requests, one full and one with half of the jobs."""
    tally = Tally()
    assert tally.fill(0.0) is None
    tally.asked(200, 200, 0.0)
    assert tally.fill(0.0) == 1.0
    tally.asked(50, 100, 0.0)
    assert tally.fill(30.0) == pytest.approx(250 / 300)


def test_due_since_is_the_first_look_that_failed():
    """Until one succeeds."""
    tally = Tally()
    for now in (1.0, 2.0, 3.0):
        tally.due(now)
        tally.failed("down")
    assert (tally.due_since, tally.failures, tally.trouble) == (1.0, 3, "down")
    tally.looked(1, [], 4.0)
    assert (tally.due_since, tally.failures, tally.trouble, tally.looked_at) == (None, 0, None, 4.0)


# -- stalls ---------------------------------------------------------------------------------------


class Source:
    """A source, to a stall."""

    def __init__(self):
        self.idle = False


EMPTY, REFUSED = {"code": "empty"}, {"code": "refused"}


def test_one_account_stalls_once_and_resumes_once():
    """Each code is told once, however many sources it stops; the last one to go on ends it."""
    stalls, a, b = Stalls(), Source(), Source()
    assert stalls.works(a, 1.0) is None
    assert stalls.refused(a, EMPTY, 10.0)
    assert not stalls.refused(b, EMPTY, 11.0)
    assert not stalls.refused(a, EMPTY, 50.0)
    assert stalls.refused(b, REFUSED, 51.0)
    assert stalls.works(a, 90.0) is None
    assert (stalls.has(a), stalls.has(b), stalls.since) == (False, True, 10.0)
    assert stalls.works(b, 91.0) == 81.0
    assert (stalls.since, stalls.reasons, stalls.pressing) == (None, {}, False)
    assert stalls.refused(b, REFUSED, 99.0)


def test_a_source_without_jobs_holds_up_no_resumption():
    """It won't look, so nobody would ever hear that all is well."""
    stalls, a, b = Stalls(), Source(), Source()
    stalls.refused(a, EMPTY, 0.0)
    stalls.refused(b, EMPTY, 0.0)
    b.idle = True
    assert stalls.pressing
    assert stalls.works(a, 5.0) == 5.0


def test_a_source_that_works_sees_that_the_last_stalled_one_has_no_jobs_left():
    """Also if it was never refused itself."""
    stalls, a, b = Stalls(), Source(), Source()
    stalls.refused(b, EMPTY, 0.0)
    assert stalls.works(a, 1.0) is None
    b.idle = True
    assert not stalls.pressing
    assert stalls.works(a, 2.0) == 2.0


# -- due ------------------------------------------------------------------------------------------


def make_job(rid):
    from pollers._core.model import Job, JobKey, State

    key = JobKey("p", "d", "a", "k", f"job-{rid}")
    return Job(rid=rid, version=1, key=key, state=State.WATCHING, created_at=0.0)


def test_jobs_that_are_due_are_counted_once():
    """Also those that were moved to the ones that wait; not those that ended, nor those to come."""
    watch = Watch(Pace(), 5, lambda: 0.0)
    for rid in range(100):
        watch.add(make_job(rid), now=0.0, wall=0.0, first_look=float(rid))
    assert [watch.due(now) for now in (-1.0, 0.0, 49.0, 49.5, 1e9)] == [0, 1, 50, 50, 100]
    watch.pick(Hand(), 5, now=49.0)
    assert watch.due(49.0) == 45
    for rid in range(20, 30):
        watch.remove(rid)
    assert watch.due(49.0) == 35


def test_what_is_due_is_counted_right_through_any_history() -> None:
    """Against a plain count, with looks at random times, ends, and pages of many days."""
    chance = random.Random(11)
    watch = Watch(Pace(max_interval=30.0, grace=NEVER), 7, chance.random)
    now, rid = 0.0, 0
    for _ in range(300):
        now += chance.random() * 3
        for _ in range(chance.randrange(3)):
            rid += 1
            watch.add(make_job(rid), now=now, wall=now, first_look=now + chance.random() * 40)
        if chance.random() < 0.7:
            watch.pick(hand := Hand(), 7, now=now)
            watch.saw(hand, {}, now=now, wall=now)
        if watch.jobs and chance.random() < 0.3:
            watch.remove(chance.choice(list(watch.jobs)))
        true = sum(
            watch.jobs.at[one.slot] <= now or watch.jobs.place[one.slot] == 2
            for one in watch.jobs.values()
        )
        assert watch.due(now) == true


def test_counting_what_is_due_has_an_end():
    """A million at once must not stop the loop."""
    watch = Watch(Pace(), 200, lambda: 0.0)
    for rid in range(2 * MOST_COUNTED):
        watch.add(make_job(rid), now=0.0, wall=0.0, first_look=0.0)
    assert watch.due(1.0) == MOST_COUNTED
    assert watch.due(-NEVER) == 0
