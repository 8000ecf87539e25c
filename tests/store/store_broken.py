"""Stores that break one promise each, to see that the suite would notice."""

# ruff: noqa: D102, D103  # helpers say it by their names

from msgspec.structs import replace

from pollers._core.model import Job, State
from pollers.store import Fenced, MemoryStore
from pollers.store.base import StoreError


class Broken(MemoryStore):
    """One of the stores below."""

    is_rare = False
    """What is wrong takes chance too long to come across; the contract says it at once."""


class LosesAnEvent(Broken):
    """The state is written, its event is not."""

    def _write(self, one):
        row = super()._write(one)
        if one.type == "succeeded":
            self._events.pop()
        return row


class TellsTwice(Broken):
    """A second event for the same version."""

    def _write(self, one):
        super()._write(one)
        return super()._write(one)


class KeepsTheToken(Broken):
    """The row is watched, and still found by its token."""

    def _name(self, job):
        before = self._jobs[job.rid].key if job.rid in self._jobs else None
        super()._name(job)
        if before is not None:
            self._newest[before] = job.rid


class ForgetsTheId(Broken):
    """The event has the id, the row does not."""

    def _write(self, one):
        before = self._jobs.get(one.after.rid)
        row = super()._write(one)
        if before is not None and before.key != one.after.key:
            self._jobs[one.after.rid] = replace(one.after, key=before.key)
        return row


class FindsTheLastNamed(Broken):
    """Whoever got an id last has it, however old the row is."""

    is_rare = True

    def _name(self, job):
        super()._name(job)
        self._newest[job.key] = job.rid


class OpensEverythingWatching(Broken):
    """An intent is taken for a job."""

    def _register(self, new, *, again):
        return super()._register(replace(new, state=State.WATCHING), again=again)


class ReusesRids(Broken):
    """A row that ended gives its number to the next."""

    def _register(self, new, *, again):
        known = self._jobs.get(self._newest.get(new.key, 0))
        if known is not None and again and known.state.ended:
            del self._jobs[known.rid]
        return super()._register(new, again=again)


class IgnoresEpochs(Broken):
    """Everybody may write."""

    def _check(self, shard, epoch):
        """Not at all."""


class IgnoresEpochsInCommits(Broken):
    """Only registering is checked."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        return await super().commit(shard, self._epochs.get(shard), transitions, notices, blobs)


class LetsTheFutureWrite(Broken):
    """Compares the wrong way round."""

    def _check(self, shard, epoch):
        if epoch < self._epochs.get(shard, 0):
            raise Fenced("over")


class HasOneEpoch(Broken):
    """Acquiring any shard fences them all."""

    async def acquire(self, shard):
        epoch = await super().acquire(shard)
        for other in self._epochs:
            self._epochs[other] = epoch
        return epoch


class GoesBack(Broken):
    """A late ack moves the mark back."""

    async def ack(self, sink, seq, parked=None):
        await super().ack(sink, seq, parked)
        self._acked[sink] = seq


class CommitsHalf(Broken):
    """What came before the stale transition stays."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        rows = []
        for one in transitions:
            rows += await super().commit(shard, epoch, [one])
        return rows + await super().commit(shard, epoch, [], notices, blobs)


class KeepsBlobsOfAFailure(Broken):
    """Blobs are written before anything is checked."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        self._blobs.setdefault(shard, {}).update(blobs or {})
        return await super().commit(shard, epoch, transitions, notices, blobs)


class IgnoresVersions(Broken):
    """The last writer wins."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        self._check(shard, epoch)
        rows = [self._write(one) for one in transitions]
        return rows + await super().commit(shard, epoch, [], notices, blobs)


class LoadsBackwards(Broken):
    """Rows in the wrong order."""

    async def load_active(self, shard, **page):
        return (await super().load_active(shard, **page))[::-1]


