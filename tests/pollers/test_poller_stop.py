"""Stopping within a deadline, whatever hangs; afterwards everything is in the store."""

from collections.abc import Sequence
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
    since_epoch,
    stop_of,
    stored,
    take,
)

from pollers import Event, JobSucceeded, PollerStopped, State
from pollers.sinks import Sink
from pollers.store import MemoryStore


class Stubborn(Sink):
    """Takes its time for everything."""

    name = "stubborn"

    def __init__(self, *, deliver: float = 0.0, close: float = 0.0) -> None:
        self.got: list[str] = []
        self.seconds, self.closing = deliver, close
        self.closed = False

    async def deliver(self, events: Sequence[Event]) -> None:
        await anyio.sleep(self.seconds)
        self.got += [type(event).__name__ for event in events]

    async def aclose(self) -> None:
        await anyio.sleep(self.closing)
        self.closed = True


# -- how long it takes ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["leave", "stop", "run"])
@pytest.mark.parametrize("within", [0.0, 2.0, 5.0])
@pytest.mark.parametrize("deliver", [0.0, NEVER], ids=["", "hanging sink"])
@pytest.mark.parametrize("close", [0.0, NEVER], ids=["", "hanging close"])
@pytest.mark.parametrize("request_", [0.0, NEVER], ids=["", "hanging request"])
def test_nothing_that_hangs_makes_it_longer(
    run: Any, how: str, within: float, deliver: float, close: float, request_: float
) -> None:
    """A sink in its delivery or its end, and a request: all at once, and it is over in time."""
    store = SlowStore()

    async def main() -> None:
        provider = Provider(delay=request_)
        sink = Stubborn(deliver=deliver, close=close)
        poller = make_poller(provider.source(), store=store, sinks=[sink], stop_within=within)
        if how == "leave":
            async with poller:
                await poller.watch(provider.add("a", at=NEVER))
                await anyio.sleep(10.0)
        elif how == "stop":
            async with poller:
                await poller.watch(provider.add("a", at=NEVER))
                await anyio.sleep(10.0)
                await poller.stop()
                assert now() <= 10.0 + within
                assert not store.is_open
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(poller.run)
                await poller.watch(provider.add("a", at=NEVER))
                await anyio.sleep(10.0)
                await poller.stop()
        assert now() <= 10.0 + within
        assert not store.is_open
        asked = len(provider.asked)
        await anyio.sleep(100.0)
        assert len(provider.asked) == asked
        if deliver == close == 0.0 < within:
            assert sink.closed
            assert sink.got == kinds(await stored(store))

    run(main)


def test_the_deadline_of_one_stop(run: Any) -> None:
    """It goes before the poller's own; the longer one does not prolong the shorter."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(
            provider.source(), sinks=[Stubborn(deliver=NEVER, close=NEVER)]
        ) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            async with anyio.create_task_group() as tasks:
                for within in (1.0, 500.0):
                    tasks.start_soon(lambda w=within: poller.stop(within=w))
            assert now() <= 1.0
        assert now() <= 1.0

    run(main)


@pytest.mark.parametrize("within", [-1.0, NEVER])
def test_a_span_that_is_none_is_refused(within: float) -> None:
    """With its name."""
    with pytest.raises(ValueError, match="stop_within"):
        make_poller(Provider().source(), stop_within=within)


# -- what it leaves ------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [1.3, 1.6, 1.9, 2.4])
def test_a_commit_under_way_is_finished_and_delivered(run: Any, moment: float) -> None:
    """Stopped while the end of a job is being written: it is stored, and the sinks get it in time."""
    store = SlowStore(0.3)

    async def main() -> None:
        provider = Provider()
        sink = Stubborn()
        async with make_poller(provider.source(), store=store, sinks=[sink]) as poller:
            await poller.watch(provider.add("a", at=0.7))
            await anyio.sleep(moment - now())
            await poller.stop()
            assert not store.is_open
        events = await stored(store)
        assert kinds(events)[-1] in ("JobSucceeded", "JobWatching")
        assert sink.got == kinds(events)
        [job] = await MemoryStore.jobs(store)
        assert job.version == len(events)
        assert (job.state is State.SUCCEEDED) is (kinds(events)[-1] == "JobSucceeded")

    run(main)


def test_some_moment_of_a_commit_was_tried() -> None:
    """Of those above, at least one falls into the write of the end."""
    from resilience.testing import run_virtual

    async def main() -> list[float]:
        provider, store = Provider(), SlowStore(0.3)
        began: list[float] = []
        commit = store.commit

        async def noted(*args: Any, **settings: Any) -> Any:
            began.append(now())
            return await commit(*args, **settings)

        store.commit = noted  # type: ignore[method-assign]
        async with make_poller(provider.source(), store=store) as poller:
            await (await poller.watch(provider.add("a", at=0.7))).result()
        return began

    [at] = run_virtual(main)
    assert any(at < moment < at + 0.6 for moment in (1.3, 1.6, 1.9, 2.4)), at


def test_what_a_sink_did_not_take_in_time_comes_with_the_next_run(run: Any) -> None:
    """Its place is in the store."""
    store = MemoryStore()

    async def main() -> None:
        provider = Provider()
        slow = Stubborn(deliver=3.0)
        async with make_poller(provider.source(batch=9), store=store, sinks=[slow]) as poller:
            await poller.watch_many([provider.add(name, at=NEVER) for name in "abc"])
            await poller.stop(within=5.0)
        assert slow.got == ["JobWatching"]
        quick = Stubborn()
        async with make_poller(provider.source(batch=9), store=store, sinks=[quick]):
            await anyio.sleep(0.01)
        assert quick.got == ["JobWatching"] * 2

    run(main)


def test_sinks_get_the_time_that_looks_do_not_need(run: Any) -> None:
    """A slow sink has everything, as long as it is done in time, and then it is over."""

    async def main() -> None:
        provider = Provider(delay=NEVER)
        sink = Stubborn(deliver=1.0)
        async with make_poller(provider.source(batch=9), sinks=[sink]) as poller:
            await poller.watch_many([provider.add(name, at=NEVER) for name in "abc"])
            await poller.stop()
            assert (sink.got, sink.closed, now()) == (["JobWatching"] * 3, True, 3.0)

    run(main)


def test_a_sink_has_time_to_give_back_what_it_holds(run: Any) -> None:
    """Also if its last delivery hung: a fifth of the time is kept for that."""

    async def main() -> None:
        provider = Provider()
        sink = Stubborn(deliver=NEVER, close=0.9)
        async with make_poller(provider.source(), sinks=[sink]) as poller:
            await poller.watch(provider.add("a", at=NEVER))
        assert (sink.closed, now()) == (True, 4.9)

    run(main)


def test_a_store_that_fails_meanwhile_ends_it_at_once(run: Any) -> None:
    """Nobody waits for sinks whose events can't be read any more."""
    store = SlowStore()

    async def main() -> None:
        provider = Provider()
        poller = make_poller(provider.source(), store=store, sinks=[Stubborn(deliver=2.0)])
        with pytest.raises(PollerStopped):
            async with poller:
                await poller.watch(provider.add("a", at=NEVER))
                await anyio.sleep(1.0)
                store.is_open = False
                await poller.stop(within=50.0)
        assert now() < 3.0

    run(main)


