"""The loop of one source: look -> step -> save -> deliver -> sleep.

It decides nothing by itself: what is due and what a look means is ``_watch`` and ``_core``; whether a
request may go is the guard's.  What it adds is the order of things, and what happens when a look
fails.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from pollers._core import schedule
from pollers._core.events import event_of
from pollers._core.looks import Looks
from pollers._core.model import Job, JobKey, NewJob, Notice, Shard, Transition
from pollers._core.step import cancel
from pollers._log import log
from pollers._watch import INFINITE, Watch
from pollers.sources.base import Source, printable
from resilience import CallSettings, FatalError, QuotaError, ResilienceError

if TYPE_CHECKING:
    from pollers.poller import Poller

UNKNOWN_PAUSE = 60.0
"""Seconds between looks while the API refuses us and neither it nor the policy says when."""

_QUERY = re.compile(r"\?[^\s'\"]*=[^\s'\"]*")
MOST_SAID = 500
"""Characters of an error that an event repeats."""

MOST_WORDS = 100
"""Unknown status texts that are reported: one may hold a percentage."""

KEPT_EVERY = 30.0
"""Seconds between two writings of what was learned; it goes along with a commit."""

SLACK = 0.05
"""Seconds: jobs that are registered together share their first look."""

LOOK_TIMEOUT = 30.0
LOOK_MAX_WAIT = 5.0
"""Seconds a look waits for a quota before the loop takes over again: deadlines must be watched."""

_LOOK: CallSettings = {
    "max_attempts": 1,
    "max_wait": LOOK_MAX_WAIT,
    "attempt_timeout": LOOK_TIMEOUT,
    "idempotent": True,
    "lane": "looks",
}
"""A look is one attempt: the scheduler owns its back-off, not the guard's retry loop."""


