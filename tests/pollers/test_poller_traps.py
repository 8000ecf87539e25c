"""Traps that the poller once fell into."""

import asyncio
import gc

import anyio
import pytest
from pollers_kit import SlowStore

from pollers import JobFailed, JobSucceeded, Poller, PollerStalled, PollerStopped
from pollers._background import to_its_end
from pollers.sources import CallableSource
from pollers.store import MemoryStore
from resilience import Guard, Policy
from resilience.testing import FixedChance, Script, run_virtual, wall


def source(answer, **settings):
    async def status(_job_id):
        return answer() if callable(answer) else answer

    return CallableSource(status, succeeded=["done"], failed=["broken"], **settings)


async def test_half_an_emoji_in_a_cause_is_stored(tmp_path):
    """Text that UTF-8 can't carry is mended, not fatal to the poller at every start."""
    broken = {"status": "broken", "cause": "bad codec \ud83d"}
    async with Poller(source(broken), store=str(tmp_path / "j.db")) as poller:
        event = await (await poller.watch("a")).result()
    assert isinstance(event, JobFailed)
    assert event.cause == "bad codec ?"


def test_a_poller_that_ended_by_itself_is_not_silent():
    """A program that only has sinks learns on leaving that the API refused it."""
    refused = Guard("memories_ai", chance=FixedChance(1.0), wall=wall)

    async def ask(_job_id):
        return {"code": "0401", "msg": "no"}

    async def main():
        asked = CallableSource(ask, succeeded=["done"], failed=[], guard=refused)
        with pytest.raises(PollerStopped, match="0401"):
            async with Poller(asked, on_refused="stop", wall=wall) as poller:
                await poller.watch("a")
                await anyio.sleep(5)

    run_virtual(main)


def test_a_block_of_settings_around_the_poller_does_not_reach_its_looks():
    """A look is one attempt, in whatever ``using`` block the poller was entered."""
    guard = Guard("http", chance=FixedChance(1.0), wall=wall)
    asked = Script([TimeoutError(), TimeoutError(), "done"])

    async def main():
        with guard.using(max_attempts=9, idempotent=True):
            async with Poller(
                CallableSource(asked, succeeded=["done"], failed=[], guard=guard),
                wall=wall,
                chance=FixedChance(1.0),
            ) as poller:
                event = await (await poller.watch("a")).result()
        assert isinstance(event, JobSucceeded)
        return asked.asked_at

    first, second, third = run_virtual(main)
    assert second - first == pytest.approx(1.0)  # the scheduler's own back-off: 1 s, then 2 s
    assert third - second == pytest.approx(2.0)


def test_a_sync_function_is_refused_at_once():
    """It would be called for half an hour, and the job would expire without a reason."""
    with pytest.raises(TypeError, match="async def"):
        CallableSource(lambda _job_id: "done", succeeded=["done"], failed=[])


def test_a_drain_that_is_cancelled_still_ends_the_background(run):
    """On trio a nursery that is left open takes the whole program with it."""
    started = []

    async def slow(_event):
        started.append(anyio.current_time())
        await anyio.sleep(30)

    async def main():
        began = anyio.current_time()
        with anyio.move_on_after(1.0) as scope:
            async with Poller(source("done"), sinks=[slow], wall=wall) as poller:
                await (await poller.watch("a")).result()
        assert scope.cancelled_caught
        assert anyio.current_time() - began == pytest.approx(1.0)
        await anyio.sleep(60)

    run(main)
    assert len(started) == 1


async def test_half_an_emoji_in_a_refusal_is_stored(tmp_path):
    """Neither it nor the query of a URL gets into a PollerStalled; and the poller lives on."""
    policy = Policy.load("memories_ai")

    async def ask(_job_id):
        return {"code": "0401", "msg": "no \ud83d, see https://api.example/v1?key=sk-1"}

    asked = CallableSource(ask, succeeded=["done"], failed=[], guard=Guard(policy))
    async with Poller(asked, store=str(tmp_path / "j.db")) as poller:
        await poller.watch("a")
        async for event in poller.events(after=""):
            if isinstance(event, PollerStalled):
                break
        assert event.message == "no ?, see https://api.example/v1?…"
        assert poller.stopped is None


def test_a_guard_that_only_watches_is_refused():
    """It hands rejections on, and a job would be missing because a request failed."""
    watching = Guard("http", enforce=False)
    with pytest.raises(ValueError, match="enforce=False"):
        Poller(source("done", guard=watching))


async def test_cancelling_all_tasks_leaves_nobody_waiting():
    """As programs do that shut down: waiters learn of it, and the block is left as ever."""
    async with Poller(source("waiting")) as poller:
        job = await poller.watch("a")
        await asyncio.sleep(0.1)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        with pytest.raises(PollerStopped):
            await asyncio.wait_for(job.result(), 5)


def test_an_exit_that_is_cancelled_waits_for_the_commit_and_stays_cancelled():
    """What is under way is not cut off, and the cancellation isn't lost while it ends."""
    store = SlowStore(10.0)  # a commit of 20 s begins at 30.05

    async def leave():
        async with Poller(source("waiting"), store=store, wall=wall) as poller:
            await poller.watch("a")
            await asyncio.sleep(1.0)

    async def main():
        began = anyio.current_time()
        task = asyncio.create_task(leave())
        await asyncio.sleep(45.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert anyio.current_time() - began == pytest.approx(50.05)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        [job] = await MemoryStore.jobs(store)
        assert job.status == "waiting"

    run_virtual(main)


def test_a_failure_that_a_cancelled_caller_waited_for_is_not_logged_by_asyncio():
    """It would be, with a traceback, whenever the garbage is collected."""
    unseen = []

    async def fails():
        await anyio.sleep(1.0)
        raise ValueError

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, about: unseen.append(about))
        caller = asyncio.create_task(to_its_end(fails))
        await anyio.sleep(0.5)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    run_virtual(main)
    gc.collect()
    assert unseen == []
