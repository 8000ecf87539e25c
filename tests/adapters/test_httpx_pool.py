"""An httpx pool of one connection: nothing may hold it while somebody waits, and nothing may leak."""

import asyncio

import httpx
import pytest
from adapter_kit import (
    BUSY,
    FAILURES,
    INDISCREET,
    LIST,
    OK,
    SECRET,
    TEN_MEGABYTES,
    chunked,
    hang_up,
    json,
    make_guard,
    raw,
    secret_request,
    serving,
)
from stream_kit import assert_all_idle, httpx_of_one, library_of

from resilience import DeadlineExceeded, FatalError, QuotaError, RetriesExhausted, report
from resilience.testing import run_virtual

SEARCH = "/serve/api/v1/search"
UPLOAD = "/serve/api/v1/upload"


@pytest.fixture(params=["httpx", "httpx2"])
def name(request):
    """httpx and its successor."""
    return request.param


@pytest.mark.parametrize("failure", FAILURES)
def test_failure_holds_no_connection(name, failure):
    """After a failed answer of any size and speed the only connection is free for the next attempt."""

    async def main():
        guard = make_guard()
        handlers = [FAILURES[failure], FAILURES[failure], json(OK)]
        async with serving(*handlers) as server, httpx_of_one(guard, name) as client:
            async with asyncio.timeout(25):
                response = await client.post(server.base + LIST, json={"page": 1})
            assert response.json() == OK
            assert len(server.asked_at) == 3
            assert report(response).attempts == 3

    run_virtual(main)


@pytest.mark.parametrize("failure", FAILURES)
def test_others_use_the_connection_during_the_wait(name, failure):
    """While one caller waits for its next attempt, another endpoint's call goes through at once."""

    async def main():
        guard = make_guard()
        async with (
            serving(FAILURES[failure], json(OK)) as server,
            httpx_of_one(guard, name) as client,
        ):
            task = asyncio.ensure_future(client.post(server.base + LIST))
            await asyncio.sleep(0.4)  # the slow JSON takes as long
            async with asyncio.timeout(0.05):
                assert (await client.post(server.base + SEARCH)).json() == OK
            assert not task.done() or failure == "disconnect"
            assert (await task).json() == OK

    run_virtual(main)


@pytest.mark.parametrize("failure", ["large-html-503", "large-json-503", "html-error"])
def test_last_failure_is_handed_back_readable(name, failure):
    """The last response of a failed call belongs to the caller, whole and unread."""

    async def main():
        guard = make_guard().options(max_attempts=2)
        async with serving(FAILURES[failure]) as server, httpx_of_one(guard, name) as client:
            async with client.stream("POST", server.base + LIST) as response:
                assert report(response).error.attempts == 2
                assert isinstance(report(response).error, RetriesExhausted)
                assert len(await response.aread()) >= 28

    run_virtual(main)


def test_refused_wait_hands_back_the_response(name):
    """If no wait is possible at all, the rejected response was not thrown away for it."""

    async def main():
        guard = make_guard().options(max_wait=0)
        async with (
            serving(raw(TEN_MEGABYTES, status=429)) as server,
            httpx_of_one(guard, name) as client,
        ):
            response = await client.post(server.base + LIST)
            assert (response.status_code, response.content) == (429, TEN_MEGABYTES)
            assert isinstance(report(response).error, QuotaError)

    run_virtual(main)


@pytest.mark.parametrize("step", [0.0, 0.05, 0.1, 0.15, 0.3, 1.1, 1.3])
def test_cancellation_leaks_no_connection(name, step):
    """Cancelled in the request, in the body or in the wait, a call leaves the pool as it found it."""

    async def main():
        guard = make_guard()
        slow = chunked(b'{"code":"0429",', b'"msg":"busy"', b"}", pause=0.1)
        async with serving(slow) as server, httpx_of_one(guard, name) as client:
            task = asyncio.ensure_future(client.post(server.base + LIST))
            await asyncio.sleep(step)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert_all_idle(client._transport.inner)

    run_virtual(main)