class Loop:
    """The loop of one source."""

    def __init__(self, poller: "Poller", source: Source) -> None:
        self.poller = poller
        self.source = source
        self.shard = Shard(source.provider, source.deployment, source.guard.account)
        self.watch = Watch(poller.pace, source.batch, poller.chance)
        self._epoch = 0
        self._committing = anyio.Lock()
        self._nudge = anyio.Event()
        self.asked_at = 0.0
        self._hold_until = 0.0
        self._failures = 0
        self._trouble: str | None = None
        """Why the last look failed."""
        self._failing_since = 0.0
        """When the first of the looks that failed in a row did."""
        self._stalled_at: float | None = None
        self._told: set[str] = set()
        self._keep_at = 0.0

    def key(self, job_id: str) -> JobKey:
        """The key of a job of this source."""
        return JobKey(
            self.shard.provider, self.shard.deployment, self.shard.account, self.source.kind, job_id
        )

    async def open(self, epoch: int) -> None:
        """As the owner of the shard, take up what an earlier run left."""
        self._epoch = epoch
        kept = (await self.poller.store.blobs(self.shard)).get(self._blob)
        self.watch.looks = Looks.load(kept)
        active = [
            job
            for job in await self.poller.store.load_active(self.shard)
            if job.key.kind == self.source.kind
        ]
        self._add(active)

    @property
    def _blob(self) -> str:
        """What was learned about how long jobs take, in the store."""
        return f"looks/{self.source.kind}"

    async def register(self, new: Sequence[NewJob], *, again: bool) -> list[Job]:
        """Store jobs and begin to watch those that have not ended."""
        # what is stored must also be watched; and a row that ends meanwhile must not come back
        async with self._committing:
            with anyio.CancelScope(shield=True):
                jobs = await self._register(new, again=again)
        return jobs

    async def _register(self, new: Sequence[NewJob], *, again: bool) -> list[Job]:
        jobs = await self.poller.store.register(self.shard, self._epoch, new, again=again)
        self._add([job for job in jobs if not job.state.ended])
        self.poller.registered(await self.poller.store.head())
        return jobs

    def _add(self, jobs: Iterable[Job]) -> None:
        now, wall = anyio.current_time(), self.poller.wall()
        for job in jobs:
            self.watch.add(job, now=now, wall=wall, first_look=now + SLACK)
        self._nudge.set()

    async def cancel(self, rid: int) -> None:
        """Stop watching one job."""
        async with self._committing:
            one = self.watch.jobs.get(rid)
            if one is not None:
                await self._save([cancel(one.job, at=self.poller.wall(), looks=one.looks)])

    async def run(self) -> None:
        """Look -> step -> save -> deliver -> sleep."""
        while True:
            await self._sleep()
            # a commit is shielded, so this may be the first to learn that the poller is being left
            await anyio.lowlevel.checkpoint_if_cancelled()
            now = anyio.current_time()
            if self.watch.next_look() <= now and self._hold_until <= now:
                await self._look()
            now, wall = anyio.current_time(), self.poller.wall()
            over = self.watch.overdue(
                now=now, wall=wall, blocked=self._trouble, since=self._failing_since
            )
            await self._commit(over)

    async def _sleep(self) -> None:
        while True:
            self._nudge = anyio.Event()
            wake = min(max(self.watch.next_look(), self._hold_until), self.watch.next_overdue())
            left = wake - anyio.current_time()
            if left <= 0:
                return
            with anyio.move_on_after(left if left < INFINITE else None):
                await self._nudge.wait()

    async def _look(self) -> None:
        try:
            guard = self.source.guard
            with guard.using(**_LOOK):  # not a view: that would yield to a block around the poller
                sightings = await self.source.look(guard, _Pick(self))
        except ResilienceError as error:
            await self._look_failed(error)
            return
        now = anyio.current_time()
        self._hold_until = max(self.asked_at + self.source.spacing, now)
        self._failures, self._trouble = 0, None
        for word in self.watch.unknown_words(sightings.values()):
            self._tell_once(word)
        transitions = self.watch.saw(
            sightings, asked=self.asked_at, now=now, wall=self.poller.wall()
        )
        await self._commit(transitions, self._resumed())

    async def _look_failed(self, error: ResilienceError) -> None:
        now = anyio.current_time()
        refused = _is_refusal(error)
        if isinstance(error, FatalError) and not refused and self.watch.split():
            self._hold_until = now + self.source.spacing
            return  # something in the batch is wrong: find out what, it must not hold up the rest
        self._failing_since = self._failing_since if self._failures else now
        self._failures += 1
        self._trouble = _trouble(error)
        pause = schedule.after_failure(
            self._failures, hint=error.retry_after, longest=self.poller.pace.max_interval,
            draw=self.poller.chance(),
        )  # fmt: skip
        if isinstance(error, FatalError) and not refused:
            self.watch.failed(now=now, retry_at=now + self.poller.pace.max_interval, odd=True)
            self._hold_until = now + self.source.spacing  # one odd job must not hold up the others
        else:
            self.watch.failed(now=now, retry_at=now)
            self._hold_until = now + max(pause, self.source.spacing)
        tell = log.info if refused or self._failures > 1 else log.warning  # once in a row
        tell(
            "pollers.look_failed", kind=self.source.kind, account=self.shard.account,
            code=error.code, title=error.title, reason=error.reason,
            retry_in=round(self._hold_until - now, 3),
        )  # fmt: skip
        if refused:
            await self._refused(error, now)

    async def _refused(self, error: ResilienceError, now: float) -> None:
        if self.poller.stops_when_refused:
            raise error
        self._hold_until = now + (error.retry_after or UNKNOWN_PAUSE)
        if self._stalled_at is None:
            self._stalled_at = now
            resume = error.resume_at.isoformat() if error.resume_at else None
            log.warning(
                "pollers.stalled", kind=self.source.kind, account=self.shard.account,
                code=error.code, title=error.title, remedy=error.remedy, resume_at=resume,
            )  # fmt: skip
            told = {
                "code": error.code, "message": _fit_to_tell(error.message), "title": error.title,
                "remedy": error.remedy, "resume_at": resume,
            }  # fmt: skip
            await self._commit([], [Notice(type="stalled", at=self.poller.wall(), data=told)])

    def _resumed(self) -> list[Notice]:
        if self._stalled_at is None:
            return []
        stalled_for = round(anyio.current_time() - self._stalled_at, 6)
        self._stalled_at = None
        data = {"stalled_for": stalled_for}
        return [Notice(type="resumed", at=self.poller.wall(), data=data)]

    async def _commit(
        self, transitions: Sequence[Transition], notices: Sequence[Notice] = ()
    ) -> None:
        """Save what is still true of it; one commit at a time, or two would race for a version."""
        if not transitions and not notices:
            return
        async with self._committing:
            current = [one for one in transitions if self._is_current(one)]
            if current or notices:
                await self._save(current, notices)

    async def _save(
        self, transitions: Sequence[Transition], notices: Sequence[Notice] = ()
    ) -> None:
        """Save, then change what we hold, then tell: in this order, or a crash could lose it."""
        store = self.poller.store
        with anyio.CancelScope(shield=True):  # what is stored must be what we hold
            rows = await store.commit(
                self.shard, self._epoch, transitions, notices, self._learned(transitions)
            )
            for one in transitions:
                self._apply(one.after)
            self.poller.committed(event_of(row, store.uuid) for row in rows)

    def _learned(self, transitions: Sequence[Transition]) -> dict[str, bytes]:
        """What is to be remembered besides: now and then, and when the last job ends."""
        ended = sum(one.after.state.ended for one in transitions)
        now = anyio.current_time()
        if not ended or (now < self._keep_at and ended < len(self.watch.jobs)):
            return {}
        self._keep_at = now + KEPT_EVERY
        return {self._blob: self.watch.looks.dump()}

    def _is_current(self, one: Transition) -> bool:
        """A job may have been unwatched while the look at it was under way."""
        watched = self.watch.jobs.get(one.after.rid)
        return watched is not None and watched.job.version == one.after.version - 1

    def _apply(self, job: Job) -> None:
        if job.state.ended:
            self.watch.remove(job.rid)
            self.poller.ended(job.rid)
        else:
            self.watch.jobs[job.rid].job = job

    def _tell_once(self, word: str) -> None:
        if word not in self._told and len(self._told) < MOST_WORDS:
            self._told.add(word)
            log.warning("pollers.unknown_status", kind=self.source.kind, status=word)


class _Pick:
    """What a look gets its jobs from."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def __call__(self, count: int, *, dear: Callable[[Job], bool] | None = None) -> list[str]:
        now = self._loop.asked_at = anyio.current_time()
        return self._loop.watch.pick(count, now=now, dear=dear)

    def job(self, remote_id: str) -> Job:
        return next(
            one.job for one in self._loop.watch.picked if one.job.key.remote_id == remote_id
        )


def _trouble(error: ResilienceError) -> str:
    """Why a look failed."""
    return _fit_to_tell(f"the last look failed: {error.code or error.reason}: {error.message}")


def _fit_to_tell(said: str) -> str:
    """What an event may say: whoever gets it must not get a key out of a URL's query."""
    return printable(_QUERY.sub("?…", said))[:MOST_SAID]


def _is_refusal(error: ResilienceError) -> bool:
    """The API refuses *us*: the key, the account or its balance, not this one request."""
    if isinstance(error, QuotaError):
        return error.reason == "exhausted"
    return (
        isinstance(error, FatalError) and error.rule is not None and error.rule.scope != "request"
    )
