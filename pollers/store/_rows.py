"""What the SQLite store says to its tables: functions of a connection and values.

Functions that write run inside a transaction of the caller and keep nothing in memory, so that a
rollback takes back all they did.  Numbers of new rows are taken from ``sqlite_sequence``, which
never goes back, so that many rows go in with one statement and a number is never used again.
"""

import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from pollers._core.model import (
    EventRow,
    Job,
    JobKey,
    NewJob,
    Notice,
    Shard,
    State,
    Transition,
)
from pollers._core.step import first_row, opening_data
from pollers.store.base import Fenced, StoreError

_JOB = """rid, shard, kind, remote_id, version, state, status, cause, reason, created_at,
    submitted_at, deadline, ended_at, looks, data, features"""
EVENT = "seq, rid, version, shard, kind, subject, type, at, data"
_SHARD_ID = """SELECT id FROM shard
    WHERE provider = ? AND deployment = ? AND account = ? AND bucket = ?"""

_NEWEST = f"""SELECT {_JOB} FROM job WHERE shard = ({_SHARD_ID}) AND kind = ? AND remote_id = ?
    ORDER BY rid DESC LIMIT 1"""  # noqa: S608  # made of constants, like all below
_NEWEST_OF = f"""SELECT {_JOB} FROM job WHERE rid IN (SELECT (
        SELECT max(rid) FROM job WHERE shard = owner.id AND kind = owner.kind AND remote_id = column1
    ) FROM (SELECT ({_SHARD_ID}) AS id, ? AS kind) AS owner, (VALUES {{}}))"""  # noqa: S608
_ACTIVE = f"""SELECT {_JOB} FROM job WHERE shard = ({_SHARD_ID})
    AND ended_at IS NULL AND rid > ?"""  # noqa: S608
_ACTIVE_OF_ALL = f"{_ACTIVE} ORDER BY rid LIMIT ?"
_ACTIVE_OF_KIND = f"{_ACTIVE} AND kind = ? ORDER BY rid LIMIT ?"
_SOME = f"""SELECT {_JOB} FROM job WHERE rid IN (SELECT value FROM json_each(?))
    ORDER BY rid"""  # noqa: S608
_JOBS = f"""SELECT {_JOB} FROM job WHERE (:all OR shard = :shard)
    AND (:state IS NULL OR state = :state) ORDER BY rid LIMIT :limit"""  # noqa: S608
_EVENTS = f"SELECT {EVENT} FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
_LAST = f"""SELECT {EVENT} FROM outbox
    WHERE seq = (SELECT last_seq FROM job WHERE job.rid = ?)"""  # noqa: S608
_VERSIONS = """SELECT rid, version, last_seq FROM job
    WHERE rid IN (SELECT value FROM json_each(?))"""

_INSERT_JOB = f"INSERT INTO job ({_JOB}, last_seq) VALUES ({', '.join('?' * 17)})"  # noqa: S608
_INSERT_EVENT = f"INSERT INTO outbox ({EVENT}, prev) VALUES ({', '.join('?' * 10)})"  # noqa: S608
_UPDATE_JOB = """UPDATE job SET version = ?, state = ?, status = ?, cause = ?, reason = ?,
    created_at = ?, submitted_at = ?, deadline = ?, ended_at = ?, looks = ?, data = ?, features = ?,
    last_seq = ? WHERE rid = ?"""
_NAME_JOB = "UPDATE job SET remote_id = ? WHERE rid = ?"

Name = tuple[str, str, str, int]
"""A shard as its four columns; cheaper to look up than a ``Shard``."""

_STATES = {state.value: state for state in State}
NAMING = State.WATCHING.value
"""The type of a transition that gives a row its remote id."""

_WORDS = {state: word for word, state in _STATES.items()}
LARGEST = 2**63 - 1
_AT_ONCE = 500
"""Values that one statement is given."""