def test_attempt_timeout_in_the_body_leaks_no_connection(name):
    """A body that does not end within attempt_timeout is closed, and the next attempt has the pool."""

    async def main():
        guard = make_guard().options(attempt_timeout=1.0)
        slow = chunked(b'{"code":', b'"0000","msg":""}', pause=50)
        async with serving(slow, json(OK)) as server, httpx_of_one(guard, name) as client:
            assert (await client.post(server.base + LIST)).json() == OK
            assert len(server.asked_at) == 2

    run_virtual(main)


def test_deadline_without_a_response(name):
    """If the deadline cuts the only attempt there is no response, so it raises."""

    async def main():
        guard = make_guard().options(deadline=2)
        slow = chunked(b"{", b"}", pause=100)
        async with serving(slow) as server, httpx_of_one(guard, name) as client:
            with pytest.raises(DeadlineExceeded):
                await client.post(server.base + LIST)
            assert asyncio.get_running_loop().time() == 2.0

    run_virtual(main)


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        pytest.param(hang_up, "RemoteProtocolError", id="disconnect"),
        pytest.param(FAILURES["cut-json"], "RemoteProtocolError", id="mid-body"),
    ],
)
def test_broken_connection_is_raised_as_itself(name, handler, kind):
    """On an upload a broken connection is final at once, because the work may have been done."""

    async def main():
        async with serving(handler) as server, httpx_of_one(make_guard(), name) as client:
            with pytest.raises(getattr(library_of(name), kind)) as caught:
                await client.post(server.base + UPLOAD, content=b"video")
            assert report(caught.value).error.reason == "not_repeatable"
            assert len(server.asked_at) == 1

    run_virtual(main)


def test_answer_that_was_read_holds_no_connection(name):
    """A JSON answer that was read whole has freed its connection, though nobody read it yet."""

    async def main():
        async with serving(json(OK)) as server, httpx_of_one(make_guard(), name) as client:
            async with client.stream("POST", server.base + LIST) as response:
                async with asyncio.timeout(1):
                    assert (await client.post(server.base + SEARCH)).json() == OK
                await response.aread()
                assert response.json() == OK

    run_virtual(main)


def test_call_over_a_guarded_client_makes_one_request_per_attempt():
    """guard.call around a guarded client: the outer layer decides, hints included."""

    async def main():
        guard = make_guard()
        steps = [json(BUSY, **{"Retry-After": "7"}), json(BUSY, **{"Retry-After": "7"}), json(OK)]
        async with serving(*steps) as server, httpx_of_one(guard) as client:

            async def list_videos():
                return (await client.post(server.base + LIST)).json()

            assert await guard.call(list_videos) == OK
            assert server.asked_at == [0.0, 7.0, 14.0]

    run_virtual(main)


def test_call_that_raises_frees_the_stream():
    """Who gets an error instead of the stream can't close it, so it is closed."""

    async def main():
        guard = make_guard()
        async with (
            serving(raw(TEN_MEGABYTES, status=404)) as server,
            httpx_of_one() as client,
        ):

            async def open_stream():
                return await client.send(
                    client.build_request("POST", server.base + LIST), stream=True
                )

            with pytest.raises(FatalError) as caught:
                await guard.call(open_stream)
            assert caught.value.code == "404"

    run_virtual(main)


def test_no_secret_of_a_request_is_recorded(caplog):
    """Key, query, body, settings and answer of a request are in no record and on no log line of ours."""
    records = []

    async def main():
        guard = make_guard(observe=records.append)
        async with serving(INDISCREET) as server, httpx_of_one(guard) as client:
            await client.post(**secret_request(server.base))

    run_virtual(main)
    assert len(records) == 4
    assert SECRET not in repr(records)
    mine = [line for line in caplog.records if line.name.startswith("resilience")]
    assert SECRET not in repr([line.getMessage() for line in mine])


def test_settings_do_not_harm_the_inner_transport():
    """What sends sees the request as the client made it, extensions included, and may ignore them."""
    seen = []

    async def main():
        def handler(request):
            seen.append(request.extensions)
            return httpx.Response(200, json=OK)

        guard = make_guard()
        transport = guard.httpx(httpx.MockTransport(handler), hosts=["api.test"])
        async with httpx.AsyncClient(transport=transport) as client:
            mine = {"resilience": {"endpoint": "list"}}
            response = await client.post("https://api.test/x", timeout=7, extensions=mine)
            assert report(response).endpoint == "list"

    run_virtual(main)
    assert seen[0]["timeout"]["read"] == 7
