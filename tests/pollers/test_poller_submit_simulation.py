"""Seeded lives of many submits: replies lost, searches failing, and the poller gone at any instant."""

import random
from collections import Counter, defaultdict
from typing import Any

import anyio
import pytest
from pollers_kit import BAD, BUSY, DOWN, EMPTY, SlowStore, on_trio, paper_guard, stored
from submit_kit import LOST, Shop

from pollers import Intent, JobEvent
from pollers._core.events import TERMINAL
from resilience.testing import run_virtual

SEEDS = [pytest.param(seed, id=f"seed{seed}") for seed in range(60)]
DEEDS = ("reply", "reply", "lose", "lose", "vanish", "twice", "refuse", "odd", "hang")


class World:
    """What one seed decides."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.store = SlowStore(chance.choice([0.0, 0.0, 0.02, 0.4]))
        self.shop = Shop(takes=chance.uniform(0.0, 60.0), visible_after=chance.uniform(0.0, 30.0))
        self.search_faults = chance.choice([0.0, 0.2, 0.6])
        self.intents: list[Intent] = []
        self.delivered: list[str] = []
        self.guard = paper_guard(account="uploads")

    async def upload(self, intent: Intent) -> Any:
        self.intents.append(intent)
        await anyio.sleep(self.chance.choice([0.0, 0.1, 5.0]))
        deed = self.chance.choice(DEEDS)
        if deed == "refuse":
            return self.chance.choice([BAD, BUSY])
        made = [] if deed == "vanish" else [self.shop.make(intent.token)]
        if deed == "twice":
            made.append(self.shop.make(intent.token))
        await anyio.sleep(self.chance.choice([0.0, 0.1, 5.0, 1e9 if deed == "hang" else 0.0]))
        if deed in ("lose", "vanish", "twice"):
            raise LOST
        return ["what?"] if deed == "odd" else made[0]

    async def find(self, intent: Intent) -> Any:
        self.shop.search_trouble = []
        if self.chance.random() < self.search_faults:
            return self.chance.choice([DOWN, BUSY, EMPTY])
        return await self.shop.find(intent)

    async def submit(self, poller: Any) -> None:
        await anyio.sleep(self.chance.uniform(0.0, 40.0))
        with anyio.move_on_after(self.chance.choice([60.0, 60.0, 3.0])):
            try:
                await (await poller.submit(self.upload, deadline=None)).result()
            except AssertionError:
                raise
            except Exception:  # it is refused, or uncertain, or the poller is gone
                pass

    async def live(self) -> None:
        """Lives of random length, and a last one in which everything is decided."""
        for lives_left in (2, 1, 0):
            span = self.chance.uniform(1.0, 90.0) if lives_left else 2000.0
            with anyio.move_on_after(span):
                async with self.shop.poller(
                    source={"find_submitted": self.find}, store=self.store,
                    chance=self.chance.random, max_interval=10.0,
                    sinks=[lambda event: self.delivered.append(event.id)],
                ) as poller:  # fmt: skip
                    async with anyio.create_task_group() as tasks:
                        for _ in range(self.chance.randint(1, 6)):
                            tasks.start_soon(self.submit, poller)
                    await anyio.sleep(1000.0)
            await anyio.sleep(self.chance.choice([0.0, 30.0]))

    async def check(self) -> None:
        await self.store.open()
        jobs, events = await self.store.jobs(), await stored(self.store)
        told: dict[int, list[JobEvent]] = defaultdict(list)
        for event in events:
            if isinstance(event, JobEvent):
                told[int(event.id.split(":")[1])].append(event)
        called = Counter(intent.token for intent in self.intents)
        made = Counter(self.shop.made.values())
        assert set(called.values()) <= {1}
        assert set(called) <= {told[job.rid][0].subject for job in jobs}
        for job in jobs:
            mine = told[job.rid]
            token = mine[0].subject
            allowed = {0: {"failed", "uncertain"}, 1: {"succeeded"}, 2: {"uncertain"}}[made[token]]
            assert job.state.value in allowed, (made[token], mine)
            versions = [int(event.id.rsplit(":", 1)[1]) for event in mine]
            assert versions == list(range(1, job.version + 1))
            ends = [isinstance(event, TERMINAL) for event in mine]
            assert ends == [False] * (len(mine) - 1) + [job.state.ended]
            if made[token] == 1:
                assert self.shop.made[job.key.remote_id] == token
        assert len({job.key for job in jobs}) == len(jobs)
        assert list(dict.fromkeys(self.delivered)) == [event.id for event in events]


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_was_made_is_found_once(seed: int) -> None:
    """One call for one intent, one row for one job, and no end that isn't true."""
    here = World(seed)

    async def main() -> None:
        await here.live()
        await here.check()

    if seed % 4 == 3:
        on_trio(main)
    else:
        run_virtual(main, seed=seed)


def test_the_simulation_reaches_everything() -> None:
    """Otherwise its invariants would prove little."""
    met: set[str] = set()
    for seed in range(12):
        here = World(seed)

        async def main(here: World = here) -> None:
            await here.live()
            for event in await stored(here.store):
                met.add(type(event).__name__)
                met.add(getattr(event, "reason", ""))

        run_virtual(main, seed=seed)
    assert met >= {
        "JobSubmitting", "JobWatching", "JobSucceeded", "JobFailed", "JobUncertain", "PollerStalled",
        "PollerResumed", "several", "none",
    }  # fmt: skip
