"""The official MemOS SDK as it is on PyPI, and a small MemOS of our own for it to talk to.

``memos/api/client.py`` and its models are loaded unchanged.  Three things around them are not ours to
test, and would cost minutes: ``memos/__init__.py`` imports the whole memory server, one type comes from
``transformers``, and importing the package reconfigures the process's logging.
"""

import asyncio
import importlib
import json
import logging.config
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from aiohttp import web

SDK = Path(sys.prefix) / "memos-sdk"
"""Where the Makefile puts the package, without the server's dependencies."""


def load_sdk(scratch: Path) -> ModuleType:
    """The SDK's client module; the package writes a log file into ``scratch``."""
    assert (SDK / "memos").is_dir(), f"no MemOS SDK in {SDK}: run 'make .venv/.dev'"
    memos, transformers = ModuleType("memos"), ModuleType("transformers")
    memos.__path__ = [str(SDK / "memos")]
    transformers.DynamicCache = type("DynamicCache", (), {})
    with (
        mock.patch.dict(sys.modules, {"memos": memos, "transformers": transformers}),
        mock.patch.dict("os.environ", {"MEMOS_BASE_PATH": str(scratch)}),
        mock.patch.object(logging.config, "dictConfig"),
    ):
        return importlib.import_module("memos.api.client")


@dataclass
class MemOS:
    """Answers each path with a list of replies, the last one again and again, and counts requests."""

    replies: dict[str, list[Any]]
    base: str = ""
    asked: list[tuple[str, float]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Give the next reply of the path: a body, (status, body, headers), or ``"hang up"``."""
        path = request.match_info["path"]
        self.asked.append((path, round(asyncio.get_running_loop().time(), 6)))
        self.bodies.append(json.loads(await request.read()))
        replies = self.replies[path]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply == "hang up":
            request.transport.close()
        status, body, headers = reply if isinstance(reply, tuple) else (200, reply, {})
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(
            text=text, status=status, headers=headers, content_type="application/json"
        )


@asynccontextmanager
async def serving(replies: dict[str, list[Any]]):
    """The small MemOS while it runs."""
    server = MemOS(replies)
    app = web.Application()
    app.router.add_route("*", "/api/openmem/v1/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}/api/openmem/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
