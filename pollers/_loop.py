"""The loop of one source: look -> step -> save -> deliver -> sleep.

It decides nothing by itself: what is due and what a look means is ``_watch`` and ``_core``; whether a
request may go is the guard's.  What it adds is the order of things, and what happens when a look
fails.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from pollers._core import schedule
from pollers._core.looks import Looks
from pollers._core.model import Job, JobKey, NewJob, Notice, Shard, State, Transition
from pollers._core.stalls import Stalls
from pollers._core.step import Step
from pollers._core.tally import Tally, delay_of
from pollers._log import fit_to_tell, log
from pollers._submitting import Open, Submits
from pollers._watch import INFINITE, Watch
from pollers.observe import Doing, LookRecord, SaveRecord, SearchRecord
from pollers.sources.base import Asked, Source
from resilience import CallSettings, FatalError, Guard, QuotaError, ResilienceError

if TYPE_CHECKING:
    from pollers._engine import Engine

UNKNOWN_PAUSE = 60.0
"""Seconds between looks while the API refuses us and neither it nor the policy says when."""

MOST_WORDS = 100
"""Unknown status texts that are reported: one may hold a percentage."""

KEPT_EVERY = 30.0
"""Seconds between two writings of what was learned; it goes along with a commit."""

PAGE = 1000
"""Rows that are read at once: the loop is not held up, and commits go in between."""

SLACK = 0.05
"""Seconds: jobs that are registered together share their first look."""

LOOK_TIMEOUT = 30.0
LOOK_MAX_WAIT = 5.0
"""Seconds a look may always wait for a quota."""

_LOOK: CallSettings = {
    "max_attempts": 1,
    "attempt_timeout": LOOK_TIMEOUT,
    "idempotent": True,
    "lane": "looks",
}
"""A look is one attempt: the scheduler owns its back-off, not the guard's retry loop."""


