"""What every emulated provider has: faults, limits, keys, a log, and pauses that end when it closes."""

import asyncio
import itertools
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from .faults import Fault, FaultBook
from .log import Called, Seen
from .quotas import Keys, Limit, Windows
from .replies import Spoilt, spoilt
from .surface import Code, RefusedError, Reply

if TYPE_CHECKING:
    from .exchange import Exchange


def now() -> float:
    """Seconds on the running loop's clock, the only clock that decides anything here."""
    return asyncio.get_running_loop().time()


class Basics(Protocol):
    """What the settings of every provider tell."""

    @property
    def retry_after(self) -> bool:
        """Whether a broken limit is answered with a Retry-After header."""
        ...

    @property
    def control(self) -> bool:
        """Whether the control interface answers."""
        ...

    @property
    def seed(self) -> int:
        """Seed of everything that is drawn."""
        ...


class ProviderState(ABC):
    """The part of an emulator's state that doesn't depend on whom it plays.

    Args:
        settings: What the deployment was told to be.
        interfaces: Names of its paths by the interface that they count for.
        limits: What it starts with.
        keys: Who may call.
    """

    def __init__(
        self,
        settings: Basics,
        *,
        interfaces: Mapping[str, tuple[str, ...]],
        limits: Mapping[str, Limit],
        keys: Keys,
    ) -> None:
        self.settings: Basics = settings
        self.chance = random.Random(settings.seed)  # noqa: S311 a repeatable emulator
        self.faults = FaultBook(self.chance, interfaces)
        self.windows = Windows(limits)
        self.keys = keys
        self.numbers = itertools.count()
        self.seen: list[Seen] = []
        self.called: list[Called] = []
        self._closing: asyncio.Event | None = None

    @abstractmethod
    def admit(self, exchange: "Exchange") -> None:
        """Count a request of a good key, or raise RefusedError."""

    @property
    def closing(self) -> asyncio.Event:
        """Set when the emulator stops.

        Raises:
            RuntimeError: The emulator isn't running.
        """
        if self._closing is None:
            raise RuntimeError("the emulator is not running; use it as `async with`")
        return self._closing

    def start(self) -> None:
        """Begin to run."""
        self._closing = asyncio.Event()

    async def stop(self) -> None:
        """End all that is going on; may be called twice."""
        closing, self._closing = self._closing, None
        if closing is not None:
            closing.set()

    async def pause(self, seconds: float) -> None:
        """Sleep on the loop's clock; returns early when the emulator closes."""
        if seconds > 0:
            try:
                async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                    await self.closing.wait()
            except TimeoutError:
                pass

    async def release(self, _: web.Application) -> None:
        """Let go of the requests that only wait; aiohttp calls this before it waits for them."""
        self.closing.set()

    def knock(self, exchange: "Exchange", limit: str, code: Code, *, cost: int = 1) -> None:
        """Count so much against a limit, or refuse the request with this code."""
        rest = self.windows.admit(exchange.owner, limit, now(), cost)
        if rest is not None:
            tells = self.settings.retry_after or exchange.surface.tells_when
            hint = {"Retry-After": str(max(1, math.ceil(rest)))} if tells else {}
            raise RefusedError(code, headers=hint)

    def silence(self, number: int) -> float:  # noqa: ARG002 some providers have one to wait
        """Seconds before an event of a stream, counted from 0."""
        return 0.0

    async def spoil(self, exchange: "Exchange", fault: Fault, reply: Reply | None) -> Spoilt:
        """What a fault makes of an answer; `reply` is the request's own if the work was done."""
        return spoilt(
            fault,
            reply,
            surface=exchange.surface,
            path=exchange.request.path,
            request_id=exchange.request_id,
        )
