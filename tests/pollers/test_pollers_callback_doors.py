"""What the handler of aiohttp and the ASGI app answer, to callbacks of every shape and to strangers."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from callbacks_kit import Door, aiohttp_door, asgi_door
from pollers_kit import NEVER, Provider, make_poller

from pollers.callbacks import aiohttp_handler, asgi_app
from pollers.sources._callbacks import tasks_of, videos_of

OK = {"code": 0, "msg": "ok"}
BYTES = 1024 * 1024


class Heard(Provider):
    """A provider whose callbacks have ``{"job": id}``."""

    def source(self, **settings: Any) -> Any:
        source = super().source(**{"batch": 10, **settings})
        source.hinted = lambda payload: (  # type: ignore[attr-defined]
            [payload["job"]] if isinstance(payload, dict) and "job" in payload else None
        )
        return source


@pytest.fixture(
    params=[pytest.param(aiohttp_door, id="aiohttp"), pytest.param(asgi_door, id="asgi")]
)
def door(request: pytest.FixtureRequest) -> Door:
    """Either way in."""
    return request.param


async def test_a_callback_makes_its_job_due(door: Door) -> None:
    """The answer is 200 with the code that means delivered; the look comes after."""
    provider = Heard()
    provider.add("a", at=NEVER)
    async with (
        make_poller(provider.source(), min_interval=60.0) as poller,
        door(poller) as knock,
    ):
        job = await poller.watch("a", deadline=None)
        with anyio.fail_after(5):
            while not provider.asked:
                await anyio.sleep(0.005)
            provider.lives["a"] = [(0.0, "done")]
            status, said, headers = await knock("/", b'{"job": "a"}')
            assert (status, said, headers["content-type"]) == (200, OK, "application/json")
            assert (await job.result()).status == "done"


async def test_the_answer_waits_for_no_look(door: Door) -> None:
    """However long the provider takes."""
    provider = Heard(delay=3600.0)
    async with make_poller(provider.source()) as poller, door(poller) as knock:
        await poller.watch("a", deadline=None)
        with anyio.fail_after(5):
            assert (await knock("/", b'{"job": "a"}'))[0] == 200


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        pytest.param("POST", b"", 400, id="empty"),
        pytest.param("POST", b"job=a", 400, id="form"),
        pytest.param("POST", b'{"job": ', 400, id="truncated"),
        pytest.param("POST", b'{"job": "\xff"}', 400, id="not-utf8"),
        pytest.param("POST", b"[" * 100_000, 400, id="deep"),
        pytest.param("POST", b"9" * 100_000, 400, id="huge-number"),
        pytest.param("POST", b" " * BYTES + b"1", 413, id="large"),
        pytest.param("POST", b"1" + b" " * (BYTES - 1), 200, id="just-fits"),
        pytest.param("GET", None, 405, id="get"),
        pytest.param("HEAD", None, 405, id="head"),
        pytest.param("PUT", b'{"job": "a"}', 405, id="put"),
        pytest.param("POST", b"null", 200, id="null"),
        pytest.param("POST", b"[1]", 200, id="list"),
        pytest.param("POST", b'{"hello": "world"}', 200, id="unknown"),
        pytest.param("POST", b'{"job": "nobody"}', 200, id="unwatched"),
    ],
)
async def test_whatever_comes_has_its_answer(
    door: Door, method: str, body: Any, status: int
) -> None:
    """A provider is told 200 wherever trying again would bring nothing else."""
    provider = Heard()
    async with make_poller(provider.source()) as poller, door(poller) as knock:
        got, said, headers = await knock("/", body, method)
        assert got == status
        if method != "HEAD":
            assert said["code"] == (0 if status == 200 else -1)
            assert ("allow" in headers) == (status == 405)
        assert provider.asked == []


async def pieces(count: int, then: Callable[[], Any] = lambda: None) -> AsyncIterator[bytes]:
    """A callback that comes bit by bit."""
    yield b'{"job": "'
    for _ in range(count):
        yield b"x" * 65_536
    then()
    yield b'"}'


async def test_a_body_in_pieces(door: Door) -> None:
    """Is put together, and given up as soon as it is too large."""
    provider = Heard()

    async with make_poller(provider.source()) as poller, door(poller) as knock:
        with anyio.fail_after(20):
            assert (await knock("/", pieces(3)))[0] == 200
            assert (await knock("/", pieces(10**9)))[0] == 413


async def test_a_poller_that_stopped_says_so(door: Door) -> None:
    """503: it may be tried again, a new process may be there by then."""
    async with make_poller(Heard().source()) as poller:
        pass
    async with door(poller) as knock:
        status, said, _ = await knock("/", b'{"job": "a"}')
        assert (status, said["msg"]) == (503, "the poller has stopped")
        with anyio.fail_after(20):  # it isn't even read
            assert (await knock("/", pieces(10**9)))[0] == 503


async def test_a_poller_that_stops_while_the_body_comes(door: Door) -> None:
    """503 too, and no error."""
    async with make_poller(Heard().source()) as stopped:
        pass
    async with make_poller(Heard().source()) as running:
        whose = [running]
        async with door(lambda: whose[-1]) as knock:
            body = pieces(1, then=lambda: whose.append(stopped))
            assert (await knock("/", body))[0] == 503


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/s3cret", 200, id="path"),
        pytest.param("/videos/s3cret", 200, id="last-part"),
        pytest.param("/?secret=s3cret", 200, id="query"),
        pytest.param("/?secret=no&secret=s3cret", 200, id="query-twice"),
        pytest.param("/", 404, id="none"),
        pytest.param("/s3cret/more", 404, id="not-last"),
        pytest.param("/s3cre", 404, id="shorter"),
        pytest.param("/s3crets", 404, id="longer"),
        pytest.param("/?secret=", 404, id="empty"),
        pytest.param("/?token=s3cret", 404, id="another-name"),
        pytest.param("/%ff%fe", 404, id="not-utf8"),
        pytest.param("/?secret=%ff", 404, id="not-utf8-query"),
        pytest.param("/%E2%82%AC", 404, id="not-ascii"),
    ],
)
async def test_a_secret_keeps_strangers_out(door: Door, path: str, status: int) -> None:
    """As the last part of the path or in the query; who doesn't have it finds nothing there."""
    async with make_poller(Heard().source()) as poller, door(poller, secret="s3cret") as knock:
        assert (await knock(path, b"{}"))[0] == status
        assert (await knock(path, None, "GET"))[0] == (405 if status == 200 else 404)


