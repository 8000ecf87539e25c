"""An SDK that repeats by itself, on top of a guard that does: never the product of both."""

import openai
import pytest
from adapter_kit import chunked, hang_up, json, make_guard, raw, serving
from stream_kit import library_of, stream

from resilience import (
    FatalError,
    QuotaError,
    ResilienceError,
    RetriesExhausted,
    raise_for_code,
    report,
)
from resilience.testing import run_virtual

MESSAGES = [{"role": "user", "content": "Which video has the cat?"}]
ANSWER = {
    "id": "chat-1",
    "object": "chat.completion",
    "created": 1,
    "model": "any",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "VI1"}}
    ],
}
NETWORK = {"code": "0001", "msg": "network abnormal"}
"""Passes by itself; three attempts, says its row."""
EMPTY = {"code": "0402", "msg": "You don't have enough points."}

DOWN = raw(b"<html>", status=503)
RETRIES = [0, 2, 5]


@pytest.fixture(params=["httpx", "httpx2"])
def name(request):
    """Both clients that the SDK takes."""
    return request.param


def play(handlers, story, *, name="httpx", max_retries=2, **options):
    """Tell a story with the SDK over a guarded client, in virtual time."""

    async def main():
        guard = make_guard().options(**{"idempotent": True, **options})
        async with serving(*handlers) as server:
            async with openai.AsyncOpenAI(
                api_key="sk-test",
                base_url=server.base + "/v1",
                max_retries=max_retries,
                timeout=None,
                http_client=guard.install(library_of(name).AsyncClient(), hosts=["127.0.0.1"]),
            ) as client:
                await story(client, server, guard)
        assert guard._shared.machine.parked == 0
        assert guard._shared.active == 0

    run_virtual(main)


def create(client, **more):
    """Ask."""
    return client.chat.completions.create(model="any", messages=MESSAGES, **more)


def check_report(told, code):
    """The code in words that help."""
    assert told.classification.code == code
    assert told.classification.title != ""
    assert told.classification.remedy != ""


def test_success_costs_one_request(name):
    """Nothing is in the way of what works."""

    async def story(client, server, guard):
        answer = await create(client)
        assert answer.choices[0].message.content == "VI1"
        assert len(server.asked_at) == 1

    play([json(ANSWER)], story, name=name)


def test_what_passes_is_never_seen(name):
    """Two failures and then an answer: the SDK sees the answer only."""

    async def story(client, server, guard):
        answer = await create(client)
        assert answer.choices[0].message.content == "VI1"
        assert len(server.asked_at) == 3

    play([DOWN, json(NETWORK), json(ANSWER)], story, name=name, max_retries=0)


@pytest.mark.parametrize("max_retries", RETRIES)
def test_503_for_ever(name, max_retries):
    """Four requests, whatever the SDK would do; its own error carries the report."""

    async def story(client, server, guard):
        with pytest.raises(openai.InternalServerError) as caught:
            await create(client)
        assert len(server.asked_at) == 4
        assert caught.value.response.headers["x-should-retry"] == "false"
        check_report(report(caught.value), "503")
        assert report(caught.value) is report(caught.value.response)
        assert report(caught.value).attempts == 4
        with pytest.raises(RetriesExhausted, match="503"):
            raise_for_code(caught.value)

    play([DOWN], story, name=name, max_retries=max_retries)


@pytest.mark.parametrize("max_retries", RETRIES)
def test_error_code_in_http_200_for_ever(name, max_retries):
    """The SDK takes it for an answer; the raw response knows better."""

    async def story(client, server, guard):
        raw_answer = await client.chat.completions.with_raw_response.create(
            model="any", messages=MESSAGES
        )
        assert len(server.asked_at) == 3
        check_report(report(raw_answer.http_response), "0001")
        with pytest.raises(RetriesExhausted, match="network abnormal"):
            raise_for_code(raw_answer.http_response)

    play([json(NETWORK)], story, name=name, max_retries=max_retries)


@pytest.mark.parametrize("max_retries", RETRIES)
@pytest.mark.parametrize(
    "broken", [hang_up, chunked(b'{"id":', cut=True)], ids=["disconnect", "mid-body"]
)
def test_broken_connections_for_ever(name, max_retries, broken):
    """There is no response to mark, but a repeat of the SDK gets one attempt: a sum, not a product."""

    async def story(client, server, guard):
        with pytest.raises(openai.APIConnectionError) as caught:
            await create(client)
        assert len(server.asked_at) == 4 + max_retries
        assert caught.value.__cause__ is not None
        check_report(report(caught.value), "RemoteProtocolError")
        assert report(caught.value).error.code == "RemoteProtocolError"

    play([broken], story, name=name, max_retries=max_retries)


