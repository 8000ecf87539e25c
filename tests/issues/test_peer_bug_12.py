"""Unread error bodies hold their connections, and the pool deadlocks.

https://github.com/microsoft/kiota-python/issues/564, https://github.com/pydantic/pydantic-ai/issues/2724
(aiohttp-retry with 26 MB: one hit, then a time-out).  More in ``adapters/test_aiohttp_pool.py``.
"""

import asyncio

from adapter_kit import LIST, OK, json, make_guard, pool_of_one, raw, serving

from resilience.testing import run_virtual


def test_large_error_bodies_do_not_stop_the_pool():
    """Three 26 MB answers of 503 in a pool of one connection cost back-off, not a dead-lock."""

    async def main():
        guard = make_guard()
        large = raw(b"x" * 26_000_000, status=503)
        async with serving(large, large, large, json(OK)) as server, pool_of_one(guard) as session:
            async with asyncio.timeout(10):
                async with session.post(server.base + LIST) as response:
                    assert await response.json() == OK
            assert [round(at) for at in server.asked_at] == [0, 1, 3, 7]

    run_virtual(main)
