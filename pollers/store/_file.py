"""The file of the SQLite store: whose it is, who writes to it, and what went wrong with it.

* It is never opened but through SQLite.  POSIX locks belong to the process: closing any second
  handle of the file would drop the locks of a connection that is still in use.
* Whose file it is stands in its header.  We look at that before we touch anything, through a
  connection that only reads, and if there is no log, one that takes the file for ``immutable``:
  that neither locks, recovers nor creates anything.
* One process writes.  It holds a lock on ``<file>.lock``, which has its pid and dies with it.
"""

import contextlib
import os
import sqlite3
import sys
import uuid
from contextlib import closing
from pathlib import Path

from pollers.store.base import BadStore, StoreBusy

APPLICATION_ID = 0x706F6C6C
"""``poll`` in ASCII, in the header of each of our files."""
VERSION = 3

SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE shard (
        id INTEGER PRIMARY KEY, provider TEXT NOT NULL, deployment TEXT NOT NULL,
        account TEXT NOT NULL, bucket INTEGER NOT NULL, epoch INTEGER NOT NULL DEFAULT 0,
        notices INTEGER NOT NULL DEFAULT 0, UNIQUE (provider, deployment, account, bucket))""",
    """CREATE TABLE blob (
        shard INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (shard, name))""",
    """CREATE TABLE job (
        rid INTEGER PRIMARY KEY AUTOINCREMENT, shard INTEGER NOT NULL, kind TEXT NOT NULL,
        remote_id TEXT NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, status TEXT,
        cause TEXT, reason TEXT, created_at REAL NOT NULL, submitted_at REAL, deadline REAL,
        ended_at REAL, looks INTEGER NOT NULL, data TEXT, features TEXT,
        last_seq INTEGER NOT NULL)""",
    "CREATE INDEX job_key ON job (shard, kind, remote_id, rid)",
    # of what has not ended; telling that by the state would cost more with every row
    "CREATE INDEX job_live ON job (shard, kind, rid) WHERE ended_at IS NULL",
    "CREATE INDEX job_ended ON job (ended_at) WHERE ended_at IS NOT NULL",
    """CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, rid INTEGER NOT NULL, version INTEGER NOT NULL,
        shard INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, type TEXT NOT NULL,
        at REAL NOT NULL, data TEXT NOT NULL, prev INTEGER)""",
    "CREATE UNIQUE INDEX outbox_notice ON outbox (shard, version) WHERE rid = 0",
    "CREATE TABLE sink (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE parked (
        seq INTEGER NOT NULL, sink TEXT NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY (seq, sink)) WITHOUT ROWID""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit.  ``mode`` is SQLite's: ``rwc``, ``ro``, ``ro&immutable=1``."""
    return sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None)


def look(path: Path) -> sqlite3.Connection:
    """A connection that leaves no trace.  Only without a log is the file all there is to see."""
    return connect(path, "ro" if wal_size(path) else "ro&immutable=1")


def uuid_of(db: sqlite3.Connection) -> str:
    """Identity of the store."""
    return str(db.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()[0])


def look_around(path: Path) -> None:
    """See that a file can be here."""
    try:
        if path.is_dir():
            raise BadStore(f"{path}: this is a folder; a store is a file")
        if not path.parent.is_dir():
            raise BadStore(f"{path}: the folder {path.parent} does not exist; create it first")
    except OSError as wrong:
        raise BadStore(f"{path}: can't be looked at: {wrong.strerror}") from wrong


def inspect(path: Path) -> bool:
    """Whether there is a store here (else nothing, or an empty file).  Changes nothing.

    Raises:
        BadStore: something else is here.
    """
    try:
        if not path.stat().st_size:
            return False
        with closing(look(path)) as db:
            identify(path, db)
    except FileNotFoundError:
        return False
    except OSError as wrong:
        raise BadStore(f"{path}: can't be looked at: {wrong.strerror}") from wrong
    except sqlite3.Error as wrong:
        raise explain(path, wrong) from wrong
    return True


def identify(path: Path, db: sqlite3.Connection) -> None:
    """See that the file is ours and of our version."""
    if db.execute("PRAGMA page_count").fetchone()[0] == 0:  # less than a page is nothing to SQLite
        raise BadStore(f"{path}: not a SQLite file, expected a store of pollers")
    found = db.execute("PRAGMA application_id").fetchone()[0]
    if found != APPLICATION_ID:
        raise BadStore(
            f"{path}: a SQLite file of another application, not a store of pollers "
            f"(application_id {found:#x}, expected {APPLICATION_ID:#x})"
        )
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        hint = "; a newer release of pollers made it" if version > VERSION else ""
        raise BadStore(f"{path}: a store of version {version}, expected {VERSION}{hint}")


