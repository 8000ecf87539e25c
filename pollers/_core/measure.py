"""One way to tell the time of jobs: in seconds, or in seconds for their size.

A job of twice the size takes about ``2 ** slope`` times as long.  The slope is learned by regression
of the logarithm of how long it took on the logarithm of the size, and the table of hazards is kept
in time divided by that.  Whether this helps is not assumed: a measure counts how well it foretold
each look, and ``pollers._core.looks`` uses the one that does it best.

A measure also counts how well two others foretell: the prior, that knows nothing, and a young table,
that forgets fast.  If one of them does it better for long, the world has changed, and what was
learned is dropped.  (The young table can't take over: it saw the new world by the looks of the old.)
"""

import math
from collections.abc import Mapping
from typing import Any, Self

from pollers._core.hazard import Hazard
from pollers._core.plan import Plan

HALF_LIFE = 500.0
"""Ends after which what was learned counts half."""

YOUNG_HALF_LIFE = 40.0
ENOUGH_FOR_PLAN = 100.0
"""Ends: with fewer, planning ahead would believe in dents that are chance."""

CHANGED = 18.0
"""Nats (a factor of 65 millions) by which another table foretold better: the world has changed."""

_ONE_LOOK = 3.0
"""Nats that one look can add to that: one odd job changes no world."""

_DOUBT = 4.0
"""Squared standard errors by which a slope is shrunk towards none."""

_OUTLIER = 2.5
"""Standard deviations from which on an end draws the slope no harder."""

_FARTHEST = 10.0
"""Logarithm of the largest scale: a size that is off by more than 20,000 is no size."""

_BLUR = 5.0
"""A table is forgotten by this times the shift of a typical job when the slope is corrected."""

_REPLANNED = 20.0
"""Plans are made anew when so large a part of the ends is new."""

_EMPTY = Hazard()


