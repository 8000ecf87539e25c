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


def bytes_each(make) -> float:
    """What so many coroutines hold that have come to a stand, without the tasks that run them."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        waiting = [make() for _ in range(WAITERS)]
        for one in waiting:
            one.send(None)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    for one in waiting:
        one.close()
    return held / WAITERS


async def alone():
    """The least that waits for something of its own."""
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
        leader = asyncio.create_task(patient.call(script))
        await asyncio.sleep(0)
        bare = bytes_each(alone)
        ours = bytes_each(lambda: patient.call(script))
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        assert script.calls == 1
        at_rest(guard)
        return ours - bare

    traced = sys.gettrace()
    sys.settrace(None)  # whoever measures coverage makes every frame larger
    try:
        assert 0 < asyncio.run(main()) <= most
    finally:
        sys.settrace(traced)
