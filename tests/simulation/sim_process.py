"""One run of the program: whatever it does outside of itself is a step here, and at a step it may die.

``kill -9`` is played so: from some step on nothing that the process does has an effect, and all that
it was is thrown away.  What it committed before stays on the disk, and the next process opens that.
"""

# ruff: noqa: D102, D103  # helpers say it by their names

import inspect
import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from pollers import BadStore

MOST_STEPS = 20_000
"""Nobody needs so many; whoever takes them spins."""

WRITES = ("acquire", "register", "commit", "ack", "unpark", "prune")


class Killed(BaseException):
    """The process is dead."""


class Trace:
    """What happened, in order, and what of it was wrong."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []
        self.wrong: list[str] = []

    def note(self, *what: Any) -> None:
        self.lines.append((round(anyio.current_time(), 4), *what))

    def blame(self, what: str) -> None:
        self.wrong.append(f"{anyio.current_time():.3f}: {what}")
        self.note("WRONG", what)


class Process:
    """One process: counts its steps, and dies at one of them if it is to."""

    def __init__(
        self, number: int, trace: Trace, *, dies_at: int | None = None, dies_in: str | None = None
    ) -> None:
        self.number = number
        self.trace = trace
        self.dies_at = dies_at
        self.dies_in = dies_in
        """The first step of this name."""
        self.steps = 0
        self.alive = True
        self.left = False
        self.fenced = False
        """Another one has taken over while it ran."""
        self.began = anyio.current_time()
        self.opened = float("inf")
        self.leaves_at = float("inf")
        self.cancelled = False
        self.in_block = True
        self.scope = anyio.CancelScope()
        self.gone = anyio.Event()

    def step(self, *what: Any) -> None:
        """Something is about to have an effect, or has just had it."""
        if self.left:
            self.trace.blame(f"process {self.number} has ended, and {what} still goes on")
        if not self.alive:
            raise Killed
        self.steps += 1
        self.trace.note(self.number, *what)
        if self.steps > MOST_STEPS:
            raise AssertionError(f"process {self.number} spins")
        if self.steps == self.dies_at or what[0] == self.dies_in:
            self.die()
            raise Killed

    def die(self) -> None:
        self.trace.note(self.number, "dies")
        self.alive = False
        self.cancel()

    def cancel(self) -> None:
        self.cancelled = True
        if not self.in_block:  # its background task goes on until the block is left
            self.leaves_at = min(self.leaves_at, anyio.current_time())
        self.scope.cancel()


class StorePort:
    """The disk as one process sees it: calls take their time, and may be the last."""

    def __init__(
        self,
        disk: Any,
        process: Process,
        *,
        seconds: Callable[[], float],
        full: Callable[[], bool],
        wrote: Callable[[str, Process, float], Awaitable[None]],
    ) -> None:
        self._disk = disk
        self._process = process
        self._seconds = seconds
        self._full = full
        self._wrote = wrote

    @property
    def uuid(self) -> str:
        return self._disk.uuid

    async def open(self) -> None:
        """The world has opened it."""
        self._process.step("open")

    async def aclose(self) -> None:
        """The world closes it, whatever the process does."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._disk, name)

        async def call(*args: Any, **options: Any) -> Any:
            self._process.step(name)
            await pause(self._seconds())
            if name in WRITES and self._full():
                raise BadStore("the disk is full; make room and try again")
            if name in WRITES:
                self._process.step(name, "goes")
            answer = method(*args, **options)
            answer = await answer if inspect.isawaitable(answer) else answer
            if name in WRITES:
                after = self._seconds()
                await self._wrote(name, self._process, anyio.current_time() + after)
                self._process.step(name, "done", *shown(name, args, answer))
                await pause(after)
            return answer

        return call


def shown(name: str, args: tuple[Any, ...], answer: Any) -> tuple[Any, ...]:
    """What a trace says of a write."""
    if name == "commit":
        return tuple((row.seq, row.rid, row.version, row.type) for row in answer)
    if name == "register":
        return tuple((job.rid, job.key.remote_id, job.version) for job in answer)
    return args[:2] if name in ("ack", "unpark") else (answer,)


async def pause(seconds: float) -> None:
    """Nothing at all if it is 0: not even a checkpoint, as a store in memory does."""
    if seconds:
        await anyio.sleep(seconds)


def seldom(chance: random.Random, share: float, value: Any, other: Any = None) -> Any:
    """A value for this share of the draws."""
    return value if chance.random() < share else other
