"""Lanes, doors and queues: who may go now, who waits, who can't wait so long.

First come first served per endpoint; a door shared by several endpoints serves the oldest head
whose other doors let it pass, so that a closed endpoint blocks nobody else.  When calls and looks
both wait, they take turns.  All doors of a call are taken together or not at all, and a parked call
holds nothing.
"""

import heapq
import math
from collections.abc import Callable, Iterable
from itertools import count

from resilience._core.admission.breaker import CircuitBreaker
from resilience._core.admission.budget import RetryBudget
from resilience._core.admission.door import Door, View
from resilience._core.admission.gate import Gate
from resilience._core.admission.lane import Lane, Queue
from resilience._core.admission.model import (
    Admission,
    Go,
    Keys,
    Kind,
    Park,
    Permit,
    Place,
    Pumped,
    Reason,
    Refuse,
    ScopeKey,
    Ticket,
)
from resilience._core.instants import CALENDAR_NAP, Instant, Now

_PARK = Park()

MOST_WAITING = 1_000_000
"""Calls that may wait at once."""

BUDGET_NAP = 0.25
"""Seconds after which an empty budget is looked at again: calls on the fast lane fill it silently."""


Head = tuple[bool, int, int, Lane, Queue]
"""Who is served first: nobody whose own fault it may be, then by turn, then by arrival."""


