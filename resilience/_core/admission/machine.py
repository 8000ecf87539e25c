"""The one machine where doors meet: who may go, who waits, who is refused, when to look again.

There is one per guard.  It is synchronous and owns no task, clock or randomness; the driver calls
it and obeys.  All doors of a call are taken together or not at all, and a parked call holds
nothing.  First come first served per endpoint; a door shared by several endpoints serves the oldest
head whose other doors let it pass, so that a closed endpoint blocks nobody else.

Pacing, breaker and retry budget are further doors of this machine: they will change what ``look``
finds and what ``answer`` spends, not these functions.
"""

import heapq
from collections.abc import Iterator

from resilience._core.admission.gate import SHORTEST_CLOSING, Gate, View
from resilience._core.admission.model import (
    Admission,
    Again,
    Answer,
    Go,
    Judgement,
    Keys,
    Park,
    Permit,
    Place,
    Pumped,
    Raise,
    Reason,
    Refuse,
    Return,
    ScopeKey,
    Ticket,
)
from resilience._core.instants import CALENDAR_NAP, Instant, Now
from resilience._core.policy.model import Recovers, Verdict

_RETURN = Return()
_PARK = Park()


class _Queue:
    """The calls parked on one endpoint: by arrival to serve them, by limit to refuse them."""

    __slots__ = ("by_limit", "by_order", "keys")

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.by_order: list[Ticket] = []
        self.by_limit: list[tuple[float, int, Ticket]] = []

    def add(self, ticket: Ticket) -> None:
        heapq.heappush(self.by_order, ticket)
        heapq.heappush(self.by_limit, (ticket.limit, ticket.order, ticket))

    def head(self) -> Ticket | None:
        """The oldest that is still parked."""
        while self.by_order and self.by_order[0].place is not Place.PARKED:
            heapq.heappop(self.by_order)
        return self.by_order[0] if self.by_order else None

    def most_urgent(self) -> Ticket | None:
        """The one that can wait least."""
        while self.by_limit:
            limit, _, ticket = self.by_limit[0]
            if ticket.place is Place.PARKED and ticket.limit == limit:
                break
            heapq.heappop(self.by_limit)  # it left, or parked again with another limit
        return self.by_limit[0][2] if self.by_limit else None