class Loop:
    """The loop of one source."""

    def __init__(self, engine: "Engine", source: Source) -> None:
        self.engine = engine
        self.source = source
        self.shard = Shard(source.provider, source.deployment, source.guard.account)
        self.about = {
            "provider": self.shard.provider, "account": self.shard.account, "kind": source.kind,
        }  # fmt: skip
        told = getattr(source, "watch_options", ())
        self.watch = Watch(engine.pace, source.batch, engine.chance, told)
        self.submits = Submits(self)
        self._epoch = 0
        self._loaded: int | None = 0
        """Up to this row everything that an earlier run left is taken up; None: all of it is."""
        self._committing = anyio.Lock()
        self._nudge = anyio.Event()
        self.asked_at = 0.0
        self._hold_until = 0.0
        self.tally = Tally()
        self.stalls = engine.stalls.setdefault(self.shard, Stalls())
        self._failing_since = 0.0
        """When the first of the looks that failed in a row did."""
        self._looks_fail = False
        """Whether the last look failed, whatever searches do."""
        self._told: set[str] = set()
        self._keep_at = 0.0
        self._relies = False
        """Whether callbacks were last said to work."""

    def key(self, job_id: str) -> JobKey:
        """The key of a job of this source."""
        return JobKey(
            self.shard.provider, self.shard.deployment, self.shard.account, self.source.kind, job_id
        )

    async def open(self, epoch: int) -> None:
        """As the owner of the shard, take up what an earlier run left; ``load`` brings the rest."""
        self._epoch = epoch
        kept = await self.engine.store.blobs(self.shard)
        self.watch.looks = Looks.load(kept.get(self._blob))
        self.watch.callbacks.load(kept.get(self._callbacks_blob))
        await self._load_page()

    @property
    def loading(self) -> bool:
        """Whether jobs of an earlier run are still to be taken up."""
        return self._loaded is not None

    async def load(self) -> None:
        """Take up the rest, while the first are looked at already."""
        while self._loaded is not None:
            await self._load_page()

    async def _load_page(self) -> None:
        # nobody may end a job between its reading and its being watched: it would come back
        async with self._committing:
            rows = await self.engine.store.load_active(
                self.shard, kind=self.source.kind, after=self._loaded or 0, limit=PAGE
            )
            self._add(rows)
        self._loaded = rows[-1].rid if len(rows) == PAGE else None

    async def take_up(self, rid: int) -> None:
        """Take up one job now, if an earlier run left it and its page was not read yet."""
        if self._loaded is None:
            return
        async with self._committing:
            rows = await self.engine.store.rows([rid])
            self._add(
                job for job in rows
                if not job.state.ended and job.key == self.key(job.key.remote_id)
            )  # fmt: skip

    @property
    def idle(self) -> bool:
        """Whether it has nothing to look at, and nothing to look for."""
        return not self.watch.jobs and self.submits.next_at() == INFINITE

    @property
    def _blob(self) -> str:
        """What was learned about how long jobs take, in the store."""
        return f"looks/{self.source.kind}"

    @property
    def _callbacks_blob(self) -> str:
        """What was learned about how many callbacks are lost."""
        return f"callbacks/{self.source.kind}"

    async def register(self, new: Sequence[NewJob], *, again: bool) -> list[Job]:
        """Store jobs and begin to watch those that have not ended."""
        # what is stored must also be watched; and a row that ends meanwhile must not come back
        async with self._committing:
            with anyio.CancelScope(shield=True):
                jobs = await self._register(new, again=again)
        return jobs

    async def _register(self, new: Sequence[NewJob], *, again: bool) -> list[Job]:
        with self._writing() as events:
            jobs = await self.engine.store.register(self.shard, self._epoch, new, again=again)
            if self.engine.telling.heard:
                events.update(self._stored_now(new, jobs).values())
        live = [job for job in jobs if not job.state.ended]
        for start in range(0, len(live), PAGE):
            self._add(live[start : start + PAGE])
            await anyio.lowlevel.checkpoint()  # others have something to do too
        self.engine.news.tell_stored(await self.engine.store.head())
        return jobs

    def _stored_now(self, new: Sequence[NewJob], jobs: Sequence[Job]) -> dict[int, str]:
        """The rows that a registration made, not those that were known, with their events."""
        return {
            job.rid: str(job.state)
            for given, job in zip(new, jobs, strict=True)
            if (job.version, job.created_at) == (1, given.created_at) and not self.holds(job.rid)
        }

    def _add(self, jobs: Iterable[Job]) -> None:
        now, wall = anyio.current_time(), self.engine.wall()
        if self.idle:
            self.tally.due_since = None  # whatever was due before is gone
        for job in jobs:
            if job.state is State.WATCHING:
                self.watch.add(job, now=now, wall=wall, first_look=now + SLACK)
            else:
                self.submits.add(job)
        self.nudge()

    def nudge(self) -> None:
        """Something may be due sooner than was thought."""
        self._nudge.set()

    def hint(self, names: Iterable[str]) -> int:
        """These jobs are said to have changed; how many of them are watched."""
        watched = self.watch.hint(names, now=anyio.current_time())
        if watched:
            self.nudge()
        return watched

    async def cancel(self, rid: int) -> None:
        """Stop watching one job."""
        await self._commit([self.watch.unwatched(rid, wall=self.engine.wall())])

    def holds(self, rid: int) -> bool:
        """Whether something may still happen to this job by itself."""
        return rid in self.watch.jobs or self.submits.holds(rid)

    async def change(self, decide: Callable[[], Awaitable[Transition | None]]) -> None:
        """Decide and save in one go: nobody else registers or saves anything in between."""
        async with self._committing:
            move = await decide()
            if move is not None:
                await self._save([move])

    async def run(self) -> None:
        """Look -> step -> save -> deliver -> sleep."""
        while True:
            await self._sleep()
            # a commit is shielded, so this may be the first to learn that the poller is being left
            await anyio.lowlevel.checkpoint_if_cancelled()
            now = anyio.current_time()
            if self._hold_until <= now:
                looks = self.watch.next_look() <= now
                lost = self.submits.take(now, looks=looks)
                if lost is not None:
                    with self.engine.telling.doing("search", self.about):
                        await self._search(lost)
                elif looks:
                    with self.engine.telling.doing("look", self.about):
                        await self._look()
            now, wall = anyio.current_time(), self.engine.wall()
            over = self.watch.overdue(
                now=now, wall=wall, blocked=self.tally.trouble, since=self._failing_since
            )
            await self._commit(over)
            self._tell_of_callbacks()

    async def _sleep(self) -> None:
        while True:
            self._nudge = anyio.Event()
            request = min(self.watch.next_look(), self.submits.next_at())
            wake = min(max(request, self._hold_until), self.watch.next_overdue())
            left = wake - anyio.current_time()
            if left <= 0:
                return
            with anyio.move_on_after(left if left < INFINITE else None):
                await self._nudge.wait()

    async def _look(self) -> None:
        self.tally.due(anyio.current_time())
        try:
            with self._as_a_look() as guard:
                sightings = await self.source.look(guard, _Pick(self))
        except ResilienceError as error:
            jobs = self._count_asked()
            self._tell_look(
                jobs, anyio.current_time(), code=error.code, reason=error.reason or "error"
            )
            self._looks_fail = True
            await self._look_failed(error)
            return
        self._looks_fail = False
        jobs = self._count_asked()
        now = anyio.current_time()
        self._hold_until = max(self.asked_at + self.source.spacing, now)
        for word in self.watch.unknown_words(sightings.values()):
            self._tell_once(word)
        steps = self.watch.saw(sightings, asked=self.asked_at, now=now, wall=self.engine.wall())
        delays = [delay_of(one, asked=self.asked_at, now=now) for one in self.watch.brackets]
        self.tally.looked(jobs, delays, now)
        self._tell_look(jobs, now, delays=tuple(delays))
        await self._commit(steps, self._resumed())

    def _tell_look(self, jobs: int, now: float, **found: Any) -> None:
        if self.engine.telling.heard:
            found |= {**self.about, "jobs": jobs, "elapsed": now - self.asked_at if jobs else 0.0}
            self.engine.telling.tell(LookRecord(**found))

    @contextmanager
    def _as_a_look(self) -> Iterator[Guard]:
        """The source's guard, in which calls are one attempt of the looks' lane."""
        guard = self.source.guard
        settings: CallSettings = {**_LOOK, "max_wait": self._max_wait()}
        with guard.using(**settings):  # not a view: a block around the poller would win
            yield guard

    def _max_wait(self) -> float:
        """How long a look waits for a quota before the loop takes over again to watch deadlines.

        Where a limit is narrow, who leaves the line too early is overtaken by the other sources of
        the account.  A job that is watched meanwhile has its final grace before it is overdue.
        """
        left = self.watch.next_expiry() - anyio.current_time()
        return max(LOOK_MAX_WAIT, min(left, self.engine.pace.final_grace))

    def _count_asked(self) -> int:
        jobs = len(self.watch.picked)
        if jobs:  # else it was refused before anybody was asked
            room = min(self.source.batch, len(self.watch.jobs))
            self.tally.asked(jobs, max(jobs, room), self.asked_at)
        return jobs

    async def _search(self, lost: Open) -> None:
        """Look for a job whose submit had no reply that we know of."""
        asked = anyio.current_time()
        self.tally.due(asked)
        try:
            with self._as_a_look():
                matches = await self.submits.find(lost)
        except ResilienceError as error:
            self._tell_search(asked, code=error.code, reason=error.reason or "error")
            if _is_refusal(error) or not isinstance(error, FatalError):
                await self._look_failed(error, "search")
                return
            lost.trouble = _trouble(error, "search")  # this way of searching leads nowhere
            self._log_failure(error, "search", lost.due, quietly=lost.searches > 0)
            matches = ()
        else:
            reason = "no_search" if matches is None else None
            self._tell_search(asked, found=len(matches or ()), reason=reason)
        now = anyio.current_time()
        self._hold_until = now + self.source.spacing
        if not (self._looks_fail and self.watch.jobs):  # of which this says nothing
            self.tally.looked(0, (), now)
        await self.submits.found(lost, matches, asked=asked)
        await self._commit([], self._resumed())

    def _tell_search(self, asked: float, **found: Any) -> None:
        if self.engine.telling.heard:
            found |= {**self.about, "elapsed": anyio.current_time() - asked}
            self.engine.telling.tell(SearchRecord(**found))

    async def _look_failed(self, error: ResilienceError, what: Doing = "look") -> None:
        now = anyio.current_time()
        refused = _is_refusal(error)
        if isinstance(error, FatalError) and not refused and self.watch.split():
            self._hold_until = now + self.source.spacing
            return  # something in the batch is wrong: find out what, it must not hold up the rest
        if not self.tally.failures:
            self._failing_since = now
        self.tally.failed(_trouble(error, what))
        pause = schedule.after_failure(
            self.tally.failures, hint=error.retry_after, longest=self.engine.pace.max_interval,
            draw=self.engine.chance(),
        )  # fmt: skip
        if isinstance(error, FatalError) and not refused:
            self.watch.failed(now=now, retry_at=now + self.engine.pace.max_interval, odd=True)
            self._hold_until = now + self.source.spacing  # one odd job must not hold up the others
        else:
            self.watch.failed(now=now, retry_at=now)
            self._hold_until = now + max(pause, self.source.spacing)
        quietly = refused or self.tally.failures > 1  # loudly once in a row
        self._log_failure(error, what, self._hold_until, quietly=quietly)
        if refused:
            await self._refused(error, now)

    def _log_failure(
        self, error: ResilienceError, what: Doing, again_at: float, *, quietly: bool
    ) -> None:
        tell = log.info if quietly else log.warning
        tell(
            "pollers.look_failed", kind=self.source.kind, account=self.shard.account, what=what,
            code=error.code, title=error.title, reason=error.reason,
            retry_in=round(again_at - anyio.current_time(), 3),
        )  # fmt: skip

    async def _refused(self, error: ResilienceError, now: float) -> None:
        if self.engine.settings.stops_when_refused:
            raise error
        self._hold_until = now + (error.retry_after or UNKNOWN_PAUSE)
        resume = error.resume_at.isoformat() if error.resume_at else None
        told = {
            "code": error.code, "message": fit_to_tell(error.message), "title": error.title,
            "remedy": error.remedy, "resume_at": resume,
        }  # fmt: skip
        if self.stalls.refused(self, told, now):
            log.warning(
                "pollers.stalled", kind=self.source.kind, account=self.shard.account,
                code=error.code, title=error.title, remedy=error.remedy, resume_at=resume,
            )  # fmt: skip
            await self._commit([], [Notice(type="stalled", at=self.engine.wall(), data=told)])

    def _resumed(self) -> list[Notice]:
        """What a look that succeeded means for the account."""
        return self._no_longer_stalled(self.stalls.works(self, anyio.current_time()))

    def _no_longer_stalled(self, stalled_for: float | None) -> list[Notice]:
        if stalled_for is None:
            return []
        data = {"stalled_for": round(stalled_for, 6)}
        log.info("pollers.resumed", kind=self.source.kind, account=self.shard.account, **data)
        return [Notice(type="resumed", at=self.engine.wall(), data=data)]

    async def _commit(self, steps: Sequence[Step], notices: Sequence[Notice] = ()) -> None:
        """Save what is still true of it; one commit at a time, or two would race for a version."""
        if not steps and not notices:
            return
        async with self._committing:
            transitions = await self._taken(steps)
            if transitions or notices:
                await self._save(transitions, notices)

    async def _taken(self, steps: Sequence[Step]) -> list[Transition]:
        """What the steps make of the rows; a job may have ended while the look was under way."""
        store, jobs = self.engine.store, self.watch.jobs
        rows = {job.rid: job for job in await store.rows([rid for rid, _ in steps])}
        live = {rid: job for rid, job in rows.items() if not job.state.ended}
        if any(rid in jobs and rid not in live for rid, _ in steps):
            await store.commit(self.shard, self._epoch, [])  # Fenced: somebody else has ended it
        taken = (step(live[rid]) for rid, step in steps if rid in live)
        return [one for one in taken if one is not None]

    async def _save(
        self, transitions: Sequence[Transition], notices: Sequence[Notice] = ()
    ) -> None:
        """Save, then change what we hold, then tell: in this order, or a crash could lose it."""
        store = self.engine.store
        with anyio.CancelScope(shield=True):  # what is stored must be what we hold
            with self._writing() as events:
                rows = await store.commit(
                    self.shard, self._epoch, transitions, notices, self._learned(transitions)
                )
                events.update(row.type for row in rows)
            self.tally.saved(transitions)
            for one in transitions:
                self._apply(one.after)
            self.engine.news.tell_stored(max((row.seq for row in rows), default=0))
            if relief := self._no_longer_stalled(self.stalls.over(anyio.current_time())):
                await self._save([], relief)  # that was the last job of those that are held up

    @contextmanager
    def _writing(self) -> Iterator[Counter[str]]:
        """While the store writes; whoever asked it to says which events it has stored."""
        events: Counter[str] = Counter()
        telling = self.engine.telling
        with telling.doing("save", self.about):
            self.tally.writes(anyio.current_time())
            try:
                yield events
            finally:
                self.tally.wrote(anyio.current_time())
            if telling.heard:
                took = self.tally.wrote_for
                telling.tell(SaveRecord(**self.about, events=dict(events), elapsed=took))

    def _learned(self, transitions: Sequence[Transition]) -> dict[str, bytes]:
        """What is to be remembered besides: now and then, and when the last job ends."""
        ended = sum(one.after.state.ended for one in transitions)
        now = anyio.current_time()
        if not ended or (now < self._keep_at and ended < len(self.watch.jobs)):
            return {}
        self._keep_at = now + KEPT_EVERY
        learned = {self._blob: self.watch.looks.dump()}
        if self.watch.callbacks.has_begun:
            learned[self._callbacks_blob] = self.watch.callbacks.loss.dump()
        return learned

    def _apply(self, job: Job) -> None:
        self.submits.changed(job)
        if job.state.ended:
            self.watch.remove(job.rid)
        elif job.rid in self.watch.jobs:
            self.watch.jobs[job.rid].status = job.status
        else:
            self._add([job])
        if job.state.ended or job.state is State.UNCERTAIN:
            self.engine.news.tell_ended(job.rid)

    def _tell_of_callbacks(self) -> None:
        callbacks = self.watch.callbacks
        if callbacks.trusted == self._relies:
            return
        self._relies = callbacks.trusted
        lost, stretch = round(callbacks.loss.chance, 3), round(callbacks.stretch, 1)
        if self._relies:
            log.info(
                "pollers.callbacks_work", kind=self.source.kind, account=self.shard.account,
                lost=lost, intervals_times=stretch,
            )  # fmt: skip
        else:
            log.warning(
                "pollers.callbacks_stopped", kind=self.source.kind, account=self.shard.account,
                lost=lost, intervals_times=stretch,
            )  # fmt: skip

    def _tell_once(self, word: str) -> None:
        if word not in self._told and len(self._told) < MOST_WORDS:
            self._told.add(word)
            log.warning(
                "pollers.unknown_status", kind=self.source.kind, account=self.shard.account,
                status=word,
            )  # fmt: skip


class _Pick:
    """What a look gets its jobs from."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def __call__(self, count: int, *, dear: Callable[[Asked], bool] | None = None) -> list[str]:
        now = self._loop.asked_at = anyio.current_time()
        return self._loop.watch.pick(count, now=now, dear=dear)

    def job(self, remote_id: str) -> Asked:
        return self._loop.watch.asked(remote_id)


def _trouble(error: ResilienceError, what: Doing) -> str:
    """Why a look or a search failed."""
    return fit_to_tell(f"the last {what} failed: {error.code or error.reason}: {error.message}")


def _is_refusal(error: ResilienceError) -> bool:
    """The API refuses *us*: the key, the account or its balance, not this one request."""
    if isinstance(error, QuotaError):
        return error.reason == "exhausted"
    return (
        isinstance(error, FatalError) and error.rule is not None and error.rule.scope != "request"
    )
