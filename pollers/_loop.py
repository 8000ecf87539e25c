"""The loop of one source: look -> step -> save -> deliver -> sleep.

It decides nothing by itself: what is due and what a look means is ``_watch`` and ``_core``; whether a
request may go is the guard's; what is stored is ``_ledger``.  What it adds is the order of things, and
what happens when a look fails.

Several looks may be under way, where the source says so: a limit could not be filled otherwise where
an answer takes longer than the spacing.  Requests begin one after another all the same, each only
when the one before has gone.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from pollers._core import schedule
from pollers._core.model import Notice
from pollers._core.tally import delay_of
from pollers._ledger import Ledger
from pollers._log import fit_to_tell, log
from pollers._queue import Hand
from pollers._submitting import Open
from pollers._watch import INFINITE
from pollers.observe import Doing, LookRecord, SearchRecord
from pollers.sources.base import Asked, Source
from resilience import CallSettings, FatalError, Guard, QuotaError, ResilienceError

if TYPE_CHECKING:
    from pollers._engine import Engine

UNKNOWN_PAUSE = 60.0
"""Seconds between looks while the API refuses us and neither it nor the policy says when."""

MOST_WORDS = 100
"""Unknown status texts that are reported: one may hold a percentage."""

LOOK_TIMEOUT = 30.0
LOOK_MAX_WAIT = 5.0
"""Seconds a look may always wait for a quota."""

Begin = Callable[..., None]
"""Starts a function, with its arguments, beside whoever calls this."""

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
        self.ledger = ledger = Ledger(engine, source, self.nudge)
        self.shard, self.about = ledger.shard, ledger.about
        self.watch, self.submits, self.tally = ledger.watch, ledger.submits, ledger.tally
        self.stalls = ledger.stalls
        self._nudge = anyio.Event()
        self._hands: set[Hand] = set()
        """Of the looks that are under way."""
        self._at_door: Hand | Open | None = None
        """Who has begun and not gone yet: another one would be no sooner."""
        self._hold_until = 0.0
        """Nothing may go before."""
        self._failed_at = -INFINITE
        """When a look last failed; those that were under way then say nothing new."""
        self._failing_since = 0.0
        """When the first of the looks that failed in a row did."""
        self._looks_fail = False
        """Whether the last look failed, whatever searches do."""
        self._told: set[str] = set()
        self._relies = False
        """Whether callbacks were last said to work."""

    @property
    def idle(self) -> bool:
        """Whether it has nothing to look at, and nothing to look for."""
        return self.ledger.idle

    def nudge(self) -> None:
        """Something may be due sooner than was thought."""
        self._nudge.set()

    def hint(self, names: Iterable[str]) -> int:
        """These jobs are said to have changed; how many of them are watched."""
        watched = self.watch.hint(names, now=anyio.current_time())
        if watched:
            self.nudge()
        return watched

    async def run(self, begin: Begin) -> None:
        """Look -> step -> save -> deliver -> sleep, until cancelled."""
        while True:
            await self._sleep()
            # a commit is shielded, so this may be the first to learn that the poller is being left
            await anyio.lowlevel.checkpoint_if_cancelled()
            now = anyio.current_time()
            if now >= self._hold_until and not self._is_busy:
                self._begin_request(now, begin)
            self.watch.tidy(now)
            if self._is_quiet:
                await self._expire()
            self._tell_of_callbacks()

    async def _sleep(self) -> None:
        while True:
            self._nudge = anyio.Event()
            request = min(self.watch.next_look(), self.submits.next_at())
            request = INFINITE if self._is_busy else max(request, self._hold_until)
            expiry = self.watch.next_expiry() if self._is_quiet else INFINITE
            left = min(request, expiry, self.watch.next_chore()) - anyio.current_time()
            if left <= 0:
                return
            with anyio.move_on_after(left if left < INFINITE else None):
                await self._nudge.wait()

    async def _expire(self) -> None:
        """Give up what is overdue, after each look: what is under way may tell that looks work."""
        over = self.watch.overdue(
            self._hands, now=anyio.current_time(), wall=self.engine.wall(),
            blocked=self.tally.trouble, since=self._failing_since,
        )  # fmt: skip
        await self.ledger.commit(over)

    # -- requests -----------------------------------------------------------------------------

    @property
    def _is_busy(self) -> bool:
        """Whether no request may begin, however long one is due."""
        return self._at_door is not None or len(self._hands) >= getattr(
            self.source, "looks_at_once", 1
        )

    @property
    def _is_quiet(self) -> bool:
        """Whether no request is under way."""
        return self._at_door is None and not self._hands

    def _hold(self, seconds: float) -> None:
        self._hold_until = max(self._hold_until, anyio.current_time() + seconds)

    def _begin_request(self, now: float, begin: Begin) -> None:
        """A look or a search, in turn, if it is time."""
        looks = self.watch.next_look() <= now
        lost = self.submits.take(now, looks=looks)
        if lost is not None:
            self._at_door = lost
            begin(self._search, lost)
        elif looks:
            self._at_door = hand = Hand()
            begin(self._look, hand)

    def pick(self, hand: Hand, count: int, dear: Callable[[Asked], bool] | None) -> list[str]:
        """The jobs of a look that goes now."""
        self._hold(self.source.spacing)
        self._leave_door(hand)
        elsewhere = sum(len(other.picked) for other in self._hands if other is not hand)
        hand.room = min(self.source.batch, len(self.watch.jobs) - elsewhere)
        return self.watch.pick(hand, count, now=anyio.current_time(), dear=dear)

    def _leave_door(self, who: Hand | Open) -> None:
        if self._at_door is who:
            self._at_door = None
        self.nudge()

    async def _look(self, hand: Hand) -> None:
        self._hands.add(hand)
        try:
            with self.engine.telling.doing("look", self.about):
                await self._look_once(hand)
            await self._expire()
            self._tell_of_callbacks()
        finally:
            self._hands.remove(hand)
            self._leave_door(hand)

    async def _look_once(self, hand: Hand) -> None:
        self.tally.due(anyio.current_time())
        try:
            with self._as_a_look() as guard:
                sightings = await self.source.look(guard, _Pick(self, hand))
        except ResilienceError as error:
            jobs = self._count_asked(hand)
            self._tell_look(
                hand, jobs, anyio.current_time(), code=error.code, reason=error.reason or "error"
            )
            self._looks_fail = True
            await self._look_failed(error, hand)
            return
        self._looks_fail = False
        jobs = self._count_asked(hand)
        now = anyio.current_time()
        for word in self.watch.unknown_words(sightings.values()):
            self._tell_once(word)
        steps = self.watch.saw(hand, sightings, now=now, wall=self.engine.wall())
        self.nudge()  # some may be due before this is stored
        delays = [delay_of(one, asked=hand.asked_at, now=now) for one in self.watch.brackets]
        self.tally.looked(jobs, delays, now)
        self._tell_look(hand, jobs, now, delays=tuple(delays))
        await self.ledger.commit(steps, self._resumed(hand.asked_at))

    def _tell_look(self, hand: Hand, jobs: int, now: float, **found: Any) -> None:
        if self.engine.telling.heard:
            found |= {**self.about, "jobs": jobs, "elapsed": now - hand.asked_at if jobs else 0.0}
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

    def _count_asked(self, hand: Hand) -> int:
        jobs = len(hand.picked)
        if jobs:  # else it was refused before anybody was asked
            self.tally.asked(jobs, max(jobs, hand.room), hand.asked_at)
        return jobs

    async def _search(self, lost: Open) -> None:
        try:
            with self.engine.telling.doing("search", self.about):
                await self._search_once(lost)
        finally:
            self._leave_door(lost)

    async def _search_once(self, lost: Open) -> None:
        """Look for a job whose submit had no reply that we know of."""
        asked = anyio.current_time()
        self.tally.due(asked)
        try:
            with self._as_a_look():
                matches = await self.submits.find(lost)
        except ResilienceError as error:
            self._tell_search(asked, code=error.code, reason=error.reason or "error")
            if _is_refusal(error) or not isinstance(error, FatalError):
                await self._look_failed(error, Hand(), "search")
                return
            lost.trouble = _trouble(error, "search")  # this way of searching leads nowhere
            self._log_failure(error, "search", lost.due, quietly=lost.searches > 0)
            matches = ()
        else:
            reason = "no_search" if matches is None else None
            self._tell_search(asked, found=len(matches or ()), reason=reason)
        self._hold(self.source.spacing)
        if not (self._looks_fail and self.watch.jobs):  # of which this says nothing
            self.tally.looked(0, (), anyio.current_time())
        await self.submits.found(lost, matches, asked=asked)
        await self.ledger.commit([], self._resumed(asked))

    def _tell_search(self, asked: float, **found: Any) -> None:
        if self.engine.telling.heard:
            found |= {**self.about, "elapsed": anyio.current_time() - asked}
            self.engine.telling.tell(SearchRecord(**found))

    # -- when they fail -----------------------------------------------------------------------

    async def _look_failed(self, error: ResilienceError, hand: Hand, what: Doing = "look") -> None:
        now, spacing = anyio.current_time(), self.source.spacing
        refused = _is_refusal(error)
        is_odd = isinstance(error, FatalError) and not refused
        if is_odd and self.watch.queue.split(hand):
            self._hold(spacing)
            return  # something in the batch is wrong: find out what, it must not hold up the rest
        if not is_odd and hand.asked_at < self._failed_at:
            self.watch.failed(hand, now=now, retry_at=now)
            return  # what it met is known since
        if not self.tally.failures:
            self._failing_since = now
        self.tally.failed(_trouble(error, what))
        if is_odd:
            retry_at, pause = now + self.engine.pace.max_interval, 0.0
        else:
            self._failed_at, retry_at, pause = now, now, self._pause(error, refused=refused)
        self.watch.failed(hand, now=now, retry_at=retry_at, odd=is_odd)
        self._hold(max(pause, spacing))
        quietly = refused or self.tally.failures > 1  # loudly once in a row
        self._log_failure(error, what, self._hold_until, quietly=quietly)
        if refused:
            await self._refused(error, now)

    def _pause(self, error: ResilienceError, *, refused: bool) -> float:
        """Seconds to leave the source alone."""
        if refused:
            return error.retry_after or UNKNOWN_PAUSE
        return schedule.after_failure(
            self.tally.failures, hint=error.retry_after, longest=self.engine.pace.max_interval,
            draw=self.engine.chance(),
        )  # fmt: skip

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
            await self.ledger.commit([], [Notice(type="stalled", at=self.engine.wall(), data=told)])

    def _resumed(self, asked: float) -> list[Notice]:
        """What a look that succeeded means for the account."""
        if asked < self._failed_at:
            return []  # the last refusal is newer
        return self.ledger.resumed(self.stalls.works(self, anyio.current_time()))

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

    def __init__(self, loop: Loop, hand: Hand) -> None:
        self._loop = loop
        self._hand = hand

    def __call__(self, count: int, *, dear: Callable[[Asked], bool] | None = None) -> list[str]:
        return self._loop.pick(self._hand, count, dear)

    def job(self, remote_id: str) -> Asked:
        return next(one for one in self._hand.picked if one.remote_id == remote_id)


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
