"""For people whose server is aiohttp too: guard, session and poller in one ``cleanup_ctx``.

Run it: ``python examples/aiohttp_app.py``, then ``curl localhost:8080/videos/VI1`` until it is done.
"""

from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from provider import provider

from pollers import Poller
from pollers.sources import MemoriesVideos
from resilience import Guard, QuotaError, ResilienceError, raise_for_code

BASE_URL = web.AppKey("BASE_URL", str)
SESSION = web.AppKey("SESSION", aiohttp.ClientSession)
POLLER = web.AppKey("POLLER", Poller)


async def resources(app: web.Application) -> AsyncIterator[None]:
    guard = Guard("memories_ai")
    with provider() as api:
        middleware = guard.aiohttp(hosts=api.hosts)
        auth = {"Authorization": api.key}
        async with aiohttp.ClientSession(middlewares=[middleware], headers=auth) as session:
            source = MemoriesVideos(session, base_url=api.base_url)
            async with Poller(source, min_interval=0.2) as poller:
                app[BASE_URL], app[SESSION], app[POLLER] = api.base_url, session, poller
                yield


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A quota that will open says when; what a person must mend says how."""
    try:
        return await handler(request)
    except ResilienceError as error:
        told = {"code": error.code, "message": error.message, "remedy": error.remedy}
        wait = int(error.retry_after or 0) + 1
        headers = {"Retry-After": str(wait)} if isinstance(error, QuotaError) else {}
        return web.json_response(told, status=503, headers=headers)


async def list_videos(request: web.Request) -> web.Response:
    url = f"{request.app[BASE_URL]}/list_videos"
    async with request.app[SESSION].post(url, json={"page": 1}) as response:
        raise_for_code(response)
        return web.json_response((await response.json())["data"]["videos"])


async def video(request: web.Request) -> web.Response:
    job = await request.app[POLLER].watch(request.match_info["number"])
    row = await job.row()
    return web.json_response({"id": job.id, "state": row.state, "cause": row.cause})


def make_app() -> web.Application:
    app = web.Application(middlewares=[errors])
    app.cleanup_ctx.append(resources)
    app.add_routes([web.get("/videos", list_videos), web.get("/videos/{number}", video)])
    return app


if __name__ == "__main__":
    web.run_app(make_app())
