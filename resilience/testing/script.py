"""Scripted outcomes: a fake provider that is a list, and remembers when it was asked.

calls = Script([{"code": "0429", "msg": "busy"}, {"code": "0000", "msg": "ok"}])
await guard.call(calls)
assert calls.asked_at == [0.0, 1.0]
"""

from collections.abc import Callable, Iterable
from typing import Any

import anyio


class Script:
    """An async callable that plays a list of results; the last one repeats.

    Args:
        steps: results to return; an exception is raised; a callable is called without arguments
            and gives the result.
        delay: seconds that every call takes.
        name: what the function is called, which can decide about its endpoint.
    """

    def __init__(self, steps: Iterable[Any], *, delay: float = 0.0, name: str = "script") -> None:
        self.steps = list(steps)
        self.delay = delay
        self.asked_at: list[float] = []
        """Clock readings, one per call, counted from the first."""
        self.__name__ = name
        self._zero: float | None = None

    @property
    def calls(self) -> int:
        """How often it was called."""
        return len(self.asked_at)

    async def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Play the next step."""
        now = anyio.current_time()
        self._zero = now if self._zero is None else self._zero
        self.asked_at.append(now - self._zero)
        step = self.steps[min(self.calls, len(self.steps)) - 1]
        if self.delay:
            await anyio.sleep(self.delay)
        if isinstance(step, BaseException):
            raise step
        return step() if isinstance(step, Callable) else step  # type: ignore[arg-type]


class FixedChance:
    """Draws that are always the same; 1.0 makes every back-off its full length."""

    def __init__(self, draw: float = 1.0) -> None:
        self.draw = draw

    def __call__(self) -> float:
        """The draw."""
        return self.draw