def open_for_writing(path: Path, synchronous: str) -> sqlite3.Connection:
    """The one connection that writes; a store is made if there is none.  Lock the file first."""
    if not Path(f"{path}-journal").exists():  # else a crash interrupted ``create``: see there
        inspect(path)
    try:
        db = connect(path, "rwc")
        try:
            _prepare(path, db, synchronous)
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as wrong:
        raise explain(path, wrong) from wrong
    return db


def _prepare(path: Path, db: sqlite3.Connection, synchronous: str) -> None:
    if db.execute("PRAGMA page_count").fetchone()[0] == 0:
        create(db)
    identify(path, db)
    journal = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if journal != "wal":
        raise BadStore(f"{path}: no write-ahead log is possible here (journal_mode {journal})")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("PRAGMA wal_autocheckpoint = 4000")
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE meta SET value = value")  # if it can't be written, fail now, not later
    db.execute("ROLLBACK")


def create(db: sqlite3.Connection) -> None:
    """All tables in one transaction, with a rollback journal: so the header is in the file itself.

    If a crash interrupts it, SQLite finds the journal and makes the file empty again.
    """
    db.execute("BEGIN EXCLUSIVE")
    for statement in SCHEMA:
        db.execute(statement)
    db.execute("INSERT INTO meta VALUES ('uuid', ?)", (uuid.uuid4().hex,))
    db.execute("COMMIT")


def wal_size(path: Path) -> int:
    """Bytes of the write-ahead log; 0 if everything is in the file itself."""
    try:
        return Path(f"{path}-wal").stat().st_size
    except OSError:
        return 0


def explain(path: Path, wrong: sqlite3.Error) -> Exception:
    """A StoreError that says which file, what was found and what to do."""
    code: int | None = getattr(wrong, "sqlite_errorcode", None)
    if code is None:
        return wrong  # a mistake of ours, nothing is wrong with the file
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusy(f"{path}: another program has locked it ({wrong})")
        case sqlite3.SQLITE_FULL:
            why = "the disk is full; make room and try again"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            why = "the file can't be written; look at its permissions"
        case sqlite3.SQLITE_CANTOPEN:
            why = "the file can't be opened; look at its permissions and its folder's"
        case sqlite3.SQLITE_NOTADB:
            why = "not a SQLite file, expected a store of pollers"
        case sqlite3.SQLITE_CORRUPT:
            why = f"the file is damaged ({_damage(path)}); restore a copy, or start a new one"
        case _:
            why = "SQLite can't go on"
    return BadStore(f"{path}: {why}; nothing of this was written (SQLite: {wrong})")


def _damage(path: Path) -> str:
    try:
        with closing(look(path)) as db:
            found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
            return found.removeprefix("*** in database main ***\n")
    except sqlite3.Error as wrong:
        return str(wrong)


_held: set[int] = set()
"""The open lock files of this process."""


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):  # a forked child has them too, and would keep what died with us
    os.register_at_fork(after_in_child=_let_go)


class WriterLock:
    """The lock on ``<file>.lock``; the file has the holder's pid and goes when the lock goes."""

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}.lock")
        try:
            self._fd = self._take()
        except BlockingIOError:
            raise StoreBusy(
                f"{path}: {self._holder()} writes to it; give each process a store of its own, or "
                "let one of them (one worker) do the watching; readers are welcome"
            ) from None
        except OSError as wrong:
            raise BadStore(f"{path}: can't write beside it: {wrong.strerror}") from wrong
        _held.add(self._fd)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let the next one write."""
        _held.discard(self._fd)
        with contextlib.suppress(OSError):  # Windows does not remove open files; a next one will do
            self._path.unlink()
        os.close(self._fd)

    def _take(self) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(fd)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(fd), self._path.stat()):
                        os.ftruncate(fd, 0)
                        return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # its last holder removed it under our hands

    def _holder(self) -> str:
        with contextlib.suppress(OSError, ValueError):  # it may be about to write its pid
            return f"process {int(self._path.read_text())}"
        return "another process"


if sys.platform == "win32":  # pragma: no cover  # the suite runs on POSIX
    import msvcrt

    def _lock(fd: int) -> None:
        os.lseek(fd, 1 << 20, os.SEEK_SET)  # not where the pid is: nobody could read it
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError as taken:
            raise BlockingIOError from taken
        finally:
            os.lseek(fd, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