_remote_id = attrgetter("key.remote_id")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Shards(dict[int, Shard]):
    """Shards by their number, for as long as one query lasts; a shard's name never changes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        super().__init__()
        self._db = db

    def __missing__(self, number: int) -> Shard:
        row = self._db.execute(
            "SELECT provider, deployment, account, bucket FROM shard WHERE id = ?", (number,)
        ).fetchone()
        shard = self[number] = Shard(*row)
        return shard


class Numbers(dict[Name, int]):
    """Numbers of shards, for as long as one transaction lasts; an unknown shard is made."""

    def __init__(self, db: sqlite3.Connection) -> None:
        super().__init__()
        self._db = db

    def __missing__(self, name: Name) -> int:
        self._db.execute(
            """INSERT OR IGNORE INTO shard (provider, deployment, account, bucket)
               VALUES (?, ?, ?, ?)""",
            name,
        )
        number = self[name] = int(self._db.execute(_SHARD_ID, name).fetchone()[0])
        return number


def acquire(db: sqlite3.Connection, shard: Shard) -> int:
    """Raise the epoch."""
    number = Numbers(db)[_name(shard)]
    db.execute("UPDATE shard SET epoch = epoch + 1 WHERE id = ?", (number,))
    return int(db.execute("SELECT epoch FROM shard WHERE id = ?", (number,)).fetchone()[0])


def register(
    db: sqlite3.Connection, shard: Shard, epoch: int, jobs: Sequence[NewJob], *, again: bool
) -> list[Job]:
    """Insert what is not known; one row per key, also within the call."""
    _check(db, shard, epoch)
    answer: list[Job] = []
    for (owner, kind), some in groupby(jobs, key=lambda new: (_owner(new.key), new.key.kind)):
        answer += _register(db, owner, kind, list(some), again=again)
    return answer


def _register(
    db: sqlite3.Connection, owner: Name, kind: str, jobs: Sequence[NewJob], *, again: bool
) -> list[Job]:
    """The same for jobs of one kind; each of them is looked up and written with all others."""
    last = _sequence(db, "job")
    newest = _find_all(db, owner, kind, [new.key.remote_id for new in jobs])
    fresh: list[Job] = []
    answer: list[Job] = []
    for new in jobs:
        job = newest.get(new.key.remote_id)
        if job is None or (again and job.state.ended):
            job = newest[new.key.remote_id] = first_row(new, last + len(fresh) + 1)
            fresh.append(job)
        answer.append(job)
    number = Numbers(db)[owner]
    ahead = _sequence(db, "outbox") - last  # rows and their events are numbered alike
    # in the order of the index, which is faster; what is made only to be written is not kept
    db.executemany(
        _INSERT_JOB,
        (
            (job.rid, number, kind, job.key.remote_id, *_changing(job), job.rid + ahead)
            for job in sorted(fresh, key=_remote_id)
        ),
    )
    untold = _encode(opening_data(None)).decode()
    db.executemany(
        _INSERT_EVENT,
        (
            (
                job.rid + ahead, job.rid, 1, number, kind, job.key.remote_id, _WORDS[job.state],
                job.created_at,
                untold if job.data is None else _encode(opening_data(job.data)).decode(), None,
            )
            for job in fresh
        ),
    )  # fmt: skip
    return answer


def _find_all(
    db: sqlite3.Connection, owner: Name, kind: str, remote_ids: Sequence[str]
) -> dict[str, Job]:
    """The newest row of each of these, where there is one."""
    found: dict[str, Job] = {}
    for start in range(0, len(remote_ids), _AT_ONCE):
        some = remote_ids[start : start + _AT_ONCE]
        given = ", ".join(["(?)"] * len(some))
        rows = db.execute(_NEWEST_OF.format(given), (*owner, kind, *some))
        found |= {job.key.remote_id: job for job in _read_jobs(db, rows)}
    return found


def commit(
    db: sqlite3.Connection,
    shard: Shard,
    epoch: int,
    transitions: Sequence[Transition],
    *,
    notices: Sequence[Notice],
    blobs: Mapping[str, bytes],
) -> list[EventRow]:
    """Apply it all; an error leaves the caller's transaction to be rolled back."""
    _check(db, shard, epoch)
    numbers = Numbers(db)
    number = numbers[_name(shard)]
    first = _sequence(db, "outbox") + 1
    before = _before(db, transitions, first)
    changes = [
        (*_changing(one.after), seq, one.after.rid) for seq, one in enumerate(transitions, first)
    ]
    # In the order of the table, which is faster; sorting keeps two steps of one job in their order.
    db.executemany(_UPDATE_JOB, sorted(changes, key=itemgetter(-1)))
    db.executemany(  # apart: every statement that sets it has to look after its index
        _NAME_JOB,
        ((one.after.key.remote_id, one.after.rid) for one in transitions if one.type == NAMING),
    )
    rows = [_row(seq, one) for seq, one in enumerate(transitions, first)]
    rows += _announced(db, shard, notices, number, first + len(rows))
    _tell(db, rows, (*before, *[None] * len(notices)), numbers)
    db.executemany(
        "INSERT INTO blob VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        ((number, name, value) for name, value in blobs.items()),
    )
    return rows


