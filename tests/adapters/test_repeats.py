"""How SDKs say that they repeat, and what both transports make of it."""

import httpx
import pytest
from adapter_kit import json, make_guard, pool_of_one, raw, serving
from multidict import CIMultiDict
from stream_kit import httpx_of_one

from resilience import report
from resilience.adapters.repeats import is_repeat
from resilience.testing import run_virtual

LIST = "/serve/api/v1/list_videos"


@pytest.mark.parametrize("headers", [httpx.Headers, CIMultiDict], ids=["httpx", "aiohttp"])
@pytest.mark.parametrize(
    ("name", "value", "repeat"),
    [
        pytest.param("x-stainless-retry-count", "0", False, id="stainless-first"),
        pytest.param("x-stainless-retry-count", "1", True, id="stainless-second"),
        pytest.param("X-Stainless-Retry-Count", "12", True, id="stainless-case"),
        pytest.param("x-stainless-retry-count", "", False, id="stainless-empty"),
        pytest.param("x-stainless-retry-count", "-1", False, id="stainless-negative"),
        pytest.param("x-stainless-retry-count", "many", False, id="stainless-words"),
        pytest.param("amz-sdk-request", "attempt=1; max=5", False, id="aws-first"),
        pytest.param("amz-sdk-request", "attempt=2; max=5", True, id="aws-second"),
        pytest.param(
            "amz-sdk-request", "ttl=20261124T000000Z; attempt=3; max=5", True, id="aws-ttl"
        ),
        pytest.param("amz-sdk-request", "attempt=1", False, id="aws-alone"),
        pytest.param("amz-sdk-request", "max=5", False, id="aws-no-attempt"),
        pytest.param("accept", "*/*", False, id="neither"),
    ],
)
def test_is_repeat(headers, name, value, repeat):
    """A count above 0, or an attempt above 1."""
    assert is_repeat(headers({name: value})) is repeat


@pytest.mark.parametrize("client", ["aiohttp", "httpx"])
@pytest.mark.parametrize(
    ("headers", "attempts"),
    [
        pytest.param({"amz-sdk-request": "attempt=1; max=5"}, 4, id="first"),
        pytest.param({"amz-sdk-request": "attempt=2; max=5"}, 1, id="second"),
        pytest.param({"x-stainless-retry-count": "1"}, 1, id="stainless"),
    ],
)
def test_repeat_of_an_sdk_is_sent_once(client, headers, attempts):
    """Its first request was tried to the end, so each repeat adds one request, not four."""

    async def main():
        guard = make_guard()
        async with serving(raw(b"x", status=503)) as server:
            if client == "aiohttp":
                async with pool_of_one(guard) as session:
                    async with session.post(server.base + LIST, headers=headers) as response:
                        assert report(response).attempts == attempts
            else:
                async with httpx_of_one(guard) as session:
                    response = await session.post(server.base + LIST, headers=headers)
                    assert report(response).attempts == attempts
            assert len(server.asked_at) == attempts

    run_virtual(main)


@pytest.mark.parametrize(
    ("body", "marked"),
    [
        pytest.param({"code": "0000", "msg": "ok"}, False, id="success"),
        pytest.param({"code": "0003", "msg": "no"}, True, id="fatal"),
        pytest.param({"code": "0402", "msg": "no"}, True, id="exhausted"),
    ],
)
def test_only_what_is_given_up_is_marked(body, marked):
    """x-should-retry: false stands on final failures, and on nothing else."""

    async def main():
        async with serving(json(body)) as server, httpx_of_one(make_guard()) as client:
            response = await client.post(server.base + LIST)
            assert (response.headers.get("x-should-retry") == "false") is marked

    run_virtual(main)
