"""Rejections that are not what they seem: one call that can't pass, and a day that is over."""

import anyio
import pytest
from herd_kit import TRIPS, Crowd, make_guard, per_second

from resilience import QuotaError
from resilience.testing import FixedWindow, InFlight, run_virtual

OTHERS = 20
REGAINED = {0.0: 0.9, 0.05: 0.9, 0.5: 0.4}
"""Of the goodput of before, ten seconds later."""
BUSY = {"code": "0429", "msg": "Request has exceeded the limit."}


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_call_is_rejected_for_ever(trip, seed):
    """A call that is told "busy" while others pass is at fault itself, and ends as that."""
    server = InFlight(10**9, work=0.1, trip=trip, name="search")

    async def poison():
        await anyio.sleep(trip)
        return BUSY

    async def main():
        guard = make_guard(seed).options(endpoint="search")
        crowd = Crowd(guard)
        async with anyio.create_task_group() as group:
            group.start_soon(crowd.work, server, OTHERS, 1_000_000)
            await anyio.sleep(10)
            with pytest.raises(QuotaError) as caught:
                await guard.call(poison)
            ended = anyio.current_time()
            await anyio.sleep(15)
            group.cancel_scope.cancel()
        assert caught.value.reason == "this_call"
        assert crowd.failures == []
        return ended

    ended = run_virtual(main, seed=seed)
    normal = per_second(server.log, 2, 10)
    assert ended <= 10 + 10
    # each of its attempts closes the door for seconds, but never for good
    assert per_second(server.log, 10, max(ended, 11)) >= 1.0
    assert per_second(server.log, ended + 10, ended + 15) >= REGAINED[trip] * normal


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_several_calls_are_rejected_for_ever(seed):
    """They don't take turns at the closed door while those whom it would open for wait behind."""
    server = InFlight(10**9, work=0.1, trip=0.05, name="search")

    async def poison():
        await anyio.sleep(0.05)
        return BUSY

    async def main():
        guard = make_guard(seed).options(endpoint="search")
        bad, crowd = Crowd(guard), Crowd(guard)
        async with anyio.create_task_group() as group:
            group.start_soon(crowd.work, server, OTHERS, 1_000_000)
            await anyio.sleep(10)
            with anyio.fail_after(40):
                await bad.work(server, 3, call=lambda: guard.call(poison))
            group.cancel_scope.cancel()
        assert [error.reason for error in bad.failures] == ["this_call"] * 3
        assert crowd.failures == []

    run_virtual(main, seed=seed)


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("seed", [0, 1])
def test_daily_cap_looks_like_a_busy_second(trip, seed):
    """What does not clear in minutes is an empty account: everybody is told, and nobody asks."""
    server = FixedWindow(100, trip=trip, name="search")

    async def main():
        guard = make_guard(seed)
        crowds = [Crowd(guard) for _ in range(OTHERS)]

        async def one(crowd):
            while not crowd.failures:
                await crowd.one(lambda: guard.call(server))
                await anyio.sleep(0.5)

        async with anyio.create_task_group() as group:
            for crowd in crowds:
                group.start_soon(one, crowd)
            await anyio.sleep(10)
            server.units = 0
        ended = anyio.current_time()
        assert [crowd.failures[0].reason for crowd in crowds] == ["exhausted"] * OTHERS
        asked = len(server.log)
        for _ in range(100):
            with pytest.raises(QuotaError) as caught:
                await guard.call(server)
            assert (caught.value.reason, caught.value.attempts) == ("exhausted", 0)
            assert caught.value.resume_at is not None
        assert len(server.log) == asked
        assert anyio.current_time() == ended
        return ended

    ended = run_virtual(main, seed=seed)
    assert ended <= 10 + 180 + 35
    assert sum(at >= 10 for at, _ in server.log) <= 2 * OTHERS
