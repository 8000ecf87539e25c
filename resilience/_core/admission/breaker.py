"""The circuit breaker of one endpoint: what fails all the time is left alone for a while.

    CLOSED --failures exceed successes--> OPEN(until) --until passes--> HALF-OPEN --alive--> CLOSED
                                            ^                               |              (paced)
                                            +--------- a probe failed ------+

Only what may be retried counts.  A quota rejection and a fatal answer prove that the endpoint is
alive, and heal like a success.  Nygard's *Release It!* (2007) has the idea; three things differ from
most libraries: callers wait for the probe's verdict instead of failing; the open time is short,
because a probe is one request; and afterwards traffic comes back at the rate it had before, because
everybody who waited would come at once and bring the endpoint down again.
"""

from dataclasses import dataclass

from resilience._core.admission.door import PROBE_LEASE, Door, View
from resilience._core.admission.model import Judgement, Permit, Reason, ScopeKey
from resilience._core.admission.pace import Pace
from resilience._core.instants import Instant, Now, later
from resilience._core.policy.model import Verdict

BLIP = 0.05
"""The share of a second's calls that may fail in a row: a server at its limit sheds them in bursts."""

RECOVERY = 10.0
"""Seconds after which an endpoint that came back is taken to be well."""

SLOWEST = 10.0
"""Calls a second with which traffic comes back at least."""

LOOK_BACK = 10.0
"""Seconds by which the rate before the failures is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """Settings of the breakers, one per endpoint.

    Args:
        failures: how far failures must exceed successes to open it (10).
        probes: calls that may find out at the same time whether it is alive (1).
        shortest: seconds that it is open the first time (0.25); twice as long each time a probe
            fails, spread between half and all of it.
        longest: seconds that it is open at most, unless a server asks for more (1.5).

    Raises:
        ValueError: a value that makes no sense.
    """

    failures: int = 10
    probes: int = 1
    shortest: float = 0.25
    longest: float = 1.5

    def __post_init__(self) -> None:
        for name in ("failures", "probes"):
            if getattr(self, name) < 1:
                msg = f"CircuitBreaker({name}={getattr(self, name)!r}): at least 1"
                raise ValueError(msg)
        if not 0 < self.shortest <= self.longest < float("inf"):
            msg = (
                f"CircuitBreaker(shortest={self.shortest!r}, longest={self.longest!r}): "
                "seconds, above 0 and in this order"
            )
            raise ValueError(msg)

    def open_time(self, trips: int, draw: float) -> float:
        """Seconds, after so many failed probes in a row."""
        return min(self.longest, self.shortest * 2.0 ** min(trips, 60)) * (0.5 + draw / 2.0)


class Breaker(Door):
    """Live state of one endpoint's breaker; ``open`` is the door's word: calls pass."""

    __slots__ = ("probing", "rate", "reopened_at", "settings", "trips")

    late = Reason.CIRCUIT

    def __init__(self, key: ScopeKey, settings: CircuitBreaker) -> None:
        super().__init__(key)
        self.settings = settings
        self.trips = 0
        self.rate = SLOWEST
        """Calls a second before it failed."""
        self.probing: dict[Permit, float] = {}
        """Who is finding out, and until when they may be silent."""
        self.reopened_at = 0.0

    @property
    def is_probing(self) -> bool:
        """Whether somebody is finding out."""
        return bool(self.probing)

    @property
    def lease_ends(self) -> float:
        """Loop time at which one more may find out."""
        return min(self.probing.values())

    def tick(self, now: Now) -> None:
        """Leases end, and an endpoint that came back is well some time."""
        if self.open and self.pace is not None:
            if now.loop - self.reopened_at >= RECOVERY or self.pace.forgettable(now.loop):
                self.pace = None
                self.trips = 0
        elif not self.open:
            for permit in [p for p, lease in self.probing.items() if lease <= now.loop]:
                del self.probing[permit]

    def look_closed(self, now: Now) -> View:
        """Wait, find out, or wait for those who do."""
        if self.until.left(now) > 0:
            return View.WAIT
        free = len(self.probing) < self.settings.probes
        return View.PROBE if free else View.PENDING

    # -- probes -------------------------------------------------------------------------------

    def admit_probe(self, permit: Permit, now: Now) -> None:
        """Let one caller through to find out."""
        self.probing[permit] = now.loop + PROBE_LEASE

    def release_probe(self, permit: Permit) -> None:
        """It ended without saying anything."""
        self.probing.pop(permit, None)

    def is_proven_by(self, judgement: Judgement) -> bool:
        """Any answer of the application is a sign of life."""
        return judgement.verdict is not Verdict.RETRYABLE

    def inconclusive(self, permit: Permit, now: Now) -> None:
        """A failed probe opens the circuit again, which is for ``trip``."""

    def reopen(self, now: Now) -> None:
        """The traffic comes back as it was."""
        self.open = True
        self.because = None
        self.probing.clear()
        self.reopened_at = now.loop
        self.pace = Pace.at_rate(self.rate, now.loop)

    def reset(self) -> None:
        """Wide open: somebody knows better."""
        super().reset()
        self.probing.clear()
        self.trips = 0

    # -- failures -----------------------------------------------------------------------------

    def patience(self, recent: float) -> float:
        """How far failures may exceed successes, with so many calls in the last second."""
        usual = recent if self.pace is None else self.rate
        return max(self.settings.failures, BLIP * usual)

    def trip(self, judgement: Judgement, now: Now, *, draw: float, epoch: int, rate: float) -> None:
        """Leave the endpoint alone for a while; ``rate`` is what it got before."""
        if self.open:
            # failed again while it came back: perhaps we came back too fast
            self.rate = max(rate if self.pace is None else self.rate / 2.0, SLOWEST)
        wait = max(self.settings.open_time(self.trips, draw), judgement.hint or 0.0)
        self.trips += 1
        self.open = False
        self.pace = None
        self.probing.clear()
        self.because = judgement.because
        self.closed_epoch = epoch
        self.until = Instant(loop=now.loop + wait)

    def merge(self, judgement: Judgement, now: Now) -> None:
        """A failure of before: only its hint can tell something new."""
        if not self.open and not self.probing and judgement.hint is not None:
            self.until = later(self.until, Instant(loop=now.loop + judgement.hint), now)
