"""The control interface under `/_emulator/`, for a test in another process.

JSON in and out, no key, never logged and never limited.  It is there only with `control=True`: who
reaches it can do everything.  A bad body is HTTP 400 with `{"error": …}`.

    POST faults    {"interface": "list", "fault": {"code": "0429", "times": 3}}   or "faults": […]
    POST videos    [{"video_no": "VI1", "parse_after": 2.5}, …]   or {"count": 9, "prefix": "VI", …}
    POST scrapes   [{"task_id": "T1", "videos": [{"appears_after": 1.0, "parse_after": 2.0}]}, …]
    POST limits    {"interface": "list", "calls": 5, "per": 1.0}   "calls": null for no limit
    POST points    {"points": 100, "account": "default"}           added to the balance
    POST keys      {"keys": {"sk-a": "alice"}, "disabled": []}     "keys": null accepts any
    POST settings  {"ignore_video_nos": true}                      what `configure` takes
    GET  log       ?after=N: the requests from the N-th on, and the callbacks
    GET  state     the loop's time, videos, scraper tasks, limits, waiting faults
"""

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .faults import Fault
from .state import now
from .wire import dump

if TYPE_CHECKING:
    from .server import MemoriesEmulator

CONTROL = "/_emulator"

Act = Callable[["MemoriesEmulator", Any], dict[str, Any]]


def add_control(app: web.Application, emulator: "MemoriesEmulator") -> None:
    """Put the control interface into an application."""
    for name, act in _ACTS.items():
        app.router.add_post(f"{CONTROL}/{name}", _posted(emulator, act))
    app.router.add_get(f"{CONTROL}/log", _got(lambda request: _log(emulator, request)))
    app.router.add_get(f"{CONTROL}/state", _got(lambda _: _state(emulator)))


def _posted(
    emulator: "MemoriesEmulator", act: Act
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            answer = act(emulator, json.loads(await request.read()))
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            return _json({"error": f"{type(exc).__name__}: {exc}"}, status=400)
        return _json(answer)

    return handle


def _got(
    read: Callable[[web.Request], dict[str, Any]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return _json(read(request))
        except ValueError as exc:
            return _json({"error": str(exc)}, status=400)

    return handle


def _json(payload: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(body=dump(payload), status=status, content_type="application/json")


def _faults(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    asked = [body["fault"]] if "fault" in body else body["faults"]
    faults = [Fault(**fields) for fields in asked]  # all are checked before one is added
    for fault in faults:
        emulator.fail(body["interface"], fault)
    return {"added": len(faults)}


def _videos(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    if isinstance(body, dict):
        fields = dict(body)
        prefix, count = fields.pop("prefix", "VI"), fields.pop("count")
        body = [{**fields, "video_no": f"{prefix}{number}"} for number in range(count)]
    for entry in body:
        emulator.add_video(**entry)
    return {"added": len(body)}


def _scrapes(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    return {"task_ids": [emulator.add_scrape(**entry).task_id for entry in body]}


def _limits(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    emulator.set_limit(body["interface"], body["calls"], body.get("per", 1.0))
    return {}


def _points(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    return {"points": emulator.top_up(body["points"], account=body.get("account", "default"))}


def _keys(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    emulator.set_keys(body["keys"], disabled=body.get("disabled", ()))
    return {}


def _settings(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    emulator.configure(**body)
    return {}


_ACTS: dict[str, Act] = {
    "faults": _faults,
    "videos": _videos,
    "scrapes": _scrapes,
    "limits": _limits,
    "points": _points,
    "keys": _keys,
    "settings": _settings,
}


def _log(emulator: "MemoriesEmulator", request: web.Request) -> dict[str, Any]:
    after = int(request.query.get("after", "0"))
    return {
        "requests": [seen.as_json() for seen in emulator.requests[after:]],
        "callbacks": [called.as_json() for called in emulator.callbacks],
        "next": len(emulator.requests),
    }


def _state(emulator: "MemoriesEmulator") -> dict[str, Any]:
    at = now()
    ended = sum(video.ended_at(at) for video in emulator.videos.values())
    return {
        "time": at,
        "videos": len(emulator.videos),
        "ended": ended,
        "scrapes": len(emulator.scrapes),
        "requests": len(emulator.requests),
        "limits": {
            name: {"calls": limit.calls, "per": limit.per}
            for name, limit in emulator.limits.items()
        },
        "faults": emulator.faults,
        "dialect": emulator.settings.dialect,
    }
