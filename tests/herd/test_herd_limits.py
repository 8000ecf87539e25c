"""One guard and a crowd before each kind of limit: what it costs, and how long it takes.

*Waste* is rejected requests per useful one; *stretch* is the time it took over the time that a crowd
would need which knew the limit.  A closing may cost what one round trip carries, because nobody can
know sooner.
"""

import math
import random
from collections.abc import Callable

import anyio
import pytest
from herd_kit import RATE, TRIPS, Crowd, make_guard, phase, stampede

from resilience.testing import FixedWindow, InFlight, SlidingWindow, TokenBucket, run_virtual

SEEDS = [1]
WINDOW_WASTE = {0.0: 0.03, 0.05: 0.05, 0.5: 0.12}
"""Of 2000 calls; what the first second costs, before anything is known, is most of it."""
SLIDING_WASTE = {0.0: 0.03, 0.05: 0.05, 0.5: 0.18}
BUCKET_WASTE = {0.0: 0.03, 0.05: 0.05, 0.5: 0.20}
SLOW_WASTE = {0.0: 0.10, 0.05: 0.10, 0.5: 0.30}
HINT_WASTE = {0.0: 0.05, 0.05: 0.05, 0.5: 0.16}
SLOTS_WASTE = {0.0: 0.05, 0.05: 0.05, 0.5: 0.24}
SLOTS_STRETCH = {0.0: 1.10, 0.05: 1.20, 0.5: 1.40}
JITTER_STRETCH = {0.0: 1.25, 0.05: 1.30, 0.5: 1.90}
HINTED_SLOTS_STRETCH = {0.0: 1.25, 0.05: 1.28, 0.5: 1.45}


def drawn(seed: int) -> Callable[[], float]:
    """Durations around half a second."""
    chance = random.Random(seed)
    return lambda: chance.uniform(0.3, 0.7)


# -- so many a second -----------------------------------------------------------------------------


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_window_of_a_second(trip, seed):
    """A hundred a second that nobody was told of are found and kept up with."""
    server = FixedWindow(RATE, phase=phase(seed), trip=trip, name="search")
    herd = stampede(server, 200, 10, seed=seed)
    assert herd.failures == []
    assert herd.waste <= WINDOW_WASTE[trip]
    assert herd.end <= 1.20 * (19 + trip)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", [1])
def test_window_of_a_second_full_size(trip, seed):
    """Of ten thousand calls, 1 % is wasted besides what is under way when a door closes."""
    server = FixedWindow(RATE, phase=phase(seed), trip=trip, name="search")
    herd = stampede(server, 1000, 10, seed=seed)
    assert herd.failures == []
    assert herd.waste <= 0.01 + RATE * trip * herd.closings / 10_000
    assert herd.end <= 1.10 * (99 + trip)


@pytest.mark.parametrize("trip", TRIPS)
def test_sliding_window(trip):
    """A window without edges wastes little, and loses less than half again of the time."""
    herd = stampede(SlidingWindow(RATE, trip=trip, name="search"), 200, 10, seed=1)
    assert herd.failures == []
    assert herd.waste <= SLIDING_WASTE[trip]
    assert herd.end <= 1.50 * (19 + trip)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("trip", [0.05])
def test_sliding_window_full_size(trip):
    """Ten thousand calls through a window without edges take less than half again of what they must."""
    herd = stampede(SlidingWindow(RATE, trip=trip, name="search"), 1000, 10, seed=1)
    assert herd.failures == []
    assert herd.waste <= 0.05
    assert herd.end <= 1.45 * (99 + trip)


@pytest.mark.parametrize("trip", TRIPS)
def test_token_bucket(trip):
    """A bucket that saves a second's units is used to the full."""
    herd = stampede(TokenBucket(RATE, burst=RATE, trip=trip, name="search"), 200, 10, seed=1)
    assert herd.failures == []
    assert herd.waste <= BUCKET_WASTE[trip]
    assert herd.end <= 1.10 * (19 + trip)


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_slow_window(trip, seed):
    """Five a second: few calls tell little, so a rejection more or less weighs more."""
    server = FixedWindow(5, phase=phase(seed), trip=trip, name="search")
    herd = stampede(server, 100, 2, seed=seed)
    assert herd.failures == []
    assert herd.waste <= SLOW_WASTE[trip]
    assert herd.end <= 1.25 * (39 + trip)


# -- so many per ten seconds, and the server says how long to wait -----------------------------------


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_hint(trip, seed):
    """Who is told when to come back comes back then, and not one window is missed."""
    server = FixedWindow(50, per=10.0, hint="exact", trip=trip, name="search")
    herd = stampede(server, 500, seed=seed)
    assert herd.failures == []
    assert herd.server.rejected <= HINT_WASTE[trip] * 500
    assert herd.end <= 1.02 * (90 + trip)


# -- so many in flight ----------------------------------------------------------------------------


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_slots(trip, seed):
    """Five at the same time are found to be five."""
    herd = stampede(InFlight(5, work=0.5, trip=trip, name="search"), 200, seed=seed)
    assert herd.failures == []
    assert herd.waste <= SLOTS_WASTE[trip]
    assert herd.end <= SLOTS_STRETCH[trip] * (20 + trip)


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_slots_for_calls_of_any_length(trip, seed):
    """The same when nobody knows how long a call takes."""
    herd = stampede(InFlight(5, work=drawn(seed), trip=trip, name="search"), 200, seed=seed)
    assert herd.failures == []
    assert herd.waste <= SLOTS_WASTE[trip]
    assert herd.end <= JITTER_STRETCH[trip] * (20 + trip)


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", [0, 1])
def test_slots_with_a_hint_that_knows_no_better(trip, seed):
    """A server that always says "in a second" slows nobody down for good."""
    herd = stampede(InFlight(5, work=0.5, hint=1.0, trip=trip, name="search"), 200, seed=seed)
    assert herd.failures == []
    assert herd.waste <= SLOTS_WASTE[trip]
    assert herd.end <= HINTED_SLOTS_STRETCH[trip] * (20 + trip)


# -- tokens per minute ----------------------------------------------------------------------------

TOKENS = 6000.0
TOKEN_WASTE = {0.0: 0.15, 0.05: 0.15, 0.5: 0.30}
"""Most of it at the beginning, when what is under way is too much already."""


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("said", ["options", "using"])
@pytest.mark.parametrize("seed", [0, 2])
def test_tokens_per_minute(trip, said, seed):
    """Calls of any cost share the tokens of a minute, however the cost is told."""
    costs = random.Random(seed)
    server = FixedWindow(TOKENS, per=60.0, hint="exact", trip=trip, name="search")
    spent = []

    async def main():
        crowd = Crowd(make_guard(seed))

        async def call():
            cost = costs.uniform(20, 200)
            spent.append(cost)
            if said == "options":
                return await crowd.guard.options(cost=cost).call(server, cost=cost)
            with crowd.guard.using(cost=cost):
                return await crowd.guard.call(server, cost=cost)

        await crowd.work(server, 300, call=call)
        return crowd.failures, anyio.current_time()

    failures, end = run_virtual(main, seed=seed)
    assert failures == []
    assert server.accepted == 300
    minutes = sum(spent) / TOKENS
    assert server.rejected <= TOKEN_WASTE[trip] * 300
    assert end <= 60.0 * math.floor(minutes) + 60.0 + trip
