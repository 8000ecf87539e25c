"""One endpoint's calls: who waits, how many are under way, and the ramp by which a burst begins.

A limit that nobody has felt yet is approached by a ramp in time, never by waiting for answers: a few
calls go at once, then the number that may be under way grows by 1, 2, 4 … every ``RAMP_DOUBLES``
seconds, so that a thousand minute-long calls are under way within a second, and yet a limit of a
hundred is met while the calls too many are still few.  As soon as answers come, the ramp doubles
once in the time of two: growing as fast as answers come is blind for as many calls as are under way.

The fast lane of the guard does what ``went`` does, and heals ``failing``, without a call.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable

from resilience._core.admission.breaker import Breaker, CircuitBreaker
from resilience._core.admission.budget import Budget, RetryBudget
from resilience._core.admission.door import Door
from resilience._core.admission.model import Keys, Kind, Place, ScopeKey, Ticket

RAMP_FREE = 10
"""Calls that may be under way at once before anything is known."""

RAMP_DOUBLES = 0.1
"""Seconds in which the ramp doubles while no answer has come."""

RAMP_ANSWERS = 2.0
"""Answers one after the other in whose time it doubles, as soon as they come."""

RAMP_SLOWEST = 1.0
"""Seconds in which it doubles at least, however slow the answers are."""

MEMORY = 1.0
"""Seconds that are counted together; sixty are remembered, to measure a limit when it is first felt."""


class Queue:
    """Parked calls: by arrival to serve them, by limit to refuse them."""

    __slots__ = ("by_limit", "by_order", "parked")

    def __init__(self) -> None:
        self.by_order: list[Ticket] = []
        self.by_limit: list[tuple[float, int, Ticket]] = []
        self.parked = 0

    def add(self, ticket: Ticket) -> None:
        """One more waits."""
        self.parked += 1
        heapq.heappush(self.by_order, ticket)
        if ticket.limit < math.inf:
            heapq.heappush(self.by_limit, (ticket.limit, ticket.order, ticket))

    def head(self) -> Ticket | None:
        """The oldest that is still parked."""
        while self.by_order and self.by_order[0].place is not Place.PARKED:
            heapq.heappop(self.by_order)
        return self.by_order[0] if self.by_order else None

    def pop(self) -> None:
        """The head goes on to another queue."""
        heapq.heappop(self.by_order)
        self.parked -= 1

    def first(self, fits: Callable[[Ticket], bool]) -> Ticket | None:
        """The oldest that fits."""
        passed = []
        while (head := self.head()) is not None and not fits(head):
            passed.append(heapq.heappop(self.by_order))
        for ticket in passed:
            heapq.heappush(self.by_order, ticket)
        return head

    def most_urgent(self) -> Ticket | None:
        """The one that can wait least; None if all can wait for ever."""
        while self.by_limit:
            limit, _, ticket = self.by_limit[0]
            if ticket.place is Place.PARKED and ticket.limit == limit:
                return ticket
            heapq.heappop(self.by_limit)  # it left, or parked again with another limit
        return None

    def left(self) -> None:
        """One does not wait any more.  The heaps are swept when most of what they hold has left."""
        self.parked -= 1
        if len(self.by_order) > 2 * self.parked + 64:
            self.by_order = [t for t in self.by_order if t.place is Place.PARKED]
            heapq.heapify(self.by_order)
        if len(self.by_limit) > 2 * self.parked + 64:
            self.by_limit = [
                e for e in self.by_limit if e[2].place is Place.PARKED and e[2].limit == e[0]
            ]
            heapq.heapify(self.by_limit)


class Lane:
    """Live state of one endpoint."""

    __slots__ = (
        "_extra", "_grown", "_mark", "_seconds", "breaker", "budget", "doors", "doubles", "failing",
        "in_flight", "keys", "peak", "queues", "sent", "suppressed", "turn", "unit", "unpaid", "window",
    )  # fmt: skip

    def __init__(
        self,
        keys: Keys,
        breaker: CircuitBreaker | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        self.keys = keys
        self.queues: dict[Kind, Queue] = {}
        self.unpaid = Queue()
        """Retries that wait for a token of the budget."""
        self.doors: list[Door] = []
        """Those of its doors that are not wide open."""
        self.breaker = (
            Breaker(ScopeKey(f"breaker:{keys.endpoint}"), breaker) if breaker is not None else None
        )
        self.budget = Budget(budget)
        self.suppressed = 0
        """Retries that the budget held up, ever."""
        self.in_flight = 0
        self.unit = 1.0
        """Units of a quota that a call takes on average."""
        self.sent = 0
        """Calls that went, ever, less those rejected."""
        self.peak = 0
        """The most that were under way when a call went that was accepted, as far as was seen."""
        self.failing = 0
        """Failures in excess of successes, lately."""
        self.window: float = RAMP_FREE
        """Calls that may be under way."""
        self.doubles = RAMP_DOUBLES
        self.turn = -math.inf
        self._mark = 0
        self._seconds: deque[tuple[float, int]] = deque(maxlen=60)
        self._extra = 0.0
        self._grown: float | None = None

    @property
    def parked(self) -> int:
        """How many calls stand in line."""
        return sum(queue.parked for queue in self.queues.values())

    def line(self, ticket: Ticket) -> Queue:
        """Where a call stands."""
        if ticket.unpaid:
            return self.unpaid
        queue = self.queues.get(ticket.kind)
        if queue is None:
            queue = self.queues[ticket.kind] = Queue()
        return queue

    # -- what went lately ---------------------------------------------------------------------

    def rotate(self, now: float) -> None:
        """Begin a new second of counting."""
        if self.turn > -math.inf:
            self._seconds.append((self.turn - MEMORY, self.sent - self._mark))
        self._mark = self.sent
        # seconds follow each other, unless there was one without any call
        self.turn = (self.turn if now < self.turn + MEMORY else now) + MEMORY

    def went(self, now: float) -> None:
        """One call goes."""
        if now >= self.turn:
            self.rotate(now)
        self.in_flight += 1
        self.sent += 1

    def recent(self, span: float, now: float) -> tuple[float, float]:
        """Calls that went and were not rejected, and the seconds before now that it speaks of."""
        if now >= self.turn:
            self.rotate(now)
        units = float(self.sent - self._mark)
        reach = now - (self.turn - MEMORY)
        for began, count in reversed(self._seconds):
            if began + MEMORY <= now - span:
                break
            covered = min(began + MEMORY - (now - span), MEMORY) / MEMORY
            units += count * covered
            reach = min(now - began, span)
        return units, reach

    # -- the ramp -----------------------------------------------------------------------------

    def lift(self) -> None:
        """The limit is known now, by a door: no ramp any more."""
        self.window = math.inf

    def forget(self) -> None:
        """No door knows a limit any more: the next burst is a ramp again."""
        if self.window == math.inf:
            self.window = max(RAMP_FREE, self.in_flight)

    def ramp(self, now: float) -> float:
        """Seconds until one more call may be under way, as far as the ramp goes."""
        if self.in_flight < self.window:
            return 0.0
        if self._grown is None:
            self._grown, self._extra, self.doubles = now, 1.0, RAMP_DOUBLES
        grown = self._extra * 2.0 ** ((now - self._grown) / self.doubles)
        self.window += grown - self._extra
        self._grown, self._extra = now, grown
        if self.in_flight < self.window:
            return 0.0
        needed = self.in_flight + 1e-6 - self.window + grown
        return self.doubles * math.log2(needed / grown)

    def answered(self, took: float) -> None:
        """An answer came while the ramp went on: it tells how soon answers can tell."""
        if self._grown is not None:
            self.doubles = min(max(RAMP_ANSWERS * took, RAMP_DOUBLES), RAMP_SLOWEST)

    def begin_anew(self) -> None:
        """Another event loop, another clock."""
        self.turn = -math.inf
        self._mark = self.sent
        self._seconds.clear()
        self._grown = None
        self.window = RAMP_FREE
        self.in_flight = 0

    def rest(self) -> None:
        """Nobody waits any more: the next burst begins where this one got to."""
        self._grown = None