class SortsTransitions(Broken):
    """Events in the order of rows, not as they were given."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        ordered = sorted(transitions, key=lambda one: one.after.rid)
        return await super().commit(shard, epoch, ordered, notices, blobs)


class InsertsKnownKeysTwice(Broken):
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


class ChangesKnownJobs(Broken):
    """Registering again replaces the data."""

    def _register(self, new, *, again):
        job = super()._register(new, again=again)
        self._jobs[job.rid] = replace(job, data=new.data)
        return self._jobs[job.rid]


class StartsRunningJobsAgain(Broken):
    """``again`` does not look whether the row has ended."""

    def _register(self, new, *, again):
        if again:
            self._newest.pop(new.key, None)
        return super()._register(new, again=again)


class ForgetsAgain(Broken):
    """``again`` does nothing."""

    def _register(self, new, *, again):
        return super()._register(new, again=False)


class ReplacesAllBlobs(Broken):
    """Only the newest commit's names stay."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        rows = await super().commit(shard, epoch, transitions, notices)
        if blobs:
            self._blobs[shard] = dict(blobs)
        return rows


class CountsNoticesTogether(Broken):
    """All shards share one count."""

    def _write_notice(self, shard, one):
        total = sum(self._notices.values())
        self._notices = {shard: total}
        return super()._write_notice(shard, one)


class IncludesTheCursor(Broken):
    """The event that the cursor stands on comes again."""

    async def events(self, after, limit=500):
        return await super().events(after - 1, limit)


class FindsTheOldest(Broken):
    """The first row of a key, not the newest."""

    async def find(self, key):
        return next((job for job in self._jobs.values() if job.key == key), None)


class LoadsOtherShards(Broken):
    """Everything that has not ended, whosever it is."""

    async def load_active(self, shard, **page):
        return [job for job in self._jobs.values() if not job.state.ended]


class LoadsOnePageForEver(Broken):
    """Whatever it is told to begin behind."""

    is_rare = True

    async def load_active(self, shard, *, after=0, **page):
        return await super().load_active(shard, **page)


class LoadsEveryKind(Broken):
    """Whichever is asked for."""

    is_rare = True

    async def load_active(self, shard, *, kind=None, **page):
        return await super().load_active(shard, **page)


class ReadsWhatEnded(Broken):
    """Only rows that go on are found by their numbers."""

    is_rare = True

    async def rows(self, rids):
        return [job for job in await super().rows(rids) if not job.state.ended]


class PrunesWhatASinkNeeds(Broken):
    """Only the sink that is ahead counts."""

    async def prune(self, before, limit=500):
        acked, self._acked = self._acked, {}
        done = await super().prune(before, limit)
        self._acked = acked
        return done


class PrunesWhatIsParked(Broken):
    """Acknowledged is done."""

    async def prune(self, before, limit=500):
        parked, self._parked = self._parked, {}
        done = await super().prune(before, limit)
        self._parked = parked
        return done


class PrunesByHalf(Broken):
    """The job goes, its events stay."""

    async def prune(self, before, limit=500):
        events = self._events
        done = await super().prune(before, limit)
        self._events = events
        return done


class PrunesTooMuchAtOnce(Broken):
    """Whatever is old."""

    async def prune(self, before, limit=500):
        return await super().prune(before)


class PrunesTheFirstRows(Broken):
    """By row, not by age."""

    is_rare = True

    def _old_jobs(self, before, done, kept):
        return iter(sorted(super()._old_jobs(before, done, kept)))


class ForgetsWhatItPruned(Broken):
    """So that an old cursor goes on over a gap."""

    async def pruned(self):
        return 0


class UsesNumbersAgain(Broken):
    """A row's number is how many there are."""

    async def prune(self, before, limit=500):
        done = await super().prune(before, limit)
        self._rid, self._seq = len(self._jobs), len(self._events)
        return done


class ParksForEverybody(Broken):
    """Whose it is does not matter."""

    async def unpark(self, sink, seq):
        for one in [key for key in self._parked if key[0] == seq]:
            del self._parked[one]


