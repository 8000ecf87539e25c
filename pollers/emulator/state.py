"""The running parts of one emulator, held together; what the request handlers work on.

Background work (a parsing, a callback) runs in tasks that this object owns, and none of them
outlives `stop`.  A pause that a client waits through ends at once when the emulator stops.
"""

import asyncio
import logging
import math
import random
import tempfile
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from . import decoding
from .faults import FaultBook
from .quotas import Keys, Points, Windows
from .scrapes import Tasks
from .settings import Settings
from .videos import Library

if TYPE_CHECKING:
    from .log import Called, Seen

logger = logging.getLogger("pollers.emulator")


def now() -> float:
    """Seconds on the running loop's clock, the only clock that decides anything here."""
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Engine:
    """What exists only while the emulator runs: a client, worker threads, a directory."""

    client: aiohttp.ClientSession
    workers: ThreadPoolExecutor
    directory: tempfile.TemporaryDirectory[str]
    decodes: bool
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    halt: threading.Event = field(default_factory=threading.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class State:
    """Settings, videos, scraper tasks, quotas, faults and logs of one emulator."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.chance = random.Random(settings.seed)  # noqa: S311 a repeatable emulator
        self.library = Library()
        self.tasks = Tasks()
        self.faults = FaultBook(self.chance)
        self.windows = Windows(settings.all_limits())
        self.keys = Keys(wrong_key_code=settings.wrong_key_code)
        self.keys.set(settings.keys, settings.disabled_keys)
        self.points = Points(settings.points)
        self.seen: list[Seen] = []
        self.called: list[Called] = []
        self._engine: Engine | None = None
        self._uploads = 0

    @property
    def engine(self) -> Engine:
        """The running parts.

        Raises:
            RuntimeError: The emulator isn't running.
        """
        if self._engine is None:
            raise RuntimeError("the emulator is not running; use it as `async with`")
        return self._engine

    def start(self) -> None:
        """Make the running parts.

        Raises:
            ImportError: Decoding was asked for and PyAV isn't installed.
        """
        wanted = self.settings.decode
        decodes = decoding.available() if wanted is None else wanted
        if decodes and not decoding.available():
            raise ImportError("decode=True needs PyAV (the package `av`)")
        self._engine = Engine(
            client=aiohttp.ClientSession(),
            workers=ThreadPoolExecutor(self.settings.decode_workers, "emulator-decode"),
            directory=tempfile.TemporaryDirectory(prefix="memories-emulator-"),
            decodes=decodes,
        )

    async def stop(self) -> None:
        """End every task and thread and remove the uploaded files; may be called twice."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        engine.closing.set()
        engine.halt.set()
        for task in engine.tasks:
            task.cancel()
        await asyncio.gather(*engine.tasks, return_exceptions=True)
        engine.workers.shutdown(wait=True, cancel_futures=True)  # a thread ends at its next picture
        await engine.client.close()
        engine.directory.cleanup()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background; a failure of it is logged, cancellation is not."""
        task = asyncio.get_running_loop().create_task(work)
        self.engine.tasks.add(task)
        task.add_done_callback(self.engine.tasks.discard)
        task.add_done_callback(_complain)

    async def pause(self, seconds: float) -> None:
        """Sleep on the loop's clock; returns early when the emulator closes."""
        if seconds > 0:
            try:
                async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                    await self.engine.closing.wait()
            except TimeoutError:
                pass

    async def release(self, _: web.Application) -> None:
        """Let go of the requests that only wait; aiohttp calls this before it waits for them."""
        self.engine.closing.set()

    def new_file(self, suffix: str) -> Path:
        """A path in the emulator's own directory that was never given before."""
        self._uploads += 1
        return Path(self.engine.directory.name) / f"{self._uploads}{suffix}"


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("background task failed", exc_info=error)
