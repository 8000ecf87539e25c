"""``python -m bench watching``: 20,000 videos on real sockets, one account, the documented limit.

Every other video's callback is lost.

The emulator has a process of its own, so what is measured here is the poller: its file, its requests,
its memory.  Exits with 1 if a promise is broken: an end that was not found or not delivered once, more
than 0.05 rejected requests per useful one, batches that are not full, memory that grows.
"""

import asyncio
import math
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

import aiohttp
from aiohttp import web

from bench.soak import MOST_GROWTH, MOST_WASTE, resident
from pollers import Event, JobSucceeded, Poller
from pollers.callbacks import aiohttp_handler
from pollers.emulator import MemoriesEmulator
from pollers.sources import MemoriesVideos
from pollers.store.sqlite import SqliteStore

JOBS = 20_000
TYPICAL, SPREAD = 45.0, 0.5
"""Seconds until a video is parsed: median, and sigma of the logarithm."""
LONGEST = 110.0
BATCH = 200
LEAST_FILL = 0.95


def lives(jobs: int) -> dict[str, float]:
    """Seconds that each video takes."""
    chance = random.Random(1)
    return {
        f"VI{i}": min(LONGEST, chance.lognormvariate(math.log(TYPICAL), SPREAD))
        for i in range(jobs)
    }


def provide(wire: Connection) -> None:
    """The process of the emulator: takes the videos, serves until it is told to report."""
    asyncio.run(_provide(wire))


async def _provide(wire: Connection) -> None:
    async with MemoriesEmulator(decode=False) as emulator:
        wire.send(emulator.base_url)
        videos, callback = await asyncio.to_thread(wire.recv)
        began = time.time()
        for number, (name, seconds) in enumerate(videos.items()):
            emulator.add_video(name, parse_after=seconds, callback=None if number % 2 else callback)
        wire.send(began)
        await asyncio.to_thread(wire.recv)
        ahead = time.time() - asyncio.get_running_loop().time()
        wire.send([(one.time + ahead, len(one.video_nos), one.code) for one in emulator.requests])


@asynccontextmanager
async def listening(poller: Poller) -> AsyncIterator[str]:
    """Where the provider may call back while the block lasts."""
    app = web.Application()
    app.router.add_post("/called", aiohttp_handler(poller))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"{site.name.replace(':0', f':{runner.addresses[0][1]}')}/called"
    finally:
        await runner.cleanup()


class Told:
    """A sink that counts the ends: when each was noticed, and when it was told first (wall time)."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.noticed: dict[str, float] = {}
        self.told: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, JobSucceeded):
            self.ends[event.subject] += 1
            self.noticed[event.subject] = event.time.timestamp()
            self.told.setdefault(event.subject, time.time())


async def soak(jobs: int = JOBS) -> bool:
    """Run; True if every promise held."""
    wire, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=provide, args=(other,))
    process.start()
    try:
        return await _soak(wire, lives(jobs))
    finally:
        process.kill()
        process.join()


async def _soak(wire: Connection, videos: dict[str, float]) -> bool:
    base_url = await asyncio.to_thread(wire.recv)
    told, memory = Told(), []
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession() as session:
            source = MemoriesVideos(session, api_key="sk-soak", base_url=base_url)
            store = SqliteStore(Path(folder, "jobs.db"))
            async with Poller(source, store=store, sinks=[told]) as poller:
                async with listening(poller) as callback:
                    wire.send((videos, callback))
                    began = await asyncio.to_thread(wire.recv)
                    at = time.perf_counter()
                    handles = await poller.watch_many(videos, deadline=600.0)
                    print(f"watched {len(handles)} in {time.perf_counter() - at:.2f} s")
                    results = asyncio.gather(*(handle.result() for handle in handles))
                    while not results.done():
                        memory.append(resident())
                        await asyncio.wait([results], timeout=5.0)
                    await results
                took = time.time() - began
    wire.send("report")
    requests = await asyncio.to_thread(wire.recv)
    return report(videos, told, requests, memory, began=began, took=took)


def report(
    videos: dict[str, float],
    told: Told,
    requests: list[tuple[float, int, str | None]],
    memory: list[float],
    *,
    began: float,
    took: float,
) -> bool:
    """Say how it went."""
    useful = [size for _, size, code in requests if code == "0000"]
    rejected = len(requests) - len(useful)
    # while there were more jobs than fit one request
    crowded = [
        size
        for at, size, code in requests
        if code == "0000" and sum(told.noticed[one] > at for one in videos) > BATCH
    ]
    delays = [told.noticed[one] - began - seconds for one, seconds in videos.items()]
    lags = [told.told[one] - told.noticed[one] for one in videos]
    fill = fmean(crowded) / BATCH
    half = memory[: len(memory) // 2 + 1]
    twice = sum(count != 1 for count in told.ends.values())
    print(f"{len(told.ends)} of {len(videos)} ends found and told in {took:.1f} s, {twice} twice")
    print(
        f"{len(useful)} useful requests, {rejected} rejected, {len(requests) / took:.2f} a second"
    )
    print(f"{sum(useful) / len(videos):.1f} looks per job; batches {fill:.1%} full")
    for what, spans in (("found", delays), ("told", lags)):
        every = quantiles(spans, n=20)
        print(f"{what} after {fmean(spans):.1f} s on average, {every[18]:.1f} for 95 % of them")
    print(f"memory at most {max(half):.1f} MiB in the first half, {max(memory):.1f} MiB in all")
    return (
        set(told.ends) == set(videos)
        and not twice
        and rejected <= MOST_WASTE * len(useful)
        and fill >= LEAST_FILL
        and max(memory) <= MOST_GROWTH * max(half)
    )


def main(**settings: Any) -> None:
    """The program."""
    raise SystemExit(0 if asyncio.run(soak(**settings)) else 1)
