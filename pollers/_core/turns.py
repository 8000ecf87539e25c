"""Whose turn it is: the jobs by when they are due, and those that are due and wait.

As long as requests may go when they should, nobody waits after each.  Where a limit holds them up
some do, and their order is that of the worth of a look: each is entered at the instant when it will
have been worth the *shadow price*, which is what the last looks that went were worth.  So nobody
is compared with everybody: a job costs a few steps in a calendar per look.  An entry is as old as its
price and what was known then.  So it comes up before a *round* is over since its last look (that is
what the limit takes to look at everybody once), and again from time to time; then it is compared, as
its look is worth now, with some others that have come up.  Jobs that are alike so take their turns,
and one whose look is never worth enough goes first after ``MOST_ROUNDS``.

Jobs are known by their slots.  ``now`` is any clock that goes on; worths are seconds of delay.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Protocol

from pollers._core.calendar import Calendar

MOVED = 5
"""Batches that begin to wait at once, lest a million at once stop the loop."""

MOST_ROUNDS = 8.0
"""A job that was left alone for so many rounds goes first."""

MOST_COUNTED = 1_000
"""Jobs that are due are counted so far, in a few milliseconds."""

_SMOOTH = 0.2
"""What one batch tells of the shadow price."""

CROWDED = 4.0
"""Times the price: from such a shadow price on, nobody need know when a job is due."""

CANDIDATES = 3
"""For each that can go, so many are compared."""

SOONEST, LATEST = 1 / 16, 0.45
"""Rounds until a job is compared with others, and again if it was not worth the shadow price.

More have come up then than can be compared, so about half a round passes until they are.
"""

_LEAST_WORTH = 1e-9
"""Seconds; in place of nothing at all, to divide by."""

OUT = 0
"""The place of a job that is in nobody's order: it is being looked at, or its slot is free."""


class Jobs(Protocol):
    """What is written down of each job, by slot."""

    rid: "array[int]"
    at: "array[float]"
    """When it is due; while it waits, when it will have been worth the shadow price."""
    place: "array[int]"
    """Who has it."""
    alive_at: "array[float]"
    """When it was last looked at."""
    deadline: "array[float]"
    """When it must be looked at; infinite if never."""


class Value(Protocol):
    """What a look at a job is worth."""

    def worth(self, slot: int, now: float, starved: float) -> float:
        """Seconds of delay that it saves, on average; infinite if it must be made.

        ``starved`` is for how long a job may be left alone.
        """
        ...

    def worth_at(self, slot: int, price: float, within: float) -> float:
        """When it will be worth a price, but so soon after its last look."""
        ...


