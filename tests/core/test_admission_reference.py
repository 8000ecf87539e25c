"""Two other opinions: small models of gate, breaker and budget agree with the machine, step by step.

Each model is written for one endpoint, in the words of the table "What a verdict spends", with lists
and without any cleverness.  The books at the end are kept for the real machine: paces, breaker and
budget together.
"""

import math
from dataclasses import dataclass, field

from admission_kit import (
    BROKEN,
    WALL,
    WELL,
    WRONG,
    Doors,
    capacity,
    cooldown,
    exhausted,
    keys,
    verdict_of,
    window,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilience import CircuitBreaker, Recovers, RetryBudget, Verdict
from resilience._core.admission.machine import Machine
from resilience._core.admission.model import Again, Go, Park, Permit, Place, Refuse, Ticket
from resilience._core.instants import Now

FOREVER = math.inf
GATE = "endpoint:a"
SCHEDULE = (1.0, 2.0, 4.0)
PROBE_EVERY = 4.0
LONGEST_LEASE = 5.0


class Timed(RuleBasedStateMachine):
    """A machine under test, a clock, and the calls that are somewhere."""

    machine: Machine

    def __init__(self):
        super().__init__()
        self.loop = 0.0
        self.parked: list[Ticket] = []
        self.flying: list[Permit] = []
        self.resting: list[tuple[float, Ticket]] = []

    @property
    def now(self):
        """Both clocks."""
        return Now(self.loop, WALL + self.loop)

    @property
    def crowd(self):
        """All who are somewhere; the ramp begins at ten."""
        return len(self.flying) + len(self.parked) + len(self.resting)

    def new(self, endpoint="a", **limits):
        """A new call."""
        return Ticket(next(self.machine.orders), keys(endpoint), **limits)

    def pump(self):
        """Let the machine decide; gives what it granted and refused."""
        pumped = self.machine.pump(self.now)
        for ticket in (*pumped.grants, *pumped.refusals):
            self.parked.remove(ticket)
        self.flying += [ticket.permit for ticket in pumped.grants]
        return pumped

    def ask(self, ticket):
        """Ask, and note where the call is now."""
        answer = self.machine.ask(ticket, ticket.keys, self.now)
        match answer:
            case Go(permit):
                self.flying.append(permit)
            case Park():
                self.parked.append(ticket)
        return answer

    def take_flying(self, pick):
        """One of the calls under way."""
        return self.flying.pop(pick % len(self.flying))


# -- a gate ---------------------------------------------------------------------------------------


@dataclass
class PaperCall:
    """A call, as the gate's model sees it."""

    order: int
    max_wait: float
    waited: float = 0.0
    since: float = 0.0
    knocked: bool = False
    rejections: int = 0

    @property
    def limit(self):
        """Until when it can wait, in this wait."""
        return self.since + self.max_wait - self.waited


@dataclass
class PaperGate:
    """Closed until an instant; then one finds out, and the others wait for it or go away."""

    open: bool = True
    kind: str = "window"
    until: float = 0.0
    closings: int = 0
    age: int = 0
    """Closings ever: what was sent before the last one is old news."""
    probe: int | None = None
    """The attempt that finds out."""
    lease: float = 0.0
    proved_by: float = 0.0
    """When the attempt went that opened it last."""
    line: list[PaperCall] = field(default_factory=list)

    def look(self, now):
        """In a word."""
        if self.open:
            return "open"
        patient = self.kind != "exhausted"
        if now < self.until:
            return "wait" if patient else "away"
        if self.probe is not None and now < self.lease:
            return "wait" if patient else "away"
        return "probe"

    def lets_in(self, attempt, now):
        """Somebody goes; at a closed gate it is the probe."""
        if self.open:
            return False
        self.probe = attempt
        self.lease = (
            now
            + {
                "window": LONGEST_LEASE,  # of ``Doors``
                "cooldown": LONGEST_LEASE,
                "exhausted": PROBE_EVERY,
            }[self.kind]
        )
        return True

    def too_late(self, call, now):
        """Whether its patience ends before the gate can open."""
        left = 0.0 if self.open else max(self.until - now, 0.0)
        return now + left > call.limit or call.limit <= now

    def close(self, kind, hint, now, *, draw_free):
        """A fresh rejection."""
        self.open, self.probe, self.kind = False, None, kind
        backoff = draw_free[min(self.closings, len(draw_free) - 1)]
        self.closings += 1
        self.age += 1
        wait = {
            "window": max(backoff, hint or 0.0),
            "cooldown": hint or backoff,
            "exhausted": hint or PROBE_EVERY,
        }[kind]
        self.until = now + wait

    def reopen(self):
        """A sign of life."""
        self.open, self.probe, self.closings, self.kind = True, None, 0, "window"


class GateAgrees(Timed):
    """The machine with nothing but a gate, beside the model of one."""

    def __init__(self):
        super().__init__()
        self.machine = Doors(breaker=None, budget=None)
        self.gate = PaperGate()
        self.calls: dict[Ticket, PaperCall] = {}
        self.ages: dict[Permit, tuple[int, bool]] = {}
        """How old an attempt is, and whether it is a probe."""

    def goes(self, permit):
        """The model lets the attempt go."""
        age = self.gate.age
        self.ages[permit] = age, self.gate.lets_in(id(permit), self.loop)

    def settle(self):
        """Both decide everything that can be decided now."""
        pumped = self.pump()
        by_call = {id(self.calls[t]): t for t in (*pumped.grants, *pumped.refusals)}
        grants, refusals = [], []
        self.refuse(refusals, unless_opened=True)
        while self.gate.line:
            head = self.gate.line[0]
            look = self.gate.look(self.loop)
            if look == "away":
                refusals.append(self.leave_line(head))
            elif look == "wait":
                break
            else:
                if look == "probe":
                    head = next((c for c in self.gate.line if not c.knocked), head)
                grants.append(self.leave_line(head))
                assert id(head) in by_call, "the machine did not let it go"
                self.goes(by_call[id(head)].permit)
        self.refuse(refusals, unless_opened=False)
        assert [self.calls[t].order for t in pumped.grants] == [c.order for c in grants]
        assert {self.calls[t].order for t in pumped.refusals} == {c.order for c in refusals}

    def refuse(self, refusals, *, unless_opened):
        """Those whose patience is over; one whose gate opened in time is served first."""
        for call in list(self.gate.line):
            in_time = unless_opened and self.gate.until <= call.limit
            restricted = not self.gate.open
            if self.gate.too_late(call, self.loop) and not (in_time and restricted):
                refusals.append(self.leave_line(call))

    def leave_line(self, call):
        """It waits no more."""
        self.gate.line.remove(call)
        call.waited += self.loop - call.since
        return call

    def enter(self, ticket):
        """Both are asked."""
        call = self.calls[ticket]
        answer = self.ask(ticket)
        look = self.gate.look(self.loop)
        if look == "away":
            assert isinstance(answer, Refuse)
        elif not self.gate.line and look in ("open", "probe"):
            assert isinstance(answer, Go)
            self.goes(answer.permit)
        else:
            call.since = self.loop
            if self.gate.too_late(call, self.loop):
                assert isinstance(answer, Refuse)
            else:
                assert isinstance(answer, Park)
                self.gate.line.append(call)
                self.gate.line.sort(key=lambda c: c.order)
        self.settle()

    @precondition(lambda self: self.crowd < 8)
    @rule(max_wait=st.sampled_from([0.0, 1.0, 3.0, FOREVER]))
    def arrive(self, max_wait):
        """A new call."""
        ticket = self.new(max_wait=max_wait)
        self.calls[ticket] = PaperCall(ticket.order, max_wait)
        self.enter(ticket)

    @precondition(lambda self: self.flying)
    @rule(
        pick=st.integers(0, 7),
        kind=st.sampled_from(["well", "well", "wrong", "broken", "full", "window", "window",
                              "window", "cooldown", "exhausted"]),
        hint=st.sampled_from([None, None, 0.5, 3.0, 8.0]),
    )  # fmt: skip
    def answer(self, pick, kind, hint):
        """An attempt is judged by both."""
        permit = self.take_flying(pick)
        ticket, call = permit.ticket, self.calls[permit.ticket]
        judgement = {
            "well": lambda: WELL,
            "wrong": lambda: WRONG,
            "broken": lambda: BROKEN,
            "full": lambda: capacity(GATE),
            "window": lambda: window(GATE, wait=SCHEDULE, hint=hint),
            "cooldown": lambda: cooldown(GATE, wait=SCHEDULE, hint=hint),
            "exhausted": lambda: exhausted(GATE, probe_every=PROBE_EVERY, hint=hint),
        }[kind]()
        ticket.sent += 1
        answer = self.machine.answer(permit, judgement, self.now, 0.0)
        if kind in ("window", "cooldown", "exhausted"):
            self.rejected(permit, call, kind, hint)
        else:
            self.answered(permit, kind)
        call.rejections += kind in ("window", "cooldown")
        if isinstance(answer, Again) and call.rejections < 3:
            assert kind in ("window", "cooldown")
            self.resting.append((answer.not_before, ticket))
        self.settle()

    def rejected(self, permit, call, kind, hint):
        """A quota's verdict about this gate."""
        gate = self.gate
        age, probing = self.ages.pop(permit)
        overtaken = (
            probing
            and gate.probe != id(permit)
            and (not gate.open or permit.sent_at < gate.proved_by)
        )
        if age < gate.age or overtaken:
            if not gate.open and gate.probe is None and hint is not None:
                gate.until = max(gate.until, self.loop + hint)
            return
        call.knocked = probing
        gate.close(kind, hint, self.loop, draw_free=SCHEDULE)

    def answered(self, permit, kind):
        """Whatever else; only a probe's answer says something about the gate."""
        gate = self.gate
        age, probing = self.ages.pop(permit)
        if not probing or gate.open or age < gate.age:
            return
        if kind == "well" or (kind != "broken" and gate.kind != "exhausted"):
            gate.reopen()
            gate.proved_by = permit.sent_at
        elif gate.probe == id(permit):
            gate.probe = None
            if gate.kind == "exhausted":  # not in a rush
                gate.until = max(gate.until, self.loop + PROBE_EVERY)

    @precondition(lambda self: self.resting)
    @rule(pick=st.integers(0, 7))
    def come_back(self, pick):
        """A rejected call asks again."""
        not_before, ticket = self.resting.pop(pick % len(self.resting))
        self.loop = max(self.loop, not_before)
        self.settle()
        self.enter(ticket)

    @precondition(lambda self: self.parked)
    @rule(pick=st.integers(0, 7))
    def cancel_waiting(self, pick):
        """A parked call is cancelled."""
        ticket = self.parked.pop(pick % len(self.parked))
        self.machine.leave(ticket, self.now)
        self.gate.line.remove(self.calls[ticket])
        self.settle()

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 7))
    def cancel_flying(self, pick):
        """A call is cancelled in its attempt: a probe's role is free again."""
        permit = self.take_flying(pick)
        self.machine.leave(permit, self.now)
        del self.ages[permit]
        if self.gate.probe == id(permit):
            self.gate.probe = None
        self.settle()

    @rule(span=st.sampled_from([0.25, 1.0, 2.0, 5.0]))
    def time_passes(self, span):
        """Nothing else happens."""
        self.loop += span
        self.settle()

    @precondition(lambda self: self.parked)
    @rule()
    def sleep_until_the_next_wake(self):
        """The leader's sleep: nothing could have been decided earlier."""
        wake = self.machine.pump(self.now).next_wake
        assert self.loop < wake < FOREVER
        self.loop = wake
        self.settle()

    @invariant()
    def both_say_the_same(self):
        """State, instant, line and probe."""
        gate = self.machine.gates.get(GATE)
        if gate is None:
            assert self.gate.open
            return
        assert gate.open == self.gate.open
        assert [self.calls[t].order for t in sorted(self.parked)] == [
            c.order for c in self.gate.line
        ]
        if not gate.open:
            assert (gate.until.loop, gate.closings) == (self.gate.until, self.gate.closings)
            assert (gate.probe and id(gate.probe)) == self.gate.probe
            assert gate.patient == (self.gate.kind != "exhausted")


