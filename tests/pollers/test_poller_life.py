"""Callbacks, leaving, stopping, restarting: what outlives a poller and what ends with it."""

import asyncio
from functools import partial
from typing import Any

import anyio
import pytest
from pollers_kit import (
    NEVER,
    Provider,
    SlowStore,
    kinds,
    make_poller,
    now,
    results,
    since_epoch,
    stop_of,
    stored,
    take,
    world,
)

from pollers import Fenced, JobSucceeded, PollerStopped, State, StoreBusy, StoreError
from pollers.sinks import POLICY, CallbackSink
from pollers.store import MemoryStore
from resilience import Guard
from resilience.testing import FixedChance, run_virtual, wall

# -- callbacks --------------------------------------------------------------------------------


def test_callbacks_get_every_event_in_order(run: Any) -> None:
    """Sync and async ones, from the first event of the run on."""
    provider = Provider()
    sync_got, async_got = [], []

    def sync_sink(event: Any) -> None:
        sync_got.append(event)

    async def async_sink(event: Any) -> None:
        await anyio.sleep(0.1)
        async_got.append(event)

    async def main() -> None:
        store = MemoryStore()
        names = [provider.add(name, at=1.0) for name in "abc"]
        async with make_poller(
            provider.source(batch=5), store=store, sinks=[sync_sink, async_sink]
        ) as poller:
            await results(await poller.watch_many(names))
            await anyio.sleep(5.0)
        assert sync_got == async_got == await stored(store)
        assert len(sync_got) == 9

    run(main)


def test_a_failing_callback_is_asked_again_in_order_and_delays_nobody(run: Any) -> None:
    """The same event until it is taken, with growing pauses; others are told at once."""
    provider = Provider()
    tried: list[tuple[float, str]] = []
    other: list[tuple[float, str]] = []

    def failing(event: Any) -> None:
        tried.append((now(), type(event).__name__))
        if type(event).__name__ == "JobChanged" and len(tried) < 6:
            raise RuntimeError("the user's bug")

    async def main() -> None:
        provider.add("a", at=2.5)
        guard = Guard(POLICY, wall=wall, chance=FixedChance(1.0))
        sinks = [
            CallbackSink(failing, guard=guard),
            CallbackSink(lambda e: other.append((now(), type(e).__name__)), name="other"),
        ]
        async with make_poller(provider.source(), sinks=sinks, max_interval=30.0) as poller:
            await (await poller.watch("a")).result()
            await anyio.sleep(60.0)

    run(main)
    assert [name for _, name in tried] == ["JobWatching", *["JobChanged"] * 5, "JobSucceeded"]
    assert [at for at, _ in tried] == [0.0, 0.05, 1.05, 3.05, 7.05, 15.05, 15.05]
    assert [name for _, name in other] == ["JobWatching", "JobChanged", "JobSucceeded"]
    assert other[-1][0] < 7.0


