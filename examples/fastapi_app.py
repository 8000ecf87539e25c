"""For FastAPI users: one guard, one httpx client and one poller for as long as the app lives.

Run it: ``pip install fastapi uvicorn``, then ``uvicorn --app-dir examples fastapi_app:app`` and
``curl -X PUT localhost:8000/videos/VI1``, ``curl -N localhost:8000/videos/VI1/events``.
Stop it with ``--timeout-graceful-shutdown 5``, or an open stream keeps it alive until its job ends.
One process writes to a store: with ``--workers 2`` the second worker stops and says so.  Give each
a file of its own, or leave watching to one process and have the others ask it.
"""

import json
import math
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import aiohttp
import httpx
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from provider import provider

from pollers import JobChanged, JobEvent, JobWatching, Poller
from pollers.sources import MemoriesVideos
from resilience import DeadlineExceeded, FatalError, Guard, ResilienceError, raise_for_code

STORE = os.environ.get("STORE", ":memory:")
guard = Guard("memories_ai")  # at import, where every module finds it; it is at home in any loop


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
    with provider() as api:
        headers = {"Authorization": api.key}
        async with (
            httpx.AsyncClient(base_url=api.base_url, headers=headers) as client,
            aiohttp.ClientSession(headers=headers) as session,
            Poller(
                MemoriesVideos(session, guard=guard, base_url=api.base_url),
                store=STORE,
                min_interval=0.2,
            ) as poller,
        ):
            yield {"client": guard.install(client, hosts=api.hosts), "poller": poller}


app = FastAPI(lifespan=lifespan)


@app.exception_handler(ResilienceError)
async def refused(_request: Request, error: ResilienceError) -> JSONResponse:
    """What the caller can do about it; 429 would blame them for a quota that is ours."""
    status = {FatalError: 502, DeadlineExceeded: 504}.get(type(error), 503)
    wait = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
    told = {"code": error.code, "message": error.message, "remedy": error.remedy}
    return JSONResponse(told, status, headers=wait)


@app.get("/videos")
async def videos(request: Request, page: int = 1) -> Any:
    with guard.using(max_wait=5):  # a browser is waiting
        response = await request.state.client.post("list_videos", json={"page": page})
    raise_for_code(response)
    return response.json()["data"]["videos"]


@app.put("/videos/{number}", status_code=202)
async def watch(request: Request, number: str) -> dict[str, str]:
    job = await request.state.poller.watch(number, deadline=1800)
    return {"id": job.id, "state": (await job.row()).state}


@app.get("/videos/{number}/events")
async def follow(
    request: Request, number: str, last_event_id: Annotated[str, Header()] = ""
) -> StreamingResponse:
    """Server-sent events; a browser that reconnects says where it was, and misses nothing."""
    poller: Poller = request.state.poller
    if await poller.job(number) is None:
        raise HTTPException(404, "nobody watches this video")

    async def lines() -> AsyncIterator[str]:
        async for event in poller.events(after=last_event_id):
            if isinstance(event, JobEvent) and event.job_id == number:
                told = json.dumps(event.to_cloudevent())
                yield f"id: {event.cursor}\ndata: {told}\n\n"
                if not isinstance(event, (JobWatching, JobChanged)):
                    return  # it has ended

    return StreamingResponse(lines(), media_type="text/event-stream")
