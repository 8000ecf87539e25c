"""Options that carry state from one request to the next.

(aiohttp-retry's FibonacciRetry: [2,3,5] for
the first, [8,13,21] for the second).  Facts, section 2.4.
"""

import pytest
from driver_kit import DOWN, TABLE, make_guard

from resilience import Policy, RetriesExhausted
from resilience.testing import Script

FIBONACCI = Policy.from_dict({
    **TABLE,
    "codes": {**TABLE["codes"], "down": {
        "verdict": "retryable", "certainty": "not_executed", "wait": {"backoff": "fibo", "max_value": 50},
    }},
})  # fmt: skip


def test_every_call_begins_its_schedule_anew(run):
    """The hundredth call waits exactly as the first did."""

    async def main():
        guard = make_guard(policy=FIBONACCI)
        times = []
        for _ in range(3):
            script = Script([DOWN], name="read")
            with pytest.raises(RetriesExhausted):
                await guard.call(script)
            times.append(script.asked_at)
        assert times == [[0.0, 1.0, 2.0, 4.0]] * 3

    run(main)
