"""Both doors for callbacks, with one way to knock: a server of aiohttp, and an ASGI app in Starlette."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import httpx
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from starlette.applications import Starlette
from starlette.routing import Mount

from pollers.callbacks import aiohttp_handler, asgi_app

Knock = Callable[..., Any]
"""``await knock(path, body, method="POST")`` gives status, decoded answer and headers."""

Door = Callable[..., AbstractAsyncContextManager[Knock]]


@asynccontextmanager
async def aiohttp_door(poller: Any, **settings: Any) -> AsyncIterator[Knock]:
    app = web.Application(client_max_size=16 * 1024**2)
    app.router.add_route("*", "/hooks/{rest:.*}", aiohttp_handler(poller, **settings))
    async with TestClient(TestServer(app)) as client:

        async def knock(path: str, body: Any, method: str = "POST", **more: Any) -> Any:
            async with client.request(
                method, f"/hooks{path}", data=_file(body), **more
            ) as response:
                return response.status, await _json(response), response.headers

        yield knock


def _file(body: Any) -> Any:
    """aiohttp wants large bodies as files."""
    return io.BytesIO(body) if isinstance(body, bytes) else body


async def _json(response: aiohttp.ClientResponse) -> Any:
    return await response.json() if await response.read() else None


@asynccontextmanager
async def asgi_door(poller: Any, **settings: Any) -> AsyncIterator[Knock]:
    app = Starlette(routes=[Mount("/hooks", asgi_app(poller, **settings))])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:

        async def knock(path: str, body: Any, method: str = "POST", **more: Any) -> Any:
            response = await client.request(method, f"/hooks{path}", content=body, **more)
            return (
                response.status_code,
                response.json() if response.content else None,
                response.headers,
            )

        yield knock
