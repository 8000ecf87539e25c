"""The other surfaces of Memories.ai, emulated, behind a guard: verdict, code, words and times.

Visual Search's chat, search and download, Visual Intelligence and the Datalake each say in their own
way that something went wrong.  The expectations are written by hand from what is known of the API,
never from the catalog.  Each row runs through an aiohttp session with the middleware, and through
``guard.call`` of a function that returns the response.
"""

import asyncio
import json

import pytest
from surfaces_kit import KEY, Got, Scene, play

from pollers.emulator import Fault
from resilience import AlreadyDone, FatalError, QuotaError, RetriesExhausted

ASK = {"video_nos": ["VI1"], "prompt": "What happens?"}
SEEN = {"messages": [{"role": "user", "content": "What happens?"}]}
MOMENT = {"collection_id": "col_default", "targets": ["caption"], "query": "a cat"}
POST_URL = {"video_url": "https://youtube.example/v/1"}

# (surface, method, path, body), and the endpoint that the catalog should see in it
CHAT = ("v1", "POST", "chat", ASK), "chat"
SEARCH = ("v1", "POST", "search", {"search_param": "a cat"}), "search"
DOWNLOAD = ("v1", "POST", "download", {"video_no": "VI1"}), "download"
TASK = ("v2", "GET", "task/t1", None), "v2_task"
METADATA = ("v2", "GET", "re_1/metadata", None), "v2_assets"
DELETE = ("v2", "DELETE", "asset/re_1", None), "v2_delete"
JOB = ("v2", "POST", "youtube/video/mai/transcript", POST_URL), "v2_job"
WHISPER = (
    ("v2", "POST", "transcriptions/sync-generate-audio", {"asset_id": "re_1"}),
    "v2_transcription",
)
VLM = ("v2", "POST", "vu/chat/completions", SEEN), "vlm"
VIDEO = ("lake", "GET", "videos/vid_1", None), "datalake_read"
SUMMARY = ("lake", "GET", "videos/vid_1/summary", None), "datalake_read"
LIST = ("lake", "GET", "videos", None), "datalake_read"
OPERATION = ("lake", "GET", "operations/op_1", None), "datalake_read"
MOMENTS = ("lake", "POST", "search", MOMENT), "datalake_search"
EVERY = {
    "chat": CHAT,
    "search": SEARCH,
    "download": DOWNLOAD,
    "v2-task": TASK,
    "v2-metadata": METADATA,
    "v2-delete": DELETE,
    "v2-job": JOB,
    "v2-whisper": WHISPER,
    "v2-vlm": VLM,
    "lake-video": VIDEO,
    "lake-summary": SUMMARY,
    "lake-list": LIST,
    "lake-operation": OPERATION,
    "lake-search": MOMENTS,
}


@pytest.fixture(params=["session", "call"])
def way(request):
    """Through a session with the middleware, or through guard.call."""
    return request.param


def prepare(scene: Scene, interface: str = "any", *faults: Fault) -> None:
    """A video, an asset and a task that are all ready, and what goes wrong."""
    emulator = scene.emulator
    emulator.add_video("VI1", size=10)
    emulator.assets.add_asset("re_1")
    emulator.assets.add_task("t1", result={"text": "x"})
    emulator.lake.add("vid_1")
    emulator.fail(interface, *faults)


async def ask(scene: Scene, call: tuple, **given) -> Got:
    """Call an endpoint; ``body`` replaces what is sent."""
    (surface, method, path, body), name = call
    body = given.pop("body", body)
    sent = {} if body is None else {"json": body}
    return await scene.ask(surface, method, given.pop("path", path), name=name, **sent, **given)


def check(got: Got, kind: type, code: str, words: str) -> None:
    """The error names class, code, the provider's words, and what to do."""
    assert type(got.error) is kind
    assert (got.error.code, got.error.message) == (code, words)
    assert got.error.remedy != ""


@pytest.mark.parametrize("call", EVERY.values(), ids=EVERY)
def test_a_success_is_handed_through(way, call):
    """Each surface's good answer costs one request and reaches the caller whole."""

    async def story(scene: Scene) -> None:
        prepare(scene)
        got = await ask(scene, call)
        assert got.error is None
        assert got.status == 200
        assert scene.times == [0.0]
        assert got.body == bytes(10) if call is DOWNLOAD else isinstance(got.body, dict)

    play(way, story)


