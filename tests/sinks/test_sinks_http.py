"""Webhooks and CloudEvents on real connections: what is sent, what is believed, what is bounded."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sinks_kit import SECRET, STORE, events, receiver
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from pollers.sinks import CloudEventsHttp, Webhook
from pollers.sinks._http import BadAnswer


async def refusal(sink: Any, **about: Any) -> BadAnswer:
    with pytest.raises(BadAnswer) as caught:
        await sink.deliver(events(1, **about))
    await sink.aclose()
    return caught.value


async def test_what_a_webhook_sends() -> None:
    """The event as CloudEvents JSON, with the three headers of Standard Webhooks that verify."""
    now = int(datetime.now(UTC).timestamp())  # the verifier has its own clock
    async with receiver() as there:
        sink = Webhook(there.url, secret=SECRET, headers={"x-tenant": "7"}, wall=lambda: now + 0.9)
        await sink.deliver(events(1, data={"ü": 1}))
        await sink.aclose()
        [(headers, body)] = there.got
    assert headers["webhook-id"] == f"{STORE}:1:2"
    assert headers["webhook-timestamp"] == str(now)
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["x-tenant"] == "7"
    told = Verifier(SECRET).verify(body, headers)
    assert (told["specversion"], told["id"]) == ("1.0", f"{STORE}:1:2")
    assert (told["type"], told["source"]) == ("pollers.job.succeeded", "/memories_ai/alice/videos")
    assert (told["subject"], told["data"]["user_data"]) == ("VI1", {"ü": 1})
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(body + b" ", headers)


async def test_each_attempt_is_signed_with_its_own_time() -> None:
    """A receiver refuses a signature that is older than five minutes: a retry must not carry it."""
    now = int(datetime.now(UTC).timestamp())  # the verifier has its own clock
    clock = [now - 3600.0, float(now)]
    async with receiver() as there:
        sink = Webhook(there.url, secret=SECRET, wall=lambda: clock.pop(0))
        for _ in range(2):
            await sink.deliver(events(1))
        await sink.aclose()
        (first, body), (second, again) = there.got
    assert body == again
    with pytest.raises(WebhookVerificationError, match="too old"):
        Verifier(SECRET).verify(body, first)
    Verifier(SECRET).verify(again, second)


async def test_what_binary_mode_sends() -> None:
    """Attributes in headers, percent-encoded as the binding says; the data is the body."""
    async with receiver() as there:
        sink = CloudEventsHttp(there.url)
        [event] = events(1)
        object.__setattr__(event, "subject", 'Euro € 100% "x"')
        await sink.deliver([event])
        await sink.aclose()
        [(headers, body)] = there.got
    assert headers["content-type"] == "application/json"
    assert {name: value for name, value in headers.items() if name.startswith("ce-")} == {
        "ce-specversion": "1.0", "ce-id": f"{STORE}:1:2", "ce-source": "/memories_ai/alice/videos",
        "ce-type": "pollers.job.succeeded", "ce-subject": "Euro%20%E2%82%AC%20100%25%20%22x%22",
        "ce-time": "2023-11-14T22:13:21Z", "ce-cursor": event.cursor,
    }  # fmt: skip
    assert json.loads(body) == event.data()


async def test_redirects_are_not_followed() -> None:
    """A receiver can't send us elsewhere, for instance inside our network."""
    async with receiver() as inside, receiver() as there:

        async def away(request: Any) -> web.Response:
            return web.Response(status=307, headers={"location": inside.url})

        there.answer = away
        error = await refusal(Webhook(there.url, secret=SECRET))
        assert (error.status, inside.got) == (307, [])


async def test_a_refusal_is_told_in_short() -> None:
    """Status, the receiver's words without line ends, its headers for the policy; none is shown."""
    async with receiver() as there:

        async def busy(request: Any) -> web.Response:
            return web.Response(
                status=503, text="come\nback  later " * 100, headers={"retry-after": "7"}
            )

        there.answer = busy
        error = await refusal(Webhook(there.url, secret=SECRET, headers={"authorization": "key"}))
    assert str(error).startswith("HTTP 503: come back later come back")
    assert len(str(error)) == len("HTTP 503: ") + 200
    assert error.headers["Retry-After"] == "7"
    assert "key" not in repr(error) and "retry-after" not in repr(error).lower()


@pytest.mark.parametrize("status", [200, 500])
async def test_an_endless_answer_is_cut_off(status: int) -> None:
    """At most 64 KiB are read, then the connection is closed; the status counts."""
    sent = 0
    async with receiver() as there:

        async def endless(request: web.Request) -> web.StreamResponse:
            nonlocal sent
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            while sent < 500_000_000:
                await response.write(b"x" * 65536)
                sent += 65536
            return response

        there.answer = endless
        sink = Webhook(there.url, secret=SECRET)
        if status == 200:
            await sink.deliver(events(1))
            await sink.aclose()
        else:
            assert (await refusal(sink)).status == 500
    assert sent < 100_000_000


async def test_a_silent_receiver_is_given_up() -> None:
    """After the time-out, also if it has begun to answer."""
    async with receiver() as there:

        async def drips(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b".")
                await asyncio.sleep(0.02)

        there.answer = drips
        sink = Webhook(there.url, secret=SECRET, timeout=0.2)
        with pytest.raises(TimeoutError):
            await sink.deliver(events(1))
        await sink.aclose()


async def test_connections_are_used_again_and_cookies_are_not() -> None:
    """Ten events take one connection."""
    ports = set()
    async with receiver() as there:

        async def cookies(request: web.Request) -> web.Response:
            ports.add(request.transport.get_extra_info("peername")[1])
            assert "cookie" not in request.headers
            return web.Response(text="thanks", headers={"set-cookie": "a=b"})

        there.answer = cookies
        sink = Webhook(there.url, secret=SECRET)
        for event in events(10):
            await sink.deliver([event])
        await sink.aclose()
    assert len(ports) == 1


async def test_a_session_that_was_given_is_used_and_left_open() -> None:
    """It is the user's."""
    async with receiver() as there, aiohttp.ClientSession(headers={"x-mine": "1"}) as session:
        sink = CloudEventsHttp(there.url, session=session)
        await sink.deliver(events(1))
        await sink.aclose()
        assert (there.got[0][0]["x-mine"], session.closed) == ("1", False)


def test_a_name_holds_no_secret() -> None:
    """It is stored and logged; a password and a token in the query are not in it."""
    url = "https://user:pass@example.org:8443/hook?token=secret"
    assert Webhook(url, secret=SECRET).name == "webhook:https://example.org:8443/hook"
    assert CloudEventsHttp(url).name == "cloudevents:https://example.org:8443/hook"
    assert Webhook(url, secret=SECRET, name="mine").name == "mine"


@pytest.mark.parametrize("url", ["example.org/hook", "ftp://example.org", "file:///etc/passwd", ""])
def test_a_wrong_url_is_told_at_once(url: str) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match="url="):
        CloudEventsHttp(url)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_x"])
def test_a_wrong_secret_is_told_without_it(secret: str) -> None:
    """What is expected is said, not what was given."""
    with pytest.raises(ValueError, match="whsec_' and base64") as caught:
        Webhook("https://example.org", secret=secret)
    assert caught.value.__cause__ is None


def test_other_wrong_arguments_are_told_at_once() -> None:
    """Each with its name and value."""
    with pytest.raises(ValueError, match="mode='batched'"):
        CloudEventsHttp("https://example.org", mode="batched")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout=0"):
        Webhook("https://example.org", secret=SECRET, timeout=0)
