"""The file: whose it is, who may write to it, who may read it, and what is said when it is bad."""

# ruff: noqa: D102, D103  # helpers say it by their names

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path

import anyio
import pytest
from store_words import A, changed, ended, everything, new

from pollers.store import BadStore, StoreBusy
from pollers.store._file import APPLICATION_ID
from pollers.store.base import StoreError
from pollers.store.sqlite import SqliteStore

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def process(what: str, path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, HERE / "store_process.py", what, path], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def kill(other: "subprocess.Popen[str]") -> None:
    other.send_signal(signal.SIGKILL)
    other.communicate()


def fill(path: Path, count: int = 3) -> dict:
    """A closed store with some jobs; what is in it."""

    async def main():
        store = SqliteStore(path)
        await store.open()
        epoch = await store.acquire(A)
        jobs = await store.register(A, epoch, [new(f"VI{i}") for i in range(count)])
        await store.commit(A, epoch, [ended(jobs[0])], blobs={"a": b"1"})
        before = await everything(store)
        await store.aclose()
        return before

    return anyio.run(main)


async def opened(path: Path, **options) -> SqliteStore:
    store = SqliteStore(path, **options)
    await store.open()
    return store


async def contents(path: Path, **options) -> dict:
    store = await opened(path, **options)
    try:
        return await everything(store)
    finally:
        await store.aclose()


def listing(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


def on_loop(test):
    """An async test that asyncio's and trio's plugins leave alone."""

    @wraps(test)
    def run(tmp_path):
        anyio.run(test, tmp_path)

    del run.__wrapped__
    return run


# --- whose file it is ---------------------------------------------------------------------------


def other_application(path):
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA application_id = 7; CREATE TABLE mine (x)")


def plain_sqlite(path):
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA journal_mode = WAL; CREATE TABLE mine (x)")


def version(number):
    def make(path):
        fill(path)
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {number}")

    return make


def cut_off(path):
    fill(path, 500)
    os.truncate(path, path.stat().st_size // 2)


BAD = {
    "another application's": (
        other_application,
        ["another application", "0x7", hex(APPLICATION_ID)],
    ),
    "a plain SQLite file": (plain_sqlite, ["another application", "0x0"]),
    "of a newer version": (version(4), ["version 4", "expected 3", "newer release"]),
    "of an older version": (version(2), ["version 2", "expected 3"]),
    "a text": (lambda path: path.write_text("hello\n" * 1000), ["not a SQLite file"]),
    "a short text": (lambda path: path.write_text("x"), ["not a SQLite file"]),
    "zeros": (lambda path: path.write_bytes(bytes(8192)), ["not a SQLite file"]),
    "cut off": (cut_off, ["the file is damaged", "restore a copy"]),
    "a folder": (lambda path: path.mkdir(), ["folder"]),
}


@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
@pytest.mark.parametrize("name", list(BAD))
def test_bad_file(name, read_only, tmp_path) -> None:
    """The message names the file and what was found; nothing is changed, made or left behind."""
    make, words = BAD[name]
    path = tmp_path / "jobs.db"
    make(path)
    before = listing(tmp_path)
    with pytest.raises(BadStore) as caught:
        anyio.run(lambda: opened(path, read_only=read_only))
    assert [word for word in [str(path), *words] if word not in str(caught.value)] == []
    assert listing(tmp_path) == before


@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
def test_missing_folder(read_only, tmp_path) -> None:
    """A folder isn't made: its name may be a slip."""
    path = tmp_path / "nowhere" / "jobs.db"
    with pytest.raises(BadStore, match=r"nowhere/jobs\.db: the folder .*nowhere does not exist"):
        anyio.run(lambda: opened(path, read_only=read_only))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("empty", [False, True])
def test_readers_need_a_store(empty, tmp_path) -> None:
    """To a reader a missing or empty file is an error, and stays missing or empty."""
    path = tmp_path / "jobs.db"
    if empty:
        path.touch()
    with pytest.raises(BadStore, match=r"jobs\.db: the file (is empty|does not exist)"):
        anyio.run(lambda: opened(path, read_only=True))
    assert listing(tmp_path) == ({"jobs.db": b""} if empty else {})


@on_loop
async def test_an_empty_file_becomes_a_store(tmp_path) -> None:
    """As ``mktemp`` makes them."""
    path = tmp_path / "jobs.db"
    path.touch()
    assert (await contents(path))["head"] == 0
    assert sorted(listing(tmp_path)) == ["jobs.db"]


@on_loop
async def test_any_name_will_do(tmp_path) -> None:
    """Also one that means something in a URI, and a symbolic link."""
    path = tmp_path / "a b?mode=memory#%41é.db"
    await contents(path)
    assert sorted(listing(tmp_path)) == [path.name]
    link = tmp_path / "link.db"
    link.symlink_to(path)
    store = await opened(path)
    with pytest.raises(StoreBusy):
        await opened(link)
    await store.aclose()
    assert (await opened_uuid(link)) == store.uuid


async def opened_uuid(path) -> str:
    store = await opened(path)
    await store.aclose()
    return store.uuid


@contextmanager
def nobody():
    """What root may do is no test: act as somebody else, in a folder that everybody may enter."""
    folder = tempfile.mkdtemp(prefix="pollers-")
    Path(folder).chmod(0o755)
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, 65534, -1)
            os.seteuid(65534)
        yield Path(folder)
    finally:
        if root:
            os.seteuid(0)
        Path(folder).chmod(0o755)
        shutil.rmtree(folder)


@on_loop
async def test_what_may_not_be_written(_tmp_path) -> None:
    """A file or a folder without permission is named; readers need none to write."""
    with nobody() as folder:
        path = folder / "jobs.db"
        await contents(path)
        path.chmod(0o444)
        with pytest.raises(
            BadStore, match=r"jobs\.db: the file can't be written; look at its perm"
        ):
            await opened(path)
        folder.chmod(0o555)
        with pytest.raises(BadStore, match=r"jobs\.db: can't write beside it: Permission denied"):
            await opened(path)
        assert (await contents(path, read_only=True))["head"] == 0
        folder.chmod(0o755)
        path.chmod(0o000)
        for read_only in (False, True):
            with pytest.raises(BadStore, match=r"jobs\.db: the file can't be opened"):
                await opened(path, read_only=read_only)


@on_loop
async def test_damage_is_told_when_it_is_met(tmp_path) -> None:
    """The check of the whole file is made then, and its finding is in the message."""
    path = tmp_path / "jobs.db"
    await anyio.to_thread.run_sync(fill, path, 2000)
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xff" * 40 * 4096)
    store = await opened(path)
    with pytest.raises(BadStore, match=r"jobs\.db: the file is damaged \(.+\).*restore a copy"):
        await everything(store)
    await store.aclose()


@on_loop
async def test_another_program_that_locks(tmp_path) -> None:
    """Not all programs ask for our lock: the message says that somebody has the file."""
    path = tmp_path / "jobs.db"
    store = await opened(path)
    await store._write(lambda db: db.execute("PRAGMA busy_timeout = 1") and None)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match=r"jobs\.db: another program has locked it"):
            await store.acquire(A)
        other.execute("ROLLBACK")
        assert await store.acquire(A) == 1
    await store.aclose()


