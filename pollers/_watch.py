"""The live jobs of one source: which are due, which are picked, what a look did to them.

Bookkeeping only: no I/O and no waiting.  Instants are loop time unless they are called wall.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from pollers._core.calendar import Calendar
from pollers._core.callbacks import Callbacks
from pollers._core.gauges import Ages
from pollers._core.looks import PRICE, Looks, shortened
from pollers._core.model import Job, Phase, Sighting
from pollers._core.step import Step, cancel, expire, is_news, step
from pollers._core.table import Table, Watched
from pollers._core.turns import Turns

INFINITE = float("inf")

AT_ONCE = 1.0
"""Seconds after the watch: what has ended by then may have ended long before."""

TOLD_LATE = 0.1
"""A callback is taken to come so late, as a part of the age that the job has then, or sooner."""

SET_ASIDE = 10
"""Batches of dear jobs that a look sets aside at most, lest a million at once stop the loop."""

REPLANNED = 200
REPLAN_EVERY = 0.01
"""Seconds between so many jobs and the next, when polling takes over from callbacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often to look.  Seconds."""

    min_interval: float = 1.0
    max_interval: float = 30.0
    grace: float = 60.0
    """A job may be missing from answers for so long."""
    final_grace: float = 30.0
    """After its deadline a job waits so long for a last look that the API won't give."""
    look_price: float = PRICE
    """Delay that a look at one job must save, on average."""