def find(db: sqlite3.Connection, key: JobKey) -> Job | None:
    """The newest row of a key."""
    row = db.execute(_NEWEST, (*_owner(key), key.kind, key.remote_id)).fetchone()
    return None if row is None else _job(row, Shards(db))


def load_active(
    db: sqlite3.Connection, shard: Shard, kind: str | None, after: int, limit: int | None
) -> list[Job]:
    """What has not ended, behind a row."""
    name = (*_name(shard)[:3], 0)  # a key has no bucket
    most = -1 if limit is None else limit
    if kind is None:
        return _read_jobs(db, db.execute(_ACTIVE_OF_ALL, (*name, after, most)))
    return _read_jobs(db, db.execute(_ACTIVE_OF_KIND, (*name, after, kind, most)))


def rows(db: sqlite3.Connection, rids: Sequence[int]) -> list[Job]:
    """Rows by their numbers."""
    return _read_jobs(db, db.execute(_SOME, (_json(list(rids)),)))


def jobs(
    db: sqlite3.Connection, shard: Shard | None, state: State | None, limit: int | None
) -> list[Job]:
    """Rows by rid."""
    number = None
    if shard is not None:
        row = db.execute(_SHARD_ID, (*_name(shard)[:3], 0)).fetchone()
        number = row and row[0]
    values = {
        "all": shard is None,
        "shard": number,
        "state": state,
        "limit": -1 if limit is None else limit,
    }
    return _read_jobs(db, db.execute(_JOBS, values))


def blobs(db: sqlite3.Connection, shard: Shard) -> dict[str, bytes]:
    """What is remembered besides, by name."""
    query = f"SELECT name, value FROM blob WHERE shard = ({_SHARD_ID})"  # noqa: S608
    return dict(db.execute(query, _name(shard)).fetchall())


def events(db: sqlite3.Connection, after: int, limit: int) -> list[EventRow]:
    """Events behind a number."""
    shards = Shards(db)
    rows = db.execute(_EVENTS, (min(after, LARGEST), limit))
    return [event(row, shards) for row in rows]


def last_event(db: sqlite3.Connection, rid: int) -> EventRow | None:
    """The newest event of a job."""
    row = db.execute(_LAST, (rid,)).fetchone()
    return None if row is None else event(row, Shards(db))


def head(db: sqlite3.Connection) -> int:
    """The largest sequence number given so far."""
    return _sequence(db, "outbox")


def _check(db: sqlite3.Connection, shard: Shard, epoch: int) -> None:
    row = db.execute(f"SELECT epoch FROM shard WHERE id = ({_SHARD_ID})", _name(shard)).fetchone()  # noqa: S608
    if row is None or row[0] != epoch or not epoch:
        now = row[0] if row else None
        raise Fenced(f"epoch {epoch} of {shard} is over, it is {now} now")


def _sequence(db: sqlite3.Connection, table: str) -> int:
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])


