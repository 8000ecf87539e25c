"""Streams of events on a real socket, and the clients that read them piece by piece."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import httpx
import httpx2
from adapter_kit import pool_of_one
from aiohttp import web

CLIENTS = ["aiohttp", "httpx", "httpx2"]
NO_TIME_OUT = {"timeout": None}


def stream(*steps, status=200, kind="text/event-stream", **headers):
    """Writes bytes, sleeps for numbers of seconds, and breaks the connection at None."""

    async def handler(request):
        response = web.StreamResponse(status=status, headers={"Content-Type": kind, **headers})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for step in steps:
            if step is None:
                request.transport.close()
                return response
            if isinstance(step, bytes):
                await response.write(step)
            else:
                await asyncio.sleep(step)
        await response.write_eof()
        return response

    return handler


class Opened:
    """A response whose body is read piece by piece."""

    def __init__(self, response, pieces):
        self.response = response
        self.status = getattr(response, "status", None) or response.status_code
        self._pieces = pieces

    async def piece(self):
        """What comes next; empty at the end."""
        return await anext(self._pieces, b"")

    async def rest(self):
        """Everything that is still to come."""
        return b"".join([piece async for piece in self._pieces])


def library_of(name):
    """httpx or httpx2."""
    return {"httpx": httpx, "httpx2": httpx2}[name]


@asynccontextmanager
async def httpx_of_one(guard=None, name="httpx", *, hosts=("127.0.0.1",), **settings):
    """A client with one connection; afterwards none of it may be in use."""
    library = library_of(name)
    inner = library.AsyncHTTPTransport(limits=library.Limits(max_connections=1))
    async with library.AsyncClient(transport=inner, **{**NO_TIME_OUT, **settings}) as client:
        yield client if guard is None else guard.install(client, hosts=hosts)
        assert_all_idle(inner)
    if guard is not None:
        assert guard._shared.machine.parked == 0
        assert guard._shared.active == 0


def assert_all_idle(inner):
    """No request holds or awaits a connection of this transport."""
    assert inner._pool._requests == []
    assert all(one.is_idle() or one.is_closed() for one in inner._pool.connections)


@asynccontextmanager
async def client_of(way, guard):
    """Opens streams through a client with one connection: ``opener(method, url, **request)``."""
    if way == "aiohttp":
        async with pool_of_one(guard) as session:

            @asynccontextmanager
            async def opener(method, url, **request):
                async with session.request(method, url, **request) as response:
                    yield Opened(response, response.content.iter_any())

            yield opener
        return
    async with httpx_of_one(guard, way) as client:

        @asynccontextmanager
        async def opener(method, url, **request):
            async with client.stream(method, url, **request) as response:
                yield Opened(response, response.aiter_bytes())

        yield opener


BROKEN = (aiohttp.ClientError, httpx.HTTPError, httpx2.HTTPError)
