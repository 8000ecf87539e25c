"""The walk of a MemOS user: the official SDK is sync, and loses the provider's code."""

import inspect

import pytest
from memos_sdk_kit import load_sdk, serving

from resilience import FatalError, Guard, PolicyError
from resilience.testing import FixedChance, run_virtual, wall

REFUSED = {"code": 40003, "message": "Invalid API key", "data": None}


@pytest.fixture(scope="module")
def sdk(tmp_path_factory):
    """The SDK's client module."""
    return load_sdk(tmp_path_factory.mktemp("memos"))


@pytest.fixture
def client(sdk):
    """A client that nobody answers."""
    return sdk.MemOSClient(api_key="mpg-test", base_url="http://127.0.0.1:9")


def test_the_catalog_under_the_sdks_name():
    """``memos`` is near enough to be told the right one."""
    with pytest.raises(PolicyError, match="did you mean 'memos_cloud'"):
        Guard("memos")


def test_without_threads(client):
    """A sync SDK has nothing to await; what helps is named."""
    with pytest.raises(TypeError, match="its methods are sync .* threads=True runs them"):
        Guard("memos_cloud").wrap(client)


def test_the_class_instead_of_a_client(sdk):
    """An instance is asked for."""
    with pytest.raises(TypeError, match="MemOSClient is a class: wrap an instance of it"):
        Guard("memos_cloud").wrap(sdk.MemOSClient, threads=True)


def test_a_method_misspelt(client):
    """The proxy speaks of the SDK's own class."""
    wrapped = Guard("memos_cloud").wrap(client, threads=True)
    with pytest.raises(
        AttributeError, match="'MemOSClient' object has no attribute 'serch_memory'"
    ):
        wrapped.serch_memory(query="tea")


def test_a_forgotten_await_asks_nobody(client):
    """What was sync before must be awaited now; without that, Python warns and nothing was sent."""
    called = Guard("memos_cloud").wrap(client, threads=True).search_memory(query="tea")
    assert inspect.iscoroutine(called)
    assert called.__qualname__ == "MemOSClient.search_memory"  # the name in Python's warning
    called.close()


def test_a_wrong_key(sdk):
    """The SDK tries three times and raises an error of pydantic's; the user gets code and remedy."""

    async def main():
        async with serving({"search/memory": [REFUSED]}) as server:
            guard = Guard("memos_cloud", wall=wall, chance=FixedChance(1.0))
            client = sdk.MemOSClient(api_key="mpg-test", base_url=server.base)
            with pytest.raises(FatalError) as caught:
                await guard.wrap(client, threads=True).search_memory(
                    query="tea", user_id="u1", conversation_id="c1"
                )
            return caught.value

    error = run_virtual(main)
    assert (error.code, error.message) == ("40003", "Invalid API key")
    assert error.remedy
