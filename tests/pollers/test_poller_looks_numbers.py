"""How close our looks come to the least delay possible, by simulation: single jobs, fleets, changes."""

import random
from functools import cache
from statistics import fmean

import pytest

from bench.ours import Ours, learned, live, plan
from bench.yardstick import LAWS, PRICES, Fleet, Ground, Oracle, RoundRobin, least_delay, slower

pytestmark = pytest.mark.slow

SEEDS = range(5)


@cache
def ground(name: str) -> tuple[Ground, list[tuple[float, float]]]:
    found = Ground(LAWS[name])
    return found, found.frontier(PRICES)


def over_the_least(name: str, jobs: int, price: float) -> float:
    """Mean delay over the least delay with as many looks, on average over the seeds."""
    on, frontier = ground(name)
    ratios = []
    for seed in SEEDS:
        delay, looks = on.cost(plan(learned(LAWS[name], jobs, price, seed), price))
        ratios.append(delay / least_delay(frontier, looks))
    return fmean(ratios)


@pytest.mark.parametrize("price", [0.5, 3.0], ids=["about-ten-looks", "about-four-looks"])
@pytest.mark.parametrize("name", LAWS)
def test_looks_are_learned(name: str, price: float) -> None:
    """Within a fifth of the least delay after 200 jobs, and within a tenth after 500."""
    assert over_the_least(name, 200, price) <= 1.20
    assert over_the_least(name, 500, price) <= 1.10


def test_the_optimum_is_one() -> None:
    """No plan that we know does better than the yardstick, by more than its grid."""
    on, frontier = ground("lognormal, sigma 0.6")
    for step in (20.0, 40.0, 80.0):  # a fixed interval
        delay, looks = on.cost(step * (1 + i) for i in range(1000))
        assert delay > 1.1 * least_delay(frontier, looks)
    delay, looks = on.cost(on.best(2.0))
    assert delay == pytest.approx(least_delay(frontier, looks), rel=0.02)


def test_a_fleet_under_one_limit() -> None:
    """Four looks each, lengths known: near the oracle, and far from taking turns."""
    fleet = Fleet(until=1500.0, warm=700.0)
    ours, oracle, turns = (
        fmean(fleet.run(order)) for order in (Ours(fleet.batch), Oracle(fleet.noise), RoundRobin())
    )
    assert ours <= 1.20 * oracle
    assert turns >= 2.5 * ours


def test_a_fleet_whose_lengths_nobody_told() -> None:
    """Then there is little to gain, and nothing is lost."""
    fleet = Fleet(until=1200.0, warm=600.0)
    ours, turns = (fmean(fleet.run(o)) for o in (Ours(fleet.batch, feature=False), RoundRobin()))
    assert ours <= 1.05 * turns


@pytest.mark.parametrize("factor", [3.0, 1.0 / 3.0], ids=["slower", "faster"])
@pytest.mark.parametrize("name", LAWS)
def test_a_changed_world_is_learned_anew(name: str, factor: float) -> None:
    """Three times slower or faster: 300 ends later looks are about as good as after a fresh start.

    On the way a job waits for at most 1.5 times as long as with a fixed interval of the same cost; twice
    as long where the short half of the jobs becomes so short that it is found by the first look.
    """
    law = slower(LAWS[name], factor)
    on = Ground(law)
    frontier = on.frontier(PRICES)
    ratios, delays, counts = [], [], []
    for seed in SEEDS:
        looks, rng = learned(LAWS[name], 500, 3.0, seed), random.Random(seed)
        for _ in range(300):
            delay, count = live(looks, law.draw(rng), 3.0, rng)
            delays.append(delay)
            counts.append(count)
        delay, count = on.cost(plan(looks, 3.0))
        ratios.append(delay / least_delay(frontier, count))
    assert fmean(ratios) <= 1.25
    hard = name.startswith("bimodal") and factor < 1.0
    assert fmean(delays) <= (2.0 if hard else 1.5) * fixed(on, fmean(counts))


def fixed(on: Ground, looks: float) -> float:
    """The delay of a fixed interval that makes so many looks."""
    short, long = 0.1, 1e5
    for _ in range(40):
        step = (short * long) ** 0.5
        delay, made = on.cost(step * (1 + i) for i in range(1_000_000))
        short, long = (step, long) if made > looks else (short, step)
    return delay