@pytest.mark.parametrize("call", EVERY.values(), ids=EVERY)
def test_a_broken_limit_is_waited_out(way, call):
    """Twice too many in the surface's own words: one second, then two, with nothing lost."""
    surface = call[0][0]
    code = {"v1": "0429", "v2": 429, "lake": "rate_limited"}[surface]

    async def story(scene: Scene) -> None:
        prepare(scene, "any", Fault(code=code, times=2))
        got = await ask(scene, call)
        assert (got.error, got.status, got.at) == (None, 200, 3.0)
        assert scene.times == [0.0, 1.0, 3.0]

    play(way, story)


# The provider refuses and means it: (call, fault, error class, code, words)
FINAL = {
    "chat 0003": (CHAT, Fault(code="0003"), FatalError, "0003", "One or more parameters are incorrect"),
    "search 0001": (SEARCH, Fault(code="0001"), FatalError, "0001", "One or more parameters are incorrect"),
    "v2 400": (TASK, Fault(code=400), FatalError, "400", "Invalid request parameters"),
    "v2 405": (TASK, Fault(code=405), FatalError, "405", "Method not allowed"),
    "v2 409": (TASK, Fault(code=409), AlreadyDone, "409", "Request conflict or duplicate request"),
    "v2 415": (JOB, Fault(code=415), FatalError, "415", "Unsupported media type"),
    "v2 webhook": (
        JOB,
        Fault(code=400, msg="An async request requires at least one webhook."),
        FatalError,
        "400",
        "An async request requires at least one webhook.",
    ),
    "vlm errored": (VLM, Fault(code="errored", msg="Cannot read it"), FatalError, "errored", "Cannot read it"),
    "lake 400": (MOMENTS, Fault(code="invalid_request", msg="no"), FatalError, "invalid_request", "no"),
    "lake 401": (VIDEO, Fault(code="unauthorized", msg="no"), FatalError, "unauthorized", "no"),
    "lake 404": (VIDEO, Fault(code="not_found", msg="no"), FatalError, "not_found", "no"),
    "lake 409": (VIDEO, Fault(code="conflict", msg="no"), FatalError, "conflict", "no"),
    "lake 413": (MOMENTS, Fault(code="file_too_large", msg="no"), FatalError, "file_too_large", "no"),
    "lake 415": (MOMENTS, Fault(code="unsupported_media_type", msg="no"), FatalError, "unsupported_media_type", "no"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "fault", "kind", "code", "words"), FINAL.values(), ids=FINAL)
def test_a_refusal_is_final(way, call, fault, kind, code, words):
    """One request, the provider's code and words, and no door closes for the next call."""

    async def story(scene: Scene) -> None:
        prepare(scene, "any", fault)
        got = await ask(scene, call)
        check(got, kind, code, words)
        assert scene.times == [0.0]
        assert (await ask(scene, call)).error is None
        assert scene.times == [0.0, 0.0]

    play(way, story)


# Whoever asks next is refused too, by us: (call, fault, error class, code)
SHUT = {
    "chat 0402": (CHAT, Fault(code="0402"), QuotaError, "0402"),
    "download 9009": (DOWNLOAD, Fault(code="9009"), FatalError, "9009"),
    "v2 401": (TASK, Fault(code=401), FatalError, "401"),
    "v2 402": (JOB, Fault(code=402), QuotaError, "402"),
    "v2 403": (METADATA, Fault(code=403), FatalError, "403"),
    "lake 402": (VIDEO, Fault(code="quota_exceeded"), QuotaError, "quota_exceeded"),
}


@pytest.mark.parametrize(("call", "fault", "kind", "code"), SHUT.values(), ids=SHUT)
def test_a_refused_account_asks_no_more_until_the_probe(way, call, fault, kind, code):
    """The account's door is shut for a minute, then the next call goes through and opens it."""

    async def story(scene: Scene) -> None:
        prepare(scene, "any", fault)
        got = await ask(scene, call)
        assert (type(got.error), got.error.code) == (kind, code)
        assert got.error.retry_after == 60.0
        again = await ask(scene, SEARCH)
        assert (type(again.error), again.error.code) == (kind, code)
        assert scene.times == [0.0]
        await asyncio.sleep(60.0)
        assert (await ask(scene, call)).error is None
        assert scene.times == [0.0, 60.0]

    play(way, story)


HINTED = '{"error":{"code":"video_not_ready","message":"m","request_id":"r","retry_after":11}}'
AS_JSON = {"Content-Type": "application/json"}

