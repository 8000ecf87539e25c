"""How fast to go on after a rejection: what was accepted is the measure, and growth is cautious.

A limit is unknown, and it may be of any kind: calls per window, tokens per minute, calls in flight.
So two things are learned, and both must allow a call:

* a **rate**: what was accepted lately, over the time that it took (a closed door counts as time);
* a **window**: how many calls were in flight, accepted, when one more was rejected.  It is dropped
  as soon as a call is rejected while clearly fewer are under way than were accepted together.

After a closing both start a little below what was measured, touch it after one ``period``, and then
grow like a cubic, as CUBIC does for TCP (RFC 9438): flat where the limit was last seen, so that
rejections are rare, and ever steeper beyond it, so that a limit that was doubled is found within
five periods.  Only time in which somebody had to wait counts: growth that nobody used proves
nothing.  Before the second closing the measure is a guess, so a period makes it twice as fast.

Two guards may share a limit without knowing of each other.  They come to equal shares if both grow by
the same amount and lose the same share (AIMD, Chiu and Jain 1989); a cubic grows by a share too, which
leaves the shares as they are.  So a *fast* pace, which a rate limits, grows by ``SHARE`` calls a second
for two periods, and only then in leaps.  What else would give all to the one who came first:

* a measure over less than a second, or a growth of four times in it: the first one back takes the whole
  window, and the second finds every probe of its own rejected;
* a window of calls in flight that is none: under the guard whose calls are few it never grows;
* small decreases of a pace that is far too fast: others are rejected as often, and decrease as well.

When the server said when to come back, its window opens at that instant, and what one window
accepted goes at once; otherwise nobody knows where in its window the server is, and calls are spread
evenly.
"""

import math

from resilience._core.admission.meter import Meter

BETA = 0.03
"""How far below the measured pace a new period starts."""

STEADY_CALLS = 100
"""A period lasts at least as long as so many calls take: a slow limit is not tested all the time."""

STEADY_SECONDS = 10.0
"""Seconds that a slow limit's period need not exceed for that: what was measured of a few calls may be
wrong, and then nobody must wait for minutes to find out."""

FEW = 8
"""Calls of a period at the least."""

UNMEASURED = 10.0
"""Calls a second to begin with if nothing was accepted before the first rejection."""


BURST = 0.05
"""Seconds of the rate that may be saved up: timers are late, and light closings are made up for."""

SOLID = 0.6
"""A pace that carried this share of a period's calls was nearly right."""

FORGET = 8.0
"""Periods of growth after which the limit is taken to be gone: the pace is 11 times the measure."""

FORGET_IDLE = 600.0
"""Seconds without a rejection or anybody waiting after which a pace is old news."""

DECREASE = 0.95
"""What becomes at the most of a pace that was too fast before it could prove itself."""

DECREASE_LEAST = 0.6
"""And at the least, however little was accepted: the measure of a moment is noise."""

SHRINK = 0.7
"""What a period becomes after a second light closing in a row."""

ROOMY = 1.5
"""How far a window that was not full is from limiting what the rate allows."""

FAST = 10.0
"""Calls a second from which a limit is tested every other second, whoever else may use it."""

SHORTEST_PERIOD = 1.0
"""Seconds that a rate is measured over at the least: nobody's window is shorter."""

BRIEF = 1.25
"""A call that is answered within this many times what a rejection takes was not held by the server, so
calls in flight can't be what it limits."""

LINEAR = 0.01
"""By how much of itself a slow pace grows in a second besides: others may have left."""

MEMORY = 20.0
"""Seconds in which half of the fastest measure is forgotten.  Until then a much slower one is taken
for a stranger's doing, not for the limit: it is tested as often as the faster one would be."""

MANY = 12
"""Calls that a measure must be made of to be remembered: a few that came at once are no rate."""

SHARE = 2.0
"""Calls a second by which a fast pace grows in a second: the same for those who have little and those
who have much, while a decrease is a share of what each has."""

