"""A server that is down for a minute: almost nobody asks, and everybody is back when it is."""

import random
import statistics

import anyio
import pytest
from herd_kit import PATIENT, TRIPS, Crowd, make_guard

from resilience.testing import Capacity, run_virtual

DOWN, UP = 60.0, 120.0
OBSERVED = 140


def outage(users: int, capacity: float, *, trip: float, seed: int) -> Capacity:
    """Users who think for a second or two between calls, from before an outage until after it."""
    server = Capacity(capacity, outages=((DOWN, UP),), trip=trip, name="search")

    async def main():
        chance = random.Random(seed)
        guard = make_guard(seed, policy=PATIENT).options(max_attempts=1000, idempotent=True)
        crowd = Crowd(guard)

        async def user(own: random.Random):
            await anyio.sleep(own.uniform(0, 2))
            while anyio.current_time() < OBSERVED:
                await crowd.one(lambda: guard.call(server))
                await anyio.sleep(own.uniform(1, 2))

        async with anyio.create_task_group() as group:
            for _ in range(users):
                group.start_soon(user, random.Random(chance.random()))
        assert crowd.failures == []

    run_virtual(main, seed=seed)
    return server


def goodput(server: Capacity) -> list[int]:
    """Requests accepted in each second."""
    seconds = [0] * (OBSERVED + 10)
    for at, ok in server.log:
        seconds[int(at)] += ok
    return seconds


def check(server: Capacity, users: int, trip: float) -> None:
    """What an outage may cost."""
    asked = sum(DOWN <= at < UP for at, _ in server.log)
    # the probes of one minute, however many wait, and what is under way when it begins
    assert asked <= 80 + users * (0.05 + trip / 1.5)
    good = goodput(server)
    steady = statistics.mean(good[30 : int(DOWN)])
    back = next(s for s, count in enumerate(good[int(UP) :]) if count >= 0.9 * steady)
    assert back <= 3
    # everybody had the same wait behind them, so the waves of their thinking are in step for a while
    after = good[int(UP) + 3 : int(UP) + 18]
    assert statistics.mean(after) >= 0.9 * steady
    assert min(after) >= 0.5 * steady


@pytest.mark.parametrize("trip", [0.05, 0.5])
def test_outage_of_a_minute(trip):
    """Few requests during it, no failure, and the usual traffic within seconds of its end."""
    check(outage(300, 240, trip=trip, seed=1), 300, trip)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("trip", TRIPS)
def test_outage_of_a_minute_full_size(trip):
    """The same with a thousand users."""
    check(outage(1000, 800, trip=trip, seed=1), 1000, trip)
