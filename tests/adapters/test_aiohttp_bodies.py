"""What goes out is sent whole or not again; what comes in is still there for every reader."""

import asyncio
import io
import json as jsonlib

import aiohttp
import pytest
from adapter_kit import (
    BAD,
    BUSY,
    INDISCREET,
    LIST,
    OK,
    SECRET,
    SILENT,
    UPLOAD,
    chunked,
    json,
    make_guard,
    pool_of_one,
    raw,
    secret_request,
    serving,
)
from aiohttp import web

from resilience import FatalError, raise_for_code, report
from resilience.testing import run_virtual

# -- requests -------------------------------------------------------------------------------------


async def chunks():
    """A body that can be sent once."""
    for part in (b"one ", b"two ", b"three"):
        yield part


@pytest.mark.parametrize(
    "answer",
    [json(BUSY), raw(b"no", status=503), raw(b"busy", status=429)],
    ids=["0429", "503", "429"],
)
def test_streamed_upload_is_never_replayed(answer):
    """An async generator is sent once; the first failure is final, and no empty body ever arrives."""

    async def main():
        guard = make_guard()
        async with serving(answer, json(OK)) as server, pool_of_one(guard) as session:
            async with session.post(server.base + UPLOAD, data=chunks()) as response:
                await response.read()
            assert server.bodies == [b"one two three"]
            assert report(response).error.reason == "not_repeatable"
            async with session.post(server.base + UPLOAD, data=chunks()) as response:
                assert await response.json() == OK
            assert server.bodies == [b"one two three"] * 2

    run_virtual(main)


def test_half_sent_upload_is_never_replayed():
    """A server that answers before it has read everything gets no remainder as a second body."""

    async def early(request):
        return web.json_response(BUSY)

    async def main():
        guard = make_guard()

        async def endless():
            for _ in range(200):
                yield b"x" * 65536
                await asyncio.sleep(0)

        app_seen = []

        async def answer(request):
            app_seen.append(request.content_length)
            return await early(request)

        app = web.Application()
        app.router.add_post("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.01)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with pool_of_one(guard) as session:
                try:
                    async with session.post(base + UPLOAD, data=endless()) as response:
                        await response.read()
                except aiohttp.ClientError:
                    pass
                assert len(app_seen) == 1
        finally:
            await runner.cleanup()

    run_virtual(main)


def test_stream_that_was_never_begun_may_be_sent():
    """If the connection could not even be made, nothing of the stream is gone, and it is tried again."""

    async def main():
        guard = make_guard()
        async with serving(json(OK)) as server:
            base = server.base
        async with pool_of_one(guard) as session:
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.post(base + UPLOAD, data=chunks())
            assert report(caught.value).attempts == 4

    run_virtual(main)


def form():
    """A multipart form with a file."""
    data = aiohttp.FormData()
    data.add_field("unique_id", "default")
    data.add_field("file", b"video bytes", filename="v.mp4", content_type="video/mp4")
    return data


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda tmp: {"data": b"plain bytes"}, b"plain bytes", id="bytes"),
        pytest.param(lambda tmp: {"data": "text"}, b"text", id="text"),
        pytest.param(lambda tmp: {"json": {"page": 1}}, b'{"page": 1}', id="json"),
        pytest.param(
            lambda tmp: {"data": aiohttp.JsonPayload({"a": 1})}, b'{"a": 1}', id="json-payload"
        ),
        pytest.param(lambda tmp: {"data": {"url": "u"}}, b"url=u", id="form"),
        pytest.param(lambda tmp: {"data": form()}, b"video bytes", id="multipart"),
        pytest.param(lambda tmp: {"data": io.BytesIO(b"in memory")}, b"in memory", id="bytes-io"),
        pytest.param(lambda tmp: {"data": tmp.open("rb")}, b"on disk", id="open-file"),
        pytest.param(lambda tmp: {}, b"", id="no-body"),
    ],
)
def test_repeatable_body_is_replayed_whole(tmp_path, make, expected):
    """Bytes, JSON, forms and files arrive complete at each of three attempts."""
    path = tmp_path / "video"
    path.write_bytes(b"on disk")

    async def main():
        guard = make_guard()
        sent = make(path)
        async with (
            serving(json(BUSY), raw(b"x", status=503), json(OK)) as server,
            pool_of_one(guard) as session,
        ):
            async with session.post(server.base + UPLOAD, **sent) as response:
                assert await response.json() == OK
            assert len(server.bodies) == 3
            assert len(set(server.bodies)) == 1
            assert expected in server.bodies[0]
        if isinstance(sent.get("data"), io.IOBase):
            sent["data"].close()

    run_virtual(main)