TestGateAgrees = GateAgrees.TestCase
TestGateAgrees.settings = settings(stateful_step_count=40)


# -- the breaker ----------------------------------------------------------------------------------


class BreakerAgrees(Timed):
    """Opens after three net failures, for 1, 2 and 4 s; one finds out; ten calm seconds heal."""

    def __init__(self):
        super().__init__()
        self.machine = Machine(
            breaker=CircuitBreaker(failures=3, shortest=1.0, longest=4.0, probes=self.probes),
            budget=None,
        )
        self.state = "open"
        self.failing = self.trips = self.age = 0
        self.until = self.back_at = 0.0
        self.leases: dict[Permit, float] = {}
        self.ages: dict[Permit, tuple[int, bool]] = {}

    probes = 1

    @property
    def breaker(self):
        """The live one."""
        return self.machine.lane(keys("a")).breaker

    def goes(self, permit):
        """An attempt left."""
        probing = self.state == "closed"
        if probing:
            assert self.loop >= self.until, "went through an open circuit"
            assert len(self.leases) < self.probes, "one probe too many"
            self.leases[permit] = self.loop + LONGEST_LEASE
        self.ages[permit] = self.age, probing

    def settle(self):
        """Time passes for both; then whoever may go has gone."""
        if self.state == "paced" and self.loop - self.back_at >= 10.0:
            self.state, self.trips = "open", 0
        self.leases = {p: lease for p, lease in self.leases.items() if lease > self.loop}
        for ticket in self.pump().grants:
            self.goes(ticket.permit)
        if self.state == "closed" and self.loop >= self.until and self.parked:
            assert len(self.leases) == self.probes, "somebody waits, and nobody finds out"
        if self.state == "open":
            assert not self.parked

    @precondition(lambda self: len(self.flying) + len(self.parked) < 8)
    @rule(max_wait=st.sampled_from([0.0, FOREVER, FOREVER]))
    def arrive(self, max_wait):
        """A new call; it needs patience only if it has to wait."""
        self.settle()
        ticket = self.new(max_wait=max_wait, max_attempts=2)
        closed = self.state == "closed"
        free = self.loop >= self.until and len(self.leases) < self.probes and not self.parked
        match self.ask(ticket):
            case Go(permit):
                self.goes(permit)
            case Park():
                assert max_wait > 0
                assert not (closed and free)
            case Refuse():
                assert max_wait == 0.0
                assert self.state != "open"
                assert not (closed and free)
        self.settle()

    @precondition(lambda self: self.flying)
    @rule(
        pick=st.integers(0, 7), draw=st.sampled_from([0.0, 0.5, 1.0]),
        kind=st.sampled_from(["well", "wrong", "full", "broken", "broken", "broken", "broken"]),
        hint=st.sampled_from([None, None, 0.5, 8.0]),
    )  # fmt: skip
    def answer(self, pick, kind, draw, hint):
        """An attempt is judged by both."""
        permit = self.take_flying(pick)
        judgement = {
            "well": WELL,
            "wrong": WRONG,
            "full": capacity(),
            "broken": verdict_of(Verdict.RETRYABLE, hint=hint),
        }[kind]
        self.machine.answer(permit, judgement, self.now, draw)
        age, probing = self.ages.pop(permit)
        if kind != "broken":
            self.failing = max(self.failing - 1, 0)
            if probing and self.state == "closed" and age == self.age:
                self.state, self.back_at = "paced", self.loop
                self.leases.clear()
        elif age < self.age:
            if self.state == "closed" and not self.leases and hint is not None:
                self.until = max(self.until, self.loop + hint)
        elif self.state == "closed":
            self.trip(draw, hint)
        else:
            self.failing += 1
            if self.failing >= 3:
                self.trip(draw, hint)
        self.settle()

    def trip(self, draw, hint):
        """Left alone: twice as long each time, spread between half and all of it."""
        open_time = min(4.0, 1.0 * 2**self.trips) * (0.5 + draw / 2)
        self.state, self.failing = "closed", 0
        self.until = self.loop + max(open_time, hint or 0.0)
        self.trips += 1
        self.age += 1
        self.leases.clear()

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 7))
    def cancel_flying(self, pick):
        """No verdict; the role is free again."""
        permit = self.take_flying(pick)
        self.machine.leave(permit, self.now)
        self.ages.pop(permit)
        self.leases.pop(permit, None)
        self.settle()

    @precondition(lambda self: self.parked)
    @rule(pick=st.integers(0, 7))
    def cancel_waiting(self, pick):
        """No verdict either."""
        self.machine.leave(self.parked.pop(pick % len(self.parked)), self.now)
        self.settle()

    @rule(span=st.sampled_from([0.25, 0.5, 1.0, 4.0, 11.0]))
    def time_passes(self, span):
        """Nothing else happens."""
        self.loop += span
        self.settle()

    @precondition(lambda self: self.parked)
    @rule()
    def sleep_until_the_next_wake(self):
        """The leader's sleep."""
        self.loop = self.machine.pump(self.now).next_wake
        self.settle()

    @invariant()
    def both_say_the_same(self):
        """State, counters, instant and who finds out."""
        breaker = self.breaker
        if self.state == "closed":
            assert breaker.state == ("probing" if breaker.probing else "closed")
            assert breaker.until.loop == self.until
            assert set(breaker.probing) == set(self.leases)
        elif breaker.pace is None:
            assert breaker.open
            self.state, self.trips = "open", 0  # nobody asked for ten seconds
        else:
            assert breaker.state == "paced" == self.state
        assert self.machine.lanes["a"].failing == self.failing
        assert breaker.trips == self.trips


