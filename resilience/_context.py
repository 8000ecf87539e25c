"""What a call tells the adapters below it, through one context variable.

Two things travel: *frames* (a call of a guard is under way, so an adapter of the same account
inside it makes one attempt and never waits) and *settings* (``guard.using(...)``).  Both are links
of one chain, so the fast lane has to look at a single variable.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from resilience._core.policy.model import Classification, Verdict


class Frame(Struct, gc=False):
    """A guarded call that is under way.

    ``last`` is what counts of what the attempts of inner adapters brought: a client that swallows the
    provider's code (it returns ``body["data"]``, or raises an error of its own) can't hide it.
    A task that outlives the call inherits the frame; ``active`` tells that it is over.
    (A msgspec struct, because one is made for every call and this is the cheapest kind of object.)
    """

    shared: Any
    outer: "Frame | Settings | None"
    active: bool = True
    last: Classification | None = None
    request: tuple[str, str] | None = None
    """Endpoint and method of that attempt."""
    spent: bool = False
    """Whether one before it was done that may not be done twice: so the whole can't be, either."""

    def saw(
        self, found: Classification | None, request: tuple[str, str] | None, *, before: Any
    ) -> None:
        """An attempt below has ended; ``before`` was ``last`` when it began.

        A success mends what failed before it was sent: it may be another way round.  It knows
        nothing of what failed beside it meanwhile (two requests that were gathered).
        """
        if not has_failed(found) and self.last is not before and has_failed(self.last):
            return
        self.last, self.request = found, request


def has_failed(found: Classification | None) -> bool:
    """Whether something was found, and it is no success."""
    return found is not None and found.verdict is not Verdict.SUCCESS


@dataclass(frozen=True, slots=True)
class Settings:
    """Options set by ``guard.using`` for everything inside its block."""

    shared: Any
    changes: dict[str, Any]
    outer: "Frame | Settings | None"


CONTEXT: ContextVar[Frame | Settings | None] = ContextVar("resilience", default=None)


def frame_of(shared: Any) -> Frame | None:
    """The call of this account's guard that we are inside of, if any."""
    link = CONTEXT.get()
    while link is not None:
        if isinstance(link, Frame) and link.active and link.shared is shared:
            return link
        link = link.outer
    return None


def settings_of(shared: Any) -> dict[str, Any]:
    """What ``using`` blocks of this guard say here; inner ones win."""
    link = CONTEXT.get()
    found: dict[str, Any] = {}
    while link is not None:
        if isinstance(link, Settings) and link.shared is shared:
            found = {**link.changes, **found}
        link = link.outer
    return found
