"""The one machine where doors meet: who may go, who waits, who is refused, when to look again.

There is one per guard.  It is synchronous and owns no task, clock or randomness; the driver calls
it and obeys.  Asking and waiting are in ``waiting``; here is what answers do to calls and doors.
"""

from typing import Any

from resilience._core.admission.breaker import LOOK_BACK, Breaker
from resilience._core.admission.door import Door
from resilience._core.admission.gate import SHORTEST_CLOSING, Gate
from resilience._core.admission.lane import MEMORY, Lane, Queue
from resilience._core.admission.model import (
    Admission,
    Again,
    Answer,
    Go,
    Judgement,
    Permit,
    Place,
    Raise,
    Reason,
    Return,
    ScopeKey,
    Ticket,
)
from resilience._core.admission.pace import Pace
from resilience._core.admission.waiting import Waiting
from resilience._core.instants import Instant, Now
from resilience._core.policy.model import Recovers, Verdict

_RETURN = Return()


class Machine(Waiting):
    """Live state of every scope of one account."""

    def answer(self, permit: Permit, judgement: Judgement, now: Now, draw: float) -> Answer:
        """What becomes of the call after this attempt, and what it tells about the doors."""
        ticket = permit.ticket
        ticket.place, ticket.permit = Place.OUTSIDE, None
        lane = self.lane(ticket.keys)
        self._settle(permit, judgement, lane, now)
        gate = self._gate(judgement.scope) if judgement.scope else None
        self._conclude_probes(permit, judgement, now)
        match judgement.verdict:
            case Verdict.SUCCESS:
                return _RETURN
            case Verdict.RETRYABLE:
                self._failed(lane, permit, judgement, now, draw)
                return self._charged(self._retry(ticket, judgement, now, draw), ticket, lane, now)
            case Verdict.FATAL:
                if gate is not None:
                    self._reject(gate, permit, judgement, now, draw)
                return Raise(Reason.FATAL, gate.until if gate and not gate.open else None)
            case Verdict.QUOTA:
                return self._quota(permit, judgement, gate, now, draw)

    def leave(self, holder: Ticket | Permit, now: Now) -> None:
        """The caller was cancelled: give back its place in the queue or its probe."""
        if isinstance(holder, Permit):
            self._release(holder, now)
            for door in holder.probes:
                door.release_probe(holder)
            holder.ticket.place = Place.GONE
            return
        lane = self.lane(holder.keys)
        if holder.place is Place.PARKED:
            self._unpark(holder, lane, Place.GONE, now)
        elif holder.place is Place.GRANTED and holder.permit is not None:
            self.not_sent(holder.permit, now)
        self._refund(holder, lane)
        holder.place = Place.GONE

    def not_sent(self, permit: Permit, now: Now) -> None:
        """A grant came too late: the call never left, so nothing was spent."""
        cost = permit.ticket.cost
        for pace in permit.paced:
            pace.refund(cost, now.loop)
            pace.tokens += cost
        lane: Lane | None = permit.lane
        if lane is not None:
            lane.sent -= 1
            if permit.paid:
                lane.budget.took_back()
        self.leave(permit, now)

    def carry(self, before: Now, now: Now) -> None:
        """A new event loop: keep the doors closed, on the new loop's clock."""
        for gate in self.gates.values():
            gate.until = gate.until.carried(before, now)
            gate.first_closed += now.loop - before.loop - (now.wall - before.wall)
            gate.probe = None
            gate.pace = None
            if gate.light:
                gate.reset()
            self._sort(gate)
        for lane in self.lanes.values():
            lane.begin_anew()
            if lane.breaker is not None:
                lane.breaker.reset()
                self._sort(lane.breaker)

    def reset(self, key: ScopeKey | None = None) -> list[ScopeKey]:
        """Open a door, or every one, because somebody knows better; the keys of those closed."""
        chosen = [d for d in self.doors() if d.restricted and key in (None, d.key)]
        closed = [door.key for door in chosen if not door.open]
        self.epoch += bool(chosen)  # what was sent before tells nothing about the doors any more
        for door in chosen:
            door.reset()
            door.closed_epoch = self.epoch
            self._sort(door)
        return closed

    def restore(self, key: ScopeKey, kind: Recovers, until: Instant, because: Any) -> None:
        """Close a door as it was closed before a restart."""
        self.epoch += 1
        self._gate(key).restore(kind, until, because, self.epoch)
        self._sort(self._gate(key))

    def overrule(self, ticket: Ticket, admission: Admission, now: Now) -> Permit:
        """Let a call go whatever was answered: it is only watched, and tells nothing new."""
        if isinstance(admission, Go):
            return admission.permit
        self.leave(ticket, now)
        self.lane(ticket.keys).sent += 1
        return Permit(ticket, -1, sent_at=now.loop)

    def doors(self) -> list[Door]:
        """Every door that was ever closed, and every breaker."""
        breakers = (lane.breaker for lane in self.lanes.values() if lane.breaker is not None)
        return [*self.gates.values(), *breakers]

    def forget_waiting(self) -> None:
        """The event loop of those who wait is gone, and they with it."""
        for lane in self.lanes.values():
            for queue in (*lane.queues.values(), lane.unpaid):
                for ticket in queue.by_order:
                    ticket.place = Place.GONE
            lane.queues.clear()
            lane.unpaid = Queue()
            lane.in_flight = 0
        self._parked = dict.fromkeys(self._parked, 0)

    # -- what an answer tells -----------------------------------------------------------------

    @staticmethod
    def _release(permit: Permit, now: Now, *, accepted: bool = False) -> None:
        """The attempt is no longer under way."""
        lane: Lane | None = permit.lane
        if lane is not None:
            permit.lane = None
            lane.in_flight -= 1
            for pace in permit.paced:
                pace.release(permit.sent_at, now.loop, accepted=accepted)

    def _settle(self, permit: Permit, judgement: Judgement, lane: Lane, now: Now) -> None:
        accepted = judgement.verdict is not Verdict.QUOTA
        self._release(permit, now, accepted=accepted)
        lane.answered(now.loop - permit.sent_at)
        if judgement.verdict is not Verdict.RETRYABLE and lane.failing:
            lane.failing -= 1
        if not accepted:
            lane.sent -= 1
            for pace in permit.paced:
                pace.refund(permit.ticket.cost, now.loop)
            return
        lane.peak = max(lane.peak, permit.under_way)
        for gate in lane.doors:
            if isinstance(gate, Gate):
                gate.let_in(permit.sent_at)

    def _conclude_probes(self, permit: Permit, judgement: Judgement, now: Now) -> None:
        for door in permit.probes:
            if door.open or permit.epoch < door.closed_epoch:
                continue  # decided without it, or closed again since
            if door.key == judgement.scope and judgement.recovers is not Recovers.CAPACITY:
                continue  # about to be closed again
            if door.is_proven_by(judgement):
                # even if its lease was over and another probe is under way: a slow call is one
                door.reopen(now)
                if isinstance(door, Gate):
                    door.proved = permit.sent_at
                self._sort(door)
            else:
                door.inconclusive(permit, now)

    def _failed(
        self, lane: Lane, permit: Permit, judgement: Judgement, now: Now, draw: float
    ) -> None:
        """What may be retried counts against the endpoint."""
        breaker = lane.breaker
        if breaker is None:
            return
        if permit.epoch < breaker.closed_epoch:
            breaker.merge(judgement, now)
        elif breaker.open:
            lane.failing += 1
            if lane.failing >= breaker.patience(lane.recent(MEMORY, now.loop)[0]):
                self._trip(lane, breaker, judgement, now, draw)
        elif breaker in permit.probes:
            self._trip(lane, breaker, judgement, now, draw)
        if not breaker.open:
            # let those find out who have not failed yet, or the oldest would use up their attempts
            permit.ticket.order = next(self.orders)

    def _trip(
        self, lane: Lane, breaker: Breaker, judgement: Judgement, now: Now, draw: float
    ) -> None:
        self.epoch += 1
        units, span = lane.recent(LOOK_BACK, now.loop)
        breaker.trip(judgement, now, draw=draw, epoch=self.epoch, rate=units / max(span, 1.0))
        lane.failing = 0
        self._sort(breaker)

    def _reject(
        self, gate: Gate, permit: Permit, judgement: Judgement, now: Now, draw: float
    ) -> None:
        overtaken = (
            gate in permit.probes
            and gate.probe is not permit
            and (not gate.open or permit.sent_at < gate.proved)
        )
        if overtaken or permit.epoch < gate.closed_epoch:
            gate.merge(judgement, now)
            if gate.pace is not None and permit.sent_at <= gate.pace.closed_at:
                gate.pace.correct(permit.ticket.cost)
            return
        self.epoch += 1
        gate.reaction = now.loop - permit.sent_at
        was_open = gate.open
        permit.ticket.closed += 1
        permit.ticket.suspect = permit.ticket.closed > 1 or gate in permit.probes
        gate.close(judgement, now, draw, self.epoch)
        if gate.kind is Recovers.WINDOW:
            if was_open or gate.pace is None:
                self._measure(gate, now)
            else:
                gate.pace.still_shut(now.loop)
        self._sort(gate)

    def _measure(self, gate: Gate, now: Now) -> None:
        """What was accepted until this moment is the best that is known about the limit."""
        if gate.pace is not None:
            gate.pace.close(gate.reaction, now.loop)
            return
        lanes = [lane for lane in self.lanes.values() if gate.key in lane.keys.scopes]
        # as far back as the server's window seems to reach
        span = max(MEMORY, gate.until.left(now)) if gate.told else MEMORY
        counts = [lane.recent(span, now.loop) for lane in lanes]
        gate.pace = Pace(
            now.loop,
            units=sum(calls * lane.unit for lane, (calls, _) in zip(lanes, counts, strict=True)),
            span=max((reach for _, reach in counts), default=0.0),
            in_flight=sum(lane.in_flight for lane in lanes),
            peak=max((lane.peak for lane in lanes), default=0),
            took=gate.reaction,
            unit=lanes[0].unit if lanes else 1.0,
        )
        for lane in lanes:
            lane.lift()

    # -- what becomes of the call -------------------------------------------------------------

    def _quota(
        self, permit: Permit, judgement: Judgement, gate: Gate | None, now: Now, draw: float
    ) -> Answer:
        if judgement.recovers is Recovers.CAPACITY:
            return Raise(Reason.CAPACITY)  # full storage closes no door: other calls are fine
        if gate is not None:
            if self._is_poison(permit, gate, now):
                for probed in permit.probes:
                    if not probed.open:
                        probed.inconclusive(permit, now)
                return Raise(Reason.THIS_CALL)
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

    @staticmethod
    def _is_poison(permit: Permit, gate: Gate, now: Now) -> bool:
        """Whether this call is rejected again and again while others are let in."""
        ticket = permit.ticket
        if permit.epoch < gate.closed_epoch:
            return False  # one of many that were under way: it proves nothing
        if not ticket.poison:
            gate.count(rejected=True)
        if not ticket.poison or gate.has_proved(ticket):
            ticket.poison += 1
            ticket.rejected_at = now.loop
        return ticket.poison >= gate.strikes

    def _retry(self, ticket: Ticket, judgement: Judgement, now: Now, draw: float) -> Answer:
        ticket.spent += 1
        ticket.because = judgement.because
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

    @staticmethod
    def _charged(answer: Answer, ticket: Ticket, lane: Lane, now: Now) -> Answer:
        """A retry pays when it is scheduled; one that can't will wait for its token."""
        if not isinstance(answer, Again):
            return answer
        ticket.paid = lane.budget.charge(lane.sent, now.loop)
        ticket.unpaid = not ticket.paid
        if ticket.paid:
            return answer
        lane.suppressed += 1
        wait = lane.budget.wait(lane.sent, now.loop)
        return Again(answer.not_before, "budget", max(answer.expected, wait))

    def _wait_alone(self, ticket: Ticket, wait: float, why: str, now: Now) -> Answer:
        """A wait that the server asked for but that closes no door: it spends ``max_wait``."""
        resume = Instant(loop=now.loop + wait)
        if now.loop + wait >= ticket.deadline:
            return Raise(Reason.DEADLINE, resume)
        if ticket.waited + wait > ticket.max_wait:
            return Raise(Reason.MAX_WAIT, resume)
        ticket.waited += wait
        return Again(now.loop + wait, why, wait)
