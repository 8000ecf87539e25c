"""A scripted provider on a real socket, and the ways to call it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from aiohttp import web

from resilience import Guard, ResilienceError, report
from resilience.testing import EPOCH, FixedChance, wall

UNLIMITED = aiohttp.ClientTimeout(total=None)


@dataclass
class Provider:
    """Answers with a list of JSON bodies, the last one again and again; remembers when it was asked."""

    replies: list[Any]
    asked_at: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Give the next reply."""
        self.asked_at.append(round(asyncio.get_running_loop().time(), 6))
        self.bodies.append(await request.read())
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return web.json_response(reply)


@dataclass
class Got:
    """What a caller got: the body of the last answer, and the error that stands for it."""

    body: Any
    error: ResilienceError | None
    at: float


@asynccontextmanager
async def serving(provider: Provider):
    """The provider while it runs; gives its base URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Caller:
    """Calls a path of the provider.

    ``way`` is ``session`` (aiohttp's, with the middleware), ``httpx`` (a client with the guard
    installed), ``call`` (of a function that returns the decoded body) or ``wrap`` (of an object).
    """

    def __init__(
        self,
        way: str,
        base: str,
        session: aiohttp.ClientSession,
        client: httpx.AsyncClient,
        guard: Guard,
    ):
        self.way = way
        self.base = base
        self.session = session
        self.client = client
        self.guard = guard

    async def __call__(self, method: str, path: str, **options: Any) -> Got:
        """Call once, with these options."""
        if self.way == "session":
            with self.guard.using(**options):
                return await self._through_session(method, path)
        if self.way == "httpx":
            return await self._through_httpx(method, path, options)
        return await self._through_call(method, path, self.guard.options(**options))

    async def _through_session(self, method: str, path: str) -> Got:
        try:
            response = await self.session.request(method, self.base + path, json={"page": 1})
        except ResilienceError as error:
            return Got(None, error, now())
        told = report(response)
        assert told is not None
        return Got(await response.json(), told.error, now())

    async def _through_httpx(self, method: str, path: str, options: dict[str, Any]) -> Got:
        settings = {"resilience": options} if options else None
        try:
            response = await self.client.request(
                method, self.base + path, content=b'{"page": 1}', extensions=settings
            )
        except ResilienceError as error:
            return Got(None, error, now())
        told = report(response)
        assert told is not None
        return Got(response.json(), told.error, now())

    async def _through_call(self, method: str, path: str, guard: Guard) -> Got:
        client = Client(self.session, self.base, method, path)
        try:
            if self.way == "wrap":
                body = await getattr(guard.wrap(client).api, function_name(path))()
            else:
                body = await guard.call(getattr(client.api, function_name(path)))
        except ResilienceError as error:
            return Got(None, error, now())
        return Got(body, None, now())


class Client:
    """A client object with a resource below it, whose one method does the request."""

    def __init__(self, session: aiohttp.ClientSession, base: str, method: str, path: str):
        async def fetch() -> Any:
            async with session.request(method, base + path, json={"page": 1}) as response:
                return await response.json()

        fetch.__name__ = function_name(path)
        self.api = SimpleNamespace(**{fetch.__name__: fetch})


def function_name(path: str) -> str:
    """What an SDK would call the function: the last step, or the last two of a MemOS path."""
    steps = path.split("/v1/", 1)[-1].split("/")
    return "_".join(steps).replace("-", "_")


def now() -> float:
    """Virtual seconds."""
    return round(asyncio.get_running_loop().time(), 6)


def instant(seconds: float) -> datetime:
    """Virtual seconds as an aware datetime."""
    return datetime.fromtimestamp(EPOCH + seconds, UTC)


async def scene(
    way: str,
    policy: str,
    replies: list[Any],
    story: Callable[[Caller, Provider], Awaitable[None]],
    *,
    draw: float = 1.0,
) -> None:
    """Play a story of calls against a scripted provider."""
    provider = Provider(replies)
    guard = Guard(policy, wall=wall, chance=FixedChance(draw))
    middlewares = [guard.aiohttp(hosts=["127.0.0.1"])] if way == "session" else []
    async with serving(provider) as base:
        async with (
            aiohttp.ClientSession(middlewares=middlewares, timeout=UNLIMITED) as session,
            guard.install(httpx.AsyncClient(timeout=None), hosts=["127.0.0.1"]) as client,
        ):
            await story(Caller(way, base, session, client, guard), provider)
            assert guard._shared.machine.parked == 0
            assert guard._shared.active == 0
