"""The walk of somebody who only wants to know when a job is done."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from pollers import JobExpired, JobSucceeded, Poller, PollerStopped, StoreBusy
from pollers.emulator import MemoriesEmulator
from pollers.sources import (
    CallableSource,
    MemoriesScrapes,
    MemoriesVideos,
    MemosFiles,
    MemosTasks,
)
from resilience.testing import FixedChance, run_virtual, wall


async def done(_job_id):
    """A render farm that has finished everything."""
    return "complete"


def make_source(ask=done):
    """Its source."""
    return CallableSource(ask, succeeded=["complete"], failed=["crashed"])


def watched(source, **settings):
    """The end of one job, in virtual time, and when it came."""

    async def main():
        start = wall()
        async with Poller(source, wall=wall, chance=FixedChance(1.0), **settings) as poller:
            event = await (await poller.watch("render-17", deadline=5)).result()
        return event, round(wall() - start, 3)

    return run_virtual(main)


@pytest.mark.parametrize("thing", ["VI1", object()], ids=["an-id", "something"])
def test_what_is_no_source(thing):
    """A poller is made of sources; the error says where ids go."""
    with pytest.raises(TypeError, match=r"is not a source: .* 'await poller\.watch\(id\)'"):
        Poller(thing)


async def test_a_session_is_no_source():
    """The session goes into the source, and the source into the poller."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TypeError, match=r"give MemoriesVideos\(session\)"):
            Poller(session)


@pytest.mark.parametrize("source", [MemoriesVideos, MemoriesScrapes, MemosTasks, MemosFiles])
def test_a_key_in_the_place_of_the_session(source):
    """The error says where the key goes, and doesn't show it."""
    with pytest.raises(TypeError, match="not str; the key goes into its headers or") as caught:
        source("sk-secret")
    assert "sk-secret" not in str(caught.value)


def test_a_sync_function_can_not_be_asked():
    """A source asks with ``async def``."""
    with pytest.raises(TypeError, match="is a sync function: a source asks with 'async def'"):
        make_source(lambda job_id: "complete")


def test_something_else_can_not_be_asked():
    """A source is made of a function."""
    with pytest.raises(
        TypeError, match="'render-17' can't be called: a source asks with an 'async"
    ):
        make_source("render-17")


def test_a_field_of_another_name(caplog):
    """A status that is never found is a job that never ends: that is said once, with what helps."""

    async def other(_job_id):
        return {"state": "complete"}

    event, _ = watched(make_source(other))
    assert (type(event), event.status) == (JobExpired, None)
    [told] = [r.message for r in caplog.records if "pollers.no_status" in r.message]
    assert "field='status'" in told
    assert "CallableSource(status=…)" in told


def test_a_batch_that_is_answered_by_a_list():
    """Which status is whose can't be known; the expired job says what was expected."""

    async def statuses(job_ids):
        return ["complete" for _ in job_ids]

    source = CallableSource(statuses, succeeded=["complete"], failed=["crashed"], batch=10)
    event, _ = watched(source)
    assert event.cause == (
        "the last look failed: TypeError: with batch=10 the function must return a mapping from id "
        "to status, not list"
    )


def test_one_word_instead_of_a_list():
    """``succeeded="complete"`` would be eight words of one letter."""
    with pytest.raises(TypeError, match="give a list of words, not one text"):
        CallableSource(done, succeeded="complete", failed=["crashed"])


@pytest.mark.parametrize(
    "use",
    [
        lambda poller: poller.watch("render-17"),
        lambda poller: poller.job("render-17"),
        lambda poller: poller.jobs(),
        lambda poller: anext(poller.events()),
    ],
    ids=["watch", "job", "jobs", "events"],
)
def test_a_poller_that_nobody_started(use):
    """Without ``async with`` there was nothing to wait for: after five seconds that is an error."""

    async def main():
        start = wall()
        with pytest.raises(RuntimeError, match=r"not started: use it in 'async with Poller"):
            await use(Poller(make_source(), wall=wall))
        return wall() - start

    assert run_virtual(main) == 5.0


def test_a_poller_that_is_started_a_moment_later():
    """``run()`` in a task group of one's own may come after the first ``watch``."""
    import anyio

    async def main():
        poller = Poller(make_source(), wall=wall)
        async with anyio.create_task_group() as tasks:

            async def later():
                await anyio.sleep(4.0)
                await poller.run()

            tasks.start_soon(later)
            event = await (await poller.watch("render-17")).result()
            tasks.cancel_scope.cancel()
        return event

    assert isinstance(run_virtual(main), JobSucceeded)


async def test_a_list_given_to_watch():
    """``watch_many`` is named."""
    async with Poller(make_source()) as poller:
        with pytest.raises(ValueError, match="'watch_many' takes a list"):
            await poller.watch(["render-17"])


async def test_the_store_as_a_path_object(tmp_path):
    """``Path`` is as good as text."""
    async with Poller(make_source(), store=tmp_path / "jobs.db") as poller:
        await (await poller.watch("render-17")).result()
    assert (tmp_path / "jobs.db").is_file()


async def test_a_second_process_on_the_same_store(tmp_path):
    """``uvicorn --workers 2``: the second one is told who writes, and what to do."""
    store = str(tmp_path / "jobs.db")
    async with Poller(make_source(), store=store):
        with pytest.raises(StoreBusy) as caught:
            async with Poller(make_source(), store=store):
                pass
    assert str(caught.value) == (
        f"{store}: process {os.getpid()} writes to it; give each process a store of its own, or let "
        "one of them (one worker) do the watching; readers are welcome"
    )


