"""When to look at a job again: how long jobs of its kind take, and what a look is worth.

What was learned is kept per source and, where the watcher gives one, per ``kind`` text.  For each
there are several measures (``pollers._core.measure``): plain seconds, and seconds for the duration
or the size.  The one that foretells best is used; plain seconds, until another has proved itself.

A job is due when the index of a look (seconds of delay that it is expected to save) reaches its
price.  With nothing learned that is at intervals of ``2 * sqrt(price * age)``.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from pollers._core.measure import Measure

VERSION = 1
"""Of what ``dump`` writes."""

PRICE = 0.25
"""Seconds of delay that a look must save: with nothing learned, intervals of the root of the age."""

PREDICTORS = ("duration", "size")
"""Features that may foretell how long a job takes: numbers above 0."""

KIND = "kind"
"""The feature, a text, that parts jobs which have nothing to do with each other."""

MOST_KINDS = 32
KNOWN_KIND = 30.0
"""Ends from which on a kind is told from all others."""

JITTER = 0.1
"""Intervals are shortened by up to this part, so that jobs of one second drift apart."""

EXPLORED = 0.03
"""The part of the intervals that are cut anywhere: else nobody would learn what happens in them."""

_PROVED = 3.0
"""Nats by which another measure must have foretold better than plain seconds."""

_MEMORY = 0.98
"""What one end later is left of how well measures foretold."""


class Looks:
    """What is known about one kind of job."""

    __slots__ = ("_kinds", "_measures", "_scores")

    def __init__(self) -> None:
        self._measures = [Measure(None), *(Measure(name) for name in PREDICTORS)]
        self._scores = [0.0] * len(self._measures)
        self._kinds: dict[str, Looks] = {}

    @property
    def learned(self) -> float:
        """Ends that count, of those that were seen."""
        return self._measures[0].hazard.weight

    def due(
        self,
        features: Mapping[str, Any],
        seen: float,
        *,
        price: float,
        latest: float,
        ahead: bool = True,
    ) -> float:
        """The age at which to look again at a job that was seen alive at one; at most ``latest``.

        Planning ``ahead`` is for looks that will go when they are due.
        """
        measure, scale = self._of(features)._measure(features)  # noqa: SLF001
        return measure.due(scale, seen, price=price, latest=latest, ahead=ahead)

    def index(self, features: Mapping[str, Any], seen: float, age: float) -> float:
        """Seconds of delay that a look at this age is worth."""
        measure, scale = self._of(features)._measure(features)  # noqa: SLF001
        return scale * measure.hazard.index(seen / scale, age / scale)

    def looked(self, features: Mapping[str, Any], seen: float, age: float, *, ended: bool) -> None:
        """Learn from a look at ``age`` at a job that was seen alive at ``seen``."""
        if age <= seen:
            return
        kind = features.get(KIND)
        if isinstance(kind, str) and (kind in self._kinds or len(self._kinds) < MOST_KINDS):
            own = self._kinds.setdefault(kind, Looks())
            own._learn(features, seen, age, ended=ended)  # noqa: SLF001
        self._learn(features, seen, age, ended=ended)

    def _learn(self, features: Mapping[str, Any], seen: float, age: float, *, ended: bool) -> None:
        plain = self._measures[0].surprise(1.0, seen, age, ended=ended)
        for i, measure in enumerate(self._measures):
            scale = measure.scale(features)
            if i and scale is not None:
                better = plain - measure.surprise(scale, seen, age, ended=ended)
                self._scores[i] = (_MEMORY if ended else 1.0) * self._scores[i] + better
            measure.looked(features, seen, age, ended=ended)

    def _of(self, features: Mapping[str, Any]) -> "Looks":
        own = self._kinds.get(features.get(KIND, "")) if self._kinds else None
        return own if own is not None and own.learned >= KNOWN_KIND else self

    def _measure(self, features: Mapping[str, Any]) -> tuple[Measure, float]:
        best, scale, most = self._measures[0], 1.0, _PROVED
        for measure, score in zip(self._measures, self._scores, strict=True):
            if score > most and (its := measure.scale(features)) is not None:
                best, scale, most = measure, its, score
        return best, scale

    def dump(self) -> bytes:
        """What is worth keeping, with its version."""
        return msgspec.json.encode({"v": VERSION, **self._dump()})

    def _dump(self) -> dict[str, Any]:
        return {
            "measures": [one.dump() for one in self._measures],
            "scores": self._scores,
            "kinds": {name: one._dump() for name, one in self._kinds.items()},  # noqa: SLF001
        }

    @classmethod
    def load(cls, kept: bytes | None) -> "Looks":
        """What ``dump`` wrote; nothing learned, if it is of another version or damaged."""
        try:
            found = msgspec.json.decode(kept or b"{}")
            return cls._load(found) if found.get("v") == VERSION else cls()
        except (msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    @classmethod
    def _load(cls, kept: Mapping[str, Any]) -> "Looks":
        one = cls()
        by_name = {part["name"]: Measure.load(part) for part in kept["measures"]}
        one._measures = [by_name[name] for name in (None, *PREDICTORS)]
        one._scores = [float(score) for score in kept["scores"]]
        one._kinds = {str(name): cls._load(part) for name, part in kept["kinds"].items()}
        if len(one._scores) != len(one._measures):
            raise ValueError(kept["scores"])
        return one


def shortened(interval: float, draw: float) -> float:
    """An interval with chance in it: a little less, or now and then cut anywhere."""
    if draw >= 1.0 - EXPLORED:
        return interval * min(1.0, (1.0 - draw) / EXPLORED)
    return interval * (1.0 - JITTER * draw)
