"""A job as its watcher holds it."""

from typing import TYPE_CHECKING

from pollers._core.events import Terminal
from pollers._core.model import Job

if TYPE_CHECKING:
    from pollers.poller import Poller


class JobHandle:
    """A job as its watcher holds it."""

    __slots__ = ("_poller", "_rid", "key")

    def __init__(self, poller: "Poller", job: Job) -> None:
        self._poller = poller
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
        return await self._poller.row(self._rid, self.key)

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
            event = await self._poller.result_of(rid)
            if rid == self._rid:  # else it turned out to be a job that was known already
                return event

    async def unwatch(self) -> None:
        """Stop watching (``JobCancelled``).  The remote work goes on; an ended job stays as it is."""
        await self._poller.unwatch(self._rid, self.key)

    def __repr__(self) -> str:
        return f"<JobHandle {self.key.source} {self.id}>"
