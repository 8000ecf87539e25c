"""Uploads to the emulators whose replies get lost: one video, billed once, and one end for each."""

import random
from collections import Counter
from typing import Any

import aiohttp
import anyio
import pytest
from pollers_kit import KEY, World, make_poller, stored, world

from pollers import Intent, JobEvent, JobSucceeded, SubmitUncertain
from pollers._core.events import TERMINAL
from pollers.emulator import Fault
from pollers.sources import CallableSource, MemoriesScrapes
from pollers.store import MemoryStore
from resilience import Guard, QuotaError
from resilience.testing import FixedChance, run_virtual, wall

LOST = [
    Fault(abort="before", after_work=True),
    Fault(abort="middle", after_work=True),
    Fault(delay=100.0, after_work=True),
    Fault(status=502, body="html", after_work=True),
    Fault(status=504, after_work=True),
    Fault(body="truncated", after_work=True),
    Fault(body="empty", after_work=True),
]
"""The work was done, and the answer does not come."""

NOT_DONE = [
    Fault(abort="before"),
    Fault(code="0429"),
    Fault(code="0402"),
    Fault(code="0001", msg="network abnormal"),
    Fault(status=503),
]
"""The work was not done, and the answer says so, or doesn't."""


def uploader(here: World, *, whole: bool = True) -> Any:
    """Sends a file, with the token as a tag."""

    async def upload(intent: Intent) -> Any:
        form = aiohttp.FormData()
        form.add_field("file", b"bytes", filename=f"{intent.name}.mp4", content_type="video/mp4")
        form.add_field("tags", f"mine,{intent.token}")
        async with here.session.post(
            f"{here.emulator.base_url}/upload", data=form, headers={"Authorization": KEY},
            timeout=aiohttp.ClientTimeout(total=20.0),
        ) as response:  # fmt: skip
            await response.read()
            return response if whole else await response.json()

    return upload


def made(here: World, token: str) -> list[str]:
    """The videos that were made with a token."""
    return [n for n, video in here.emulator.videos.items() if token in video.tags]


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: fault.name)
@pytest.mark.parametrize("dialect", ["2025", "2026"])
@pytest.mark.parametrize("ignore_tag", [False, True])
def test_each_loss_ends_with_one_video(fault: Fault, dialect: str, ignore_tag: bool) -> None:
    """Whatever the deployment makes of a tag; the name helps where it makes nothing of it."""
    store = MemoryStore()

    async def main() -> None:
        settings = {"dialect": dialect, "ignore_tag": ignore_tag, "visibility_delay": 3.0}
        async with world(parse_seconds=30.0, max_size=3, **settings) as here:
            for i in range(7):
                here.emulator.add_video(f"VI{i}", parse_after=0.0)
            here.emulator.fail("upload", fault)
            async with make_poller(here.source(), store=store, max_interval=10.0) as poller:
                job = await poller.submit(uploader(here), name="holiday")
                token = job.id
                event = await job.result()
                assert isinstance(event, JobSucceeded)
                assert made(here, token) == [event.job_id] == [job.id]

    run_virtual(main)


def test_a_reply_that_says_no_is_a_refusal() -> None:
    """Its body or the response, guarded or not; nothing was made, nothing is searched for."""

    async def main() -> None:
        for middleware in (True, False):
            async with world(middleware=middleware) as here:
                async with make_poller(here.source()) as poller:
                    for whole in (True, False):
                        here.emulator.fail("upload", Fault(code="0402"))
                        with pytest.raises(QuotaError, match="0402"):
                            await poller.submit(uploader(here, whole=whole))
                        here.guard.reset()
                    assert [job.cause for job in await poller.jobs(state="failed")] != []
                    job = await poller.submit(uploader(here, whole=False))
                    assert made(here, job.id) == []
                    assert job.id in here.emulator.videos
                assert here.asked("list") == []

    run_virtual(main)


def test_a_response_is_known_by_its_whole_call() -> None:
    """Refused in the end, but an attempt before it was done: its body alone would look like a no."""

    async def main() -> None:
        async with world() as here:
            here.emulator.fail("upload", LOST[0], Fault(code="0402"))
            call = uploader(here)

            async def upload(intent: Intent) -> Any:
                with here.guard.using(idempotent=True):
                    return await call(intent)

            async with make_poller(here.source()) as poller:
                job = await poller.submit(upload)
                token = job.id
                assert isinstance(await job.result(), JobSucceeded)
                assert made(here, token) == [job.id]

    run_virtual(main)


