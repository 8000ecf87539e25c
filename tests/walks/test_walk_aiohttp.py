"""The walk of an aiohttp user: a session, a guard, and everything that can be held the wrong way."""

import asyncio

import aiohttp
import pytest

from pollers.emulator import MemoriesEmulator
from resilience import FatalError, Guard, PolicyError, raise_for_code, report
from resilience.testing import FixedChance, run_virtual, wall


async def list_videos():
    """A coroutine of the user's."""
    return {"code": "0000"}


def sync_list_videos():
    """A sync function of the user's."""
    return {"code": "0000"}


async def page_of(session, emulator):
    """One request of the session."""
    url = f"{emulator.base_url}/list_videos"
    async with session.post(url, json={"page": 1}, headers={"Authorization": "sk"}) as response:
        await response.read()
        return response


def misspelt():
    Guard("memories")


def key_as_account():
    Guard("memories_ai", "sk-0123456789")


async def coroutine_instead_of_function():
    called = list_videos()
    try:
        await Guard("memories_ai").call(called)
    finally:
        called.close()


async def sync_function():
    await Guard("memories_ai").call(sync_list_videos)


def sync_decorated():
    Guard("memories_ai")(sync_list_videos)


async def setting_misspelt():
    await Guard("memories_ai").options(dead_line=30).call(list_videos)


def address_as_host():
    Guard("memories_ai").aiohttp(hosts=["http://127.0.0.1:8080/serve/api/v1"])


def text_as_hosts():
    Guard("memories_ai").aiohttp(hosts="127.0.0.1")


WRONG_WAYS = [
    (misspelt, PolicyError, "did you mean 'memories_ai'?"),
    (key_as_account, ValueError, "this looks like an API key"),
    (coroutine_instead_of_function, TypeError, "give the async function and its arguments"),
    (sync_function, TypeError, "sync_list_videos is a sync function: guard an 'async def'"),
    (sync_decorated, TypeError, "sync_list_videos is a sync function: guard an 'async def'"),
    (setting_misspelt, TypeError, "did you mean 'deadline'?"),
    (address_as_host, ValueError, "no scheme, no path"),
    (text_as_hosts, TypeError, "give a list of names"),
]


@pytest.mark.parametrize(
    ("way", "error", "told"), WRONG_WAYS, ids=[w[0].__name__ for w in WRONG_WAYS]
)
async def test_a_wrong_way_is_told_the_right_one(way, error, told):
    """Each mistake is an error at once, whose text says what to write instead."""
    with pytest.raises(error) as caught:
        made = way()
        if made is not None:
            await made
    assert told in str(caught.value)
    assert "sk-0123456789" not in str(caught.value)


async def test_the_guard_itself_as_middleware():
    """``middlewares=[guard]`` is told from ``@guard``, and what belongs there is named."""
    async with (
        MemoriesEmulator() as emulator,
        aiohttp.ClientSession(middlewares=[Guard("memories_ai")]) as session,
    ):
        with pytest.raises(TypeError, match=r"middlewares=\[guard\.aiohttp\(\)\]"):
            await page_of(session, emulator)


async def test_a_test_server_that_nothing_guards():
    """Without ``hosts=`` an emulator passes unguarded, and the first ``raise_for_code`` says so."""
    middleware = Guard("memories_ai").aiohttp()
    async with (
        MemoriesEmulator() as emulator,
        aiohttp.ClientSession(middlewares=[middleware]) as session,
    ):
        response = await page_of(session, emulator)
        assert report(response) is None
        with pytest.raises(LookupError, match=r"give the adapter hosts=\['127\.0\.0\.1'\]"):
            raise_for_code(response)


def test_a_refused_key_is_asked_about_once():
    """The first call meets the refusal, the others are told the same without a request."""

    async def main():
        guard = Guard("memories_ai", wall=wall, chance=FixedChance(1.0))
        async with MemoriesEmulator(keys=["sk-good"]) as emulator:
            middleware = guard.aiohttp(hosts=[emulator.host])
            async with aiohttp.ClientSession(middlewares=[middleware]) as session:

                async def fails():
                    with pytest.raises(FatalError) as caught:
                        raise_for_code(await page_of(session, emulator))
                    return caught.value

                errors = [await fails() for _ in range(3)]
            return errors, len(emulator.requests)

    errors, requests = run_virtual(main)
    assert [(error.code, error.attempts) for error in errors] == [
        ("9009", 1),
        ("9009", 0),
        ("9009", 0),
    ]
    assert requests == 1
    for error in errors:
        assert "what to do: Check that the API key is valid" in str(error)


def storm(make_guard):
    """Twenty calls at once before five a second; how often the provider said no."""

    async def main():
        async with MemoriesEmulator(limits={"list": (5, 1.0)}) as emulator:
            async with aiohttp.ClientSession() as session:

                async def call(guard):
                    response = await guard.call(page_of, session, emulator)
                    return (await response.json())["code"]

                codes = await asyncio.gather(*(call(make_guard()) for _ in range(20)))
            assert codes == ["0000"] * 20
            return len(emulator.requests) - 20

    return run_virtual(main)


def test_a_guard_per_request_still_works_and_wastes():
    """A shared guard meets the limit once; one per request meets it for every call that waits."""
    shared = Guard("memories_ai", wall=wall, chance=FixedChance(1.0))
    assert storm(lambda: shared) <= 18
    assert storm(lambda: Guard("memories_ai", wall=wall, chance=FixedChance(1.0))) >= 30


def test_a_guard_made_at_import_serves_one_loop_after_another():
    """``asyncio.run`` twice, or a test client per test: the guard is at home in each."""
    guard = Guard("memories_ai")

    async def main():
        async with MemoriesEmulator(limits={"list": (1, 0.05)}) as emulator:
            middleware = guard.aiohttp(hosts=[emulator.host])
            async with aiohttp.ClientSession(middlewares=[middleware]) as session:
                told = await asyncio.gather(*(page_of(session, emulator) for _ in range(2)))
                return [report(response).error for response in told]

    assert [asyncio.run(main()) for _ in range(2)] == [[None, None]] * 2
