"""upload and upload_url: what is accepted, what comes back, and the callbacks."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web


@dataclass
class Receiver:
    """A small server: it takes callbacks, and gives files away."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    slow: float = 0.0

    async def take(self, request: web.Request) -> web.Response:
        """Take a callback."""
        self.got.append(await request.json())
        return web.Response(status=self.status)

    async def give(self, request: web.Request) -> web.Response:
        """Give a file of ten bytes, after `slow` seconds."""
        self.headers.append(dict(request.headers))
        await asyncio.sleep(self.slow)
        return web.Response(body=b"0123456789")

    async def wait(self, number: int) -> list[dict[str, Any]]:
        """Wait for so many callbacks, and return all."""
        async with asyncio.timeout(1):
            while len(self.got) < number:
                await asyncio.sleep(0.005)
        return self.got


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody to call back."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    app.router.add_get("/files/cat.mp4", receiver.give)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


async def ended(api, video_no: str) -> dict[str, Any]:
    """Poll until the video has ended, and return its metadata."""
    async with asyncio.timeout(1):
        while (data := (await api.metadata(video_no))["data"]) is None or (
            data["status"] == "UNPARSE"
        ):
            await asyncio.sleep(0.005)
    return data


@pytest.mark.parametrize("dialect", ["2025", "2026"])
async def test_upload_answers_in_camel_case(start, dialect) -> None:
    """An upload's reply says videoNo where every read says video_no; its time is always text."""
    api = await start(dialect=dialect, parse_seconds=60.0)
    body = await api.upload(filename="cat.mp4")
    (video,) = api.emulator.videos.values()
    flags = {"success": True, "failed": False} if dialect == "2026" else {}
    assert body == {
        "code": "0000",
        "msg": "success",
        "data": {
            "videoNo": video.video_no,
            "videoName": "cat",
            "videoStatus": "UNPARSE",
            "uploadTime": str(video.created_ms),
        },
        **flags,
    }
    assert video.video_no.startswith("VI")
    data = (await api.metadata(video.video_no))["data"]
    assert (data["status"], int(data["size"])) == ("UNPARSE", 5)


async def test_without_a_decoder_parsing_is_scripted(start) -> None:
    """With decode=False any bytes are a video, parsed after the seconds that were set."""
    api = await start(parse_seconds=0.1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    number = (await api.upload())["data"]["videoNo"]
    assert (await ended(api, number))["status"] == "PARSE"
    assert loop.time() - began >= 0.1


async def test_form_fields(api) -> None:
    """Namespace, folder and tags are kept; the server adds its own tag."""
    await api.upload(unique_id="mine", folder_id="7", tags="a, b")
    (video,) = api.emulator.videos.values()
    assert (video.unique_id, video.folder_id) == ("mine", 7)
    assert video.tags == ("a", "b", "api")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"filename": "cat.txt"}, id="extension"),
        pytest.param({"content_type": "application/octet-stream"}, id="content-type"),
        pytest.param({"callback": "http://x/" + "c" * 300}, id="callback"),
        pytest.param({"tags": ",".join("abcdefghijklmnopqrstu")}, id="tags"),
        pytest.param({"folder_id": "first"}, id="folder"),
    ],
)
async def test_bad_uploads(start, fields) -> None:
    """A bad upload is 0001, costs nothing, and leaves no file."""
    api = await start(points=1)
    directory = api.emulator._state.engine.directory.name
    assert (await api.upload(**fields))["code"] == "0001"
    assert api.emulator.balance() == 1
    assert not api.emulator.videos
    assert_empty(directory)


def assert_empty(directory: str) -> None:
    """No file is left."""
    assert list(Path(directory).iterdir()) == []


async def test_bodies_of_another_kind(api) -> None:
    """Upload wants multipart with a file, upload_url wants a form: JSON is refused by both."""
    url = {"url": "http://127.0.0.1:1/a.mp4"}
    assert (await api.body("POST", "upload", json=url))["code"] == "0001"
    assert (await api.body("POST", "upload_url", json=url))["code"] == "0001"
    form = aiohttp.FormData({"unique_id": "default"}, default_to_multipart=True)
    body = await api.body("POST", "upload", data=form)
    assert (body["code"], body["msg"]) == ("0001", "file is required")


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        pytest.param("multipart/form-data", b"x", id="no-boundary"),
        pytest.param("multipart/form-data; boundary=b", b"garbage", id="garbage"),
        pytest.param("multipart/form-data; boundary=b", b"--b\r\nnothing\r\n\r\n", id="header"),
        pytest.param(
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
            b"--c\r\n\r\nx\r\n--c--\r\n--b--",
            id="nested",
        ),
    ],
)
async def test_malformed_multipart(api, content_type, content) -> None:
    """A body that is no multipart is 0001, not an error of the server."""
    headers = {"Content-Type": content_type}
    assert (await api.body("POST", "upload", data=content, headers=headers))["code"] == "0001"


async def test_a_field_that_is_too_long(api) -> None:
    """A form field is not read without end."""
    assert (await api.upload(tags="x" * 100_000))["msg"] == "tags is too long"
    assert not api.emulator.videos


