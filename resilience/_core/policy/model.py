"""The words of the policy engine, as values: outcome, rule, classification, endpoint.

    outcome --classify--> classification = (verdict, code, message, hint, the rule that matched)

Everything here is frozen.  Times are seconds.  Codes are text with leading zeros kept, because
``"0429"`` and ``429`` are the same code to a person and two different ones to JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

REQUEST = "request"
ENDPOINT = "endpoint"
ACCOUNT = "account"


class Verdict(StrEnum):
    """What kind of answer it was.  What each verdict spends is a table in the README."""

    SUCCESS = "success"
    RETRYABLE = "retryable"
    QUOTA = "quota"
    FATAL = "fatal"


class Recovers(StrEnum):
    """How a quota comes back: four different things that providers call by one name."""

    WINDOW = "window"
    """Wait a moment, then go on."""
    COOLDOWN = "cooldown"
    """Locked for a known time."""
    EXHAUSTED = "exhausted"
    """Until somebody pays, or a calendar reset."""
    CAPACITY = "capacity"
    """Storage or a count is full: waiting never helps, and other calls are unaffected."""


class Certainty(StrEnum):
    """Whether the server did the work although it answered so."""

    NOT_EXECUTED = "not_executed"
    MAYBE_EXECUTED = "maybe_executed"
    EXECUTED = "executed"


class Repeat(StrEnum):
    """What an endpoint allows after an attempt that may have been executed."""

    SAFE = "safe"
    ONCE = "once"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class CalendarReset:
    """A quota that comes back at a time of day, e.g. the next midnight in Shanghai."""

    time: str
    """``HH:MM``; ``midnight`` in a file means ``00:00``."""
    tz: str
    """IANA name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long to wait when the server gave no hint.

    ``schedule`` is a wait generator of the ``backoff`` package, unrolled when the policy was built;
    the last value repeats.  The delay is ``schedule[n] * draw`` with ``draw`` in ``[low, 1)``.
    """

    schedule: tuple[float, ...] = (1.0,)
    low: float = 0.0
    """Lower end of the draw: 0 is full jitter, 1 is none."""
    until: CalendarReset | None = None

    def delay(self, n: int, draw: float) -> float:
        """Seconds before try ``n + 1``; ``draw`` is a random number in ``[0, 1)``."""
        step = self.schedule[min(n, len(self.schedule) - 1)]
        return step * (self.low + (1.0 - self.low) * draw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """A window that lets nothing through counts as exhausted.

    It happens after ``rejections`` closings in a row, or once ``within`` seconds have passed since
    the first of them, whichever comes first: a daily cap looks just like a busy second.
    """

    rejections: int
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a policy says about one code, status, exception or family.  Times are seconds."""

    key: str
    """Where it stands in the policy: ``codes.0429``, ``codes.0001.when[0]``, ``http.503``."""
    verdict: Verdict
    recovers: Recovers | None = None
    """Only for quota; None means ``window``."""
    scope: str = REQUEST
    """What a rejection speaks about: request, endpoint, account, or a group of endpoints."""
    wait: Wait = Wait()
    max_attempts: int | None = None
    """Attempts in all, the first included; the smaller of this and the caller's limit holds."""
    certainty: Certainty = Certainty.NOT_EXECUTED
    probe_every: float = 300.0
    """While exhausted, one call per this many seconds is let through to find out."""
    escalate: Escalation | None = None
    duplicate: bool = False
    """The code says "this was already done"."""
    title: str = ""
    remedy: str = ""
    docs: str = ""
    edition: str = ""
    """The document that has the code, when the oldest edition does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A named group of calls.  Low cardinality: it is a key of gates, breakers and records."""

    name: str
    match: tuple[str, ...] = ()
    """``METHOD glob-of-path``; ``*`` is any method."""
    functions: tuple[str, ...] = ()
    """Function names of SDKs that differ from the path."""
    repeat: Repeat | None = None
    duplicate_is_done: bool = False
    """A duplicate code after our own lost reply means that the work is done."""
    limit: tuple[float, float] | None = None
    """Documented rate as (calls, per seconds)."""
    docs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt brought, before anybody judged it.

    Args:
        body: the JSON text, a mapping, or any object whose attributes stand for keys.
        status: HTTP status, if there was one.
        headers: response headers; looked up case-insensitively.
        exception: what was raised instead of an answer.
        is_json: the answer says that it is JSON, so a body that cannot be read was cut off.
        method: HTTP method, if known.
    """

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    exception: BaseException | None = None
    is_json: bool = False
    method: str | None = None

    def portable(self) -> "Outcome":
        """The same outcome without what may not pickle (bodies, exceptions, client objects)."""
        return Outcome(
            status=self.status,
            headers={str(k): str(v) for k, v in self.headers.items()},
            is_json=self.is_json,
            method=self.method,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """How long the server asked us to wait."""

    seconds: float
    source: str
    """The header or field it came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """A rule applied to an outcome."""

    verdict: Verdict
    code: str | None
    """The provider's code as text, or the HTTP status, or the exception's name."""
    message: str
    rule: Rule
    matched_by: str
    """Which part of the policy spoke: ``codes.0429``, ``families.403xx``, ``http.503``, ``flag`` …"""
    hint: Hint | None = None
    problems: tuple[str, ...] = ()
    """Hints that were malformed or absurd, in words.  They are reported, never obeyed."""
    status: int | None = None
    unlisted: bool = False
    """The code is the provider's, but no rule lists it: a family, the status or ``unknown`` spoke."""

    @property
    def recovers(self) -> Recovers | None:
        """How the quota comes back; None unless the verdict is quota."""
        if self.verdict is not Verdict.QUOTA:
            return None
        return self.rule.recovers or Recovers.WINDOW

    @property
    def certainty(self) -> Certainty:
        """Whether the server did the work."""
        return Certainty.EXECUTED if self.verdict is Verdict.SUCCESS else self.rule.certainty

    @property
    def scope(self) -> str:
        """What a rejection speaks about."""
        return self.rule.scope

    @property
    def title(self) -> str:
        """The provider's words for the code."""
        return self.rule.title

    @property
    def remedy(self) -> str:
        """What a person should do about it."""
        return self.rule.remedy
