"""What looks could cost at least: known laws, the optimum for them, and fleets of jobs under one limit.

Nothing here uses what it measures.  Lengths are seconds; a law is a distribution of how long jobs
take; a plan is the ages at which a job is looked at until it is found to have ended.
"""

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

_NORMAL = NormalDist()
POINTS = 1000


@dataclass(frozen=True, slots=True)
class Law:
    """How long jobs take: the part that has ended by an age, and one of them."""

    ended_by: Callable[[float], float]
    draw: Callable[[random.Random], float]


def lognormal(median: float, sigma: float) -> Law:
    """The logarithm is normal."""
    return Law(
        lambda t: _NORMAL.cdf(math.log(t / median) / sigma) if t > 0 else 0.0,
        lambda rng: median * math.exp(sigma * rng.gauss(0.0, 1.0)),
    )


def either(one: Law, other: Law) -> Law:
    """Half of the one, half of the other."""
    return Law(
        lambda t: (one.ended_by(t) + other.ended_by(t)) / 2.0,
        lambda rng: (one if rng.random() < 0.5 else other).draw(rng),
    )


def slower(law: Law, factor: float) -> Law:
    """The same, so many times slower."""
    return Law(lambda t: law.ended_by(t / factor), lambda rng: factor * law.draw(rng))


LAWS = {
    "lognormal, sigma 0.3": lognormal(120.0, 0.3),
    "lognormal, sigma 0.6": lognormal(120.0, 0.6),
    "lognormal, sigma 1.0": lognormal(120.0, 1.0),
    "bimodal, 40 s or 300 s": either(lognormal(40.0, 0.2), lognormal(300.0, 0.2)),
    # a Lomax: its variance is infinite
    "heavy tail": Law(
        lambda t: 1.0 - (1.0 + t / 60.0) ** -1.5 if t > 0 else 0.0,
        lambda rng: 60.0 * ((1.0 - rng.random()) ** (-1.0 / 1.5) - 1.0),
    ),
}


class Ground:
    """A law on a fine grid of ages, from one in 10,000 to all but three in 10,000."""

    def __init__(self, law: Law) -> None:
        first = last = 1.0
        while law.ended_by(first) > 1e-4:
            first /= 1.1
        while law.ended_by(last) < 1.0 - 3e-4:
            last *= 1.05
        ratio = (last / first) ** (1.0 / POINTS)
        self.ages = [0.0, *(first * ratio**i for i in range(POINTS + 1))]
        self.ended = [law.ended_by(age) for age in self.ages]
        self.ended[-1] = 1.0
        self.waited = [0.0]  # the integral of ``ended``
        for i in range(1, len(self.ages)):
            part = (self.ages[i] - self.ages[i - 1]) * (self.ended[i] + self.ended[i - 1]) / 2.0
            self.waited.append(self.waited[-1] + part)

    def cost(self, plan: Iterable[float]) -> tuple[float, float]:
        """Mean delay and mean looks of a plan that goes beyond the last end."""
        delay = looks = 0.0
        age, ended, waited = 0.0, 0.0, 0.0
        for look in plan:
            i = min(max(bisect_left(self.ages, look), 1), len(self.ages) - 1)
            if look >= self.ages[-1]:
                by_then, until = 1.0, self.waited[-1] + look - self.ages[-1]
            else:
                part = (look - self.ages[i - 1]) / (self.ages[i] - self.ages[i - 1])
                by_then = self.ended[i - 1] + part * (self.ended[i] - self.ended[i - 1])
                until = self.waited[i - 1]
                until += (look - self.ages[i - 1]) * (self.ended[i - 1] + by_then) / 2.0
            looks += 1.0 - ended
            delay += until - waited - ended * (look - age)
            age, ended, waited = look, by_then, until
            if ended >= 1.0:
                break
        return delay, looks

    def best(self, price: float) -> list[float]:
        """The plan with the least delay + price * looks (Barlow, Hunter and Proschan).

        By dynamic programming over the grid.
        """
        ages, ended, waited = self.ages, self.ended, self.waited
        last = len(ages) - 1
        rest, following = [0.0] * (last + 1), [last] * (last + 1)
        for i in range(last - 1, -1, -1):
            least = math.inf
            for j in range(i + 1, last + 1):
                delay = waited[j] - waited[i] - ended[i] * (ages[j] - ages[i])
                if delay > least:
                    break
                if delay + rest[j] < least:
                    least, following[i] = delay + rest[j], j
            rest[i] = price * (1.0 - ended[i]) + least
        plan, i = [], 0
        while i < last:
            i = following[i]
            plan.append(ages[i])
        return plan

    def frontier(self, prices: Iterable[float]) -> list[tuple[float, float]]:
        """Pairs of looks and the least delay with so many, fewest looks first."""
        return sorted(self.cost(self.best(price))[::-1] for price in prices)


PRICES = [0.1 * 1.5**i for i in range(18)]


def least_delay(frontier: list[tuple[float, float]], looks: float) -> float:
    """The least delay with so many looks on average, between two points of the frontier."""
    for (few, late), (many, soon) in pairwise(frontier):
        if few <= looks <= many:
            part = math.log(looks / few) / math.log(many / few)
            return math.exp((1.0 - part) * math.log(late) + part * math.log(soon))
    raise ValueError(f"{looks} looks are outside {frontier[0][0]} to {frontier[-1][0]}")


# -- a fleet under one limit ----------------------------------------------------------------------


@dataclass(slots=True)
class Piece:
    """One job: when it began, what its length foretells, and how long it takes."""

    name: str
    born: float
    length: float
    takes: float

    @property
    def ends_at(self) -> float:
        """When it ends."""
        return self.born + self.takes


