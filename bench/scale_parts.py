"""The parts of ``python -m bench scale``: ``python -m bench.scale_parts PART …`` prints one JSON line.

Each is a process of its own, so that its memory and its time are nobody else's.  ``resident`` is in
MB (10 ** 6 bytes), all else in seconds unless its name says otherwise.
"""

import asyncio
import json
import random
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from pollers import Poller
from pollers._core.model import JobKey, NewJob, Shard, State, Transition
from pollers._core.step import cancel
from pollers.sources import CallableSource, MemoriesVideos
from pollers.store.sqlite import SqliteStore
from resilience import Guard
from resilience.testing import run_virtual, wall

PAGE = 4096
CHUNK = 100_000
COMMIT = 200
BATCH, SPACING = 200, 0.2
"""Five requests a second."""


def resident(now: str = "VmRSS") -> float:
    """MB of memory of this process (Linux); ``VmHWM`` is the most that it ever was."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith(now))
    return int(kilobytes) * 1024 / 1e6


class Lag:
    """How long the event loop let others wait, at most."""

    def __init__(self) -> None:
        self.most = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(0.002)
            self.most = max(self.most, time.perf_counter() - asked - 0.002)


async def with_lag(function: Callable[[Lag], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Run it beside one who watches the loop."""
    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    found = await function(lag)
    watching.cancel()
    return {**found, "longest_stall": lag.most}


def number(i: int) -> str:
    """A video's, as the provider's look."""
    return f"VI{400_000_000_000_000_000 + i * 997:018d}"


def idle_source() -> CallableSource:
    """Jobs of the same key as MemoriesVideos has, and nobody to ask."""

    async def ask(_ids: list[str]) -> None:
        await asyncio.sleep(3600.0)

    return CallableSource(
        ask, succeeded=["PARSE"], failed=[], batch=BATCH, guard=Guard("memories_ai"),
        provider="memories_ai", deployment="127.0.0.1", kind="videos",
    )  # fmt: skip


async def fill(path: str, jobs: str) -> dict[str, Any]:
    """Register many through ``watch_many``, a hundred thousand at a time."""

    async def work(_lag: Lag) -> dict[str, Any]:
        before, rates = resident(), []
        async with Poller(idle_source(), store=path) as poller:
            for start in range(0, int(jobs), CHUNK):
                ids = [number(i) for i in range(start, min(start + CHUNK, int(jobs)))]
                began = time.perf_counter()
                await poller.watch_many(ids, deadline=7 * 86_400.0)
                rates.append(len(ids) / (time.perf_counter() - began))
            after = resident()
        return {
            "imported": before, "resident": after, "peak": resident("VmHWM"),
            "first_rate": rates[0], "last_rate": rates[-1],
        }  # fmt: skip

    return await with_lag(work)


async def settle(path: str) -> dict[str, Any]:
    """As if each had been seen once: what follows are looks that find nothing."""
    with sqlite3.connect(path) as db:
        db.execute("UPDATE job SET status = 'UNPARSE'")
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return {}


async def serve() -> dict[str, Any]:
    """Answer ``list_videos`` at once, on a port that is printed, until standard input ends."""
    asked: list[int] = []

    async def list_videos(request: web.Request) -> web.Response:
        numbers = (await request.json())["video_nos"]
        asked.append(len(numbers))
        videos = [
            {
                "video_no": one, "video_name": "a film.mp4", "status": "UNPARSE", "cause": "null",
                "duration": str(30 + hash(one) % 600), "size": str(10_000 + hash(one) % 10_000_000),
                "fps": "30", "width": "1920", "height": "1080",
            }
            for one in numbers
        ]  # fmt: skip
        data = {"videos": videos, "current_page": 1, "page_size": 200, "total_count": "1000000"}
        return web.json_response({"code": "0000", "msg": "success", "data": data})

    app = web.Application()
    app.router.add_post("/list_videos", list_videos)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
    return {"requests": len(asked), "ids": sum(asked)}


