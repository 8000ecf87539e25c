"""The Video Datalake: bare resources, operations, errors as an object under a real status."""

import asyncio
import io
import json

import aiohttp
import pytest

from pollers.emulator import Fault

PLACE = {"collection_id": "col_1", "targets": ["caption"], "query": "a cat"}


async def ask(api, method, path, **options):
    """Status, body and headers of a request."""
    headers = {} if api.key is None else {"Authorization": api.key}
    url = f"{api.emulator.datalake_url}/{path}"
    async with api.session.request(method, url, headers=headers, **options) as response:
        return response.status, await response.json(), response.headers


async def send_file(api, *, filename="cat.mp4", content=b"bytes", text=None, **fields):
    """POST videos as the official client does: a part `json`, and a file of octets."""
    form = aiohttp.FormData()
    form.add_field("json", text or json.dumps(fields), content_type="application/json")
    form.add_field(
        "file", io.BytesIO(content), filename=filename, content_type="application/octet-stream"
    )
    return await ask(api, "POST", "videos", data=form)


def error_of(body):
    """Code, message and hint of an error, which has nothing else but a request id."""
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"code", "message", "request_id", "retry_after"}
    return error["code"], error["retry_after"]


async def test_a_video_is_accepted_with_its_operation(api) -> None:
    """202 with the bare ids; the video is ready when its operation is done."""
    status, body, headers = await send_file(api, collection_id="col_1")
    assert (status, body) == (
        202,
        {"video_id": "vid_1", "operation": "op_1", "status": "processing"},
    )
    assert headers["X-Request-ID"].startswith("req_")
    await asyncio.sleep(0.01)
    _, operation, _ = await ask(api, "GET", "operations/op_1")
    assert operation == {
        "operation": "op_1",
        "kind": "ingest",
        "done": True,
        "cancelled": False,
        "resource": "vid_1",
        "progress": {"preprocess": "done", "index": "done", "derive": "done", "percent": 100},
        "error": None,
    }
    _, video, _ = await ask(api, "GET", "videos/vid_1")
    assert (video["video_id"], video["status"]) == ("vid_1", "ready")
    assert (video["collection_id"], video["metadata"]["title"]) == ("col_1", "cat")


async def test_an_operation_on_its_way(api) -> None:
    """Not done: its stages follow the clock, and the video is processing."""
    ingest = api.emulator.lake.add("vid_9", ready_after=3000.0)
    begun = ingest.started_at
    assert ingest.progress_at(begun + 910) == {
        "preprocess": "running",
        "index": "pending",
        "derive": "pending",
        "percent": 30,
    }
    assert ingest.progress_at(begun + 1510) == {
        "preprocess": "done",
        "index": "running",
        "derive": "pending",
        "percent": 50,
    }
    _, operation, _ = await ask(api, "GET", f"operations/{ingest.operation}")
    assert (operation["done"], operation["error"]) == (False, None)
    _, video, _ = await ask(api, "GET", "videos/vid_9")
    assert (video["status"], "duration_seconds" in video) == ("processing", False)


async def test_failures_and_partial_failures(api) -> None:
    """A failed video is a failed operation; a partial failure stands beside a ready video."""
    failed = api.emulator.lake.add("vid_1", error="moov atom not found")
    partial = api.emulator.lake.add("vid_2", partial="No speech was found")
    for ingest, status, error in (
        (failed, "failed", {"code": "ingest_failed", "message": "moov atom not found"}),
        (partial, "ready", {"code": "partial_failure", "message": "No speech was found"}),
    ):
        _, operation, _ = await ask(api, "GET", f"operations/{ingest.operation}")
        assert (operation["done"], operation["error"]) == (True, error)
        _, video, _ = await ask(api, "GET", f"videos/{ingest.video.video_no}")
        assert video["status"] == status
    assert [seen.code for seen in api.emulator.requests] == [None] * 4  # the job's, not the call's


