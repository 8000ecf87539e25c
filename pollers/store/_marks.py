"""What the SQLite store says about its sinks: how far each is, what it put aside, what may go.

Functions of a connection and values, as in ``_rows``.
"""

import sqlite3
from collections.abc import Mapping

from pollers._core.model import ParkedRow
from pollers.store._rows import EVENT, LARGEST, Shards, event

_PARKED = f"""SELECT sink, reason, {EVENT} FROM parked JOIN outbox USING (seq)
    WHERE (:sink IS NULL OR sink = :sink) ORDER BY seq, sink"""  # noqa: S608
_OLD_JOBS = """SELECT rid, last_seq FROM job WHERE ended_at < :before AND last_seq <= :done
    AND rid NOT IN (SELECT rid FROM outbox WHERE seq IN (SELECT seq FROM parked))
    ORDER BY ended_at, rid LIMIT :limit"""
_DELETE_EVENTS = """DELETE FROM outbox WHERE seq IN (
    WITH RECURSIVE event (seq) AS (
        VALUES (?) UNION
        SELECT prev FROM outbox JOIN event USING (seq) WHERE prev IS NOT NULL)
    SELECT seq FROM event)"""
"""From a job's last one back to its first."""
_OLD_NOTICES = """SELECT seq FROM outbox INDEXED BY outbox_notice
    WHERE rid = 0 AND at < :before AND seq <= :done
    AND seq NOT IN (SELECT seq FROM parked) ORDER BY seq LIMIT :limit"""


def ack(db: sqlite3.Connection, sink: str, seq: int, parked: Mapping[int, str]) -> None:
    """Move a sink's mark, never back; put aside what it could not take."""
    db.execute(
        """INSERT INTO sink VALUES (?, max(0, ?))
           ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)""",
        (sink, seq),
    )
    db.executemany(
        "INSERT INTO parked VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET reason = excluded.reason",
        ((number, sink, reason) for number, reason in parked.items()),
    )


def parked(db: sqlite3.Connection, sink: str | None) -> list[ParkedRow]:
    """What was put aside."""
    shards = Shards(db)
    return [
        ParkedRow(sink=name, reason=reason, row=event(row, shards))
        for name, reason, *row in db.execute(_PARKED, {"sink": sink})
    ]


def unpark(db: sqlite3.Connection, sink: str, seq: int) -> None:
    """It was taken after all."""
    db.execute("DELETE FROM parked WHERE seq = ? AND sink = ?", (seq, sink))


def prune(db: sqlite3.Connection, before: float, limit: int) -> int:
    """Delete some of what is old and done with; how many jobs and notices it was."""
    done = _done(db)
    undone = db.execute(
        "SELECT at FROM outbox WHERE seq > ? ORDER BY seq LIMIT 1", (done,)
    ).fetchone()
    if undone is not None:  # nor look at all that ended while a sink was down, again and again
        before = min(before, undone[0])
    values = {"before": before, "done": done, "limit": limit}
    jobs = db.execute(_OLD_JOBS, values).fetchall()
    notices = db.execute(_OLD_NOTICES, values).fetchall()
    lasts = [(seq,) for _, seq in jobs]
    last = max((seq for (seq,) in (*lasts, *notices)), default=0)
    db.executemany(_DELETE_EVENTS, lasts)
    db.executemany("DELETE FROM job WHERE rid = ?", [(rid,) for rid, _ in jobs])
    db.executemany("DELETE FROM outbox WHERE seq = ?", notices)
    if last > pruned(db):
        db.execute("INSERT OR REPLACE INTO meta VALUES ('pruned', ?)", (str(last),))
    return len(jobs) + len(notices)


def pruned(db: sqlite3.Connection) -> int:
    """The largest sequence number that was deleted."""
    row = db.execute("SELECT value FROM meta WHERE name = 'pruned'").fetchone()
    return 0 if row is None else int(row[0])


def _done(db: sqlite3.Connection) -> int:
    """Up to where every sink has everything."""
    slowest = db.execute("SELECT min(seq) FROM sink").fetchone()[0]
    return LARGEST if slowest is None else int(slowest)


def acked(db: sqlite3.Connection, sink: str) -> int | None:
    """A sink's mark."""
    row = db.execute("SELECT seq FROM sink WHERE name = ?", (sink,)).fetchone()
    return None if row is None else int(row[0])
