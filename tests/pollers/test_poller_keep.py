"""What a poller deletes, and when: jobs that ended, never what somebody still has to get."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import anyio
import pytest
from pollers_kit import NEVER, Provider, kinds, make_poller, now, results, take

from pollers import BadCursor, Event, EventRefused, JobPruned
from pollers.sinks import POLICY, CallbackSink, Sink
from pollers.store import MemoryStore
from pollers.store.sqlite import SqliteStore
from resilience import Guard
from resilience.testing import FixedChance, run_virtual, wall


class Down(Sink):
    """Takes nothing until ``until``."""

    def __init__(self, until: float, name: str = "down") -> None:
        self.name = name
        self.until = until
        self.guard = Guard(POLICY, wall=wall, chance=FixedChance(1.0))
        self.got: list[str] = []

    async def deliver(self, events: Sequence[Event]) -> None:
        if now() < self.until:
            raise OSError("down")
        self.got += [event.subject for event in events]


async def ids(poller: Any) -> list[str]:
    return [job.key.remote_id for job in await poller.jobs()]


def test_jobs_are_kept_for_so_long(run: Any) -> None:
    """Looked for every minute; what runs stays, whatever its age; by default all stays for ever."""
    provider = Provider()
    provider.add("a", at=10.0)
    provider.add("b", at=100.0)
    provider.add("c", at=NEVER)

    async def main() -> None:
        settings = {"min_interval": 10.0, "sinks": [lambda event: None]}
        async with make_poller(
            provider.source(batch=5), keep=timedelta(hours=1), **settings
        ) as poller:
            handles = await poller.watch_many(["a", "b", "c"], deadline=None)
            gone: dict[str, float] = {}
            while now() < 2 * 86_400.0:
                await anyio.sleep(30.0)
                for one in {"a", "b", "c"} - {*await ids(poller)}:
                    gone.setdefault(one, now())
            # seen at the first look behind the end; pruned within a minute after an hour; counted in 30 s
            assert 3610.0 <= gone["a"] <= 3610.0 + 20.0 + 60.0 + 30.0
            assert 3700.0 <= gone["b"] <= 3700.0 + 20.0 + 60.0 + 30.0
            assert {*gone} == {"a", "b"}
            assert {e.subject for e in await take(poller.events(after=""), 2)} == {"c"}
            with pytest.raises(JobPruned, match="keep=3600"):
                await handles[0].result()
            with pytest.raises(JobPruned, match="a ended and was pruned"):
                await handles[0].row()
            assert await poller.job("a") is None
            again = await poller.watch("a")
            assert kinds([await again.result()]) == ["JobSucceeded"]

    run(main)


def test_by_default_everything_is_kept(run: Any) -> None:
    """For ever."""
    provider = Provider()
    provider.add("a", at=1.0)

    async def main() -> None:
        async with make_poller(provider.source()) as poller:
            await (await poller.watch("a")).result()
            await anyio.sleep(10_000_000.0)
            assert await ids(poller) == ["a"]

    run(main)


@pytest.mark.parametrize("keep", [0, -1.0, timedelta(0), float("nan")])
def test_a_wrong_keep_is_told(keep: Any) -> None:
    """With its value."""
    with pytest.raises(ValueError, match="keep="):
        make_poller(Provider().source(), keep=keep)


def test_what_a_sink_still_has_to_get_is_kept(run: Any) -> None:
    """Also for one that this run does not have; once it has caught up, the jobs go."""
    provider = Provider()
    store = MemoryStore()
    for i in range(5):
        provider.add(f"j{i}", at=float(i))
    names = [f"j{i}" for i in range(5)]

    async def main() -> None:
        slow = Down(NEVER)
        async with make_poller(
            provider.source(batch=9), store=store, sinks=[slow], keep=60.0
        ) as one:
            await results(await one.watch_many(names))
            await anyio.sleep(1000.0)
            assert await ids(one) == names
        async with make_poller(provider.source(batch=9), store=store, keep=60.0) as two:
            await anyio.sleep(1000.0)
            assert await ids(two) == names
        back = Down(now() + 500.0)
        async with make_poller(
            provider.source(batch=9), store=store, sinks=[back], keep=60.0
        ) as three:
            await anyio.sleep(400.0)
            assert await ids(three) == names
            await anyio.sleep(400.0)
            assert await ids(three) == []
        told = names * 2 + names[1:]  # watching, succeeded; and changed, but for the first
        assert sorted(back.got) == sorted(told)

    run(main)


def test_what_is_parked_is_kept(run: Any) -> None:
    """Until a later run delivers it."""
    provider = Provider()
    store = MemoryStore()
    got: list[str] = []

    def refuses(event: Any) -> None:
        if event.subject == "a":
            raise EventRefused("no")

    async def main() -> None:
        provider.add("a")
        provider.add("b")
        source, sink = provider.source(batch=9), CallbackSink(refuses, name="s")
        async with make_poller(source, store=store, sinks=[sink], keep=60.0) as poller:
            await results(await poller.watch_many(["a", "b"]))
            await anyio.sleep(1000.0)
            assert await ids(poller) == ["a"]
        sink = CallbackSink(lambda event: got.append(event.subject), name="s")
        async with make_poller(source, store=store, sinks=[sink], keep=60.0) as poller:
            await anyio.sleep(200.0)
            assert (got, await ids(poller)) == (["a", "a"], [])

    run(main)


def test_a_cursor_in_front_of_a_gap_is_refused(run: Any) -> None:
    """What it stands before is gone: that is told, not skipped.  The start is what is left."""
    provider = Provider()

    async def main() -> None:
        for name in "abc":
            provider.add(name)
        async with make_poller(provider.source(batch=5), keep=60.0) as poller:
            await results(await poller.watch_many(["a", "b"]))
            old, *_, last = await take(poller.events(after=""), 4)
            await anyio.sleep(200.0)
            await (await poller.watch("c")).result()
            with pytest.raises(BadCursor, match="pruned, up to number 4"):
                await take(poller.events(after=old.cursor), 1)
            for after in (last.cursor, ""):
                assert [e.subject for e in await take(poller.events(after=after), 2)] == ["c", "c"]

    run(main)


def test_a_stream_that_is_too_slow_is_told_of_its_gap(run: Any) -> None:
    """It gets what it has read already, then the error."""
    provider = Provider()
    got: list[Event] = []

    async def main() -> None:
        names = [provider.add(f"j{i}") for i in range(300)]
        async with make_poller(provider.source(batch=500), keep=60.0) as poller:
            stream = poller.events(after="")
            await results(await poller.watch_many(names))
            with pytest.raises(BadCursor, match="pruned, up to number 600"):
                async for event in stream:
                    got.append(event)
                    if len(got) == 1:
                        await anyio.sleep(200.0)

    run(main)
    assert len(got) == 500


def test_pruning_goes_on_beside_the_work(tmp_path: Any) -> None:
    """A thousand old jobs go in small transactions, from a file, while others are watched."""
    provider = Provider()
    steps: list[int] = []

    class Counting(SqliteStore):
        async def prune(self, before: float, limit: int = 200) -> int:
            steps.append(await super().prune(before, limit))
            return steps[-1]

    async def main() -> None:
        names = [provider.add(f"j{i}") for i in range(1000)]
        store = Counting(tmp_path / "jobs.db")
        async with make_poller(provider.source(batch=2000), store=store, keep=100.0) as poller:
            await results(await poller.watch_many(names))
            provider.add("late", at=130.0)
            await poller.watch("late")
            await anyio.sleep(125.0)
            assert await ids(poller) == ["late"]
            assert [n for n in steps if n] == [200] * 5
            await results([await poller.watch("late")])

    run_virtual(main)