async def test_an_idempotency_key_is_honoured(start) -> None:
    """The same key is the same video, operation and bill; other keys and accounts have their own."""
    api = await start(points=3, parse_seconds=60.0, keys={"sk-a": "alice", "sk-b": "bob"})
    api.key = "sk-a"
    first = (await send_file(api, idempotency_key="k1"))[:2]
    assert (await send_file(api, idempotency_key="k1"))[:2] == first
    assert api.emulator.balance("alice") == 2
    assert (await send_file(api, idempotency_key="k2"))[1]["video_id"] == "vid_2"
    assert (await send_file(api))[1]["video_id"] == "vid_3"
    assert api.emulator.balance("alice") == 0
    assert (await send_file(api, idempotency_key="k1"))[:2] == first  # paid for long ago
    assert (await send_file(api, idempotency_key="k9"))[0] == 402
    api.key = "sk-b"
    assert (await send_file(api, idempotency_key="k1"))[1]["video_id"] == "vid_4"


async def test_a_video_from_an_address(api) -> None:
    """JSON with a `source_url` is accepted at once; an address that gives nothing fails it later."""
    url = "http://127.0.0.1:1/dog.mp4"
    status, body, _ = await ask(api, "POST", "videos", json={"source_url": url})
    assert (status, body["status"]) == (202, "processing")
    async with asyncio.timeout(2):
        while (await ask(api, "GET", "videos/vid_1"))[1]["status"] == "processing":
            await asyncio.sleep(0.01)
    _, video, _ = await ask(api, "GET", "videos/vid_1")
    assert (video["status"], video["metadata"]["title"]) == ("failed", "dog.mp4")
    assert video["error"]["message"].startswith("Download failed")


@pytest.mark.parametrize("what", ["title", "summary", "caption", "transcription"])
async def test_what_is_derived_is_not_ready_at_first(start, what) -> None:
    """409 with the seconds to wait in header and body, the least and the most of them kept."""
    api = await start(not_ready_hint=40.0)
    lake = api.emulator.lake
    for after, hint in ((0.2, 1), (11.5, 12), (900.0, 40), (None, 40)):
        lake.add("vid_1", ready_after=after)
        status, body, headers = await ask(api, "GET", f"videos/vid_1/{what}")
        assert (status, *error_of(body)) == (409, "video_not_ready", hint)
        assert headers["Retry-After"] == str(hint)
        assert headers["X-Request-ID"] == body["error"]["request_id"]
    lake.add("vid_1", name="cat", duration=4.0)
    status, body, _ = await ask(api, "GET", f"videos/vid_1/{what}")
    assert (status, body["video_id"]) == (200, "vid_1")
    assert what in body or body["segments"][0]["end"] == 4.0
    lake.add("vid_1", error="broken")
    assert error_of((await ask(api, "GET", f"videos/vid_1/{what}"))[1]) == ("not_found", None)


async def test_refusals(start) -> None:
    """Each with its real status: key, account, balance, body, size, kind, id, method."""
    api = await start(
        keys={"sk-a": "alice"}, disabled_keys=["sk-off"], points=0, max_upload_bytes=10
    )
    for key, status in ((None, 401), ("sk-wrong", 401), ("sk-off", 403)):
        api.key = key
        assert (await ask(api, "GET", "videos"))[0] == status
    api.key = "sk-a"
    status, body, _ = await send_file(api)
    assert (status, *error_of(body)) == (402, "quota_exceeded", None)
    api.emulator.top_up(5, account="alice")
    assert (await send_file(api, content=b"x" * 11))[0] == 413
    assert (await send_file(api, filename="cat.txt"))[0] == 415
    assert (await ask(api, "POST", "videos", data=b"x"))[0] == 415
    assert (await ask(api, "POST", "videos", json={}))[0] == 400
    assert (await ask(api, "POST", "search", data=b"{]"))[0] == 400
    assert (await send_file(api, text="{]"))[0] == 400
    assert (await ask(api, "POST", "videos", json=[]))[0] == 400
    assert (await ask(api, "GET", "videos/vid_404"))[0] == 404
    assert (await ask(api, "GET", "operations/op_404"))[0] == 404
    assert (await ask(api, "PUT", "videos/vid_404"))[0] == 405
    assert error_of((await ask(api, "GET", "frames"))[1]) == ("not_found", None)
    assert api.emulator.balance("alice") == 5
    assert api.emulator.requests[-1].code == "not_found"