async def test_a_client_that_leaves_in_the_middle(start) -> None:
    """An upload that is broken off is no video; it leaves a record without an answer, no file."""
    api = await start()
    emulator = api.emulator
    head = (
        "POST /serve/api/v1/upload HTTP/1.1\r\nHost: x\r\nAuthorization: sk\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99999\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n'
        "Content-Type: video/mp4\r\n\r\nabc\r\n"
        '--b\r\nContent-Disposition: form-data; name="tags"\r\n\r\na'
    )
    _, writer = await asyncio.open_connection(emulator.host, emulator.port)
    writer.write(head.encode())
    directory = Path(emulator._state.engine.directory.name)
    async with asyncio.timeout(1):
        while not list(directory.iterdir()):
            await asyncio.sleep(0.005)
        writer.close()
        await writer.wait_closed()
        while not emulator.requests:
            await asyncio.sleep(0.005)
    (seen,) = emulator.requests
    assert (seen.interface, seen.code, seen.status) == ("upload", None, None)
    assert_empty(str(directory))
    assert not emulator.videos


async def test_too_large(start) -> None:
    """A file of more bytes than allowed is refused while it comes."""
    api = await start(max_upload_bytes=100_000)
    assert (await api.upload(b"x" * 100_000))["code"] == "0000"
    assert (await api.upload(b"x" * 100_001))["code"] == "0001"


async def test_the_same_upload_twice_is_two_videos(start) -> None:
    """Nothing makes an upload idempotent: it is billed and stored again."""
    api = await start(points=10)
    first, second = await api.upload(), await api.upload()
    assert first["data"]["videoNo"] != second["data"]["videoNo"]
    assert api.emulator.balance() == 8


async def test_visibility_delay_of_uploads(start) -> None:
    """Right after the upload, reads may not know the video yet."""
    api = await start(visibility_delay=0.1)
    number = (await api.upload())["data"]["videoNo"]
    assert (await api.metadata(number))["data"] is None
    assert await api.numbers() == []
    await ended(api, number)
    assert await api.numbers() == [number]


async def test_upload_url_fetches(start, receiver) -> None:
    """A URL is fetched without our key, after the answer."""
    api = await start()
    body = await api.upload_url(f"{receiver.url}/files/cat.mp4", unique_id="default")
    assert body["data"]["videoName"] == "cat"
    data = await ended(api, body["data"]["videoNo"])
    assert (data["status"], data["size"]) == ("PARSE", 10)
    assert "Authorization" not in receiver.headers[0]


async def test_parsing_counts_from_the_upload(start, receiver) -> None:
    """The time to fetch is a part of the seconds parsing takes, not added to them."""
    receiver.slow = 0.15
    api = await start(parse_seconds=0.2)
    number = (await api.upload_url(f"{receiver.url}/files/cat.mp4"))["data"]["videoNo"]
    video = api.emulator.videos[number]
    began = asyncio.get_running_loop().time()
    await ended(api, number)
    assert 0.15 <= video.terminal_at - began < 0.3


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        pytest.param("/nothing.mp4", "Download failed: HTTP 404", id="missing"),
        pytest.param(None, "Download failed: ", id="refused"),
    ],
)
async def test_upload_url_that_fails(start, receiver, path, cause) -> None:
    """What can't be fetched ends in the failure status, and the cause says why."""
    api = await start()
    url = f"{receiver.url}{path}" if path else "http://127.0.0.1:1/a.mp4"
    number = (await api.upload_url(url))["data"]["videoNo"]
    data = await ended(api, number)
    assert data["status"] == "PARSE_ERROR"
    assert data["cause"].startswith(cause)


async def test_upload_url_too_large(start, receiver) -> None:
    """A file behind a URL is no longer fetched once it is too large."""
    api = await start(max_upload_bytes=5)
    number = (await api.upload_url(f"{receiver.url}/files/cat.mp4"))["data"]["videoNo"]
    assert (await ended(api, number))["cause"] == "Download failed: larger than 5 bytes"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/a.mp4", "a.mp4", "http://", "", "http://[x"]
)
async def test_other_schemes_are_refused(api, url) -> None:
    """Only http and https are fetched; a file of ours never is."""
    assert (await api.upload_url(url))["code"] == "0001"
    assert not api.emulator.videos


@pytest.mark.parametrize(
    ("client_id", "extra"),
    [
        pytest.param(None, {}, id="2026"),
        pytest.param("d7a7", {"clientId": "d7a7"}, id="with-client-id"),
    ],
)
async def test_callback(start, receiver, client_id, extra) -> None:
    """When parsing ends one POST is made, in the shape that was set."""
    api = await start(callback_client_id=client_id)
    number = (await api.upload(callback=f"{receiver.url}/hook?token=1"))["data"]["videoNo"]
    assert await receiver.wait(1) == [{"videoNo": number, "status": "PARSE", **extra}]
    assert (await api.metadata(number))["data"]["status"] == "PARSE"
    await asyncio.sleep(0.02)
    (called,) = api.emulator.callbacks
    assert (called.status, called.url) == (200, f"{receiver.url}/hook")


