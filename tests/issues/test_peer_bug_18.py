"""Retries that back off are not charged to the budget (https://github.com/envoyproxy/envoy/issues/30205).

A budget that counts what is under way sees nobody while all of them sleep: a thousand calls fail, a
thousand retries are scheduled, and they leave together.
"""

import anyio
import pytest
from driver_kit import DOWN, OK, at_rest, make_guard

from resilience import RetryBudget


@pytest.mark.parametrize("again", [OK, DOWN], ids=["heals", "stays down"])
def test_a_hundred_that_fail_at_once_do_not_all_retry(run, again):
    """Twenty saved up and one in ten of those that went; the others wait their turn, two a second."""

    async def main():
        guard = make_guard(
            breaker=None, budget=RetryBudget(ratio=0.1, floor=2.0, burst=20.0)
        ).options(max_attempts=2)
        start = anyio.current_time()
        retries = []

        async def call():
            asked = 0

            async def read():
                nonlocal asked
                asked += 1
                if asked == 1:
                    await anyio.sleep(0.5)  # all are under way before the first fails
                    return DOWN
                retries.append(anyio.current_time() - start)
                return again

            try:
                await guard.call(read)
            except Exception as error:
                assert type(error).__name__ == "RetriesExhausted"

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(call)
        assert len(retries) == 100
        for second in range(2, 40):
            went = sum(at <= second for at in retries)
            assert went <= 20 + 0.1 * 100 + 2.0 * second
        assert max(retries) > 30.0
        assert sum(at <= 2.0 for at in retries) >= 20
        (row,) = guard.snapshot()["budgets"]
        assert row["suppressed"] >= 60
        at_rest(guard)

    run(main)
