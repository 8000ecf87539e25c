"""What a sink is and promises, and what a failing delivery means.

A sink delivers and raises; it neither retries nor remembers where it is.  The relay does that: it
reads the stored events behind the sink's cursor, and asks through a guard.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pollers._core.events import Event
from resilience import Guard, Policy

_WAIT = {"backoff": "expo", "factor": 1.0, "max_value": 30.0}
_AGAIN = {"verdict": "retryable", "certainty": "maybe_executed", "wait": _WAIT}
_NEVER = {"verdict": "fatal", "title": "The receiver refuses this event"}

POLICY = Policy.from_dict(
    {
        "name": "sinks",
        "docs": "https://www.rfc-editor.org/rfc/rfc9110#section-15",
        # A wrong address, a refused key or a missing folder say nothing about the event: it must
        # wait until somebody mends them.  These four say that this body can't be accepted.
        "http": {
            **dict.fromkeys(("400", "413", "415", "422"), _NEVER),
            "429": {
                "verdict": "quota", "recovers": "window", "scope": "endpoint",
                "wait": _WAIT, "title": "The receiver asks for a slower pace",
            },
            "4xx": {**_AGAIN, "title": "The receiver refuses us"},
            "5xx": {**_AGAIN, "title": "The receiver failed"},
        },
        "exceptions": {
            "Exception": {**_AGAIN, "title": "The delivery failed"},
            "pollers.EventRefused": _NEVER,
        },
    }
)  # fmt: skip
"""What deliveries go by if a sink has no guard of its own: everything is tried again, at most 30 s
later, except what can never be taken.  What a guard's policy calls fatal parks the event."""


class Sink(ABC):
    """Where events are delivered.  Inherit from it, and write ``name`` and ``deliver``.

    What a poller may rely on:

    * ``deliver`` returns when every event that it was given is where it belongs, safe from a crash of
      this process.
    * When it raises, any of them may have been taken.  They are given again until they are taken, so
      delivery is at least once; an event's id is always the same.
    * ``EventRefused`` says that this event can never be taken.  Any other exception is about the sink
      or the moment, unless the guard's policy calls it fatal.
    * It may be cancelled at every await, and asked again afterwards.
    * ``aclose`` gives back what it holds, and is harmless at any time; a later ``deliver`` opens again.

    What a sink may rely on: events come one call after the other, never two at once; those of one job
    in their order; and at most ``batch`` of them.

    Attributes:
        name: what its cursor is stored under.  Another name starts from now.
        guard: whose policy and schedule deliveries go by; None makes one for the sink from ``POLICY``.
        batch: the most events that it takes at once.
        in_sequence: it tells what it already has from sequence numbers: an event behind the last one
            that it took counts as taken.  Nothing is then delivered out of the order of the store.
    """

    name: str
    guard: Guard | None = None
    batch: int = 1
    in_sequence: bool = False

    @abstractmethod
    async def deliver(self, events: Sequence[Event]) -> None:
        """Take the events."""

    async def aclose(self) -> None:  # noqa: B027  # most hold nothing
        """Give back what is held."""


def needed(module: str, *, extra: str, sink: str) -> Any:
    """A module of an optional package.

    Raises:
        ModuleNotFoundError: it is not installed; the message says what to install.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        said = f"{sink} needs: pip install 'resilience-pollers[{extra}]' (no {missing.name})"
        raise ModuleNotFoundError(said, name=missing.name) from None
