"""A sink that calls a function of the user's."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pollers._core.events import Event
from pollers.sinks.base import Sink
from resilience import Guard

Callback = Callable[[Event], Awaitable[Any]] | Callable[[Event], Any]


class CallbackSink(Sink):
    """Calls an async or a quick sync function for each event.

    Args:
        callback: gets the event; if it raises, the same event is delivered again later, and
            ``EventRefused`` parks it.
        name: what its cursor is stored under.  By default the function's qualified name, so a
            lambda or a function that is renamed needs one.
        guard: by whose schedule it is asked again; see ``Sink``.
    """

    def __init__(
        self, callback: Callback, *, name: str | None = None, guard: Guard | None = None
    ) -> None:
        self._callback = callback
        module = getattr(callback, "__module__", "") or ""
        qualified = getattr(callback, "__qualname__", type(callback).__qualname__)
        self.name = name or f"callback:{module}.{qualified}"
        self.guard = guard

    async def deliver(self, events: Sequence[Event]) -> None:
        """One event; returning means that it is delivered."""
        for event in events:
            result = self._callback(event)
            if inspect.isawaitable(result):
                await result