class Order:
    """Decides who is looked at."""

    def add(self, piece: Piece) -> None:
        """It begins now."""
        raise NotImplementedError

    def pick(self, most: int, now: float) -> list[Piece]:
        """Look at these."""
        raise NotImplementedError

    def saw(self, pieces: list[Piece], now: float) -> None:
        """What the look at the picked ones found."""
        raise NotImplementedError


class RoundRobin(Order):
    """Whoever was not looked at for longest."""

    def __init__(self) -> None:
        self._queue: list[Piece] = []

    def add(self, piece: Piece) -> None:
        """At the end."""
        self._queue.append(piece)

    def pick(self, most: int, now: float) -> list[Piece]:  # noqa: ARG002
        """From the front."""
        picked, self._queue = self._queue[:most], self._queue[most:]
        return picked

    def saw(self, pieces: list[Piece], now: float) -> None:
        """Those that go on, at the end."""
        self._queue += [piece for piece in pieces if piece.ends_at > now]


class Queue(Order):
    """A fixed or growing interval for each job, behind a limit: whoever has been due for longest."""

    def __init__(self, interval: Callable[[int], float]) -> None:
        self._interval = interval
        self._due: dict[str, tuple[float, int, Piece]] = {}

    def add(self, piece: Piece) -> None:
        """Due after its first interval."""
        self._due[piece.name] = (piece.born + self._interval(0), 0, piece)

    def pick(self, most: int, now: float) -> list[Piece]:
        """Those that are due."""
        due = sorted((one for one in self._due.values() if one[0] <= now), key=lambda one: one[0])
        return [piece for _, _, piece in due[:most]]

    def saw(self, pieces: list[Piece], now: float) -> None:
        """Due again, after the next interval."""
        for piece in pieces:
            _, looks, _ = self._due.pop(piece.name)
            if piece.ends_at > now:
                self._due[piece.name] = (now + self._interval(looks + 1), looks + 1, piece)


class Oracle(Order):
    """Knows the law of each job given its length, and compares all jobs at every request."""

    def __init__(self, noise: float) -> None:
        self._seen: dict[str, tuple[Piece, float, float]] = {}
        self._ages = [0.0, *(math.exp(-2.0 + 0.01 * i) for i in range(420))]
        self._sums, self._roots = [0.0], [0.0]
        for age, older in zip(self._ages, self._ages[1:], strict=False):
            left = _NORMAL.cdf(-math.log(age) / noise) if age else 1.0
            then = _NORMAL.cdf(-math.log(older) / noise)
            hazard = math.log(max(left, 1e-300) / max(then, 1e-300))
            self._sums.append(self._sums[-1] + hazard)
            self._roots.append(self._roots[-1] + math.sqrt(hazard * (older - age)))

    def _until(self, piece: Piece, now: float) -> tuple[float, float]:
        age = min((now - piece.born) / piece.length, self._ages[-1])
        i = min(bisect_right(self._ages, age) - 1, len(self._ages) - 2)
        part = (age - self._ages[i]) / (self._ages[i + 1] - self._ages[i])
        return tuple(  # type: ignore[return-value]
            values[i] + part * (values[i + 1] - values[i]) for values in (self._sums, self._roots)
        )

    def add(self, piece: Piece) -> None:
        """Nothing was seen of it."""
        self._seen[piece.name] = (piece, 0.0, 0.0)

    def pick(self, most: int, now: float) -> list[Piece]:
        """The highest index of all."""

        def index(one: tuple[Piece, float, float]) -> float:
            piece, before, roots_before = one
            hazard, root = self._until(piece, now)
            hazard, root = min(hazard - before, 50.0), root - roots_before
            late = (
                0.5 + hazard / 6.0 if hazard < 1e-3 else (math.expm1(hazard) - hazard) / hazard**2
            )
            return piece.length * root * root * late

        best = sorted(self._seen.values(), key=index, reverse=True)
        return [piece for piece, _, _ in best[:most]]

    def saw(self, pieces: list[Piece], now: float) -> None:
        """They are known to have lived until now."""
        for piece in pieces:
            if piece.ends_at > now:
                self._seen[piece.name] = (piece, *self._until(piece, now))
            else:
                del self._seen[piece.name]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Jobs that come as fast as they end, and one request a second that looks at ``batch`` of them.

    Lengths are lognormal with a sigma of 1 and a median of two minutes; a job takes its length, give
    or take ``noise``.
    """

    jobs: int = 1000
    batch: int = 20
    until: float = 1800.0
    warm: float = 800.0
    noise: float = 0.25
    seed: int = 1

    def run(self, order: Order) -> list[float]:
        """The delays of all ends that were seen after the warm-up, in order of size."""
        rng = random.Random(self.seed)
        rate = self.jobs / (120.0 * math.exp((1.0 + self.noise**2) / 2.0))
        number, coming, delays = 0, 0.0, []

        def begin(at: float) -> None:
            nonlocal number
            number += 1
            length = 120.0 * math.exp(rng.gauss(0.0, 1.0))
            takes = length * math.exp(self.noise * rng.gauss(0.0, 1.0))
            order.add(Piece(f"j{number}", at, length, takes))

        for _ in range(self.jobs):
            begin(0.0)
        coming = rng.expovariate(rate)
        for now in map(float, range(1, int(self.until) + 1)):
            while coming < now:
                begin(coming)
                coming += rng.expovariate(rate)
            picked = order.pick(self.batch, now)
            order.saw(picked, now)
            if now > self.warm:
                delays += [now - one.ends_at for one in picked if one.ends_at <= now]
        return sorted(delays)
