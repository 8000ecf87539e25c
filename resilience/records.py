"""What is told about calls: one record per attempt and one per call; one per call that is only watched.

("Event" is a word for jobs; these are records.)  A record is plain data of low cardinality.  It
never holds headers, bodies, arguments, URLs or a provider's message, because all of these can carry
secrets.
"""

from dataclasses import asdict, dataclass
from typing import Any

ATTEMPT = "resilience.attempt"
CALL = "resilience.call"
SHADOW = "resilience.shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One attempt, after it was judged.  Times are seconds."""

    endpoint: str
    account: str
    policy: str
    code: str | None
    verdict: str
    matched_by: str
    attempt: int
    """1 for the first."""
    wait: float | None
    """Until the next attempt, as far as known; None if there is none."""
    wait_reason: str | None
    """``backoff``, ``hint``, ``gate``; or why there is no next attempt."""
    deadline_left: float | None
    certainty: str
    recovers: str | None = None
    hint_problems: tuple[str, ...] = ()
    """Names of the headers or fields whose hints were malformed or absurd; never what they held."""
    unlisted: bool = False
    """The code is the provider's, but no rule of the policy lists it."""

    name = ATTEMPT


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call, when it is over.  Times are seconds."""

    endpoint: str
    account: str
    policy: str
    code: str | None
    verdict: str | None
    """None if no attempt was made."""
    matched_by: str | None
    attempts: int
    waited: float
    elapsed: float
    reason: str | None
    """None for success, else why it ended, in one word."""
    unlisted: bool = False

    name = CALL


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRecord:
    """What a guard that only watches would have done about one call.  Times are seconds."""

    endpoint: str
    account: str
    policy: str
    code: str | None
    verdict: str
    matched_by: str
    before: str
    """Before it was sent: ``go``, ``wait`` or ``refuse``."""
    before_reason: str | None
    """Why it would have been refused, in one word."""
    after: str
    """After its answer: ``return``, ``retry`` or ``raise``."""
    after_reason: str | None
    """Why it would have waited (``backoff``, ``hint``, ``gate``, ``budget``) or ended, in one word."""
    wait: float | None
    """Until the retry, as far as known."""
    certainty: str
    recovers: str | None = None
    unlisted: bool = False

    name = SHADOW


Record = AttemptRecord | CallRecord | ShadowRecord


def fields(record: Record) -> dict[str, Any]:
    """The record as key-value pairs."""
    return asdict(record)
