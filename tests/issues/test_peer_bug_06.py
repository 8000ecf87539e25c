"""A caller's cancellation counted as a failure of the server (purgatory 3.0.1; facts, section 2.6).

Three cancelled callers opened a breaker of threshold three: its ``__exit__`` takes any BaseException.
"""

import anyio
from driver_kit import FLOOD, OK, at_rest, closed_doors, make_guard

from resilience.testing import Script


def test_cancelled_callers_close_no_door(run):
    """A hundred cancelled calls say nothing about the server: nothing is restricted afterwards."""

    async def main():
        guard = make_guard()
        for _ in range(100):
            with anyio.move_on_after(0.1):
                await guard.options(deadline=50).call(Script([OK], delay=1, name="read"))
        assert closed_doors(guard) == 0
        assert await guard.options(max_wait=0).call(Script([OK], name="read")) == OK
        at_rest(guard)

    run(main)


def test_cancelled_probe_says_nothing(run):
    """A cancelled probe neither opens the door nor closes it for longer."""

    async def main():
        guard = make_guard()
        zero = anyio.current_time()
        with anyio.move_on_after(10.5):
            await guard.call(Script([FLOOD, FLOOD], delay=0.0, name="read"))
        script = Script([OK], name="read")
        assert await guard.call(script) == OK
        assert anyio.current_time() - zero == 20.0
        at_rest(guard)

    run(main)
