"""A pool of one connection: nothing may hold it while somebody waits, and nothing may leak."""

import asyncio

import aiohttp
import pytest
from adapter_kit import (
    BAD,
    BUSY,
    FAILURES,
    LIST,
    OK,
    TEN_MEGABYTES,
    chunked,
    hang_up,
    json,
    make_guard,
    pool_of_one,
    raw,
    serving,
)

from resilience import DeadlineExceeded, FatalError, QuotaError, RetriesExhausted, report
from resilience.testing import run_virtual


@pytest.mark.parametrize("name", FAILURES)
def test_failure_holds_no_connection(name):
    """After a failed answer of any size and speed the only connection is free for the next attempt."""

    async def main():
        guard = make_guard()
        async with (
            serving(FAILURES[name], FAILURES[name], json(OK)) as server,
            pool_of_one(guard) as session,
        ):
            async with asyncio.timeout(25):
                async with session.post(server.base + LIST, json={"page": 1}) as response:
                    assert await response.json() == OK
            assert len(server.asked_at) == 3
            assert report(response).attempts == 3

    run_virtual(main)


@pytest.mark.parametrize("name", FAILURES)
def test_others_use_the_connection_during_the_wait(name):
    """While one caller waits for its next attempt, another endpoint's call goes through at once."""

    async def main():
        guard = make_guard()
        async with serving(FAILURES[name], json(OK)) as server, pool_of_one(guard) as session:

            async def first():
                async with session.post(server.base + LIST) as response:
                    return await response.json()

            task = asyncio.ensure_future(first())
            await asyncio.sleep(0.4)  # the slow JSON takes as long
            async with asyncio.timeout(0.05):
                async with session.post(server.base + "/serve/api/v1/search") as response:
                    assert await response.json() == OK
            assert not task.done() or name == "disconnect"
            assert await task == OK

    run_virtual(main)


@pytest.mark.parametrize("count", [4])
def test_many_tasks_in_a_pool_of_one_end(count):
    """Large unread error bodies of several tasks do not deadlock the pool."""

    async def main():
        guard = make_guard()
        large = raw(TEN_MEGABYTES, status=503)
        async with serving(*[large] * count, json(OK)) as server, pool_of_one(guard) as session:

            async def one():
                async with session.post(server.base + LIST) as response:
                    return await response.json()

            async with asyncio.timeout(60):
                assert await asyncio.gather(*[one() for _ in range(count)]) == [OK] * count

    run_virtual(main)


@pytest.mark.parametrize("name", ["large-html-503", "large-json-503", "html-error"])
def test_last_failure_is_handed_back_readable(name):
    """The last response of a failed call belongs to the caller, whole and unread."""

    async def main():
        guard = make_guard().options(max_attempts=2)
        async with serving(FAILURES[name]) as server, pool_of_one(guard) as session:
            async with session.post(server.base + LIST) as response:
                assert report(response).error.attempts == 2
                assert isinstance(report(response).error, RetriesExhausted)
                assert len(await response.read()) >= 28

    run_virtual(main)


def test_refused_wait_hands_back_the_response():
    """If no wait is possible at all, the rejected response was not thrown away for it."""

    async def main():
        guard = make_guard().options(max_wait=0)
        async with serving(raw(TEN_MEGABYTES, status=429)) as server, pool_of_one(guard) as session:
            async with session.post(server.base + LIST) as response:
                assert response.status == 429
                assert await response.read() == TEN_MEGABYTES
                assert isinstance(report(response).error, QuotaError)

    run_virtual(main)


@pytest.mark.parametrize("step", [0.0, 0.05, 0.1, 0.15, 0.3, 1.1, 1.3])
def test_cancellation_leaks_no_connection(step):
    """Cancelled in the request, in the body or in the wait, a call leaves the pool as it found it."""

    async def main():
        guard = make_guard()
        slow = chunked(b'{"code":"0429",', b'"msg":"busy"', b"}", pause=0.1)
        async with serving(slow) as server, pool_of_one(guard) as session:
            task = asyncio.ensure_future(session.post(server.base + LIST))
            await asyncio.sleep(step)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert session.connector._acquired == set()

    run_virtual(main)


def test_attempt_timeout_in_the_body_leaks_no_connection():
    """A body that does not end within attempt_timeout is closed, and the next attempt has the pool."""

    async def main():
        guard = make_guard().options(attempt_timeout=1.0)
        slow = chunked(b'{"code":', b'"0000","msg":""}', pause=50)
        async with serving(slow, json(OK)) as server, pool_of_one(guard) as session:
            async with session.post(server.base + LIST) as response:
                assert await response.json() == OK
            assert len(server.asked_at) == 2

    run_virtual(main)


# -- guard.call of a function that returns a response ---------------------------------------------


@pytest.mark.parametrize("name", FAILURES)
def test_call_of_a_function_that_returns_a_response(name):
    """guard.call(session.post, …) judges the response, frees what it discards, hands out the last."""

    async def main():
        guard = make_guard().options(endpoint="list")
        async with serving(FAILURES[name], json(OK)) as server, pool_of_one() as session:
            async with asyncio.timeout(25):
                response = await guard.call(session.post, server.base + LIST)
                assert await response.json() == OK
            assert len(server.asked_at) == 2

    run_virtual(main)


