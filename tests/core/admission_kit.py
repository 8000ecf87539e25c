"""A desk for scenarios: plain values in, plain words out, the clock in hand."""

from dataclasses import dataclass, field

from resilience import Recovers, Rule, Verdict
from resilience._core.admission.gate import PROBE_LEASE
from resilience._core.admission.machine import Machine
from resilience._core.admission.model import (
    Go,
    Judgement,
    Keys,
    Park,
    Permit,
    Refuse,
    ScopeKey,
    Ticket,
)
from resilience._core.instants import Now
from resilience._core.policy.model import Escalation, Wait

WALL = 1_000_000.0
"""Wall time at loop time 0, as long as nobody sets the clock."""

ACCOUNT = ScopeKey("account")


def keys(endpoint: str) -> Keys:
    """The doors of a call: the account's and its endpoint's."""
    return Keys(endpoint, (ACCOUNT, ScopeKey(f"endpoint:{endpoint}")))


def verdict_of(
    verdict: Verdict,
    scope: str | None = None,
    *,
    recovers: Recovers | None = None,
    wait: float | tuple[float, ...] = 10.0,
    hint: float | None = None,
    probe_every: float = 100.0,
    escalate: Escalation | None = None,
    max_attempts: int | None = None,
    repeatable: bool = True,
    resets_at: float | None = None,
) -> Judgement:
    """A judgement with a wait that isn't spread."""
    schedule = (wait,) if isinstance(wait, float) else wait
    rule = Rule(
        key="codes.x", verdict=verdict, recovers=recovers, wait=Wait(schedule=schedule, low=1.0),
        probe_every=probe_every, escalate=escalate, max_attempts=max_attempts,
    )  # fmt: skip
    because = type("Because", (), {"rule": rule, "verdict": verdict})()
    return Judgement(
        verdict=verdict, rule=rule, recovers=recovers if verdict is Verdict.QUOTA else None,
        scope=ScopeKey(scope) if scope else None, hint=hint, repeatable=repeatable,
        resets_at=resets_at, because=because,
    )  # fmt: skip


WELL = verdict_of(Verdict.SUCCESS)
BROKEN = verdict_of(Verdict.RETRYABLE)
WRONG = verdict_of(Verdict.FATAL)


def window(scope: str | None = "endpoint:a", **more) -> Judgement:
    """Slow down."""
    return verdict_of(Verdict.QUOTA, scope, recovers=Recovers.WINDOW, **more)


def cooldown(scope: str | None = "endpoint:a", **more) -> Judgement:
    """Locked for a known time."""
    return verdict_of(Verdict.QUOTA, scope, recovers=Recovers.COOLDOWN, **more)


def exhausted(scope: str | None = "account", **more) -> Judgement:
    """Until somebody pays."""
    return verdict_of(Verdict.QUOTA, scope, recovers=Recovers.EXHAUSTED, **more)


def capacity(scope: str | None = None) -> Judgement:
    """Full."""
    return verdict_of(Verdict.QUOTA, scope, recovers=Recovers.CAPACITY)


class Doors(Machine):
    """A machine that learns nothing: doors are closed or wide open, and a probe's lease is 5 s."""

    def _measure(self, gate, now):
        for lane in self.lanes.values():
            lane.lift()
        gate.reaction = PROBE_LEASE


@dataclass
class Desk:
    """A machine, its clocks, and short ways to use them."""

    machine: Machine = field(default_factory=Doors)
    loop: float = 0.0
    shift: float = 0.0
    last: dict[Ticket, Permit] = field(default_factory=dict)
    """The last permit of each call; a test may answer it more than once."""

    @property
    def now(self) -> Now:
        """Both clocks."""
        return Now(self.loop, WALL + self.loop + self.shift)

    @property
    def closed(self) -> int:
        """How many doors are."""
        return sum(not gate.open for gate in self.machine.gates.values())

    def call(self, endpoint: str = "a", **settings) -> Ticket:
        """A new call that has asked."""
        ticket = Ticket(next(self.machine.orders), keys(endpoint), **settings)
        self.again(ticket)
        return ticket

    def again(self, ticket: Ticket) -> None:
        """Ask once more."""
        match self.machine.ask(ticket, ticket.keys, self.now):
            case Go(permit):
                assert permit is ticket.permit
                ticket.sent += 1
                self.last[ticket] = permit
            case Refuse() as refusal:
                ticket.refusal = refusal
                ticket.permit = None
            case Park():
                ticket.permit = None

    def answer(self, call: Ticket | Permit, judgement: Judgement, draw: float = 0.0):
        """What the attempt brought, then a pump, as the driver does."""
        permit = call if isinstance(call, Permit) else call.permit or self.last[call]
        answer = self.machine.answer(permit, judgement, self.now, draw)
        self.pump()
        return answer

    def leave(self, call: Ticket) -> None:
        """Cancelled."""
        self.machine.leave(call, self.now)
        self.pump()

    def pump(self, loop: float | None = None):
        """Look again, perhaps later."""
        self.loop = self.loop if loop is None else loop
        return self.machine.pump(self.now)

    def words(self, *calls: Ticket) -> str:
        """Where the calls are, a word each."""
        return " ".join(call.place.value for call in calls)
