"""The store as a model: everything that the protocol promises, in dicts, except surviving.

The contract suite runs it beside SQLite; it is also what ``store=":memory:"`` gives.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pollers._core.model import EventRow, Job, JobKey, NewJob, Notice, Shard, State, Transition
from pollers._core.step import opening
from pollers.store.base import Fenced, StoreError


class MemoryStore:
    """Nothing survives the process."""

    def __init__(self) -> None:
        self._uuid = uuid.uuid4().hex
        self._jobs: dict[int, Job] = {}
        self._newest: dict[JobKey, int] = {}
        self._events: list[EventRow] = []
        self._last: dict[int, EventRow] = {}
        self._epochs: dict[Shard, int] = {}
        self._notices: dict[Shard, int] = {}
        self._blobs: dict[Shard, dict[str, bytes]] = {}
        self._acked: dict[str, int] = {}

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
        first = opening(new, len(self._jobs) + 1)
        self._newest[new.key] = first.after.rid
        self._write(first)
        return first.after

    async def load_active(self, shard: Shard) -> list[Job]:
        """What has not ended."""
        return [job for job in await self.jobs(shard=shard) if not job.state.ended]

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
        """Sequence numbers are positions here."""
        after = max(after, 0)
        return self._events[after : after + limit]

    async def head(self) -> int:
        """The last sequence number."""
        return len(self._events)

    async def last_event(self, rid: int) -> EventRow | None:
        """The newest event of a job."""
        return self._last.get(rid)

    async def ack(self, sink: str, seq: int) -> None:
        """Never goes back."""
        self._acked[sink] = max(seq, self._acked.get(sink, 0))

    async def acked(self, sink: str) -> int | None:
        """Where a sink is."""
        return self._acked.get(sink)

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
        self._jobs[job.rid] = job
        row = EventRow(
            seq=len(self._events) + 1, rid=job.rid, version=job.version, shard=job.key.shard,
            kind=job.key.kind, subject=job.key.remote_id, type=one.type, at=one.at, data=one.data,
        )  # fmt: skip
        self._events.append(row)
        self._last[job.rid] = row
        return row

    def _write_notice(self, shard: Shard, one: Notice) -> EventRow:
        number = self._notices[shard] = self._notices.get(shard, 0) + 1
        row = EventRow(
            seq=len(self._events) + 1, rid=0, version=number, shard=shard, kind="",
            subject=shard.account, type=one.type, at=one.at, data=one.data,
        )  # fmt: skip
        self._events.append(row)
        return row
