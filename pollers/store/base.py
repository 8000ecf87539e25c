"""The Store protocol: what a poller may rely on.

Promises of every store:

* ``commit`` and ``register`` are one transaction each: all of it happened, or none of it.  When they
  return, what they wrote survives ``kill -9`` and (with SQLite's full sync) a power cut.
* Exactly one event row per (job, version), written with the state in the same transaction.
* ``rid`` is never reused; event sequence numbers grow in commit order and have no meaning besides.
* A shard has one owner.  ``acquire`` raises its epoch; whoever comes with an older one is fenced off
  and writes nothing.
* What is read is what was committed; a reader never waits for the writer.
* Nothing is deleted but by ``prune``: never what has not ended, never an event that a sink which was
  ever acknowledged still has to get, never one that is parked.

Not promised: order between shards, and that two handles of one process share a cache.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

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


class StoreError(Exception):
    """Something is wrong with the store.  Nothing was lost: what was committed stays."""


class BadStore(StoreError):  # noqa: N818
    """The file is not ours, is of another version, or is corrupt; or the disk is full."""


class StoreBusy(StoreError):  # noqa: N818
    """Another process writes to this file."""


class Fenced(StoreError):  # noqa: N818
    """The shard has another owner by now; this one must stop."""


class Store(Protocol):
    """Where jobs and events are remembered.  Times are wall time in seconds."""

    @property
    def uuid(self) -> str:
        """Identity of the store, made when it was created; part of every event id."""
        ...

    async def open(self) -> None:
        """Open for writing.

        Raises:
            StoreBusy: another process has it open for writing.
            BadStore: not a store, of another version, or corrupt.
        """
        ...

    async def aclose(self) -> None:
        """Finish what was begun and close.  Harmless when called twice."""
        ...

    async def acquire(self, shard: Shard) -> int:
        """Become the owner of a shard: its epoch grows by one and is returned."""
        ...

    async def register(
        self, shard: Shard, epoch: int, jobs: Sequence[NewJob], *, again: bool = False
    ) -> list[Job]:
        """Insert jobs that are not known yet, each with its ``watching`` (or ``submitting``) event.

        The newest row of a key that is known already is returned as it is, unchanged; with
        ``again`` a new row is started if that one has ended.  The answer is in the order of
        ``jobs``; a key given twice gives the same row twice.

        Raises:
            Fenced: the epoch is not the shard's.
        """
        ...

    async def load_active(
        self, shard: Shard, *, kind: str | None = None, after: int = 0, limit: int | None = None
    ) -> list[Job]:
        """The rows of the shard that have not ended, by rid: of one kind, behind one, at most so many.

        With a kind, a call costs as much as it returns, wherever it begins.
        """
        ...

    async def rows(self, rids: Sequence[int]) -> list[Job]:
        """The rows with these numbers, by rid; those that are not there are left out."""
        ...

    async def commit(
        self,
        shard: Shard,
        epoch: int,
        transitions: Sequence[Transition],
        notices: Sequence[Notice] = (),
        blobs: Mapping[str, bytes] | None = None,
    ) -> list[EventRow]:
        """Apply transitions and notices in order, each with its event; remember blobs by name.

        A transition to ``watching`` gives its row a remote id in the place of the token that it had.
        Returns the event rows, in the same order.  A transition whose row has another version than
        the one it was made for raises ``StoreError`` and nothing of the commit happens.

        Raises:
            Fenced: the epoch is not the shard's.
            BadStore: the disk is full or the file is damaged; nothing of the commit happened.
        """
        ...

    async def blobs(self, shard: Shard) -> dict[str, bytes]:
        """What was remembered about the shard besides its jobs; losing it must be tolerated."""
        ...

    async def events(self, after: int, limit: int = 500) -> list[EventRow]:
        """Events with a larger sequence number, in order, at most ``limit``."""
        ...

    async def head(self) -> int:
        """The largest sequence number given so far; 0 if there is none."""
        ...

    async def last_event(self, rid: int) -> EventRow | None:
        """The newest event of a job."""
        ...

    async def ack(self, sink: str, seq: int, parked: Mapping[int, str] | None = None) -> None:
        """Remember that a sink is done with everything up to ``seq``; it never goes back.

        ``parked`` are the sequence numbers of the events up to there that it could not take, each
        with the reason.
        """
        ...

    async def acked(self, sink: str) -> int | None:
        """Up to where a sink has everything; None if it was never heard of."""
        ...

    async def parked(self, sink: str | None = None) -> list[ParkedRow]:
        """What a sink could not take, or all sinks, by sequence number and sink."""
        ...

    async def unpark(self, sink: str, seq: int) -> None:
        """The sink has it after all; harmless if it is not parked."""
        ...

    async def prune(self, before: float, limit: int = 200) -> int:
        """Delete jobs that ended before an instant, with their events, and notices from before it.

        A job goes as a whole, and only when every sink is done with its last event and none of its
        events is parked.  One call is one small transaction: at most ``limit`` jobs and as many
        notices.  Returns how many of both; 0 when there is nothing left to delete.
        """
        ...

    async def pruned(self) -> int:
        """The largest sequence number that was deleted; 0 if none was."""
        ...

    async def find(self, key: JobKey) -> Job | None:
        """The newest row of a key."""
        ...

    async def jobs(
        self, *, shard: Shard | None = None, state: State | None = None, limit: int | None = None
    ) -> list[Job]:
        """Rows by rid, of one shard or all, in one state or any."""
        ...