class TwoProbesAgree(BreakerAgrees):
    """The same with two."""

    probes = 2


TestBreakerAgrees = BreakerAgrees.TestCase
TestBreakerAgrees.settings = settings(stateful_step_count=40)
TestTwoProbesAgree = TwoProbesAgree.TestCase
TestTwoProbesAgree.settings = settings(stateful_step_count=40)


# -- the budget -----------------------------------------------------------------------------------

RATIO, FLOOR, BURST = 0.5, 0.25, 3.0
"""Exact in binary: both sides must agree to the last bit."""

RETRY = verdict_of(Verdict.RETRYABLE, wait=0.0)


class BudgetAgrees(Timed):
    """A call that went earns a half, a second a quarter; a retry pays one when it is scheduled."""

    def __init__(self):
        super().__init__()
        self.machine = Doors(
            breaker=None, budget=RetryBudget(ratio=RATIO, floor=FLOOR, burst=BURST)
        )
        self.tokens = BURST
        self.seen = 0.0
        self.debtors: list[Ticket] = []
        self.payers: set[Ticket] = set()
        self.suppressed = 0

    def earn(self, tokens):
        """More, but no more than the burst."""
        self.tokens = min(self.tokens + tokens, BURST)

    def tick(self):
        """What time earns; it counts from the first failure."""
        if self.machine.lane(keys("a")).budget._at is not None:
            self.earn((self.loop - self.seen) * FLOOR)
        self.seen = self.loop

    def settle(self):
        """Debtors pay in the order of their calls, and go."""
        self.tick()
        granted = self.pump().grants
        paid = []
        self.debtors.sort()
        while self.debtors and self.tokens >= 1.0:
            self.tokens -= 1.0
            paid.append(self.debtors.pop(0))
        assert granted == paid

    @precondition(lambda self: self.crowd < 9)
    @rule()
    def arrive(self):
        """A first attempt goes at once, whoever waits for a token, and earns."""
        ticket = self.new(max_attempts=10**6)
        assert isinstance(self.ask(ticket), Go)
        self.earn(RATIO)
        self.settle()

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 8), broken=st.sampled_from([True, True, True, False]))
    def answer(self, pick, broken):
        """A failure is to be repeated: its retry pays, or owes."""
        permit = self.take_flying(pick)
        self.tick()
        answer = self.machine.answer(permit, RETRY if broken else WELL, self.now, 0.0)
        if broken:
            pays = self.tokens >= 1.0
            assert answer == Again(self.loop, "backoff" if pays else "budget")
            if pays:
                self.tokens -= 1.0
                self.payers.add(permit.ticket)
            else:
                self.suppressed += 1
            self.resting.append((answer.not_before, permit.ticket))
        self.settle()

    @precondition(lambda self: self.resting)
    @rule(pick=st.integers(0, 8))
    def come_back(self, pick):
        """Who paid goes at once and earns nothing; who owes waits."""
        _, ticket = self.resting.pop(pick % len(self.resting))
        self.tick()
        answer = self.ask(ticket)
        if ticket in self.payers:
            self.payers.remove(ticket)
            assert isinstance(answer, Go)
        elif not self.debtors and self.tokens >= 1.0:
            self.tokens -= 1.0
            assert isinstance(answer, Go)
        else:
            assert isinstance(answer, Park)
            self.debtors.append(ticket)
        self.settle()

    @precondition(lambda self: self.resting)
    @rule(pick=st.integers(0, 8))
    def cancel_in_back_off(self, pick):
        """The token comes back, if there was one."""
        _, ticket = self.resting.pop(pick % len(self.resting))
        self.tick()
        self.machine.leave(ticket, self.now)
        if ticket in self.payers:
            self.payers.remove(ticket)
            self.earn(1.0)
        self.settle()

    @precondition(lambda self: self.parked)
    @rule(pick=st.integers(0, 8))
    def cancel_waiting(self, pick):
        """It had none."""
        ticket = self.parked.pop(pick % len(self.parked))
        self.machine.leave(ticket, self.now)
        self.debtors.remove(ticket)
        self.settle()

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 8))
    def cancel_flying(self, pick):
        """The server counted it."""
        self.machine.leave(self.take_flying(pick), self.now)
        self.settle()

    @rule(span=st.sampled_from([0.25, 1.0, 4.0, 30.0]))
    def time_passes(self, span):
        """Nothing else happens."""
        self.loop += span
        self.settle()

    @precondition(lambda self: self.parked)
    @rule()
    def sleep_until_the_next_wake(self):
        """The leader's sleep."""
        wake = self.machine.pump(self.now).next_wake
        assert self.loop < wake <= self.loop + 0.25
        self.loop = wake
        self.settle()

    @invariant()
    def both_say_the_same(self):
        """To the last bit."""
        lane = self.machine.lane(keys("a"))
        assert lane.suppressed == self.suppressed
        assert lane.unpaid.parked == len(self.debtors) == self.machine.parked
        self.tick()
        lane.budget.refill(lane.sent, self.loop)
        self.seen = self.loop
        assert lane.budget.tokens == self.tokens


