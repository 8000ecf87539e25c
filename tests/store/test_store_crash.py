"""Durability: what was acknowledged is there after any crash, and nothing is there by half."""

# ruff: noqa: D102, D103  # helpers say it by their names

import random
import resource
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from store_words import A, changed, ended, everything, named, new, notice, submitting
from test_store_file import contents, on_loop, opened, process

from pollers.store import BadStore, _file
from pollers.store.sqlite import SqliteStore


def copy(path: Path, to: Path) -> Path:
    """What a crash would leave at this moment: the file and its logs, without the index."""
    to.mkdir()
    for end in ("", "-wal", "-journal"):
        if (one := Path(f"{path}{end}")).exists():
            shutil.copyfile(one, to / one.name)
    return to / path.name


async def begun(path: Path, *ids: str) -> tuple[SqliteStore, int, list]:
    store = await opened(path)
    epoch = await store.acquire(A)
    jobs = [submitting(name) if name.startswith("rp-") else new(name) for name in ids]
    return store, epoch, await store.register(A, epoch, jobs)


def changes(epoch, jobs):
    """The two calls that write much, and the two of a submit, each as a function of the store."""
    big = "x" * 5000
    given = [changed(jobs[0]), ended(changed(jobs[0]).after), ended(jobs[1])]
    fresh = [new(f"N{i}", data=big) for i in range(8)]
    return {
        "register": lambda store: store.register(A, epoch, [*fresh, new("VI1")], again=True),
        "commit": lambda store: store.commit(
            A, epoch, given, [notice(), notice("resumed")], {"a": big.encode(), "b": b""}
        ),
        "intend": lambda store: store.register(A, epoch, [submitting("rp-2", data=big)]),
        "name": lambda store: store.commit(A, epoch, [named(jobs[2], "VI3")]),
    }


@pytest.mark.parametrize("name", ["register", "commit", "intend", "name"])
def test_crash_at_every_statement(name, tmp_path) -> None:
    """Reopened from what the disk held then, all of the call is there or nothing."""

    async def main():
        store, epoch, jobs = await begun(tmp_path / "jobs.db", "VI1", "VI2", "rp-1")
        before = await everything(store)
        crashes, statements = [], []

        def crash(statement):
            statements.append(statement.split()[0])
            crashes.append(copy(tmp_path / "jobs.db", tmp_path / f"crash {len(crashes)}"))

        def watch(db):  # with next to no cache, pages are in the log long before the COMMIT
            db.execute("PRAGMA cache_size = 1")
            db.set_trace_callback(crash)

        await store._write(watch)
        await changes(epoch, jobs)[name](store)
        after = await everything(store)
        crash("the end")
        assert statements[-2:] == ["COMMIT", "the"]
        assert {"BEGIN", "INSERT"} <= set(statements)
        found = [await contents(one) for one in crashes]
        assert found == [before] * (len(found) - 1) + [after]
        await store.aclose()

    anyio.run(main)


@pytest.mark.parametrize("name", ["register", "commit", "intend", "name"])
def test_abort_at_every_step(name, tmp_path) -> None:
    """SQLite is stopped at one point after another: nothing happened, and the store goes on."""

    async def main():
        store, epoch, jobs = await begun(tmp_path / "jobs.db", "VI1", "VI2", "rp-1")
        before = await everything(store)
        call = changes(epoch, jobs)[name]
        left, aborted = [0], 0

        def tick():
            left[0] -= 1
            return left[0] == 0

        await store._write(lambda db: db.set_progress_handler(tick, 7))
        for point in range(1, 10_000):
            left[0] = point
            try:
                await call(store)
            except BadStore:
                aborted += 1
                assert await everything(store) == before
            else:
                break
        assert aborted > 20
        after = await everything(store)
        assert len(after["events"]) > len(before["events"])
        await store.aclose()
        assert await contents(tmp_path / "jobs.db") == after

    anyio.run(main)


def test_crash_at_every_statement_of_the_creation(tmp_path) -> None:
    """The file is empty or a store; it opens either way."""
    crashes = []

    def crash(_statement):
        crashes.append(copy(tmp_path / "jobs.db", tmp_path / f"crash {len(crashes)}"))

    with closing(_file.connect(tmp_path / "jobs.db", "rwc")) as db:
        db.execute("PRAGMA cache_size = 1")
        db.set_trace_callback(crash)
        _file.create(db)
        db.execute("PRAGMA journal_mode = WAL")
        crash("")
    assert any(Path(f"{one}-journal").exists() for one in crashes)
    for one in crashes:
        assert anyio.run(contents, one)["head"] == 0
    assert len(crashes) > 10


async def history(path: Path) -> tuple[SqliteStore, list[dict]]:
    """A store whose log holds many commits, and what was in it after each of them."""
    store = await opened(path)
    held = [await everything(store)]

    async def note(call):
        answer = await call
        held.append(await everything(store))
        return answer

    epoch = await note(store.acquire(A))
    for round_ in range(4):
        names = [f"VI{i}" for i in range(round_ + 1)]
        jobs = await note(
            store.register(A, epoch, [new(n, data="x" * 900) for n in names], again=True)
        )
        await note(store.commit(A, epoch, [changed(job) for job in jobs], [notice()]))
        await note(
            store.commit(A, epoch, [ended(changed(j).after) for j in jobs], blobs={"a": b"1"})
        )
        await note(store.ack("hook", round_))
    return store, held


