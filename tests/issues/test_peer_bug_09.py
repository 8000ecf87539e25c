"""Defaults that retry nothing, or hammer.

Nothing (aiohttp-retry: connection errors) or hammer (httpx-retries: 11 requests
in 2 ms against a 429).  Facts, sections 2.4 and 2.5.
"""

import anyio
import pytest
from driver_kit import make_guard

from resilience import Outcome, ResilienceError
from resilience.testing import Script


def test_default_retries_connection_errors(run):
    """Out of the box a refused connection is tried four times, with growing waits."""

    async def main():
        script = Script([ConnectionRefusedError("no")], name="anything")
        with pytest.raises(ResilienceError):
            await make_guard(policy="http").call(script)
        waits = [b - a for a, b in zip(script.asked_at, script.asked_at[1:], strict=False)]
        assert script.calls == 4
        assert waits == sorted(waits)
        assert waits[0] >= 0.1

    run(main)


def test_default_does_not_hammer(run):
    """A server that says 429 for ever sees a handful of requests a minute, not eleven at once."""

    async def main():
        zero = anyio.current_time()
        script = Script([lambda: Outcome(status=429)], name="read")
        with pytest.raises(ResilienceError):
            await make_guard(policy="http").call(script)
        assert script.calls <= 7
        assert script.asked_at[1] >= 0.5
        assert anyio.current_time() - zero <= 60.0

    run(main)
