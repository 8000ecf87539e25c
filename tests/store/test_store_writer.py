"""The threads behind the SQLite store: group commit, waiting, cancelling, ending."""

# ruff: noqa: D102, D103  # helpers say it by their names

import asyncio
import gc
import sqlite3
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import anyio
import pytest
from store_words import A, changed, ended, everything, new
from test_store_file import HERE, ROOT, contents, opened

from pollers.store import _file
from pollers.store.base import StoreError
from pollers.store.sqlite import SqliteStore
from resilience.testing import run_virtual


@pytest.fixture(params=["asyncio", "trio"])
def run(request):
    """Runs an async function on the one and on the other."""
    return lambda main, *args: anyio.run(main, *args, backend=request.param)


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("pollers")]


class Gate:
    """Keeps a thread of a store busy until it is opened."""

    def __init__(self) -> None:
        self.entered, self._open = threading.Event(), threading.Event()

    def __call__(self, _db) -> None:
        self.entered.set()
        assert self._open.wait(10)

    async def is_entered(self) -> None:
        while not self.entered.is_set():
            await anyio.sleep(0.001)

    def open(self) -> None:
        self._open.set()


def test_group_commit(run, tmp_path) -> None:
    """200 tasks that commit at once share a few COMMITs; each still has an event of its own."""

    async def main():
        store = await opened(tmp_path / "jobs.db")
        epoch = await store.acquire(A)
        jobs = await store.register(A, epoch, [new(f"VI{i}") for i in range(200)])
        statements = []
        await store._write(lambda db: db.set_trace_callback(statements.append))
        async with anyio.create_task_group() as tasks:
            for job in jobs:
                tasks.start_soon(store.commit, A, epoch, [ended(job)])
        assert await store.load_active(A) == []
        assert await store.head() == 400
        assert statements.count("COMMIT") <= 20
        await store.aclose()

    run(main)


def test_a_failure_in_a_group_is_alone(run, tmp_path) -> None:
    """Stale ones, fenced ones and nonsense fail; the others of the same transaction happen."""

    async def main():
        store = await opened(tmp_path / "jobs.db")
        epoch = await store.acquire(A)
        jobs = await store.register(A, epoch, [new(f"VI{i}") for i in range(30)])
        gate, told = Gate(), []

        async def one(number, job):
            stale, fenced = number % 3 == 1, number % 3 == 2
            move = ended(changed(job).after) if stale else ended(job)
            try:
                await store.commit(A, epoch + fenced, [move])
            except StoreError as error:
                told.append((number % 3, type(error).__name__))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store._write, gate)
            await gate.is_entered()
            for number, job in enumerate(jobs):
                tasks.start_soon(one, number, job)
            await anyio.wait_all_tasks_blocked()
            gate.open()
        assert sorted(told) == [(1, "StoreError")] * 10 + [(2, "Fenced")] * 10
        assert [job.rid for job in await store.load_active(A)] == [
            job.rid for number, job in enumerate(jobs) if number % 3
        ]
        await everything(store)
        await store.aclose()

    run(main)


@pytest.mark.parametrize(("refused", "nth"), [("BEGIN IMMEDIATE", 1), ("COMMIT", 2)])
def test_a_transaction_that_fails_fails_all(refused, nth, run, tmp_path, monkeypatch) -> None:
    """Nobody's request is to blame, so none of them is tried again, and none has happened."""
    left = {}  # executions, with the one that fails

    class Broken(sqlite3.Connection):
        def execute(self, sql, *given):
            left[sql] = left.get(sql, 0) - 1
            if left[sql] == 0:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *given)

    def connect(path, mode):
        uri = f"{path.as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, factory=Broken)

    async def main():
        monkeypatch.setattr(_file, "connect", connect)
        store = await opened(tmp_path / "jobs.db")
        monkeypatch.undo()
        gate, failed = Gate(), []

        async def one(sink):
            try:
                await store.ack(sink, 1)
            except sqlite3.OperationalError:
                failed.append(sink)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store._write, gate)
            await gate.is_entered()
            left[refused] = nth  # the gate's own COMMIT comes first
            tasks.start_soon(one, "a")
            tasks.start_soon(one, "b")
            await anyio.wait_all_tasks_blocked()
            gate.open()
        assert sorted(failed) == ["a", "b"]
        assert [await store.acked(sink) for sink in ("a", "b")] == [None, None]
        await store.ack("a", 1)
        assert await store.acked("a") == 1
        await store.aclose()

    run(main)


