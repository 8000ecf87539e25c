"""Chat of MemOS Cloud: whole, streamed, and what can go wrong in between."""

import asyncio
import json

import aiohttp
import pytest
from memos_kit import Memos, now, play

from pollers.emulator import Fault, MemosEmulator

CHAT = {"query": "which cats", "user_id": "u1", "conversation_id": "c1"}


def events(body: bytes) -> list:
    """The data of each event of a stream."""
    told = []
    for block in body.decode().split("\n\n"):
        for line in block.splitlines():
            if line.startswith("data: "):
                data = line.removeprefix("data: ")
                told.append(data if data == "[DONE]" else json.loads(data))
    return told


async def streamed(memos: Memos) -> tuple[str, list]:
    """Content type and events of a streamed chat."""
    status, kind, body = await memos.raw("chat", stream=True, **CHAT)
    assert status == 200
    return kind, events(body)


def test_an_answer_remembers_and_is_remembered() -> None:
    """It is made of what is known, and the question becomes a memory unless that is refused."""

    async def story(memos: Memos) -> None:
        await memos.add("I like black cats")
        answer = await memos.data("chat", add_message_on_answer=False, **CHAT)
        assert answer == {"response": "You asked: which cats. I remember: I like black cats"}
        assert len(memos.emulator.tasks) == 1
        await memos.data("chat", **CHAT)
        assert await memos.found("which cats") == ["which cats", "I like black cats"]

    play(story)


def test_an_answer_has_the_three_newest_memories_at_most() -> None:
    """Whatever else is known."""

    async def story(memos: Memos) -> None:
        await memos.add("cats 1", "cats 2", "cats 3", "cats 4")
        answer = await memos.data("chat", **CHAT)
        assert answer["response"].endswith("I remember: cats 4; cats 3; cats 2")

    play(story)


@pytest.mark.parametrize(
    ("end", "first", "last"),
    [
        ("end", {"type": "text", "data": "You "}, {"type": "end", "data": ""}),
        ("done", {"response": "You "}, "[DONE]"),
    ],
)
def test_a_stream_has_the_same_answer_and_an_end(end, first, last) -> None:
    """Events of a word each, and one of the two ends that are documented or seen."""

    async def story(memos: Memos) -> None:
        kind, told = await streamed(memos)
        assert (kind, told[0], told[-1]) == ("text/event-stream", first, last)
        text = "".join(one.get("data", one.get("response", "")) for one in told[:-1])
        assert text == "You asked: which cats. I remember nothing about it."

    play(story, stream_end=end)


def test_a_slow_stream_takes_its_time_between_events() -> None:
    """The first event comes at once, each other one `chunk_seconds` later."""

    async def story(memos: Memos) -> None:
        arrived = []
        async with memos.request("chat", json={**CHAT, "stream": True}) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    arrived.append(now())
        assert arrived == [2.0 * number for number in range(10)]

    play(story, chunk_seconds=2.0)


@pytest.mark.parametrize(
    ("errors", "kind"), [("body", "application/json"), ("event", "text/event-stream")]
)
def test_an_error_before_the_first_piece(errors, kind) -> None:
    """50011 instead of the stream, or as its first and only event; nothing was done."""
    error = {"code": 50011, "message": "SSE connection failed", "data": None}

    async def story(memos: Memos) -> None:
        memos.emulator.fail("chat", Fault(code=50011, times=2))
        status, told, body = await memos.raw("chat", stream=True, **CHAT)
        assert (status, told) == (200, kind)
        assert (events(body) if errors == "event" else [json.loads(body)]) == [error]
        assert await memos.body("chat", **CHAT) == error  # not streamed: a body in any case
        assert memos.emulator.tasks == {}
        assert [seen.code for seen in memos.emulator.requests] == ["50011", "50011"]

    play(story, stream_errors=errors)


@pytest.mark.parametrize("errors", ["body", "event"])
def test_an_error_in_the_middle_of_a_stream(errors) -> None:
    """Half of the answer, then the error as an event, and no end; the chat was answered."""

    async def story(memos: Memos) -> None:
        memos.emulator.fail("chat", Fault(code=50005, after_work=True))
        kind, told = await streamed(memos)
        assert kind == "text/event-stream"
        assert told[-1] == {
            "code": 50005, "message": "Search service temporarily unavailable", "data": None,
        }  # fmt: skip
        assert [one["data"] for one in told[:-1]] == ["You ", "asked: ", "which ", "cats. ", "I "]
        assert len(memos.emulator.tasks) == 1

    play(story, stream_errors=errors)


