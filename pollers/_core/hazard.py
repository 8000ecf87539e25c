"""How likely a job is to end, by its age, learned from looks that only bracket the end.

A look at age ``b`` after one at age ``a`` tells either that the job outlived ``(a, b]`` or that it
ended somewhere in there.  Ages are cut into bins of a sixth of an octave; in each the hazard (ends
per second of those that got so far) is constant: ends over seconds lived there.  A running job counts
with every second it was seen to live, so what takes long is not forgotten for having not ended yet.
An end is spread over its bracket as the table itself would have it (one step of expectation and
maximisation).

The prior is scale-free, a hazard of ``0.5 / age``.  The best density of looks is proportional to the
square root of the hazard (Keller, 1974, "Optimum Checking Schedules", Management Science 21(3)), so
with nothing learned the intervals grow with the square root of the age.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Self

OCTAVE = 6
"""Bins in which an age doubles."""

SMALLEST = 2.0**-4
"""Seconds: the first bin holds all ages below."""

BINS = 25 * OCTAVE
"""Up to 2 ** 21 seconds, which is 24 days; the last bin has no end."""

_BINS = range(BINS)

EDGES: tuple[float, ...] = (
    0.0, *(SMALLEST * float(2.0 ** (i / OCTAVE)) for i in range(BINS - 1))
)  # fmt: skip
PRIOR_HAZARD = 0.5
"""Times the inverse of the age."""

PRIOR_ENDS = 0.02
"""What the prior weighs in each bin, in ends seen."""

_WIDTHS = [b - a for a, b in zip(EDGES, (*EDGES[1:], EDGES[-1] * 2.0 ** (1 / OCTAVE)), strict=True)]
# the square root of the hazard has the integral that the prior's has, in every bin
_PRIOR = [
    2.0 * PRIOR_HAZARD * 2.0 * (math.sqrt(a + w) - math.sqrt(a)) ** 2 / w**2
    for a, w in zip(EDGES, _WIDTHS, strict=True)
]
_SURELY = 50.0
"""A sum of hazards that leaves nobody."""

_REFINED = 4
_IMPOSSIBLE = 1e-6
"""The least probability of anything: a table is never as sure as that."""


class Hazard:
    """One table.  It changes only by its own methods; ``rates`` are current after ``settle``."""

    __slots__ = ("_integral", "_roots", "_spread", "_weight", "ends", "lived", "rates")

    def __init__(
        self, ends: Sequence[float] | None = None, lived: Sequence[float] | None = None
    ) -> None:
        self.ends = list(ends) if ends else [0.0] * BINS
        self.lived = list(lived) if lived else [0.0] * BINS
        # most tables never learn anything: they share what the prior says
        self._take(_settled(self.ends, self.lived) if ends or lived else _UNTAUGHT)

    @property
    def weight(self) -> float:
        """Ends that count."""
        return self._weight

    def settle(self) -> None:
        """Take what was learned into the rates."""
        self._take(_settled(self.ends, self.lived))

    def _take(self, settled: "_Settled") -> None:
        self.rates, self._roots, self._integral, self._spread = settled
        self._weight = sum(self.ends)

    def until(self, age: float) -> tuple[float, float]:
        """The integrals of the hazard and of its square root, from birth to an age."""
        i = bisect_right(EDGES, age) - 1
        inside = age - EDGES[i]
        return (
            self._integral[i] + self.rates[i] * inside,
            self._spread[i] + self._roots[i] * inside,
        )

    def index(self, seen: float, age: float) -> float:
        """Seconds of delay that a look at this age is worth, after the last one at age ``seen``."""
        hazard, root = self.until(age)
        before, root_before = self.until(seen)
        return worth(hazard - before, root - root_before)

    def due(self, seen: float, price: float, latest: float) -> float:
        """The age at which a look is worth its price, after one at ``seen``; at most ``latest``."""
        integral, spread = self._integral, self._spread
        before, root_before = self.until(seen)

        def is_worth(i: int) -> bool:
            return worth(integral[i] - before, spread[i] - root_before) >= price

        first, last = bisect_right(EDGES, seen), bisect_right(EDGES, latest)
        i = bisect_left(_BINS, True, first, last, key=is_worth) - 1
        edge, rate, steep = EDGES[i], self.rates[i], self._roots[i]
        hazard, root, wanted = integral[i] - before, spread[i] - root_before, math.sqrt(price)

        def off(age: float) -> float:
            inside = age - edge
            return math.sqrt(worth(hazard + rate * inside, root + steep * inside)) - wanted

        early, late = max(seen, edge), latest if i + 1 == last else EDGES[i + 1]
        under, over = off(early), off(late)
        if over <= 0.0:
            return late
        age = late
        for _ in range(_REFINED):  # within a bin it is nearly a line
            age = early + (late - early) * under / (under - over)
            found = off(age)
            if found < 0.0:
                early, under = age, found
            else:
                late, over = age, found
        return age

    def age_at(self, hazard: float) -> float:
        """The age at which the integral of the hazard reaches this."""
        i = min(max(0, bisect_right(self._integral, hazard) - 1), BINS - 1)
        return EDGES[i] + (hazard - self._integral[i]) / self.rates[i]

    def outlived(self, seen: float, age: float) -> None:
        """A job was seen to live from one age to another."""
        first, last = bisect_right(EDGES, seen) - 1, bisect_right(EDGES, age) - 1
        if first == last:
            self.lived[first] += age - seen
            return
        self.lived[first] += EDGES[first + 1] - seen
        for i in range(first + 1, last):
            self.lived[i] += _WIDTHS[i]
        self.lived[last] += age - EDGES[last]

    def ended(self, seen: float, age: float) -> float:
        """A job ended between two ages; where most likely, on average, is returned."""
        pieces = []
        alive, start = 1.0, seen
        for i in range(bisect_right(EDGES, seen) - 1, bisect_right(EDGES, age)):
            stop = min(EDGES[i + 1], age) if i + 1 < BINS else age
            ends = -alive * math.expm1(-self.rates[i] * (stop - start))
            pieces.append((i, start, stop, ends))
            alive -= ends
            start = stop
        total = sum(piece[3] for piece in pieces)
        if total <= 0.0:  # an age of zero, or nobody is left as the table has it
            return age
        left, middle = 1.0, 0.0
        for i, start, stop, ends in pieces:
            part = ends / total
            self.ends[i] += part
            self.lived[i] += (stop - start) * (left - 0.5 * part)
            left -= part
            middle += part * (start + stop) / 2.0
        return middle

    def surprise(self, seen: float, age: float, *, ended: bool) -> float:
        """How little a look was to be expected: minus the logarithm of its probability."""
        hazard = self.until(age)[0] - self.until(seen)[0]
        if not ended:
            return hazard
        return -math.log(max(-math.expm1(-hazard), _IMPOSSIBLE))

    def smoothed(self) -> "Hazard":
        """The same with each bin drawn to its neighbours, for those who would believe in every dent."""
        lived = [one / width for one, width in zip(self.lived, _WIDTHS, strict=True)]
        return Hazard(
            _smooth(self.ends),
            [one * width for one, width in zip(_smooth(lived), _WIDTHS, strict=True)],
        )

    def fade(self, factor: float) -> None:
        """Forget a part of everything."""
        self.ends = [factor * one for one in self.ends]
        self.lived = [factor * one for one in self.lived]

    def dump(self) -> list[list[float]]:
        """What was learned, up to the last bin that anybody reached."""
        reached = max((i + 1 for i, one in enumerate(self.lived) if one > 0.0), default=0)
        return [
            [round(one, 4) for one in self.ends[:reached]],
            [round(one, 3) for one in self.lived[:reached]],
        ]

    @classmethod
    def load(cls, kept: Sequence[Sequence[float]]) -> Self:
        """What ``dump`` gave.

        Raises:
            ValueError: it is not that.
        """
        ends, lived = ([float(one) for one in part] for part in kept)
        if len(ends) != len(lived) or len(ends) > BINS or not _are_amounts([*ends, *lived]):
            raise ValueError("not a table of hazards")
        rest = [0.0] * (BINS - len(ends))
        return cls(ends + rest, lived + rest)


_Settled = tuple[list[float], list[float], list[float], list[float]]


def _settled(ends: Sequence[float], lived: Sequence[float]) -> _Settled:
    """Rates, their roots, and the integrals of both."""
    rates = [
        (ended + PRIOR_ENDS) / (time + PRIOR_ENDS / prior)
        for ended, time, prior in zip(ends, lived, _PRIOR, strict=True)
    ]
    roots = [math.sqrt(rate) for rate in rates]
    total = root_total = 0.0
    integral, spread = [0.0], [0.0]
    for rate, root, width in zip(rates, roots, _WIDTHS, strict=True):
        total += rate * width
        root_total += root * width
        integral.append(total)
        spread.append(root_total)
    return rates, roots, integral, spread


_UNTAUGHT = _settled([0.0] * BINS, [0.0] * BINS)


def _are_amounts(values: Sequence[float]) -> bool:
    return all(0.0 <= one < math.inf for one in values)


def _smooth(values: Sequence[float]) -> list[float]:
    """A quarter of each goes to either neighbour."""
    padded = [values[0], *values, values[-1]]
    return [
        0.25 * left + 0.5 * one + 0.25 * right
        for left, one, right in zip(padded, padded[1:], padded[2:], strict=False)
    ]


def worth(hazard: float, root: float) -> float:
    """The index of a job: ``root ** 2 * (e ** H - 1 - H) / H ** 2``.

    About half of ``root ** 2`` while little happened; exact for a constant hazard.
    """
    if hazard < 1e-3:  # noqa: PLR2004  # the difference would lose its digits
        return root * root * (0.5 + hazard / 6.0)
    hazard = min(hazard, _SURELY)
    return root * root * (math.exp(hazard) - 1.0 - hazard) / (hazard * hazard)