# It passes by itself: (call, fault, when the requests are sent)
PASSING = {
    "chat network": (CHAT, Fault(code="0001", msg="network abnormal"), [0.0, 0.4]),
    "search network": (SEARCH, Fault(code="0001", msg="network abnormal", times=2), [0.0, 0.4, 1.2]),
    "download 503": (DOWNLOAD, Fault(status=503), [0.0, 1.0]),
    "v2 500": (TASK, Fault(code=500, times=2), [0.0, 1.0, 3.0]),
    "vlm busy": (VLM, Fault(code="errored", msg="Rate limit reached"), [0.0, 2.0]),
    "lake 500": (VIDEO, Fault(code="internal_error"), [0.0, 1.0]),
    "lake 503 hint": (LIST, Fault(code="unavailable", headers={"Retry-After": "9"}), [0.0, 9.0]),
    "lake 429 hint": (MOMENTS, Fault(code="rate_limited", headers={"Retry-After": "7"}), [0.0, 7.0]),
    "lake not ready": (SUMMARY, Fault(code="video_not_ready"), [0.0, 2.0]),
    "lake hint in the body": (SUMMARY, Fault(text=HINTED, status=409, headers=AS_JSON), [0.0, 11.0]),
    "lake truncated": (OPERATION, Fault(body="truncated", after_work=True), [0.0, 1.0]),
}  # fmt: skip


@pytest.mark.parametrize(("call", "fault", "times"), PASSING.values(), ids=PASSING)
def test_what_passes_is_tried_again(way, call, fault, times):
    """The call succeeds, after exactly the waits that the surface asks for or the rule says."""

    async def story(scene: Scene) -> None:
        prepare(scene, "any", fault)
        got = await ask(scene, call)
        assert (got.error, got.status) == (None, 200)
        assert scene.times == times

    play(way, story)


# What may have been done is not done twice: (call, fault, when the requests are sent, code)
GIVEN_UP = {
    "chat twice at most": (CHAT, Fault(code="0001", msg="network abnormal", times=9), [0.0, 0.4], "0001"),
    "vlm twice at most": (VLM, Fault(code="errored", msg="overloaded", times=9), [0.0, 2.0], "errored"),
    "v2 job once": (JOB, Fault(code=500, after_work=True), [0.0], "500"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "fault", "times", "code"), GIVEN_UP.values(), ids=GIVEN_UP)
def test_billed_work_is_not_repeated_for_ever(way, call, fault, times, code):
    """A chat and the VLM once more, a job not at all."""

    async def story(scene: Scene) -> None:
        prepare(scene, "any", fault)
        got = await ask(scene, call)
        assert (type(got.error), got.error.code) == (RetriesExhausted, code)
        assert got.error.attempts == len(times)
        assert scene.times == times

    play(way, story)


def test_the_whisper_trap_is_bounded(way):
    """An unknown asset in the words of a rate limit: one more try, and nobody else has to wait."""

    async def story(scene: Scene) -> None:
        prepare(scene)
        wrong, right = await asyncio.gather(
            ask(scene, WHISPER, body={"asset_id": "re_404"}), ask(scene, WHISPER)
        )
        check(wrong, RetriesExhausted, "400", "Request has exceeded the limit.")
        assert (wrong.at, wrong.error.attempts) == (2.0, 2)
        assert (right.error, right.at) == (None, 0.0)
        missing = await ask(scene, WHISPER, body={})
        check(missing, FatalError, "400", "asset_id cannot be null or empty")
        assert scene.times == [0.0, 0.0, 2.0, 2.0]

    play(way, story)


def test_a_deletion_whose_answer_was_lost_is_done(way):
    """After our own lost reply "Asset not found" is the success; out of the blue it is not."""

    async def story(scene: Scene) -> None:
        prepare(scene, "v2_delete", Fault(status=502, after_work=True))
        assert (await ask(scene, DELETE)).error is None
        assert [seen.status for seen in scene.emulator.requests] == [502, 400]
        check(await ask(scene, DELETE), AlreadyDone, "400", "Asset not found")

    play(way, story)


def test_a_failed_job_is_a_result(way):
    """A task, an operation and a video that failed are answers, not failed calls."""

    async def story(scene: Scene) -> None:
        scene.emulator.assets.add_task("t1", error="The video is private")
        scene.emulator.lake.add("vid_1", error="moov atom not found")
        task, operation, video = [await ask(scene, call) for call in (TASK, OPERATION, VIDEO)]
        assert [task.error, operation.error, video.error] == [None, None, None]
        assert (task.body["status"], task.body["error"]) == ("failed", "The video is private")
        assert operation.body["error"]["message"] == "moov atom not found"
        assert video.body["status"] == "failed"
        assert scene.times == [0.0, 0.0, 0.0]

    play(way, story)


