"""Visual Intelligence (v2): the code is the status, tasks have no envelope, and the whisper trap."""

import asyncio
import io

import aiohttp
import pytest

from pollers.emulator import Fault


async def ask(api, method, path, **options):
    """Status and body of a request to v2."""
    headers = {} if api.key is None else {"Authorization": api.key}
    url = f"{api.emulator.v2_url}/{path}"
    async with api.session.request(method, url, headers=headers, **options) as response:
        return response.status, await response.json()


async def upload(api, *, filename="cat.mp4", content_type="video/mp4"):
    """Upload a file as multipart."""
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(b"bytes"), filename=filename, content_type=content_type)
    return await ask(api, "POST", "upload", data=form)


async def test_an_upload_is_an_asset(api) -> None:
    """An upload answers an asset_id, and its metadata say how it ended."""
    status, body = await upload(api)
    asset_id = body["data"]["asset_id"]
    assert asset_id.startswith("re_")
    assert (status, body) == (
        200,
        {
            "code": 200,
            "msg": "success",
            "data": {"asset_id": asset_id},
            "failed": False,
            "success": True,
        },
    )
    await asyncio.sleep(0.01)  # without decoding it is parsed at once
    status, body = await ask(api, "GET", f"{asset_id}/metadata")
    (resource,) = body["data"]["resource"]
    assert (resource["asset_id"], resource["upload_status"]) == (asset_id, "SUCCESS")
    assert (resource["original_filename"], resource["file_size"]) == ("cat.mp4", 5)


async def test_an_upload_that_is_still_looked_at_or_is_no_video(start) -> None:
    """Until it was looked at it is PROCESSING; what can't be decoded is FAILED."""
    api = await start(parse_seconds=3600.0)
    _, body = await upload(api)
    _, body = await ask(api, "GET", f"{body['data']['asset_id']}/metadata")
    assert body["data"]["resource"][0]["upload_status"] == "PROCESSING"
    api.emulator.assets.add_asset("re_9", error="moov atom not found")
    _, body = await ask(api, "GET", "re_9/metadata")
    assert body["data"]["resource"][0]["upload_status"] == "FAILED"


async def test_refusals_have_their_status(start) -> None:
    """Key, account, balance, type, asset, method and path: the code is the HTTP status."""
    api = await start(keys={"sk-a": "alice"}, disabled_keys=["sk-off"], points=0)
    for key, code, words in (
        (None, 401, "Unauthorized"),
        ("sk-wrong", 401, "Unauthorized"),
        ("sk-off", 403, "Forbidden"),
    ):
        api.key = key
        refused = {"code": code, "msg": words, "data": None}
        assert await ask(api, "GET", "re_1/metadata") == (code, refused)
    api.key = "sk-a"
    assert await ask(api, "GET", "re_1/metadata") == (
        400,
        {"code": 400, "msg": "Asset not found", "data": None},
    )
    assert await upload(api) == (
        402,
        {"code": 402, "msg": "Insufficient balance or credits", "data": None},
    )
    api.emulator.top_up(5, account="alice")
    assert (await upload(api, filename="cat.txt"))[0] == 415
    assert (await ask(api, "PUT", "upload"))[1]["code"] == 405
    assert (await ask(api, "PUT", "re_1/metadata"))[1]["code"] == 405
    assert (await ask(api, "GET", "nothing/here"))[0] == 404
    assert [seen.code for seen in api.emulator.requests][-2:] == ["405", "404"]


async def test_a_broken_limit(start) -> None:
    """429 in both places, without data and, as in v1, without a hint."""
    api = await start(limits={"v2_task": (1, 60.0)})
    await ask(api, "GET", "task/t1")
    async with api.session.get(
        f"{api.emulator.v2_url}/task/t1", headers={"Authorization": "sk"}
    ) as response:
        assert response.status == 429
        assert await response.read() == b'{"code":429,"msg":"Rate limit exceeded","data":null}'
        assert "Retry-After" not in response.headers


async def test_accounts_do_not_see_each_other(start) -> None:
    """An asset and a task belong to one account."""
    api = await start(keys={"sk-a": "alice", "sk-b": "bob"})
    api.emulator.assets.add_asset("re_1", account="alice")
    api.emulator.assets.add_task("t1", account="alice")
    api.key = "sk-b"
    assert (await ask(api, "GET", "re_1/metadata"))[0] == 400
    assert (await ask(api, "GET", "task/t1"))[0] == 400
    api.key = "sk-a"
    assert (await ask(api, "GET", "re_1/metadata"))[0] == 200
    assert (await ask(api, "GET", "task/t1"))[0] == 200


async def test_a_transcript_is_a_task(start) -> None:
    """A MAI transcript answers a task_id, each time a new one, and is billed."""
    api = await start(points=5, parse_seconds=3600.0)
    started = []
    for platform in ("youtube", "tiktok"):
        url = {"video_url": f"https://{platform}.example/v/1"}
        status, body = await ask(api, "POST", f"{platform}/video/mai/transcript", json=url)
        assert (status, body["code"]) == (200, 200)
        started.append(body["data"]["task_id"])
    assert len(set(started)) == 2
    assert api.emulator.balance() == 3
    status, body = await ask(api, "GET", f"task/{started[0]}")
    assert (status, body) == (
        200,
        {"task_id": started[0], "status": "pending", "data": None, "error": None},
    )
    for wrong in ({}, {"video_url": "no address"}, {"video_url": "http://["}):
        assert (await ask(api, "POST", "youtube/video/mai/transcript", json=wrong))[0] == 400
    assert (await ask(api, "POST", "myspace/video/mai/transcript", json=url))[0] == 404