async def test_a_secret_may_have_any_letters(door: Door) -> None:
    """Escaped, as URLs have it."""
    async with make_poller(Heard().source()) as poller, door(poller, secret="schlüssel €") as knock:
        assert (await knock("/schl%C3%BCssel%20%E2%82%AC", b"{}"))[0] == 200
        assert (await knock("/?secret=schl%C3%BCssel+%E2%82%AC", b"{}"))[0] == 200


@pytest.mark.parametrize("secret", ["", "a/b"])
@pytest.mark.parametrize("make", [aiohttp_handler, asgi_app])
def test_a_secret_that_can_t_be_is_refused(make: Any, secret: str) -> None:
    """An empty one would be an open door: a variable that isn't set."""
    with pytest.raises(ValueError, match="secret"):
        make(make_poller(Heard().source()), secret=secret)


async def test_unknown_payloads_are_told_once(door: Door, caplog: Any) -> None:
    """With the names of their fields, never with what is in them."""
    async with make_poller(Heard().source()) as poller, door(poller) as knock:
        for body in (b'{"token": "sk-1"}', b'{"other": 1}', b"[1]"):
            assert (await knock("/", body))[:2] == (200, OK)
    said = [one.getMessage() for one in caplog.records if "unknown_callback" in one.getMessage()]
    assert len(said) == 1
    assert "token" in said[0]
    assert "sk-1" not in said[0]


