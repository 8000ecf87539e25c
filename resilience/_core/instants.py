"""The two kinds of instant, and how a door remembers when it opens.

A program that waits *and* remembers has two clocks, and mixing them is the classic bug:

* **loop time** (``anyio.current_time()``) drives every wait.  It never jumps, but its zero is
  arbitrary: trio starts each run at a random value, and nothing of it may be stored or shown.
* **wall time** (seconds since 1970, UTC) is what people and calendars mean: "until midnight in
  Shanghai", "expires at 12:00", whatever is stored or printed.  It may jump both ways.

So an instant carries its kind.  A wait that was given as a span ("in 20 s") is a loop instant; a
calendar reset is a wall instant and is re-read from the wall clock on every look, which is why a
sleeper on it sleeps at most :data:`CALENDAR_NAP` seconds at a time.
"""

from typing import NamedTuple, NewType

LoopTime = NewType("LoopTime", float)
"""Seconds on the event loop's clock.  Never stored, never shown."""

WallTime = NewType("WallTime", float)
"""Seconds since the epoch, UTC.  Stored and shown; may jump."""

CALENDAR_NAP = 30.0
"""Longest sleep, in seconds, on a wall instant: a laptop lid or NTP may move the wall clock."""


class Now(NamedTuple):
    """Both clocks read at the same moment."""

    loop: float
    wall: float


class Instant(NamedTuple):
    """A moment on one of the two clocks: exactly one of the fields is set."""

    loop: float | None = None
    wall: float | None = None

    def left(self, now: Now) -> float:
        """Seconds from now until this instant; negative when it has passed."""
        if self.loop is not None:
            return self.loop - now.loop
        return (self.wall or 0.0) - now.wall

    def wall_time(self, now: Now) -> float:
        """The same moment in wall time, as far as the wall clock can be trusted now."""
        return now.wall + self.left(now) if self.wall is None else self.wall

    def carried(self, before: Now, now: Now) -> "Instant":
        """The same moment on the clock of a new event loop.

        ``before`` and ``now`` are readings of the old and of the new loop; wall time is the bridge.
        """
        if self.loop is None:
            return self
        return Instant(loop=now.loop + (self.loop - before.loop) - (now.wall - before.wall))


def later(a: Instant, b: Instant, now: Now) -> Instant:
    """Whichever of the two comes later, seen from now."""
    return a if a.left(now) >= b.left(now) else b
