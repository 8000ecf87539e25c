"""The store in one SQLite file: what people use.

* **One writer thread, group commit.**  A commit costs one disk sync, for one change or for
  hundreds.  While a sync runs, requests gather in a queue; the thread then runs them all in one
  transaction, and wakes their waiters after the COMMIT.  If a request fails, that is rolled back and
  each runs in a transaction of its own; a COMMIT that fails fails them all, and none has happened.
* **Readers have a connection of their own** and see what was committed; with a write-ahead log they
  wait for nobody.  ``read_only=True`` gives a store that only reads, beside one that writes.
* **Full sync.**  What was acknowledged survives a power cut.  With ``synchronous="NORMAL"`` it
  survives ``kill -9`` only: after a power cut the last commits may be missing.
* **Who may write** is decided by a lock beside the file and, within, by the shard's epoch.

``_file`` knows the file, ``_rows`` and ``_marks`` the tables, ``_thread`` how tasks wait for a thread.
"""

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio

from pollers._core.model import (
    EventRow,
    Job,
    JobKey,
    NewJob,
    Notice,
    ParkedRow,
    Shard,
    State,
    Transition,
)
from pollers.store import _file, _marks, _rows
from pollers.store._thread import Call, Worker, ask
from pollers.store.base import BadStore, StoreError

T = TypeVar("T")

Synchronous = Literal["FULL", "NORMAL", "OFF"]


class SqliteStore:
    """Jobs and events in a file.

    Args:
        path: the file; it is created if it does not exist, its folder is not.
        synchronous: SQLite's setting: ``FULL`` survives a power cut, ``NORMAL`` and ``OFF`` only
            the end of the process.
        read_only: beside a writer; creates and changes nothing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "FULL",
        read_only: bool = False,
    ) -> None:
        if synchronous not in ("FULL", "NORMAL", "OFF"):
            raise ValueError(f"synchronous={synchronous!r}: expected FULL, NORMAL or OFF")
        self._path = Path(os.path.realpath(path))  # two names of a file must share one lock
        self._synchronous = synchronous
        self._read_only = read_only
        self._uuid: str | None = None
        self._writer: Worker | None = None
        self._reader: Worker | None = None

    @property
    def uuid(self) -> str:
        """Identity of the store; known once it was opened."""
        if self._uuid is None:
            raise StoreError(f"{self._path} was never opened")
        return self._uuid

    async def open(self) -> None:
        """Lock the file, see whose it is, create it if there is none."""
        if self._reader is not None:
            return
        with anyio.CancelScope(shield=True):
            try:
                if not self._read_only:
                    make = partial(_Writer, self._path, self._synchronous)
                    self._writer = Worker("pollers store writer", make)
                    await ask(self._writer, _file.uuid_of)
                kind = _Visitor if self._read_only else _Reader
                self._reader = Worker("pollers store reader", partial(kind, self._path))
                self._uuid = await ask(self._reader, _file.uuid_of)
            except BaseException:
                await self.aclose()
                raise

    async def aclose(self) -> None:
        """Finish what was begun, put the log into the file, unlock it."""
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        with anyio.CancelScope(shield=True):
            for worker in (reader, writer):  # the last one to leave removes the log
                if worker is not None:
                    await worker.stop()

    async def acquire(self, shard: Shard) -> int:
        """The next epoch of a shard."""
        return await self._write(lambda db: _rows.acquire(db, shard))

    async def register(
        self, shard: Shard, epoch: int, jobs: Sequence[NewJob], *, again: bool = False
    ) -> list[Job]:
        """Insert what is not known."""
        return await self._write(lambda db: _rows.register(db, shard, epoch, jobs, again=again))

    async def load_active(
        self, shard: Shard, *, kind: str | None = None, after: int = 0, limit: int | None = None
    ) -> list[Job]:
        """What has not ended."""
        return await self._read(lambda db: _rows.load_active(db, shard, kind, after, limit))

    async def rows(self, rids: Sequence[int]) -> list[Job]:
        """Some rows."""
        return await self._read(lambda db: _rows.rows(db, rids))

    async def commit(
        self,
        shard: Shard,
        epoch: int,
        transitions: Sequence[Transition],
        notices: Sequence[Notice] = (),
        blobs: Mapping[str, bytes] | None = None,
    ) -> list[EventRow]:
        """Apply it all, or nothing."""
        return await self._write(
            lambda db: _rows.commit(
                db, shard, epoch, transitions, notices=notices, blobs=blobs or {}
            )
        )

    async def blobs(self, shard: Shard) -> dict[str, bytes]:
        """What was remembered besides."""
        return await self._read(lambda db: _rows.blobs(db, shard))

    async def events(self, after: int, limit: int = 500) -> list[EventRow]:
        """Events behind a number."""
        return await self._read(lambda db: _rows.events(db, after, limit))

    async def head(self) -> int:
        """The last sequence number."""
        return await self._read(_rows.head)

    async def last_event(self, rid: int) -> EventRow | None:
        """The newest event of a job."""
        return await self._read(lambda db: _rows.last_event(db, rid))

    async def ack(self, sink: str, seq: int, parked: Mapping[int, str] | None = None) -> None:
        """Never goes back."""
        await self._write(lambda db: _marks.ack(db, sink, seq, parked or {}))

    async def acked(self, sink: str) -> int | None:
        """Where a sink is."""
        return await self._read(lambda db: _marks.acked(db, sink))

    async def parked(self, sink: str | None = None) -> list[ParkedRow]:
        """What was put aside."""
        return await self._read(lambda db: _marks.parked(db, sink))

    async def unpark(self, sink: str, seq: int) -> None:
        """It was taken after all."""
        await self._write(lambda db: _marks.unpark(db, sink, seq))

    async def prune(self, before: float, limit: int = 200) -> int:
        """Delete some of what is old and done with; the pages are used again, the file stays."""
        return await self._write(lambda db: _marks.prune(db, before, limit))

    async def pruned(self) -> int:
        """The largest sequence number that was deleted."""
        return await self._read(_marks.pruned)

    async def find(self, key: JobKey) -> Job | None:
        """The newest row of a key."""
        return await self._read(lambda db: _rows.find(db, key))

    async def jobs(
        self, *, shard: Shard | None = None, state: State | None = None, limit: int | None = None
    ) -> list[Job]:
        """Rows in the order they were made."""
        return await self._read(lambda db: _rows.jobs(db, shard, state, limit))

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self._reader is None:
            raise StoreError(f"{self._path} is not open")
        return await ask(self._reader, function)

    async def _write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self._read_only:
            raise StoreError(f"{self._path} was opened for reading only")
        if self._writer is None:
            raise StoreError(f"{self._path} is not open")
        return await ask(self._writer, function)


class _Writer:
    """The room of the thread that writes."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._path = path
        _file.look_around(path)
        self._lock = _file.WriterLock(path)
        try:
            self._db = _file.open_for_writing(path, synchronous)
        except BaseException:
            self._lock.release()
            raise

    def perform(self, calls: list[Call]) -> None:
        """All of them in one transaction; if one fails, each in a transaction of its own."""
        if calls and not self._together(calls):
            for call in calls:
                self._together([call])

    def _together(self, calls: list[Call]) -> bool:
        """Settle them with one transaction; False, and nothing has happened, if one of several fails.

        Without savepoints: for them SQLite copies every page that is changed, and commits took half as
        long again.
        """
        answers: list[Any] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for call in calls:
                answers.append(call.function(self._db))  # noqa: PERF401  # those before a failure count
            self._db.execute("COMMIT")
        except Exception as wrong:  # noqa: BLE001  # whoever waits is told
            # else SQLite gave up by itself, on a full disk for instance
            is_one_of_them = self._db.in_transaction and len(answers) < len(calls)
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            if is_one_of_them and len(calls) > 1:
                return False
            answers = [_Failure(wrong)] * len(calls)
        for call, answer in zip(calls, answers, strict=True):
            _settle(self._path, call, answer)
        return True

    def close(self) -> None:
        """Put the log into the file, and let the next one write."""
        try:
            with suppress(sqlite3.Error):  # what was committed is as safe in the log
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()
        finally:
            self._lock.release()


