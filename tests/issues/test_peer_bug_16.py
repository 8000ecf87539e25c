"""A rate that was learned or set once is kept for ever, though the limit has changed at run time.

A client that halves on every rejection and never tries again stays slow after the provider doubled
the limit; one whose limiter reads its settings once ignores the change.
"""

import anyio
import pytest
from driver_kit import make_guard

from resilience import Policy
from resilience.testing import FixedWindow

POLICY = Policy.from_dict(
    {
        "name": "limited",
        "envelope": [
            {
                "required": ["/code", "/msg"],
                "code": "/code",
                "message": "/msg",
                "success": ["0000"],
            }
        ],
        "endpoints": [{"name": "read", "match": ["POST */read"], "repeat": "safe"}],
        "codes": {
            "0429": {
                "verdict": "quota",
                "recovers": "window",
                "scope": "endpoint",
                "wait": {"backoff": "expo", "factor": 1.0, "max_value": 8.0},
            }
        },
    }
)


@pytest.mark.parametrize(("first", "then"), [(20, 40), (40, 20)], ids=["doubled", "halved"])
def test_a_limit_that_changes_is_followed(run, first, then):
    """Twice as many calls a second, or half as many, are found within a minute."""

    async def main():
        guard = make_guard(policy=POLICY).options(max_wait=None)
        server = FixedWindow(first, per=1.0, trip=0.02, name="read")
        start = anyio.current_time()

        async def worker():
            while True:
                await guard.call(server)

        def rate(since, until):
            ok = [at - start for at, accepted in server.log if accepted]
            return sum(since <= at < until for at in ok) / (until - since)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(worker)
            await anyio.sleep(20.0)
            server.units = then
            await anyio.sleep(40.0)
            group.cancel_scope.cancel()
        assert 0.75 * first <= rate(10.0, 20.0) <= first
        assert 0.75 * then <= rate(40.0, 60.0) <= then
        late = [ok for at, ok in server.log if at - start >= 40.0]
        assert late.count(False) / len(late) <= 0.05

    run(main)
