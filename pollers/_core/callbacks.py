"""What callbacks are worth: which jobs they speak of, and how much polling they spare.

A callback is a hint.  It is not signed, and may be early, doubled, forged or lost, so it changes no
job: it makes the job due, and the look decides.  What polling is left to find are the ends that
nobody announces.  Their share ``p`` is measured, end by end:

* *announced*: its hint came before our look found the end, or within ``LATE`` after it;
* *missed*: no hint came.

While a job may have ended for so long, the odds that it has *and nobody said so* are ``p`` times
those without callbacks, and so is the delay that a look saves (its index, ``pollers._core.hazard``).
A look costs what it did: so the price is divided by ``p``, and intervals grow as ``1 / sqrt(p)``.
With one callback in a hundred lost that is a tenth of the polls, and a tenth of the delay, on average.
The longest interval grows with them: up to ``SAFETY_NET`` times ``max_interval``, whatever was learned.

That callbacks *stop* is another thing than that some are lost, and must be noticed sooner than a mean
over a hundred ends does.  So the odds of it are kept beside the share (two hypotheses, a filter as in
a hidden Markov model): each missed end raises them by ``1 / p``, the more the better callbacks worked;
each announced one lowers them.  ``p`` is the mean over both.  One sweep finds many missed ends, of
minutes in which others were announced: so a missed one speaks of a stop only if it ended (half-way
between the looks around it) after the last one that was announced.

Instants are loop time, spans seconds.
"""

import math
from collections import OrderedDict
from typing import Any, Self

import msgspec

VERSION = 1
"""Of what ``dump`` writes."""

LATE = 10.0
"""Seconds that a callback may come after our own look found the end; later is as good as lost."""

FOLLOWED = 30.0
"""Seconds after a hint for which a job that goes on is looked at more often: it may have been early."""

KEPT = 60.0
"""Seconds that a hint about a job nobody watches is kept: ``watch`` may only just be coming."""

MOST_KEPT = 10_000
LONGEST_ID = 256
"""Characters; no provider's ids are longer, and a forger's needn't be kept."""

SAFETY_NET = 10.0
"""Times that intervals may be longer with callbacks, however well they work."""

LEAST = SAFETY_NET**-2
"""The least share of ends that callbacks are thought to miss."""

TAKE_OVER = 4.0
"""Times that the share must have risen for looks planned before to be planned anew."""

TRUSTED, DOUBTED = 0.25, 0.75
"""Below, callbacks are said to work; above, to have stopped."""

_MEMORY = 0.99
"""What one end later is left of the others, at least: a hundred of them count.

More do, where so many come within ``2 * SAFETY_NET * max_interval``: missed ends come in sweeps.
"""

_STOPS = 1e-4
"""How likely callbacks are to stop between two ends."""

_LEAK = 0.05
"""The share of ends that a hint may seem to announce though callbacks have stopped: forged ones."""

_SURELY = 100.0
"""The highest odds: three announced ends are enough to trust again."""


class Loss:
    """The share of ends that no callback announces: 1 until some are announced."""

    __slots__ = ("_at", "_ends", "_missed", "_odds", "_span", "chance")

    def __init__(
        self, span: float, *, missed: float = 1.0, ends: float = 1.0, odds: float = 0.0
    ) -> None:
        self._span = span
        """Seconds that ends are remembered, if there are many."""
        self._at = -math.inf
        self._missed = missed
        self._ends = ends
        self._odds = odds
        """That they have stopped, to one that they work as they did."""
        self.chance = self._mean()
        """That the next end is not announced: ``LEAST`` to 1.  Looks ask more often than it changes."""

    def _mean(self) -> float:
        return (self._odds + self._share) / (self._odds + 1.0)

    @property
    def _share(self) -> float:
        return max(LEAST, self._missed / self._ends)

    def announced(self, now: float) -> None:
        """An end had its callback."""
        self._odds *= min(1.0, _LEAK / max(1.0 - self._share, _LEAK))
        self._count(0.0, now)

    def missed(self, now: float, *, alone: bool) -> None:
        """An end had none; ``alone`` says that no later one had."""
        if alone:
            odds = (self._odds + _STOPS) * max(1.0, (1.0 - _LEAK) / self._share)
            self._odds = min(odds, _SURELY)
        self._count(1.0, now)

    def _count(self, missed: float, now: float) -> None:
        left = max(_MEMORY, math.exp(min(0.0, self._at - now) / self._span))
        self._at = now
        self._missed = left * self._missed + missed
        self._ends = left * self._ends + 1.0
        self.chance = self._mean()

    def dump(self) -> bytes:
        """What is worth keeping, with its version."""
        kept = {"v": VERSION, "missed": self._missed, "ends": self._ends, "odds": self._odds}
        return msgspec.json.encode(kept)

    @classmethod
    def load(cls, kept: bytes | None, span: float) -> Self:
        """What ``dump`` wrote; nothing known, if it is of another version or damaged.

        Nobody knows whether they still come: that they stopped is as likely as not, until one does.
        """
        try:
            found: Any = msgspec.json.decode(kept or b"{}")
            if found.get("v") != VERSION:
                return cls(span)
            missed, ends, odds = (float(found[name]) for name in ("missed", "ends", "odds"))
        except (msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError):
            return cls(span)
        if not (0.0 <= missed <= ends < math.inf and ends > 0.0 and 0.0 <= odds <= _SURELY):
            return cls(span)
        return cls(span, missed=missed, ends=ends, odds=max(odds, 1.0))


