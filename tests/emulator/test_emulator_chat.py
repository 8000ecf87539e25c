"""Chat in both forms, search and download: what comes, how it ends, and how it goes wrong."""

import asyncio
import json

import aiohttp
import pytest
import pytest_asyncio

from pollers.emulator import Fault

ASK = {"video_nos": ["VI1"], "prompt": "What happens?", "session_id": "42"}


async def events(api, **body):
    """The events of a stream, which is HTTP 200 and text/event-stream."""
    async with api.request("POST", "chat_stream", json=ASK | body) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        return parsed(await response.text())


def parsed(text):
    """The JSON after each ``data:``; events are apart by an empty line."""
    assert text.endswith("\n\n")
    lines = text.removesuffix("\n\n").split("\n\n")
    assert all(line.startswith("data:") for line in lines)
    return [json.loads(line.removeprefix("data:")) for line in lines]


@pytest_asyncio.fixture
async def talking(api):
    """An emulator with a parsed video."""
    api.emulator.add_video("VI1", name="cat", duration=12.3)
    return api


async def test_chat_in_one_piece(talking) -> None:
    """The JSON form says content, thinkings and session_id."""
    body = await talking.body("POST", "chat", json=ASK)
    thinkings = body["data"].pop("thinkings")
    assert all(set(thinking) == {"title", "content"} for thinking in thinkings)
    assert body == {
        "code": "0000",
        "msg": "success",
        "data": {"role": "ASSISTANT", "content": "This is about cat.", "session_id": "42"},
        "success": True,
        "failed": False,
    }


async def test_chat_in_a_stream(talking) -> None:
    """Thinking, references, pieces of the answer, and the end; each with its session."""
    *before, end = await events(talking)
    assert [event["type"] for event in before] == [
        *("thinking", "ref", "content", "content", "content")
    ]
    assert {event["sessionId"] for event in before} == {"42"}
    assert "".join(event["content"] for event in before[2:]) == "This is about cat."
    (reference,) = before[1]["ref"]
    assert reference["video"] == {"duration": "12", "video_no": "VI1", "video_name": "cat"}
    assert end == {"code": "SUCCESS", "data": "Done"}
    assert talking.emulator.requests[0].video_nos == ("VI1",)


async def test_sessions_are_made_up_if_none_is_given(talking) -> None:
    """Each question without a session opens one."""
    opened = {(await events(talking, session_id=None))[0]["sessionId"] for _ in range(3)}
    assert len(opened) == 3


async def test_a_stream_that_ends_in_a_text(start) -> None:
    """By a setting the end is bare text, as the first documents show it."""
    api = await start(chat_end="text")
    api.emulator.add_video("VI1")
    async with api.request("POST", "chat_stream", json=ASK) as response:
        assert (await response.read()).endswith(b'\n\ndata:"Done"\n\n')


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["VI404"], "No videos found for the provided video numbers."),
        (["VI1", "VI2"], "Video is not parsed:VI2"),
        (["VI3"], "Video is not parsed:VI3"),
    ],
)
async def test_a_question_about_wrong_videos(talking, asked, words) -> None:
    """A stream's only event is the end with the reason; the JSON form has it under 0001."""
    talking.emulator.add_video("VI2", parse_after=None)
    talking.emulator.add_video("VI3", outcome="PARSE_ERROR")
    assert await events(talking, video_nos=asked) == [{"code": "SUCCESS", "data": words}]
    talking.emulator.configure(chat_end="text")
    assert await events(talking, video_nos=asked) == [words]
    body = await talking.body("POST", "chat", json=ASK | {"video_nos": asked})
    assert (body["code"], body["msg"], body["data"]) == ("0001", words, None)


async def test_an_error_is_the_first_event(talking) -> None:
    """Key, limit, parameters and a scripted code come as an event; as JSON if a fault says so."""
    talking.emulator.fail("chat", Fault(code="0429"), Fault(code="0001", body="json"))
    short = {"code": "0429", "msg": "Request has exceeded the limit."}
    assert await events(talking) == [short]
    body = await talking.body("POST", "chat_stream", json=ASK)
    assert body["code"] == "0001"
    talking.emulator.set_limit("chat", 0, 60.0)
    assert await events(talking) == [short]
    talking.emulator.set_limit("chat_stream", None)
    (wrong,) = await events(talking, prompt="")
    assert (wrong["code"], wrong["msg"]) == ("0001", "video_nos and prompt are required")
    talking.key = None
    assert (await events(talking))[0]["code"] == "0401"
    assert [seen.code for seen in talking.emulator.requests] == [
        *("0429", "0001", "0429", "0001", "0401")
    ]