async def test_the_life_of_a_task(api) -> None:
    """Pending, processing, then completed with its data or failed with its error."""
    loop = asyncio.get_running_loop()
    tasks = api.emulator.assets
    tasks.add_task("good", ends_after=0.0, result={"text": "x"})
    tasks.add_task("bad", ends_after=0.0, error="The video is private")
    long = tasks.add_task("long", ends_after=100.0)
    endless = tasks.add_task("endless", ends_after=None)
    _, body = await ask(api, "GET", "task/good")
    assert (body["status"], body["data"], body["error"]) == ("completed", {"text": "x"}, None)
    _, body = await ask(api, "GET", "task/bad")
    assert (body["status"], body["data"], body["error"]) == ("failed", None, "The video is private")
    begun = long.started_at
    assert [long.status_at(begun + after) for after in (0, 24, 25, 99, 100)] == [
        *("pending", "pending", "processing", "processing", "completed")
    ]
    assert endless.status_at(loop.time() + 1e9) == "processing"
    unknown = {"code": 400, "msg": "Task not found", "data": None}
    assert await ask(api, "GET", "task/nobody") == (400, unknown)


async def test_the_whisper_trap(api) -> None:
    """An unknown asset is refused with the words of a rate limit; a missing one is not."""
    api.emulator.assets.add_asset("re_1", name="talk", duration=12.0)
    api.emulator.assets.add_asset("re_2", error="broken")
    path = "transcriptions/sync-generate-audio"
    for asset_id in ("re_404", "re_2"):
        assert await ask(api, "POST", path, json={"asset_id": asset_id}) == (
            400,
            {"code": 400, "msg": "Request has exceeded the limit.", "data": None},
        )
    assert await ask(api, "POST", path, json={}) == (
        400,
        {"code": 400, "msg": "asset_id cannot be null or empty", "data": None},
    )
    status, body = await ask(api, "POST", path, json={"asset_id": "re_1"})
    (item,) = body["data"]["items"]
    assert (status, body["data"]["model"]) == (200, "whisper-1")
    assert (item["start"], item["end"]) == (0.0, 12.0)


async def test_delete(api) -> None:
    """The second deletion finds nothing."""
    api.emulator.assets.add_asset("re_1")
    assert (await ask(api, "DELETE", "asset/re_1"))[1]["code"] == 200
    assert (await ask(api, "DELETE", "asset/re_1"))[1] == {
        "code": 400,
        "msg": "Asset not found",
        "data": None,
    }


def question(uri):
    """A question about a file."""
    file = {"type": "input_file", "file_uri": uri, "mime_type": "video/mp4"}
    text = {"type": "text", "text": "What happens?"}
    return {"model": "gemini:g", "messages": [{"role": "user", "content": [file, text]}]}


async def test_vlm(api) -> None:
    """The model answers in OpenAI's shape; a file it can't fetch is an error under HTTP 200."""
    path = "vu/chat/completions"
    status, body = await ask(api, "POST", path, json=question("https://cdn.example/a.mp4"))
    assert (status, body["status"], "code" in body) == (200, "completed", False)
    assert body["choices"][0]["message"]["content"] == body["choices"][0]["text"] != ""
    assert await ask(api, "POST", path, json=question("file:///etc/passwd")) == (
        200,
        {
            "status": "errored",
            "error": {"message": "Cannot fetch the file file:///etc/passwd"},
        },
    )
    assert (await ask(api, "POST", path, json={"messages": []}))[0] == 400


async def test_faults_speak_v2(api) -> None:
    """A scripted code is the status too; "errored" is the model's failure; others are as in v1."""
    path, body = "vu/chat/completions", question("https://cdn.example/a.mp4")
    api.emulator.fail(
        "vlm",
        Fault(code=429),
        Fault(code="errored", msg="Rate limit reached"),
        Fault(status=503),
        Fault(code=400, msg="x", status=200),
    )
    assert await ask(api, "POST", path, json=body) == (
        429,
        {"code": 429, "msg": "Rate limit exceeded", "data": None},
    )
    assert await ask(api, "POST", path, json=body) == (
        200,
        {"status": "errored", "error": {"message": "Rate limit reached"}},
    )
    status, spring = await ask(api, "POST", path, json=body)
    assert (status, spring["status"], spring["error"]) == (503, 503, "Service Unavailable")
    assert (await ask(api, "POST", path, json=body))[0] == 200
    seen = api.emulator.requests
    assert [(one.code, one.status) for one in seen] == [
        *(("429", 429), (None, 200), (None, 503), ("400", 200))
    ]


async def test_a_lost_answer_leaves_the_asset(api) -> None:
    """A fault after the work spoils the answer of an upload that was made."""
    api.emulator.fail("v2_upload", Fault(status=502, body="html", after_work=True))
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(b"b"), filename="a.mp4", content_type="video/mp4")
    headers = {"Authorization": "sk"}
    async with api.session.post(
        f"{api.emulator.v2_url}/upload", data=form, headers=headers
    ) as response:
        assert (response.status, response.content_type) == (502, "text/html")
    (asset_id,) = api.emulator.requests[0].video_nos
    assert (await ask(api, "GET", f"{asset_id}/metadata"))[0] == 200


@pytest.mark.parametrize(
    "fault", [Fault(body="null"), Fault(msg="all is well")], ids=lambda f: f.name
)
async def test_an_empty_success(api, fault) -> None:
    """A fault that is a success is v2's."""
    api.emulator.fail("v2_task", fault)
    status, body = await ask(api, "GET", "task/t1")
    assert (status, body["code"], body["data"], body["success"]) == (200, 200, None, True)
