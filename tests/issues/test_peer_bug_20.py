"""An empty budget makes a poll loop spin: its calls fail at once, and it calls again at once.

A retry that finds no token fails in no time; a loop around it then asks as fast as the machine can.
Here the retry waits for its token, and first attempts that fail all the time open the circuit.
"""

import anyio
import pytest
from driver_kit import DOWN, make_guard

from resilience import ResilienceError, RetryBudget

EMPTY = RetryBudget(ratio=0.0, floor=0.5, burst=1.0)


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        # each call waits for a token, so a call takes two seconds and is two requests
        pytest.param({"budget": EMPTY, "breaker": None}, 1.1, id="budget"),
        # the breaker is open for a second and a half after each probe
        pytest.param({"budget": EMPTY}, 1.1, id="budget and breaker"),
        pytest.param({}, 2.5, id="as it comes"),
    ],
)
def test_a_loop_that_calls_again_at_once_does_not_spin(run, settings, most):
    """A bounded number of requests a second, over a minute."""

    async def main():
        guard = make_guard(**settings).options(max_wait=None)
        start = anyio.current_time()
        asked = []

        async def read():
            asked.append(anyio.current_time() - start)
            return DOWN

        with anyio.move_on_after(60.0):
            while True:
                with pytest.raises(ResilienceError):
                    await guard.call(read)
        lately = [at for at in asked if at >= 10.0]
        assert len(lately) / 50.0 <= most
        assert len(lately) >= 5  # it goes on asking

    run(main)


def test_a_loop_of_first_attempts_is_left_alone_by_the_breaker(run):
    """Without retries there is nothing to pay: the circuit bounds it."""

    async def main():
        guard = make_guard(budget=EMPTY).options(max_attempts=1, max_wait=None)
        asked = 0

        async def read():
            nonlocal asked
            asked += 1
            return DOWN

        with anyio.move_on_after(60.0):
            while True:
                with pytest.raises(ResilienceError):
                    await guard.call(read)
        assert 40 <= asked <= 52  # ten, then a probe every 1.5 s

    run(main)
