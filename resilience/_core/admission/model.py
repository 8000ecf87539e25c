"""The words of admission: tickets, permits, doors, and what the machine answers.

    ask(ticket)  -> Go(permit)             send it now
                  | Park                   wait to be granted; the machine decides who goes
                  | Refuse(reason, …)      it can't go in time: fail now, locally
    answer(permit, judgement) -> Return    it is over, and well
                  | Again(not_before)      ask again, not before that instant
                  | Raise(reason, …)       it is over
    leave(ticket | permit)                 the caller is gone: give everything back
    pump()       -> grants, refusals, next_wake

A ticket is one call, from its first ask to its end; a permit is one attempt of it.  Both are live
objects that only the machine changes; everything else here is a frozen value.
"""

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, NamedTuple, NewType

from resilience._core.instants import Instant
from resilience._core.policy.model import Recovers, Rule, Verdict

ScopeKey = NewType("ScopeKey", str)
"""``account``, ``endpoint:list`` or ``group:chat``."""


class Keys(NamedTuple):
    """Where a call belongs: its endpoint's queue, and the scopes whose doors it must pass."""

    endpoint: str
    scopes: tuple[ScopeKey, ...]


class Reason(StrEnum):
    """Why a call ended without success, in one word."""

    FATAL = "fatal"
    CAPACITY = "capacity"
    EXHAUSTED = "exhausted"
    REFUSED = "refused"
    """The account's door is latched: an earlier call was told that it may not come in."""
    MAX_WAIT = "max_wait"
    DEADLINE = "deadline"
    ATTEMPTS = "attempts"
    THIS_CALL = "this_call"
    """It was rejected again and again while others were let in: the quota is not the reason."""
    CROWD = "crowd"
    """Too many are waiting already."""
    CIRCUIT = "circuit"
    """The endpoint fails all the time and is left alone for a while."""
    NOT_REPEATABLE = "not_repeatable"
    """It may have been done already, and nobody said that it may be done twice."""


class Kind(StrEnum):
    """Two kinds of caller share a scope by halves when both wait: users' calls and pollers' looks."""

    CALLS = "calls"
    LOOKS = "looks"


class Place(Enum):
    """Where a ticket is."""

    OUTSIDE = "outside"
    PARKED = "parked"
    GRANTED = "granted"
    REFUSED = "refused"
    GONE = "gone"


class Ticket:
    """One call's claim on its scopes.

    Args:
        order: arrival number; smaller goes first.
        deadline: loop time after which nobody wants the result any more.
        max_wait: seconds that this call may spend waiting for doors in all.
        max_attempts: attempts that may fail with something retryable.
        cost: units that it takes of a quota.
        kind: whose call it is.
    """

    __slots__ = (
        "because", "closed", "cost", "deadline", "keys", "kind", "limit", "max_attempts", "max_wait",
        "order", "paid", "parked_at", "permit", "place", "poison", "refusal", "rejected_at", "sent",
        "spent", "suspect", "unpaid", "waited",
    )  # fmt: skip

    def __init__(
        self,
        order: int,
        keys: Keys,
        *,
        deadline: float = float("inf"),
        max_wait: float = float("inf"),
        max_attempts: int = 1,
        cost: float = 1.0,
        kind: Kind = Kind.CALLS,
    ) -> None:
        self.cost = cost
        self.kind = kind
        self.poison = 0
        self.closed = 0
        """Doors that it closed."""
        self.suspect = False
        """It closed a second one, or found one still closed: perhaps the fault is its own."""
        self.paid = False
        """It is a retry, and holds a token of the budget."""
        self.unpaid = False
        """It is a retry, and has to wait for a token."""
        self.because: Any = None
        """What the attempt brought that it repeats."""
        self.rejected_at = 0.0
        self.order = order
        self.keys = keys
        self.deadline = deadline
        self.max_wait = max_wait
        self.max_attempts = max_attempts
        self.sent = 0
        self.spent = 0
        self.waited = 0.0
        self.place = Place.OUTSIDE
        self.parked_at = 0.0
        self.limit = float("inf")
        self.permit: Permit | None = None
        self.refusal: Refuse | None = None

    def __lt__(self, other: "Ticket") -> bool:
        return self.order < other.order


class Permit:
    """One attempt.

    Args:
        ticket: the call.
        epoch: dates it: what it reports about a door closed since is old news.
        sent_at: loop time.
        lane: whose calls under way it counts among; None if it was not counted, or no longer is.
        probes: doors that it was let through to find out about.
        under_way: calls of the lane under way when it went.
        paid: it is a retry, which the budget paid for.
        paced: the paces that it counts against.
    """

    __slots__ = ("epoch", "lane", "paced", "paid", "probes", "sent_at", "ticket", "under_way")

    def __init__(
        self,
        ticket: Ticket,
        epoch: int,
        probes: tuple[Any, ...] = (),
        *,
        sent_at: float = 0.0,
        lane: Any = None,
        paced: tuple[Any, ...] = (),
        under_way: int = 0,
        paid: bool = False,
    ) -> None:
        self.ticket = ticket
        self.epoch = epoch
        self.probes = probes
        self.sent_at = sent_at
        self.lane = lane
        self.paced = paced
        self.under_way = under_way
        self.paid = paid


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the policy made of an attempt, as far as admission needs to know.

    Args:
        scope: the scope that a rejection speaks about; None for this request alone.
        hint: seconds that the server asked for.
        repeatable: the attempt may be repeated, for all that is known about it.
        resets_at: wall time of the calendar reset, if the rule has one.
        because: handed back in refusals, never looked into.
    """

    verdict: Verdict
    rule: Rule
    recovers: Recovers | None = None
    scope: ScopeKey | None = None
    hint: float | None = None
    repeatable: bool = True
    resets_at: float | None = None
    because: Any = None


@dataclass(frozen=True, slots=True)
class Go:
    """Send it now."""

    permit: Permit


@dataclass(frozen=True, slots=True)
class Park:
    """Wait; ``pump`` will grant or refuse."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """It can't go in time.  ``because`` is what closed the door."""

    reason: Reason
    resume_at: Instant | None = None
    because: Any = None


@dataclass(frozen=True, slots=True)
class Return:
    """It is over, and well."""


@dataclass(frozen=True, slots=True)
class Again:
    """Ask again, not before this loop time.

    ``wait_reason`` is ``hint``, ``backoff``, ``budget`` or ``gate``.

    ``expected`` is how many seconds the call will wait, as far as can be told now.
    """

    not_before: float
    wait_reason: str
    expected: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Raise:
    """It is over.  ``resume_at`` is when it would make sense to come back."""

    reason: Reason
    resume_at: Instant | None = None


Answer = Return | Again | Raise
Admission = Go | Park | Refuse


class Pumped(NamedTuple):
    """What ``pump`` decided: wake these, and call again at ``next_wake`` (loop time) if not None."""

    grants: list[Ticket]
    refusals: list[Ticket]
    next_wake: float | None
