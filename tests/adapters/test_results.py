"""What clients return and raise: httpx responses, SDK errors, and every exception class there is."""

import asyncio
import inspect

import aiohttp
import anyio
import httpx
import pytest
import trio
from aiohttp import client_exceptions
from trio.testing import MockClock

from resilience import (
    DeadlineExceeded,
    FatalError,
    Guard,
    Policy,
    RetriesExhausted,
    Verdict,
    report,
)
from resilience.adapters.results import outcome_of_exception
from resilience.testing import EPOCH, FixedChance, run_virtual

HTTP = Policy.load("http")


@pytest.fixture(params=["asyncio", "trio"])
def run(request):
    """Runs an async function in virtual time, on each loop."""
    if request.param == "asyncio":
        return run_virtual
    return lambda main: trio.run(main, clock=MockClock(autojump_threshold=0))


def make_guard(policy="memories_ai", **settings):
    """A guard in virtual time without jitter."""
    return Guard(
        policy, wall=lambda: EPOCH + anyio.current_time(), chance=FixedChance(1.0), **settings
    )


def classes(module):
    """The exception classes that a module defines, in order."""
    return sorted(
        (cls for _, cls in inspect.getmembers(module, inspect.isclass)
         if issubclass(cls, Exception) and cls.__module__.split(".")[0] == module.__name__.split(".")[0]),
        key=lambda cls: cls.__name__,
    )  # fmt: skip


AIOHTTP = classes(client_exceptions)
HTTPX = classes(httpx._exceptions)


@pytest.mark.parametrize(
    "cls", AIOHTTP + HTTPX, ids=lambda cls: f"{cls.__module__.split('.')[0]}.{cls.__name__}"
)
def test_every_client_exception_has_a_rule(cls):
    """No exception that aiohttp or httpx can raise is unknown to the http catalog."""
    found = HTTP.classify(exception=cls.__new__(cls))
    assert found.matched_by.startswith("exceptions.")
    assert found.title != ""


def test_the_reflection_saw_them():
    """The lists above are not empty by accident."""
    assert {"ServerDisconnectedError", "ClientPayloadError"} <= {cls.__name__ for cls in AIOHTTP}
    assert {"ConnectError", "ReadTimeout", "PoolTimeout"} <= {cls.__name__ for cls in HTTPX}


@pytest.mark.parametrize(
    ("cls", "verdict", "certainty"),
    [
        pytest.param(
            aiohttp.ClientConnectorError, "retryable", "not_executed", id="aiohttp-connect"
        ),
        pytest.param(
            aiohttp.ConnectionTimeoutError,
            "retryable",
            "not_executed",
            id="aiohttp-connect-timeout",
        ),
        pytest.param(
            aiohttp.SocketTimeoutError, "retryable", "maybe_executed", id="aiohttp-read-timeout"
        ),
        pytest.param(
            aiohttp.ServerDisconnectedError, "retryable", "maybe_executed", id="aiohttp-disconnect"
        ),
        pytest.param(
            aiohttp.ClientPayloadError, "retryable", "maybe_executed", id="aiohttp-payload"
        ),
        pytest.param(aiohttp.InvalidURL, "fatal", "not_executed", id="aiohttp-url"),
        pytest.param(httpx.ConnectError, "retryable", "not_executed", id="httpx-connect"),
        pytest.param(httpx.ConnectTimeout, "retryable", "not_executed", id="httpx-connect-timeout"),
        pytest.param(httpx.PoolTimeout, "retryable", "not_executed", id="httpx-pool"),
        pytest.param(httpx.ReadTimeout, "retryable", "maybe_executed", id="httpx-read-timeout"),
        pytest.param(httpx.WriteError, "retryable", "maybe_executed", id="httpx-write"),
        pytest.param(httpx.RemoteProtocolError, "retryable", "maybe_executed", id="httpx-protocol"),
        pytest.param(httpx.UnsupportedProtocol, "fatal", "not_executed", id="httpx-url"),
    ],
)
def test_certainty_of_client_exceptions(cls, verdict, certainty):
    """What failed before a connection stood was not executed; what failed later, nobody knows."""
    found = HTTP.classify(exception=cls.__new__(cls))
    assert (found.verdict, found.certainty) == (Verdict(verdict), certainty)


def transport(*answers):
    """An httpx client over a scripted transport; also the list of its requests."""
    answers = list(answers)
    seen = []

    def handler(request):
        seen.append(request)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    return httpx.AsyncClient(
        transport=httpx.MockTransport(handler), base_url="https://api.memories.ai"
    ), seen


def answering(status, **content):
    """Makes a new response each time."""
    return lambda: httpx.Response(status, **content)


OK = answering(200, json={"code": "0000", "msg": "ok"})
BUSY = answering(200, json={"code": "0429", "msg": "busy"}, headers={"Retry-After": "7"})
DOWN = answering(503, text="<html>")


