"""A total time that overshoots, measured on the wall clock: https://github.com/litl/backoff/issues/186.

``max_time=0.2`` with attempts of 0.5 s made two attempts in 1.01 s, and NTP could change that.
"""

import anyio
import pytest
from driver_kit import DOWN, EPOCH, OK, make_guard

from resilience import DeadlineExceeded
from resilience.testing import Script


def test_deadline_is_not_overshot(run):
    """The deadline ends the call at its instant, in the middle of the attempt."""

    async def main():
        zero = anyio.current_time()
        script = Script([DOWN], delay=0.5, name="read")
        with pytest.raises(DeadlineExceeded):
            await make_guard().options(deadline=0.2).call(script)
        assert (script.calls, anyio.current_time() - zero) == (1, 0.2)

    run(main)


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_jump_of_the_wall_clock_changes_no_span(run, jump):
    """Back-off and deadline are spans: a wall clock that jumps an hour moves neither."""

    async def main():
        zero = anyio.current_time()
        wall = lambda: EPOCH + (jump if anyio.current_time() > zero + 0.5 else 0.0)  # noqa: E731
        script = Script([DOWN, DOWN, OK], name="read")
        assert await make_guard(wall=wall).options(deadline=10).call(script) == OK
        assert script.asked_at == [0.0, 1.0, 3.0]

    run(main)