TestBudgetAgrees = BudgetAgrees.TestCase
TestBudgetAgrees.settings = settings(stateful_step_count=40)


# -- all of them ----------------------------------------------------------------------------------


class Conserved(Timed):
    """Two endpoints, one account, everything on: whatever happened, nothing is lost in the end."""

    def __init__(self):
        super().__init__()
        self.machine = Machine(
            breaker=CircuitBreaker(failures=3, shortest=0.5, longest=2.0),
            budget=RetryBudget(ratio=0.25, floor=0.5, burst=2.0),
        )

    def pump(self):
        """Decide; a second look at the same instant finds nothing more."""
        pumped = super().pump()
        for ticket in pumped.refusals:
            assert ticket.place is Place.REFUSED
            assert ticket.refusal is not None
        again = self.machine.pump(self.now)
        assert (again.grants, again.refusals) == ([], [])
        assert (again.next_wake is None) == (not self.parked)
        assert again.next_wake is None or self.loop < again.next_wake < FOREVER
        return pumped

    def ask(self, ticket):
        """Ask, then pump, as the driver does."""
        answer = super().ask(ticket)
        self.pump()
        return answer

    @precondition(lambda self: len(self.flying) + len(self.parked) < 40)
    @rule(
        endpoint=st.sampled_from(["a", "b"]), crowd=st.sampled_from([1, 1, 2, 9]),
        max_wait=st.sampled_from([0.0, 2.0, FOREVER, FOREVER]),
        deadline=st.sampled_from([1.0, 9.0, FOREVER, FOREVER]),
        cost=st.sampled_from([1.0, 1.0, 3.0]),
    )  # fmt: skip
    def arrive(self, endpoint, crowd, max_wait, deadline, cost):
        """Some new calls."""
        for _ in range(crowd):
            self.ask(
                self.new(
                    endpoint, max_wait=max_wait, deadline=self.loop + deadline, max_attempts=4, cost=cost
                )
            )  # fmt: skip

    @precondition(lambda self: self.flying)
    @rule(
        pick=st.integers(0, 40), many=st.sampled_from([1, 1, 5]), scope=st.sampled_from(["account", "endpoint"]),
        kind=st.sampled_from(["well", "well", "wrong", "broken", "broken", "broken", "window", "window",
                              "told", "cooldown", "exhausted", "full", "alone"]),
        draw=st.sampled_from([0.0, 1.0]),
    )  # fmt: skip
    def answer(self, pick, many, scope, kind, draw):
        """Some attempts are judged."""
        for _ in range(min(many, len(self.flying))):
            permit = self.take_flying(pick)
            door = scope if scope == "account" else f"endpoint:{permit.ticket.keys.endpoint}"
            judgement = {
                "well": lambda: WELL,
                "wrong": lambda: WRONG,
                "broken": lambda: verdict_of(Verdict.RETRYABLE, wait=(0.5, 1.0)),
                "window": lambda door=door: window(door, wait=(0.5, 1.0, 2.0)),
                "told": lambda door=door: window(door, wait=0.1, hint=1.0),
                "cooldown": lambda door=door: cooldown(door, wait=3.0),
                "exhausted": lambda door=door: exhausted(door, probe_every=4.0),
                "full": lambda door=door: capacity(door),
                "alone": lambda: window(None, wait=0.5),
            }[kind]()
            permit.ticket.sent += 1
            answer = self.machine.answer(permit, judgement, self.now, draw)
            self.pump()
            if isinstance(answer, Again):
                self.resting.append((answer.not_before, permit.ticket))

    @precondition(lambda self: self.resting)
    @rule(pick=st.integers(0, 40))
    def come_back(self, pick):
        """A call asks again."""
        not_before, ticket = self.resting.pop(pick % len(self.resting))
        self.loop = max(self.loop, not_before)
        self.pump()
        self.ask(ticket)

    @precondition(lambda self: self.resting)
    @rule(pick=st.integers(0, 40))
    def cancel_in_back_off(self, pick):
        """A call leaves before it came back."""
        _, ticket = self.resting.pop(pick % len(self.resting))
        self.machine.leave(ticket, self.now)
        self.pump()

    @precondition(lambda self: self.parked)
    @rule(pick=st.integers(0, 40))
    def cancel_waiting(self, pick):
        """A call leaves the line."""
        self.machine.leave(self.parked.pop(pick % len(self.parked)), self.now)
        self.pump()

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 40), before=st.booleans())
    def cancel_flying(self, pick, before):
        """A call leaves in its attempt, or before it was sent."""
        permit = self.take_flying(pick)
        self.machine.leave(permit.ticket if before else permit, self.now)
        self.pump()

    @rule(span=st.sampled_from([0.1, 0.5, 2.0, 12.0]))
    def time_passes(self, span):
        """Nothing else happens."""
        self.loop += span
        self.pump()

    @precondition(lambda self: self.parked)
    @rule(times=st.sampled_from([1, 5]))
    def sleep_until_the_next_wake(self, times):
        """The leader's sleeps."""
        for _ in range(times):
            if self.parked:
                self.loop = self.machine.pump(self.now).next_wake
                self.pump()

    @invariant()
    def everybody_is_counted(self):
        """Parked, under way and finding out."""
        assert self.machine.parked == len(self.parked)
        for endpoint, lane in self.machine.lanes.items():
            flying = [p for p in self.flying if p.ticket.keys.endpoint == endpoint]
            assert lane.in_flight == len(flying)
            assert lane.sent >= lane.in_flight
            assert lane.failing >= 0
            assert lane.breaker is not None
            assert set(lane.breaker.probing) <= set(flying)
        for gate in self.machine.gates.values():
            assert gate.probe is None or gate.probe in self.flying
        for door in self.machine.doors():
            if door.pace is not None:
                counted = [p for p in self.flying if door.pace in p.paced]
                assert door.pace.in_flight == len(counted)

    @invariant()
    def no_token_is_made(self):
        """Never above the burst, never below nothing."""
        for lane in self.machine.lanes.values():
            assert -1e-9 <= lane.budget.tokens <= 2.0

    @invariant()
    def nobody_waits_beyond_its_patience(self):
        """Limits are kept."""
        for ticket in self.parked:
            assert self.loop < ticket.limit

    def teardown(self):
        """All attempts end well, sleeps follow each other: everybody comes through or is refused."""
        for _, ticket in self.resting:
            self.machine.leave(ticket, self.now)
        self.pump()
        for _ in range(1000):
            while self.flying:
                self.machine.answer(self.flying.pop(), WELL, self.now, 0.0)
                self.pump()
            if not self.parked:
                break
            self.loop = self.machine.pump(self.now).next_wake
            self.pump()
        assert not self.parked, "somebody is parked for ever"
        assert self.machine.parked == 0
        for lane in self.machine.lanes.values():
            assert (lane.in_flight, lane.parked, lane.unpaid.parked) == (0, 0, 0)
            assert not lane.breaker.probing
            assert lane.budget.tokens <= 2.0
        for gate in self.machine.gates.values():
            assert gate.probe is None
            assert gate.pace is None or gate.pace.in_flight == 0
            assert gate.kind in Recovers


TestConserved = Conserved.TestCase
TestConserved.settings = settings(stateful_step_count=60)