# --- who writes ---------------------------------------------------------------------------------


@on_loop
async def test_one_writer(tmp_path) -> None:
    """A second one is told at once which process has the file; when it is closed, it is free."""
    path = tmp_path / "jobs.db"
    store = await opened(path)
    with pytest.raises(StoreBusy) as caught:
        await opened(path)
    assert f"{path}: process {os.getpid()} writes to it" in str(caught.value)
    assert await store.acquire(A) == 1
    await store.aclose()
    await (await opened(path)).aclose()
    assert sorted(listing(tmp_path)) == ["jobs.db"]


@pytest.mark.slow
def test_the_lock_dies_with_its_process(tmp_path) -> None:
    """Another process's lock names it; after its ``kill -9`` the next writer opens at once."""
    path = tmp_path / "jobs.db"
    before = fill(path)
    holder = process("hold", path)
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(StoreBusy, match=f"process {holder.pid} writes"):
        anyio.run(lambda: opened(path))
    assert anyio.run(lambda: contents(path, read_only=True)) == before
    kill(holder)
    assert anyio.run(lambda: contents(path)) == before


@pytest.mark.slow
def test_a_forked_child_does_not_keep_the_lock(tmp_path) -> None:
    """A pool of workers may outlive a process that was killed; the next writer opens at once."""
    path = tmp_path / "jobs.db"
    before = fill(path)
    holder = process("fork", path)
    assert holder.stdout.readline() == "open\n"  # the child's
    with pytest.raises(StoreBusy, match=f"process {holder.pid} writes"):
        anyio.run(lambda: opened(path))
    holder.kill()
    holder.wait()
    assert anyio.run(lambda: contents(path)) == before
    holder.communicate()


