"""The one machine where doors meet: who may go, who waits, who is refused, when to look again.

There is one per guard.  It is synchronous and owns no task, clock or randomness; the driver calls
it and obeys.  Asking and waiting are in ``waiting``; here is what answers do to calls and doors.
"""

from resilience._core.admission.gate import SHORTEST_CLOSING, Gate
from resilience._core.admission.lane import MEMORY, Lane
from resilience._core.admission.model import (
    Again,
    Answer,
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

POISON = 3
"""So often a call may close a door that others pass, before the call is taken to be at fault."""

POISON_PROOF = 3
"""So many others, sent after its last rejection, must have been let in."""


class Machine(Waiting):
    """Live state of every scope of one account."""

    def answer(self, permit: Permit, judgement: Judgement, now: Now, draw: float) -> Answer:
        """What becomes of the call after this attempt, and what it tells about the doors."""
        ticket = permit.ticket
        self._settle(permit, judgement, now)
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
            self._release(holder, now)
            for gate in holder.probes:
                gate.release_probe(holder)
            holder.ticket.place = Place.GONE
            return
        if holder.place is Place.PARKED:
            self._unpark(holder, self.lane(holder.keys), Place.GONE, now)
        elif holder.place is Place.GRANTED and holder.permit is not None:
            self.not_sent(holder.permit, now)

    def not_sent(self, permit: Permit, now: Now) -> None:
        """A grant came too late: the call never left, so nothing was spent."""
        cost = permit.ticket.cost
        for pace in permit.paced:
            pace.refund(cost, now.loop)
            pace.tokens += cost
        if permit.lane is not None:
            permit.lane.sent -= 1
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

    def reset(self, key: ScopeKey | None = None) -> list[ScopeKey]:
        """Open a door, or every one, because somebody knows better; the keys of those closed."""
        chosen = [g for g in self.gates.values() if g.restricted and key in (None, g.key)]
        closed = [gate.key for gate in chosen if not gate.open]
        self.epoch += bool(chosen)  # what was sent before tells nothing about the doors any more
        for gate in chosen:
            gate.reset()
            gate.closed_epoch = self.epoch
            self._sort(gate)
        return closed

    def forget_waiting(self) -> None:
        """The event loop of those who wait is gone, and they with it."""
        for lane in self.lanes.values():
            for queue in lane.queues.values():
                for ticket in queue.by_order:
                    ticket.place = Place.GONE
            lane.queues.clear()
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

    def _settle(self, permit: Permit, judgement: Judgement, now: Now) -> None:
        lane: Lane | None = permit.lane or self.lanes.get(permit.ticket.keys.endpoint)
        self._release(permit, now, accepted=judgement.verdict is not Verdict.QUOTA)
        if lane is not None:
            lane.answered(now.loop - permit.sent_at)
            if judgement.verdict is not Verdict.QUOTA:
                lane.peak = max(lane.peak, permit.under_way)
        if judgement.verdict is Verdict.QUOTA:
            if lane is not None:
                lane.sent -= 1
            for pace in permit.paced:
                pace.refund(permit.ticket.cost, now.loop)
            return
        for gate in lane.doors if lane is not None else ():
            gate.successes = [*gate.successes[1 - POISON_PROOF :], permit.sent_at]

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
            if lived:
                # even if its lease was over and another probe is under way: a slow call is one
                gate.reopen(now)
                gate.proved = permit.sent_at
                self._sort(gate)
            else:
                gate.inconclusive(permit, now)

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
        permit.ticket.knocked = gate in permit.probes
        gate.close(judgement, now, draw, self.epoch)
        if gate.kind is Recovers.WINDOW:
            if was_open:
                self._measure(gate, now)
            elif gate.pace is not None:
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
            units=sum(units for units, _ in counts),
            span=max((reach for _, reach in counts), default=0.0),
            in_flight=sum(lane.in_flight for lane in lanes),
            peak=max((lane.peak for lane in lanes), default=0),
            took=gate.reaction,
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
        proofs = [sent for sent in gate.successes if sent > ticket.rejected_at]
        if not ticket.poison or len(proofs) >= POISON_PROOF:
            ticket.poison += 1
            ticket.rejected_at = now.loop
        return ticket.poison >= POISON

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
