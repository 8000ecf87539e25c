"""From the emulator's callbacks over HTTP to our handler, in virtual time: videos and scraper tasks."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pollers_kit import KEY, World, make_poller, results, since_epoch, world

from pollers import JobFailed, JobSucceeded, Poller
from pollers.callbacks import aiohttp_handler
from pollers.sources import MemoriesScrapes, MemoriesVideos
from resilience.testing import run_virtual

HOOK = "/hooks/s3cret"


@asynccontextmanager
async def listening(poller: Poller) -> AsyncIterator[str]:
    """The URL of a server whose callbacks go to a poller."""
    app = web.Application()
    app.router.add_post("/hooks/{secret}", aiohttp_handler(poller, secret="s3cret"))
    async with TestServer(app) as server:
        yield str(server.make_url(HOOK))


def scrapes(here: World, **settings: Any) -> MemoriesScrapes:
    settings = {"api_key": KEY, "base_url": here.emulator.base_url, **settings}
    return MemoriesScrapes(here.session, **settings)


# -- videos ------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_id", [None, "d7a7"])
def test_an_upload_s_callback_ends_the_wait(client_id: str | None) -> None:
    """In both shapes; the failure too, whose word is another than that of the list."""

    async def main() -> None:
        settings = {"callback_client_id": client_id}
        async with world(**settings) as here, make_poller(
            here.source(), min_interval=60.0, look_price=1e6, max_interval=900.0
        ) as poller, listening(poller) as hook:  # fmt: skip
            here.emulator.add_video("VI1", parse_after=100.0, callback=hook)
            here.emulator.add_video("VI2", parse_after=130.0, outcome="PARSE_ERROR", callback=hook)
            ends = await results(await poller.watch_many(["VI1", "VI2"]))
            assert [type(end) for end in ends] == [JobSucceeded, JobFailed]
            assert [since_epoch(end) for end in ends] == pytest.approx([100.0, 130.0], abs=0.1)
            assert [called.status for called in here.emulator.callbacks] == [200, 200]
        assert len(here.asked()) <= 5

    run_virtual(main)


def test_an_early_callback_is_only_a_hint() -> None:
    """It says PARSE of what nobody has parsed; the second one comes at the end."""

    async def main() -> None:
        settings = {"callback_early": True, "callback_times": 2}
        async with world(**settings) as here, make_poller(
            here.source(), look_price=1e6, max_interval=900.0
        ) as poller, listening(poller) as hook:  # fmt: skip
            here.emulator.add_video("VI1", parse_after=300.0, callback=hook)
            end = await (await poller.watch("VI1")).result()
            assert since_epoch(end) == pytest.approx(300.0, abs=0.1)
        assert 3 <= len(here.asked()) <= 9

    run_virtual(main)


class Batch:
    """Videos that come and are parsed at random, and a poller that is called back."""

    def __init__(self, here: World, poller: Poller, hook: str | None) -> None:
        self.here, self.poller, self.hook = here, poller, hook
        self.chance = random.Random(11)
        self.delays: list[float] = []

    async def live(self, count: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(self._one)
                await anyio.sleep(self.chance.expovariate(1.0))

    async def _one(self) -> None:
        takes = self.chance.lognormvariate(4.0, 0.6)
        video = self.here.emulator.add_video(parse_after=takes, callback=self.hook)
        end = await (await self.poller.watch(video.video_no, deadline=None)).result()
        assert isinstance(end, JobSucceeded)
        delay = since_epoch(end) - video.terminal_at
        assert delay >= -0.001, "the end was believed before it was there"
        self.delays.append(delay)


@pytest.mark.parametrize("called", [True, False])
def test_callbacks_that_go_wrong_in_every_way_lose_no_end(called: bool) -> None:
    """Half lost, some early, doubled and forged: every end is found, and less late than without."""
    shares = {
        "callback_loss": 0.5, "callback_early": 0.2, "callback_doubled": 0.3, "callback_forged": 0.2,
        "callback_times": 1, "seed": 3,
    }  # fmt: skip

    async def main() -> tuple[float, int]:
        async with world(**shares) as here, make_poller(
            here.source(), max_interval=30.0, chance=random.Random(2).random, look_price=1.0
        ) as poller, listening(poller) as hook:  # fmt: skip
            batch = Batch(here, poller, hook if called else None)
            await batch.live(150)
            assert len(batch.delays) == 150
            chance = poller._engine.loops[0].watch.callbacks.loss.chance
            assert 0.3 <= chance <= 0.9 if called else chance == 1.0
            return sum(batch.delays) / 150, sum(len(ids) for ids in here.asked())

    delay, _ = run_virtual(main)
    assert delay <= (3.0 if called else 5.0)


# -- scraper tasks -----------------------------------------------------------------------------


def test_a_task_s_callbacks_name_it_and_its_videos() -> None:
    """2026: the last video's callback ends the wait, though it doesn't name the task."""

    async def main() -> None:
        async with world() as here, make_poller(
            scrapes(here), here.source(), look_price=1e6, max_interval=900.0
        ) as poller, listening(poller) as hook:  # fmt: skip
            videos = [
                {"video_no": "VI1", "appears_after": 10.0, "parse_after": 200.0},
                {"video_no": "VI2", "appears_after": 20.0, "parse_after": 300.0},
            ]
            here.emulator.add_scrape("T1", videos=videos, callback=hook)
            job = await poller.watch("T1", kind="scrapes", expect=2)
            end = await job.result()
            assert (end.status, since_epoch(end)) == (
                "2 of 2 parsed",
                pytest.approx(300.0, abs=0.1),
            )

    run_virtual(main)


def test_a_callback_of_2025_names_the_task_alone() -> None:
    """It comes when everything is downloaded: the look learns which videos there are."""

    async def main() -> None:
        async with world(dialect="2025") as here, make_poller(
            scrapes(here), look_price=1e6, max_interval=900.0
        ) as poller, listening(poller) as hook:  # fmt: skip
            videos = [{"video_no": "VI1", "appears_after": 50.0, "parse_after": 60.0}]
            here.emulator.add_scrape("T1", videos=videos, callback=hook)
            end = await (await poller.watch("T1", expect=1)).result()
            assert since_epoch(end) <= 70.0

    run_virtual(main)


async def hinted(*payloads: Any) -> list[Any]:
    """What both sources make of payloads, when T1 has two videos, one of them open."""
    async with world() as here:
        source = scrapes(here)
        videos = [{"video_no": "VI1", "parse_after": 9.0}, {"video_no": "VI2"}]
        here.emulator.add_scrape("T1", videos=videos)
        async with make_poller(source) as poller:
            await poller.watch("T1", expect=2)
            await anyio.sleep(3.0)
            return [(here.source().hinted(one), source.hinted(one)) for one in payloads]


def test_each_source_knows_its_own() -> None:
    """A video is a job of one and a part of the other's; a task concerns the other only."""
    made = run_virtual(
        lambda: hinted(
            {"videoNo": "VI1", "status": "PARSE"},
            {"videoNo": "VI9", "status": "PARSE"},
            {"taskId": "T1", "status": "SUCCEEDED"},
            {"taskId": "T1", "videos": ["VI1", "VI2"]},
            {"hello": "world"},
        )
    )
    assert made == [
        (["VI1"], ["T1"]),
        (["VI9"], []),
        (None, ["T1"]),
        (["VI1", "VI2"], ["T1"]),
        (None, None),
    ]