@on_loop
async def test_log_cut_anywhere(tmp_path) -> None:
    """Cut at every frame and at 30 random bytes, it opens with the first so many commits."""
    path = tmp_path / "jobs.db"
    store, held = await history(path)
    crashed = copy(path, tmp_path / "crashed")
    await store.aclose()
    log = Path(f"{crashed}-wal").read_bytes()
    (size,) = struct.unpack(">I", log[8:12])
    cuts = {0, len(log), *range(32, len(log), 24 + size)}
    cuts |= {random.Random(7).randrange(len(log)) for _ in range(30)}
    number = -1
    for count, cut in enumerate(sorted(cuts)):
        one = copy(crashed, tmp_path / f"cut {count}")
        Path(f"{one}-wal").write_bytes(log[:cut])
        reached = held.index(await contents(one, read_only=bool(count % 2)))
        assert await contents(one) == held[reached]
        assert reached >= number
        number = reached
    assert (number, len(cuts) > 60) == (len(held) - 1, True)


@on_loop
async def test_log_with_a_flipped_bit(tmp_path) -> None:
    """What comes behind the damage is not there; what comes before is."""
    path = tmp_path / "jobs.db"
    store, held = await history(path)
    crashed = copy(path, tmp_path / "crashed")
    await store.aclose()
    log = bytearray(Path(f"{crashed}-wal").read_bytes())
    for count, place in enumerate(range(0, len(log), len(log) // 12)):
        one = copy(crashed, tmp_path / f"flipped {count}")
        log[place] ^= 0x10
        Path(f"{one}-wal").write_bytes(log)
        log[place] ^= 0x10
        assert await contents(one) in held


@pytest.mark.slow
def test_kill(tmp_path) -> None:
    """``kill -9`` of a process that commits: everything it acknowledged is there, nothing by half."""
    path = tmp_path / "jobs.db"
    chance = random.Random(3)
    for _ in range(5):
        writer = process("write", path)
        lines = [writer.stdout.readline() for _ in range(chance.randrange(1, 120))]
        writer.kill()
        rest, _ = writer.communicate()
        lines += rest.splitlines(keepends=True)
        acknowledged = [tuple(map(int, one.split())) for one in lines if one.endswith("\n")]
        held = anyio.run(lambda: contents(path, read_only=True))
        assert anyio.run(lambda: contents(path)) == held
        seqs = {event.seq: (event.rid, event.version) for event in held["events"]}
        assert [one for one in acknowledged if seqs.get(one[0]) != one[1:]] == []
        assert len(acknowledged) >= len(lines) - 1


# --- a full disk --------------------------------------------------------------------------------


@on_loop
async def test_a_full_disk_within_a_call(tmp_path) -> None:
    """The caller is told, others of the same transaction are served, and room makes it work again."""
    store, epoch, (job,) = await begun(tmp_path / "jobs.db", "VI1")
    pages = await store._write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await store._write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 1}") and None)
    before = await everything(store)
    big = [new(f"N{i}", data="x" * 5000) for i in range(50)]
    with pytest.raises(BadStore, match=r"jobs\.db: the disk is full; make room and try again"):
        await store.register(A, epoch, big)
    assert await everything(store) == before
    await store.commit(A, epoch, [changed(job)])
    await store._write(lambda db: db.execute("PRAGMA max_page_count = 100000") and None)
    assert len(await store.register(A, epoch, big)) == 50
    held = await everything(store)
    await store.aclose()
    assert await contents(tmp_path / "jobs.db") == held


@on_loop
async def test_a_full_disk_at_the_commit(tmp_path) -> None:
    """All that were to be committed together are told, none happened; then all can be done again."""
    path = tmp_path / "jobs.db"
    store, epoch, _ = await begun(path, "VI1")
    before = await everything(store)
    told = []

    async def one(number):
        try:
            await store.register(A, epoch, [new(f"N{number}", data="x" * 5000)])
        except BadStore as error:
            told.append(error)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{path}-wal").stat().st_size + 5000, hard))
    try:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (len(told), len({id(error) for error in told})) == (20, 20)
    assert [one for one in told if f"{path}: " not in str(one)] == []
    assert "nothing of this was written" in str(told[0])
    assert await everything(store) == before
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(one, number)
    assert (len(told), len(await store.jobs())) == (20, 21)
    await store.aclose()
    assert (await contents(path))["head"] == 21


@on_loop
async def test_a_full_disk_at_the_creation(tmp_path) -> None:
    """It says so, and the same path works once there is room."""
    path = tmp_path / "jobs.db"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(BadStore, match=r"jobs\.db: .*nothing of this was written"):
            await opened(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (await contents(path))["head"] == 0


@on_loop
async def test_closing_on_a_full_disk(tmp_path) -> None:
    """What can't be put into the file stays in the log, and nobody is told: nothing is lost."""
    path = tmp_path / "jobs.db"
    store, epoch, _ = await begun(path, *(f"VI{i}" for i in range(300)))
    held = await everything(store)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        await store.aclose()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _file.wal_size(path) > 0
    assert await contents(path, read_only=True) == held
    assert await contents(path) == held
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
