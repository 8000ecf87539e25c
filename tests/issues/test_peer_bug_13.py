"""A streamed upload is replayed empty by aiohttp's middleware, silently, and the call succeeds.

Facts, section 0.6 (aiohttp 3.14.5): 1000 bytes at the first attempt, 0 at the next two.  Other bodies
in ``adapters/test_aiohttp_bodies.py``.
"""

from adapter_kit import OK, UPLOAD, json, make_guard, pool_of_one, raw, serving

from resilience import report
from resilience.testing import run_virtual


def test_no_empty_body_ever_arrives():
    """The first failure of a streamed upload is final even if the caller calls it idempotent."""

    async def chunks():
        for _ in range(10):
            yield b"x" * 100

    async def main():
        guard = make_guard().options(idempotent=True)
        async with serving(raw(b"", status=503), json(OK)) as server, pool_of_one(guard) as session:
            async with session.post(server.base + UPLOAD, data=chunks()) as response:
                assert response.status == 503
                assert report(response).error.reason == "not_repeatable"
            assert [len(body) for body in server.bodies] == [1000]

    run_virtual(main)