async def test_a_broken_limit_tells_how_long(start) -> None:
    """429 carries Retry-After, in the body too, without any setting."""
    api = await start(limits={"datalake_search": (1, 7.0)})
    await ask(api, "POST", "search", json=PLACE)
    status, body, headers = await ask(api, "POST", "search", json=PLACE)
    assert (status, *error_of(body), headers["Retry-After"]) == (429, "rate_limited", 7, "7")


async def test_list(api) -> None:
    """Newest first, by collection and status, in pages with a cursor."""
    for number in range(3):
        api.emulator.lake.add(f"vid_{number}", collection_id="col_1")
    api.emulator.lake.add("vid_8", collection_id="col_2", ready_after=None)

    async def page(**query):
        _, body, _ = await ask(api, "GET", "videos", params=query)
        return [video["video_id"] for video in body["videos"]], body["next_cursor"]

    assert await page() == (["vid_8", "vid_2", "vid_1", "vid_0"], None)
    assert await page(status="processing") == (["vid_8"], None)
    assert await page(collection_id="col_1", limit=2) == (["vid_2", "vid_1"], "2")
    assert await page(collection_id="col_1", limit=2, cursor="2") == (["vid_0"], None)
    assert (await ask(api, "GET", "videos", params={"limit": -1}))[0] == 400


async def test_search(api) -> None:
    """A moment of each ready video of the collection; what is not ready is not found."""
    api.emulator.lake.add("vid_1", collection_id="col_1", name="cat", duration=7.0)
    api.emulator.lake.add("vid_2", collection_id="col_1", ready_after=None)
    api.emulator.lake.add("vid_3", collection_id="col_2")
    _, body, _ = await ask(api, "POST", "search", json=PLACE)
    (moment,) = body["results"]
    assert (moment["ref"], moment["video_id"]) == ("vid_1@0.0-7.0", "vid_1")
    assert (moment["target"], moment["start"], moment["end"]) == ("caption", 0.0, 7.0)
    empty = PLACE | {"collection_id": "col_3"}
    assert (await ask(api, "POST", "search", json=empty))[:2] == (200, {"results": []})
    for wrong in ({"targets": []}, {"targets": ["smell"]}, {"query": ""}, {"collection_id": None}):
        assert (await ask(api, "POST", "search", json=PLACE | wrong))[0] == 400


async def test_faults_speak_datalake(api) -> None:
    """A known code has its status; a hint in the header is in the body; the id is in both."""
    api.emulator.lake.add("vid_1")
    api.emulator.fail(
        "datalake_read",
        Fault(code="video_not_ready", headers={"Retry-After": "12"}),
        Fault(code="conflict", msg="It is being deleted"),
        Fault(code="unavailable", headers={"Retry-After": "3"}),
        Fault(code="teapot", status=418),
        Fault(status=502, body="html"),
        Fault(body="truncated", after_work=True),
    )
    expected = [(409, "video_not_ready", 12), (409, "conflict", None), (503, "unavailable", 3)]
    for one in [*expected, (418, "teapot", None)]:
        status, body, headers = await ask(api, "GET", "videos/vid_1")
        assert (status, *error_of(body)) == one
        assert headers["X-Request-ID"] == body["error"]["request_id"]
    url, headers = f"{api.emulator.datalake_url}/videos/vid_1", {"Authorization": "sk"}
    async with api.session.get(url, headers=headers) as response:
        assert (response.status, response.content_type) == (502, "text/html")
        assert response.headers["X-Request-ID"] == "req_00000004"
    async with api.session.get(url, headers=headers) as response:
        assert (response.status, (await response.read())[:12]) == (200, b'{"video_id":')
    assert [seen.code for seen in api.emulator.requests] == [
        *("video_not_ready", "conflict", "unavailable", "teapot", None, None)
    ]
