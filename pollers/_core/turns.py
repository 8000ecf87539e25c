"""Whose turn it is: a heap of the jobs by when they are due, and one of those that are due and wait.

As long as requests may go when they should, the second heap is empty after each.  Where a limit
holds them up it fills, and its order is that of the worth of a look: it is keyed by when each look
will have been worth the *shadow price*, which is what the last ones that went were worth.  So nobody
is compared with everybody: a job costs a few steps in a heap per look.  A key is as old as its
price and what was known then, so it is checked again when it comes up, and a few with every request.

``now`` is any clock that goes on; worths are seconds of delay.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

MOVED = 10
"""Batches that are moved from one heap to the other at once, lest a million at once stop the loop."""

SWEEPS = 8.0
"""A job that was left alone while each could have been looked at so many times goes first."""

MOST_COUNTED = 1_000
"""Jobs that are due are counted so far, in a few milliseconds."""

_SMOOTH = 0.2
"""What one batch tells of the shadow price."""

CROWDED = 4.0
"""Times the price: from such a shadow price on, nobody need know when a job is due."""

CANDIDATES = 3
"""For each that can go, so many are compared."""


class Turn(Protocol):
    """A job in the heaps."""

    rid: int
    next_at: float
    """When it is due."""
    turn_at: float | None
    """Its key in the heap of those who wait; None while it is not due."""


T = TypeVar("T", bound=Turn)
T_contra = TypeVar("T_contra", bound=Turn, contravariant=True)


class Value(Protocol[T_contra]):
    """What a look at a job is worth."""

    def worth(self, one: T_contra, now: float, starved: float) -> float:
        """Seconds of delay that it saves, on average; infinite if it must be made."""
        ...

    def worth_at(self, one: T_contra, price: float, starved: float) -> float:
        """When it will be worth a price, but not later than a job may be left alone.

        ``starved`` is how long that is, in seconds after its last look.
        """
        ...


class Turns(Generic[T]):
    """The order of one source's jobs; ``find`` gives a live job by its ``rid``."""

    def __init__(
        self, value: Value[T], find: Callable[[int], T | None], *, price: float, batch: int
    ) -> None:
        self._value = value
        self._find = find
        self._price = price
        self._batch = batch
        self._later: list[tuple[float, int]] = []
        self._waiting: list[tuple[float, int]] = []
        self._rota: deque[tuple[float, int]] = deque()
        self._spare: list[T] = []
        self.shadow_price = price
        self._last_at: float | None = None
        self._gap = 0.0
        self.starved = 0.0

    @property
    def held_up(self) -> bool:
        """Whether more was due than could go, at the last look."""
        return self._last_at is not None

    @property
    def crowded(self) -> bool:
        """Whether a limit is so narrow that any job is due long before its turn comes."""
        return self.shadow_price > CROWDED * self._price

    def add(self, one: T) -> None:
        """Queue a job by ``next_at``."""
        one.turn_at = None
        heapq.heappush(self._later, (one.next_at, one.rid))

    def next_at(self) -> float:
        """When the next job is due."""
        self._clean(self._waiting)
        if self._waiting:
            return 0.0
        self._clean(self._later)
        return self._later[0][0] if self._later else math.inf

    def due(self, now: float) -> int:
        """How many are due, counted up to ``MOST_COUNTED``."""
        due: set[int] = set()
        for heap, until in ((self._waiting, math.inf), (self._later, now)):
            ahead = [0]  # of a heap's entries only those before an instant, and one behind each
            while ahead and len(due) < MOST_COUNTED:
                i = ahead.pop()
                if i < len(heap) and heap[i][0] <= until:
                    key, rid = heap[i]
                    one = self._find(rid)
                    if one is not None and self._key(one) == key:
                        due.add(rid)
                    ahead += (2 * i + 1, 2 * i + 2)
        return len(due)

    def in_order(self, now: float, most: int) -> Iterator[T]:
        """Take jobs out: those that are due, by worth, then those that are next.

        Where more are due than the ``most`` that can go, the best of some more of them go first.
        Call ``went`` afterwards.
        """
        self._move_due(now)
        self._review(now)
        self._spare = self._best(now, most)
        while self._spare:
            yield self._spare.pop()
        for heap in (self._waiting, self._later):
            while heap:
                one = self._taken(heap)
                if one is not None:
                    yield one

    def went(self, taken: Sequence[T], jobs: int, now: float) -> None:
        """These are asked for now, of so many; what is left tells whether a limit holds us up."""
        for one in self._spare:
            heapq.heappush(self._waiting, (self._key(one), one.rid))
        self._spare = []
        self._clean(self._waiting)
        if not self._waiting:
            self.shadow_price, self._last_at, self.starved = self._price, None, 0.0
            self._rota.clear()
            return
        worths = [self._value.worth(one, now, self.starved) for one in taken]
        least = min((worth for worth in worths if worth < math.inf), default=self.shadow_price)
        self.shadow_price += _SMOOTH * (max(self._price, least) - self.shadow_price)
        if self._last_at is not None and now > self._last_at:
            gap = now - self._last_at
            self._gap += _SMOOTH * (gap - self._gap) if self._gap else gap
        self._last_at = now
        self.starved = SWEEPS * self._gap * jobs / self._batch

    def _best(self, now: float, most: int) -> list[T]:
        """Those whose key says that it is their turn and some more, the best last."""
        found: list[T] = []
        while self._waiting and len(found) < CANDIDATES * most:
            one = self._taken(self._waiting)
            if one is not None:
                found.append(one)
        found.reverse()
        if len(found) > most:
            found.sort(key=lambda one: self._value.worth(one, now, self.starved))
        return found

    def _move_due(self, now: float) -> None:
        for _ in range(MOVED * self._batch):
            if not (self._later and self._later[0][0] <= now):
                return
            one = self._taken(self._later)
            if one is not None:
                self._wait(one)

    def _wait(self, one: T) -> None:
        if self.shadow_price > self._price:
            one.turn_at = self._value.worth_at(one, self.shadow_price, self.starved)
        else:
            one.turn_at = one.next_at
        heapq.heappush(self._waiting, (one.turn_at, one.rid))
        self._rota.append((one.turn_at, one.rid))

    def _review(self, now: float) -> None:
        """Some of those who wait may be worth more by now than was thought when they were queued."""
        # two for each look that goes: each leaves an entry behind that is good for nothing
        for _ in range(min(2 * self._batch, len(self._rota)) if self.held_up else 0):
            key, rid = self._rota.popleft()
            one = self._find(rid)
            if one is None or one.turn_at != key:
                continue
            if key > now and self._value.worth(one, now, self.starved) >= self.shadow_price:
                one.turn_at = now
                heapq.heappush(self._waiting, (now, rid))
            self._rota.append((one.turn_at, rid))

    def _taken(self, heap: list[tuple[float, int]]) -> T | None:
        key, rid = heapq.heappop(heap)
        one = self._find(rid)
        if one is None or self._key(one) != key or (one.turn_at is None) == (heap is self._waiting):
            return None  # it has another key by now, or has ended
        return one

    def _key(self, one: T) -> float:
        return one.next_at if one.turn_at is None else one.turn_at

    def _clean(self, heap: list[tuple[float, int]]) -> None:
        while heap:
            key, rid = heap[0]
            one = self._find(rid)
            if one is not None and key == self._key(one):
                return
            heapq.heappop(heap)
