"""Any sequence of arrivals, answers, cancellations and instants keeps the books of admission."""

from admission_kit import (
    BROKEN,
    WELL,
    WRONG,
    Desk,
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

from resilience import Verdict
from resilience._core.admission.model import Again, Go, Park, Permit, Place, Refuse, Ticket
from resilience._core.policy.model import Escalation

ENDPOINTS = st.sampled_from(["a", "b"])
SCOPES = st.sampled_from(["endpoint", "account"])
SPANS = st.sampled_from([1.0, 2.0, 3.0])
FOREVER = float("inf")


class Books(RuleBasedStateMachine):
    """Small domains: two endpoints, few seconds, so that everything collides."""

    def __init__(self):
        super().__init__()
        self.desk = Desk()
        self.parked: list[Ticket] = []
        self.flying: list[Permit] = []
        self.resting: list[tuple[float, Ticket]] = []

    @property
    def machine(self):
        """The machine under test."""
        return self.desk.machine

    # -- what the driver does ---------------------------------------------------------------

    def ask(self, ticket):
        """Ask, and pump as the driver does."""
        older = [
            p
            for p in self.parked
            if p.keys.endpoint == ticket.keys.endpoint and p.order < ticket.order
        ]
        match self.machine.ask(ticket, ticket.keys, self.desk.now):
            case Go(permit):
                assert not older, "overtook somebody of its own endpoint"
                self.granted(permit)
            case Park():
                self.parked.append(ticket)
            case Refuse():
                assert not self.passable(ticket) or older or self.parked
        self.pump()

    def granted(self, permit):
        """Nobody passes a closed door but its one probe."""
        for key in permit.ticket.keys.scopes:
            gate = self.machine.gates.get(key)
            if gate is not None and not gate.open:
                assert gate.probe is permit
                assert gate in permit.probes
                assert gate.until.left(self.desk.now) <= 0
        self.flying.append(permit)

    def passable(self, ticket):
        """Whether all its doors are open."""
        gates = [self.machine.gates.get(key) for key in ticket.keys.scopes]
        return all(gate is None or gate.open for gate in gates)

    def pump(self):
        """Decide, and check that everything was decided."""
        pumped = self.machine.pump(self.desk.now)
        for ticket in pumped.grants:
            older = [
                p
                for p in self.parked
                if p.keys.endpoint == ticket.keys.endpoint
                and p.order < ticket.order
                and not p.suspect  # others go first
            ]
            assert not [p for p in older if p not in pumped.refusals and p not in pumped.grants]
            self.parked.remove(ticket)
            assert ticket.permit is not None
            self.granted(ticket.permit)
        for ticket in pumped.refusals:
            self.parked.remove(ticket)
            assert ticket.place is Place.REFUSED
            assert ticket.refusal is not None
        again = self.machine.pump(self.desk.now)
        assert (again.grants, again.refusals) == ([], []), "one pump decides everything"
        assert (again.next_wake is None) == (not self.parked)
        assert again.next_wake is None or self.desk.loop < again.next_wake < FOREVER

    # -- what may happen --------------------------------------------------------------------

    @rule(
        endpoint=ENDPOINTS,
        max_wait=st.sampled_from([0.0, 2.0, 5.0, FOREVER]),
        deadline=st.sampled_from([1.0, 4.0, FOREVER]),
    )
    def arrive(self, endpoint, max_wait, deadline):
        """A new call."""
        ticket = Ticket(
            next(self.machine.orders), keys(endpoint), max_wait=max_wait,
            deadline=self.desk.loop + deadline, max_attempts=3,
        )  # fmt: skip
        self.ask(ticket)

    @precondition(lambda self: self.flying)
    @rule(
        pick=st.integers(0, 9), scope=SCOPES, wait=SPANS, hint=st.sampled_from([None, None, 0.5, 4.0]),
        kind=st.sampled_from(["well", "well", "window", "window", "cooldown", "exhausted", "latched", "wrong",
                              "broken", "full", "calendar", "escalating"]),
    )  # fmt: skip
    def answer(self, pick, scope, wait, hint, kind):
        """An attempt is judged."""
        permit = self.flying.pop(pick % len(self.flying))
        door = scope if scope == "account" else f"endpoint:{permit.ticket.keys.endpoint}"
        judgement = {
            "well": lambda: WELL,
            "wrong": lambda: WRONG,
            "broken": lambda: BROKEN,
            "full": lambda: capacity(door),
            "window": lambda: window(door, wait=wait, hint=hint),
            "cooldown": lambda: cooldown(door, wait=wait, hint=hint),
            "exhausted": lambda: exhausted(door, probe_every=wait),
            "latched": lambda: verdict_of(Verdict.FATAL, door, probe_every=wait),
            "calendar": lambda: window(door, resets_at=self.desk.now.wall + wait),
            "escalating": lambda: window(
                door, wait=wait, probe_every=wait, escalate=Escalation(rejections=2, within=9.0)
            ),
        }[kind]()
        permit.ticket.sent += 1
        answer = self.machine.answer(permit, judgement, self.desk.now, 0.0)
        self.pump()
        if isinstance(answer, Again):
            self.resting.append((answer.not_before, permit.ticket))

    @precondition(lambda self: self.resting)
    @rule(pick=st.integers(0, 9))
    def come_back(self, pick):
        """A call asks again."""
        not_before, ticket = self.resting.pop(pick % len(self.resting))
        self.desk.loop = max(self.desk.loop, not_before)
        self.pump()
        self.ask(ticket)

    @precondition(lambda self: self.parked)
    @rule(pick=st.integers(0, 9))
    def cancel_waiting(self, pick):
        """A parked call is cancelled."""
        ticket = self.parked.pop(pick % len(self.parked))
        self.machine.leave(ticket, self.desk.now)
        self.pump()

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 9), by_ticket=st.booleans())
    def cancel_flying(self, pick, by_ticket):
        """A call is cancelled in its attempt, or before it."""
        permit = self.flying.pop(pick % len(self.flying))
        current = (
            by_ticket and permit.ticket.permit is permit and permit.ticket.place is Place.GRANTED
        )
        self.machine.leave(permit.ticket if current else permit, self.desk.now)
        self.pump()

    @rule(span=st.sampled_from([0.5, 1.0, 5.0]))
    def time_passes(self, span):
        """Nothing else happens."""
        self.desk.loop += span
        self.pump()

    @precondition(lambda self: self.parked)
    @rule()
    def sleep_until_the_next_wake(self):
        """The leader's sleep."""
        self.desk.loop = self.machine.pump(self.desk.now).next_wake
        self.pump()

    # -- what always holds ------------------------------------------------------------------

    @invariant()
    def counters_are_right(self):
        """The two counters count."""
        assert len(self.parked) == self.machine.parked
        assert all(ticket.place is Place.PARKED for ticket in self.parked)

    @invariant()
    def every_probe_is_a_call_under_way(self):
        """No probe is lost, and none is left at an open door."""
        for gate in self.machine.gates.values():
            assert gate.probe is None or gate.probe in self.flying
            assert gate.probe is None or not gate.open

    @invariant()
    def nobody_waits_beyond_its_patience(self):
        """Limits are kept."""
        for ticket in self.parked:
            assert self.desk.loop < ticket.limit

    def teardown(self):
        """Everybody comes home: no place and no probe is lost."""
        for permit in list(self.flying):
            self.flying.remove(permit)
            self.machine.leave(permit, self.desk.now)
            self.pump()
        for _ in range(200):
            if not self.parked:
                break
            for permit in list(self.flying):
                self.flying.remove(permit)
                self.machine.answer(permit, WELL, self.desk.now, 0.0)
                self.pump()
            if self.parked:
                self.desk.loop = self.machine.pump(self.desk.now).next_wake
                self.pump()
        assert not self.parked
        for permit in list(self.flying):
            self.flying.remove(permit)
            self.machine.answer(permit, WELL, self.desk.now, 0.0)
        assert self.machine.parked == 0
        assert all(gate.probe is None for gate in self.machine.gates.values())


TestBooks = Books.TestCase
TestBooks.settings = settings(stateful_step_count=40)