def test_a_failing_callback_is_logged_with_its_name(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """So that somebody can mend it."""
    provider = Provider()
    left = [1]

    def failing(event: Any) -> None:
        if left:
            left.pop()
            raise RuntimeError("the user's bug")

    async def main() -> None:
        provider.add("a", at=0.0)
        async with make_poller(
            provider.source(), sinks=[CallbackSink(failing, name="mine")]
        ) as poller:
            await (await poller.watch("a")).result()
            await anyio.sleep(10.0)

    with caplog.at_level("ERROR", logger="pollers"):
        run(main)
    [line] = [record.getMessage() for record in caplog.records]
    assert "pollers.sink_failed" in line and "sink='mine'" in line and "RuntimeError" in line


def test_a_callbacks_cursor_survives_a_restart(run: Any) -> None:
    """The second poller delivers what the first could not, and nothing twice."""
    provider = Provider()
    store = MemoryStore()
    first: list[str] = []
    second: list[str] = []

    def broken(event: Any) -> None:
        if len(first) == 2:
            raise RuntimeError("down")
        first.append(event.id)

    async def main() -> None:
        names = [provider.add(name, at=1.0) for name in "abc"]
        async with make_poller(
            provider.source(batch=5), store=store, sinks=[CallbackSink(broken, name="s")]
        ) as poller:
            await results(await poller.watch_many(names))
            await anyio.sleep(5.0)
        sinks = [CallbackSink(lambda event: second.append(event.id), name="s")]
        async with make_poller(provider.source(batch=5), store=store, sinks=sinks):
            await anyio.sleep(1.0)
        assert [*first, *second] == [event.id for event in await stored(store)]
        async with make_poller(provider.source(batch=5), store=store, sinks=sinks):
            await anyio.sleep(1.0)
        assert len(second) == 7

    run(main)


def test_a_new_callback_starts_with_its_run(run: Any) -> None:
    """The past was never promised to it."""
    provider = Provider()
    store = MemoryStore()
    got: list[Any] = []

    async def main() -> None:
        provider.add("a", at=0.0)
        async with make_poller(provider.source(), store=store) as poller:
            await (await poller.watch("a")).result()
        provider.add("b", at=0.0)
        async with make_poller(provider.source(), store=store, sinks=[got.append]) as poller:
            await (await poller.watch("b")).result()
            await anyio.sleep(1.0)
        assert [(type(e).__name__, e.subject) for e in got] == [
            ("JobWatching", "b"),
            ("JobSucceeded", "b"),
        ]

    run(main)


def test_two_callbacks_of_one_name_are_refused() -> None:
    """They would share a cursor, and one would lose what the other has had."""
    with pytest.raises(ValueError, match="two sinks"):
        make_poller(Provider().source(), sinks=[lambda event: None, lambda event: 1])
    make_poller(
        Provider().source(),
        sinks=[CallbackSink(lambda event: None, name="a"), CallbackSink(lambda event: 1, name="b")],
    )


def test_a_hanging_callback_keeps_nobody_from_leaving(run: Any) -> None:
    """Leaving gives it four of its five seconds, then cancels the delivery; the next run delivers it again."""
    provider = Provider()

    async def hang(event: Any) -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        provider.add("a", at=0.0)
        async with make_poller(provider.source(), sinks=[hang]) as poller:
            await (await poller.watch("a")).result()
        assert now() == 4.05

    run(main)


def test_leaving_gives_sinks_what_is_committed(run: Any) -> None:
    """A sink that takes its time has every event when the block is left."""
    provider = Provider()
    got: list[str] = []

    async def slow(event: Any) -> None:
        await anyio.sleep(0.5)
        got.append(type(event).__name__)

    async def main() -> None:
        provider.add("a", at=0.0)
        async with make_poller(provider.source(), sinks=[slow]) as poller:
            await (await poller.watch("a")).result()
        assert got == ["JobWatching", "JobSucceeded"]
        assert now() == 1.0

    run(main)


# -- leaving --------------------------------------------------------------------------------------


def test_leaving_the_block_wakes_every_waiter(run: Any) -> None:
    """Results, streams and later calls raise PollerStopped without a cause; the jobs stay."""
    provider = Provider()
    store = SlowStore()

    async def main() -> None:
        provider.add("a", at=NEVER)
        stops: list[Exception] = []

        async def wait(what: Any) -> None:
            stops.append(await stop_of(what))

        async with anyio.create_task_group() as tasks:
            async with make_poller(provider.source(), store=store) as poller:
                job = await poller.watch("a")
                tasks.start_soon(wait, job.result())
                tasks.start_soon(wait, job.result())
                tasks.start_soon(wait, take(poller.events(), 99))
                await anyio.sleep(3.0)
        assert not store.is_open
        for late in (
            job.result(), job.unwatch(), poller.watch("b"), poller.jobs(), poller.job("a"), job.row(),
            take(poller.events(after=""), 99),
        ):  # fmt: skip
            if late.__name__ == "row":
                assert (await late).state is State.WATCHING  # still held in memory
                continue
            stops.append(await stop_of(late))
        assert {error.__cause__ for error in stops} == {None}
        assert len(stops) == 9

    run(main)
    assert provider.asked_at == [0.05, 1.05, 2.05]


class BoomError(Exception):
    """The block's own."""


@pytest.mark.parametrize(
    "error", [BoomError("x"), KeyError("x"), PollerStopped("x"), SystemExit(3)]
)
def test_exceptions_of_the_block_come_out_as_themselves(run: Any, error: BaseException) -> None:
    """Not wrapped in a group, and the poller is closed."""
    store = SlowStore()

    async def main() -> None:
        try:
            async with make_poller(Provider().source(), store=store) as poller:
                await poller.watch("a")
                await anyio.sleep(1.0)
                raise error
        except type(error) as caught:
            assert caught is error
        assert not store.is_open
        assert poller.stopped is not None

    run(main)


def test_a_cancelled_block_is_left_cleanly(run: Any) -> None:
    """Cancellation passes through untouched; the store is closed and nobody looks any more."""
    provider = Provider()
    store = SlowStore()

    async def main() -> None:
        with anyio.move_on_after(2.5) as scope:
            async with make_poller(provider.source(), store=store) as poller:
                await (await poller.watch("a")).result()
        assert scope.cancelled_caught
        assert not store.is_open
        assert now() == 2.5
        await anyio.sleep(100.0)

    run(main)
    assert provider.asked_at == [0.05, 1.05, 2.05]


def test_a_cancelled_task_is_left_cleanly() -> None:
    """asyncio's own way of cancelling, too."""
    store = SlowStore()

    async def main() -> None:
        async def block() -> None:
            async with make_poller(Provider().source(), store=store) as poller:
                await (await poller.watch("a")).result()

        task = asyncio.create_task(block())
        await asyncio.sleep(2.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not store.is_open
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)


def test_leaving_at_once_is_fine(run: Any) -> None:
    """A block that does nothing asks nobody."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source()):
            pass

    run(main)
    assert provider.asked == []


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.06, 1.0, 2.0, 2.3])
def test_leaving_in_the_middle_of_a_look_or_commit(run: Any, moment: float) -> None:
    """Nothing hangs, and what was committed is whole."""
    provider = Provider(delay=0.3)
    store = SlowStore(0.5)

    async def main() -> None:
        provider.add("a", at=1.0)
        async with make_poller(provider.source(), store=store) as poller:
            job = await poller.watch("a")
            await anyio.sleep(moment)
        async with make_poller(provider.source(), store=store) as poller:
            job = await poller.watch("a")
            assert isinstance(await job.result(), JobSucceeded)
        versions = [int(event.id.rsplit(":", 1)[1]) for event in await stored(store)]
        assert versions == list(range(1, len(versions) + 1))

    run(main)


@pytest.mark.parametrize("moment", [1.0 + 0.5 * i for i in range(12)])
def test_leaving_in_a_commit_begins_no_look(run: Any, moment: float) -> None:
    """A commit is finished, whoever leaves; the looks that are due by then are not begun."""
    provider = Provider()
    asked: list[Any] = []

    async def main() -> None:
        names = [provider.add(f"j{i}", at=NEVER) for i in range(6)]
        async with make_poller(provider.source(), store=SlowStore(1.0)) as poller:
            await poller.watch_many(names)
            await anyio.sleep(moment)
            asked.extend(provider.asked)

    run(main)
    assert provider.asked == asked


# -- run() ------------------------------------------------------------------------------------


def test_run_in_ones_own_task_group(run: Any) -> None:
    """`watch` waits until it runs; cancelling the group ends it and closes the store."""
    provider = Provider()
    store = SlowStore(0.1)

    async def main() -> None:
        provider.add("a", at=1.5)
        poller = make_poller(provider.source(), store=store)
        async with anyio.create_task_group() as tasks:
            got: list[Any] = []

            async def user() -> None:
                assert await poller.jobs() == []
                job = await poller.watch("a")
                got.append(await job.result())
                tasks.cancel_scope.cancel()

            tasks.start_soon(user)
            await anyio.sleep(1.0)
            tasks.start_soon(poller.run)
        assert isinstance(got[0], JobSucceeded)
        assert not store.is_open
        assert (await stop_of(poller.watch("b"))).__cause__ is None

    run(main)


class NotToday(SlowStore):
    """Another process has it."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    async def open(self) -> None:
        await super().open()
        if self.where == "open":
            await self.aclose()
            raise StoreBusy("another process writes to it")

    async def acquire(self, shard: Any) -> int:
        if self.where == "acquire":
            raise StoreError("the disk is broken")
        return await super().acquire(shard)


@pytest.mark.parametrize("where", ["open", "acquire"])
def test_a_store_that_cannot_be_opened_says_so_to_everybody(run: Any, where: str) -> None:
    """`async with` and `run()` raise the store's error, whoever waits gets PollerStopped from it."""

    async def main() -> None:
        store = NotToday(where)
        with pytest.raises(StoreError):
            async with make_poller(Provider().source(), store=store):
                raise AssertionError("never entered")
        assert not store.is_open

        poller = make_poller(Provider().source(), store=store)
        stops: list[Exception] = []

        async def wait(what: Any) -> None:
            stops.append(await stop_of(what))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, poller.watch("a"))
            tasks.start_soon(wait, take(poller.events(after=""), 1))
            await anyio.sleep(1.0)
            with pytest.raises(StoreError):
                await poller.run()
        assert not store.is_open
        assert [isinstance(error.__cause__, StoreError) for error in stops] == [True, True]

    run(main)