async def restart(path: str, port: str, jobs: str, seconds: str) -> dict[str, Any]:
    """Take up what is pending, look at it over HTTP, and go on so for some seconds."""

    async def work(lag: Lag) -> dict[str, Any]:
        before, began, used = resident(), time.perf_counter(), time.process_time()
        first_look: list[float] = []
        looked = 0

        async def count(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            nonlocal looked
            first_look.append(time.perf_counter() - began)
            looked += BATCH
            return await handler(request)

        async with aiohttp.ClientSession(middlewares=[count]) as session:
            source = MemoriesVideos(
                session, guard=Guard("memories_ai"), api_key="k",
                base_url=f"http://127.0.0.1:{port}",
            )  # fmt: skip
            source.deployment = "127.0.0.1"
            async with Poller(source, store=path) as poller:
                opened = time.perf_counter() - began
                watching = poller._engine.loops[0].watch.jobs  # noqa: SLF001  # nothing public counts them
                while len(watching) < int(jobs) or not first_look:  # noqa: ASYNC110  # no event tells
                    await asyncio.sleep(0.05)
                loaded = time.perf_counter() - began
                load_cpu = time.process_time() - used
                load_stall, lag.most = lag.most, 0.0
                start, clock, cpu = looked, time.perf_counter(), time.process_time()
                await asyncio.sleep(float(seconds))
                looks = (looked - start) / (time.perf_counter() - clock)
                used = (time.process_time() - cpu) / (time.perf_counter() - clock)
                after = resident()
        return {
            "imported": before, "opened": opened, "first_look": first_look[0], "loaded": loaded,
            "load_cpu": load_cpu,
            "resident": after, "peak": resident("VmHWM"), "looks_per_second": looks,
            "cpu": used, "cpu_at_1000": used / looks * 1000.0, "load_stall": load_stall,
        }  # fmt: skip

    return await with_lag(work)


SHARD = Shard("memories_ai", "127.0.0.1", "default")


async def transitions(path: str, jobs: str, count: str) -> dict[str, Any]:
    """Commits of 200 changes of jobs in random order, among so many, with full sync."""
    store = SqliteStore(path)
    await store.open()
    epoch = await store.acquire(SHARD)
    new = [
        NewJob(
            key=JobKey(SHARD.provider, SHARD.deployment, SHARD.account, "videos", number(i)),
            created_at=1.7e9, deadline=1.8e9, data={"user": i},
        )
        for i in range(int(jobs))
    ]  # fmt: skip
    rows = []
    for start in range(0, len(new), 5000):
        rows += await store.register(SHARD, epoch, new[start : start + 5000])
    del new
    picked = random.Random(1).sample(rows, int(count))
    changes: list[Transition] = [cancel(job, at=1.75e9, looks=7) for job in picked]
    del rows, picked
    began, used = time.perf_counter(), time.process_time()
    for start in range(0, len(changes), COMMIT):
        await store.commit(SHARD, epoch, changes[start : start + COMMIT])
    took, used = time.perf_counter() - began, time.process_time() - used
    ended = len(await store.jobs(state=State.CANCELLED))
    await store.aclose()
    return {"rate": len(changes) / took, "rate_of_cpu": len(changes) / used, "ended": ended}


async def register(path: str, jobs: str) -> dict[str, Any]:
    """One ``watch_many``."""

    async def work(_lag: Lag) -> dict[str, Any]:
        ids = [number(i) for i in range(int(jobs))]
        random.Random(1).shuffle(ids)  # the numbers of videos come in no order
        async with Poller(idle_source(), store=path) as poller:
            began, used = time.perf_counter(), time.process_time()
            await poller.watch_many(ids)
            took, used = time.perf_counter() - began, time.process_time() - used
        return {"rate": len(ids) / took, "rate_of_cpu": len(ids) / used}

    return await with_lag(work)


def burst(jobs: int, law: str) -> dict[str, Any]:
    """So many at once under five requests a second, in virtual time, by the whole poller."""
    rng = random.Random(3)
    begin, round_of_all = 130.0, jobs / BATCH * SPACING
    ends = {
        number(i): begin if law == "all at once" else rng.lognormvariate(5.0, 0.6)
        for i in range(jobs)
    }
    asked: list[int] = []
    late: dict[str, float] = {}

    async def main() -> None:
        loop = asyncio.get_running_loop()
        all_found = asyncio.Event()

        async def ask(ids: list[str]) -> dict[str, str]:
            now = loop.time()
            asked.append(len(ids))
            late.update({one: now - ends[one] for one in ids if ends[one] <= now})
            if len(late) == jobs:
                all_found.set()
            return {one: "done" if ends[one] <= now else "running" for one in ids}

        source = CallableSource(
            ask, succeeded=["done"], failed=[], pending=["running"], batch=BATCH, spacing=SPACING
        )
        async with Poller(source, wall=wall, chance=random.Random(5).random) as poller:
            await poller.watch_many(list(ends), deadline=None)
            await all_found.wait()

    run_virtual(main)
    waits = sorted(late.values())
    first_round = asked[: jobs // BATCH]
    return {
        "worst": waits[-1], "p99": waits[int(0.99 * jobs)], "mean": sum(waits) / jobs,
        "sweep": round_of_all, "looks": sum(asked) / jobs,
        "fill": sum(first_round) / BATCH / len(first_round),
    }  # fmt: skip


def main() -> None:
    """One part."""
    part, *given = sys.argv[1:]
    if part == "burst":
        found = burst(int(given[0]), given[1])
    else:
        parts: dict[str, Any] = {
            "fill": fill, "settle": settle, "serve": serve, "restart": restart,
            "transitions": transitions, "register": register,
        }  # fmt: skip
        found = asyncio.run(parts[part](*given))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
