"""When to look: hazards from brackets, the worth of a look, plans, measures, and what is kept."""

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollers._core.hazard import Hazard, worth
from pollers._core.looks import EXPLORED, JITTER, Looks, shortened
from pollers._core.plan import Plan

ages = st.floats(min_value=0.0, max_value=1e6)
prices = st.floats(min_value=0.01, max_value=100.0)
draws = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


def taught(*brackets: tuple[float, float], times: int = 1) -> Looks:
    """Looks that saw jobs end between these ages."""
    looks = Looks()
    for _ in range(times):
        for seen, age in brackets:
            looks.looked({}, 0.0, seen, ended=False)
            looks.looked({}, seen, age, ended=True)
    return looks


def known(law: float, sigma: float, jobs: int = 2000) -> Hazard:
    """A table that saw many jobs of a lognormal law to the second."""
    rng, table = random.Random(1), Hazard()
    for _ in range(jobs):
        end = law * math.exp(rng.gauss(0.0, sigma))
        table.outlived(0.0, end)
        table.ended(end, end + 0.001)
    table.settle()
    return table


# -- the worth of a look ---------------------------------------------------------------------------


def test_a_look_is_worth_the_delay_that_it_saves() -> None:
    """For a hazard of 1/60 after 60 s: 60 * (e - 2) seconds by the formula, 60 s * 0.718."""
    assert worth(1.0, math.sqrt(60.0)) == pytest.approx(60.0 * (math.e - 2.0))
    assert worth(1e-9, 2.0) == pytest.approx(2.0)
    assert worth(1e-3, 2.0) == pytest.approx(
        worth(0.99e-3, 2.0), rel=1e-5
    )  # no step where it changes
    assert worth(1e9, 1.0) < math.inf


def test_with_nothing_learned_intervals_are_the_root_of_the_age() -> None:
    """The look that saves a quarter of a second on average: from ``a`` to ``(sqrt(a) + 1/2) ** 2``."""
    looks = Looks()
    for age in (4.0, 9.0, 25.0, 100.0, 900.0, 10_000.0):
        due = looks.due({}, age, price=0.25, latest=1e6)
        assert due - age == pytest.approx(math.sqrt(age) + 0.25, rel=0.06)


@given(seen=ages, price=prices, ahead=st.booleans())
def test_a_look_is_due_when_it_is_worth_its_price(seen: float, price: float, ahead: bool) -> None:
    """The index at the due age is the price, unless the latest age comes first."""
    looks = Looks()
    due = looks.due({}, seen, price=price, latest=seen + 1000.0, ahead=ahead)
    assert seen <= due <= seen + 1000.0
    if due < seen + 1000.0:
        assert looks.index({}, seen, due) == pytest.approx(price, rel=0.02)


@given(seen=st.floats(0.0, 300.0), price=prices)
def test_what_was_learned_keeps_the_price_too(seen: float, price: float) -> None:
    """The same with a table that has steep flanks."""
    due = STEEP.due(seen, price, seen + 5000.0)
    if due < seen + 5000.0:
        assert STEEP.index(seen, due) == pytest.approx(price, rel=0.05)


STEEP = known(120.0, 0.2)


@given(one=ages, other=ages, later=ages)
def test_worth_grows_with_waiting(one: float, other: float, later: float) -> None:
    """The longer since the last look, the more one is worth; a later last look makes it less."""
    first, second, third = sorted((one, other, later))
    assert STEEP.index(first, second) <= STEEP.index(first, third) + 1e-9
    assert STEEP.index(second, third) <= STEEP.index(first, third) * (1.0 + 1e-9) + 1e-9


# -- learning ----------------------------------------------------------------------------------------


def test_looks_gather_where_jobs_end() -> None:
    """After 300 jobs of about 100 s, nobody asks much before 50 s, and every few seconds at 100 s."""
    table = known(100.0, 0.15)
    first = table.due(0.0, 0.25, 1e6)
    assert 50.0 < first < 90.0
    assert table.due(100.0, 0.25, 1e6) - 100.0 < 5.0


def test_running_jobs_count() -> None:
    """A hundred jobs that go on lower the hazard of the ages that they went through."""
    some, more = Hazard(), Hazard()
    for table in (some, more):
        for _ in range(10):
            table.outlived(0.0, 60.0)
            table.ended(60.0, 70.0)
    for _ in range(100):
        more.outlived(0.0, 80.0)
    some.settle()
    more.settle()
    assert more.until(80.0)[0] < some.until(80.0)[0] / 5.0