# -- a store that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["block", "run"])
def test_a_store_that_fails_ends_the_poller(run: Any, use: str) -> None:
    """PollerStopped from the store's error, for everybody; nothing that wasn't stored is told."""
    provider = Provider()
    store = SlowStore()
    told: list[Any] = []

    async def main() -> None:
        provider.add("a", at=2.5)
        poller = make_poller(provider.source(), store=store, sinks=[told.append])

        async def user() -> None:
            job = await poller.watch("a")
            await anyio.sleep(1.5)
            store.fail_commit = StoreError("the disk is full")
            error = await stop_of(job.result())
            assert str(error.__cause__) == "the disk is full"
            assert now() == 3.05

        if use == "block":
            async with poller:
                await user()
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(user)
                error = await stop_of(poller.run())
                assert str(error.__cause__) == "the disk is full"
        assert not store.is_open

        store.fail_commit = None
        async with make_poller(provider.source(), store=store) as poller:
            assert isinstance(await (await poller.watch("a")).result(), JobSucceeded)

    run(main)
    assert kinds(told) == ["JobWatching", "JobChanged"]


def test_whoever_takes_over_fences_the_other_off(run: Any) -> None:
    """A second poller on the same shard ends the first one at its next commit."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.add("a", at=3.5)
        async with make_poller(provider.source(), store=store) as first:
            job = await first.watch("a")
            await anyio.sleep(2.0)
            async with make_poller(provider.source(), store=store) as second:
                assert isinstance(await (await second.watch("a")).result(), JobSucceeded)
                error = await stop_of(job.result())
                assert isinstance(error.__cause__, Fenced)
        assert kinds(await stored(store)) == ["JobWatching", "JobChanged", "JobSucceeded"]

    run(main)


# -- restart ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_restart_loses_nothing_and_tells_nothing_twice(run: Any, seed: int) -> None:
    """Stopped in the middle and started again with the same store, several times."""
    provider = Provider(delay=0.2)
    store = SlowStore(0.05)
    got: list[Any] = []

    async def main() -> None:
        names = [provider.add(f"j{i}", at=1.0 + (i * 7 + seed) % 20) for i in range(12)]
        cursor = ""

        async def consume(poller: Any) -> None:
            nonlocal cursor
            try:
                async for event in poller.events(after=cursor):
                    got.append(event)
                    cursor = event.cursor
            except PollerStopped:
                pass

        for life in (0.3, 2.0 + 0.21 * seed, 5.0, 7.77):
            async with anyio.create_task_group() as tasks:
                async with make_poller(provider.source(batch=5), store=store) as poller:
                    tasks.start_soon(consume, poller)
                    await poller.watch_many(names)
                    await anyio.sleep(life)
            await anyio.sleep(0.7)
        async with anyio.create_task_group() as tasks:
            async with make_poller(provider.source(batch=5), store=store) as poller:
                tasks.start_soon(consume, poller)
                ended = await results(await poller.watch_many(names))
                await anyio.sleep(1.0)
        assert {type(event) for event in ended} == {JobSucceeded}
        assert [event.id for event in got] == [event.id for event in await stored(store)]
        assert len({event.id for event in got}) == len(got)
        assert sum(isinstance(event, JobSucceeded) for event in got) == len(names)

    run(main)


def test_ids_are_the_same_after_a_restart(run: Any) -> None:
    """The stored result of an earlier run is the same event, id and cursor included."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.add("a", at=0.0)
        async with make_poller(provider.source(), store=store) as poller:
            event = await (await poller.watch("a")).result()
        async with make_poller(provider.source(), store=store) as poller:
            assert await (await poller.watch("a")).result() == event
            assert since_epoch(event) == 0.05

    run(main)
    assert len(provider.asked) == 1