def test_httpx_response_is_judged_by_its_body(run):
    """A response that a function returns is read like any answer: body code, then status, hints."""

    async def main():
        guard = make_guard().options(endpoint="list")
        client, seen = transport(BUSY, DOWN, OK)
        async with client:
            zero = anyio.current_time()
            response = await guard.call(client.post, "/serve/api/v1/list_videos", json={"page": 1})
            assert response.json() == {"code": "0000", "msg": "ok"}
            assert anyio.current_time() - zero == 8.0
        assert [request.content for request in seen] == [b'{"page":1}'] * 3

    run(main)


def test_httpx_response_can_be_returned_and_reported(run):
    """on_failure="return" hands out the failed response; report() and the error know the code."""

    async def main():
        guard = make_guard().options(on_failure="return")
        client, _ = transport(lambda: httpx.Response(200, json={"code": "0003", "msg": "wrong"}))
        async with client:
            response = await guard.call(client.get, "/serve/api/v1/get_metadata")
            assert response.json()["code"] == "0003"
            assert isinstance(report(response).error, FatalError)
            assert report(response).error.code == "0003"

    run(main)


def test_httpx_exception_is_judged(run):
    """A connect error is repeated even on an upload, a read time-out is not."""

    async def main():
        guard = make_guard().options(endpoint="upload")
        client, seen = transport(httpx.ConnectError("no"), httpx.ReadTimeout("slow"))
        async with client:
            with pytest.raises(RetriesExhausted) as caught:
                await guard.call(client.post, "/serve/api/v1/upload", content=b"video")
        assert (len(seen), caught.value.reason) == (2, "not_repeatable")
        assert isinstance(caught.value.__cause__, httpx.ReadTimeout)

    run(main)


def test_httpx_status_error_is_judged_by_its_response(run):
    """raise_for_status() inside the function hides neither status nor Retry-After."""

    async def main():
        guard = make_guard().options(endpoint="list")
        client, _ = transport(lambda: httpx.Response(503, headers={"Retry-After": "9"}), OK)

        async def read():
            response = await client.get("/serve/api/v1/get_metadata")
            response.raise_for_status()
            return response.json()

        async with client:
            zero = anyio.current_time()
            assert await guard.call(read) == {"code": "0000", "msg": "ok"}
            assert anyio.current_time() - zero == 9.0

    run(main)


class SdkError(Exception):
    """As OpenAI-like SDKs raise: status, headers and body on the exception."""

    def __init__(self, status, body=None, headers=None):
        super().__init__("failed")
        self.status_code = status
        self.body = body
        self.headers = headers or {}


class CodeError(Exception):
    """As hand-written clients raise: the provider's code on the exception."""

    def __init__(self, code, msg):
        super().__init__(msg)
        self.code = code
        self.msg = msg


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        pytest.param(
            SdkError(200, {"code": "0003", "msg": "wrong"}), "0003", FatalError, id="body"
        ),
        pytest.param(SdkError(404), "404", FatalError, id="status"),
        pytest.param(CodeError("0003", "wrong"), "0003", FatalError, id="own-code"),
        pytest.param(SdkError(503), "503", RetriesExhausted, id="503"),
    ],
)
def test_sdk_errors_are_read(run, error, code, kind):
    """What an SDK puts on its exception is judged like an answer."""

    async def read():
        raise error

    async def main():
        with pytest.raises(kind) as caught:
            await make_guard().options(endpoint="list").call(read)
        assert caught.value.code == code
        assert caught.value.__cause__ is error

    run(main)


def test_a_response_that_came_too_late_is_closed():
    """The loop was busy past the deadline: nobody gets the response, so nobody else would close it."""
    answer = httpx.Response(503, stream=Unread())

    async def read():
        await anyio.sleep(3)
        asyncio.get_running_loop()._virtual += 2.5  # busy with something else
        return answer

    async def main():
        with pytest.raises(DeadlineExceeded):
            await make_guard().options(endpoint="list", deadline=5.0).call(read)
        assert answer.is_closed

    run_virtual(main)


class Unread(httpx.AsyncByteStream):
    """A body that is still to come."""

    async def __aiter__(self):
        """One piece."""
        yield b"x"


def test_parsed_response_on_an_exception():
    """A client that keeps the parsed body as ``response`` does not lose status and headers by that."""
    error = SdkError(503, headers={"Retry-After": "7"})
    error.response = {"detail": "down"}
    outcome = outcome_of_exception(error)
    assert (outcome.status, outcome.headers) == (503, {"Retry-After": "7"})
    assert outcome.body == {"detail": "down"}


@pytest.mark.parametrize("status", [200, 400, 503])
def test_body_of_an_exceptions_response(run, status):
    """``raise_for_status`` hides the body; the code in it counts, whatever the status."""

    async def main():
        body = {"code": "0003", "msg": "One or more parameters are incorrect"}
        request = httpx.Request("POST", "http://paper.test")
        answer = httpx.Response(status, json=body, request=request)

        async def search():
            raise httpx.HTTPStatusError("no", request=request, response=answer)

        with pytest.raises(FatalError) as caught:
            await make_guard().call(search)
        assert (caught.value.code, caught.value.message) == ("0003", body["msg"])

    run(main)
