"""A real aiohttp server on loopback, and a session with a pool of one connection."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from resilience import Guard
from resilience.testing import FixedChance, wall

OK = {"code": "0000", "msg": "ok", "data": {"videos": []}}
BUSY = {"code": "0429", "msg": "Request has exceeded the limit."}
BAD = {"code": "0003", "msg": "One or more parameters are incorrect"}
LIST = "/serve/api/v1/list_videos"
UPLOAD = "/serve/api/v1/upload"


@dataclass
class Server:
    """Plays handlers one after the other, the last again and again; keeps every body it got."""

    handlers: list
    base: str = ""
    bodies: list[bytes] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Play the next handler."""
        self.asked_at.append(asyncio.get_running_loop().time())
        self.paths.append(request.path)
        handler = self.handlers.pop(0) if len(self.handlers) > 1 else self.handlers[0]
        if handler is not hang_up:
            self.bodies.append(await request.read())
        return await handler(request)


def json(body, status=200, **headers):
    """A JSON answer."""

    async def handler(request):
        return web.json_response(body, status=status, headers=headers)

    return handler


def raw(body, *, status=200, kind="text/html"):
    """An answer of these bytes."""

    async def handler(request):
        return web.Response(body=body, status=status, content_type=kind)

    return handler


def chunked(*parts, status=200, kind="application/json", pause=0.0, cut=False):
    """Chunks with pauses between them; ``cut`` drops the connection before the end."""

    async def handler(request):
        response = web.StreamResponse(status=status, headers={"Content-Type": kind})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(pause)
        if cut:
            request.transport.close()
            return response
        await response.write_eof()
        return response

    return handler


async def hang_up(request):
    """Close the connection before an answer, the body unread."""
    request.transport.close()
    return web.Response()


@asynccontextmanager
async def serving(*handlers):
    """The server while it runs."""
    server = Server(list(handlers))
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def make_guard(**settings):
    """A guard in virtual time without jitter."""
    return Guard("memories_ai", wall=wall, chance=FixedChance(1.0), **settings)


@asynccontextmanager
async def pool_of_one(guard=None, *, hosts=("127.0.0.1",), total=None):
    """A session with one connection; afterwards none of it may be in use."""
    connector = aiohttp.TCPConnector(limit=1)
    middlewares = [] if guard is None else [guard.aiohttp(hosts=hosts)]
    timeout = aiohttp.ClientTimeout(total=total)
    async with aiohttp.ClientSession(
        connector=connector, middlewares=middlewares, timeout=timeout
    ) as session:
        yield session
        assert connector._acquired == set()
        assert not any(connector._waiters.values())
    if guard is not None:
        assert guard._shared.machine.parked == 0
        assert guard._shared.active == 0


TEN_MEGABYTES = b"x" * 10 * 2**20
FAILURES = {
    "large-html-503": raw(TEN_MEGABYTES, status=503),
    "large-json-503": raw(
        b'{"data":"' + TEN_MEGABYTES + b'"}', status=503, kind="application/json"
    ),
    "slow-html-503": chunked(b"<html>", b"never mind", status=503, kind="text/html", pause=30),
    "slow-json-503": chunked(b'{"code":"0429",', b'"msg":"busy"}', pause=0.2),
    "cut-json": chunked(b'{"code":"0429","ms', cut=True),
    "cut-html-503": chunked(b"<html>", status=503, kind="text/html", cut=True),
    "truncated-json": raw(b'{"code":"0429","ms', kind="application/json"),
    "html-error": raw(b"<html>502 Bad Gateway</html>", status=502),
    "disconnect": hang_up,
    "small": json(BUSY),
}
"""Failed answers of every size and speed; each passes by itself."""

SILENT = {
    "204": (raw(None, status=204), b""),
    "empty-json": (raw(b"", kind="application/json"), b""),
    "binary": (raw(b"\x00\x01", kind="application/octet-stream"), b"\x00\x01"),
    "plain": (raw(b'{"code":"0003","msg":"x"}', kind="text/plain"), b'{"code":"0003","msg":"x"}'),
}
"""Answers without a code to read, and their bodies."""

SECRET = "sk-mavi-0123456789"
INDISCREET = json(
    {"code": "0001", "msg": f"network {SECRET}", "data": SECRET}, **{"X-Echo": SECRET}
)
"""Says the secret in every part of a failed answer."""


def secret_request(base):
    """A request with the secret in every part, as arguments of a client's ``post``."""
    return {
        "url": f"{base}{LIST}?key={SECRET}",
        "json": {"key": SECRET},
        "headers": {"Authorization": SECRET},
    }
