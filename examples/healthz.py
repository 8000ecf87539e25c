"""For people who operate it: a poller with ``/livez``, ``/healthz`` and ``/status``, stopped in time.

Run it: ``python examples/healthz.py``, then ``curl -i localhost:8080/healthz``.

A supervisor restarts by ``/livez``: only a poller that has ended needs that.  ``/healthz`` is what
should wake a person: an empty account is mended by nobody's restart.  TERM or Ctrl-C gives sinks the
rest of five seconds; what they did not take, the next run delivers from the file.
"""

import os
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from provider import provider

from pollers import Event, Poller
from pollers.sources import MemoriesVideos
from resilience import Guard

STORE = os.environ.get("STORE", "jobs.db")
POLLER = web.AppKey("POLLER", Poller)


def tell(event: Event) -> None:
    print(type(event).__name__, event.subject)


async def resources(app: web.Application) -> AsyncIterator[None]:
    guard = Guard("memories_ai", account="team-a")
    with provider() as api:
        auth = {"Authorization": api.key}
        middlewares = [guard.aiohttp(hosts=api.hosts)]
        async with aiohttp.ClientSession(middlewares=middlewares, headers=auth) as session:
            source = MemoriesVideos(session, base_url=api.base_url)
            async with Poller(source, store=STORE, sinks=[tell], stop_within=5.0) as poller:
                app[POLLER] = poller
                yield


async def livez(request: web.Request) -> web.Response:
    health = request.app[POLLER].health()
    return web.json_response({"alive": health.alive}, status=200 if health.alive else 503)


async def healthz(request: web.Request) -> web.Response:
    health = request.app[POLLER].health(stuck=120.0, slow=5.0, late=300.0)
    return web.json_response(health.data(), status=200 if health.ok else 503)


async def status(request: web.Request) -> web.Response:
    return web.json_response(request.app[POLLER].snapshot())


async def watch(request: web.Request) -> web.Response:
    job = await request.app[POLLER].watch(request.match_info["number"])
    return web.json_response({"id": job.id, "state": (await job.row()).state}, status=202)


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(resources)
    app.add_routes(
        [
            web.get("/livez", livez), web.get("/healthz", healthz), web.get("/status", status),
            web.put("/videos/{number}", watch),
        ]
    )  # fmt: skip
    return app


if __name__ == "__main__":
    web.run_app(make_app())