@pytest.mark.parametrize("end", ["envelope", "text"])
async def test_an_error_inside_the_stream(start, end) -> None:
    """After the answer's pieces, the end is not Done but what a fault says."""
    api = await start(chat_end=end)
    api.emulator.add_video("VI1")
    api.emulator.fail("chat_stream", Fault(msg="Error", after_work=True))
    *before, last = await events(api)
    assert len(before) == 5
    assert last == ({"code": "SUCCESS", "data": "Error"} if end == "envelope" else "Error")


async def test_a_code_after_the_work_breaks_the_stream_off(talking) -> None:
    """Half of the answer, then the error as an event, and no end; as JSON if the fault says so."""
    error = {"code": "0429", "msg": "Request has exceeded the limit."}
    after = {"code": "0429", "after_work": True}
    talking.emulator.fail("chat_stream", Fault(**after), Fault(**after, body="json"))
    *begun, last = await events(talking)
    assert [event["type"] for event in begun] == ["thinking", "ref", "content"]
    assert last == error
    assert await talking.body("POST", "chat_stream", json=ASK) == error


async def test_a_stream_that_breaks(talking) -> None:
    """A fault after the work cuts the connection between the pieces."""
    talking.emulator.fail("chat_stream", Fault(abort="middle", after_work=True))
    async with talking.request("POST", "chat_stream", json=ASK) as response:
        first = await response.content.readuntil(b"\n\n")
        assert b'"type":"thinking"' in first
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_quiet_stream(start) -> None:
    """Its headers come at once, its first event after the silence, and the others with pauses."""
    api = await start(chat_quiet=0.15, chat_pause=0.02)
    api.emulator.add_video("VI1")
    api.emulator.fail("chat", Fault(headers={"X-Trace": "1"}))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with api.request("POST", "chat_stream", json=ASK) as response:
        assert loop.time() - began < 0.14
        await response.content.readuntil(b"\n\n")
        assert loop.time() - began >= 0.15
        await response.read()
        assert loop.time() - began >= 0.15 + 5 * 0.02
        assert response.headers["X-Trace"] == "1"
    began = loop.time()
    assert len(await events(api, video_nos=["VI404"])) == 1
    assert loop.time() - began >= 0.15  # a refusal of the videos comes as late


async def test_search_speaks_its_dialect(start) -> None:
    """Parsed videos are found, camel case and numbers as strings; the old envelope says SUCCESS."""
    api = await start(dialect="2025")
    api.emulator.add_video("VI1", name="cat", duration=12.3)
    api.emulator.add_video("VI2", parse_after=None)
    hit = {
        "videoNo": "VI1",
        "videoName": "cat",
        "startTime": "0",
        "endTime": "12",
        "score": 0.61,
    }
    request = {"search_param": "a cat", "search_type": "BY_VIDEO", "top_k": 5}
    assert await api.body("POST", "search", json=request) == {
        "code": "SUCCESS",
        "msg": "Search completed successfully",
        "data": [hit],
    }
    api.emulator.configure(dialect="2026")
    body = await api.body("POST", "search", json=request)
    assert (body["code"], body["data"], body["success"]) == ("0000", [hit], True)
    empty = await api.body("POST", "search", json=request | {"unique_id": "elsewhere"})
    assert (empty["code"], empty["data"]) == ("0000", [])
    assert (await api.body("POST", "search", json={}))["code"] == "0001"


async def test_download_is_a_file_or_json(api) -> None:
    """Octets on success and JSON on failure, both under HTTP 200."""
    api.emulator.add_video("VI1", size=300_000)
    api.emulator.add_video("VI2", parse_after=None)
    async with api.request("POST", "download", json={"video_no": "VI1"}) as response:
        assert (response.status, response.content_type) == (200, "application/octet-stream")
        assert response.content_length == len(await response.read()) == 300_000
    for video_no, words in (("VI404", "video not found"), ("VI2", "video is not ready")):
        body = await api.body("POST", "download", json={"video_no": video_no})
        assert body == {
            "code": "0001",
            "msg": words,
            "data": None,
            "success": False,
            "failed": True,
        }
    assert [seen.code for seen in api.emulator.requests] == [None, "0001", "0001"]


async def test_download_breaks(api) -> None:
    """A file may end in its middle."""
    api.emulator.add_video("VI1", size=300_000)
    api.emulator.fail("download", Fault(abort="middle", after_work=True))
    async with api.request("POST", "download", json={"video_no": "VI1"}) as response:
        assert response.content_type == "application/octet-stream"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_documented_limits(start) -> None:
    """Out of the box: one chat a second in both forms together, and twelve downloads a minute."""
    api = await start(limits={})
    api.emulator.add_video("VI1", size=1)
    assert (await api.body("POST", "chat", json=ASK))["code"] == "0000"
    assert (await events(api))[0]["code"] == "0429"
    answers = []
    for _ in range(13):
        async with api.request("POST", "download", json={"video_no": "VI1"}) as response:
            answers.append(response.content_type)
    assert answers == ["application/octet-stream"] * 12 + ["application/json"]