def test_repeat_of_the_sdk_that_succeeds(name):
    """The SDK's repeat is sent once, and if it works all is well."""

    async def story(client, server, guard):
        assert (await create(client)).choices[0].message.content == "VI1"
        assert len(server.asked_at) == 5

    play([*[hang_up] * 4, json(ANSWER)], story, name=name)


def test_call_that_may_not_be_repeated(name):
    """What the guard may not repeat, the SDK still does by itself after a broken connection."""

    async def story(client, server, guard):
        with pytest.raises(openai.APIConnectionError) as caught:
            await create(client)
        assert len(server.asked_at) == 1 + 2
        assert report(caught.value).error.reason == "not_repeatable"

    play([hang_up], story, name=name, idempotent=None)


@pytest.mark.parametrize("max_retries", RETRIES)
@pytest.mark.parametrize(
    ("failure", "code", "requests"),
    [
        pytest.param(DOWN, "503", 4, id="503"),
        pytest.param(json(NETWORK), "0001", 3, id="0001"),
        pytest.param(hang_up, "RemoteProtocolError", 4, id="disconnect"),
        pytest.param(stream(None), "RemoteProtocolError", 4, id="stream-disconnect"),
    ],
)
def test_call_around_the_sdk(name, max_retries, failure, code, requests):
    """guard.call around the SDK's method raises the error that fits, and only it repeats."""

    async def story(client, server, guard):
        with pytest.raises(RetriesExhausted) as caught:
            await guard.call(client.chat.completions.create, model="any", messages=MESSAGES)
        assert (caught.value.code, caught.value.attempts) == (code, requests)
        assert caught.value.title != ""
        assert len(server.asked_at) == requests

    play([failure], story, name=name, max_retries=max_retries)


def test_call_around_the_sdk_finds_the_code_in_http_200(name):
    """What the SDK takes for an empty answer is the provider's refusal, with its remedy."""

    async def story(client, server, guard):
        with pytest.raises(QuotaError) as caught:
            await guard.call(client.chat.completions.create, model="any", messages=MESSAGES)
        assert (caught.value.code, caught.value.reason) == ("0402", "exhausted")
        assert caught.value.remedy != ""
        assert len(server.asked_at) == 1

    play([json(EMPTY)], story, name=name)


def test_closed_door_is_told_at_once(name):
    """An account that is known to be empty costs no request; the error passes through the SDK."""

    async def story(client, server, guard):
        await client.chat.completions.with_raw_response.create(model="any", messages=MESSAGES)
        with pytest.raises(ResilienceError, match="0402"):
            await create(client)
        assert len(server.asked_at) == 1

    play([json(EMPTY)], story, name=name)


def test_stream_of_the_sdk(name):
    """stream=True: an error in the first event is retried, and the SDK reads the good stream."""
    chunk = (
        b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"any",'
        b'"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
    )
    busy = b'data: {"code":"0429","msg":"busy"}\n\n'

    async def story(client, server, guard):
        words = [part.choices[0].delta.content async for part in await create(client, stream=True)]
        assert words == ["a", "cat"]
        assert len(server.asked_at) == 2

    play(
        [stream(busy), stream(chunk % b"a", 2.0, chunk % b"cat", b"data: [DONE]\n\n")],
        story,
        name=name,
    )


def test_guard_that_only_watches_leaves_the_sdk_alone(name):
    """In shadow mode the SDK retries as it would without us."""

    async def main():
        guard = make_guard(enforce=False)
        async with serving(DOWN) as server:
            async with openai.AsyncOpenAI(
                api_key="sk-test", base_url=server.base, max_retries=2, timeout=None,
                http_client=guard.install(library_of(name).AsyncClient(), hosts=["127.0.0.1"]),
            ) as client:  # fmt: skip
                with pytest.raises(openai.InternalServerError) as caught:
                    await create(client)
                assert len(server.asked_at) == 3
                assert "x-should-retry" not in caught.value.response.headers
                with pytest.raises(openai.InternalServerError):
                    await guard.call(create, client)
                assert len(server.asked_at) == 6

    run_virtual(main)


def test_fatal_answer_is_not_repeated_by_anybody(name):
    """HTTP 409 is one of those that the SDK repeats; our policy says that it can't be cured."""

    async def story(client, server, guard):
        with pytest.raises(openai.ConflictError) as caught:
            await create(client)
        assert len(server.asked_at) == 1
        with pytest.raises(FatalError):
            raise_for_code(caught.value)

    play([json({"code": "0003", "msg": "no"}, status=409)], story, name=name)
