"""A real file on a full disk, or locked by another program: a clear error, and nothing is lost."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from pollers_kit import NEVER, Provider, kinds, make_poller, stop_of, take

from pollers import BadStore, Event, JobSucceeded, StoreBusy
from pollers.store import _file
from pollers.store.sqlite import SqliteStore
from resilience.testing import run_virtual

BIG = "x" * 20_000


async def allow(store: SqliteStore, *, more: int) -> None:
    """So many pages from now on: SQLite then answers as on a full disk (SQLITE_FULL)."""
    pages = await store._write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await store._write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + more}") and None)


def test_a_disk_that_is_full_when_jobs_are_watched(tmp_path: Path) -> None:
    """Whoever wants to watch is told; what is watched already goes on, and so does he with room."""
    provider = Provider()

    async def main() -> None:
        store = SqliteStore(tmp_path / "jobs.db")
        provider.add("small", at=5.0)
        async with make_poller(provider.source(batch=9), store=store) as poller:
            job = await poller.watch("small")
            await allow(store, more=4)
            names = [provider.add(f"j{i}", at=20.0) for i in range(9)]
            with pytest.raises(BadStore, match=r"jobs\.db: the disk is full; make room"):
                await poller.watch_many([(name, BIG) for name in names])
            assert isinstance(await job.result(), JobSucceeded)
            assert [job.key.remote_id for job in await poller.jobs()] == ["small"]
            await allow(store, more=1000)
            for job in await poller.watch_many([(name, BIG) for name in names]):
                assert isinstance(await job.result(), JobSucceeded)

    run_virtual(main)


def test_a_disk_that_is_full_when_a_job_ends(tmp_path: Path) -> None:
    """The poller stops and says why, nobody was told what isn't stored, and the next run tells it."""
    provider = Provider()
    told: list[Event] = []

    async def main() -> None:
        provider.add("a", at=5.0)
        provider.add("b", at=NEVER)
        source = provider.source(batch=9)
        store = SqliteStore(tmp_path / "jobs.db")
        async with make_poller(source, store=store, sinks=[told.append]) as poller:
            job, _ = await poller.watch_many([("a", BIG), ("b", BIG)])
            await anyio.sleep(3.0)
            await allow(store, more=1)
            stopped = await stop_of(job.result())
            assert isinstance(stopped.__cause__, BadStore)
            assert "jobs.db: the disk is full; make room and try again" in str(stopped)
        before = kinds(told)
        assert before == ["JobWatching", "JobWatching", "JobChanged", "JobChanged"]
        async with make_poller(source, store=tmp_path / "jobs.db", sinks=[told.append]) as poller:
            ended = await (await poller.watch("a")).result()
            assert isinstance(ended, JobSucceeded)
            assert ended.user_data == BIG
            everything = await take(poller.events(after=""), 5)
        assert [event.id for event in told] == [event.id for event in everything]
        assert kinds(told) == [*before, "JobSucceeded"]

    run_virtual(main)


def test_a_file_that_another_program_has_locked(tmp_path: Path) -> None:
    """A backup, or somebody's shell: the poller stops and says so; when it is gone, all is there."""
    provider = Provider()
    path = tmp_path / "jobs.db"

    async def main() -> None:
        provider.add("a", at=5.0)
        store = SqliteStore(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            async with make_poller(provider.source(), store=store) as poller:
                job = await poller.watch("a")
                await anyio.sleep(3.0)
                await store._write(lambda db: db.execute("PRAGMA busy_timeout = 1") and None)
                other.execute("BEGIN IMMEDIATE")
                stopped = await stop_of(job.result())
                assert isinstance(stopped.__cause__, StoreBusy)
                assert "jobs.db: another program has locked it" in str(stopped)
            other.execute("ROLLBACK")
        async with make_poller(provider.source(), store=path) as poller:
            assert isinstance(await (await poller.watch("a")).result(), JobSucceeded)
            events = await take(poller.events(after=""), 3)
            assert kinds(events) == ["JobWatching", "JobChanged", "JobSucceeded"]

    run_virtual(main)


def test_a_file_that_is_locked_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said before anything is asked for, and the next try has everything."""
    provider = Provider()
    path = tmp_path / "jobs.db"
    connect = _file.connect

    def impatient(*args: Any) -> sqlite3.Connection:
        db = connect(*args)
        db.execute("PRAGMA busy_timeout = 1")
        return db

    monkeypatch.setattr(_file, "connect", impatient)

    async def live() -> Any:
        async with make_poller(provider.source(), store=path) as poller:
            return await (await poller.watch("a")).result()

    async def main() -> None:
        provider.add("a", at=0.0)
        ended = await live()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            asked = len(provider.asked)
            with pytest.raises(StoreBusy, match=r"jobs\.db: another program has locked it"):
                await live()
            assert len(provider.asked) == asked
            other.execute("ROLLBACK")
        assert await live() == ended

    run_virtual(main)
