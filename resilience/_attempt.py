"""What travels between the driver and those who make attempts for it."""

from dataclasses import dataclass
from typing import Any

from resilience._core.admission.model import Reason
from resilience._core.instants import Instant, Now
from resilience._core.policy.classify import SUCCESS_RULE
from resilience._core.policy.model import Certainty, Classification, Verdict

PLAIN_SUCCESS = Classification(
    verdict=Verdict.SUCCESS, code=None, message="", rule=SUCCESS_RULE,
    matched_by=SUCCESS_RULE.key, status=200,
)  # fmt: skip
"""What a success is that needed no closer look."""


@dataclass(slots=True)
class Attempted:
    """What one attempt brought.  ``found`` is None for a success that needed no closer look."""

    value: Any = None
    exception: Exception | None = None
    found: Classification | None = None
    body: Any = None
    request: tuple[str, str] | None = None
    """Endpoint and method, as an adapter below a call saw them; the call itself can't know."""
    spent: bool = False
    """Whether a request below was done that may not be done twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a call ended.  ``reason`` is None for success."""

    last: Attempted | None
    reason: Reason | None
    resume_at: Instant | None
    because: Classification | None
    attempts: int
    waited: float
    started: float
    ended: Now
    endpoint: str
    certainty: Certainty
    """The most that any of its attempts may have done."""

    @property
    def found(self) -> Classification | None:
        """What it ended with; None if it was refused before any attempt was judged."""
        found = self.because or (self.last.found if self.last else None)
        return PLAIN_SUCCESS if found is None and self.reason is None else found


async def release_response(tried: Attempted) -> None:
    """Let go of a failed result that is a response: it may hold a connection.

    aiohttp releases at once; an httpx response that was opened as a stream has to be closed.  One
    that was read to its end holds nothing, and stays: it may be the last that there is.
    """
    value = tried.value
    if getattr(getattr(value, "stream", None), "was_read", False) is True:
        return
    if getattr(value, "connection", None) is not None and hasattr(value, "release"):
        value.release()
        tried.value = None
    elif getattr(value, "is_closed", None) is False and hasattr(value, "status_code"):
        await value.aclose()
        tried.value = None


@dataclass(frozen=True, slots=True)
class First:
    """An attempt that an adapter made on the fast lane, before it knew that it would need more."""

    tried: Attempted
    epoch: int
    reading: float
    """Of the guard's clock, when it began."""
