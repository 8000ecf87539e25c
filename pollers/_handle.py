"""A job as its watcher holds it."""

from typing import TYPE_CHECKING

from pollers._core.events import TERMINAL, JobUncertain, Terminal, event_of
from pollers._core.model import Job
from pollers.errors import JobPruned, SubmitUncertain

if TYPE_CHECKING:
    from pollers._engine import Engine


class JobHandle:
    """A job as its watcher holds it."""

    __slots__ = ("_engine", "_rid", "key")

    def __init__(self, engine: "Engine", job: Job) -> None:
        self._engine = engine
        self._rid = job.rid
        self.key = job.key

    @property
    def id(self) -> str:
        """The provider's id of the job; of one that is being submitted, its token until then."""
        return self.key.remote_id

    @property
    def rid(self) -> int:
        """The number of its row in the store."""
        return self._rid

    def point_at(self, job: Job) -> None:
        """Stand for this row from now on: what was submitted has its id, or was known already."""
        self._rid = job.rid
        self.key = job.key

    async def row(self) -> Job:
        """The row as it is now."""
        found = await self._engine.read(self._engine.store.rows([self._rid]))
        if not found:
            raise self._pruned()
        return found[0]

    async def result(self) -> Terminal:
        """Wait for the end: ``JobSucceeded | JobFailed | JobExpired | JobCancelled``.

        Cancelling the wait does not touch the job.

        Raises:
            JobPruned: it ended so long ago that it was deleted (``keep``).
            SubmitUncertain: the reply to its submit was lost, and it can't be found.
            PollerStopped: the poller ended first.
        """
        while True:
            rid = self._rid
            event = await self._end_of(rid)
            if rid == self._rid:  # else it turned out to be a job that was known already
                return event

    async def _end_of(self, rid: int) -> Terminal:
        engine = self._engine
        while True:
            while engine.holds(rid):
                engine.check_running()
                await engine.news.end_of(rid)
            stored = engine.news.stored
            row = await engine.read(engine.store.last_event(rid))
            if row is None:
                raise self._pruned()
            event = event_of(row, engine.store.uuid)
            if isinstance(event, TERMINAL):
                return event
            if isinstance(event, JobUncertain):
                raise SubmitUncertain(event)
            engine.check_running()
            # registered a moment ago, or left by an earlier run: not yet in our hands
            await stored.wait()

    async def unwatch(self) -> None:
        """Stop watching (``JobCancelled``).  The remote work goes on; an ended job stays as it is."""
        await self._engine.cancel(self._rid, self.key)

    def _pruned(self) -> JobPruned:
        keep = self._engine.settings.keep
        return JobPruned(f"{self.key.source} {self.id} ended and was pruned (keep={keep})")

    def __repr__(self) -> str:
        return f"<JobHandle {self.key.source} {self.id}>"
