"""Servers that limit, for tests of whoever calls them: five kinds of limit, exact in virtual time.

    server = FixedWindow(100, per=1.0, trip=0.05)
    body = await guard.call(server)
    assert server.rejected / server.accepted <= 0.02

A request takes half of ``trip`` to get there, is accepted or rejected on the spot, works for
``work`` seconds if accepted, and takes the other half to come back.  The limit may be changed while
calls are under way.
"""

import heapq
import math
from collections.abc import Callable
from typing import Any

import anyio

OK: dict[str, Any] = {"code": "0000", "msg": "success", "data": None, "success": True}
BUSY: dict[str, Any] = {"code": "0429", "msg": "Request has exceeded the limit."}

Work = float | Callable[[], float]


class Limited:
    """What all servers here have in common: the trip, the work, and a memory of what happened.

    Args:
        trip: seconds of a round trip; at 0 a request still yields to the event loop once.
        work: seconds that an accepted request takes, or a function that draws them.
        hint: tells a rejected client how long to wait: ``"exact"``, a number of seconds, or None.
        rejection: the body of a rejection.
        name: the function name, which can decide about the endpoint.
    """

    def __init__(
        self,
        *,
        trip: float = 0.0,
        work: Work = 0.0,
        hint: float | str | None = None,
        rejection: dict[str, Any] = BUSY,
        name: str = "limited",
    ) -> None:
        self.trip = trip
        self.work = work
        self.hint = hint
        self.rejection = rejection
        self.__name__ = name
        self.log: list[tuple[float, bool]] = []
        """When each request arrived, and whether it was accepted."""

    @property
    def accepted(self) -> int:
        """Requests that were let in."""
        return sum(ok for _, ok in self.log)

    @property
    def rejected(self) -> int:
        """Requests that were turned away."""
        return len(self.log) - self.accepted

    async def __call__(self, *, cost: float = 1.0) -> dict[str, Any]:
        """One request."""
        await anyio.sleep(self.trip / 2)
        now = anyio.current_time()
        left = self.refuse(now, cost)
        self.log.append((now, left is None))
        if left is not None:
            await anyio.sleep(self.trip / 2)
            return self._busy(left)
        work = self.work() if callable(self.work) else self.work
        if work:
            await anyio.sleep(work)
        self.finish()
        await anyio.sleep(self.trip / 2)
        return OK

    def _busy(self, left: float) -> dict[str, Any]:
        if self.hint is None:
            return self.rejection
        wait = max(left - self.trip / 2, 0.0) if self.hint == "exact" else float(self.hint)
        return {**self.rejection, "retry_after": wait}

    def refuse(self, now: float, cost: float) -> float | None:
        """Seconds until the next would be let in; None lets this one in.  For subclasses."""
        raise NotImplementedError

    def finish(self) -> None:
        """An accepted request is done.  For subclasses."""


class FixedWindow(Limited):
    """So many units per window; windows are aligned to ``phase`` on the loop's clock."""

    def __init__(self, units: float, *, per: float = 1.0, phase: float = 0.0, **rest: Any) -> None:
        super().__init__(**rest)
        self.units = units
        self.per = per
        self.phase = phase
        self._window = -1
        self._used = 0.0

    def refuse(self, now: float, cost: float) -> float | None:
        """Whether the window is full."""
        window = math.floor((now - self.phase) / self.per + 1e-9)  # a timer may miss by a last bit
        if window != self._window:
            self._window, self._used = window, 0.0
        if self._used + cost > self.units:
            return self.phase + (window + 1) * self.per - now
        self._used += cost
        return None


class SlidingWindow(Limited):
    """So many units in any stretch of ``per`` seconds."""

    def __init__(self, units: float, *, per: float = 1.0, **rest: Any) -> None:
        super().__init__(**rest)
        self.units = units
        self.per = per
        self._used = 0.0
        self._taken: list[tuple[float, float]] = []

    def refuse(self, now: float, cost: float) -> float | None:
        """Whether the last ``per`` seconds are full."""
        while self._taken and self._taken[0][0] <= now - self.per + 1e-9:
            self._used -= heapq.heappop(self._taken)[1]
        if self._used + cost > self.units:
            return self._taken[0][0] + self.per - now
        heapq.heappush(self._taken, (now, cost))
        self._used += cost
        return None


class TokenBucket(Limited):
    """``rate`` units a second; up to ``burst`` are saved."""

    def __init__(self, rate: float, *, burst: float, **rest: Any) -> None:
        super().__init__(**rest)
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = 0.0

    def refuse(self, now: float, cost: float) -> float | None:
        """Whether too little is left."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens + 1e-9 < cost:
            return (cost - self._tokens) / self.rate
        self._tokens -= cost
        return None


class InFlight(Limited):
    """So many at the same time."""

    def __init__(self, slots: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.slots = slots
        self.busy = 0

    def refuse(self, now: float, cost: float) -> float | None:  # noqa: ARG002
        """Whether all are busy; how long for, nobody knows."""
        if self.busy >= self.slots:
            return 1.0
        self.busy += 1
        return None

    def finish(self) -> None:
        """One more slot."""
        self.busy -= 1


class Capacity(SlidingWindow):
    """A server that sheds what exceeds its capacity, and that is down at times.

    Args:
        per_second: requests that it can serve.
        outages: ``(from, to)`` on the loop's clock.
        failure: the body of both.
    """

    def __init__(
        self,
        per_second: float,
        *,
        outages: tuple[tuple[float, float], ...] = (),
        failure: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        body = {"code": "0001", "msg": "network busy"} if failure is None else failure
        super().__init__(per_second / 20, per=0.05, rejection=body, **rest)
        self.outages = outages

    def refuse(self, now: float, cost: float) -> float | None:
        """Whether it is down or at its limit."""
        if any(start <= now < end for start, end in self.outages):
            return 0.0
        return super().refuse(now, cost)
