"""The running parts of one emulator, held together; what the request handlers work on.

Background work (a parsing, a callback) runs in tasks that this object owns, and none of them
outlives `stop`.  A pause that a client waits through ends at once when the emulator stops.
"""

import asyncio
import logging
import tempfile
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from . import decoding
from .datalake.lake import Lake
from .exchange import Exchange
from .faults import INTERFACES
from .provider import ProviderState, now
from .quotas import Keys, Points
from .scrapes import Tasks
from .settings import Settings
from .v2.assets import Assets
from .videos import Library
from .wire import DISABLED, TOO_MANY, UNAUTHORIZED

logger = logging.getLogger("pollers.emulator")


@dataclass(slots=True)
class Engine:
    """What exists only while the emulator runs: a client, worker threads, a directory."""

    client: aiohttp.ClientSession
    workers: ThreadPoolExecutor
    directory: tempfile.TemporaryDirectory[str]
    decodes: bool
    halt: threading.Event = field(default_factory=threading.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class State(ProviderState):
    """Settings, videos, scraper tasks, quotas, faults and logs of one emulator."""

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        keys = Keys(missing=UNAUTHORIZED, wrong=settings.wrong_key_code, disabled=DISABLED)
        keys.set(settings.keys, settings.disabled_keys)
        super().__init__(
            settings,
            interfaces=INTERFACES,
            limits=settings.all_limits(),
            keys=keys,
        )
        self.library = Library()
        self.tasks = Tasks()
        self.points = Points(settings.points)
        self.assets = Assets(now)
        self.lake = Lake(now)
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
        super().start()
        self._engine = Engine(
            client=aiohttp.ClientSession(),
            workers=ThreadPoolExecutor(self.settings.decode_workers, "emulator-decode"),
            directory=tempfile.TemporaryDirectory(prefix="memories-emulator-"),
            decodes=decodes,
        )

    async def stop(self) -> None:
        """End every task and thread and remove the uploaded files; may be called twice."""
        await super().stop()
        engine, self._engine = self._engine, None
        if engine is None:
            return
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

    def admit(self, exchange: Exchange) -> None:
        """Count the request against its limit, or refuse it; so does an empty balance."""
        self.knock(exchange, exchange.interface, TOO_MANY)
        if self.settings.pause_when_empty:
            self.points.check(exchange.owner, 0)

    def silence(self, number: int) -> float:
        """As the settings have it for a chat's stream."""
        return self.settings.chat_pause if number else self.settings.chat_quiet

    def new_file(self, suffix: str) -> Path:
        """A path in the emulator's own directory that was never given before."""
        self._uploads += 1
        return Path(self.engine.directory.name) / f"{self._uploads}{suffix}"


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("background task failed", exc_info=error)
