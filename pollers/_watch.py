"""The live jobs of one source: when they are due, what looks at them are worth and have found.

Bookkeeping only: no I/O and no waiting.  Instants are loop time unless they are called wall.
"""

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
from pollers._core.turns import OUT
from pollers._queue import Dear, Hand, Queue

INFINITE = float("inf")

AT_ONCE = 1.0
"""Seconds after the watch: what has ended by then may have ended long before."""

TOLD_LATE = 0.1
"""A callback is taken to come so late, as a part of the age that the job has then, or sooner."""

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
        self.looks = Looks()
        self.ages = Ages()
        """When jobs were last looked at; or first watched, or taken up."""
        self.brackets: list[float] = []
        """Of each job that the last look found ended: seconds in which that must have happened."""
        self._pace = pace
        self._chance = chance
        self.queue = Queue(self, self.jobs, price=pace.look_price, batch=batch)
        self._overdue = Calendar(self._over_at, self.jobs.rid)
        self._put_off: dict[int, float] = {}
        """By slot: jobs that are overdue, and whose look is waited for a little longer."""
        self._children: dict[int, tuple[Sighting, ...]] = {}
        """By row id: what jobs are made of, as it was last seen."""
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
        self.queue.add(one.slot, first_look)
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
        return self.queue.due(now)

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
                self.queue.hasten(self.jobs[rid].slot, due)
        return watched

    def next_look(self) -> float:
        """When the next job is due."""
        return self.queue.next_at()

    def next_chore(self) -> float:
        """When there is something to tidy."""
        return min(self.callbacks.next_verdict(), self._replan_at)

    def tidy(self, now: float) -> None:
        """Draw conclusions from callbacks that did not come."""
        self.callbacks.settle(now)
        self._replan(now)

    def next_expiry(self) -> float:
        """When the next job has waited long enough for its last look."""
        return self._overdue.first()

    def pick(
        self, hand: Hand, count: int, *, now: float = INFINITE, dear: Dear | None = None
    ) -> list[str]:
        """The ids that a look asks for now; see ``Queue.pick``."""
        self.queue.pick(hand, count, now, dear)
        return [one.remote_id for one in hand.picked]

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

    def worth_at(self, slot: int, price: float, within: float) -> float:
        """When a look at a job will be worth a price, or so soon."""
        jobs = self.jobs
        if self.callbacks.is_open(jobs.rid[slot]):
            return jobs.at[slot]
        age = jobs.alive_at[slot] - jobs.submitted[slot]
        latest = age + within
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
        self, hand: Hand, sightings: Mapping[str, Sighting], *, now: float, wall: float
    ) -> list[Step]:
        """What the look at these jobs means; those that go on are scheduled anew."""
        steps: list[Step] = []
        grace = self._pace.grace
        asked = hand.asked_at  # a slow answer may tell of a time before a deadline
        self.brackets = []
        for one in hand.lay_down():
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
            if is_news(seen.status, seen, over=over, missing_for=missing_for, grace=grace):
                continue  # it has ended: no other look may take it while that is being stored
            hinted = self.callbacks.goes_on(one.rid, asked=asked)
            # a deadline that passed while we were asking: the look that decides is due at once
            soon = max(now, min(one.deadline, hinted))
            self.queue.add(one.slot, min(self._next_look(one, now), soon))
        return steps

    def failed(self, hand: Hand, *, now: float, retry_at: float, odd: bool = False) -> None:
        """The look at these jobs failed: nobody learned anything about them."""
        for one in hand.lay_down():
            one.odd = one.odd or odd
            again = one.deadline if now < one.deadline < retry_at else retry_at
            self.queue.add(one.slot, again)

    def overdue(
        self,
        hands: Iterable[Hand] = (),
        *,
        now: float,
        wall: float,
        blocked: str | None,
        since: float,
    ) -> list[Step]:
        """Jobs whose deadline is past and whose last look can't come about.

        ``blocked`` says why, and ``since`` from when on looks failed.  That must be the final grace,
        too: a laptop that wakes up has deadlines behind it, and no network yet.  Those in the
        ``hands`` of looks have theirs just now.
        """
        if self._overdue.first() > now:
            return []
        over: list[Step] = []
        given_up = since + self._pace.final_grace
        asked_for = {one.rid for hand in hands for one in hand.picked}
        again_now: list[int] = []
        while self._overdue.first() <= now:
            one = Watched(self.jobs, self._overdue.take())
            if one.rid in asked_for:
                again_now.append(one.slot)
                continue
            if one.odd or (blocked and now >= given_up):
                ending = partial(
                    expire, reason="deadline", at=wall, looks=one.looks, cause=blocked,
                    children=self._children.get(one.rid, ()),
                )  # fmt: skip
                over.append((one.rid, ending))
                self.jobs.place[one.slot] = OUT  # no look may take it while that is being stored
                self._put_off[one.slot] = (
                    INFINITE  # it may stand there twice: for the job before, too
                )
                continue
            # if looks work, its own is due: wait for it
            again = given_up if blocked else now + max(self._pace.final_grace, 1.0)
            self._put_off[one.slot] = again
            self._overdue.add(one.slot, again)
        for slot in again_now:
            self._overdue.add(slot, self._over_at(slot))
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
            if self.queue.is_ahead(slot, now):
                seen = one.alive_at - one.submitted
                at = one.alive_at + max(self._pace.min_interval, self._interval(one, seen))
                self.queue.hasten(slot, max(now, at))
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
        if self.queue.turns.crowded:
            return 0.0  # its turn comes by what a look is worth, later than it would be due
        due = self.looks.due(
            one.features, age, price=self._pace.look_price / self.callbacks.loss.chance,
            latest=age + self._longest, ahead=not self.queue.turns.held_up,
        )  # fmt: skip
        return shortened(due - age, self._chance())