async def test_a_poller_that_is_made_later(door: Door) -> None:
    """Apps make it when they start, after their routes."""
    made: list[Any] = []
    async with door(lambda: made[0]) as knock:
        async with make_poller(Heard().source()) as poller:
            made.append(poller)
            assert (await knock("/", b'{"job": "a"}'))[0] == 200
            assert poller._engine.loops[0].watch.callbacks.strange == 1
        assert (await knock("/", b'{"job": "a"}'))[0] == 503


async def test_asgi_takes_http_only() -> None:
    """The specification has an app raise for what it doesn't speak."""
    app = asgi_app(make_poller(Heard().source()))
    with pytest.raises(RuntimeError, match="websocket"):
        await app({"type": "websocket"}, None, None)  # type: ignore[arg-type]


async def test_asgi_says_nothing_to_who_has_gone() -> None:
    """A client that hangs up in the middle of its body."""
    messages = [
        {"type": "http.request", "body": b'{"job"', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    app = asgi_app(make_poller(Heard().source()))
    await app({"type": "http", "method": "POST", "path": "/"}, receive, send)
    assert sent == []


# -- what Memories.ai sends ----------------------------------------------------------------------

VIDEO = {"videoNo": "VI1", "status": "PARSE"}
OLD_VIDEO = {"videoNo": "mavi_video_1", "clientId": "d7a7", "status": "FAIL"}
TASK = {"taskId": "4b2d_84f9", "status": "SUCCEEDED"}


@pytest.mark.parametrize(
    ("payload", "videos", "tasks"),
    [
        pytest.param(VIDEO, ["VI1"], [], id="upload"),
        pytest.param(OLD_VIDEO, ["mavi_video_1"], [], id="upload-2025"),
        pytest.param(TASK, [], ["4b2d_84f9"], id="task"),
        pytest.param({"data": VIDEO}, ["VI1"], [], id="under-data"),
        pytest.param({"data": json.dumps(VIDEO)}, ["VI1"], [], id="data-is-text"),
        pytest.param({"code": "0000", "data": json.dumps(TASK)}, [], ["4b2d_84f9"], id="task-text"),
        pytest.param({"video_no": 554046065381212160}, ["554046065381212160"], [], id="number"),
        pytest.param(
            TASK | {"videos": [{"videoNo": "VI1"}, {"video_no": "VI2"}, {}, 7, None, "VI1"]},
            ["VI1", "VI2", "7"], ["4b2d_84f9"], id="both",
        ),
        pytest.param({"task_id": "t", "data": {"video_ids": ["VI1"]}}, ["VI1"], ["t"], id="snake"),
        pytest.param({"videoNo": 10**5000, "taskId": -(10**5000)}, [], [], id="huge"),
        pytest.param({"videoNo": ""}, [], [], id="empty"),
        pytest.param({"videoNo": None, "taskId": True}, [], [], id="null"),
        pytest.param({"videoNo": {"videoNo": "VI1"}, "videos": "VI1"}, [], [], id="odd"),
        pytest.param({"data": "{"}, [], [], id="text-no-json"),
        pytest.param({"data": "[" * 100_000}, [], [], id="text-deep"),
        pytest.param({"data": ["VI1"]}, [], [], id="data-list"),
        pytest.param([VIDEO], [], [], id="list"),
        pytest.param("VI1", [], [], id="text"),
        pytest.param(None, [], [], id="nothing"),
    ],
)  # fmt: skip
def test_what_callbacks_speak_of(payload: Any, videos: list[str], tasks: list[str]) -> None:
    """Whatever its shape: ids that are named, each once, and never an error."""
    assert (videos_of(payload), tasks_of(payload)) == (videos, tasks)
