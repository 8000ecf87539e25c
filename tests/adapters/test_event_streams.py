"""Streams of events: an error in the first event is an error, and a stream is never cut or held."""

import asyncio
import gzip
import json as jsonlib
import zlib

import anyio
import brotli
import pytest
from adapter_kit import BUSY, OK, json, make_guard, serving
from stream_kit import BROKEN, CLIENTS, client_of, httpx_of_one, stream

from resilience import FatalError, Guard, QuotaError, raise_for_code, report
from resilience.testing import FixedChance, run_virtual, wall

CHAT = "/serve/api/v1/chat_stream"
MEMOS_CHAT = "/api/openmem/v1/chat"
BUSY_EVENT = b"data: " + jsonlib.dumps(BUSY).encode() + b"\n\n"
THINKING = b'data:{"type":"thinking","content":"hm","sessionId":1}\n\n'
CONTENT = b'data:{"type":"content","content":"a cat","sessionId":1}\n\n'
DONE = b'data:"Done"\n\n'
GOOD = (THINKING, CONTENT, DONE)


@pytest.fixture(params=CLIENTS)
def way(request):
    """Through each client."""
    return request.param


def now():
    """Virtual seconds."""
    return round(asyncio.get_running_loop().time(), 3)


def reads_under_way():
    """Reads that go on in a task of their own."""
    return [task for task in asyncio.all_tasks() if "Ahead" in repr(task.get_coro())]


def play(way, handlers, story, *, policy="memories_ai", **options):
    """Tell a story with a client and a server, in virtual time."""

    async def main():
        guard = Guard(policy, wall=wall, chance=FixedChance(1.0)).options(**options)
        async with serving(*handlers) as server, client_of(way, guard) as opener:
            await story(opener, server)

    run_virtual(main)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([BUSY_EVENT], id="plain"),
        pytest.param([b": ping\n\n", 1.0, b": ping\n\n", BUSY_EVENT], id="after-heartbeats"),
        pytest.param([b"event: error\r\n", BUSY_EVENT.replace(b"\n", b"\r\n")], id="crlf"),
        pytest.param([b"\xef\xbb\xbf" + BUSY_EVENT], id="bom"),
        pytest.param([BUSY_EVENT[:9], 0.5, BUSY_EVENT[9:30], 0.5, BUSY_EVENT[30:]], id="in-pieces"),
        pytest.param([BUSY_EVENT.strip()], id="no-empty-line"),
        pytest.param([BUSY_EVENT, b"data: more\n\n"], id="more-behind-it"),
        pytest.param([BUSY_EVENT.strip() + b"\n", 3600.0], id="one-line-and-silence"),
    ],
)
def test_error_as_first_event_is_retried(way, first):
    """An error in the first event waits and is retried like one in a body; the caller sees no piece."""

    async def story(opener, server):
        async with opener("POST", server.base + CHAT, data={"q": "cats"}) as got:
            assert await got.rest() == b"".join(GOOD)
            assert (report(got.response).error, report(got.response).attempts) == (None, 2)
        assert len(server.asked_at) == 2
        assert len(set(server.bodies)) == 1

    play(way, [stream(*first), stream(*GOOD)], story)


@pytest.mark.parametrize(
    ("code", "kind", "requests"),
    [
        pytest.param("0402", QuotaError, 1, id="exhausted"),
        pytest.param("0003", FatalError, 1, id="fatal"),
        pytest.param("0401", FatalError, 1, id="refused"),
    ],
)
def test_final_error_as_first_event(way, code, kind, requests):
    """What is final is handed back: the stream to read, and the error in the report."""
    event = b'data: {"code":"%s","msg":"no"}\n\n' % code.encode()

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            with pytest.raises(kind) as caught:
                raise_for_code(got.response)
            assert (caught.value.code, caught.value.remedy != "") == (code, True)
            assert await got.rest() == event
        assert len(server.asked_at) == requests

    play(way, [stream(event)], story)