def _before(db: sqlite3.Connection, transitions: Sequence[Transition], first: int) -> list[int]:
    """The number of the event before each of these, of the same job; they are numbered from ``first``.

    Each must be for the row's next version.  No index of the outbox guarantees one event per version
    of a job: this does, as rows and events are written in the same transaction.
    """
    rids = [one.after.rid for one in transitions]
    rows = {rid: (version, last) for rid, version, last in db.execute(_VERSIONS, (_json(rids),))}
    before: list[int] = []
    for seq, one in enumerate(transitions, first):
        job = one.after
        version, last = rows.get(job.rid, (None, 0))
        if version != job.version - 1:
            raise StoreError(f"job {job.rid} is not at version {job.version - 1}")
        rows[job.rid] = job.version, seq
        before.append(last)
    return before


def _tell(
    db: sqlite3.Connection, rows: Sequence[EventRow], before: Iterable[int | None], numbers: Numbers
) -> None:
    db.executemany(
        _INSERT_EVENT,
        (
            (
                row.seq, row.rid, row.version, numbers[_name(row.shard)], row.kind, row.subject,
                row.type, row.at, _encode(row.data).decode(), prev,
            )
            for row, prev in zip(rows, before, strict=True)
        ),
    )  # fmt: skip


def _announced(
    db: sqlite3.Connection, shard: Shard, notices: Sequence[Notice], number: int, first: int
) -> list[EventRow]:
    """Notices as events, numbered from ``first``."""
    if not notices:
        return []
    told = db.execute("SELECT notices FROM shard WHERE id = ?", (number,)).fetchone()[0]
    db.execute("UPDATE shard SET notices = ? WHERE id = ?", (told + len(notices), number))
    return [
        EventRow(
            seq=first + i, rid=0, version=told + i + 1, shard=shard, kind="",
            subject=shard.account, type=one.type, at=one.at, data=one.data,
        )
        for i, one in enumerate(notices)
    ]  # fmt: skip


def _name(shard: Shard) -> Name:
    return shard.provider, shard.deployment, shard.account, shard.bucket


def _owner(key: JobKey) -> Name:
    return key.provider, key.deployment, key.account, 0  # a key has no bucket


def _json(value: Any) -> str | None:
    return None if value is None else _encode(value).decode()


def _changing(job: Job) -> tuple[Any, ...]:
    """All that a transition may change, but for the remote id."""
    return (
        job.version, _WORDS[job.state], job.status, job.cause, job.reason, job.created_at,
        job.submitted_at, job.deadline, job.ended_at, job.looks, _json(job.data),
        _json(job.features or None),
    )  # fmt: skip


def _row(seq: int, one: Transition) -> EventRow:
    job = one.after
    return EventRow(
        seq=seq, rid=job.rid, version=job.version, shard=job.key.shard, kind=job.key.kind,
        subject=job.key.remote_id, type=one.type, at=one.at, data=one.data,
    )  # fmt: skip


def _read_jobs(db: sqlite3.Connection, rows: Iterable[Any]) -> list[Job]:
    shards = Shards(db)
    return [_job(row, shards) for row in rows]


def _job(row: Any, shards: Shards) -> Job:
    (rid, number, kind, remote_id, version, state, status, cause, reason, created_at,
     submitted_at, deadline, ended_at, looks, data, features) = row  # fmt: skip
    shard = shards[number]
    return Job(
        rid=rid, version=version, state=_STATES[state],
        key=JobKey(
            shard.provider, shard.deployment, shard.account, sys.intern(kind), remote_id
        ),
        status=status and sys.intern(status), cause=cause, reason=reason, created_at=created_at,
        submitted_at=submitted_at, deadline=deadline, ended_at=ended_at, looks=looks,
        data=None if data is None else _decode(data),
        features={} if features is None else _decode(features),
    )  # fmt: skip


def event(row: Any, shards: Shards) -> EventRow:
    seq, rid, version, number, kind, subject, type_, at, data = row
    return EventRow(
        seq=seq, rid=rid, version=version, shard=shards[number], kind=sys.intern(kind),
        subject=subject, type=sys.intern(type_), at=at, data=_decode(data),
    )  # fmt: skip
