"""The control interface under `/_emulator/`, for a test in another process.

JSON in and out, no key, never logged and never limited.  It is there only with `control=True`: who
reaches it can do everything.  A bad body is HTTP 400 with `{"error": …}`.

    POST faults    {"interface": "list", "fault": {"code": "0429", "times": 3}}   or "faults": […]
    POST videos    [{"video_no": "VI1", "parse_after": 2.5}, …]   or {"count": 9, "prefix": "VI", …}
    POST scrapes   [{"task_id": "T1", "videos": [{"appears_after": 1.0, "parse_after": 2.0}]}, …]
    POST assets    [{"asset_id": "re_1", "error": null}, …]        of Visual Intelligence
    POST tasks     [{"task_id": "t1", "ends_after": 2.5}, …]       of Visual Intelligence
    POST lake      [{"video_id": "vid_1", "ready_after": 9}, …]    of the Datalake
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
from .provider import now
from .surface import dump

if TYPE_CHECKING:
    from .base import Emulator
    from .server import MemoriesEmulator

CONTROL = "/_emulator"

Act = Callable[[Any, Any], dict[str, Any]]
"""Takes the emulator and the body."""


def add_control(app: web.Application, emulator: "Emulator[Any]") -> None:
    """Put the control interface into an application."""
    for name, act in emulator.acts.items():
        app.router.add_post(f"{CONTROL}/{name}", _posted(emulator, act))
    app.router.add_get(f"{CONTROL}/log", _got(lambda request: _log(emulator, request)))
    app.router.add_get(f"{CONTROL}/state", _got(lambda _: _state(emulator)))


def _posted(
    emulator: "Emulator[Any]", act: Act
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


def _faults(emulator: "Emulator[Any]", body: Any) -> dict[str, Any]:
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


def _assets(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    return {"asset_ids": [emulator.assets.add_asset(**entry).video_no for entry in body]}


def _tasks(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    return {"task_ids": [emulator.assets.add_task(**entry).task_id for entry in body]}


def _lake(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    return {"operations": [emulator.lake.add(**entry).operation for entry in body]}


def _limits(emulator: "Emulator[Any]", body: Any) -> dict[str, Any]:
    emulator.set_limit(body["interface"], body["calls"], body.get("per", 1.0))
    return {}


def _points(emulator: "MemoriesEmulator", body: Any) -> dict[str, Any]:
    return {"points": emulator.top_up(body["points"], account=body.get("account", "default"))}


def _keys(emulator: "Emulator[Any]", body: Any) -> dict[str, Any]:
    emulator.set_keys(body["keys"], disabled=body.get("disabled", ()))
    return {}


def _settings(emulator: Any, body: Any) -> dict[str, Any]:
    emulator.configure(**body)
    return {}


COMMON_ACTS: dict[str, Act] = {
    "faults": _faults,
    "limits": _limits,
    "keys": _keys,
    "settings": _settings,
}
ACTS = COMMON_ACTS | {
    "videos": _videos,
    "scrapes": _scrapes,
    "assets": _assets,
    "tasks": _tasks,
    "lake": _lake,
    "points": _points,
}


def _log(emulator: "Emulator[Any]", request: web.Request) -> dict[str, Any]:
    after = int(request.query.get("after", "0"))
    return {
        "requests": [seen.as_json() for seen in emulator.requests[after:]],
        "callbacks": [called.as_json() for called in emulator.callbacks],
        "next": len(emulator.requests),
    }


def _state(emulator: "Emulator[Any]") -> dict[str, Any]:
    return {
        "time": now(),
        "requests": len(emulator.requests),
        "limits": {
            name: {"calls": limit.calls, "per": limit.per}
            for name, limit in emulator.limits.items()
        },
        "faults": emulator.faults,
        **emulator.describe(),
    }
