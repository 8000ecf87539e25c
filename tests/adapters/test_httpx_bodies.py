"""What goes out through httpx is sent whole or not again; what comes in is there for every reader."""

import gzip
import io
import json as jsonlib

import brotli
import httpx
import httpx2
import pytest
from adapter_kit import (
    BAD,
    BUSY,
    LIST,
    OK,
    SILENT,
    UPLOAD,
    chunked,
    hang_up,
    json,
    make_guard,
    raw,
    serving,
)
from aiohttp import web
from stream_kit import httpx_of_one, library_of

from resilience import FatalError, raise_for_code, report
from resilience.testing import run_virtual

SEARCH = "/serve/api/v1/search"


@pytest.fixture(params=["httpx", "httpx2"])
def name(request):
    """httpx and its successor."""
    return request.param


def play(handlers, story, *, name="httpx", guard=None, **settings):
    """Tell a story with a client of one connection and a server, in virtual time."""

    async def main():
        made = guard or make_guard()
        async with serving(*handlers) as server, httpx_of_one(made, name, **settings) as client:
            await story(client, server)

    run_virtual(main)


# -- requests -------------------------------------------------------------------------------------


async def chunks():
    """A body that can be sent once."""
    for part in (b"one ", b"two ", b"three"):
        yield part


class Repeatable:
    """A body that gives an iterator each time, but nobody can know that."""

    def __aiter__(self):
        return chunks()


@pytest.mark.parametrize("make", [chunks, Repeatable], ids=["generator", "iterable"])
@pytest.mark.parametrize(
    "answer",
    [json(BUSY), raw(b"no", status=503), raw(b"busy", status=429), hang_up],
    ids=["0429", "503", "429", "disconnect"],
)
def test_streamed_upload_is_never_replayed(name, make, answer):
    """A stream is sent once; the first failure is final, and no StreamConsumed hides it."""

    async def story(client, server):
        try:
            response = await client.post(server.base + UPLOAD, content=make())
        except (httpx.TransportError, httpx2.TransportError) as error:
            response = error
        assert report(response).error.reason == "not_repeatable"
        assert len(server.asked_at) == 1
        assert server.bodies in ([], [b"one two three"])

    play([answer, json(OK)], story, name=name, guard=make_guard().options(idempotent=True))


def test_stream_that_was_never_begun_may_be_sent(name):
    """If the connection could not even be made, nothing of the stream is gone, and it is tried again."""

    async def main():
        async with serving(json(OK)) as server:
            base = server.base
        async with httpx_of_one(make_guard(), name) as client:
            with pytest.raises(library_of(name).ConnectError) as caught:
                await client.post(base + UPLOAD, content=chunks())
            assert report(caught.value).attempts == 4

    run_virtual(main)