def test_an_end_is_spread_over_its_bracket() -> None:
    """One end comes in, whole, between the two looks and nowhere else."""
    table = Hazard()
    middle = table.ended(40.0, 90.0)
    table.settle()
    assert sum(table.ends) == pytest.approx(1.0)
    assert table.weight == pytest.approx(1.0)
    assert 40.0 < middle < 90.0
    assert sum(table.lived) == pytest.approx(middle - 40.0, rel=0.05)


def test_brackets_of_many_looks_sharpen() -> None:
    """Brackets that overlap at 100 s alone: that is where the ends are believed to be."""
    looks = taught((60.0, 105.0), (95.0, 150.0), times=60)
    shares = looks._measures[0].hazard
    inside = shares.until(105.0)[0] - shares.until(95.0)[0]
    around = shares.until(95.0)[0] - shares.until(60.0)[0]
    assert inside > 2.0 * around


def test_a_plan_closes_a_wave() -> None:
    """All of the first half end by 60 s, and nothing for two minutes: one look at the end of the wave.

    The index knows only what was, and lets the last ones of the wave wait for longer.
    """
    rng, table = random.Random(2), Hazard()
    for _ in range(2000):
        end = rng.choice((40.0, 300.0)) * math.exp(rng.gauss(0.0, 0.15))
        table.outlived(0.0, end)
        table.ended(end, end + 0.001)
    table.settle()
    plan = Plan(table, 3.0)
    looks, age = [], 0.0
    while age < 300.0:
        age = plan.due(age) or table.due(age, 3.0, age + 1e5)
        looks.append(age)
    wave = [at for at in looks if at < 150.0]
    assert 2 <= len(wave) <= 4
    assert 46.0 < wave[-1] < 65.0
    assert 240.0 < looks[len(wave)]


@given(seen=st.floats(0.0, 400.0))
def test_a_plan_goes_forward(seen: float) -> None:
    """The next look comes after this one."""
    due = PLAN.due(seen)
    assert due is None or due > seen


PLAN = Plan(STEEP, 3.0)


# -- what foretells how long ---------------------------------------------------------------------------


def lived(looks: Looks, features: dict[str, object], takes: float, rng: random.Random) -> None:
    age = 0.0
    while True:
        due = looks.due(features, age, price=2.0, latest=age + 1e5)
        look = age + shortened(due - age, rng.random())
        looks.looked(features, age, look, ended=takes <= look)
        if takes <= look:
            return
        age = look


def first_look(looks: Looks, **features: object) -> float:
    return looks.due(features, 0.0, price=2.0, latest=1e6)


@pytest.mark.parametrize("name", ["duration", "size"])
def test_a_number_that_foretells_the_time_is_used(name: str) -> None:
    """Twice as long takes twice as much: time is told in that, and not before it has proved itself."""
    looks, rng = Looks(), random.Random(3)
    for i in range(300):
        length = 200.0 * math.exp(rng.gauss(0.0, 1.0))
        lived(looks, {name: length}, 0.5 * length * math.exp(rng.gauss(0.0, 0.2)), rng)
        if i == 3:
            assert looks._measure({name: 100.0})[0].name is None
    short, long = looks._measure({name: 100.0}), looks._measure({name: 1000.0})
    assert short[0].name == long[0].name == name
    assert 8.5 < long[1] / short[1] < 11.0
    assert looks._measure({})[0].name is None  # nobody told


def test_a_number_that_foretells_nothing_is_left() -> None:
    """Time is told in plain seconds for all."""
    looks, rng = Looks(), random.Random(4)
    for _ in range(300):
        lived(looks, {"size": rng.uniform(1.0, 1e9)}, 100.0 * math.exp(rng.gauss(0.0, 0.3)), rng)
    assert first_look(looks, size=10.0) == pytest.approx(first_look(looks, size=1e9), rel=0.1)


def test_outliers_do_not_bend_the_slope() -> None:
    """One job in twenty takes fifty times as long as it should."""
    looks, rng = Looks(), random.Random(5)
    for i in range(400):
        length = 200.0 * math.exp(rng.gauss(0.0, 1.0))
        takes = length * math.exp(rng.gauss(0.0, 0.2)) * (50.0 if i % 20 == 0 else 1.0)
        lived(looks, {"duration": length}, takes, rng)
    slope = next(one.slope for one in looks._measures if one.name == "duration")
    assert 0.85 < slope < 1.1


@pytest.mark.parametrize("size", [0, -1, True, "7", None, math.inf, math.nan, [1]])
def test_what_is_no_size_is_not_used(size: object) -> None:
    """Providers send anything."""
    looks = Looks()
    looks.looked({"size": size}, 0.0, 5.0, ended=True)
    assert looks.due({"size": size}, 5.0, price=0.25, latest=1e6) > 5.0