def test_50011_before_the_first_chunk(way):
    """MemOS says 50011 before the first chunk, in an event or in a body: both are retried."""
    refused = {"code": 50011, "message": "SSE connection failed", "data": None}
    event = b"event: message\ndata: " + jsonlib.dumps(refused).encode() + b"\n\n"
    sound = (
        b'event: message\ndata: {"type":"text","data":"Hi"}\n\n',
        b'event: message\ndata: {"type":"end","data":""}\n\n',
        b"data: [DONE]\n\n",
    )

    async def story(opener, server):
        async with opener("POST", server.base + MEMOS_CHAT) as got:
            assert await got.rest() == b"".join(sound)
            assert report(got.response).attempts == 3
        assert server.asked_at == [0.0, 1.0, 3.0]

    play(way, [stream(event), json(refused), stream(*sound)], story, policy="memos_cloud")


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(THINKING, id="object"),
        pytest.param(DONE, id="quoted-done"),
        pytest.param(b"data: [DONE]\n\n", id="done"),
        pytest.param(b'data: {"code":"SUCCESS","data":"Done"}\n\n', id="success-code"),
        pytest.param(b'event: message\ndata: {"response":"first"}\n\n', id="response"),
        pytest.param(b": only a comment\n\n", id="comment"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_first_event_that_is_no_error(way, first):
    """Text, a terminator or an answer without a code is handed on whole, after one request."""

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            assert await got.rest() == first
            assert report(got.response).error is None
        assert len(server.asked_at) == 1

    play(way, [stream(first)], story)


def test_the_stream_is_handed_on_after_its_first_event(way):
    """The caller has the first event at once, not when the stream ends, and the rest as it comes."""

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            assert now() == 2.0
            assert (await got.piece(), now()) == (THINKING, 2.0)
            assert (await got.piece(), now()) == (CONTENT, 12.0)
            assert (await got.rest(), now()) == (DONE, 22.0)

    play(way, [stream(2.0, THINKING, 10.0, CONTENT, 10.0, DONE)], story)


@pytest.mark.parametrize(
    "before", [[], [b": ping\n\n", 4.0, b'data: {"ty']], ids=["silent", "half"]
)
def test_quiet_stream_is_handed_on_after_five_seconds(way, before):
    """A stream without a first event is not held longer than 5 s, and nothing of it is lost."""
    steps = [*before, 3600.0, THINKING, 1.0, DONE]
    sent = b"".join(step for step in steps if isinstance(step, bytes))

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            assert now() == 5.0
            assert (got.status, report(got.response).error) == (200, None)
            assert await got.rest() == sent
            assert now() == 3601.0 + sum(step for step in before if isinstance(step, float))
        assert len(server.asked_at) == 1

    play(way, [stream(*steps)], story)


def test_quiet_stream_that_fails_goes_by_its_status(way):
    """A quiet stream under HTTP 503 is discarded after 5 s and tried again."""

    async def story(opener, server):
        async with opener("POST", server.base + "/serve/api/v1/list_videos") as got:
            assert await got.rest() == b"".join(GOOD)
        assert len(server.asked_at) == 2

    play(way, [stream(3600.0, status=503), stream(*GOOD)], story)


def test_error_after_the_first_event_belongs_to_the_caller(way):
    """Once a piece was delivered nothing is retried: an error later on is a part of the stream."""

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            assert await got.rest() == THINKING + BUSY_EVENT
            assert report(got.response).error is None
        assert len(server.asked_at) == 1

    play(way, [stream(THINKING, BUSY_EVENT)], story)


def test_connection_that_breaks_later_is_the_callers(way):
    """A stream that breaks after its first event raises in the reader, and is not sent again."""

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            with pytest.raises(BROKEN):
                await got.rest()
        assert len(server.asked_at) == 1

    play(way, [stream(THINKING, 1.0, None), stream(*GOOD)], story)


def test_connection_that_breaks_before_the_first_event_is_retried(way):
    """Nothing was delivered, so a broken connection is a failed attempt like any other."""

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            assert await got.rest() == b"".join(GOOD)
        assert len(server.asked_at) == 2

    play(way, [stream(b": ping\n\n", 1.0, None), stream(*GOOD)], story, idempotent=True)


def test_first_event_over_64_kib_goes_by_its_status(way):
    """An endless first event is not collected, and reaches the caller whole."""
    huge = b"data: " + b"x" * 200_000

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            assert now() == 0.0
            assert await got.rest() == huge + b"\n\n"

    play(way, [stream(huge, 60.0, b"\n\n")], story)


@pytest.mark.parametrize("after", [0.0, 4.0, 5.0, 7.0], ids=str)
def test_closing_early_ends_the_read(way, after):
    """Leaving a quiet stream early ends its read, frees the connection, and leaves no task."""

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            assert len(reads_under_way()) == (way != "aiohttp")  # which loses nothing anyway
            with anyio.move_on_after(after):
                await got.piece()
        assert reads_under_way() == []
        async with asyncio.timeout(1):
            async with opener("POST", server.base + CHAT) as got:
                assert await got.rest() == DONE

    play(way, [stream(3600.0), stream(DONE)], story)


@pytest.mark.parametrize("step", [0.0, 1.0, 4.0, 5.0, 6.0, 7.0], ids=str)
def test_cancelled_look_leaves_nothing(way, step):
    """Cancelled while we look, wait, or while the caller reads: connection and task are given back."""

    async def story(opener, server):
        async def read():
            async with opener("POST", server.base + CHAT) as got:
                await got.rest()

        task = asyncio.ensure_future(read())
        await asyncio.sleep(step)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reads_under_way() == []
        server.handlers[:] = [stream(DONE)]
        async with asyncio.timeout(1):
            async with opener("POST", server.base + CHAT) as got:
                assert await got.rest() == DONE

    play(way, [stream(2.0, BUSY_EVENT), stream(3600.0)], story)


def test_attempt_timeout_holds_for_the_look(way):
    """attempt_timeout may be shorter than our patience: the read is ended, and another one made."""

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            assert await got.rest() == DONE
        assert server.asked_at == [0.0, 2.0]

    play(way, [stream(3600.0), stream(DONE)], story, attempt_timeout=1.0, idempotent=True)


def compressed(kind, text):
    """As a server sends it."""
    if kind == "br":
        return brotli.compress(text)
    return gzip.compress(text) if kind == "gzip" else zlib.compress(text)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_compressed_events(way, encoding):
    """A compressed first event is judged, and the client decodes the stream itself."""
    bad, good = (compressed(encoding, part) for part in (BUSY_EVENT, b"".join(GOOD)))
    named = {"Content-Encoding": encoding}

    async def story(opener, server):
        async with opener("POST", server.base + CHAT) as got:
            assert await got.rest() == b"".join(GOOD)
        assert len(server.asked_at) == 2

    play(
        way,
        [stream(bad[:20], 1.0, bad[20:], **named), stream(good[:9], 1.0, good[9:], **named)],
        story,
    )


# -- guard.call of a function that returns a stream ------------------------------------------------


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_call_of_a_function_that_opens_a_stream(name):
    """guard.call(client.send, request, stream=True) looks at the first event, and loses nothing."""

    async def main():
        guard = make_guard()
        handlers = [stream(BUSY_EVENT), stream(3600.0, *GOOD)]
        async with serving(*handlers) as server, httpx_of_one(name=name) as client:

            async def chat():
                request = client.build_request("POST", server.base + CHAT)
                return await client.send(request, stream=True)

            response = await guard.call(chat)
            assert now() == 1.0 + 5.0
            assert await response.aread() == b"".join(GOOD)
            assert now() == 1.0 + 3600.0
            assert report(response).attempts == 2

    run_virtual(main)


def test_call_of_an_aiohttp_function_that_opens_a_stream():
    """The same for a function that returns an aiohttp response."""

    async def main():
        guard = make_guard()
        async with serving(stream(BUSY_EVENT), stream(*GOOD)) as server:
            async with client_of("aiohttp", None) as opener:

                async def chat():
                    return (await opener("POST", server.base + CHAT).__aenter__()).response

                response = await guard.call(chat)
                assert await response.read() == b"".join(GOOD)

    run_virtual(main)


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_call_of_a_function_that_opens_a_json_answer(name):
    """An answer that was opened as a stream is read if it is JSON, and can be read again."""

    async def main():
        guard = make_guard()
        async with serving(json(BUSY), json(OK)) as server, httpx_of_one(name=name) as client:

            async def chat():
                request = client.build_request("POST", server.base + CHAT)
                return await client.send(request, stream=True)

            response = await guard.call(chat)
            assert [jsonlib.loads(line) async for line in response.aiter_lines()] == [OK]
            assert report(response).attempts == 2

    run_virtual(main)


def test_call_over_a_guarded_client_looks_once(way):
    """A quiet stream is held for 5 s in all, also by a call around a guarded client."""

    async def main():
        guard = make_guard()
        async with serving(stream(BUSY_EVENT), stream(60.0, *GOOD)) as server:
            async with client_of(way, guard) as opener:
                opened = []

                async def chat():
                    opened.append(opener("POST", server.base + CHAT))
                    return (await opened[-1].__aenter__()).response

                response = await guard.call(chat)
                assert now() == 1.0 + 5.0
                read = response.read if way == "aiohttp" else response.aread
                assert await read() == b"".join(GOOD)
                assert len(server.asked_at) == 2

    run_virtual(main)
