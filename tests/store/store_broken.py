"""Stores that break one promise each, to see that the suite would notice."""

# ruff: noqa: D102, D103  # helpers say it by their names

from dataclasses import replace

from pollers._core.model import Job
from pollers.store import Fenced, MemoryStore


class LosesAnEvent(MemoryStore):
    """The state is written, its event is not."""

    def _write(self, one):
        row = super()._write(one)
        if one.type == "succeeded":
            self._events.pop()
        return row


class TellsTwice(MemoryStore):
    """A second event for the same version."""

    def _write(self, one):
        super()._write(one)
        return super()._write(one)


class ReusesRids(MemoryStore):
    """A row that ended gives its number to the next."""

    def _register(self, new, *, again):
        known = self._jobs.get(self._newest.get(new.key, 0))
        if known is not None and again and known.state.ended:
            del self._jobs[known.rid]
        return super()._register(new, again=again)


class IgnoresEpochs(MemoryStore):
    """Everybody may write."""

    def _check(self, shard, epoch):
        """Not at all."""


class IgnoresEpochsInCommits(MemoryStore):
    """Only registering is checked."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        return await super().commit(shard, self._epochs.get(shard), transitions, notices, blobs)


class LetsTheFutureWrite(MemoryStore):
    """Compares the wrong way round."""

    def _check(self, shard, epoch):
        if epoch < self._epochs.get(shard, 0):
            raise Fenced("over")


class HasOneEpoch(MemoryStore):
    """Acquiring any shard fences them all."""

    async def acquire(self, shard):
        epoch = await super().acquire(shard)
        for other in self._epochs:
            self._epochs[other] = epoch
        return epoch


class GoesBack(MemoryStore):
    """A late ack moves the mark back."""

    async def ack(self, sink, seq):
        self._acked[sink] = seq


class CommitsHalf(MemoryStore):
    """What came before the stale transition stays."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        rows = []
        for one in transitions:
            rows += await super().commit(shard, epoch, [one])
        return rows + await super().commit(shard, epoch, [], notices, blobs)


class KeepsBlobsOfAFailure(MemoryStore):
    """Blobs are written before anything is checked."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        self._blobs.setdefault(shard, {}).update(blobs or {})
        return await super().commit(shard, epoch, transitions, notices, blobs)


class IgnoresVersions(MemoryStore):
    """The last writer wins."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        self._check(shard, epoch)
        rows = [self._write(one) for one in transitions]
        return rows + await super().commit(shard, epoch, [], notices, blobs)


class LoadsBackwards(MemoryStore):
    """Rows in the wrong order."""

    async def load_active(self, shard):
        return (await super().load_active(shard))[::-1]


class SortsTransitions(MemoryStore):
    """Events in the order of rows, not as they were given."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        ordered = sorted(transitions, key=lambda one: one.after.rid)
        return await super().commit(shard, epoch, ordered, notices, blobs)


class InsertsKnownKeysTwice(MemoryStore):
    """A key given twice in one call makes two rows."""

    async def register(self, shard, epoch, jobs, *, again=False):
        self._check(shard, epoch)
        known = dict(self._newest)
        answer: list[Job] = []
        for new in jobs:
            self._newest.pop(new.key, None)
            if new.key in known:
                self._newest[new.key] = known[new.key]
            answer.append(self._register(new, again=again))
        return answer


class ChangesKnownJobs(MemoryStore):
    """Registering again replaces the data."""

    def _register(self, new, *, again):
        job = super()._register(new, again=again)
        self._jobs[job.rid] = replace(job, data=new.data)
        return self._jobs[job.rid]


class StartsRunningJobsAgain(MemoryStore):
    """``again`` does not look whether the row has ended."""

    def _register(self, new, *, again):
        if again:
            self._newest.pop(new.key, None)
        return super()._register(new, again=again)


class ForgetsAgain(MemoryStore):
    """``again`` does nothing."""

    def _register(self, new, *, again):
        return super()._register(new, again=False)


class ReplacesAllBlobs(MemoryStore):
    """Only the newest commit's names stay."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        rows = await super().commit(shard, epoch, transitions, notices)
        if blobs:
            self._blobs[shard] = dict(blobs)
        return rows


class CountsNoticesTogether(MemoryStore):
    """All shards share one count."""

    def _write_notice(self, shard, one):
        total = sum(self._notices.values())
        self._notices = {shard: total}
        return super()._write_notice(shard, one)


class IncludesTheCursor(MemoryStore):
    """The event that the cursor stands on comes again."""

    async def events(self, after, limit=500):
        return await super().events(after - 1, limit)


class FindsTheOldest(MemoryStore):
    """The first row of a key, not the newest."""

    async def find(self, key):
        return next((job for job in self._jobs.values() if job.key == key), None)


class LoadsOtherShards(MemoryStore):
    """Everything that has not ended, whosever it is."""

    async def load_active(self, shard):
        return [job for job in self._jobs.values() if not job.state.ended]


BROKEN = tuple(
    cls for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, MemoryStore) and cls is not MemoryStore
)  # fmt: skip