class Measure:
    """One measure; changed only by its own methods."""

    __slots__ = (
        "_moments", "_plans", "_unplanned", "_unsettled", "_worse", "hazard", "name", "slope",
        "typical", "young",
    )  # fmt: skip

    def __init__(self, name: str | None) -> None:
        self.name = name
        """The feature; None for plain seconds."""
        self.hazard = Hazard()
        self.young = Hazard()
        self.slope = 0.0
        self.typical: float | None = None
        """The logarithm of the size whose time is told in plain seconds: of the first job that ended."""
        self._moments = [0.0] * 6  # n, x, y, xx, xy, squared residual
        self._worse = [0.0, 0.0]
        self._unsettled = 0
        self._unplanned = 0
        self._plans: dict[int, Plan] = {}

    def scale(self, features: Mapping[str, Any]) -> float | None:
        """Seconds in which such a job lives what the typical one lives in one; None if unknown."""
        if self.name is None:
            return 1.0
        size = self._size(features)
        if size is None:
            return None
        if self.typical is None:
            return 1.0
        return math.exp(min(max(self.slope * (size - self.typical), -_FARTHEST), _FARTHEST))

    def _size(self, features: Mapping[str, Any]) -> float | None:
        size = features.get(self.name or "")
        if not isinstance(size, (int, float)) or isinstance(size, bool):
            return None
        return math.log(size) if 0 < size < math.inf else None

    def due(self, scale: float, seen: float, *, price: float, latest: float, ahead: bool) -> float:
        """The age of the next look at a job that was seen alive at an age."""
        seen, price, latest = seen / scale, price / scale, latest / scale
        if ahead and self.hazard.weight >= ENOUGH_FOR_PLAN:
            planned = self._plan(price).due(seen)
            if planned is not None:
                return scale * min(planned, latest)
        return scale * self.hazard.due(seen, price, latest)

    def _plan(self, price: float) -> Plan:
        """For a price near by: looks cost little more when they are a fifth too dense or too rare."""
        octave = round(math.log2(price))
        plan = self._plans.get(octave)
        if plan is None:
            plan = self._plans[octave] = Plan(self.hazard.smoothed(), 2.0**octave)
        return plan

    def surprise(self, scale: float, seen: float, age: float, *, ended: bool) -> float:
        """How little this look was to be expected."""
        return self.hazard.surprise(seen / scale, age / scale, ended=ended)

    def looked(self, features: Mapping[str, Any], seen: float, age: float, *, ended: bool) -> None:
        """Learn from a look at a job that was alive at ``seen``."""
        scale = self.scale(features)
        if scale is None:
            return
        seen, age = seen / scale, age / scale
        self._doubt(seen, age, ended=ended)
        if not ended:
            self.hazard.outlived(seen, age)
            self.young.outlived(seen, age)
            return
        self.young.ended(seen, age)
        took = scale * self.hazard.ended(seen, age)
        self._unsettled += 1
        if self.name is not None and took > 0.0:
            self._regress(self._size(features) or 0.0, math.log(took))
        if self._unsettled >= min(max(1.0, self.hazard.weight / 10.0), 40.0):
            self._settle()

    def _doubt(self, seen: float, age: float, *, ended: bool) -> None:
        ours = self.hazard.surprise(seen, age, ended=ended)
        for i, other in enumerate((_EMPTY, self.young)):
            better = min(ours - other.surprise(seen, age, ended=ended), _ONE_LOOK)
            self._worse[i] = max(0.0, self._worse[i] + better)
        if max(self._worse) < CHANGED:
            return
        self.hazard, self.young = Hazard(), Hazard()
        self._worse = [0.0, 0.0]
        self._plans.clear()

    def _settle(self) -> None:
        self.hazard.fade(0.5 ** (self._unsettled / HALF_LIFE))
        self.young.fade(0.5 ** (self._unsettled / YOUNG_HALF_LIFE))
        self._moments = [0.5 ** (self._unsettled / HALF_LIFE) * one for one in self._moments]
        self._unplanned += self._unsettled
        self._unsettled = 0
        self._correct()
        self.hazard.settle()
        self.young.settle()
        if self._unplanned >= self.hazard.weight / _REPLANNED:
            self._unplanned = 0
            self._plans.clear()

    def _regress(self, size: float, took: float) -> None:
        """One more end, drawn in if it lies far from what its size would have."""
        if self.typical is None:
            self.typical = size
        n, x, y, xx, xy, squares = self._moments
        if n >= 1.0:
            off = took - (y / n + self._steepest() * (size - x / n))
            if n > 20.0:  # noqa: PLR2004  # so many, before anything counts as unusual
                most = _OUTLIER * math.sqrt(squares / n)
                took += min(max(off, -most), most) - off
                off = min(max(off, -most), most)
            squares += off * off
        self._moments = [
            n + 1.0, x + size, y + took, xx + size * size, xy + size * took, squares
        ]  # fmt: skip

    def _steepest(self) -> float:
        n, x, y, xx, xy, _ = self._moments
        spread = xx - x * x / n
        return (xy - x * y / n) / spread if spread > 1e-6 * n else 0.0

    def _correct(self) -> None:
        """Take the slope, as far as it is certain; a table that was kept by another one is blurred."""
        n, x, _, xx, _, squares = self._moments
        if self.name is None or n < 4.0:  # noqa: PLR2004  # two would always lie on a line
            return
        spread = xx - x * x / n
        steepest = self._steepest()
        if steepest == 0.0:
            return
        error = squares / n / spread
        slope = steepest * max(0.0, 1.0 - _DOUBT * error / steepest**2)
        shift = abs(slope - self.slope) * math.sqrt(spread / n)
        self.slope = slope
        for table in (self.hazard, self.young):
            table.fade(max(0.0, 1.0 - _BLUR * shift))

    def dump(self) -> dict[str, Any]:
        """What is worth keeping, as JSON."""
        return {
            "name": self.name, "slope": self.slope, "typical": self.typical,
            "moments": self._moments, "hazard": self.hazard.dump(), "young": self.young.dump(),
        }  # fmt: skip

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> Self:
        """What ``dump`` kept."""
        one = cls(kept["name"])
        one.slope = float(kept["slope"])
        one.typical = None if kept["typical"] is None else float(kept["typical"])
        if len(kept["moments"]) != len(one._moments):
            raise ValueError(kept["moments"])
        one._moments = [float(part) for part in kept["moments"]]
        one.hazard, one.young = Hazard.load(kept["hazard"]), Hazard.load(kept["young"])
        return one
