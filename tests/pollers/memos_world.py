"""An emulated MemOS Cloud in virtual time, with a guarded session and both sources."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from pollers_kit import wall

from pollers.emulator import MemosEmulator
from pollers.sources import MemosFiles, MemosTasks
from resilience import Guard
from resilience.testing import FixedChance

KEY = "mpg-test"


class MemosWorld:
    """What a story needs."""

    def __init__(
        self, emulator: MemosEmulator, session: aiohttp.ClientSession, guard: Guard
    ) -> None:
        self.emulator = emulator
        self.session = session
        self.guard = guard

    def tasks(self, **settings: Any) -> MemosTasks:
        return MemosTasks(self.session, **self._with(settings))

    def files(self, **settings: Any) -> MemosFiles:
        return MemosFiles(self.session, **self._with(settings))

    def _with(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"api_key": KEY, "base_url": self.emulator.base_url, **settings}

    def asked(self, interface: str) -> list[tuple[str, ...]]:
        return [seen.ids for seen in self.emulator.requests if seen.interface == interface]

    def asked_at(self, interface: str) -> list[float]:
        return [round(s.time, 3) for s in self.emulator.requests if s.interface == interface]


@asynccontextmanager
async def memos(*, middleware: bool = True, **settings: Any) -> AsyncIterator[MemosWorld]:
    """By default without limits; ``limits={}`` brings the documented ones."""
    settings = {"limits": {"calls": None, "tokens": None}} | settings
    guard = Guard("memos_cloud", wall=wall, chance=FixedChance(1.0))
    used = [guard.aiohttp(hosts=["127.0.0.1"])] if middleware else []
    async with MemosEmulator(**settings) as emulator:
        async with aiohttp.ClientSession(middlewares=used) as session:
            yield MemosWorld(emulator, session, guard)