async def test_callback_of_a_failure_says_fail(start, receiver) -> None:
    """A callback's word for a failure is FAIL, whatever reads call it."""
    api = await start(failure_word="FAILED")
    api.emulator.add_video("VI1", outcome="PARSE_ERROR", callback=f"{receiver.url}/hook")
    assert await receiver.wait(1) == [{"videoNo": "VI1", "status": "FAIL"}]
    assert (await api.metadata("VI1"))["data"]["status"] == "FAILED"


async def test_early_callback(start, receiver) -> None:
    """An early callback says PARSE of a video that is still UNPARSE."""
    api = await start(callback_early=True, parse_seconds=0.1)
    number = (await api.upload(callback=f"{receiver.url}/hook"))["data"]["videoNo"]
    assert await receiver.wait(1) == [{"videoNo": number, "status": "PARSE"}]
    assert (await api.metadata(number))["data"]["status"] == "UNPARSE"
    await ended(api, number)
    await asyncio.sleep(0.02)
    assert len(receiver.got) == 1


async def test_early_callback_of_a_scripted_video(start, receiver) -> None:
    """A scripted video's first callback is early too, and the second comes at its end."""
    api = await start(callback_early=True, callback_times=2)
    hook = f"{receiver.url}/hook"
    api.emulator.add_video("VI1", parse_after=0.1, outcome="PARSE_ERROR", callback=hook)
    assert await receiver.wait(1) == [{"videoNo": "VI1", "status": "PARSE"}]
    assert (await receiver.wait(2))[1] == {"videoNo": "VI1", "status": "FAIL"}


@pytest.mark.parametrize(("times", "early"), [(0, False), (0, True), (2, False), (2, True)])
async def test_doubled_and_unmade_callbacks(start, receiver, times, early) -> None:
    """A callback is made as often as the settings say, or not at all."""
    api = await start(callback_times=times, callback_early=early)
    number = (await api.upload(callback=f"{receiver.url}/hook"))["data"]["videoNo"]
    await receiver.wait(times)
    await ended(api, number)
    await asyncio.sleep(0.02)
    assert [got["videoNo"] for got in receiver.got] == [number] * times


async def test_lost_callback(start, receiver) -> None:
    """A lost callback is never made, but the log knows of it."""
    api = await start(callback_loss=1.0)
    await api.upload(callback=f"{receiver.url}/hook")
    await asyncio.sleep(0.03)
    assert receiver.got == []
    assert [called.lost for called in api.emulator.callbacks] == [True]


async def test_forged_callbacks(start, receiver) -> None:
    """A stranger says that a video failed that is still parsed, and that one is parsed that isn't there."""
    api = await start(callback_forged=1.0, callback_loss=1.0, parse_seconds=0.05)
    number = (await api.upload(callback=f"{receiver.url}/hook"))["data"]["videoNo"]
    assert await receiver.wait(2) == [
        {"videoNo": number, "status": "FAIL"},
        {"videoNo": f"{number}-forged", "status": "PARSE"},
    ]
    assert (await ended(api, number))["status"] == "PARSE"
    await asyncio.sleep(0.02)
    said = [(called.forged, called.lost) for called in api.emulator.callbacks]
    assert said == [(True, False), (True, False), (False, True)]


async def test_shares_of_early_doubled_and_forged_callbacks(start, receiver) -> None:
    """Of so many videos each share goes wrong in its way, the same ones with the same seed."""
    names = [f"VI{i}" for i in range(60)]

    async def called(count: int) -> list[tuple[str, bool]]:
        api = await start(callback_early=0.5, callback_doubled=0.4, callback_forged=0.3, seed=5)
        for name in names:
            api.emulator.add_video(name, parse_after=0.02, callback=f"{receiver.url}/hook")
        async with asyncio.timeout(20):
            while len(api.emulator.callbacks) < count:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        return sorted((one.payload["videoNo"], one.forged) for one in api.emulator.callbacks)

    first = await called(112)
    assert first == await called(112)
    true = [name for name, forged in first if not forged]
    assert set(true) == {*names}
    # half of them have only the early one, and of the other half four in ten have two
    assert len(true) - len(names) == 14
    assert len(first) - len(true) == 2 * 19


@pytest.mark.parametrize("hook", ["http://127.0.0.1:1/hook", "nonsense", None])
async def test_callbacks_are_tried_once(start, receiver, hook) -> None:
    """A receiver that fails, or isn't there, is not called again and harms nothing."""
    api = await start()
    receiver.status = 500
    api.emulator.add_video("VI1", callback=hook or f"{receiver.url}/hook")
    await asyncio.sleep(0.05)
    assert [called.status for called in api.emulator.callbacks] == [None if hook else 500]


async def test_no_callback_for_a_deleted_video(start, receiver) -> None:
    """Nobody is called about a video that was deleted in between."""
    api = await start()
    api.emulator.add_video("VI1", parse_after=0.05, callback=f"{receiver.url}/hook")
    await api.delete("VI1")
    await asyncio.sleep(0.1)
    assert receiver.got == []
