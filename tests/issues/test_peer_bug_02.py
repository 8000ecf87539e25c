"""One retry object shared by many tasks: https://github.com/jd/tenacity/issues/93, also 701 and 720.

With ``async for attempt in shared`` 20 of 20 tasks saw wrong attempt counts.
"""

import anyio
import pytest
from driver_kit import DOWN, OK, at_rest, make_guard

from resilience import RetriesExhausted
from resilience.testing import Script


def test_tasks_that_share_a_view_count_for_themselves(run):
    """Twenty tasks on one view each make their own attempts, at their own times."""

    async def main():
        view = make_guard(breaker=None, budget=None).options(max_attempts=3)
        scripts = [Script([DOWN] * (n % 4) + [OK], name="read") for n in range(20)]
        failed = []

        async def one(n):
            await anyio.sleep(n * 0.1)
            try:
                await view.call(scripts[n])
            except RetriesExhausted as error:
                failed.append((n, error.attempts))

        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(one, n)
        assert sorted(failed) == [(n, 3) for n in range(20) if n % 4 == 3]
        for n, script in enumerate(scripts):
            assert script.asked_at == pytest.approx([0.0, 1.0, 3.0][: n % 4 + 1])
        at_rest(view)

    run(main)
