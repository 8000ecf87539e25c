"""Six crowds before a server that limits, in virtual time: what they cost it, and how long they take.

Rejected requests per useful one are *wasted*; the *ideal* time is what a crowd would need that knew
the limit.  Every scenario is a function of a :class:`Job` that gives a :class:`Result`.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from bench import peers
from resilience import ResilienceError
from resilience.testing import Capacity, FixedWindow, InFlight, Limited, run_virtual

OUTAGE = (60.0, 120.0)
OBSERVED = 180.0
USERS = 1000
STEADY_FROM = 30.0
RECOVERED = 0.9


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One run."""

    scenario: str
    contender: str
    trip: float
    seed: int


@dataclass(slots=True)
class Result:
    """What a run brought.

    Attributes:
        metrics: numbers by name.
        failures: why calls failed, and how many.
        accepted: per second, at the server.
        rejected: the same.
    """

    metrics: dict[str, float]
    failures: dict[str, int]
    accepted: list[int]
    rejected: list[int]


@dataclass(slots=True)
class Crowd:
    """Callers, and what became of their calls."""

    call: peers.Call
    failures: Counter[str] = field(default_factory=Counter)
    done_at: list[float] = field(default_factory=list)

    async def one(self) -> None:
        """One call."""
        try:
            await self.call()
        except Exception as error:
            said = error.reason if isinstance(error, ResilienceError) else ""
            self.failures[f"{type(error).__name__} {said}".strip()] += 1
        else:
            self.done_at.append(asyncio.get_running_loop().time())

    async def work(self, tasks: int, calls: int) -> None:
        """So many tasks, each with so many calls in a row."""

        async def task() -> None:
            for _ in range(calls):
                await self.one()

        await asyncio.gather(*(task() for _ in range(tasks)))


def run(job: Job) -> Result:
    """One run, from nothing; a seed gives the same result every time."""
    random.seed(job.seed)

    async def main() -> Result:
        if job.contender.startswith("ours"):
            return await SCENARIOS[job.scenario].play(job)
        with peers.virtual_clock():
            return await SCENARIOS[job.scenario].play(job)

    return run_virtual(main)


def crowd(job: Job, server: Limited, setting: peers.Setting | None = None) -> Crowd:
    """A crowd with one guard, or one instance of a peer's policy."""
    return Crowd(peers.MAKERS[job.contender](server, setting or peers.Setting(seed=job.seed)))


def finished(server: Limited, crowds: list[Crowd], ideal: float, **more: float) -> Result:
    """The result of a crowd that had so much to do."""
    makespan = asyncio.get_running_loop().time()
    metrics = {
        "wasted": server.rejected / max(server.accepted, 1),
        "stretch": makespan / ideal,
        "makespan": makespan,
        **more,
    }
    return told(server, crowds, metrics)


def told(server: Limited, crowds: list[Crowd], metrics: dict[str, float]) -> Result:
    """With what the server saw."""
    failures = sum((each.failures for each in crowds), Counter[str]())
    metrics["failed"] = failures.total()
    last = int(server.log[-1][0]) + 1
    accepted, rejected = [0] * last, [0] * last
    for when, ok in server.log:
        (accepted if ok else rejected)[int(when)] += 1
    return Result(metrics, dict(failures), accepted, rejected)


async def shared_rate(job: Job) -> Result:
    """1000 tasks, 10 calls each, 100 a second, and no hint."""
    server = FixedWindow(100, per=1.0, trip=job.trip, name="search")
    us = crowd(job, server)
    await us.work(1000, 10)
    return finished(server, [us], 99 + job.trip)


async def exact_hint(job: Job) -> Result:
    """500 tasks, 50 per 10 seconds, and a rejection says exactly how long."""
    server = FixedWindow(50, per=10.0, hint="exact", trip=job.trip, name="search")
    us = crowd(job, server, peers.Setting(hint=True, seed=job.seed))
    await us.work(500, 1)
    return finished(server, [us], 90 + job.trip)


async def in_flight(job: Job) -> Result:
    """200 tasks, five at the same time, half a second each."""
    server = InFlight(5, work=0.5, trip=job.trip, name="search")
    us = crowd(job, server)
    await us.work(200, 1)
    return finished(server, [us], 20 + job.trip)


async def limit_changes(job: Job) -> Result:
    """500 tasks, 20 calls each: 100 a second, 50 after 30 s, 100 again after 40 more."""
    server = FixedWindow(100, per=1.0, trip=job.trip, name="search")

    async def change() -> None:
        await asyncio.sleep(30)
        server.units = 50
        await asyncio.sleep(40)
        server.units = 100

    us = crowd(job, server)
    changing = asyncio.create_task(change())
    await us.work(500, 20)
    changing.cancel()
    return finished(server, [us], 119 + job.trip)  # 3000 in 30 s, 2000 in 40 s, 5000 in 50 s


async def two_processes(job: Job) -> Result:
    """Two guards that know nothing of each other, 500 tasks each, one limit of 100 a second."""
    server = FixedWindow(100, per=1.0, trip=job.trip, name="search")
    sides = [
        crowd(job, server, peers.Setting(seed=seed)) for seed in (2 * job.seed, 2 * job.seed + 1)
    ]
    await asyncio.gather(*(side.work(500, 10) for side in sides))
    half = asyncio.get_running_loop().time() / 2
    counts = sorted(sum(at <= half for at in side.done_at) for side in sides)
    return finished(server, sides, 99 + job.trip, fairness=counts[1] / max(counts[0], 1))


async def outage(job: Job) -> Result:
    """1000 users of a server for 800 a second, which is down for a minute."""
    server = Capacity(800, outages=(OUTAGE,), trip=job.trip, name="search")
    us = crowd(job, server, peers.Setting(outage=True, seed=job.seed))
    chance = random.Random(job.seed)

    async def user() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            await us.one()

    users = [asyncio.create_task(user()) for _ in range(USERS)]
    await asyncio.sleep(OBSERVED)
    for task in users:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*users)
    return told(server, [us], outage_metrics(server))


def outage_metrics(server: Limited) -> dict[str, float]:
    """What an outage cost, and how fast everybody was back."""
    down, up = OUTAGE
    bins = [0] * (int(OBSERVED) + 1)
    for when, ok in server.log:
        bins[int(when)] += ok
    steady = sum(bins[int(STEADY_FROM) : int(down)]) / (down - STEADY_FROM)
    after = bins[int(up) : int(OBSERVED)]
    good = [second for second, count in enumerate(after) if count >= RECOVERED * steady]
    return {
        "wasted": server.rejected / max(server.accepted, 1),
        "per_user": sum(down <= when < up for when, _ in server.log) / USERS,
        "recovery": float(good[0]) if good else float("inf"),
        "steady": steady,
        "after": sum(after) / len(after),
    }


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario, and what its columns are."""

    play: Callable[[Job], Coroutine[Any, Any, Result]]
    columns: tuple[str, ...] = ("wasted", "stretch", "failed")


SCENARIOS: dict[str, Scenario] = {
    "shared rate": Scenario(shared_rate),
    "exact hint": Scenario(exact_hint),
    "in flight": Scenario(in_flight),
    "limit changes": Scenario(limit_changes),
    "two processes": Scenario(two_processes, ("wasted", "stretch", "fairness", "failed")),
    "outage": Scenario(outage, ("per_user", "recovery", "steady", "after", "wasted", "failed")),
}
