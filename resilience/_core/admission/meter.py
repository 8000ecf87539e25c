"""What went lately, counted so that old calls can be left out."""

from collections import deque

BINS = 16
"""Parts of a period in which accepted units are counted."""


class Meter:
    """Units of the last seconds, in bins, so that old ones can be left out."""

    __slots__ = ("_bins", "period", "start")

    def __init__(self, period: float, now: float) -> None:
        self.period = period
        self._bins: deque[list[float]] = deque()
        self.start = now

    def add(self, units: float, now: float) -> None:
        """Count; negative units take back what turned out to be rejected."""
        if not self._bins or now >= self._bins[-1][0] + self.period / BINS:
            self._bins.append([now, 0.0])
            while self._bins[0][0] < (known := now - 2.0 * self.period):
                self._bins.popleft()
                self.start = max(self.start, known)
        self._bins[-1][1] += units

    def recent(self, span: float, now: float) -> float:
        """Units in the last ``span`` seconds."""
        return sum(units for began, units in self._bins if began > now - span)

    def age(self, span: float, now: float) -> float:
        """Seconds that ``recent`` really speaks about."""
        return min(span, now - self.start)