def test_kinds_are_told_apart() -> None:
    """Jobs of ten seconds and of five minutes, by the watcher's word; an unknown kind gets both."""
    looks, rng = Looks(), random.Random(6)
    for _ in range(150):
        lived(looks, {"kind": "quick"}, 10.0 * math.exp(rng.gauss(0.0, 0.2)), rng)
        lived(looks, {"kind": "slow"}, 300.0 * math.exp(rng.gauss(0.0, 0.2)), rng)
    assert first_look(looks, kind="quick") < 10.0
    assert first_look(looks, kind="slow") > 100.0
    assert first_look(looks, kind="new") < 20.0
    for i in range(100):
        looks.looked({"kind": f"k{i}"}, 0.0, 1.0, ended=True)
    assert len(looks._kinds) == 32


# -- chance ----------------------------------------------------------------------------------------------


@given(interval=st.floats(0.0, 1e6), draw=draws)
def test_intervals_are_only_ever_shortened(interval: float, draw: float) -> None:
    """By a tenth at most; three in a hundred anywhere."""
    got = shortened(interval, draw)
    assert 0.0 <= got <= interval
    if draw < 1.0 - EXPLORED:
        assert got >= (1.0 - JITTER) * interval


def test_the_explored_intervals_are_cut_evenly() -> None:
    """From the whole to next to nothing."""
    cuts = [shortened(100.0, 1.0 - EXPLORED * part) for part in (1.0, 0.75, 0.5, 0.25)]
    assert cuts == pytest.approx([100.0, 75.0, 50.0, 25.0])
    assert shortened(100.0, 0.0) == 100.0


# -- what is kept ----------------------------------------------------------------------------------------


def test_what_was_learned_can_be_kept() -> None:
    """Read back, it says the same, for every measure and kind; and it is small."""
    looks, rng = Looks(), random.Random(7)
    for _ in range(120):
        length = 60.0 * math.exp(rng.gauss(0.0, 1.0))
        lived(looks, {"duration": length, "kind": "a"}, length, rng)
    kept = looks.dump()
    again = Looks.load(kept)
    for features in ({}, {"duration": 600.0}, {"duration": 9.0, "kind": "a"}):
        for seen in (0.0, 30.0, 500.0):
            dues = [one.due(features, seen, price=1.0, latest=1e5) for one in (looks, again)]
            assert dues[0] == pytest.approx(dues[1], rel=0.15)  # what came last is settled in one
    assert again.dump() == Looks.load(again.dump()).dump()
    assert len(kept) < 50_000


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: None,
        lambda kept: b"",
        lambda kept: b"\xff\x00",
        lambda kept: b"[]",
        lambda kept: kept[: len(kept) // 2],
        lambda kept: kept.replace(b'"v":1', b'"v":2'),
        lambda kept: kept.replace(b'"slope":', b'"slop":'),
        lambda kept: kept.replace(b'"hazard":[[', b'"hazard":[[-1.0,'),
        lambda kept: kept.replace(b'"scores":[', b'"scores":[0.0,'),
        lambda kept: kept.replace(b'"moments":[', b'"moments":["x",'),
        lambda kept: kept.replace(b'"moments":[', b'"moments":[0.0,'),
    ],
)
def test_what_can_t_be_read_is_learned_anew(spoil: object) -> None:
    """Another version, half a blob, or nonsense: nothing is known, and nothing breaks."""
    kept = taught((10.0, 20.0), times=50).dump()
    assert msgspec.json.decode(kept)["v"] == 1
    looks = Looks.load(spoil(kept))  # type: ignore[operator]
    assert looks.learned == 0.0
    assert looks.due({}, 100.0, price=0.25, latest=1e6) - 100.0 == pytest.approx(10.25, rel=0.06)


# -- the world changes -----------------------------------------------------------------------------------


def test_a_world_that_turns_faster_is_noticed() -> None:
    """Every job has ended at its first look: after a few, what was learned is dropped."""
    looks = taught((110.0, 120.0), (115.0, 125.0), times=100)
    assert first_look(looks) > 100.0
    for _ in range(20):
        looks.looked({}, 0.0, 100.0, ended=True)
    assert looks.learned < 20.0
    assert first_look(looks) < 60.0


def test_a_world_that_turns_slower_is_noticed() -> None:
    """All ended at two minutes, and now at six: after a hundred, nobody looks at two minutes."""
    looks, rng = taught((110.0, 120.0), (115.0, 125.0), times=100), random.Random(8)
    for _ in range(100):
        lived(looks, {}, 360.0 * math.exp(rng.gauss(0.0, 0.05)), rng)
    assert 250.0 < first_look(looks) < 370.0