# -- who is told ----------------------------------------------------------------------------------


def test_whoever_waits_is_told(run: Any) -> None:
    """Results and streams raise PollerStopped, the block goes on, and a second stop is harmless."""

    async def main() -> None:
        provider = Provider()
        stops: list[Exception] = []

        async def wait(what: Any) -> None:
            stops.append(await stop_of(what))

        async with make_poller(provider.source()) as poller:
            async with anyio.create_task_group() as tasks:
                job = await poller.watch(provider.add("a", at=NEVER))
                tasks.start_soon(wait, job.result())
                tasks.start_soon(wait, take(poller.events(), 99))
                await anyio.sleep(3.0)
                await poller.stop()
            await poller.stop()
            await stop_of(poller.watch("b"))
        assert [error.__cause__ for error in stops] == [None, None]

    run(main)


def test_run_returns(run: Any) -> None:
    """Without an error; and a poller that never ran can be stopped too, and stays so."""

    async def main() -> None:
        provider = Provider()
        poller = make_poller(provider.source())
        ended: list[float] = []

        async def runs() -> None:
            await poller.run()
            ended.append(now())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runs)
            job = await poller.watch(provider.add("a", at=2.0))
            assert isinstance(await job.result(), JobSucceeded)
            await anyio.sleep(1.0)
            await poller.stop()
        assert ended == [now()]
        unused = make_poller(provider.source())
        await unused.stop()
        await stop_of(unused.watch("a"))
        with pytest.raises(RuntimeError, match="runs once"):
            await unused.run()

    run(main)


def test_a_stop_that_is_cancelled_stops_all_the_same(run: Any) -> None:
    """At once: there is no poller that neither looks nor ends."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(), sinks=[Stubborn(deliver=NEVER)]) as poller:
            job = await poller.watch(provider.add("a", at=NEVER))
            with anyio.move_on_after(1.0):
                await poller.stop(within=50.0)
            await stop_of(job.result())
            assert now() == 1.0

    run(main)


def test_stopped_while_it_starts(run: Any) -> None:
    """The store is just being opened: it is closed again, and nobody is asked."""

    class Opening(SlowStore):
        async def open(self) -> None:
            await anyio.sleep(1.0)
            await super().open()

    async def main() -> None:
        provider, store = Provider(), Opening()
        async with make_poller(provider.source(spacing=9.0), store=store) as poller:
            await poller.watch(provider.add("a", at=NEVER))
        provider.asked.clear()
        began = anyio.current_time()
        poller = make_poller(provider.source(), store=store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poller.run)
            await anyio.sleep(0.5)
            await poller.stop()
            assert not store.is_open
        assert (provider.asked, store.is_open) == ([], False)
        assert anyio.current_time() - began <= 1.1

    run(main)


def test_the_last_look_before_the_stop_is_the_last(run: Any) -> None:
    """A job that ends while sinks get their time is found by the next run, not by this one."""
    store = MemoryStore()

    async def main() -> None:
        provider = Provider()
        sinks = [Stubborn(deliver=1.5)]
        async with make_poller(provider.source(), store=store, sinks=sinks) as poller:
            await poller.watch(provider.add("a", at=1.5))
            await anyio.sleep(1.2)
            await poller.stop()
            assert all(since_epoch(event) < 1.2 for event in await stored(store))
        assert provider.asked_at == [0.05, 1.05]

    run(main)
