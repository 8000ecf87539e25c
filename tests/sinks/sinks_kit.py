"""Events made shortly, a receiver over HTTP, and for each kind of sink a place that it delivers to."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pollers import Event
from pollers._core.events import event_of
from pollers._core.model import EventRow, Shard
from pollers.sinks import CallbackSink, CloudEventsHttp, JetStream, JsonLines, RedisStream, Webhook

STORE = "a1" * 16
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLawb"


def events(count: int = 3, *, first: int = 1, store: str = STORE, data: Any = None) -> list[Event]:
    """Succeeded jobs, one each."""
    return [
        event_of(
            EventRow(
                seq=seq, rid=seq, version=2, shard=Shard("memories_ai", "api", "alice"), kind="videos",
                subject=f"VI{seq}", type="succeeded", at=1_700_000_000.0 + seq,
                data={"status": "PARSE", "cause": None, "elapsed": 1.5, "looks": 2, "user_data": data},
            ),
            store,
        )
        for seq in range(first, first + count)
    ]  # fmt: skip


def ids(given: list[Event]) -> list[str]:
    return [event.id for event in given]


class Receiver:
    """A server that remembers what it was sent, and answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: Any = None
        """A handler of its own; else the status and an empty body."""
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[dict[str, Any]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/hook"))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((headers, body))
        if self.answer is not None:
            return await self.answer(request)
        if self.status < 300:
            told = json.loads(body)
            self.taken.append(told if "specversion" in told else {"id": headers["ce-id"]})
        return web.Response(status=self.status)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    await one.server.start_server()
    try:
        yield one
    finally:
        await one.server.close()


class Place:
    """Where one kind of sink delivers to.  It is broken until it is mended."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def sink(self) -> Any:
        raise NotImplementedError

    async def mend(self) -> None:
        raise NotImplementedError

    async def ids(self) -> list[str]:
        """The ids that took effect there, in order."""
        raise NotImplementedError


class Function(Place):
    def __init__(self, _folder: Path, _servers: Any) -> None:
        self.got: list[str] = []
        self.works = False

    def sink(self) -> CallbackSink:
        return CallbackSink(self.take)

    def take(self, event: Event) -> None:
        if not self.works:
            raise OSError("broken")
        self.got.append(event.id)

    async def mend(self) -> None:
        self.works = True

    async def ids(self) -> list[str]:
        return self.got


class Http(Place):
    def __init__(self, _folder: Path, _servers: Any) -> None:
        self.receiver = Receiver()
        self.receiver.status = 503

    async def __aenter__(self) -> Self:
        await self.receiver.server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.receiver.server.close()

    async def mend(self) -> None:
        self.receiver.status = 204

    async def ids(self) -> list[str]:
        return [one["id"] for one in self.receiver.taken]


class Signed(Http):
    def sink(self) -> Webhook:
        return Webhook(self.receiver.url, secret=SECRET)


class Structured(Http):
    def sink(self) -> CloudEventsHttp:
        return CloudEventsHttp(self.receiver.url, mode="structured")


class Binary(Http):
    def sink(self) -> CloudEventsHttp:
        return CloudEventsHttp(self.receiver.url)


class File(Place):
    def __init__(self, folder: Path, _servers: Any) -> None:
        self.path = folder / "later" / "events.jsonl"

    def sink(self) -> JsonLines:
        return JsonLines(self.path)

    async def mend(self) -> None:
        self.path.parent.mkdir()

    async def ids(self) -> list[str]:
        text = self.path.read_bytes() if self.path.exists() else b""
        return [json.loads(line)["id"] for line in text.split(b"\n")[:-1]]


class Redis(Place):
    def __init__(self, _folder: Path, servers: Any) -> None:
        self.url = servers("redis")
        self.key = f"events-{time.monotonic_ns()}"

    async def __aenter__(self) -> Self:
        import redis.asyncio

        self.client = redis.asyncio.Redis.from_url(self.url)
        await self.client.set(self.key, "of another type")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    def sink(self, **settings: Any) -> RedisStream:
        return RedisStream(self.url, self.key, **settings)

    async def mend(self) -> None:
        await self.client.delete(self.key)

    async def ids(self) -> list[str]:
        return [entry[b"id"].decode() for _, entry in await self.client.xrange(self.key)]


class Nats(Place):
    def __init__(self, _folder: Path, servers: Any) -> None:
        self.url = servers("nats")
        self.name = f"S{time.monotonic_ns()}"
        self.subject = f"events.{self.name}"

    async def __aenter__(self) -> Self:
        import nats

        self.client = await nats.connect(self.url)
        self.js = self.client.jetstream()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    def sink(self, **settings: Any) -> JetStream:
        return JetStream(self.url, self.name, self.subject, **settings)

    async def mend(self) -> None:
        await self.js.add_stream(name=self.name, subjects=[f"{self.subject}", f"other.{self.name}"])

    async def messages(self) -> list[Any]:
        last = (await self.js.stream_info(self.name)).state.last_seq
        return [await self.js.get_msg(self.name, seq) for seq in range(1, last + 1)]

    async def ids(self) -> list[str]:
        return [json.loads(one.data)["id"] for one in await self.messages()]


PLACES: dict[str, Any] = {
    "callback": Function, "webhook": Signed, "cloudevents": Binary,
    "cloudevents-structured": Structured, "file": File, "redis": Redis, "nats": Nats,
}  # fmt: skip


# -- servers ------------------------------------------------------------------------------------


def _binary(name: str) -> str:
    """The server's program; where the suite must not be lenient, its absence is a failure."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        said = f"{name} is not installed: see .ci/run"
        if os.environ.get("REQUIRE_SERVERS"):
            pytest.fail(said)
        pytest.skip(said)
    return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _started(kind: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = _free_port()
    command = {
        "redis": ["redis-server", "--port", f"{port}", "--save", "", "--appendonly", "no",
                  "--dir", f"{folder}", "--bind", "127.0.0.1"],
        "nats": ["nats-server", "-js", "-a", "127.0.0.1", "-p", f"{port}", "-sd", f"{folder}"],
    }[kind]  # fmt: skip
    command[0] = _binary(command[0])
    with (folder / f"{kind}.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return server, f"{kind}://127.0.0.1:{port}"
        if server.poll() is not None:
            break
    server.kill()
    pytest.fail(f"{kind} did not start: {(folder / f'{kind}.log').read_text()}")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The address of a real server, ``redis`` or ``nats``; started when it is first asked for."""
    running: dict[str, tuple[subprocess.Popen[bytes], str]] = {}

    def address(kind: str) -> str:
        if kind not in running:
            running[kind] = _started(kind, tmp_path_factory.mktemp(kind))
        return running[kind][1]

    yield address
    for server, _ in running.values():
        server.kill()
        server.wait()