def test_open_file_is_replayed_from_where_it_stood(tmp_path):
    """A file that was read up to some point is sent from there each time."""
    path = tmp_path / "video"
    path.write_bytes(b"header|content")

    async def main():
        guard = make_guard()
        async with serving(json(BUSY), json(OK)) as server, pool_of_one(guard) as session:
            with path.open("rb") as file:
                file.read(7)
                async with session.post(server.base + UPLOAD, data=file) as response:
                    assert await response.json() == OK
            assert server.bodies == [b"content", b"content"]

    run_virtual(main)


# -- answers --------------------------------------------------------------------------------------

BODIES = {
    "success": json(OK),
    "last-failure": json(BAD),
    "chunked": chunked(*(bytes([c]) for c in jsonlib.dumps(OK).encode())),
    "with-lines": raw(jsonlib.dumps(OK, indent=1).encode(), kind="application/json"),
}


async def by_json(response):
    """Read as JSON."""
    return await response.json()


async def by_text(response):
    """Read as text."""
    return jsonlib.loads(await response.text())


async def by_read(response):
    """Read the whole body."""
    return jsonlib.loads(await response.read())


async def by_content_read(response):
    """Read the stream in small pieces."""
    whole = b""
    while part := await response.content.read(5):
        whole += part
    return jsonlib.loads(whole)


async def by_content_read_all(response):
    """Read the stream to its end."""
    return jsonlib.loads(await response.content.read())


async def by_readline(response):
    """Read line by line."""
    lines = []
    while line := await response.content.readline():
        lines.append(line)
    return jsonlib.loads(b"".join(lines))


async def by_lines(response):
    """Iterate over the lines."""
    return jsonlib.loads(b"".join([line async for line in response.content]))


async def by_iter_chunked(response):
    """Iterate over pieces of one size."""
    return jsonlib.loads(b"".join([part async for part in response.content.iter_chunked(7)]))


async def by_iter_any(response):
    """Iterate over what is there."""
    return jsonlib.loads(b"".join([part async for part in response.content.iter_any()]))


async def by_iter_chunks(response):
    """Iterate over the chunks of the transfer."""
    return jsonlib.loads(b"".join([part async for part, _ in response.content.iter_chunks()]))


async def by_readexactly(response):
    """Read four bytes, then the rest."""
    first = await response.content.readexactly(4)
    return jsonlib.loads(first + await response.content.read())


