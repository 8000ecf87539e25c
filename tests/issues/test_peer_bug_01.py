"""Cancellation swallowed by a predicate: https://github.com/jd/tenacity/issues/529 (stamina alike).

``retry_if_exception(lambda e: True)`` receives CancelledError, retries it, and the cancelled task
ends normally.  Every await of ours is enumerated in ``driver/test_driver_crowd.py``.
"""

import asyncio

import pytest
from driver_kit import DOWN, OK, TABLE, at_rest, make_guard

from resilience import Policy
from resilience.testing import Script, run_virtual

EVERYTHING = Policy.from_dict({
    **TABLE,
    "unknown": {"verdict": "retryable", "certainty": "not_executed"},
    "exceptions": {"Exception": {"verdict": "retryable", "certainty": "not_executed"}},
})  # fmt: skip


@pytest.mark.parametrize("at", [0.5, 1.5, 2.5])
def test_a_policy_that_retries_everything_does_not_retry_cancellation(at):
    """Even if every exception may be retried, a cancelled task ends cancelled, after no more calls."""

    async def main():
        guard = make_guard(policy=EVERYTHING)
        script = Script([DOWN, ValueError(), OK], delay=1.0)
        task = asyncio.create_task(guard.call(script))
        await asyncio.sleep(at)
        calls = script.calls
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await asyncio.sleep(100)
        assert script.calls == calls
        at_rest(guard)

    run_virtual(main)