def test_not_ready_waits_as_long_as_the_datalake_says(way):
    """The hint is the rest of the indexing; at its end the summary is there."""

    async def story(scene: Scene) -> None:
        scene.emulator.lake.add("vid_1", name="cat", ready_after=12.0)
        got = await ask(scene, SUMMARY)
        assert (got.error, got.body["summary"]) == (None, "What is seen in cat")
        assert scene.times == [0.0, 12.0]

    play(way, story)


def test_not_ready_for_ever_ends(way):
    """Four tries as for everything, and the error has the code and the words."""

    async def story(scene: Scene) -> None:
        scene.emulator.lake.add("vid_1", ready_after=None)
        got = await ask(scene, SUMMARY)
        check(got, RetriesExhausted, "video_not_ready", "The video is still being indexed")
        assert scene.times == [0.0, 10.0, 20.0, 30.0]

    play(way, story, not_ready_hint=10.0)


def test_a_real_window_of_the_datalake(way):
    """A second search within the window waits exactly until its end, by header and body."""

    async def story(scene: Scene) -> None:
        prepare(scene)
        first, second = await ask(scene, MOMENTS), await ask(scene, MOMENTS)
        assert (first.error, second.error) == (None, None)
        assert scene.times == [0.0, 0.0, 7.0]
        assert [seen.status for seen in scene.emulator.requests] == [200, 429, 200]

    play(way, story, limits={"datalake_search": (1, 7.0)})


def ingest(**fields):
    """POST videos with these fields."""
    return ("lake", "POST", "videos", {"source_url": "http://127.0.0.1:1/a.mp4"} | fields), (
        "datalake_ingest"
    )


def test_an_ingest_is_repeated_only_with_a_key(way):
    """A lost 202 is final, unless an idempotency key makes the second one the same video."""

    async def story(scene: Scene) -> None:
        lost = Fault(code="internal_error", after_work=True)
        scene.emulator.fail("datalake_ingest", lost)
        got = await ask(scene, ingest())
        check(got, RetriesExhausted, "internal_error", "internal error")
        assert got.error.attempts == 1
        scene.emulator.fail("datalake_ingest", lost)
        got = await ask(scene, ingest(idempotency_key="k1"), options={"idempotent": True})
        assert (got.error, got.status, got.body["video_id"]) == (None, 202, "vid_2")
        assert [seen.video_nos for seen in scene.emulator.requests] == [
            *(("vid_1",), ("vid_2",), ("vid_2",))
        ]

    play(way, story)


def test_download_fails_in_json(way):
    """JSON under HTTP 200 in the place of a file is an error with the provider's words."""

    async def story(scene: Scene) -> None:
        got = await ask(scene, DOWNLOAD)
        check(got, FatalError, "0001", "video not found")
        scene.emulator.add_video("VI1", parse_after=None)
        check(await ask(scene, DOWNLOAD), FatalError, "0001", "video is not ready")
        assert scene.times == [0.0, 0.0]

    play(way, story)


def test_chat_about_a_video_that_is_not_parsed(way):
    """The JSON form is final, and says why."""

    async def story(scene: Scene) -> None:
        scene.emulator.add_video("VI1", parse_after=None)
        check(await ask(scene, CHAT), FatalError, "0001", "Video is not parsed:VI1")

    play(way, story)


async def last_event(scene: Scene) -> object:
    """Read a chat's stream to its end and return what the last event says."""
    url = f"{scene.emulator.base_url}/chat_stream"
    async with scene.session.post(url, json=ASK, headers=KEY) as response:
        events = (await response.text()).strip().split("\n\n")
    return json.loads(events[-1].removeprefix("data:"))


@pytest.mark.parametrize(
    ("faults", "times", "words"),
    [
        pytest.param([], [0.0], None, id="done"),
        pytest.param([Fault(code="0429", times=2)], [0.0, 1.0, 3.0], None, id="limit"),
        pytest.param([Fault(msg="Error", after_work=True)], [0.0], "Error", id="error"),
        pytest.param(
            [Fault(msg="Video is not parsed:", after_work=True)],
            [0.0],
            "Video is not parsed:",
            id="not parsed",
        ),
    ],
)
def test_a_streams_end_is_judged(faults, times, words):
    """A first event that is an error is tried again; an end that is not Done is final."""

    async def story(scene: Scene) -> None:
        prepare(scene, "chat_stream", *faults)
        call = scene.guard.options(endpoint="chat").call
        if words is None:
            assert await call(last_event, scene) == {"code": "SUCCESS", "data": "Done"}
        else:
            with pytest.raises(FatalError) as caught:
                await call(last_event, scene)
            assert caught.value.message == words
        assert scene.times == times

    play("call", story)
