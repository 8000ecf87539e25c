"""Many jobs in a whole poller: what is read and written, taking up a crowd, registering one."""

import random
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from pollers_kit import Provider, kinds, make_poller, now, stored

from pollers import JobCancelled, JobSucceeded, Sighting
from pollers import _ledger as module
from pollers._core.model import Job, Phase, State
from pollers._core.step import Step, opening, step
from pollers._queue import Hand
from pollers._watch import Pace, Watch
from pollers.poller import TRANSACTION
from pollers.store import MemoryStore
from resilience.testing import run_virtual


class Counted(MemoryStore):
    """Counts what it is asked for, and takes a second to read a page."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[tuple[str | None, int, int]] = []
        self.read: list[int] = []
        self.commits = 0
        self.registered: list[int] = []

    async def load_active(self, *args: Any, **settings: Any) -> list[Job]:
        rows = await super().load_active(*args, **settings)
        self.pages.append((settings["kind"], settings["after"], len(rows)))
        await anyio.sleep(1.0)
        return rows

    async def rows(self, rids: Sequence[int]) -> list[Job]:
        self.read.append(len(rids))
        return await super().rows(rids)

    async def commit(self, *args: Any, **settings: Any) -> Any:
        self.commits += 1
        return await super().commit(*args, **settings)

    async def register(self, *args: Any, **settings: Any) -> list[Job]:
        rows = await super().register(*args, **settings)
        self.registered.append(len(rows))
        return rows


async def left_behind(count: int) -> Counted:
    """A store with jobs ``j1`` and on, that an earlier run left."""
    store, provider = Counted(), Provider()
    names = [provider.add(f"j{i}", at=1e9) for i in range(1, count + 1)]
    async with make_poller(provider.source(batch=10), store=store) as poller:
        await poller.watch_many(names, deadline=None)
    store.pages.clear()
    return store


def test_a_look_that_finds_nothing_costs_the_store_nothing(run: Any) -> None:
    """No row is read and none is written, however often; one page was read at the start."""
    store, provider = Counted(), Provider()
    names = [provider.add(f"j{i}", at=100.0) for i in range(20)]

    async def main() -> None:
        async with make_poller(provider.source(batch=10), store=store) as poller:
            handles = await poller.watch_many(names)
            await anyio.sleep(50.0)
            assert store.pages == [("jobs", 0, 0)]
            looks, read, commits = len(provider.asked), sum(store.read), store.commits
            assert read == 20  # "running" was news once
            await anyio.sleep(40.0)
            assert len(provider.asked) > looks + 20
            assert (sum(store.read), store.commits) == (read, commits)
            assert all([isinstance(await one.result(), JobSucceeded) for one in handles])
            assert sum(store.read) == 40

    run(main)


# -- taking up what was left ----------------------------------------------------------------------


def test_the_first_looks_go_while_the_rest_is_read(run: Any, monkeypatch: Any) -> None:
    """In pages; nobody is lost, and nobody is looked at twice before all were once."""
    monkeypatch.setattr(module, "PAGE", 10)

    async def main() -> None:
        store, provider = await left_behind(35), Provider()
        began = now()
        async with make_poller(provider.source(batch=10), store=store) as poller:
            await anyio.sleep(10.0)
            assert len(await poller.jobs(state="watching")) == 35
        assert store.pages == [("jobs", 0, 10), ("jobs", 10, 10), ("jobs", 20, 10), ("jobs", 30, 5)]
        assert provider.asked_at[0] == pytest.approx(began + 1.05)
        assert provider.asked[0][1] == tuple(f"j{i}" for i in range(1, 11))
        assert {one for _, ids in provider.asked for one in ids} == {f"j{i}" for i in range(1, 36)}

    run(main)


def test_a_job_is_not_taken_up_twice(run: Any, monkeypatch: Any) -> None:
    """Watched again, found ended, or unwatched before its page is read."""
    monkeypatch.setattr(module, "PAGE", 10)

    async def main() -> None:
        store, provider = await left_behind(35), Provider()
        provider.add("j34", at=0.0)
        provider.add("j35", at=1e9)
        async with make_poller(provider.source(batch=10), store=store) as poller:
            handle = await poller.job("j33")
            assert handle is not None
            await handle.unwatch()
            assert isinstance(await handle.result(), JobCancelled)
            ended, again = await poller.watch_many(["j34", "j35"])
            assert isinstance(await ended.result(), JobSucceeded)
            await anyio.sleep(10.0)
            watching = poller._engine.loops[0].watch.jobs
            assert sorted(watching) == [*range(1, 33), 35]
            assert (await again.row()).state is State.WATCHING
        asked = [one for _, ids in provider.asked for one in ids]
        assert "j33" not in asked
        assert asked.count("j34") == 1
        told = [one.subject for one in await stored(store) if isinstance(one, JobSucceeded)]
        assert told == ["j34"]

    run(main)


def test_a_job_that_ends_while_its_page_is_read_does_not_come_back(run: Any) -> None:
    """It is unwatched half a second before its row, which was read as going on, is taken up."""

    async def main() -> None:
        store, provider = await left_behind(3), Provider()
        async with anyio.create_task_group() as tasks:
            poller = make_poller(provider.source(batch=10), store=store)
            async with poller:
                loop = poller._engine.loops[0]
                loop.ledger._loaded = 0
                for rid in list(loop.watch.jobs):
                    loop.watch.remove(rid)
                tasks.start_soon(loop.ledger.load)
                await anyio.sleep(0.5)
                handle = await poller.job("j2")
                assert handle is not None
                await handle.unwatch()
                assert isinstance(await handle.result(), JobCancelled)
                await anyio.sleep(5.0)
                assert sorted(loop.watch.jobs) == [1, 3]

    run(main)


def test_sources_of_one_shard_read_their_own_rows(run: Any, monkeypatch: Any) -> None:
    """Not everybody's."""
    monkeypatch.setattr(module, "PAGE", 10)

    async def main() -> None:
        store, provider = Counted(), Provider()
        sources = [provider.source(batch=10, kind=kind) for kind in ("films", "songs")]
        async with make_poller(*sources, store=store) as poller:
            await poller.watch_many([f"f{i}" for i in range(12)], kind="films")
            await poller.watch_many(["s1"], kind="songs")
        store.pages.clear()
        sources = [provider.source(batch=10, kind=kind) for kind in ("films", "songs")]
        async with make_poller(*sources, store=store):
            await anyio.sleep(5.0)
        assert sorted(store.pages) == [("films", 0, 10), ("films", 10, 2), ("songs", 0, 1)]

    run(main)