class Machine:
    """Live state of every scope of one account."""

    def __init__(self) -> None:
        self.restricted = 0
        """How many doors are not open.  0 means the fast lane: nobody needs to ask."""
        self.epoch = 0
        """Number of closings so far; permits are dated by it."""
        self.gates: dict[ScopeKey, Gate] = {}
        self._queues: dict[str, _Queue] = {}
        self._parked = 0

    @property
    def parked(self) -> int:
        """How many calls are waiting."""
        return self._parked

    # -- the four functions -------------------------------------------------------------------

    def ask(self, ticket: Ticket, keys: Keys, now: Now) -> Admission:
        """May this call send an attempt now?"""
        ticket.keys = keys
        queue = self._queues.get(keys.endpoint)
        if not self.restricted and (queue is None or queue.head() is None):
            return self._go(ticket, [], now)
        doors = list(self._closed(keys))
        refusal = self._shut(doors, now)
        if refusal is not None:
            return refusal
        waits = any(gate.look(now) is not View.PROBE for gate in doors)
        if not waits and (queue is None or queue.head() is None) and not self._awaited(doors):
            return self._go(ticket, doors, now)
        return self._park(ticket, keys, doors, now)

    def answer(self, permit: Permit, judgement: Judgement, now: Now, draw: float) -> Answer:
        """What becomes of the call after this attempt, and what it tells about the doors."""
        ticket = permit.ticket
        gate = self._gate(judgement.scope) if judgement.scope else None
        self._conclude_probes(permit, judgement, now)
        match judgement.verdict:
            case Verdict.SUCCESS:
                return _RETURN
            case Verdict.RETRYABLE:
                return self._retry(ticket, judgement, now, draw)
            case Verdict.FATAL:
                if gate is not None:
                    self._reject(gate, permit, judgement, now, draw)
                return Raise(Reason.FATAL, gate.until if gate and not gate.open else None)
            case Verdict.QUOTA:
                return self._quota(permit, judgement, gate, now, draw)

    def leave(self, holder: Ticket | Permit, now: Now) -> None:
        """The caller was cancelled: give back its place in the queue or its probe."""
        if isinstance(holder, Permit):
            for gate in holder.probes:
                gate.release_probe(holder)
            holder.ticket.place = Place.GONE
            return
        if holder.place is Place.PARKED:
            self._unpark(holder, Place.GONE, now)
        elif holder.place is Place.GRANTED and holder.permit is not None:
            self.leave(holder.permit, now)

    def pump(self, now: Now) -> Pumped:
        """Grant and refuse whatever can be decided now; tell when to look again."""
        grants: list[Ticket] = []
        refusals: list[Ticket] = []
        heads = [(head.order, queue) for queue in self._queues.values() if (head := queue.head())]
        heapq.heapify(heads)  # arrival numbers are unique, so queues are never compared
        while heads:
            _, queue = heapq.heappop(heads)
            self._refuse_late(queue, now, refusals, served=False)
            ticket = queue.head()
            if ticket is None:
                continue
            if not self._serve(ticket, now, grants, refusals):
                self._refuse_late(queue, now, refusals, served=True)
                continue
            if (following := queue.head()) is not None:
                heapq.heappush(heads, (following.order, queue))
        return Pumped(grants, refusals, self._next_wake(now) if self._parked else None)

    def carry(self, before: Now, now: Now) -> None:
        """A new event loop: keep the doors closed, on the new loop's clock."""
        for gate in self.gates.values():
            gate.until = gate.until.carried(before, now)
            gate.first_closed += now.loop - before.loop - (now.wall - before.wall)
            gate.probe = None

    def reset(self, key: ScopeKey | None = None) -> list[ScopeKey]:
        """Open a door, or every one, because somebody knows better; the keys of those opened."""
        closed = [g for g in self.gates.values() if not g.open and key in (None, g.key)]
        for gate in closed:
            gate.reopen()
        self.restricted -= len(closed)
        self.epoch += bool(closed)  # what was sent before tells nothing about the doors any more
        for gate in closed:
            gate.closed_epoch = self.epoch
        return [gate.key for gate in closed]

    def forget_waiting(self) -> None:
        """The event loop of those who wait is gone, and they with it."""
        for queue in self._queues.values():
            for ticket in queue.by_order:
                ticket.place = Place.GONE
        self._queues.clear()
        self._parked = 0

    # -- asking -------------------------------------------------------------------------------

    def _gate(self, key: ScopeKey) -> Gate:
        gate = self.gates.get(key)
        if gate is None:
            gate = self.gates[key] = Gate(key)
        return gate

    def _closed(self, keys: Keys) -> Iterator[Gate]:
        for key in keys.scopes:
            gate = self.gates.get(key)
            if gate is not None and not gate.open:
                yield gate

    def _awaited(self, doors: list[Gate]) -> bool:
        """Whether somebody who came before stands in front of one of these doors."""
        return bool(doors and self._parked) and any(
            queue.head() is not None and any(gate.key in queue.keys.scopes for gate in doors)
            for queue in self._queues.values()
        )

    def _go(self, ticket: Ticket, probing: list[Gate], now: Now) -> Go:
        permit = Permit(ticket, self.epoch, tuple(probing))
        for gate in probing:
            gate.admit_probe(permit, now)
        ticket.place = Place.GRANTED
        ticket.permit = permit
        return Go(permit)

    def _shut(self, doors: list[Gate], now: Now) -> Refuse | None:
        for gate in doors:
            if gate.look(now) is View.SHUT:
                return Refuse(gate.refusal_reason(), gate.opens(now), gate.because)
        return None

    def _park(self, ticket: Ticket, keys: Keys, doors: list[Gate], now: Now) -> Admission:
        ticket.limit = min(ticket.deadline, now.loop + ticket.max_wait - ticket.waited)
        late = self._too_late(ticket, doors, now)
        if late is not None:
            return late
        ticket.place = Place.PARKED
        ticket.parked_at = now.loop
        queue = self._queues.get(keys.endpoint)
        if queue is None:
            queue = self._queues[keys.endpoint] = _Queue(keys)
        queue.add(ticket)
        self._parked += 1
        return _PARK

    def _too_late(self, ticket: Ticket, doors: list[Gate], now: Now) -> Refuse | None:
        """A wait that ends after the limit fails now, and says when it would resume."""
        slowest = max(doors, key=lambda gate: gate.opens(now).left(now), default=None)
        left = slowest.until.left(now) if slowest else 0.0
        if now.loop + max(left, 0.0) <= ticket.limit and ticket.limit > now.loop:
            return None
        reason = Reason.DEADLINE if ticket.limit == ticket.deadline else Reason.MAX_WAIT
        if slowest is None:
            return Refuse(reason)
        return Refuse(reason, slowest.opens(now), slowest.because)

    # -- serving ------------------------------------------------------------------------------

    def _serve(
        self, ticket: Ticket, now: Now, grants: list[Ticket], refusals: list[Ticket]
    ) -> bool:
        """Decide about the head of a queue; False if it has to go on waiting."""
        doors = list(self._closed(ticket.keys))
        refusal = self._shut(doors, now)
        if refusal is not None:
            self._refuse(ticket, refusal, now, refusals)
            return True
        if any(gate.look(now) is not View.PROBE for gate in doors):
            return False
        self._unpark(ticket, Place.GRANTED, now)
        self._go(ticket, doors, now)
        grants.append(ticket)
        return True

    def _refuse_late(
        self, queue: _Queue, now: Now, refusals: list[Ticket], *, served: bool
    ) -> None:
        """Refuse those whose patience is over.

        Before the queue is ``served``, whoever waited for a door that opened in time is kept, though
        the clock has gone past both: a timer never rings early, and often a millisecond late.
        """
        doors = list(self._closed(queue.keys))
        while (ticket := queue.most_urgent()) is not None:
            late = self._too_late(ticket, doors, now)
            if late is None or (not served and self._opened_in_time(ticket, doors, now)):
                return
            self._refuse(ticket, late, now, refusals)

    def _opened_in_time(self, ticket: Ticket, doors: list[Gate], now: Now) -> bool:
        opened = max((gate.until.left(now) for gate in doors), default=float("-inf"))
        return now.loop < ticket.deadline and now.loop + opened <= ticket.limit

    def _refuse(self, ticket: Ticket, refusal: Refuse, now: Now, refusals: list[Ticket]) -> None:
        self._unpark(ticket, Place.REFUSED, now)
        ticket.refusal = refusal
        refusals.append(ticket)

    def _unpark(self, ticket: Ticket, place: Place, now: Now) -> None:
        ticket.place = place
        ticket.waited += now.loop - ticket.parked_at
        self._parked -= 1

    def _next_wake(self, now: Now) -> float:
        """The first instant at which ``pump`` could decide something new."""
        wake = float("inf")
        for queue in self._queues.values():
            urgent = queue.most_urgent()
            if urgent is None:
                continue
            wake = min(wake, urgent.limit)
            opening = 0.0
            for gate in self._closed(queue.keys):
                instant = gate.opens(now)
                left = instant.left(now)
                opening = max(
                    opening, left if instant.loop is not None else min(left, CALENDAR_NAP)
                )
            wake = min(wake, now.loop + opening)
        return wake

    # -- answering ----------------------------------------------------------------------------

    def _conclude_probes(self, permit: Permit, judgement: Judgement, now: Now) -> None:
        for gate in permit.probes:
            if gate.open or permit.epoch < gate.closed_epoch:
                continue  # decided without it, or closed again since
            if gate.key == judgement.scope and judgement.recovers is not Recovers.CAPACITY:
                continue  # about to be closed again
            lived = judgement.verdict is Verdict.SUCCESS or (
                # any answer of the application came past a window; only success proves that an
                # exhausted account was topped up, or that a refused key was mended
                gate.patient and judgement.verdict is not Verdict.RETRYABLE
            )
            if (
                lived
            ):  # even if its lease was over and another probe is under way: a slow call is one
                gate.reopen()
                self.restricted -= 1
            else:
                gate.inconclusive(permit, now)

    def _reject(
        self, gate: Gate, permit: Permit, judgement: Judgement, now: Now, draw: float
    ) -> None:
        overtaken = gate in permit.probes and gate.probe is not permit
        if overtaken or permit.epoch < gate.closed_epoch:
            gate.merge(judgement, now)
            return
        self.epoch += 1
        self.restricted += gate.open
        gate.close(judgement, now, draw, self.epoch)

    def _quota(
        self, permit: Permit, judgement: Judgement, gate: Gate | None, now: Now, draw: float
    ) -> Answer:
        if judgement.recovers is Recovers.CAPACITY:
            return Raise(Reason.CAPACITY)  # full storage closes no door: other calls are fine
        if gate is not None:
            self._reject(gate, permit, judgement, now, draw)
        if judgement.recovers is Recovers.EXHAUSTED or (
            gate and not gate.open and not gate.patient
        ):
            return Raise(Reason.EXHAUSTED, gate.opens(now) if gate else None)
        if not judgement.repeatable:
            return Raise(Reason.NOT_REPEATABLE)
        if gate is not None:
            return Again(now.loop, "gate", max(0.0, gate.until.left(now)) if not gate.open else 0.0)
        backoff = judgement.rule.wait.delay(permit.ticket.sent - 1, draw)
        wait = max(backoff, judgement.hint or 0.0, SHORTEST_CLOSING)
        return self._wait_alone(permit.ticket, wait, "hint" if judgement.hint else "backoff", now)

    def _retry(self, ticket: Ticket, judgement: Judgement, now: Now, draw: float) -> Answer:
        ticket.spent += 1
        hint = judgement.hint or 0.0
        backoff = judgement.rule.wait.delay(ticket.spent - 1, draw)
        wait = max(backoff, hint)
        if not judgement.repeatable:
            return Raise(Reason.NOT_REPEATABLE)
        limit = min(ticket.max_attempts, judgement.rule.max_attempts or ticket.max_attempts)
        if ticket.spent >= limit:
            return Raise(Reason.ATTEMPTS, Instant(loop=now.loop + hint) if hint else None)
        if hint > backoff:
            return self._wait_alone(ticket, wait, "hint", now)
        if now.loop + wait >= ticket.deadline:
            return Raise(Reason.DEADLINE, Instant(loop=now.loop + wait))
        return Again(now.loop + wait, "backoff", wait)

    def _wait_alone(self, ticket: Ticket, wait: float, why: str, now: Now) -> Answer:
        """A wait that the server asked for but that closes no door: it spends ``max_wait``."""
        resume = Instant(loop=now.loop + wait)
        if now.loop + wait >= ticket.deadline:
            return Raise(Reason.DEADLINE, resume)
        if ticket.waited + wait > ticket.max_wait:
            return Raise(Reason.MAX_WAIT, resume)
        ticket.waited += wait
        return Again(now.loop + wait, why, wait)