class ParksOnlyAhead(Broken):
    """A mark that does not move parks nothing."""

    async def ack(self, sink, seq, parked=None):
        ahead = seq > self._acked.get(sink, -1)
        await super().ack(sink, seq, parked if ahead else None)


class ForgetsBlobs(Broken):
    """Losing them is tolerated of a crash, not of a store."""

    async def blobs(self, shard):
        return {}


class SharesBlobs(Broken):
    """All shards have the same."""

    async def blobs(self, shard):
        return {name: blob for blobs in self._blobs.values() for name, blob in blobs.items()}


class KeepsItsEpoch(Broken):
    """Whoever acquires a shard gets what its owner has."""

    async def acquire(self, shard):
        self._epochs.setdefault(shard, 1)
        return self._epochs[shard]


class IgnoresEpochsOfNotices(Broken):
    """A commit without transitions changes no job, so why check?"""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        epoch = epoch if transitions else self._epochs.get(shard)
        return await super().commit(shard, epoch, transitions, notices, blobs)


class NumbersByRow(Broken):
    """The numbers of events do not grow in the order of commits."""

    def _write(self, one):
        row = super()._write(one)
        other = self._events[-2] if len(self._events) > 1 else row
        if one.type == "changed" and other.seq == row.seq - 1:
            self._events[-2:] = [replace(row, seq=other.seq), replace(other, seq=row.seq)]
            self._last[other.rid] = replace(other, seq=row.seq)
            return self._events[-2]
        return row


class AppliesByRow(Broken):
    """Any later version is as good as the next."""

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        self._check(shard, epoch)
        for one in transitions:
            known = self._jobs.get(one.after.rid)
            if known is not None and known.version > one.after.version - 1:
                raise StoreError("stale")
        rows = [self._write(one) for one in transitions]
        return rows + await super().commit(shard, epoch, [], notices, blobs)


class RevivesTheEnded(Broken):
    """``load_active`` gives whatever has an end that is not delivered yet."""

    async def load_active(self, shard):
        done = min(self._acked.values(), default=self._seq)
        return [
            job
            for job in await self.jobs(shard=shard)
            if not job.state.ended or self._last[job.rid].seq > done
        ]


class ForgetsDeadlines(Broken):
    """A change writes the columns that change, and none of the others."""

    def _write(self, one):
        row = super()._write(one)
        if one.type == "changed":
            self._jobs[row.rid] = replace(one.after, deadline=None)
        return row


class AnswersWithTheEventsOfAll(Broken):
    """A commit returns what is new since its last one, not what is its own."""

    def __init__(self):
        super().__init__()
        self._told = 0

    async def commit(self, shard, epoch, transitions, notices=(), blobs=None):
        await super().commit(shard, epoch, transitions, notices, blobs)
        rows = [row for row in self._events if row.seq > self._told]
        self._told = self._seq
        return rows


class KeepsWhatIsUnparked(Broken):
    """So that it is delivered once more with every opening."""

    async def unpark(self, sink, seq):
        """Not at all."""


class ParksBehindItsBack(Broken):
    """The mark is moved, what was to be parked with it is lost."""

    async def ack(self, sink, seq, parked=None):
        await super().ack(sink, seq)


class PrunesTheRunning(Broken):
    """Old is old."""

    def _old_jobs(self, before, done, kept):
        for rid, job in list(self._jobs.items()):
            old = job.created_at if job.ended_at is None else job.ended_at
            if old < before and self._last[rid].seq <= done and rid not in kept:
                yield rid


class StartsAgainUnderTheSameVersion(Broken):
    """A new row of a key goes on with the version of the old one."""

    def _register(self, new, *, again):
        known = self._jobs.get(self._newest.get(new.key, 0))
        job = super()._register(new, again=again)
        if known is not None and job.rid != known.rid:
            self._jobs[job.rid] = replace(job, version=known.version)
        return self._jobs[job.rid]


BROKEN = tuple(
    cls for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, Broken) and cls is not Broken
)  # fmt: skip