class Watch:
    """Every live job of one source."""

    def __init__(
        self, pace: Pace, batch: int, chance: Callable[[], float], told: Iterable[str] = ()
    ) -> None:
        self.jobs = Table(told)
        self.picked: list[Watched] = []
        self.looks = Looks()
        self.ages = Ages()
        """When jobs were last looked at; or first watched, or taken up."""
        self.brackets: list[float] = []
        """Of each job that the last look found ended: seconds in which that must have happened."""
        self._pace = pace
        self._batch = batch
        self._chance = chance
        self._turns = Turns(self, self.jobs, price=pace.look_price, batch=batch, place=1)
        self._dear_turns = Turns(self, self.jobs, price=pace.look_price, batch=1, place=3)
        """Of those that cost a request each and had to be left behind by a look that was due."""
        self._costly: Watched | None = None
        """The one of those picked that costs a request of its own."""
        self._overdue = Calendar(self._over_at, self.jobs.rid)
        self._put_off: dict[int, float] = {}
        """By slot: jobs that are overdue, and whose look is waited for a little longer."""
        self._children: dict[int, tuple[Sighting, ...]] = {}
        """By row id: what jobs are made of, as it was last seen."""
        self._batches: deque[list[int]] = deque()
        """Halves of a batch that was refused as a whole; they go first, one at a time."""
        self._half: list[int] = []
        """The half that is under way."""
        self.callbacks = Callbacks(pace.min_interval, pace.max_interval)
        self._rids: dict[str, int] | None = None
        """By name; made when the first hint comes, as others don't need it."""
        self._replanned = 0
        """Slots that were planned anew, of those that are to be."""
        self._replan_at = INFINITE

    def add(self, job: Job, *, now: float, wall: float, first_look: float) -> None:
        """Watch a job; its calendar deadline is anchored to the monotonic clock here."""
        if job.rid in self.jobs:
            return
        # it may have passed while nobody was running: there is always time for one more look
        deadline = INFINITE if job.deadline is None else now + max(0.0, job.deadline - wall)
        one = self.jobs.add(job, born=now - max(0.0, wall - job.created_at), deadline=deadline)
        self.jobs.looked_at[one.slot] = self.ages.enter(now)
        self._turns.add(one.slot, first_look)
        if self._rids is not None:
            self._rids[job.key.remote_id] = job.rid
        self.callbacks.begin(job.rid, job.key.remote_id, now)
        if deadline < INFINITE:
            self._overdue.add(one.slot, self._over_at(one.slot))

    def remove(self, rid: int) -> None:
        """Stop watching; the calendars forget it when they come to it."""
        one = self.jobs.get(rid)
        if one is not None:
            self.ages.leave(one.looked_at)
            self._put_off.pop(one.slot, None)
            self._children.pop(rid, None)
            if self._rids is not None:
                self._rids.pop(one.remote_id, None)
            self.jobs.pop(rid)
        self.callbacks.forget(rid)

    def due(self, now: float) -> int:
        """How many jobs are due, counted up to about ``turns.MOST_COUNTED``."""
        return self._turns.due(now) + self._dear_turns.due(now)

    def _over_at(self, slot: int) -> float:
        return self._put_off.get(slot, self.jobs.deadline[slot] + self._pace.final_grace)

    def hint(self, names: Iterable[str], *, now: float) -> int:
        """Somebody says that these have changed: they are due; how many of them are watched."""
        if self._rids is None:
            self._rids = {one.remote_id: rid for rid, one in self.jobs.items()}
        watched = 0
        for name in names:
            rid = self._rids.get(name)
            if rid is None:
                self.callbacks.hint_of_stranger(name, now)
                continue
            watched += 1
            self.callbacks.late(name, now)  # its end is being saved, or that of an earlier row
            due = self.callbacks.hint(rid, now)
            if due is not None:
                self._turns.hasten(self.jobs[rid].slot, due)
        return watched

    def next_look(self) -> float:
        """When the next job is due."""
        if self._batches:
            return 0.0
        return min(self._turns.next_at(), self._dear_turns.next_at())

    def next_overdue(self) -> float:
        """When something other than a look is next to be done (``overdue``)."""
        return min(self.next_expiry(), self.callbacks.next_verdict(), self._replan_at)

    def next_expiry(self) -> float:
        """When the next job has waited long enough for its last look."""
        return self._overdue.first()

    def pick(
        self, count: int, *, now: float = INFINITE, dear: Callable[[Watched], bool] | None = None
    ) -> list[str]:
        """The ids to ask for now: those that are due, then those that are next, which cost nothing.

        Where more are due than a request takes, the looks go first that are worth most.
        A job that does cost a request of its own (``dear``) is taken if it is due, and one at most.
        """
        self._put_back()
        self.picked = self._picked_again() or self._picked_soonest(count, now, dear)
        return [one.remote_id for one in self.picked]

    def asked(self, remote_id: str) -> Watched:
        """One of those that are picked."""
        return next(one for one in self.picked if one.remote_id == remote_id)

    def _put_back(self) -> None:
        """A look may pick twice: its first request was rejected by a quota, and it goes once more."""
        for one in self._take_picked():
            is_costly = self._costly is not None and one.rid == self._costly.rid
            turns = self._dear_turns if is_costly else self._turns
            turns.add(one.slot, self.jobs.at[one.slot])
        if self._half:
            self._batches.appendleft(self._half)
            self._half = []

    def _picked_again(self) -> list[Watched]:
        while self._batches:
            self._half = self._batches.popleft()
            batch = [self.jobs[rid] for rid in self._half if rid in self.jobs]
            if batch:
                return batch
        self._half = []
        return []

    def _picked_soonest(
        self, count: int, now: float, dear: Callable[[Watched], bool] | None
    ) -> list[Watched]:
        most = min(count, self._batch)
        first = self._costly = self._next_dear(now, dear)
        picked = [] if first is None else [first]
        left: list[Watched] = []
        set_aside = 0
        for slot in self._turns.in_order(now, most) if len(picked) < most else ():
            one = Watched(self.jobs, slot)
            is_first = not (left or set_aside) and picked in ([], [first])
            if one.odd and is_first and self.jobs.at[slot] <= now:
                picked = [one]  # alone
                break
            if one.odd:
                left.append(one)
            elif dear is None or not dear(one):
                picked.append(one)
            elif self._costly is None and self.jobs.at[slot] <= now:
                self._costly = one
                picked.append(one)
            else:
                self._dear_turns.add(slot, self.jobs.at[slot])
                set_aside += 1
            if len(picked) == most or set_aside == SET_ASIDE * self._batch:
                break
        for one in left:
            self._turns.add(one.slot, self.jobs.at[one.slot])
        self._turns.went([one.slot for one in picked], len(self.jobs), now)
        if first is not None and first not in picked:
            self._dear_turns.add(first.slot, self.jobs.at[first.slot])
            self._costly = None
        return picked

    def _next_dear(self, now: float, dear: Callable[[Watched], bool] | None) -> Watched | None:
        """The one of those set aside whose turn it is; who isn't dear any more joins the others."""
        while (due := self._dear_turns.next_at()) <= now and due < INFINITE:
            slot = next(self._dear_turns.in_order(now, 1))
            self._dear_turns.went([slot], len(self._dear_turns), now)
            one = Watched(self.jobs, slot)
            if dear is not None and dear(one):
                return one
            self._turns.add(slot, self.jobs.at[slot])
        return None

    def worth(self, slot: int, now: float, starved: float) -> float:
        """Seconds of delay that a look at a job would save now, on average."""
        jobs = self.jobs
        alive_at, submitted = jobs.alive_at[slot], jobs.submitted[slot]
        if now >= min(jobs.deadline[slot], alive_at + max(self._longest, starved)):
            return INFINITE  # a limit never stretches a deadline, and starves nobody
        if self.callbacks.is_open(jobs.rid[slot]):
            return INFINITE
        index = self.looks.index(jobs.features(slot), alive_at - submitted, now - submitted)
        return self.callbacks.loss.chance * index

    def worth_at(self, slot: int, price: float, starved: float) -> float:
        """When a look at a job will be worth a price, or must be."""
        jobs = self.jobs
        if self.callbacks.is_open(jobs.rid[slot]):
            return jobs.at[slot]
        age = jobs.alive_at[slot] - jobs.submitted[slot]
        latest = age + max(self._longest, starved)
        at = jobs.submitted[slot] + self.looks.due(
            jobs.features(slot),
            age,
            price=price / self.callbacks.loss.chance,
            latest=latest,
            ahead=False,
        )
        return min(at, jobs.deadline[slot])

    @property
    def _longest(self) -> float:
        """Seconds between two looks at most, if no limit holds them up."""
        return self._pace.max_interval * self.callbacks.stretch

    def saw(
        self, sightings: Mapping[str, Sighting], *, asked: float, now: float, wall: float
    ) -> list[Step]:
        """What the look at the picked jobs means; they are scheduled anew.

        ``asked`` is when the request went: a slow answer may tell of a time before a deadline.
        """
        steps: list[Step] = []
        grace = self._pace.grace
        self._half = []
        self.brackets = []
        for one in self._take_picked():
            seen = sightings.get(one.remote_id)
            seen = seen or Sighting(remote_id=one.remote_id, phase=Phase.MISSING)
            one.looks += 1
            one.looked_at = self.ages.again(one.looked_at, now)
            one.odd = False
            self._learn(one, seen, now=asked)
            one.asked = True
            if seen.children:
                self._children[one.rid] = seen.children
            if seen.phase is not Phase.MISSING:
                one.missing_since = None
            elif one.missing_since is None:
                one.missing_since = now
            since = now if one.missing_since is None else one.missing_since
            over, missing_for = asked >= one.deadline, now - since
            if is_news(one.status, seen, over=over, missing_for=missing_for, grace=grace):
                news = partial(
                    step, seen=seen, at=wall, looks=one.looks, over=over, missing_for=missing_for,
                    grace=grace,
                )  # fmt: skip
                steps.append((one.rid, news))
            hinted = self.callbacks.goes_on(one.rid, asked=asked)
            # a deadline that passed while we were asking: the look that decides is due at once
            soon = max(now, min(one.deadline, hinted))
            self._turns.add(one.slot, min(self._next_look(one, now), soon))
        return steps

    def failed(self, *, now: float, retry_at: float, odd: bool = False) -> None:
        """The look at the picked jobs failed: nobody learned anything about them."""
        self._half = []
        for one in self._take_picked():
            one.odd = one.odd or odd
            again = one.deadline if now < one.deadline < retry_at else retry_at
            self._turns.add(one.slot, again)

    def split(self) -> bool:
        """The API refused this batch: ask for its halves.  False if it was a single job."""
        rids = [one.rid for one in self.picked]
        if len(rids) < 2:  # noqa: PLR2004
            return False
        self.picked = []
        self._half = []
        half = len(rids) // 2
        self._batches.extendleft((rids[half:], rids[:half]))
        return True

    def overdue(self, *, now: float, wall: float, blocked: str | None, since: float) -> list[Step]:
        """Jobs whose deadline is past and whose last look can't come about.

        ``blocked`` says why, and ``since`` from when on looks failed.  That must be the final grace,
        too: a laptop that wakes up has deadlines behind it, and no network yet.
        """
        self.callbacks.settle(now)
        self._replan(now)
        over: list[Step] = []
        given_up = since + self._pace.final_grace
        while self._overdue.first() <= now:
            one = Watched(self.jobs, self._overdue.take())
            if one.odd or (blocked and now >= given_up):
                ending = partial(
                    expire, reason="deadline", at=wall, looks=one.looks, cause=blocked,
                    children=self._children.get(one.rid, ()),
                )  # fmt: skip
                over.append((one.rid, ending))
                self._put_off[one.slot] = (
                    INFINITE  # it may stand there twice: for the job before, too
                )
                continue
            # if looks work, its own is due: wait for it
            again = given_up if blocked else now + max(self._pace.final_grace, 1.0)
            self._put_off[one.slot] = again
            self._overdue.add(one.slot, again)
        return over

    def _replan(self, now: float) -> None:
        """Callbacks have stopped: nobody may wait for the safety net; some jobs at a time."""
        if self.callbacks.takes_over:
            self.callbacks.takes_over = False
            self._replanned = 0
            self._replan_at = now
        if now < self._replan_at:
            return
        begin, jobs = self._replanned, self.jobs
        self._replanned = min(begin + REPLANNED, len(jobs.rid))
        for slot in range(begin, self._replanned):
            one = Watched(jobs, slot)
            if self._turns.is_ahead(slot, now) or self._dear_turns.is_ahead(slot, now):
                seen = one.alive_at - one.submitted
                at = one.alive_at + max(self._pace.min_interval, self._interval(one, seen))
                self._turns.hasten(slot, max(now, at))
        self._replan_at = now + REPLAN_EVERY if self._replanned < len(jobs.rid) else INFINITE

    def unwatched(self, rid: int, *, wall: float) -> Step:
        """Somebody does not want to watch this one any more."""
        one = self.jobs.get(rid)
        return rid, partial(
            cancel, at=wall, looks=None if one is None else one.looks,
            children=self._children.get(rid, ()),
        )  # fmt: skip

    def unknown_words(self, sightings: Iterable[Sighting]) -> list[str]:
        """Status texts that nobody has told us the meaning of."""
        everybody = (one for seen in sightings for one in (seen, *seen.children))
        return sorted({one.status or "" for one in everybody if not one.known})

    def _take_picked(self) -> list[Watched]:
        picked, self.picked = self.picked, []
        return [one for one in picked if one.is_live]

    def _learn(self, one: Watched, seen: Sighting, *, now: float) -> None:
        """What a look tells about how long jobs take."""
        if seen.phase is Phase.MISSING:
            return
        one.note(seen.features)
        ended = seen.phase is not Phase.PENDING
        since, age = one.alive_at - one.submitted, now - one.submitted
        # one that had ended when we came, or may have, says nothing of when it began
        came_late = ended and one.looks == 1 and not one.is_dated and age < AT_ONCE
        teaches = one.teaches and not came_late
        if ended:
            told_at = self.callbacks.ended(
                one.rid, one.remote_id, since=one.alive_at, asked=now, counts=one.asked
            )
            lived = 0.0 if told_at is None else (1.0 - TOLD_LATE) * (told_at - one.submitted)
            if teaches and lived > since:  # it was not by chance that we looked now
                self.looks.looked(one.features, since, lived, ended=False)
                since = lived
        if teaches:
            self.looks.looked(one.features, since, age, ended=ended)
            if ended:
                self.brackets.append(max(0.0, age - since))
        one.alive_at = max(one.alive_at, now)
        one.teaches = True

    def _next_look(self, one: Watched, now: float) -> float:
        at = now + max(self._pace.min_interval, self._interval(one, now - one.submitted))
        grace_ends = INFINITE if one.missing_since is None else one.missing_since + self._pace.grace
        return min(at, grace_ends) if grace_ends > now else at

    def _interval(self, one: Watched, age: float) -> float:
        if self._turns.crowded:
            return 0.0  # its turn comes by what a look is worth, later than it would be due
        due = self.looks.due(
            one.features, age, price=self._pace.look_price / self.callbacks.loss.chance,
            latest=age + self._longest, ahead=not self._turns.held_up,
        )  # fmt: skip
        return shortened(due - age, self._chance())