def lives(seed: int) -> Counter[str]:
    """Losses and refusals at random, the poller cut and started again; how many ended in which state.

    ``found`` counts the videos that were found after their reply was lost.
    """
    chance = random.Random(seed)
    met: Counter[str] = Counter()
    store = MemoryStore()
    refused: list[Exception] = []
    intents: list[str] = []

    async def main() -> None:
        settings = {
            "dialect": chance.choice(["2025", "2026"]), "ignore_tag": seed % 4 == 3,
            "visibility_delay": chance.choice([0.0, 5.0, 20.0]), "limits": {"upload": (3, 5.0)},
            "seed": seed,
        }  # fmt: skip
        async with world(parse_seconds=40.0, **settings) as here:
            for fault in [*LOST, *NOT_DONE]:
                rate = chance.choice([0.0, 0.1, 0.3])
                here.emulator.fail(
                    "upload",
                    Fault(**{f: getattr(fault, f) for f in FIELDS}, times=None, probability=rate),
                )
            call = uploader(here)

            async def upload(intent: Intent) -> Any:
                assert intent.token not in intents
                intents.append(intent.token)
                return await call(intent)

            async def submit(poller: Any, number: int) -> None:
                await anyio.sleep(chance.uniform(0.0, 60.0))
                try:
                    job = await poller.submit(upload, name=f"file-{seed}-{number}", deadline=None)
                    await job.result()
                except SubmitUncertain:
                    pass
                except Exception as error:
                    refused.append(error)

            for life in range(3):
                with anyio.move_on_after(NEVER if life == 2 else chance.uniform(5.0, 70.0)):
                    async with make_poller(
                        here.source(), store=store, max_interval=10.0, chance=chance.random
                    ) as poller:
                        async with anyio.create_task_group() as tasks:
                            for number in range(4):
                                tasks.start_soon(submit, poller, 10 * life + number)
                        await anyio.sleep(400.0)
            await check(here)

    async def check(here: World) -> None:
        jobs = await store.jobs()
        ends = Counter(e.id.split(":")[1] for e in await stored(store) if isinstance(e, TERMINAL))
        assert set(ends.values()) <= {1}
        by_id = {job.key.remote_id: job for job in jobs}
        assert len(by_id) == len(jobs)
        token_of: dict[str, str] = {}
        for event in await stored(store):
            if isinstance(event, JobEvent) and (token := getattr(event, "token", None)):
                token_of[event.job_id] = token
        for token in intents:
            numbers = made(here, token)
            assert len(numbers) <= 1
            for number in numbers:  # it was billed, so it must have been found
                assert by_id[number].state.value == "succeeded"
                assert token_of[number] == token
            if not numbers:
                assert by_id[token].state.value in ("failed", "uncertain")
            met["found"] += (
                bool(numbers) and by_id[numbers[0]].submitted_at != by_id[numbers[0]].created_at
            )
        met.update(job.state.value for job in jobs)
        uploads = [one for one in here.emulator.requests if one.interface == "upload"]
        assert len([one for one in uploads if one.video_nos]) == len(here.emulator.videos)

    run_virtual(main)
    assert all(not isinstance(error, AssertionError) for error in refused), refused
    return met


@pytest.mark.parametrize("seed", range(4, 16))
def test_never_two_for_one_intent(seed: int) -> None:
    """One call, one video at most, and whatever was made is found."""
    assert lives(seed)


def test_the_lives_meet_every_end() -> None:
    """Otherwise the test above would prove little."""
    met = sum((lives(seed) for seed in (0, 2, 7)), Counter[str]())
    assert min(met[end] for end in ("succeeded", "failed", "uncertain", "found")) >= 1, met


FIELDS = ("code", "msg", "status", "body", "delay", "abort", "after_work")
NEVER = float("inf")


def test_a_scraper_task_is_not_searched_for() -> None:
    """The API lists no tasks: a lost reply is uncertain, and told so at once."""

    async def main() -> None:
        async with world() as here:
            source = MemoriesScrapes(
                here.session, api_key=KEY, base_url=here.emulator.base_url, settle=1.0
            )

            async def scrape(intent: Intent) -> Any:
                body = {"video_urls": ["https://www.tiktok.com/@a/video/1"]}
                async with here.session.post(
                    f"{here.emulator.base_url}/scraper_url", json=body,
                    headers={"Authorization": KEY},
                ) as response:  # fmt: skip
                    return await response.json()

            async with make_poller(source) as poller:
                job = await poller.submit(scrape, expect=1)
                assert isinstance(await job.result(), JobSucceeded)
                lost = Fault(abort="before", after_work=True, times=None)
                here.emulator.fail("scrape", lost)
                job = await poller.submit(scrape)
                with pytest.raises(SubmitUncertain, match="can't search"):
                    await job.result()

    run_virtual(main)


# -- the Datalake -----------------------------------------------------------------------------


def lake(here: World) -> tuple[Any, CallableSource]:
    """An upload that sends the idempotency key, and a source that finds by sending it again."""
    guard = Guard("http", "lake", wall=wall, chance=FixedChance(0.0))
    headers = {"Authorization": KEY}
    url = here.emulator.datalake_url

    async def ingest(intent: Intent) -> Any:
        body = {"source_url": "http://127.0.0.1:9/x.mp4", "idempotency_key": intent.idempotency_key}
        async with here.session.post(f"{url}/videos", json=body, headers=headers) as response:
            response.raise_for_status()
            return await response.json()

    async def find(intent: Intent) -> list[str]:
        return [(await ingest(intent))["video_id"]]

    async def ask(video_id: str) -> Any:
        async with here.session.get(f"{url}/videos/{video_id}", headers=headers) as response:
            return await response.json()

    source = CallableSource(
        ask, guard=guard, provider="datalake", kind="lake", job_id="video_id", find_submitted=find,
        pending=["processing"], succeeded=["ready"], failed=["failed"],
    )  # fmt: skip
    return ingest, source


@pytest.mark.parametrize("fault", LOST[:3], ids=lambda fault: fault.name)
def test_an_idempotency_key_is_found_by_sending_it_again(fault: Fault) -> None:
    """The same key is the same video, billed once: so a search may be the same request."""

    async def main() -> None:
        async with world(middleware=False, points=10.0) as here:
            ingest, source = lake(here)
            here.emulator.fail("datalake_ingest", fault)

            async def upload(intent: Intent) -> Any:
                with anyio.fail_after(20.0):
                    return await ingest(intent)

            async with make_poller(source) as poller:
                job = await poller.submit(upload)
                await job.result()
                assert job.id == "vid_1"
                assert (await (await poller.submit(upload)).result()).job_id == "vid_2"
            assert here.emulator.balance() == 8.0

    run_virtual(main)
