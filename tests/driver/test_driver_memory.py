"""What a call holds while it waits to be let in: it may be one of a hundred thousand."""

import asyncio
import gc
import sys
import tracemalloc

import pytest
from driver_kit import LOCKED, at_rest, make_guard

from resilience import QuotaError
from resilience.testing import Script

WAITERS = 5_000


async def per_task(make) -> float:
    """Bytes that each of so many tasks holds, when all of them have come to a stand."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tasks = [asyncio.create_task(make()) for _ in range(WAITERS)]
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return held / WAITERS


async def alone():
    """What the least task holds that waits for something of its own."""
    await asyncio.get_running_loop().create_future()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "most"),
    [
        pytest.param({"max_wait": None}, 1_536, id="for ever"),
        pytest.param({"max_wait": 7200.0, "deadline": 9000.0}, 1_664, id="with limits"),
    ],
)
def test_bytes_of_a_call_that_waits(options, most):
    """A call that waits for its first attempt takes at most 1.5 KB beyond a task that waits anyway."""

    async def main():
        guard = make_guard()
        script = Script([LOCKED], name="read")
        with pytest.raises(QuotaError):
            await guard.options(max_wait=0).call(script)
        patient = guard.options(**options)
        bare = await per_task(alone)
        ours = await per_task(lambda: patient.call(script))
        assert script.calls == 1
        at_rest(guard)
        return ours - bare

    traced = sys.gettrace()
    sys.settrace(None)  # whoever measures coverage makes every frame larger
    try:
        assert 0 < asyncio.run(main()) <= most
    finally:
        sys.settrace(traced)