def test_readers_never_wait_for_the_writer(run, tmp_path) -> None:
    """In the middle of a transaction they see what was committed before it, and the loop goes on."""

    async def main():
        store = await opened(tmp_path / "jobs.db")
        epoch = await store.acquire(A)
        (job,) = await store.register(A, epoch, [new("VI1")])
        gate = Gate()

        def half(db):
            db.execute("UPDATE job SET looks = 99")
            gate(db)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store._write, half)
            await gate.is_entered()
            assert await store.jobs() == [job]
            reader = await opened(tmp_path / "jobs.db", read_only=True)
            assert await reader.jobs() == [job]
            await reader.aclose()
            gate.open()
        assert [one.looks for one in await store.jobs()] == [99]
        await store.aclose()

    run(main)


def test_a_cancelled_waiter(run, tmp_path) -> None:
    """What had not begun does not happen, what had does; the thread and the others don't mind."""

    async def main():
        store = await opened(tmp_path / "jobs.db")
        epoch = await store.acquire(A)
        gate = Gate()

        async def begun():
            with scopes[0]:
                await store._write(
                    lambda db: (gate(db), db.execute("INSERT INTO sink VALUES ('begun', 1)"))
                )

        async def waiting():
            with scopes[1]:
                await store.ack("waiting", 1)

        scopes = [anyio.CancelScope(), anyio.CancelScope()]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begun)
            await gate.is_entered()
            tasks.start_soon(waiting)
            tasks.start_soon(store.register, A, epoch, [new("VI1")])
            await anyio.wait_all_tasks_blocked()
            for scope in scopes:
                scope.cancel()
            await anyio.wait_all_tasks_blocked()
            gate.open()
        assert [scope.cancelled_caught for scope in scopes] == [True, True]
        assert [await store.acked(name) for name in ("begun", "waiting")] == [1, None]
        assert len(await store.jobs()) == 1
        await store.aclose()

    run(main)


def test_closing_finishes_what_was_begun(run, tmp_path) -> None:
    """Whoever waits gets an answer; then both threads are gone, even if the closer is cancelled."""

    async def main():
        store = await opened(tmp_path / "jobs.db")
        assert sorted(threads()) == ["pollers store reader", "pollers store writer"]
        epoch = await store.acquire(A)
        gate = Gate()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store._write, gate)
            await gate.is_entered()
            tasks.start_soon(store.register, A, epoch, [new("VI1")])
            await anyio.wait_all_tasks_blocked()
            gate.open()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await store.aclose()
        assert threads() == []
        assert len((await contents(tmp_path / "jobs.db"))["jobs"]) == 1

    run(main)


@pytest.mark.parametrize("other", ["asyncio", "trio"])
def test_a_loop_that_is_gone(run, other, tmp_path) -> None:
    """Waiters of a loop that ended are no trouble; another loop goes on with the same store."""
    store, gate = SqliteStore(tmp_path / "jobs.db"), Gate()

    async def first():
        await store.open()
        with anyio.move_on_after(0.01):
            await store._write(gate)

    async def second():
        assert await store.acquire(A) == 1
        await store.aclose()

    run(first)
    gate.open()
    anyio.run(second, backend=other)
    assert threads() == []


def test_nothing_is_kept_while_a_thread_waits(tmp_path) -> None:
    """A large answer is the caller's alone."""

    class Answer:
        pass

    async def main():
        store = await opened(tmp_path / "jobs.db")
        found = weakref.ref(await store._read(lambda _db: Answer()))
        for _ in range(200):
            gc.collect()
            if found() is None:
                break
            await anyio.sleep(0.005)  # the thread may be about to let go of it
        assert found() is None
        await store.aclose()

    anyio.run(main)


def test_virtual_time_waits_for_the_threads(tmp_path) -> None:
    """A timer of an hour does not go off because a disk sync takes a while."""

    async def main():
        store = await opened(tmp_path / "jobs.db")
        loop = asyncio.get_running_loop()
        loop.call_later(3600, lambda: None)
        start = loop.time()
        epoch = await store.acquire(A)
        for number in range(20):
            await store.register(A, epoch, [new(f"VI{number}")])
            await store.head()
        assert loop.time() == start
        await store.aclose()

    run_virtual(main)


@pytest.mark.slow
def test_leaving_without_closing(tmp_path) -> None:
    """A program that forgets to close ends at once, and its file is fine."""
    program = (
        "import asyncio, test_store_file as t\n"
        "async def main():\n"
        "    store = await t.opened(t.Path('jobs.db'))\n"
        "    await store.acquire(t.A)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, timeout=20, capture_output=True, text=True,
        env={"PYTHONPATH": f"{HERE}:{ROOT}"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")

    async def main():
        store = await opened(Path(tmp_path, "jobs.db"))
        assert await store.acquire(A) == 2
        await store.aclose()

    anyio.run(main)