def test_call_that_raises_frees_the_response():
    """Who gets an error instead of the response can't release it, so it is released."""

    async def main():
        guard = make_guard()
        async with serving(raw(TEN_MEGABYTES, status=404)) as server, pool_of_one() as session:
            with pytest.raises(FatalError) as caught:
                await guard.call(session.post, server.base + LIST)
            assert (caught.value.code, session.connector._acquired) == ("404", set())

    run_virtual(main)


def test_call_with_on_failure_return_hands_out_the_response():
    """on_failure="return" gives the failed response, still readable."""

    async def main():
        guard = make_guard().options(on_failure="return")
        async with (
            serving(raw(b"<html>gone</html>", status=404)) as server,
            pool_of_one() as session,
        ):
            response = await guard.call(session.post, server.base + LIST)
            assert (response.status, await response.text()) == (404, "<html>gone</html>")

    run_virtual(main)


def test_call_over_a_guarded_session_makes_one_request_per_attempt():
    """guard.call around a session with the middleware: the outer layer decides, hints included."""

    async def main():
        guard = make_guard()
        steps = [json(BUSY, **{"Retry-After": "7"}), json(BUSY, **{"Retry-After": "7"}), json(OK)]
        async with serving(*steps) as server, pool_of_one(guard) as session:

            async def list_videos():
                async with session.post(server.base + LIST) as response:
                    return await response.json()

            assert await guard.call(list_videos) == OK
            assert server.asked_at == [0.0, 7.0, 14.0]

    run_virtual(main)


@pytest.mark.parametrize("hides", ["data only", "own error"])
def test_client_that_hides_the_code(hides):
    """A client that keeps the code to itself can't hide it from the call around it."""

    async def main():
        guard = make_guard()
        async with serving(json(BUSY), json(BAD)) as server, pool_of_one(guard) as session:

            async def list_videos():
                async with session.post(server.base + LIST) as response:
                    body = await response.json()
                if hides == "own error" and body["code"] != "0000":
                    raise ValueError("the API failed")
                return body.get("data")

            with pytest.raises(FatalError) as caught:
                await guard.call(list_videos)
            assert (caught.value.code, caught.value.attempts) == ("0003", 2)
            assert server.asked_at == [0.0, 1.0]

    run_virtual(main)


# -- deadlines ------------------------------------------------------------------------------------


def test_session_total_bounds_the_call():
    """A wait that the session's total time-out can't outlast is not begun."""

    async def main():
        guard = make_guard()
        busy = json(BUSY, **{"Retry-After": "30"})
        async with serving(busy) as server, pool_of_one(guard, total=10) as session:
            async with session.post(server.base + LIST) as response:
                error = report(response).error
            assert (error.reason, error.retry_after) == ("deadline", 30.0)
            assert asyncio.get_running_loop().time() == 0.0

    run_virtual(main)


def test_session_total_cuts_the_attempt():
    """A silent server costs no more than the session's total time-out."""

    async def main():
        guard = make_guard()
        slow = chunked(b"{", b"}", pause=100)
        async with serving(slow) as server, pool_of_one(guard, total=3) as session:
            with pytest.raises((DeadlineExceeded, TimeoutError)):
                await session.post(server.base + LIST)
            assert asyncio.get_running_loop().time() == pytest.approx(3.0, abs=0.1)

    run_virtual(main)


def test_our_deadline_is_the_smaller_one():
    """A deadline of ours within the session's total holds; there is no response, so it raises."""

    async def main():
        guard = make_guard().options(deadline=2)
        slow = chunked(b"{", b"}", pause=100)
        async with serving(slow) as server, pool_of_one(guard, total=300) as session:
            with pytest.raises(DeadlineExceeded):
                await session.post(server.base + LIST)
            assert asyncio.get_running_loop().time() == 2.0

    run_virtual(main)


# -- the client's own exceptions ------------------------------------------------------------------


def test_refused_connection_is_raised_as_itself():
    """What the client raises stays what it was; report() tells the rest."""

    async def main():
        guard = make_guard()
        async with serving(json(OK)) as server:
            base = server.base
        async with pool_of_one(guard) as session:
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.post(base + LIST)
            assert report(caught.value).attempts == 4
            assert report(caught.value).error.reason == "attempts"

    run_virtual(main)


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        pytest.param(hang_up, aiohttp.ServerDisconnectedError, id="disconnect"),
        pytest.param(FAILURES["cut-json"], aiohttp.ClientPayloadError, id="mid-body"),
    ],
)
def test_broken_connection_is_raised_as_itself(handler, kind):
    """On an upload a broken connection is final at once, because the work may have been done."""

    async def main():
        guard = make_guard()
        async with serving(handler) as server, pool_of_one(guard) as session:
            with pytest.raises(kind) as caught:
                await session.post(server.base + "/serve/api/v1/upload", data=b"video")
            assert report(caught.value).error.reason == "not_repeatable"
            assert len(server.asked_at) == 1

    run_virtual(main)