@pytest.mark.parametrize(
    ("fault", "kind", "whole"),
    [
        (Fault(body="json", code=50005, after_work=True), "application/json", True),
        (Fault(body="truncated", after_work=True), "text/event-stream", False),
    ],
)
def test_a_stream_that_was_begun_is_spoilt_as_a_body_or_a_stream(fault, kind, whole) -> None:
    """One JSON body if the fault says so; half of the stream if truncated."""

    async def story(memos: Memos) -> None:
        memos.emulator.fail("chat", fault)
        _, told, body = await memos.raw("chat", stream=True, **CHAT)
        assert told == kind
        if whole:
            assert json.loads(body)["code"] == 50005
        else:
            assert body.startswith(b'event: message\ndata: {"type":"text","data":"You "}\n\n')
            assert b'"type":"end"' not in body

    play(story)


def test_a_connection_that_breaks_in_the_middle_of_a_stream() -> None:
    """The first events arrive, then the connection is gone."""

    async def story(memos: Memos) -> None:
        memos.emulator.fail("chat", Fault(abort="middle", after_work=True))
        async with memos.request("chat", json={**CHAT, "stream": True}) as response:
            assert response.content_type == "text/event-stream"
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

    play(story)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault(status=500), 500, "application/json"),
        (Fault(status=502, body="html"), 502, "text/html"),
        (Fault(body="empty"), 200, "application/json"),
        (Fault(code=50011, body="truncated"), 200, "application/json"),
    ],
)
def test_other_faults_know_no_stream(fault, status: int, kind: str) -> None:
    """What a proxy answers is the same for every request."""

    async def story(memos: Memos) -> None:
        memos.emulator.fail("chat", fault)
        assert (await memos.raw("chat", stream=True, **CHAT))[:2] == (status, kind)

    play(story, stream_errors="event")


async def test_only_a_streamed_chat_has_its_errors_in_events() -> None:
    """Every other request, and one that can't be read, gets a body."""
    async with MemosEmulator(stream_errors="event") as emulator:
        emulator.fail("any", Fault(code=50004, times=3))
        headers = {"Authorization": "Token mpg"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for path, sent in [
                ("search/memory", b'{"stream": true}'), ("chat", b"{"), ("chat", b"[true]"),
            ]:  # fmt: skip
                url = f"{emulator.base_url}/{path}"
                async with session.post(url, data=sent) as response:
                    assert (await response.json())["code"] == 50004


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**CHAT, "query": None}, 40000),
        ({**CHAT, "query": ""}, 40002),
        ({**CHAT, "user_id": None}, 40000),
        ({**CHAT, "conversation_id": None}, 40000),
        ({**CHAT, "conversation_id": "x" * 101}, 40011),
        ({**CHAT, "query": "x" * 32_001}, 40303),
        ({**CHAT, "system_prompt": "x" * 32_000}, 40303),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_chats_are_refused_in_a_body(body, code: int, stream: bool) -> None:
    """What is missing or too long; asking for a stream changes nothing."""

    async def story(memos: Memos) -> int:
        return await memos.code("chat", stream=stream, **body)

    assert play(story, stream_errors="event") == code


async def test_closing_does_not_wait_for_a_slow_stream() -> None:
    """A stream of hours ends when the emulator is closed."""
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(headers={"Authorization": "Token mpg"}) as session:
        async with MemosEmulator(chunk_seconds=3600.0) as emulator:
            response = await session.post(
                f"{emulator.base_url}/chat", json={**CHAT, "stream": True}
            )
            assert b"You" in await response.content.readuntil(b"\n\n")
            began = loop.time()
        assert loop.time() - began < 1.0
        response.close()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    assert rest == set()


def test_half_an_emoji_is_a_question_mark() -> None:
    """JSON can ask with one, and no answer in UTF-8 can hold it."""

    async def story(memos: Memos) -> None:
        half = {**CHAT, "query": "cats \ud83d"}
        answer = await memos.data("chat", add_message_on_answer=False, **half)
        assert answer == {"response": "You asked: cats ?. I remember nothing about it."}

    play(story)
