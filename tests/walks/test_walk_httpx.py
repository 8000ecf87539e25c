"""The walk of somebody whose SDK is built on httpx."""

import sys

import httpx
import openai
import pytest

from pollers.emulator import MemoriesEmulator
from resilience import FatalError, Guard, RetriesExhausted, raise_for_code, report
from resilience.testing import FixedChance, run_virtual, wall


@pytest.fixture
def guard():
    """The account's guard."""
    return Guard("memories_ai")


def test_install_on_the_sdk_instead_of_its_http_client(guard):
    """The error says where an SDK takes the guarded client."""
    sdk = openai.AsyncOpenAI(api_key="sk", base_url="http://127.0.0.1:9")
    with pytest.raises(TypeError, match=r"http_client=guard\.install\(AsyncClient\(\)\)"):
        guard.install(sdk)


def test_a_sync_client(guard):
    """A sync client can't be guarded by a transport; the async one is named."""
    with (
        httpx.Client() as client,
        pytest.raises(TypeError, match="a sync client can't be awaited, so use AsyncClient"),
    ):
        guard.install(client)


def test_a_sync_sdk_is_told_of_threads(guard):
    """What is sync goes into threads, if asked for."""
    sdk = openai.OpenAI(api_key="sk", base_url="http://127.0.0.1:9")
    with pytest.raises(TypeError, match="its methods are sync .* threads=True runs them"):
        guard.wrap(sdk)


@pytest.mark.parametrize(
    "inner", [httpx.HTTPTransport, httpx.AsyncClient], ids=["sync-transport", "client"]
)
async def test_something_else_as_inner_transport(guard, inner):
    """What may stand there is named."""
    with pytest.raises(TypeError, match=r"not an httpx\.AsyncBaseTransport, e\.g\. AsyncHTTP"):
        guard.httpx(inner())


def test_httpx_is_not_installed(guard, monkeypatch):
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'resilience-pollers\[httpx\]'"):
        guard.httpx()


async def test_a_catalog_without_hosts(guard):
    """The ``http`` catalog speaks of no provider, so it has to be told of whom."""
    async with httpx.AsyncClient() as client:
        with pytest.raises(ValueError, match="say which servers to guard: hosts="):
            Guard("http").install(client)


async def test_a_wrong_key_is_http_200_and_told_all_the_same(guard):
    """The response comes back as the SDK is used to; ``report`` and ``raise_for_code`` know more."""
    async with (
        MemoriesEmulator(keys=["sk-good"]) as emulator,
        httpx.AsyncClient(headers={"Authorization": "sk-bad"}) as client,
    ):
        guard.install(client, hosts=[emulator.host])
        response = await client.post(f"{emulator.base_url}/list_videos", json={"page": 1})
    assert response.status_code == 200
    assert (report(response).error.code, report(response).attempts) == ("9009", 1)
    with pytest.raises(FatalError) as caught:
        raise_for_code(response)
    assert caught.value.remedy == "Check that the API key is valid and allowed to use this product."


def test_a_wrapped_sdk_that_finds_nobody():
    """The SDK's own exception hides a refused connection: nothing was sent, so it is tried again."""

    async def main():
        guard = Guard("http", wall=wall, chance=FixedChance(1.0))
        async with openai.AsyncOpenAI(
            api_key="sk", base_url="http://127.0.0.1:9", max_retries=0
        ) as sdk:
            with pytest.raises(RetriesExhausted) as caught:
                await guard.wrap(sdk).chat.completions.create(model="m", messages=[])
        return caught.value

    error = run_virtual(main)
    assert (error.code, error.attempts) == ("APIConnectionError", 4)
    assert error.rule.key == "exceptions.httpx.ConnectError"
    assert isinstance(error.__cause__, openai.APIConnectionError)
