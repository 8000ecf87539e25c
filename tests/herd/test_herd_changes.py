"""What a guard has learned must not be for ever, and nobody may rely on being alone."""

import statistics

import anyio
import pytest
from herd_kit import TRIPS, Crowd, make_guard, per_second, phase

from resilience.testing import FixedWindow, run_virtual

NEARLY = 0.85
WINDOWS = 5
"""A second each."""

WASTE = {0.0: 0.03, 0.05: 0.06, 0.5: 0.15}

# -- a limit that changes -------------------------------------------------------------------------


def changing(units: list[float], *, each: float, trip: float, seed: int) -> FixedWindow:
    """Keep a server busy whose limit changes after ``each`` seconds."""
    server = FixedWindow(units[0], trip=trip, name="search")

    async def main():
        crowd = Crowd(make_guard(seed))
        async with anyio.create_task_group() as group:
            group.start_soon(crowd.work, server, 3 * int(max(units)), 1_000_000)
            for limit in units:
                server.units = limit
                await anyio.sleep(each)
            group.cancel_scope.cancel()
        assert crowd.failures == []

    run_virtual(main, seed=seed)
    return server


def settled(server: FixedWindow, since: float, limit: float) -> int:
    """Windows after a change until three in a row carry nearly the new limit."""
    for windows in range(20):
        start = since + windows
        if per_second(server.log, start, start + 3) >= NEARLY * limit:
            return windows
    return 20


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", [0, 1])
def test_limit_that_halves_and_doubles(trip, seed):
    """Whether a limit halves or doubles, the crowd is back at it a few windows later."""
    server = changing([40, 20, 40], each=20.0, trip=trip, seed=seed)
    assert settled(server, 20.0, 20) <= WINDOWS
    assert settled(server, 40.0, 40) <= WINDOWS
    assert server.rejected <= WASTE[trip] * server.accepted


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("trip", TRIPS)
def test_limit_that_halves_and_doubles_full_size(trip):
    """The same with a hundred a second."""
    server = changing([100, 50, 100], each=20.0, trip=trip, seed=1)
    assert settled(server, 20.0, 50) <= WINDOWS
    assert settled(server, 40.0, 100) <= WINDOWS
    assert server.rejected <= WASTE[trip] * server.accepted


# -- two processes of one account -----------------------------------------------------------------


def shared(tasks: int, *, trip: float, seed: int, rate: float = 100) -> tuple[float, float, float]:
    """Two guards that know nothing of each other; waste, stretch and the larger share over the
    smaller one, until the first is done."""
    server = FixedWindow(rate, phase=phase(seed), trip=trip, name="search")

    async def main():
        crowds = [Crowd(make_guard(2 * seed + side)) for side in (0, 1)]
        async with anyio.create_task_group() as group:
            for crowd in crowds:
                group.start_soon(crowd.work, server, tasks, 10)
        assert [crowd.failures for crowd in crowds] == [[], []]
        first = min(max(crowd.done_at) for crowd in crowds)
        counts = [sum(at <= first for at in crowd.done_at) for crowd in crowds]
        return anyio.current_time(), max(counts) / max(min(counts), 1)

    end, share = run_virtual(main, seed=seed)
    useful = 20 * tasks
    return server.rejected / useful, end / (useful / rate - 1 + trip), share


@pytest.mark.parametrize("trip", [0.0, 0.05])
def test_two_guards(trip):
    """Two processes share one account without starving each other, and without a word."""
    runs = [shared(60, trip=trip, seed=seed, rate=60.0) for seed in range(9)]
    wastes, stretches, shares = zip(*runs, strict=True)
    assert statistics.median(wastes) <= 0.06
    assert statistics.median(stretches) <= 1.25
    assert statistics.median(shares) <= 2.0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_guards_full_size():
    """Over a hundred seconds they waste little, and the account is used to the full."""
    runs = [shared(500, trip=0.05, seed=seed) for seed in range(5)]
    wastes, stretches, shares = zip(*runs, strict=True)
    assert statistics.median(wastes) <= 0.05
    assert statistics.median(stretches) <= 1.08
    assert statistics.median(shares) <= 1.2