LEAP = 0.06
"""How a fast pace grows after two periods in which nothing was rejected: it has doubled in five."""

_NONE = 1e-9
_NAP = 1e-6
_SHORTEST = 1e-3


def growth(periods: float, *, first: bool) -> float:
    """The factor on what was measured, so many busy periods after the last closing."""
    if first:
        return math.exp2(periods)
    return 1.0 + BETA * (periods - 1.0) ** 3


def leap(periods: float) -> float:
    """The same for a fast pace, besides what it adds in a second."""
    return 1.0 - BETA + LEAP * max(periods - 2.0, 0.0) ** 3


class Pace:
    """What is known about the limit of one scope.  Times are loop seconds, units are costs of calls.

    Args:
        units: accepted before the first closing, in the ``span`` seconds before it.
        in_flight: calls under way at that moment.
        peak: the most that were under way when a call went that was accepted.
        took: seconds that an answer takes.
        unit: units that a call takes on average.
    """

    __slots__ = (
        "_at", "_best", "_best_at", "_busy_rate", "_busy_window", "_fast", "_fastest", "_flowing_since",
        "_guessed", "_known",
        "_lasted", "_lights", "_meter", "_reaction", "_rejected_at", "_shut_at", "_was_first",
        "base", "burst", "by_rate", "carried", "closed_at", "cycle", "first", "in_flight", "level",
        "period", "slope", "span", "tokens", "took", "unit", "units", "window",
    )  # fmt: skip

    def __init__(
        self,
        now: float,
        *,
        units: float,
        span: float,
        in_flight: int,
        peak: int,
        took: float,
        unit: float = 1.0,
    ) -> None:
        self.units = units
        self.span = span
        self.level = in_flight
        self.took = took
        self._guessed = True
        self.slope = 0.0
        self._known = self._was_first = False
        self._fastest = self._lasted = 0.0
        self._reaction = took
        self.closed_at = self._shut_at = self._at = self._flowing_since = self._rejected_at = now
        self.first = True
        self.by_rate = False
        self.base = 1.0
        self.window: float = max(peak, 1)
        self.period = self.cycle = 1.0
        self.tokens = 0.0
        self.burst = self.unit = unit
        self.in_flight = 0
        self.carried = 0.0
        self._lights = 0
        self._busy_rate = self._busy_window = 0.0
        self._best = 0.0
        self._best_at = now
        self._fast = False
        self._meter = Meter(1.0, now)

    @classmethod
    def at_rate(cls, rate: float, now: float) -> "Pace":
        """Go on at a rate that is known to be right."""
        pace = cls(now, units=rate, span=1.0, in_flight=0, peak=1, took=_SHORTEST)
        pace.first, pace.by_rate, pace._known = False, True, True
        pace.base = rate
        pace.burst = max(pace.unit, rate * BURST)
        pace.tokens = pace.unit
        return pace

    # -- now ----------------------------------------------------------------------------------

    @property
    def rate(self) -> float:
        """Units per second at this moment."""
        periods = self._busy_rate
        grown = leap(periods) if self._fast else growth(periods, first=self.first)
        return self.base * grown + self.slope * periods * self.period

    @property
    def room(self) -> float:
        """Calls that may be in flight at this moment."""
        if self.by_rate:
            return math.inf
        return max(1.0, self.window * growth(self._busy_window, first=self.first) + 0.5)

    @property
    def _full(self) -> bool:
        return self.in_flight + 1 > self.room

    def _refill(self, now: float) -> None:
        passed = now - self._at
        if passed <= 0:
            return
        self._at = now
        full = self._full
        if full:
            # half as fast: one call more is a big step when only a few fit
            self._busy_window += passed / self.period / (1 if self.first else 2)
        rate = self.rate
        if self.tokens < self.burst:
            if self.tokens < self.unit and not full:
                self._busy_rate += min(passed, (self.unit - self.tokens) / rate) / self.period
            self.tokens = min(self.burst, self.tokens + rate * passed)

    def wait(self, cost: float, now: float) -> float:
        """Seconds until a call of this cost may go, 0 for now; a guess if the window is full."""
        self._refill(now)
        if self._full:
            return self.period / 8
        # what costs more than can be saved goes when all is saved, and leaves a debt
        missing = min(cost, self.burst) - self.tokens
        if missing <= _NONE * max(1.0, cost):
            return 0.0
        return max(missing / self.rate, _NAP)  # less would not move the clock

    def take(self, cost: float, now: float) -> None:
        """One call goes."""
        self._refill(now)
        self.unit += 0.1 * (cost - self.unit)
        self.tokens -= cost
        self.carried += cost
        self._meter.add(cost, now)
        self.in_flight += 1

    def refund(self, cost: float, now: float) -> None:
        """A call that went was rejected, or never left: it was not accepted."""
        self.carried -= cost
        self._meter.add(-cost, now)

    def release(self, sent_at: float, now: float, *, accepted: bool) -> None:
        """A call is no longer under way."""
        self._refill(now)
        self.in_flight -= 1
        if accepted:
            took = now - sent_at
            self.took = took if self._guessed else self.took + 0.1 * (took - self.took)
            self._guessed = False

    def forgettable(self, now: float) -> bool:
        """Whether the limit seems to be gone, or was not felt for long."""
        grown = max(self._busy_rate, self._busy_window) >= FORGET
        return grown or now - max(self._rejected_at, self._at) > max(FORGET_IDLE, self.period)

    # -- closings -----------------------------------------------------------------------------

    @property
    def is_solid(self) -> bool:
        """Whether this pace has carried enough to be nearly right."""
        return self.carried >= max(SOLID * self.base * self.cycle, self.unit)

    def close(self, reaction: float, now: float) -> None:
        """A call was rejected, first of those that are under way, so long after it went."""
        self._reaction = reaction
        self._lasted = now - self._flowing_since
        self._fastest = self.rate
        self._was_first, self.first = self.first, False
        self._rejected_at = self.closed_at = self._shut_at = now
        self.units = self._meter.recent(2.0 * self.period, now)
        self.span = self._meter.age(2.0 * self.period, now)
        self.level = self.in_flight

    def still_shut(self, now: float) -> None:
        """A probe was rejected."""
        self._shut_at = now

    def correct(self, cost: float) -> None:
        """One more of those under way at the closing was rejected too."""
        self.units -= cost
        self.level -= 1

    def resume(self, now: float) -> None:
        """Go on after a light closing: nothing new about the period."""
        closed = now - self.closed_at
        lasted = max(self._lasted, _SHORTEST)
        solid = lasted > self.cycle
        if not solid:
            self._fastest = max(self._fastest, self.carried / lasted)
        if self._was_first:
            # between what was accepted on the way up and where the way ended
            self._measured(math.sqrt(self.carried / (lasted + closed) * self._fastest))
        else:
            accepted = self.units / self.span
            bounded = min(max(accepted, self.base * DECREASE_LEAST), self.base * DECREASE)
            self._measured(accepted if solid else bounded)
        self._lights += 1
        if self._lights > 1:  # the last one was followed by no other: the period may be shorter
            steady = STEADY_CALLS * self.unit / self.base
            self.cycle = max(self.cycle * SHRINK, min(self.cycle, steady))
        self._restart(now)
        if not self._was_first:
            self.tokens = max(self._made_up(closed), 0.0)
        self._was_first = False

    def _made_up(self, closed: float) -> float:
        """What may go at once after a light closing: the calls that it held up for nothing.

        The faster the pace was, the sooner it had used up its window.  What of the rest of that
        window was closed is no loss, and what went too fast after its end counts already.
        """
        over = max(self._fastest / self.base - 1.0, 0.0) / 2.0  # on average: it was growing
        rest = self.cycle * over / (1.0 + over)
        missed = closed - max(rest - self._reaction, 0.0)
        return self.rate * min(missed, self.cycle * SOLID) - self.base * over * max(
            self._reaction - rest, 0.0
        )

    def reopen(self, now: float, *, told: bool) -> None:
        """Go on after a closing of some length; ``told``: the server said when.

        The time for which the limit was closed is a part of the window that was used up.  If it was
        not told, it ended at some time after the last rejection; early is guessed, because too fast a
        pace is found out much sooner than one too slow, and of two guards who guesses late falls behind.
        """
        if told:
            ended, shortest = now, _SHORTEST
        elif self._is_rate:
            ended, shortest = self._shut_at, SHORTEST_PERIOD
        else:  # those under way went on being served
            ended, shortest = self._shut_at + (now - self._shut_at) / 4.0, _SHORTEST
        cycle = max(self.span + ended - self.closed_at, shortest)
        accepted = max(self.units, self.unit)
        rate = accepted / cycle
        unmeasured = self.first and self.units < self.unit
        if unmeasured:  # nothing was accepted
            rate, cycle = max(rate, UNMEASURED * self.unit), min(cycle, 1.0)
        self._measured(rate)
        if told or self._lasted < self.period * 1.5:
            self.cycle = cycle
        self._lights = 0
        self._restart(now, told=told)
        self._meter = Meter(self.period, now)
        if unmeasured:
            self.tokens = self.unit
        elif told and self.by_rate:
            self.tokens = (
                min(accepted, accepted / cycle * (now - self.closed_at + self.span)) - self.unit
            )

    @property
    def _is_rate(self) -> bool:
        """Whether what is limited can't be the number of calls in flight."""
        brief = not self._guessed and self.took <= BRIEF * self._reaction
        return self.by_rate or brief or self.level <= 0 or self.level * 3 < self.window

    def _measured(self, rate: float) -> None:
        """Take a new measure: of the rate, and of the window if that is what was full."""
        known = self.base if self._known else 0.0
        self.by_rate = self._is_rate
        filled = not self.by_rate and (self.level + 1) * 1.1 >= self.window
        fits = 0.0
        if filled and not self._guessed:  # a window of calls that end at once is no measure
            fits = min(self.level * self.unit / max(self.took, _SHORTEST), 4.0 * rate)
        self.base = max(rate, fits, known / 2.0, 1e-6)
        # Little's law: so many are under way at the measured rate, whatever else was measured
        usual = 0.0 if filled else ROOMY * self.base * self.took / self.unit
        self.window = max(self.level, usual, known and self.window / 2.0, 1.0)
        self._known = True

    def _restart(self, now: float, *, told: bool = False) -> None:
        self._at = self._flowing_since = now
        self._busy_rate = self._busy_window = 0.0
        calls = 0 if self.first else STEADY_CALLS / 10 if told else STEADY_CALLS
        best = self._remember(now)
        steady = min(calls * self.unit / best, max(STEADY_SECONDS, FEW * self.unit / best))
        self.slope = 0.0 if self.first else LINEAR * self.base
        self._fast = False
        if self.by_rate:
            steady = max(steady, SHORTEST_PERIOD)
            if best >= FAST * self.unit:
                steady = SHORTEST_PERIOD
                if best > self.base:
                    self.cycle = min(self.cycle, SHORTEST_PERIOD)
                if not self.first:
                    self._fast, self.slope = True, SHARE * self.unit
        self.period = self.cycle = max(self.cycle, steady)
        self._meter.period = self.period
        self.carried = 0.0
        self.burst = max(self.unit, self.base * BURST)
        self.tokens = min(max(self.tokens, 0.0), self.burst)

    def _remember(self, now: float) -> float:
        """The fastest measure of late."""
        remembered = self._best * math.exp2((self._best_at - now) / MEMORY)
        few = self.units < MANY * self.unit
        if few or self.base < remembered:
            return max(self.base, remembered)
        self._best, self._best_at = self.base, now
        return self.base
