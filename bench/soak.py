"""``python -m bench soak``: two minutes on real sockets, 300 tasks, one session, 5 calls a second.

The emulator limits ``list_videos`` as the documents say.  Every call must end; what was rejected,
and the memory of the process while it went on, are what to look at.  Exits with 1 if a promise of the
project is broken: a call that failed, more than 0.05 rejected per useful call, memory that grows.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp

from pollers.emulator import MemoriesEmulator
from resilience import Guard, ResilienceError

TASKS = 300
SECONDS = 120.0
MOST_WASTE = 0.05
MOST_GROWTH = 1.05
PAGE = 4096


def resident() -> float:
    """Mebibytes of memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE / 2**20


async def soak(seconds: float = SECONDS) -> bool:
    """Run; True if every promise held."""
    async with MemoriesEmulator() as emulator:
        host = emulator.base_url.split("/")[2]
        guard = Guard("memories_ai").options(max_wait=None)
        codes: dict[str, int] = {}
        failed: list[str] = []
        until = time.monotonic() + seconds

        async def one(session: aiohttp.ClientSession) -> None:
            while time.monotonic() < until:
                try:
                    async with session.post(f"{emulator.base_url}/list_videos", json={}) as answer:
                        code = str((await answer.json())["code"])
                except ResilienceError as error:
                    failed.append(repr(error))
                else:
                    codes[code] = codes.get(code, 0) + 1

        async with aiohttp.ClientSession(
            middlewares=[guard.aiohttp(hosts=[host])], headers={"Authorization": "sk-test"}
        ) as session:
            tasks = [asyncio.create_task(one(session)) for _ in range(TASKS)]
            await asyncio.sleep(seconds / 4)
            early = resident()
            await asyncio.wait(tasks, timeout=seconds * 3)
            late = resident()
        rejected = sum(seen.code == "0429" for seen in emulator.requests)
        return report(codes, failed, tasks, rejected, (early, late))


def report(
    codes: dict[str, int],
    failed: list[str],
    tasks: list[asyncio.Task[Any]],
    rejected: int,
    memory: tuple[float, float],
) -> bool:
    """Say how it went."""
    useful = codes.get("0000", 0)
    early, late = memory
    hanging = sum(not task.done() for task in tasks)
    print(f"{useful} useful calls, {rejected} rejected ({rejected / max(useful, 1):.3f} each)")
    print(f"{len(failed)} failed, {hanging} still waiting; other codes: {set(codes) - {'0000'}}")
    print(f"memory {early:.1f} MiB after a quarter of the time, {late:.1f} MiB at the end")
    return (
        useful > 0
        and not failed
        and not hanging
        and rejected <= MOST_WASTE * useful
        and late <= MOST_GROWTH * early
    )


def main() -> None:
    """The program."""
    raise SystemExit(0 if asyncio.run(soak()) else 1)