class Turns:
    """The order of jobs that share requests.

    Args:
        value: what looks are worth.
        jobs: where they are written down.
        price: what a look must be worth.
        batch: jobs that share one request.
        place: two numbers, this and the next, which no other order of these jobs has.
    """

    def __init__(self, value: Value, jobs: Jobs, *, price: float, batch: int, place: int) -> None:
        self._value = value
        self._jobs = jobs
        self._price = price
        self._batch = batch
        self._is_later, self._is_waiting = place, place + 1
        self._later = Calendar(lambda slot: self._at(slot, self._is_later), jobs.rid)
        self._waiting = Calendar(lambda slot: self._at(slot, self._is_waiting), jobs.rid)
        self._spare: list[int] = []
        self._worths: dict[int, float] = {}
        """Of those that were compared."""
        self.shadow_price = price
        self._last_at: float | None = None
        self._gap = 0.0
        self._round = 0.0
        self._front = 0.0
        """How far the calendar has come: behind, where more have come up than could be compared."""

    def __len__(self) -> int:
        """How many there are, or a little more."""
        return len(self._later) + len(self._waiting)

    @property
    def held_up(self) -> bool:
        """Whether more was due than could go, at the last look."""
        return self._last_at is not None

    @property
    def crowded(self) -> bool:
        """Whether a limit is so narrow that any job is due long before its turn comes."""
        return self.shadow_price > CROWDED * self._price

    def add(self, slot: int, at: float) -> None:
        """Queue a job that is due then."""
        self._jobs.at[slot] = at
        self._jobs.place[slot] = self._is_later
        self._later.add(slot, at)

    def hasten(self, slot: int, at: float) -> None:
        """Let a job be due sooner, whatever it is worth; not one that is being looked at."""
        place = self._jobs.place[slot]
        if place != OUT and (place == self._is_waiting or at < self._jobs.at[slot]):
            self.add(slot, at)

    def is_ahead(self, slot: int, now: float) -> bool:
        """Whether a job is not due yet."""
        return self._at(slot, self._is_later) > now

    def next_at(self) -> float:
        """When the next job is due."""
        return 0.0 if self._waiting.first() < math.inf else self._later.first()

    def due(self, now: float) -> int:
        """How many are due, counted up to ``MOST_COUNTED``."""
        waiting = self._waiting.due(math.inf, MOST_COUNTED)
        return waiting + self._later.due(now, MOST_COUNTED - waiting)

    def in_order(self, now: float, most: int) -> Iterator[int]:
        """Take jobs out: those that are due, by worth, then those that are next.

        Where more are due than the ``most`` that can go, the best of some more of them go first.
        Call ``went`` afterwards.
        """
        self._move_due(now)
        self._spare = self._best(now, most)
        while self._spare:
            yield self._out(self._spare.pop(), now)
        for calendar in (self._waiting, self._later):
            while calendar.first() < math.inf:
                yield self._out(calendar.take(), now)

    def went(self, taken: Sequence[int], jobs: int, now: float) -> None:
        """These are asked for now, of so many; what is left tells whether a limit holds us up."""
        for slot in self._spare:
            self._put_back(slot, now)
        self._spare = []
        if self._waiting.first() == math.inf:
            self.shadow_price, self._last_at, self._round = self._price, None, 0.0
            return
        worths = (self._worths.get(slot, math.inf) for slot in taken)
        least = min((worth for worth in worths if worth < math.inf), default=self.shadow_price)
        self.shadow_price += _SMOOTH * (max(self._price, least) - self.shadow_price)
        if self._last_at is not None and now > self._last_at:
            gap = now - self._last_at
            self._gap += _SMOOTH * (gap - self._gap) if self._gap else gap
        self._last_at = now
        self._round = self._gap * jobs / self._batch

    def _at(self, slot: int, place: int) -> float:
        return self._jobs.at[slot] if self._jobs.place[slot] == place else math.nan

    def _out(self, slot: int, now: float) -> int:
        if self._jobs.place[slot] == self._is_waiting:
            self._jobs.at[slot] = min(self._jobs.at[slot], now)  # it is due, whatever it is worth
        self._jobs.place[slot] = OUT
        return slot

    def _best(self, now: float, most: int) -> list[int]:
        """Those whose entry says that it is their turn and some more, the best last."""
        met: dict[int, None] = {}  # one that was hastened may have two entries for one instant
        while len(met) < CANDIDATES * most and self._waiting.first() < math.inf:
            met[self._waiting.take()] = None
        found = [*reversed(met)]
        self._front = min((self._jobs.at[found[0]] if found else now), now)
        self._worths = {}
        if len(found) > most:
            starved = MOST_ROUNDS * self._round
            self._worths = {slot: self._value.worth(slot, now, starved) for slot in found}
            found.sort(key=self._worths.__getitem__)
        return found

    def _put_back(self, slot: int, now: float) -> None:
        """One that others went before: it stays where it is if only they were worth more."""
        worth = self._worths.get(slot, math.inf)  # where all could go, nobody was compared
        if worth < self.shadow_price:
            # while little happens, the worth grows with the square of the wait
            more = math.sqrt(self.shadow_price / max(worth, _LEAST_WORTH)) - 1.0
            wait = more * (now - self._jobs.alive_at[slot])
            wait = min(max(SOONEST * self._round, wait), LATEST * self._round)
            self._jobs.at[slot] = min(self._front + wait, self._jobs.deadline[slot])
        self._waiting.add(slot, self._jobs.at[slot])

    def _move_due(self, now: float) -> None:
        for _ in range(MOVED * self._batch):
            if not self._later.first() <= now < math.inf:
                return
            self._wait(self._later.take())

    def _wait(self, slot: int) -> None:
        if self.shadow_price > self._price:
            self._jobs.at[slot] = self._value.worth_at(
                slot, self.shadow_price, LATEST * self._round
            )
        self._jobs.place[slot] = self._is_waiting
        self._waiting.add(slot, self._jobs.at[slot])
