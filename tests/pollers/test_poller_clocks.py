"""Clocks that jump while a poller runs: laptops that sleep, clocks that are set, loops that are blocked.

The wall clock counts the time of a sleep; whether the loop's clock does is the system's choice.
"""

import asyncio
from typing import Any

import anyio
import pytest
import trio
from pollers_kit import DOWN, NEVER, Provider, make_poller, now, results

from pollers import JobExpired, JobSucceeded
from pollers.store import MemoryStore
from resilience.testing import EPOCH

NIGHT = 8 * 3600.0


class Clock:
    """Wall time that can be set, and a night that the loop's clock sees or not."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return EPOCH + anyio.current_time() + self.offset

    async def sleep(self, seconds: float, *, loop_sleeps: bool) -> None:
        """The laptop is closed and opened; to the loop it is one instant, or a jump."""
        if loop_sleeps:
            self.offset += seconds
        elif _on_trio():
            trio.lowlevel.current_clock().jump(seconds)  # type: ignore[attr-defined]
        else:
            asyncio.get_running_loop().advance(seconds)  # type: ignore[attr-defined]
        await anyio.sleep(0.0)


def _on_trio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


@pytest.mark.parametrize("loop_sleeps", [True, False])
def test_a_night_asleep(run: Any, loop_sleeps: bool) -> None:
    """What ended meanwhile is found at the next look; nobody expires unseen, and there is no burst."""
    provider, clock = Provider(), Clock()

    async def main() -> None:
        names = [provider.add(f"j{i}", at=100.0 + i) for i in range(6)]
        settings = {"max_interval": 20.0, "wall": clock}
        async with make_poller(provider.source(batch=10), **settings) as poller:
            jobs = await poller.watch_many(names, deadline=1800.0)
            await anyio.sleep(50.0)
            asked = len(provider.asked)
            await clock.sleep(NIGHT, loop_sleeps=loop_sleeps)
            woken = now()
            assert {type(event) for event in await results(jobs)} == {JobSucceeded}
            if loop_sleeps:  # for the loop nothing was: they end when they end
                assert 100.0 <= now() <= 127.0
            else:
                assert now() == woken
            assert len(provider.asked) - asked <= (now() - woken) + 1

    run(main)


@pytest.mark.parametrize("jump", [NIGHT, -NIGHT, 365 * 86_400.0, -365 * 86_400.0, 5.0, -5.0])
def test_a_clock_that_is_set(run: Any, jump: float) -> None:
    """The pace of the looks is the loop's, and so are deadlines while we run."""
    provider, clock = Provider(), Clock()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(), wall=clock) as poller:
            job = await poller.watch("a", deadline=60.0)
            await anyio.sleep(20.0)
            clock.offset = jump
            event = await job.result()
            assert (type(event), now()) == (JobExpired, 60.0)
            assert event.elapsed >= 0.0

    run(main)
    assert provider.asked_at == [*(round(0.05 + i, 3) for i in range(60)), 60.0]


@pytest.mark.parametrize("jump", [NIGHT, -NIGHT])
def test_a_clock_that_is_set_between_two_runs(run: Any, jump: float) -> None:
    """A deadline is an instant of the calendar: another run takes it as the clock now shows it."""
    provider, clock, store = Provider(), Clock(), MemoryStore()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(), wall=clock, store=store) as poller:
            await poller.watch("a", deadline=2 * NIGHT)
            await anyio.sleep(20.0)
        clock.offset = jump
        settings = {"wall": clock, "store": store, "max_interval": 600.0}
        async with make_poller(provider.source(), **settings) as poller:
            event = await (await poller.watch("a")).result()
            assert (type(event), now()) == (JobExpired, 2 * NIGHT - jump)
            assert event.elapsed >= 0.0

    run(main)


def test_a_network_that_comes_back_later_than_the_laptop(run: Any) -> None:
    """The deadline passed in the night, and the first looks fail: the grace counts from them."""
    provider, clock = Provider(), Clock()

    async def main() -> None:
        names = [provider.add(f"j{i}", at=100.0) for i in range(3)]
        async with make_poller(provider.source(batch=10), wall=clock, max_interval=4.0) as poller:
            jobs = await poller.watch_many(names, deadline=1800.0)
            await anyio.sleep(50.0)
            woken = now() + NIGHT
            provider.always = lambda _: DOWN if anyio.current_time() < woken + 20.0 else None
            await clock.sleep(NIGHT, loop_sleeps=False)
            assert {type(event) for event in await results(jobs)} == {JobSucceeded}
            assert woken + 20.0 <= now() <= woken + 24.0

    run(main)


def test_a_network_that_does_not_come_back(run: Any) -> None:
    """The final grace after the first look that failed, and not for ever."""
    provider, clock = Provider(), Clock()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(), wall=clock, final_grace=30.0) as poller:
            job = await poller.watch("a", deadline=1800.0)
            await anyio.sleep(50.0)
            woken = now() + NIGHT
            provider.always = lambda _: DOWN
            await clock.sleep(NIGHT, loop_sleeps=False)
            event = await job.result()
            assert isinstance(event, JobExpired)
            assert event.cause is not None
            assert woken + 30.0 <= now() <= woken + 31.0

    run(main)
