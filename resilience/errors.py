"""The error tree, grouped by whose move it is.

    ValueError
    └── PolicyError            yours: a policy file or argument is wrong
    Exception
    └── ResilienceError        a call ended without success
        ├── FatalError         yours: the request, the key or the account must change
        │   └── AlreadyDone    nobody's: the server says that this was done before
        ├── QuotaError         time's or money's: see ``resume_at`` and ``remedy``
        ├── RetriesExhausted   theirs: it kept failing
        ├── CircuitOpen        theirs: it failed so often that it is left alone for a while
        └── DeadlineExceeded   yours: the time you gave was over

Cancellation is nobody's error and passes through untouched.  The original exception, if there was
one, is always ``__cause__``.
"""

from datetime import UTC, datetime
from typing import Any

from resilience._core.policy.model import Certainty, Outcome, Rule
from resilience._core.policy.section import PolicyError

__all__ = (
    "AlreadyDone",
    "CircuitOpen",
    "DeadlineExceeded",
    "FatalError",
    "PolicyError",
    "QuotaError",
    "ResilienceError",
    "RetriesExhausted",
)


class ResilienceError(Exception):
    """A guarded call ended without success.

    Attributes:
        code: the provider's code as text, or the HTTP status, or an exception's name; or None.
        message: the provider's own words, unchanged.
        rule: what the policy says about the code; None if no attempt was judged.
        reason: why it ended here, one word: ``exhausted``, ``max_wait``, ``deadline`` …
        attempts: attempts that were really sent, the first included.
        elapsed: seconds from the start of the call.
        outcome: what the last attempt brought; without bodies and exceptions once pickled.
        resume_at: when it would make sense to try again (aware, UTC), or None.
        retry_after: seconds until then, counted from the moment of the error, or None.
        endpoint: the name of the endpoint.
        policy: name and version hash of the policy that decided.
        certainty: whether the call may have done its work: ``not_executed`` only if none of its
            attempts can have.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        rule: Rule | None = None,
        reason: str = "",
        attempts: int = 0,
        elapsed: float = 0.0,
        outcome: Outcome | None = None,
        resume_at: datetime | None = None,
        retry_after: float | None = None,
        endpoint: str = "other",
        policy: str = "",
        certainty: Certainty = Certainty.MAYBE_EXECUTED,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.rule = rule
        self.reason = reason
        self.attempts = attempts
        self.elapsed = elapsed
        self.outcome = outcome
        self.resume_at = resume_at
        self.retry_after = retry_after
        self.endpoint = endpoint
        self.policy = policy
        self.certainty = certainty

    @property
    def title(self) -> str:
        """The provider's title of the code."""
        return self.rule.title if self.rule else ""

    @property
    def remedy(self) -> str:
        """What a person should do about it."""
        return self.rule.remedy if self.rule else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, message={self.message!r})"

    def __str__(self) -> str:
        head = " ".join(part for part in (self.code, self.title) if part) or type(self).__name__
        said = f': "{self.message}"' if self.message and self.message != self.title else ""
        tries = f"{self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        facts = [part for part in (self.endpoint, tries, self.reason) if part]
        lines = [f"{head}{said} [{', '.join(facts)}, {self.elapsed:.1f} s]"]
        if self.remedy:
            lines.append(f"  what to do: {self.remedy}")
        if self.resume_at is not None:
            lines.append(f"  resumes at: {self.resume_at.isoformat(timespec='seconds')}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        if self.outcome is not None:
            state["outcome"] = self.outcome.portable()
        return type(self), (self.message,), state


class FatalError(ResilienceError):
    """Repeating the same call can't succeed: the request, the key or the account must change."""


class AlreadyDone(FatalError):  # noqa: N818  # a fixed public name
    """The server says that this was done before; whether by us, it can't say."""


class QuotaError(ResilienceError):
    """A quota is used up and waiting for it was not possible or not allowed."""


class RetriesExhausted(ResilienceError):  # noqa: N818
    """Every attempt failed with something that may be retried."""


class CircuitOpen(ResilienceError):  # noqa: N818
    """The endpoint failed so often that it is left alone for a while."""


class DeadlineExceeded(ResilienceError):  # noqa: N818
    """The call's deadline was over, or the next attempt would have come after it."""


def at(wall: float | None) -> datetime | None:
    """Seconds since the epoch as an aware datetime in UTC."""
    return None if wall is None else datetime.fromtimestamp(wall, UTC)
