"""Seeded lives of several scraper tasks, with faults at random and restarts at random instants."""

import random
from dataclasses import replace
from typing import Any

import anyio
import pytest
from pollers_kit import make_poller, stored, world

from pollers import JobEvent, JobExpired, JobFailed, JobSucceeded
from pollers._core.events import TERMINAL
from pollers.emulator import Fault
from pollers.sources import MemoriesScrapes
from pollers.store import MemoryStore
from resilience.testing import run_virtual

FAULTS = [
    Fault(code="0429"), Fault(status=503), Fault(abort="middle"), Fault(body="truncated"),
    Fault(code="0001", msg="network abnormal"), Fault(delay=40.0),
]  # fmt: skip
SETTLE = 70.0
"""More than any pause between two videos of a task."""
DEADLINE = 1_000.0


class Life:
    """What one seed decides."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store = MemoryStore()
        self.tasks = {f"T{number}": self.videos(number) for number in range(4)}
        self.expects = self.chance.random() < 0.5
        self.shape = self.chance.choice(["video_ids", "video_no", "videoNo"])
        self.faulty = self.chance.choice([0.0, 0.1, 0.3])

    def videos(self, task: int) -> list[dict[str, Any]]:
        at, videos = 0.0, []
        for number in range(self.chance.choice([0, 1, 2, 4])):
            at += self.chance.uniform(0.0, 15.0)
            videos.append({
                "video_no": f"VI{task}-{number}", "appears_after": at,
                "visible_after": at + self.chance.choice([0.0, 0.0, 15.0]),
                "parse_after": at + self.chance.uniform(0.0, 100.0),
                "outcome": self.chance.choice(["PARSE", "PARSE", "PARSE_ERROR"]),
            })  # fmt: skip
        return videos

    async def run(self) -> list[JobEvent]:
        dialect: Any = self.chance.choice(["2025", "2026"])
        async with world(limits={}, dialect=dialect, task_listing=self.shape) as here:
            for task_id, videos in self.tasks.items():
                here.emulator.add_scrape(task_id, videos=videos)
            for interface in ("task", "list") if self.faulty else ():
                for fault in self.chance.choices(FAULTS, k=15):
                    here.emulator.fail(interface, replace(fault, probability=self.faulty))
            spans = [self.chance.uniform(0.0, 80.0) for _ in range(self.chance.randint(0, 4))]
            for span in (*spans, float("inf")):
                source = MemoriesScrapes(
                    here.session, api_key="sk-test", base_url=here.emulator.base_url
                )
                with anyio.move_on_after(span):
                    async with make_poller(source, store=self.store, max_interval=20.0) as poller:
                        for task_id, videos in self.tasks.items():
                            expect = len(videos) if self.expects and videos else None
                            await poller.watch(
                                task_id, expect=expect, settle=SETTLE, deadline=DEADLINE
                            )
                        for task_id in self.tasks:
                            job = await poller.job(task_id)
                            assert job is not None
                            await job.result()
                await anyio.sleep(self.chance.choice([0.0, 5.0]))
        return [event for event in await stored(self.store) if isinstance(event, JobEvent)]

    def check(self, events: list[JobEvent]) -> None:
        for task_id, videos in self.tasks.items():
            mine = [event for event in events if event.subject == task_id]
            ends = [event for event in mine if isinstance(event, TERMINAL)]
            assert len(ends) == 1
            assert mine[-1] is ends[0]
            assert len(mine) <= 3 + 8 + 3 * len(videos)  # a restart may tell it once more
            good = [video for video in videos if video["outcome"] == "PARSE"]
            wanted = JobSucceeded if good else JobFailed if videos else JobExpired
            assert type(ends[0]) is wanted
            assert {child.id: child.state for child in ends[0].children} == {
                video["video_no"]: "succeeded" if video in good else "failed" for video in videos
            }


@pytest.mark.parametrize("seed", range(20))
def test_every_task_ends_once_with_all_its_videos(seed: int) -> None:
    """Whatever fails and whenever it is killed: one end, the right one, and each child in it."""
    life = Life(seed)
    life.check(run_virtual(life.run))