READERS = (
    by_json, by_text, by_read, by_content_read, by_content_read_all, by_readline, by_lines, by_iter_chunked,
    by_iter_any, by_iter_chunks, by_readexactly,
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("body", BODIES)
def test_what_was_read_is_still_there(reader, body):
    """Whatever way the client offers to read a body, it is complete after we looked at it."""

    async def main():
        guard = make_guard()
        async with serving(BODIES[body]) as server, pool_of_one(guard) as session:
            async with session.post(server.base + LIST) as response:
                assert await reader(response) == (BAD if body == "last-failure" else OK)
                assert await response.content.read() == b""

    run_virtual(main)


def test_body_can_be_read_again_and_again():
    """json() after read() after text(), as without us."""

    async def main():
        guard = make_guard()
        async with serving(json(OK)) as server, pool_of_one(guard) as session:
            async with session.post(server.base + LIST) as response:
                assert await response.json() == await response.json() == OK
                assert jsonlib.loads(await response.text()) == OK

    run_virtual(main)


@pytest.mark.parametrize(
    "reader", [by_read, by_iter_any, by_content_read_all], ids=lambda r: r.__name__
)
def test_json_over_8_mib_is_left_to_the_caller(reader):
    """A huge answer goes by its status, is not held back, and reaches the reader whole."""
    huge = jsonlib.dumps({"code": "0003", "data": "x" * 9 * 2**20}).encode()

    async def main():
        guard = make_guard()
        handlers = [raw(huge, kind="application/json"), chunked(huge[:100], huge[100:])]
        async with serving(*handlers) as server, pool_of_one(guard) as session:
            for _ in range(2):
                async with session.post(server.base + LIST) as response:
                    assert report(response).error is None
                    assert len((await reader(response))["data"]) == 9 * 2**20

    run_virtual(main)


@pytest.mark.parametrize(("handler", "body"), SILENT.values(), ids=SILENT)
def test_success_without_a_code(handler, body):
    """An empty 2xx is a success, and what is not JSON goes by its status, untouched."""

    async def main():
        guard = make_guard()
        async with serving(handler) as server, pool_of_one(guard) as session:
            async with session.post(server.base + LIST) as response:
                assert report(response).error is None
                assert await response.read() == body
            assert len(server.asked_at) == 1

    run_virtual(main)


def test_stream_is_not_held_back():
    """An answer that is not JSON reaches the caller as it comes, not when it ends."""

    async def main():
        guard = make_guard()
        slow = chunked(b"data: one\n\n", b"data: two\n\n", kind="text/plain", pause=10)
        async with serving(slow) as server, pool_of_one(guard) as session:
            async with session.post(server.base + "/serve/api/v1/chat_stream") as response:
                assert await response.content.readline() == b"data: one\n"
                assert asyncio.get_running_loop().time() < 1
                assert b"two" in await response.content.read()

    run_virtual(main)


# -- whose requests -------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [["localhost"], ["127.0.0.1:1"], None])
def test_other_hosts_pass_untouched(hosts):
    """A request to a host that is not ours is neither judged nor repeated nor reported."""

    async def main():
        guard = make_guard()
        async with (
            serving(json(BUSY, status=503)) as server,
            pool_of_one(guard, hosts=hosts) as session,
        ):
            async with session.post(server.base + LIST) as response:
                assert (response.status, await response.json()) == (503, BUSY)
                assert report(response) is None
                with pytest.raises(LookupError, match="hosts"):
                    raise_for_code(response)
            assert len(server.asked_at) == 1

    run_virtual(main)


def test_host_with_port_is_ours():
    """Hosts may name a port, as an emulator's."""

    async def main():
        guard = make_guard()
        async with serving(json(BAD)) as server:
            async with pool_of_one(guard, hosts=[server.base.removeprefix("http://")]) as session:
                async with session.post(server.base + LIST) as response:
                    with pytest.raises(FatalError, match="0003"):
                        raise_for_code(response)

    run_virtual(main)


def test_hosts_are_names_in_any_case():
    """``API.example`` is ``api.example``."""
    assert make_guard().aiohttp(hosts=["API.Example:80"]).hosts == {"api.example:80"}


def test_redirects_are_followed():
    """Each hop is a request of its own: judged, and the last one's answer is the caller's."""

    async def moved(request):
        return web.Response(status=307, headers={"Location": "/serve/api/v1/search"})

    async def main():
        guard = make_guard()
        async with serving(moved, json(BUSY), json(OK)) as server, pool_of_one(guard) as session:
            async with session.post(server.base + LIST, json={"q": 1}) as response:
                assert await response.json() == OK
                assert report(response).endpoint == "search"
            assert server.paths == [LIST, "/serve/api/v1/search", "/serve/api/v1/search"]
            assert server.bodies == [b'{"q": 1}'] * 3

    run_virtual(main)


def test_head_and_get_are_repeated_by_their_method():
    """GET and HEAD may be repeated on endpoints that nobody described; POST may not."""

    async def main():
        guard = make_guard()
        async with serving(raw(b"", status=500)) as server, pool_of_one(guard) as session:
            for method, attempts in (("GET", 4), ("HEAD", 4), ("POST", 1), ("DELETE", 1)):
                async with session.request(method, server.base + "/somewhere") as response:
                    assert report(response).attempts == attempts

    run_virtual(main)


def test_no_secret_of_a_request_is_recorded(caplog):
    """Key, query, body and answer of a real request are in no record and on no log line."""
    records = []

    async def main():
        guard = make_guard(observe=records.append)
        async with serving(INDISCREET) as server, pool_of_one(guard) as session:
            async with session.post(**secret_request(server.base)) as response:
                assert response.status == 200

    run_virtual(main)
    assert len(records) == 4
    assert SECRET not in repr(records)
    assert SECRET not in caplog.text
