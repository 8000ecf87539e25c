"""Seeded lives of many jobs, with faults at random and restarts at random instants."""

import random
from collections import defaultdict
from typing import Any

import anyio
import pytest
from pollers_kit import (
    BAD,
    BUSY,
    DOWN,
    EMPTY,
    LOCKED,
    REFUSED,
    Provider,
    SlowStore,
    make_poller,
    on_trio,
    paper_guard,
    results,
    stored,
)

from pollers import Event, JobEvent, JobExpired, JobSucceeded
from pollers._core.events import TERMINAL
from resilience.testing import EPOCH, run_virtual

HORIZON = 900.0
TROUBLE = [DOWN, BUSY, BUSY, LOCKED, EMPTY, REFUSED, BAD, TimeoutError(), ConnectionResetError("x")]


class World:
    """What one seed decides."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        chance = self.chance
        self.store = SlowStore(chance.choice([0.0, 0.0, 0.02, 0.4]))
        self.provider = Provider(delay=chance.choice([0.0, 0.05, 1.5]))
        self.batch = chance.choice([1, 3, 10])
        self.names = [f"j{i}" for i in range(chance.randint(3, 14))]
        self.ends: dict[str, float] = {}
        self.ended_at: dict[str, float] = {}
        for name in self.names:
            visible, end = chance.uniform(0.0, 20.0), chance.uniform(1.0, 400.0)
            status = chance.choice(["done", "done", "broken", "running", None])
            self.provider.add(name, visible=visible, at=end, end=status)
        self.poison = {n for n in self.names if chance.random() < 0.1}
        self.fault_rate = chance.choice([0.0, 0.1, 0.4])
        self.provider.always = self.trouble
        self.delivered: list[Event] = []
        self.looked: list[tuple[float, str]] = []
        self.unwatched: set[str] = set()

    def trouble(self, ids: list[str]) -> Any:
        self.looked += [(anyio.current_time(), one) for one in ids]
        if self.poison & set(ids):
            return BAD
        return self.chance.choice(TROUBLE) if self.chance.random() < self.fault_rate else None

    async def live(self) -> None:
        """Lives of random length, one after the other, until everybody has ended."""
        guard = paper_guard(chance=self.chance.random)
        while anyio.current_time() < HORIZON * 2:
            settings = {
                "store": self.store, "min_interval": 1.0, "max_interval": 20.0, "grace": 25.0,
                "sinks": [self.delivered.append], "chance": self.chance.random,
            }  # fmt: skip
            with anyio.move_on_after(self.chance.expovariate(1 / 60.0)):
                async with make_poller(
                    self.provider.source(batch=self.batch, guard=guard), **settings
                ) as poller:
                    handles = []
                    for name in self.names:
                        handles.append(await poller.watch(name, deadline=HORIZON / 2, data=name))
                        await anyio.sleep(self.chance.choice([0.0, 0.0, 1.0]))
                    if self.chance.random() < 0.3:
                        gone = self.chance.choice(handles)
                        await anyio.sleep(self.chance.uniform(0.0, 5.0))
                        self.unwatched.add(gone.id)
                        await gone.unwatch()
                    await results(handles)
                    await anyio.sleep(2.0)
                    return
            await anyio.sleep(self.chance.choice([0.0, 0.1, 30.0]))

    async def check(self) -> None:
        everything = await stored(self.store)
        jobs = await self.store_jobs()
        assert sorted(job.key.remote_id for job in jobs) == sorted(self.names)
        assert all(job.state.ended for job in jobs), [job for job in jobs if not job.state.ended]
        assert len({event.id for event in everything}) == len(everything)
        told: dict[str, list[JobEvent]] = defaultdict(list)
        for event in everything:
            if isinstance(event, JobEvent):
                told[event.subject].append(event)
        for job in jobs:
            mine = told[job.key.remote_id]
            assert [int(event.id.rsplit(":", 1)[1]) for event in mine] == list(
                range(1, len(mine) + 1)
            )
            assert job.version == len(mine)
            assert [isinstance(event, TERMINAL) for event in mine] == [False] * (len(mine) - 1) + [
                True
            ]
            assert {event.user_data for event in mine} == {job.key.remote_id}
            assert [event.looks for event in mine] == sorted(event.looks for event in mine)
            self.check_end(job, mine[-1])
        assert [event.id for event in self.delivered] == list(
            dict.fromkeys(event.id for event in self.delivered)
        )
        assert {event.id for event in self.delivered} == {event.id for event in everything}

    async def store_jobs(self) -> Any:
        await self.store.open()
        return await self.store.jobs()

    def check_end(self, job: Any, last: JobEvent) -> None:
        ended = job.ended_at - EPOCH
        # rows are read before they are written, and whoever unwatches may have to wait for a look's
        slack = 4.0 * self.store.seconds + 0.01
        late = [at for at, one in self.looked if one == job.key.remote_id and at > ended + slack]
        assert late == [], f"{job.key.remote_id} ended at {ended} and was asked for at {late}"
        if isinstance(last, JobSucceeded):
            since, status = self.provider.lives[job.key.remote_id][-1]
            assert status == "done"
            assert ended >= since
        if isinstance(last, JobExpired) and last.reason == "deadline":
            assert job.ended_at >= job.deadline


SEEDS = [pytest.param(seed, id=f"seed{seed}") for seed in range(60)]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_job_ends_exactly_once(seed: int) -> None:
    """One terminal event, versions without gaps, unique ids, no look at what has ended."""
    here = World(seed)

    async def main() -> None:
        await here.live()
        await here.check()

    if seed % 4 == 3:
        on_trio(main)
    else:
        run_virtual(main, seed=seed)


def test_the_simulation_reaches_every_end() -> None:
    """Otherwise its invariants would prove little."""
    met: set[str] = set()
    for seed in range(12):
        here = World(seed)

        async def main(here: World = here) -> None:
            await here.live()
            met.update(type(event).__name__ for event in await stored(here.store))

        run_virtual(main, seed=seed)
    assert met == {
        "JobWatching", "JobChanged", "JobSucceeded", "JobFailed", "JobExpired", "JobCancelled",
        "PollerStalled", "PollerResumed",
    }  # fmt: skip