class _Reader:
    """The room of the thread that reads beside a writer of the same process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = _file.connect(path, "ro")

    def perform(self, calls: list[Call]) -> None:
        """One by one."""
        for call in calls:
            try:
                answer = call.function(self._db)
            except Exception as wrong:  # noqa: BLE001  # the caller's
                answer = _Failure(wrong)
            _settle(self._path, call, answer)

    def close(self) -> None:
        """Leave."""
        self._db.close()


class _Visitor:
    """The room of a store that only reads.

    A connection to a file without a log would create one, even to read.  So while there is none,
    each read has a connection that takes the file for immutable, and is done again if it was not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        _file.look_around(path)
        if not _file.inspect(path):
            what = "is empty" if path.exists() else "does not exist"
            raise BadStore(f"{path}: the file {what}, so there is no store to read")

    def perform(self, calls: list[Call]) -> None:
        """One by one."""
        for call in calls:
            try:
                answer = self._look(call)
            except Exception as wrong:  # noqa: BLE001  # the caller's
                answer = _Failure(wrong)
            _settle(self._path, call, answer)

    def _look(self, call: Call) -> Any:
        while not _file.wal_size(self._path):
            before = self._stamp()
            with closing(_file.connect(self._path, "ro&immutable=1")) as db:
                try:
                    answer = call.function(db)
                except sqlite3.Error:
                    if self._stamp() == before:
                        raise
                    continue
            if self._stamp() == before:
                return answer
        if self._db is None:
            self._db = _file.connect(self._path, "ro")
            _file.identify(self._path, self._db)
        return call.function(self._db)

    def _stamp(self) -> tuple[int, ...]:
        found = self._path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns, _file.wal_size(self._path)

    def close(self) -> None:
        """Leave."""
        if self._db is not None:
            self._db.close()


class _Failure:
    """An answer that is an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _settle(path: Path, call: Call, answer: Any) -> None:
    if not isinstance(answer, _Failure):
        call.future.set_result(answer)
    elif isinstance(answer.error, sqlite3.Error):
        error = _file.explain(path, answer.error)
        error.__cause__ = answer.error
        call.future.set_exception(error)
    else:
        call.future.set_exception(answer.error)