def test_looks_are_counted_over_restarts(run: Any) -> None:
    """`looks` goes on from the last transition."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.lives["a"] = [(0.0, "running"), (3.0, "queued"), (6.5, "done")]
        async with make_poller(
            provider.source(pending=["running", "queued"]), store=store
        ) as poller:
            await poller.watch("a")
            await anyio.sleep(3.5)  # looks at 0.05, 1.05, 2.05, 3.05
        async with make_poller(provider.source(), store=store) as poller:
            event = await (await poller.watch("a")).result()
            assert event.looks == 4 + 4  # 3.55, 4.55, 5.55, 6.55

    run(main)


def test_another_deployment_never_takes_up_the_jobs() -> None:
    """A file that was used with one emulator doesn't resume against another."""

    async def main() -> None:
        store = MemoryStore()
        async with world() as here:
            here.emulator.add_video("VI1", parse_after=None)
            async with make_poller(here.source(), store=store) as poller:
                await poller.watch("VI1")
                await anyio.sleep(1.0)
        async with world() as there:
            async with make_poller(there.source(), store=store) as poller:
                assert await poller.job("VI1") is None
                await anyio.sleep(10.0)
            assert there.emulator.requests == []

    run_virtual(main)


def test_a_restart_on_the_wire() -> None:
    """Emulator, session and guard anew; the deployment is the same, and all videos end once."""

    async def main() -> None:
        store = MemoryStore()
        async with world() as here:
            port = here.emulator.port
            names = [here.emulator.add_video(parse_after=1.0 + i / 10).video_no for i in range(30)]
            async with make_poller(here.source(), store=store) as poller:
                await poller.watch_many(names)
                await anyio.sleep(2.5)
            left = await store.jobs(state=State.WATCHING)
            assert 0 < len(left) < 30
        async with world(port=port) as here:
            for job in left:
                here.emulator.add_video(job.key.remote_id)
            async with make_poller(here.source(), store=store) as poller:
                ended = await results(await poller.watch_many(names))
            assert {type(event) for event in ended} == {JobSucceeded}
            assert {n for asked in here.asked() for n in asked} == {
                job.key.remote_id for job in left
            }
        assert kinds(await stored(store)).count("JobSucceeded") == 30

    run_virtual(main)


def test_a_poller_leaves_no_task_behind() -> None:
    """Hundred blocks after one another, and the loop is as it was."""

    async def main() -> None:
        for _ in range(100):
            async with make_poller(Provider().source(), sinks=[partial(print)]) as poller:
                await poller.watch("a")
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)