class _Hint:
    """What was heard about one job and not settled yet."""

    __slots__ = ("at", "looked_at", "open")

    def __init__(self, at: float) -> None:
        self.at = at
        self.looked_at = -math.inf
        self.open = True
        """No look was sent since."""


class Callbacks:
    """What was heard about the jobs of one source.  Jobs are known by ``rid``, strangers by name."""

    def __init__(self, min_interval: float, max_interval: float) -> None:
        self._span = 2.0 * SAFETY_NET * max_interval
        self.loss = Loss(self._span)
        self.heard = 0
        """Hints that came, about anybody."""
        self.strange = 0
        """Those about jobs that nobody watched then."""
        self.takes_over = False
        """Looks that are planned may be too far ahead; whoever plans them anew takes it back."""
        self.trusted = False
        """Whether they work well enough to be relied on."""
        self._min_interval = min_interval
        self._hints: dict[int, _Hint] = {}
        self._kept: OrderedDict[str, float] = OrderedDict()
        """Names nobody watches, and when they were heard."""
        self._silent: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Jobs that ended without a hint, when that counts, and about when they ended."""
        self._announced_at = -math.inf
        """When the last hint came that announced an end."""
        self._relied = 1.0

    @property
    def has_begun(self) -> bool:
        """Whether any came, to this process or to an earlier one."""
        return self.heard > 0 or self.loss.chance < 1.0

    @property
    def stretch(self) -> float:
        """How many times longer intervals are than without callbacks."""
        return 1.0 / math.sqrt(self.loss.chance)

    def load(self, kept: bytes | None) -> None:
        """Take up what ``loss.dump`` wrote."""
        self.loss = Loss.load(kept, self._span)

    # -- what comes in ------------------------------------------------------------------------

    def hint(self, rid: int, now: float) -> float | None:
        """Somebody speaks of a watched job: when it is due for it, None if it is already."""
        self.heard += 1
        hint = self._hints.get(rid)
        if hint is None:
            self._hints[rid] = _Hint(now)
            return now
        if hint.open:
            return None
        hint.at, hint.open = now, True
        return max(now, hint.looked_at + self._min_interval)

    def hint_of_stranger(self, name: str, now: float) -> None:
        """Somebody speaks of a job that isn't watched: not any more, not yet, or never."""
        self.heard += 1
        if self.late(name, now):
            return
        self.strange += 1
        if len(name) > LONGEST_ID:
            return
        self._kept[name] = now
        self._kept.move_to_end(name)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def late(self, name: str, now: float) -> bool:
        """A hint that our own look was faster than: whether there is such an end."""
        if self._silent.pop(name, None) is None:
            return False
        self._announced(now, now)
        return True

    def begin(self, rid: int, name: str, now: float) -> None:
        """A job is watched from now on; it may have been spoken of before."""
        at = self._kept.pop(name, None)
        if at is not None and now - at <= KEPT:
            self._hints[rid] = _Hint(at)

    # -- what looks find ----------------------------------------------------------------------

    def is_open(self, rid: int) -> bool:
        """Whether a hint about it waits for a look."""
        hint = self._hints.get(rid)
        return hint is not None and hint.open

    def goes_on(self, rid: int, *, asked: float) -> float:
        """A look found no end: by when to look again because of a hint, infinite if of none."""
        hint = self._hints.get(rid)
        if hint is None:
            return math.inf
        hint.looked_at = asked
        hint.open = hint.at > asked  # it came while we were asking
        since = max(0.0, asked - hint.at)
        if since >= max(FOLLOWED, self._min_interval):
            del self._hints[rid]
            return math.inf
        return asked + max(self._min_interval, since)

    def ended(
        self, rid: int, name: str, *, since: float, asked: float, counts: bool
    ) -> float | None:
        """A look found its end: when it was announced, None if it wasn't.

        It was alive at ``since``.  It ``counts`` unless it may have ended before anybody could hear
        of it.
        """
        hint = self._hints.pop(rid, None)
        if counts and hint is not None:
            self._announced(hint.at, asked)
        elif counts and self.has_begun:
            self._silent[name] = (asked + LATE, (since + asked) / 2.0)
        return None if hint is None else hint.at

    def forget(self, rid: int) -> None:
        """It isn't watched any more."""
        self._hints.pop(rid, None)

    # -- what it means ------------------------------------------------------------------------

    def next_verdict(self) -> float:
        """When the next end without a hint counts as missed."""
        return next(iter(self._silent.values()))[0] if self._silent else math.inf

    def settle(self, now: float) -> None:
        """No callback came for these ends, and none will."""
        while self.next_verdict() <= now:
            _, (_, ended_at) = self._silent.popitem(last=False)
            self.loss.missed(now, alone=ended_at > self._announced_at)
            self._weigh()

    def _announced(self, at: float, now: float) -> None:
        self._announced_at = max(self._announced_at, at)
        self.loss.announced(now)
        self._weigh()

    def _weigh(self) -> None:
        chance = self.loss.chance
        if chance > TAKE_OVER * self._relied:
            self.takes_over, self._relied = True, chance
        self._relied = min(self._relied, chance)
        if chance < TRUSTED or chance > DOUBTED:
            self.trusted = chance < TRUSTED