@on_loop
async def test_a_failed_opening_leaves_nothing(tmp_path) -> None:
    """The lock is given back, and the store can be opened when the cause is gone."""
    path = tmp_path / "jobs.db"
    path.write_text("not yours")
    store = SqliteStore(path)
    for _ in range(2):
        with pytest.raises(BadStore):
            await store.open()
    path.unlink()
    await store.open()
    await store.open()
    assert await store.acquire(A) == 1
    await store.aclose()
    await store.open()
    assert await store.acquire(A) == 2
    await store.aclose()


@on_loop
async def test_a_closed_store_says_so(tmp_path) -> None:
    """Before it was opened, and after it was closed; its identity it still knows."""
    store = SqliteStore(tmp_path / "jobs.db")
    with pytest.raises(StoreError, match="never opened"):
        _ = store.uuid
    for _ in range(2):
        with pytest.raises(StoreError, match=r"jobs\.db is not open"):
            await store.head()
        with pytest.raises(StoreError, match=r"jobs\.db is not open"):
            await store.acquire(A)
        await store.open()
        await store.aclose()
    assert len(store.uuid) == 32


def test_unknown_sync() -> None:
    """A slip in ``synchronous`` isn't found out by a power cut."""
    with pytest.raises(ValueError, match="FULL, NORMAL or OFF"):
        SqliteStore("jobs.db", synchronous="fulll")


# --- who reads ----------------------------------------------------------------------------------


@on_loop
async def test_readers_write_nothing(tmp_path) -> None:
    """Reading leaves the folder as it was, and whoever tries to write is refused."""
    path = tmp_path / "jobs.db"
    before = await anyio.to_thread.run_sync(fill, path)
    files = listing(tmp_path)
    store = await opened(path, read_only=True)
    assert await everything(store) == before
    for call in (
        store.acquire(A),
        store.register(A, 1, []),
        store.commit(A, 1, []),
        store.ack("x", 1),
    ):
        with pytest.raises(StoreError, match="for reading only"):
            await call
    assert listing(tmp_path) == files
    await store.aclose()
    assert listing(tmp_path) == files


@on_loop
async def test_a_reader_follows_writers(tmp_path) -> None:
    """It sees each commit when it is done, through openings, checkpoints and closings."""
    path = tmp_path / "jobs.db"
    await contents(path)
    reader = await opened(path, read_only=True)
    for round_ in range(3):
        writer = await opened(path)
        assert await reader.head() == 2 * round_
        epoch = await writer.acquire(A)
        (job,) = await writer.register(A, epoch, [new(f"VI{round_}")])
        assert await reader.find(job.key) == job
        await writer._write(lambda db: None)
        (row,) = await writer.commit(A, epoch, [ended(job)])
        assert await reader.events(2 * round_ + 1) == [row]
        await writer.aclose()
        assert await reader.events(2 * round_ + 1) == [row]
        assert await reader.load_active(A) == []
    await reader.aclose()


@on_loop
async def test_a_reader_that_was_overtaken_looks_again(tmp_path) -> None:
    """What was read without a lock counts only if the file is as it was before."""
    path = tmp_path / "jobs.db"
    await contents(path)
    reader = await opened(path, read_only=True)
    rounds = []

    def read(db):
        rounds.append(db.execute("SELECT count(*) FROM job").fetchone()[0])
        if len(rounds) == 1:
            fill(path)
        if len(rounds) == 2:
            fill(path, 4)
            raise sqlite3.DatabaseError("pages of two times")
        return rounds[-1]

    assert await reader._read(read) == 4
    assert rounds == [0, 3, 4]
    await reader.aclose()


@pytest.mark.slow
def test_a_reader_in_another_process(tmp_path) -> None:
    """Beside a writer that has it open, each acknowledged commit is seen."""
    path = tmp_path / "jobs.db"

    async def main():
        store = await opened(path)
        epoch = await store.acquire(A)
        for number in range(1, 4):
            await store.register(A, epoch, [new(f"VI{number}")])
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.stdout.readline() == f"{number} {number}\n"
        await store.aclose()
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "3 3\n"

    anyio.run(lambda: contents(path))
    other = process("read", path)
    try:
        anyio.run(main)
        other.communicate()
        assert other.returncode == 0
    finally:
        kill(other)


@on_loop
async def test_bad_values_are_the_callers(tmp_path) -> None:
    """Data that is no JSON is a TypeError, and nothing of the call happened."""
    store = await opened(tmp_path / "jobs.db")
    epoch = await store.acquire(A)
    with pytest.raises(TypeError):
        await store.register(A, epoch, [new("VI1"), new("VI2", data=object())])
    assert await store.jobs() == []
    (job,) = await store.register(A, epoch, [new("VI1")])
    assert (job.rid, len(await store.commit(A, epoch, [changed(job)]))) == (1, 1)
    await store.aclose()