class Waiting:
    """The doors of one account and those who wait before them."""

    def __init__(
        self,
        most_waiting: int = MOST_WAITING,
        *,
        breaker: CircuitBreaker | None = CircuitBreaker(),  # noqa: B008  # frozen
        budget: RetryBudget | None = RetryBudget(),  # noqa: B008
    ) -> None:
        self.epoch = 0
        """Number of closings so far; permits are dated by it."""
        self.gates: dict[ScopeKey, Gate] = {}
        self.lanes: dict[str, Lane] = {}
        self.most_waiting = most_waiting
        self.orders = count()
        """Arrival numbers."""
        self.early = count(-(2**62))
        """Those of calls that were sent while nobody had to wait, and need a number only now."""
        self.moved: Callable[[Door], None] | None = None
        """Told of every door that opens, closes or is paced."""
        self._breaker = breaker
        self._budget = budget
        self._parked = dict.fromkeys(Kind, 0)
        self._turn = dict.fromkeys(Kind, 0)

    @property
    def parked(self) -> int:
        """How many calls are waiting."""
        return sum(self._parked.values())

    def lane(self, keys: Keys) -> Lane:
        """The lane of an endpoint."""
        lane = self.lanes.get(keys.endpoint)
        if lane is None:
            lane = self.lanes[keys.endpoint] = Lane(keys, self._breaker, self._budget)
            lane.doors = [self.gates[k] for k in keys.scopes if self._is_restricted(k)]
        return lane

    # -- asking -------------------------------------------------------------------------------

    def ask(self, ticket: Ticket, keys: Keys, now: Now) -> Admission:
        """May this call send an attempt now?"""
        ticket.keys = keys
        lane = self.lane(keys)
        admission = self._ask(ticket, lane, now)
        if isinstance(admission, Refuse):
            self._refund(ticket, lane)
        return admission

    def _ask(self, ticket: Ticket, lane: Lane, now: Now) -> Admission:
        self._tick(lane, now)
        refusal = self._shut(lane, now)
        if refusal is not None:
            return refusal
        if ticket.unpaid and not lane.unpaid.parked:
            self._pay(ticket, lane, now)
        if ticket.unpaid:
            return self._park(ticket, lane, now)
        if not lane.parked and not self._awaited(lane) and self._passable(ticket, lane, now):
            return self._go(ticket, lane, now)
        return self._park(ticket, lane, now)

    def _go(self, ticket: Ticket, lane: Lane, now: Now) -> Go:
        lane.unit = lane.unit + 0.1 * (ticket.cost - lane.unit) if lane.sent else ticket.cost
        lane.went(now.loop)
        paced = tuple(gate.pace for gate in lane.doors if gate.pace is not None)
        for pace in paced:
            pace.take(ticket.cost, now.loop)
        probes = tuple(g for g in lane.doors if not g.open)
        permit = Permit(
            ticket, self.epoch, probes, sent_at=now.loop, lane=lane, paced=paced,
            under_way=lane.in_flight - 1, paid=ticket.paid,
        )  # fmt: skip
        if ticket.paid:
            ticket.paid = False
            lane.budget.retried()
        for gate in probes:
            gate.admit_probe(permit, now)
            self._tell(gate)
        ticket.place = Place.GRANTED
        ticket.permit = permit
        return Go(permit)

    @staticmethod
    def _pay(ticket: Ticket, lane: Lane, now: Now) -> None:
        if lane.budget.charge(lane.sent, now.loop):
            ticket.unpaid, ticket.paid = False, True

    @staticmethod
    def _refund(ticket: Ticket, lane: Lane) -> None:
        if ticket.paid:
            ticket.paid = False
            lane.budget.refund()

    def _passable(self, ticket: Ticket, lane: Lane, now: Now) -> bool:
        if not all(g.look(now, ticket.cost) in (View.OPEN, View.PROBE) for g in lane.doors):
            return False
        ramp = lane.ramp(now.loop)
        # nobody has closed the ramp: it is no reason to turn away one who can't wait
        return ramp <= 0 or now.loop + ramp > self._limit(ticket, now)

    def _awaited(self, lane: Lane) -> bool:
        """Whether somebody who came before stands in front of one of these doors."""
        return bool(lane.doors and self.parked) and any(
            other.parked and any(gate in other.doors for gate in lane.doors)
            for other in self.lanes.values()
        )

    @staticmethod
    def _shut(lane: Lane, now: Now) -> Refuse | None:
        for gate in lane.doors:
            if isinstance(gate, Gate) and gate.look(now) is View.SHUT:
                return Refuse(gate.refusal_reason(), gate.opens(now), gate.because)
        return None

    @staticmethod
    def _limit(ticket: Ticket, now: Now) -> float:
        return min(ticket.deadline, now.loop + ticket.max_wait - ticket.waited)

    def _park(self, ticket: Ticket, lane: Lane, now: Now) -> Admission:
        ticket.limit = self._limit(ticket, now)
        late = self._too_late(ticket, lane, now, ahead=float(lane.parked))
        if late is None and self.parked >= self.most_waiting:
            late = Refuse(Reason.CROWD)
        if late is not None:
            return late
        ticket.place = Place.PARKED
        ticket.parked_at = now.loop
        kind = ticket.kind
        if not self._parked[kind]:  # who was away has saved up no turns
            self._turn[kind] = max(self._turn.values())
        self._parked[kind] += 1
        lane.line(ticket).add(ticket)
        return _PARK

    def _too_late(
        self, ticket: Ticket, lane: Lane, now: Now, *, ahead: float = 0.0
    ) -> Refuse | None:
        """A wait that ends after the limit fails now, and says when it would resume."""
        slowest = max(lane.doors, key=lambda gate: gate.opens(now).left(now), default=None)
        left = max((gate.surely_shut(now, ahead) for gate in lane.doors), default=0.0)
        if now.loop + left <= ticket.limit and ticket.limit > now.loop:
            return None
        reason = Reason.DEADLINE if ticket.limit == ticket.deadline else Reason.MAX_WAIT
        if ticket.unpaid:
            left = lane.budget.wait(lane.sent, now.loop)
            return Refuse(reason, Instant(loop=now.loop + left), ticket.because)
        if slowest is None:
            return Refuse(reason)
        if slowest.late is not None and not slowest.open:
            reason = slowest.late
        return Refuse(reason, slowest.opens(now), slowest.because)

    # -- serving ------------------------------------------------------------------------------

    def pump(self, now: Now) -> Pumped:
        """Grant and refuse whatever can be decided now; tell when to look again."""
        grants: list[Ticket] = []
        refusals: list[Ticket] = []
        heads: list[Head] = []
        for lane in self.lanes.values():
            self._tick(lane, now)
            self._pay_all(lane, now, refusals)
            for queue in lane.queues.values():
                self._refuse_late(lane, queue, now, refusals, served=False)
                self._line_up(heads, lane, queue)
        while heads:
            *_, lane, queue = heapq.heappop(heads)
            ticket = self._next(lane, queue)
            if ticket is None:
                continue
            if not self._serve(ticket, lane, now, grants, refusals):
                self._refuse_late(lane, queue, now, refusals, served=True)
                continue
            self._refuse_late(lane, queue, now, refusals, served=False)
            self._line_up(heads, lane, queue)
        if any(ticket.permit is not None and ticket.permit.probes for ticket in grants):
            self._turn_away(now, refusals)
        return Pumped(grants, refusals, self._next_wake(now) if self.parked else None)

    def _turn_away(self, now: Now, refusals: list[Ticket]) -> None:
        """Those who were passed over, and now stand before a door that somebody is finding out about."""
        for lane in self.lanes.values():
            for queue in lane.queues.values():
                while (head := queue.head()) is not None and (shut := self._shut(lane, now)):
                    self._refuse(head, lane, shut, now, refusals)

    def _pay_all(self, lane: Lane, now: Now, refusals: list[Ticket]) -> None:
        """Give tokens to retries that wait for them, and let them get in line."""
        if not lane.unpaid.parked:
            return
        self._refuse_late(lane, lane.unpaid, now, refusals, served=True)
        while (ticket := lane.unpaid.head()) is not None:
            self._pay(ticket, lane, now)
            if ticket.unpaid:
                return
            lane.unpaid.pop()
            lane.line(ticket).add(ticket)

    def _line_up(self, heads: list[Head], lane: Lane, queue: Queue) -> None:
        head = self._next(lane, queue)
        if head is not None:  # arrival numbers are unique, so lanes are never compared
            suspect = self._is_suspect(head, lane)
            heapq.heappush(heads, (suspect, self._turn[head.kind], head.order, lane, queue))

    def _next(self, lane: Lane, queue: Queue) -> Ticket | None:
        """The oldest that is above suspicion; if there is none, the oldest."""
        head = queue.head()
        if head is None or not self._is_suspect(head, lane):
            return head
        return queue.first(lambda ticket: not self._is_suspect(ticket, lane)) or head

    @staticmethod
    def _is_suspect(ticket: Ticket, lane: Lane) -> bool:
        """Whether others go first: at a closed door all, at an open one until some have passed."""
        return ticket.suspect and any(
            not gate.open or not gate.has_proved(ticket)
            for gate in lane.doors
            if isinstance(gate, Gate)
        )

    def _serve(
        self,
        ticket: Ticket,
        lane: Lane,
        now: Now,
        grants: list[Ticket],
        refusals: list[Ticket],
    ) -> bool:
        """Decide about the head of a queue; False if it has to go on waiting."""
        refusal = self._shut(lane, now)
        if refusal is not None:
            self._refuse(ticket, lane, refusal, now, refusals)
            return True
        if not self._passable(ticket, lane, now):
            return False
        self._grant(ticket, lane, now, grants)
        return True

    def _grant(self, ticket: Ticket, lane: Lane, now: Now, grants: list[Ticket]) -> None:
        self._unpark(ticket, lane, Place.GRANTED, now)
        if all(self._parked.values()):
            self._turn[ticket.kind] += 1
        self._go(ticket, lane, now)
        grants.append(ticket)

    def _refuse_late(
        self, lane: Lane, queue: Queue, now: Now, refusals: list[Ticket], *, served: bool
    ) -> None:
        """Refuse those whose patience is over.

        Before the queue is ``served``, whoever waited for a door that opened in time is kept, though
        the clock has gone past both: a timer never rings early, and often a millisecond late.
        """
        while (ticket := queue.most_urgent()) is not None:
            late = self._too_late(ticket, lane, now)
            if late is None or (not served and self._opened_in_time(ticket, lane.doors, now)):
                return
            self._refuse(ticket, lane, late, now, refusals)

    @staticmethod
    def _opened_in_time(ticket: Ticket, doors: Iterable[Door], now: Now) -> bool:
        opened = max((gate.until.left(now) for gate in doors), default=-math.inf)
        return now.loop < ticket.deadline and now.loop + opened <= ticket.limit

    def _refuse(
        self, ticket: Ticket, lane: Lane, refusal: Refuse, now: Now, refusals: list[Ticket]
    ) -> None:
        self._unpark(ticket, lane, Place.REFUSED, now)
        self._refund(ticket, lane)
        ticket.refusal = refusal
        refusals.append(ticket)

    def _unpark(self, ticket: Ticket, lane: Lane, place: Place, now: Now) -> None:
        ticket.place = place
        ticket.waited += now.loop - ticket.parked_at
        lane.line(ticket).left()
        self._parked[ticket.kind] -= 1
        if not lane.parked:
            lane.rest()

    def _next_wake(self, now: Now) -> float:
        """The first instant at which ``pump`` could decide something new."""
        wake = math.inf
        for lane in self.lanes.values():
            for queue in (*lane.queues.values(), lane.unpaid):
                head = queue.head() if queue is lane.unpaid else self._next(lane, queue)
                if head is None:
                    continue
                urgent = queue.most_urgent()
                wake = min(wake, urgent.limit if urgent else math.inf)
                if queue is lane.unpaid:
                    left = min(lane.budget.wait(lane.sent, now.loop), BUDGET_NAP)
                else:
                    left = self._opening(head, lane, now)
                wake = min(wake, now.loop + left)
        return wake

    @staticmethod
    def _opening(head: Ticket, lane: Lane, now: Now) -> float:
        """Seconds until all doors of a lane may let its head pass."""
        opening = lane.ramp(now.loop)
        for gate in lane.doors:
            instant = gate.opens(now, head.cost)
            left = instant.left(now)
            opening = max(opening, left if instant.loop is not None else min(left, CALENDAR_NAP))
        return opening

    # -- doors --------------------------------------------------------------------------------

    def _gate(self, key: ScopeKey) -> Gate:
        gate = self.gates.get(key)
        if gate is None:
            gate = self.gates[key] = Gate(key)
        return gate

    def _is_restricted(self, key: ScopeKey) -> bool:
        gate = self.gates.get(key)
        return gate is not None and gate.restricted

    def _tick(self, lane: Lane, now: Now) -> None:
        for door in lane.doors.copy():
            was = door.state
            door.tick(now)
            if door.state != was:
                self._sort(door)

    def _sort(self, door: Door) -> None:
        """Put a door where it belongs: among those that its lanes have to ask, or not."""
        for lane in self.lanes.values():
            if door.key in lane.keys.scopes or door is lane.breaker:
                listed = door in lane.doors
                if door.restricted and not listed:
                    lane.doors = [*lane.doors, door]
                elif listed and not door.restricted:
                    lane.doors = [other for other in lane.doors if other is not door]
                    if not lane.doors:
                        lane.forget()
        self._tell(door)

    def _tell(self, door: Door) -> None:
        if self.moved is not None:
            self.moved(door)
