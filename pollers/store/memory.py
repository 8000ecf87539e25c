"""The store as a model: everything that the protocol promises, in dicts, except surviving.

The contract suite runs it beside SQLite; it is also what ``store=":memory:"`` gives.
"""

import uuid
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

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
from pollers._core.step import opening
from pollers.store.base import Fenced, StoreError


class MemoryStore:
    """Nothing survives the process."""

    def __init__(self) -> None:
        self._uuid = uuid.uuid4().hex
        self._jobs: dict[int, Job] = {}
        self._newest: dict[JobKey, int] = {}
        self._events: list[EventRow] = []
        self._rid = self._seq = self._pruned = 0
        self._last: dict[int, EventRow] = {}
        self._epochs: dict[Shard, int] = {}
        self._notices: dict[Shard, int] = {}
        self._blobs: dict[Shard, dict[str, bytes]] = {}
        self._acked: dict[str, int] = {}
        self._parked: dict[tuple[int, str], ParkedRow] = {}

    @property
    def uuid(self) -> str:
        """Identity of the store."""
        return self._uuid

    async def open(self) -> None:
        """Nothing to open."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def acquire(self, shard: Shard) -> int:
        """The next epoch of a shard."""
        self._epochs[shard] = self._epochs.get(shard, 0) + 1
        return self._epochs[shard]

    async def register(
        self, shard: Shard, epoch: int, jobs: Sequence[NewJob], *, again: bool = False
    ) -> list[Job]:
        """Insert what is not known."""
        self._check(shard, epoch)
        return [self._register(new, again=again) for new in jobs]

    def _register(self, new: NewJob, *, again: bool) -> Job:
        known = self._jobs.get(self._newest.get(new.key, 0))
        if known is not None and not (again and known.state.ended):
            return known
        self._rid += 1
        first = opening(new, self._rid)
        self._newest[new.key] = self._rid
        self._write(first)
        return first.after

    async def load_active(
        self, shard: Shard, *, kind: str | None = None, after: int = 0, limit: int | None = None
    ) -> list[Job]:
        """What has not ended."""
        rows = await self.jobs(shard=shard)
        return [
            job for job in rows
            if not job.state.ended and job.rid > after and kind in (None, job.key.kind)
        ][:limit]  # fmt: skip

    async def rows(self, rids: Sequence[int]) -> list[Job]:
        """Some rows."""
        return [self._jobs[rid] for rid in sorted(set(rids)) if rid in self._jobs]

    async def commit(
        self,
        shard: Shard,
        epoch: int,
        transitions: Sequence[Transition],
        notices: Sequence[Notice] = (),
        blobs: Mapping[str, bytes] | None = None,
    ) -> list[EventRow]:
        """Apply it all, or nothing."""
        self._check(shard, epoch)
        rids = {one.after.rid for one in transitions} & self._jobs.keys()
        versions = {rid: self._jobs[rid].version for rid in rids}
        for one in transitions:
            if versions.get(one.after.rid) != one.after.version - 1:
                msg = f"job {one.after.rid} is not at version {one.after.version - 1}"
                raise StoreError(msg)
            versions[one.after.rid] += 1
        rows = [self._write(one) for one in transitions]
        rows += [self._write_notice(shard, one) for one in notices]
        self._blobs.setdefault(shard, {}).update(blobs or {})
        return rows

    async def blobs(self, shard: Shard) -> dict[str, bytes]:
        """What was remembered besides."""
        return dict(self._blobs.get(shard, {}))

    async def events(self, after: int, limit: int = 500) -> list[EventRow]:
        """Events behind a number."""
        first = bisect_right(self._events, after, key=lambda row: row.seq)
        return self._events[first : first + limit]

    async def head(self) -> int:
        """The last sequence number."""
        return self._seq

    async def last_event(self, rid: int) -> EventRow | None:
        """The newest event of a job."""
        return self._last.get(rid)

    async def ack(self, sink: str, seq: int, parked: Mapping[int, str] | None = None) -> None:
        """Never goes back."""
        self._acked[sink] = max(seq, self._acked.get(sink, 0))
        for number, reason in (parked or {}).items():
            for row in await MemoryStore.events(self, number - 1, 1):
                self._parked[number, sink] = ParkedRow(sink=sink, row=row, reason=reason)

    async def acked(self, sink: str) -> int | None:
        """Where a sink is."""
        return self._acked.get(sink)

    async def parked(self, sink: str | None = None) -> list[ParkedRow]:
        """What was put aside."""
        return [
            one for _, one in sorted(self._parked.items(), key=lambda item: item[0])
            if sink in (None, one.sink)
        ]  # fmt: skip

    async def unpark(self, sink: str, seq: int) -> None:
        """It was taken after all."""
        self._parked.pop((seq, sink), None)

    async def prune(self, before: float, limit: int = 200) -> int:
        """Delete some of what is old and done with."""
        done = min(self._acked.values(), default=self._seq)
        before = min([before, *(row.at for row in await MemoryStore.events(self, done, 1))])
        kept = {one.row.line for one in self._parked.values()}
        rids = set(islice(self._old_jobs(before, done, kept), limit))
        notices = {row.seq for row in islice(self._old_notices(before, done), limit)}
        gone = [row for row in self._events if row.rid in rids or row.seq in notices]
        self._pruned = max([self._pruned, *(row.seq for row in gone)])
        self._events = [
            row for row in self._events if row.rid not in rids and row.seq not in notices
        ]
        for rid in rids:
            del self._last[rid], self._jobs[rid]
        self._newest = {job.key: rid for rid, job in self._jobs.items()}
        return len(rids) + len(notices)

    def _old_jobs(self, before: float, done: int, kept: Collection[int | Shard]) -> Iterator[int]:
        ended = [(job.ended_at, rid) for rid, job in self._jobs.items() if job.ended_at is not None]
        for ended_at, rid in sorted(ended):
            if ended_at < before and self._last[rid].seq <= done and rid not in kept:
                yield rid

    def _old_notices(self, before: float, done: int) -> Iterator[EventRow]:
        parked = {seq for seq, _ in self._parked}
        for row in self._events:
            if not row.rid and row.at < before and row.seq <= done and row.seq not in parked:
                yield row

    async def pruned(self) -> int:
        """The largest sequence number that was deleted."""
        return self._pruned

    async def find(self, key: JobKey) -> Job | None:
        """The newest row of a key."""
        return self._jobs.get(self._newest.get(key, 0))

    async def jobs(
        self, *, shard: Shard | None = None, state: State | None = None, limit: int | None = None
    ) -> list[Job]:
        """Rows in the order they were made."""
        found = [
            job
            for job in self._jobs.values()
            if (shard is None or job.key.shard == replace(shard, bucket=0))
            and (state is None or job.state is state)
        ]
        return found[:limit]

    def _check(self, shard: Shard, epoch: int) -> None:
        if self._epochs.get(shard) != epoch:
            msg = f"epoch {epoch} of {shard} is over, it is {self._epochs.get(shard)} now"
            raise Fenced(msg)

    def _write(self, one: Transition) -> EventRow:
        job = one.after
        if one.type == State.WATCHING:
            self._name(job)
        self._jobs[job.rid] = job
        self._seq += 1
        row = EventRow(
            seq=self._seq, rid=job.rid, version=job.version, shard=job.key.shard,
            kind=job.key.kind, subject=job.key.remote_id, type=one.type, at=one.at, data=one.data,
        )  # fmt: skip
        self._events.append(row)
        self._last[job.rid] = row
        return row

    def _name(self, job: Job) -> None:
        before = self._jobs.get(job.rid)
        if before is not None:
            self._newest.pop(before.key, None)
        self._newest[job.key] = max(job.rid, self._newest.get(job.key, 0))

    def _write_notice(self, shard: Shard, one: Notice) -> EventRow:
        number = self._notices[shard] = self._notices.get(shard, 0) + 1
        self._seq += 1
        row = EventRow(
            seq=self._seq, rid=0, version=number, shard=shard, kind="",
            subject=shard.account, type=one.type, at=one.at, data=one.data,
        )  # fmt: skip
        self._events.append(row)
        return row
