"""The emulated surfaces of Memories.ai behind a guard, in virtual time, in the two ways to call."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from wire_kit import UNLIMITED, now

from pollers.emulator import MemoriesEmulator
from pollers.emulator.faults import INTERFACES
from resilience import Guard, ResilienceError, report
from resilience.testing import FixedChance, run_virtual, wall

KEY = {"Authorization": "sk-test"}


@dataclass
class Got:
    """What a caller got: status and body of the last answer, the error that stands for it, when."""

    status: int | None
    body: Any
    error: ResilienceError | None
    at: float


@dataclass
class Scene:
    """An emulator without limits, and a session whose calls a guard sees."""

    way: str
    emulator: MemoriesEmulator
    session: aiohttp.ClientSession
    guard: Guard

    @property
    def times(self) -> list[float]:
        """When the emulator was asked."""
        return [round(seen.time, 6) for seen in self.emulator.requests]

    async def ask(self, surface: str, method: str, path: str, *, name: str, **given: Any) -> Got:
        """One call; ``name`` is the endpoint, which only ``guard.call`` has to be told."""
        roots = {
            "v1": self.emulator.base_url,
            "v2": self.emulator.v2_url,
            "lake": self.emulator.datalake_url,
        }
        options, sent = given.pop("options", {}), {"headers": KEY, **given}
        send = partial(self.session.request, method, f"{roots[surface]}/{path}", **sent)
        if self.way == "session":
            with self.guard.using(**options):
                return await self._through_session(send)
        return await self._through_call(send, self.guard.options(endpoint=name, **options))

    async def _through_session(self, send: Callable[[], Any]) -> Got:
        try:
            response = await send()
        except ResilienceError as error:
            return Got(None, None, error, now())
        told = report(response)
        assert told is not None
        return Got(response.status, await _body(response), told.error, now())

    async def _through_call(self, send: Callable[[], Any], guard: Guard) -> Got:
        async def fetch() -> aiohttp.ClientResponse:
            response: aiohttp.ClientResponse = await send()
            await response.read()
            return response

        try:
            response = await guard.call(fetch)
        except ResilienceError as error:
            return Got(None, None, error, now())
        return Got(response.status, await _body(response), None, now())


async def _body(response: aiohttp.ClientResponse) -> Any:
    content = await response.read()
    return json.loads(content) if response.content_type == "application/json" else content


def play(way: str, story: Callable[[Scene], Awaitable[None]], **settings: Any) -> None:
    """Run a story in virtual time; at its end nobody waits and nothing is held."""

    async def scene() -> None:
        guard = Guard("memories_ai", wall=wall, chance=FixedChance(1.0))
        middlewares = [guard.aiohttp(hosts=["127.0.0.1"])] if way == "session" else []
        fixed = {"limits": dict.fromkeys(INTERFACES), "decode": False, "parse_seconds": 0.0}
        async with (
            MemoriesEmulator(**{**fixed, **settings}) as emulator,
            aiohttp.ClientSession(middlewares=middlewares, timeout=UNLIMITED) as session,
        ):
            await story(Scene(way, emulator, session, guard))
            assert guard._shared.machine.parked == 0
            assert guard._shared.active == 0

    run_virtual(scene)
