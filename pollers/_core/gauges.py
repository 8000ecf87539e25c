"""Small estimators of what is shown to people: rates, quantiles, and what was left alone longest.

All are bounded and forget.  ``now`` is any clock that goes on, in seconds.
"""

import math
from collections.abc import Sequence

SPAN = 60.0
"""Seconds: what happened so long ago counts ``1 / e`` in a rate."""

HALF_LIFE = 600.0
"""Seconds after which a value counts half in quantiles."""

OCTAVE = 8
"""Buckets in which a value doubles: a quantile is right to 5 %."""

SMALLEST = 2.0**-10
"""The first bucket holds all values below, as 0."""

BUCKETS = 31 * OCTAVE
"""Up to 2 ** 21 seconds, which is 24 days."""

_LARGEST_WEIGHT = 2.0**64


class Rate:
    """Things per second, lately."""

    __slots__ = ("_at", "_began", "_count")

    def __init__(self) -> None:
        self._count = 0.0
        self._at = 0.0
        self._began: float | None = None

    def add(self, things: float, now: float) -> None:
        """So many, now."""
        if self._began is None:
            self._began = now
        self._count, self._at = self.faded(now) + things, now

    def faded(self, now: float) -> float:
        """How many count still."""
        return self._count * math.exp((self._at - now) / SPAN)

    def per_second(self, now: float) -> float:
        """The rate; over the time since the first if that is short, but at least a second."""
        if self._began is None:
            return 0.0
        return self.faded(now) / max(1.0, SPAN * -math.expm1((self._began - now) / SPAN))


class Quantiles:
    """Of values of 0 and more; a histogram whose buckets are an eighth of an octave."""

    __slots__ = ("_buckets", "_sum", "_weight", "_zero_at")

    def __init__(self) -> None:
        self._buckets = [0.0] * BUCKETS
        self._sum = 0.0
        self._weight = 0.0
        self._zero_at: float | None = None

    def add(self, value: float, now: float) -> None:
        """One more value.  Later ones weigh more, rather than all that came before less."""
        if self._zero_at is None:
            self._zero_at = now
        weight = math.exp2(min(1000.0, (now - self._zero_at) / HALF_LIFE))
        if weight > _LARGEST_WEIGHT:
            self._buckets = [one / weight for one in self._buckets]
            self._sum, self._weight = self._sum / weight, self._weight / weight
            self._zero_at, weight = now, 1.0
        self._buckets[_bucket(value)] += weight
        self._sum += weight * value
        self._weight += weight

    def count(self, now: float) -> float:
        """How many values count still."""
        if self._zero_at is None:
            return 0.0
        return self._weight * math.exp2(max(-1000.0, (self._zero_at - now) / HALF_LIFE))

    @property
    def mean(self) -> float | None:
        """None without values."""
        return self._sum / self._weight if self._weight else None

    def at(self, parts: Sequence[float]) -> list[float | None]:
        """The values below which these parts of all are, in rising order; None without values."""
        if not self._weight:
            return [None] * len(parts)
        return [self._quantile(part * self._weight) for part in parts]

    def _quantile(self, weight: float) -> float:
        below = 0.0
        last = 0
        for i, one in enumerate(self._buckets):
            if one:
                below, last = below + one, i
                if below >= weight:
                    break
        return SMALLEST * math.exp2((last - 0.5) / OCTAVE) if last else 0.0


def _bucket(value: float) -> int:
    if value < SMALLEST:
        return 0
    return min(BUCKETS - 1, 1 + int(OCTAVE * math.log2(value / SMALLEST)))


class Ages:
    """When the one that was left alone longest was last attended to, of many.

    It counts them by whole seconds, so it is as large as the greatest age, however many there are.
    Whoever is counted must remember the number that it was given.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def enter(self, now: float) -> int:
        """One more, attended to now."""
        second = math.floor(now)
        self._counts[second] = self._counts.get(second, 0) + 1
        return second

    def leave(self, second: int) -> None:
        """One less."""
        if self._counts[second] == 1:
            del self._counts[second]
        else:
            self._counts[second] -= 1

    def again(self, second: int, now: float) -> int:
        """It was attended to once more."""
        self.leave(second)
        return self.enter(now)

    def greatest(self, now: float) -> float:
        """Seconds since, at most one too few; 0 if there is none."""
        return max(0.0, now - min(self._counts, default=now) - 1.0)