def test_a_function_with_a_bug_is_named_when_the_job_expires(caplog):
    """Nobody hangs for ever, and the event says what went wrong with the last look."""

    async def buggy(job_id):
        return {"render-18": "complete"}[job_id]

    event, _ = watched(make_source(buggy))
    assert isinstance(event, JobExpired)
    assert event.cause == "the last look failed: KeyError: 'render-17'"
    failures = [r for r in caplog.records if "pollers.look_failed" in r.message]
    assert [r.levelno for r in failures][0] == logging.WARNING
    assert {r.levelno for r in failures[1:]} <= {logging.INFO}


def test_an_expired_job_tells_no_key(tmp_path):
    """Clients repeat the URL in their errors; what stands in its query goes to no sink and no file."""

    async def fails(_job_id):
        raise OSError("no answer from url: /render?key=sk-secret&id=17 (gave up?) " + "x" * 1000)

    event, _ = watched(make_source(fails), store=tmp_path / "jobs.db")
    assert event.cause.startswith(
        "the last look failed: OSError: no answer from url: /render?… (gave up?) xxx"
    )
    assert len(event.cause) == 500


def test_a_job_that_only_takes_long_has_no_cause():
    """``cause`` of an expired job is for looks that failed."""

    async def never(_job_id):
        return "rendering"

    event, at = watched(make_source(never))
    assert (type(event), event.status, event.cause) == (JobExpired, "rendering", None)
    assert at >= 5.0


def test_a_refused_key_is_said_aloud(caplog):
    """The poller keeps the jobs and waits; the log says for whom, with the code and the remedy."""

    async def main():
        async with (
            MemoriesEmulator(keys=["sk-good"]) as emulator,
            aiohttp.ClientSession() as session,
        ):
            source = MemoriesVideos(session, api_key="sk-bad", base_url=emulator.base_url)
            async with Poller(source, wall=wall, chance=FixedChance(1.0)) as poller:
                return await (await poller.watch("VI1", deadline=300)).result()

    event = run_virtual(main)
    assert event.cause == "the last look failed: 9009: Permission denied, check API key validness"
    [stalled] = [r for r in caplog.records if "pollers.stalled" in r.message]
    assert stalled.levelno == logging.WARNING
    assert "code='9009'" in stalled.message
    assert "remedy='Check that the API key is valid" in stalled.message


PROGRAM = """
import asyncio
from pollers import Poller
from pollers.sources import CallableSource
async def ask(job_id):
    raise OSError("no route to the farm")
async def main():
    source = CallableSource(ask, succeeded=["complete"], failed=["crashed"])
    async with Poller(source, store="jobs.db", min_interval=0.05) as poller:
        print("watching", flush=True)
        await (await poller.watch("render-17")).result()
asyncio.run(main())
"""


@pytest.mark.slow
def test_a_program_without_logging_shows_that_it_is_in_trouble_and_ends_at_ctrl_c(tmp_path):
    """Python shows warnings on stderr by itself; Ctrl-C ends it, and the store can be used again."""
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout.readline() == "watching\n"
    first = running.stderr.readline()
    running.send_signal(signal.SIGINT)
    _, rest = running.communicate(timeout=9)
    assert "pollers.look_failed" in first
    assert "code='OSError'" in first
    assert rest.rstrip().endswith("KeyboardInterrupt")
    assert not Path(tmp_path / "jobs.db.lock").exists()


@pytest.fixture
async def poller():
    """As people write it: pytest-asyncio sets up in one task and tears down in another."""
    async with Poller(make_source()) as running:
        yield running
    assert isinstance(running.stopped, PollerStopped)


async def test_a_poller_in_a_fixture(poller):
    """It works, and is stopped cleanly by the task that didn't start it."""
    assert isinstance(await (await poller.watch("render-17")).result(), JobSucceeded)


async def test_started_by_one_task_and_stopped_by_another(tmp_path):
    """As in an app whose framework has a task for each: nothing is left behind."""
    before = asyncio.all_tasks()
    poller = Poller(make_source(), store=tmp_path / "jobs.db")
    await asyncio.create_task(poller.__aenter__())
    assert isinstance(await (await poller.watch("render-17")).result(), JobSucceeded)
    await asyncio.create_task(poller.__aexit__(None, None, None))
    assert asyncio.all_tasks() == before
    assert not (tmp_path / "jobs.db.lock").exists()


async def test_cancelled_while_it_stops(tmp_path):
    """A sink that hangs is waited for; whoever is cancelled meanwhile leaves nothing behind."""
    before = asyncio.all_tasks()
    hangs = asyncio.Event()

    async def hang(_event):
        hangs.set()
        await asyncio.Event().wait()

    async def life():
        async with Poller(make_source(), store=tmp_path / "jobs.db", sinks=[hang]) as poller:
            await poller.watch("render-17")
            await hangs.wait()

    living = asyncio.create_task(life())
    await hangs.wait()
    for _ in range(5):
        await asyncio.sleep(0)  # it has left the block, and waits for the sink
    living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await living
    assert asyncio.all_tasks() == before
    assert not (tmp_path / "jobs.db.lock").exists()