def test_stream_that_was_begun_is_not_sent_again(name):
    """An inner transport that retries may have used the stream up before its last connect error."""
    library = library_of(name)
    sent = []

    class Retrying(library.AsyncBaseTransport):
        async def handle_async_request(self, request):
            sent.append(b"".join([part async for part in request.stream]))
            raise library.ConnectError("the second connection was refused")

    async def main():
        transport = make_guard().httpx(Retrying(), hosts=["api.test"])
        async with library.AsyncClient(transport=transport) as client:
            with pytest.raises(library.ConnectError):
                await client.post("https://api.test" + UPLOAD, content=chunks())

    run_virtual(main)
    assert sent == [b"one two three"]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda tmp: {"content": b"plain bytes"}, b"plain bytes", id="bytes"),
        pytest.param(lambda tmp: {"content": "text"}, b"text", id="text"),
        pytest.param(lambda tmp: {"json": {"page": 1}}, b'{"page":1}', id="json"),
        pytest.param(lambda tmp: {"data": {"url": "u"}}, b"url=u", id="form"),
        pytest.param(
            lambda tmp: {"data": {"id": "7"}, "files": {"file": b"video bytes"}},
            b"video bytes",
            id="multipart-bytes",
        ),
        pytest.param(
            lambda tmp: {"files": {"file": io.BytesIO(b"in memory")}}, b"in memory", id="bytes-io"
        ),
        pytest.param(
            lambda tmp: {"files": {"file": ("v.mp4", tmp.open("rb"), "video/mp4")}},
            b"on disk",
            id="open-file",
        ),
        pytest.param(lambda tmp: {}, b"", id="no-body"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*unclosed file.*:ResourceWarning")
def test_repeatable_body_is_replayed_whole(name, tmp_path, make, expected):
    """Bytes, JSON, forms and files arrive complete at each of three attempts."""
    path = tmp_path / "video"
    path.write_bytes(b"on disk")

    async def story(client, server):
        sent = make(path)
        response = await client.post(server.base + UPLOAD, **sent)
        assert response.json() == OK
        assert len(server.bodies) == 3
        assert len(set(server.bodies)) == 1
        assert expected in server.bodies[0]
        for file in sent.get("files", {}).values():
            if isinstance(file, tuple):
                file[1].close()

    play([json(BUSY), raw(b"x", status=503), json(OK)], story, name=name)


class Pipe(io.RawIOBase):
    """A file that can't go back."""

    def __init__(self, content):
        self.content = content

    def readable(self):
        return True

    def read(self, size=-1):
        content, self.content = self.content, b""
        return content


def test_pipe_in_a_form_is_not_replayed(name):
    """A file that can't go back would be sent empty, so the first failure is final."""

    async def story(client, server):
        response = await client.post(server.base + UPLOAD, files={"file": Pipe(b"once")})
        assert report(response).error.reason == "not_repeatable"
        assert len(server.bodies) == 1
        assert b"once" in server.bodies[0]

    play([json(BUSY), json(OK)], story, name=name)


# -- answers --------------------------------------------------------------------------------------


def compressed(body, encoding):
    """An answer with this content-encoding."""
    packed = gzip.compress(body) if encoding == "gzip" else brotli.compress(body)

    async def handler(request):
        return web.Response(
            body=packed, content_type="application/json", headers={"Content-Encoding": encoding}
        )

    return handler


BODIES = {
    "success": json(OK),
    "last-failure": json(BAD),
    "chunked": chunked(*(bytes([c]) for c in jsonlib.dumps(OK).encode())),
    "with-lines": raw(jsonlib.dumps(OK, indent=1).encode(), kind="application/json"),
    "gzip": compressed(jsonlib.dumps(OK).encode(), "gzip"),
    "gzip-failure": compressed(jsonlib.dumps(BAD).encode(), "gzip"),
    "brotli": compressed(jsonlib.dumps(OK).encode(), "br"),
}


async def by_aread(response):
    """Read the whole body, twice."""
    assert await response.aread() == await response.aread() == response.content
    return response.json()


async def by_aiter_bytes(response):
    """Iterate over what is there."""
    return jsonlib.loads(b"".join([part async for part in response.aiter_bytes()]))


async def by_aiter_bytes_of(response):
    """Iterate over pieces of one size."""
    return jsonlib.loads(b"".join([part async for part in response.aiter_bytes(7)]))


async def by_aiter_text(response):
    """Iterate over text."""
    return jsonlib.loads("".join([part async for part in response.aiter_text()]))


async def by_aiter_lines(response):
    """Iterate over the lines."""
    return jsonlib.loads("".join([line async for line in response.aiter_lines()]))


async def by_aiter_raw(response):
    """The bytes as they came over the wire."""
    whole = b"".join([part async for part in response.aiter_raw()])
    assert response.num_bytes_downloaded == len(whole)
    unpack = {"gzip": gzip.decompress, "br": brotli.decompress}
    return jsonlib.loads(unpack.get(response.headers.get("content-encoding"), bytes)(whole))


READERS = (by_aread, by_aiter_bytes, by_aiter_bytes_of, by_aiter_text, by_aiter_lines, by_aiter_raw)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("body", BODIES)
def test_what_was_read_is_still_there(name, reader, body):
    """Whatever way the client offers to read a body, it is complete after we looked at it."""

    async def story(client, server):
        async with client.stream("POST", server.base + LIST) as response:
            assert await reader(response) == (BAD if "failure" in body else OK)
            assert (report(response).error is None) == ("failure" not in body)
        plain = await client.post(server.base + LIST)
        assert plain.json() == (BAD if "failure" in body else OK)
        assert plain.elapsed.total_seconds() >= 0

    play([BODIES[body]], story, name=name)


def test_compressed_failure_is_retried(name):
    """A code in a compressed body is seen."""
    busy = compressed(jsonlib.dumps(BUSY).encode(), "gzip")

    async def story(client, server):
        assert (await client.post(server.base + LIST)).json() == OK
        assert server.asked_at == [0.0, 1.0]

    play([busy, BODIES["gzip"]], story, name=name)


def test_body_that_cannot_be_decoded_is_raised(name):
    """What is not compressed as it says raises the client's own error, known to report()."""

    async def lie(request):
        return web.Response(
            body=b"not gzip", content_type="application/json", headers={"Content-Encoding": "gzip"}
        )

    async def story(client, server):
        with pytest.raises(library_of(name).DecodingError) as caught:
            await client.post(server.base + UPLOAD)
        assert report(caught.value).error is not None

    play([lie], story, name=name)


def test_json_over_8_mib_is_left_to_the_caller(name):
    """A huge answer goes by its status, and reaches the reader whole."""
    huge = jsonlib.dumps({"code": "0003", "data": "x" * 9 * 2**20}).encode()
    handlers = [
        raw(huge, kind="application/json"),
        chunked(huge[:100], huge[100:]),
        compressed(huge, "gzip"),
    ]

    async def story(client, server):
        for _ in handlers:
            response = await client.post(server.base + LIST)
            assert report(response).error is None
            assert len(response.json()["data"]) == 9 * 2**20

    play(list(handlers), story, name=name)


@pytest.mark.parametrize(("handler", "body"), SILENT.values(), ids=SILENT)
def test_success_without_a_code(name, handler, body):
    """An empty 2xx is a success, and what is not JSON goes by its status, untouched."""

    async def story(client, server):
        response = await client.post(server.base + LIST)
        assert report(response).error is None
        assert response.content == body
        assert len(server.asked_at) == 1

    play([handler], story, name=name)


# -- whose requests, and with what settings ---------------------------------------------------------


@pytest.mark.parametrize("hosts", [["localhost"], ["127.0.0.1:1"], None])
def test_other_hosts_pass_untouched(name, hosts):
    """A request to a host that is not ours is neither judged nor repeated nor marked nor reported."""

    async def story(client, server):
        response = await client.post(server.base + LIST)
        assert (response.status_code, response.json()) == (503, BUSY)
        assert (report(response), "x-should-retry" in response.headers) == (None, False)
        with pytest.raises(LookupError, match="hosts"):
            raise_for_code(response)
        assert len(server.asked_at) == 1

    play([json(BUSY, status=503)], story, name=name, hosts=hosts)


def test_redirects_are_followed(name):
    """Each hop is a request of its own, with the settings of the request."""

    async def moved(request):
        return web.Response(status=307, headers={"Location": SEARCH})

    async def story(client, server):
        response = await client.post(
            server.base + LIST, json={"q": 1}, extensions={"resilience": {"max_attempts": 2}}
        )
        assert response.status_code == 503
        assert (report(response).endpoint, report(response).attempts) == ("search", 2)
        assert server.paths == [LIST, SEARCH, SEARCH]
        assert server.bodies == [b'{"q":1}'] * 3

    play([moved, raw(b"x", status=503)], story, name=name, follow_redirects=True)


def test_settings_of_a_request(name):
    """extensions beat using, which beats options; endpoint and idempotent do what they say."""
    guard = make_guard().options(max_attempts=1)
    down = raw(b"x", status=500)

    async def story(client, server):
        async def attempts(settings=None):
            extensions = {"resilience": settings} if settings else None
            response = await client.post(server.base + "/somewhere", extensions=extensions)
            return report(response).attempts, report(response).endpoint

        safe = {"idempotent": True}
        assert await attempts() == (1, "other")
        with guard.using(max_attempts=2, idempotent=True):
            assert await attempts() == (2, "other")
            assert await attempts({"max_attempts": 3}) == (3, "other")
        assert await attempts({"max_attempts": 3, **safe}) == (3, "other")
        assert await attempts({"endpoint": "upload"}) == (1, "upload")
        assert await attempts() == (1, "other")

    play([down], story, name=name, guard=guard)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        pytest.param({"idempotant": True}, TypeError, "idempotent", id="unknown"),
        pytest.param({"max_attempts": 0}, ValueError, "max_attempts", id="value"),
        pytest.param("idempotent", TypeError, "dict", id="text"),
    ],
)
def test_wrong_setting_of_a_request(name, settings, kind, words):
    """A wrong key or value is the same error as in options, and nothing is sent."""

    async def story(client, server):
        with pytest.raises(kind, match=words):
            await client.post(server.base + LIST, extensions={"resilience": settings})
        assert server.asked_at == []

    play([json(OK)], story, name=name)


def test_deadline_of_a_request(name):
    """A deadline given with the request bounds its waits."""

    async def story(client, server):
        response = await client.post(server.base + LIST, extensions={"resilience": {"deadline": 5}})
        assert (report(response).error.reason, report(response).error.retry_after) == (
            "deadline",
            30,
        )

    play([json(BUSY, **{"Retry-After": "30"})], story, name=name)


def test_raise_for_code(name):
    """The last answer is handed back readable, and raise_for_code says what it means."""

    async def story(client, server):
        response = await client.post(server.base + LIST)
        assert response.json() == BAD
        with pytest.raises(FatalError, match="0003"):
            raise_for_code(response)

    play([json(BAD)], story, name=name)


def test_event_hooks_see_the_last_response_only(name):
    """The client's own hooks run once per request of the client, not per attempt."""
    seen = []

    async def note(response):
        seen.append(response.status_code)

    async def story(client, server):
        await client.post(server.base + LIST)
        assert seen == [200]
        assert len(server.asked_at) == 2

    play([raw(b"x", status=503), json(OK)], story, name=name, event_hooks={"response": [note]})
