"""For Starlette users: the app's state holds a guard, an aiohttp session and a poller.

Run it: ``pip install starlette uvicorn``, then ``uvicorn --app-dir examples starlette_app:app``.
The app tells its own clients what it waits for: ``GET /health`` shows every closed door.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from provider import provider
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pollers import Poller
from pollers.sources import MemoriesVideos
from resilience import Guard, ResilienceError


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
    guard = Guard("memories_ai")  # here each start of the app has its own, as tests like it
    with provider() as api:
        middleware = guard.aiohttp(hosts=api.hosts)
        auth = {"Authorization": api.key}
        async with aiohttp.ClientSession(middlewares=[middleware], headers=auth) as session:
            # the source finds the guard in the session
            source = MemoriesVideos(session, base_url=api.base_url)
            async with Poller(source, min_interval=0.2) as poller:
                yield {"guard": guard, "poller": poller}


async def parsed(request: Request) -> JSONResponse:
    """Waits until the video has ended, or its deadline; a client that hangs up harms no job."""
    job = await request.state.poller.watch(request.path_params["number"], deadline=60)
    event = await job.result()
    return JSONResponse(event.to_cloudevent())


async def health(request: Request) -> JSONResponse:
    told = request.state.guard.snapshot()
    doors = [{name: door[name] for name in ("scope", "code", "remedy")} for door in told["doors"]]
    return JSONResponse({"waiting": told["waiting"], "closed": doors}, 503 if doors else 200)


async def refused(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 503)


app = Starlette(
    routes=[Route("/videos/{number}/parsed", parsed), Route("/health", health)],
    exception_handlers={ResilienceError: refused},
    lifespan=lifespan,
)
