"""The event loop blocked by a synchronous sleep or lock.

https://github.com/aio-libs/aiobotocore/issues/46
and https://github.com/aio-libs/aiobotocore/issues/912.
"""

import contextlib
import threading
import time

import anyio
import pytest
from driver_kit import BUSY, DOWN, EMPTY, FLOOD, LOCKED, OK, make_guard

from resilience import ResilienceError
from resilience.testing import Script


@pytest.fixture
def no_blocking(monkeypatch):
    """Fails the test at a blocking call."""

    def forbidden(*_args, **_kwargs):
        pytest.fail("a blocking call on the event loop")

    monkeypatch.setattr(time, "sleep", forbidden)
    monkeypatch.setattr(threading, "Lock", forbidden)
    monkeypatch.setattr(threading, "RLock", forbidden)


@pytest.mark.parametrize("steps", [[DOWN, OK], [BUSY, OK], [FLOOD, OK], [LOCKED], [EMPTY]])
def test_waiting_never_blocks_the_loop(run, no_blocking, steps):
    """While calls back off or stand in front of a door, everything else on the loop goes on."""

    async def main():
        guard = make_guard()
        ticks = []

        async def call():
            with contextlib.suppress(ResilienceError):
                await guard.call(Script(steps, name="read"))

        async def tick():
            for _ in range(200):
                await anyio.sleep(0.1)
                ticks.append(1)

        began = time.perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(call)
            group.start_soon(tick)
        assert len(ticks) == 200
        assert time.perf_counter() - began < 5.0  # 20 virtual seconds

    run(main)
