"""A schedule that is off by one (aiohttp-retry's ListRetry([1, 2, 3]) waits 2, 3).  Facts, section 2.4.

The wait generators of ``backoff`` yield None (2.2.1) or 0 (3.0) at the first ``next()``: another way
to be off by one.
"""

import pytest
from driver_kit import DOWN, TABLE, make_guard

from resilience import Policy, RetriesExhausted
from resilience.testing import Script


@pytest.mark.parametrize(
    ("wait", "times"),
    [
        pytest.param(
            {"backoff": "expo", "base": 3, "factor": 0.5}, [0.0, 0.5, 2.0, 6.5, 20.0], id="expo"
        ),
        pytest.param(
            {"backoff": "constant", "interval": 2}, [0.0, 2.0, 4.0, 6.0, 8.0], id="constant"
        ),
        pytest.param({"backoff": "expo", "max_value": 2}, [0.0, 1.0, 3.0, 5.0, 7.0], id="capped"),
        pytest.param(4, [0.0, 4.0, 8.0, 12.0, 16.0], id="plain"),
    ],
)
def test_first_wait_is_the_first_of_the_schedule(run, wait, times):
    """No element of a schedule is skipped, and none comes twice."""
    rule = {"verdict": "retryable", "certainty": "not_executed", "wait": wait}
    policy = Policy.from_dict({**TABLE, "codes": {**TABLE["codes"], "down": rule}})

    async def main():
        script = Script([DOWN], name="read")
        with pytest.raises(RetriesExhausted):
            await make_guard(policy=policy).options(max_attempts=5).call(script)
        assert script.asked_at == times

    run(main)
