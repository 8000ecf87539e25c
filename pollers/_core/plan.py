"""The best next look for every age, at one price, under one table of hazards.

Barlow, Hunter and Proschan ("Optimum checking procedures", J. SIAM 11, 1963) minimise the price of
all looks plus the delay, for a known law; here by dynamic programming backwards over a grid of ages.
The index of ``pollers._core.hazard`` only knows the past, and is late to close a wave of ends that
nothing follows for long; where the law is smooth they agree.
"""

import math
from bisect import bisect_left

from pollers._core.hazard import Hazard

POINTS = 160
ROUGH = 3
"""A next look in fewer steps of the grid is left to the index: nothing turns so fast."""

_BEGUN, _OVER = 0.02, 6.0
"""Sums of hazards between which the grid lies: 2 in 100 have ended, 2 in 1,000 have not."""


class Plan:
    """Where to look next.  It never changes."""

    __slots__ = ("_ages", "_next")

    def __init__(self, hazard: Hazard, price: float) -> None:
        first, last = hazard.age_at(_BEGUN), hazard.age_at(_OVER)
        step: float = (last / first) ** (1.0 / (POINTS - 2))
        ages: list[float] = [0.0, *(first * step**i for i in range(POINTS - 1))]
        self._ages = ages
        alive = [math.exp(-hazard.until(age)[0]) for age in ages]
        lived = [0.0]  # the integral of alive
        for i in range(1, POINTS):
            lived.append(lived[-1] + (ages[i] - ages[i - 1]) * (alive[i] + alive[i - 1]) / 2.0)
        cost = [0.0] * POINTS
        self._next = [POINTS - 1] * POINTS
        for i in range(POINTS - 2, -1, -1):
            best, best_at = math.inf, POINTS - 1
            age, now, before = ages[i], alive[i], lived[i]
            for j in range(i + 1, POINTS):
                delay = now * (ages[j] - age) - (lived[j] - before)
                if delay > best:
                    break
                total = delay + cost[j]
                if total < best:
                    best, best_at = total, j
            cost[i] = price * now + best
            self._next[i] = best_at

    def due(self, seen: float) -> float | None:
        """The age of the next look after one at ``seen``; None where the index knows as well."""
        ages = self._ages
        if seen >= ages[-1]:
            return None
        i = max(1, bisect_left(ages, seen)) if seen > 0.0 else 0
        j = self._next[i]
        if j >= POINTS - 1 or j - i < ROUGH:
            return None
        k = self._next[i - 1]
        if i <= 1 or j - k > ROUGH or k <= i:
            return ages[j]
        # between two points of the grid, between their next looks
        part = (seen - ages[i - 1]) / (ages[i] - ages[i - 1])
        return ages[k] + part * (ages[j] - ages[k])
