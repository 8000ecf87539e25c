"""``python -m bench waiting``: many callers before one closed door, in real time.

Memory is what a waiting caller takes beyond a bare task that awaits a future of its own.
"""

import asyncio
import gc
import math
import time
import tracemalloc
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from bench.peers import HINTED
from resilience import Guard, Policy

CROWDS = (1_000, 10_000, 100_000)
FAR = 3600.0
PATIENCE = 60.0
"""Seconds; a crowd that would take longer is left out."""
OK = {"code": "0000", "msg": "success"}


@dataclass(slots=True)
class Door:
    """A server that turns everybody away until it is opened, and one caller who is late."""

    is_open: bool = False
    late: asyncio.Event | None = None

    async def search(self) -> dict[str, Any]:
        """One request."""
        return OK if self.is_open else self.rejection(FAR)

    async def slow_search(self) -> dict[str, Any]:
        """Sent while the door was open; rejected when everybody waits already."""
        late = self.late
        if late is not None:
            await late.wait()
            self.late = None
            return self.rejection(2 * FAR)
        return await self.search()

    @staticmethod
    def rejection(wait: float) -> dict[str, Any]:
        """A rejection with a hint."""
        return {"code": "0429", "msg": "Request has exceeded the limit.", "retry_after": wait}


@dataclass(slots=True)
class Times:
    """Seconds: until all waited, for one more closing, to open by hand, until all were served."""

    park: float
    close: float
    reset: float
    served: float


async def settle() -> None:
    """Until the loop has nothing to do."""
    for _ in range(20):
        await asyncio.sleep(0)


async def closed_door(late: asyncio.Event) -> tuple[Guard, Door, list[asyncio.Task[Any]]]:
    """A guard whose door is closed, one call under way, and those two callers."""
    guard = Guard(Policy.from_dict(HINTED)).options(max_wait=None, endpoint="search")
    door = Door(late=late)
    slow = asyncio.create_task(guard.call(door.slow_search))
    await settle()
    first = asyncio.create_task(guard.call(door.search))
    await settle()
    return guard, door, [slow, first]


async def timed(count: int) -> Times:
    """How long things take with so many."""
    late = asyncio.Event()
    guard, door, tasks = await closed_door(late)
    start = time.perf_counter()
    tasks += [asyncio.create_task(guard.call(door.search)) for _ in range(count)]
    await settle()
    parked = time.perf_counter()
    late.set()
    await settle()
    closed = time.perf_counter()
    door.is_open = True
    opening = time.perf_counter()
    guard.reset()
    opened = time.perf_counter()
    await asyncio.gather(*tasks)
    served = time.perf_counter()
    return Times(parked - start, closed - parked, opened - opening, served - opening)


async def memory(count: int, *, bare: bool) -> float:
    """Bytes per waiting task."""
    guard, door, tasks = await closed_door(asyncio.Event())

    async def alone() -> None:
        await asyncio.get_running_loop().create_future()

    def one() -> Coroutine[Any, Any, Any]:
        return alone() if bare else guard.call(door.search)

    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tasks += [asyncio.create_task(one()) for _ in range(count)]
    await settle()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return (after - before) / count


def line(count: int, *, timing: bool) -> tuple[str, float]:
    """A line of the table, and how long it took to serve all."""
    bare = asyncio.run(memory(count, bare=True))
    ours = asyncio.run(memory(count, bare=False))
    text = f"{count:>9,} {ours - bare:>7,.0f} {bare:>6,.0f}"
    if not timing:
        return f"{text}   times left out: it would take minutes", math.inf
    times = asyncio.run(timed(count))
    shown = (times.park, times.close, times.reset, times.served)
    return text + "".join(f" {seconds:>10.6f}" for seconds in shown), times.served


def main() -> None:
    """The program."""
    print("callers before one closed door: bytes of each beyond a bare task's, and seconds until")
    print("all wait, one more closing is done, ``reset`` returns, all are served after it")
    heads = ("all wait", "close", "reset", "served")
    print(f"{'callers':>9} {'bytes':>7} {'bare':>6}" + "".join(f" {head:>10}" for head in heads))
    took, before = 0.0, CROWDS[0]
    for count in CROWDS:
        text, took = line(count, timing=took * (count / before) < PATIENCE)
        before = count
        print(text, flush=True)