# -- registering ----------------------------------------------------------------------------------


def test_a_crowd_is_registered_in_parts() -> None:
    """Each is stored once and answered in order; a mistake among them is found before any is stored."""

    async def main() -> None:
        store, provider = Counted(), Provider()
        names = [f"j{i}" for i in range(2 * TRANSACTION + 7)]
        async with make_poller(provider.source(batch=10), store=store) as poller:
            with pytest.raises(ValueError, match="not a job's id"):
                await poller.watch_many([*names, ""])
            assert store.registered == []
            handles = await poller.watch_many(names)
            assert [one.id for one in handles] == names
            assert store.registered == [TRANSACTION, TRANSACTION, 7]
            again = await poller.watch_many(reversed(names))
            assert [one.id for one in again] == names[::-1]
            assert len(poller._engine.loops[0].watch.jobs) == len(names)
        assert kinds(await stored(store)).count("JobWatching") == len(names)

    run_virtual(main)


# -- a job that is made of many -------------------------------------------------------------------


def written(steps: list[Step], rows: dict[int, Job]) -> int:
    """Characters of features that these changes write."""
    size = 0
    for rid, change in steps:
        made = change(rows[rid])
        assert made is not None
        rows[rid] = made.after
        size += len(repr(made.after.features)) + len(repr(made.data))
    return size


@pytest.mark.parametrize("children", [50, 500])
def test_children_are_written_once(children: int) -> None:
    """500 that end one by one: what is written grows as their number does, not as its square."""
    watch = Watch(Pace(), 1, lambda: 0.0)
    key = module.JobKey("memories_ai", "local", "default", "scrapes", "T1")
    new = module.NewJob(key=key, created_at=0.0)
    rows = {1: opening(new, 1).after}
    watch.add(rows[1], now=0.0, wall=0.0, first_look=0.05)
    size = 0
    for done in range(children + 1):
        at = float(done + 1)
        kids = tuple(
            Sighting(
                remote_id=f"VI{i:018d}", status="PARSE" if i < done else "UNPARSE",
                phase=Phase.SUCCEEDED if i < done else Phase.PENDING,
            )
            for i in range(children)
        )  # fmt: skip
        phase = Phase.SUCCEEDED if done == children else Phase.PENDING
        seen = Sighting(remote_id="T1", phase=phase, status=f"{done} of {children}", children=kids)
        assert watch.pick(hand := Hand(), 1, now=at) == ["T1"]
        size += written(watch.saw(hand, {"T1": seen}, now=at, wall=at), rows)
    assert len(rows[1].features["children"]) == children
    assert size <= 500 * children


# -- under a limit --------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["all at once", "spread"])
def test_a_crowd_under_a_limit_is_found_in_time(law: str) -> None:
    """2,000 at once, 20 a request: full batches, and no end waits longer than a round and a bit."""
    rng, chance = random.Random(3), random.Random(5).random
    provider, jobs, batch, spacing = Provider(), 2_000, 20, 0.2
    ends = {
        f"j{i}": 60.0 if law == "all at once" else rng.lognormvariate(4.0, 0.6) for i in range(jobs)
    }
    late: dict[str, float] = {}

    async def main() -> None:
        for name, at in ends.items():
            provider.add(name, at=at)
        source = provider.source(batch=batch, spacing=spacing)
        async with make_poller(source, chance=chance, max_interval=30.0) as poller:
            handles = await poller.watch_many(list(ends), deadline=None)
            for handle in handles:
                event = await handle.result()
                late[handle.id] = event.elapsed - ends[handle.id]

    run_virtual(main)
    sweep = jobs / batch * spacing
    first = [len(ids) for _, ids in provider.asked[: jobs // batch]]
    assert sum(first) >= 0.95 * jobs
    if law == "all at once":
        assert max(late.values()) <= 1.15 * sweep
    assert sum(late.values()) / jobs <= 1.15 * sweep / 2


def test_news_of_a_look_is_what_a_step_makes_of_it() -> None:
    """A look that is no news makes nothing of the row; `step` asks the same question."""
    row = opening(
        module.NewJob(key=module.JobKey("p", "d", "a", "k", "j"), created_at=0.0), 1
    ).after
    quiet = Sighting(remote_id="j", phase=Phase.MISSING)
    assert step(row, quiet, at=1.0, looks=1, missing_for=59.9, grace=60.0) is None
    assert step(row, quiet, at=1.0, looks=1, missing_for=60.0, grace=60.0) is not None