def test_videos_of_tasks_are_forgotten_with_them() -> None:
    """Ended tasks, and videos that a task doesn't have any more."""

    async def main() -> None:
        async with world() as here:
            source = scrapes(here)
            async with make_poller(source) as poller:
                for task in range(5):
                    videos = [{"video_no": f"VI{task}{i}", "parse_after": 5.0} for i in range(3)]
                    here.emulator.add_scrape(f"T{task}", videos=videos)
                jobs = await poller.watch_many([f"T{task}" for task in range(5)], expect=3)
                await anyio.sleep(4.9)
                assert source._task_of
                await results(jobs)
                assert source._task_of == {}
                assert source._families == {}

    run_virtual(main)


def test_a_video_that_a_task_has_no_more_is_nobody_s() -> None:
    """Its callback concerns no task."""

    async def main() -> None:
        async with world() as here:
            source = scrapes(here)
            async with make_poller(source) as poller:
                videos = [{"video_no": f"VI{i}", "parse_after": 500.0} for i in range(2)]
                task = here.emulator.add_scrape("T1", videos=videos)
                await poller.watch("T1", expect=3)
                await anyio.sleep(5.0)
                assert source.hinted({"videoNo": "VI1"}) == ["T1"]
                del task.videos[1:]  # type: ignore[attr-defined]
                await anyio.sleep(5.0)
                assert source.hinted({"videoNo": "VI1"}) == []
                assert source.hinted({"videoNo": "VI0"}) == ["T1"]

    run_virtual(main)


def test_a_payload_of_ours_is_no_unknown_one() -> None:
    """Though nobody watches what it names."""

    async def main() -> None:
        async with world() as here, make_poller(here.source(), scrapes(here)) as poller:
            assert poller.take_callback({"videoNo": "VI1", "status": "PARSE"}) == 0
            assert poller.take_callback({"taskId": "T1", "status": "FAILED"}) == 0
            assert poller.take_callback({"hello": "world"}) is None
            here.emulator.add_video("VI2", parse_after=None)
            await poller.watch("VI2", kind="videos")
            assert poller.take_callback({"data": '{"videoNo": "VI2"}'}) == 1

    run_virtual(main)


def test_a_source_without_callbacks_knows_no_payload() -> None:
    """MemOS has none, nor has a function of yours."""
    from pollers_kit import Provider

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            assert poller.take_callback({"videoNo": "VI1"}) is None

    run_virtual(main)
    assert not hasattr(Provider().source(), "hinted")
    assert hasattr(MemoriesVideos, "hinted")
