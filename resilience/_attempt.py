"""What travels between the driver and those who make attempts for it."""

from dataclasses import dataclass
from typing import Any

from resilience._core.admission.model import Reason
from resilience._core.instants import Instant, Now
from resilience._core.policy.model import Classification


@dataclass(slots=True)
class Attempted:
    """What one attempt brought.  ``found`` is None for a success that needed no closer look."""

    value: Any = None
    exception: Exception | None = None
    found: Classification | None = None
    body: Any = None
    request: tuple[str, str] | None = None
    """Endpoint and method, as an adapter below a call saw them; the call itself can't know."""


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


def release_response(tried: Attempted) -> None:
    """A failed result that is a response may hold a connection until it is released."""
    if getattr(tried.value, "connection", None) is not None and hasattr(tried.value, "release"):
        tried.value.release()
        tried.value = None


@dataclass(frozen=True, slots=True)
class First:
    """An attempt that an adapter made on the fast lane, before it knew that it would need more."""

    tried: Attempted
    epoch: int
    started: float
