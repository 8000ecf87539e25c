"""The live jobs of one source: which are due, which are picked, what a look did to them.

Bookkeeping only: no I/O and no waiting.  Instants are loop time unless they are called wall.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pollers._core.looks import PRICE, Looks, shortened
from pollers._core.model import Job, Phase, Sighting, Transition
from pollers._core.step import expire, step
from pollers._core.turns import Turns

INFINITE = float("inf")

AT_ONCE = 1.0
"""Seconds after the watch: what has ended by then may have ended long before."""


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


class Watched:
    """One job that we are watching."""

    __slots__ = (
        "alive_at", "born", "deadline", "features", "job", "looks", "missing_since", "next_at", "odd",
        "rid", "seen", "submitted", "teaches", "turn_at",
    )  # fmt: skip

    def __init__(self, job: Job, *, born: float, deadline: float, next_at: float) -> None:
        self.job = job
        self.rid = job.rid
        self.born = born
        self.submitted = born - max(0.0, job.created_at - (job.submitted_at or job.created_at))
        self.deadline = deadline
        self.features: Mapping[str, Any] = job.features
        self.alive_at = self.submitted
        """When it was last known to be running."""
        self.teaches = job.version == 1
        """After a restart it is not known when it was last seen: until then it tells nothing."""
        self.turn_at: float | None = None
        self.looks = job.looks
        self.missing_since: float | None = None
        self.seen = job.status is not None
        self.next_at = next_at
        self.odd = False
        """The API refuses to look at it; it is asked for alone, or it would spoil every batch."""


class Watch:
    """Every live job of one source."""

    def __init__(self, pace: Pace, batch: int, chance: Callable[[], float]) -> None:
        self.jobs: dict[int, Watched] = {}
        self.picked: list[Watched] = []
        self.looks = Looks()
        self._pace = pace
        self._batch = batch
        self._chance = chance
        self._turns: Turns[Watched] = Turns(self, self.jobs.get, price=pace.look_price, batch=batch)
        self._overdue: list[tuple[float, int]] = []
        self._batches: deque[list[int]] = deque()
        """Halves of a batch that was refused as a whole; they go first, one at a time."""
        self._half: list[int] = []
        """The half that is under way."""

    def add(self, job: Job, *, now: float, wall: float, first_look: float) -> None:
        """Watch a job; its calendar deadline is anchored to the monotonic clock here."""
        if job.rid in self.jobs:
            return
        deadline = INFINITE if job.deadline is None else now + (job.deadline - wall)
        one = Watched(
            job, born=now - max(0.0, wall - job.created_at), deadline=deadline, next_at=first_look
        )
        self.jobs[job.rid] = one
        self._turns.add(one)
        if deadline < INFINITE:
            # it may have passed while nobody was running: there is always time for one more look
            heapq.heappush(self._overdue, (max(deadline, now) + self._pace.final_grace, job.rid))

    def remove(self, rid: int) -> Watched | None:
        """Stop watching; the heaps forget it when they come to it."""
        return self.jobs.pop(rid, None)

    def next_look(self) -> float:
        """When the next job is due."""
        if self._batches:
            return 0.0
        return self._turns.next_at()

    def next_overdue(self) -> float:
        """When the next job has waited long enough for its last look."""
        while self._overdue and self._overdue[0][1] not in self.jobs:
            heapq.heappop(self._overdue)
        return self._overdue[0][0] if self._overdue else INFINITE

    def pick(
        self, count: int, *, now: float = INFINITE, dear: Callable[[Job], bool] | None = None
    ) -> list[str]:
        """The ids to ask for now: those that are due, then those that are next, which cost nothing.

        Where more are due than a request takes, the looks go first that are worth most.
        A job that does cost a request of its own (``dear``) is taken if it is due, and one at most.
        """
        self._put_back()
        self.picked = self._picked_again() or self._picked_soonest(count, now, dear)
        return [one.job.key.remote_id for one in self.picked]

    def _put_back(self) -> None:
        """A look may pick twice: its first request was rejected by a quota, and it goes once more."""
        for one in self._take_picked():
            self._turns.add(one)
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
        self, count: int, now: float, dear: Callable[[Job], bool] | None
    ) -> list[Watched]:
        picked: list[Watched] = []
        left: list[Watched] = []
        most = min(count, self._batch)
        room_for_dear = True
        for one in self._turns.in_order(now, most) if most else ():
            is_dear = dear is not None and dear(one.job)
            if one.odd and not (picked or left):
                picked.append(one)  # the soonest of all, so it is due; alone
                break
            if one.odd or (is_dear and not (room_for_dear and one.next_at <= now)):
                left.append(one)
                continue
            room_for_dear = room_for_dear and not is_dear
            picked.append(one)
            if len(picked) == most:
                break
        for one in left:
            self._turns.add(one)
        self._turns.went(picked, len(self.jobs), now)
        return picked

    def worth(self, one: Watched, now: float, starved: float) -> float:
        """Seconds of delay that a look at a job would save now, on average."""
        if now >= min(one.deadline, one.alive_at + max(self._pace.max_interval, starved)):
            return INFINITE  # a limit never stretches a deadline, and starves nobody
        return self.looks.index(one.features, one.alive_at - one.submitted, now - one.submitted)

    def worth_at(self, one: Watched, price: float, starved: float) -> float:
        """When a look at a job will be worth a price, or must be."""
        age = one.alive_at - one.submitted
        latest = age + max(self._pace.max_interval, starved)
        at = one.submitted + self.looks.due(
            one.features, age, price=price, latest=latest, ahead=False
        )
        return min(at, one.deadline)

    def saw(
        self, sightings: Mapping[str, Sighting], *, asked: float, now: float, wall: float
    ) -> list[Transition]:
        """What the look at the picked jobs means; they are scheduled anew.

        ``asked`` is when the request went: a slow answer may tell of a time before a deadline.
        """
        transitions = []
        self._half = []
        for one in self._take_picked():
            seen = sightings.get(one.job.key.remote_id)
            seen = seen or Sighting(remote_id=one.job.key.remote_id, phase=Phase.MISSING)
            one.looks += 1
            one.odd = False
            self._learn(one, seen, now=asked)
            if seen.phase is not Phase.MISSING:
                one.seen = True
                one.missing_since = None
            elif one.missing_since is None:
                # never seen: it has been missing since it was first watched, restarts included
                one.missing_since = one.born if not one.seen else now
            transition = step(
                one.job, seen, at=wall, looks=one.looks, over=asked >= one.deadline,
                missing_for=now - (now if one.missing_since is None else one.missing_since),
                grace=self._pace.grace,
            )  # fmt: skip
            if transition is not None:
                transitions.append(transition)
                one.features = transition.after.features  # the same, held once
            # a deadline that passed while we were asking: the look that decides is due at once
            self._again(one, min(self._next_look(one, now), max(now, one.deadline)))
        return transitions

    def failed(self, *, now: float, retry_at: float, odd: bool = False) -> None:
        """The look at the picked jobs failed: nobody learned anything about them."""
        self._half = []
        for one in self._take_picked():
            one.odd = one.odd or odd
            self._again(one, one.deadline if now < one.deadline < retry_at else retry_at)

    def split(self) -> bool:
        """The API refused this batch: ask for its halves.  False if it was a single job."""
        rids = [one.job.rid for one in self.picked]
        if len(rids) < 2:  # noqa: PLR2004
            return False
        self.picked = []
        self._half = []
        half = len(rids) // 2
        self._batches.extendleft((rids[half:], rids[:half]))
        return True

    def overdue(
        self, *, now: float, wall: float, blocked: str | None, since: float
    ) -> list[Transition]:
        """Jobs whose deadline is past and whose last look can't come about.

        ``blocked`` says why, and ``since`` from when on looks failed.  That must be the final grace,
        too: a laptop that wakes up has deadlines behind it, and no network yet.
        """
        over: list[Transition] = []
        given_up = since + self._pace.final_grace
        while self.next_overdue() <= now:
            one = self.jobs[heapq.heappop(self._overdue)[1]]
            if one.odd or (blocked and now >= given_up):
                over.append(expire(one.job, "deadline", at=wall, looks=one.looks, cause=blocked))
            elif blocked:
                heapq.heappush(self._overdue, (given_up, one.job.rid))
            else:  # its look is due, and looks work: wait for it
                heapq.heappush(self._overdue, (now + max(self._pace.final_grace, 1.0), one.job.rid))
        return over

    def unknown_words(self, sightings: Iterable[Sighting]) -> list[str]:
        """Status texts that nobody has told us the meaning of."""
        everybody = (one for seen in sightings for one in (seen, *seen.children))
        return sorted({one.status or "" for one in everybody if not one.known})

    def _take_picked(self) -> list[Watched]:
        picked, self.picked = self.picked, []
        return [one for one in picked if one.job.rid in self.jobs]

    def _again(self, one: Watched, at: float) -> None:
        one.next_at = at
        self._turns.add(one)

    def _learn(self, one: Watched, seen: Sighting, *, now: float) -> None:
        """What a look tells about how long jobs take."""
        if seen.phase is Phase.MISSING:
            return
        if any(one.features.get(name) != value for name, value in seen.features.items()):
            one.features = {**one.features, **seen.features}
        ended = seen.phase is not Phase.PENDING
        since, age = one.alive_at - one.submitted, now - one.submitted
        # one that had ended when we came, or may have, says nothing of when it began
        came_late = ended and one.looks == 1 and one.job.submitted_at is None and age < AT_ONCE
        if one.teaches and not came_late:
            self.looks.looked(one.features, since, age, ended=ended)
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
            one.features, age, price=self._pace.look_price, latest=age + self._pace.max_interval,
            ahead=not self._turns.held_up,
        )  # fmt: skip
        return shortened(due - age, self._chance())
