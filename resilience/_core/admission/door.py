"""What gates and breakers have in common: open, closed until an instant, or open at a pace."""

from enum import Enum
from typing import Any

from resilience._core.admission.model import Judgement, Permit, Reason, ScopeKey
from resilience._core.admission.pace import Pace
from resilience._core.instants import Instant, Now

PROBE_LEASE = 5.0
"""Seconds after which a silent probe no longer holds up the others."""


class View(Enum):
    """How a door looks to one who wants to pass now."""

    OPEN = "open"
    WAIT = "wait"
    PROBE = "probe"
    PENDING = "pending"
    SHUT = "shut"


class Door:
    """Something that a call must pass.  Changed only by the functions of this room."""

    __slots__ = ("because", "closed_epoch", "key", "open", "pace", "until")

    late: Reason | None = None
    """The reason given to those who can't wait for it, if it is a reason of its own."""

    def __init__(self, key: ScopeKey) -> None:
        self.key = key
        self.open = True
        self.pace: Pace | None = None
        self.until = Instant(loop=0.0)
        self.because: Any = None
        """What closed it, as the judgement said."""
        self.closed_epoch = 0

    @property
    def restricted(self) -> bool:
        """Whether a call has to ask."""
        return not self.open or self.pace is not None

    @property
    def state(self) -> str:
        """In one word: ``open``, ``paced``, ``closed`` or ``probing``."""
        if self.open:
            return "open" if self.pace is None else "paced"
        return "probing" if self.is_probing else "closed"

    @property
    def is_probing(self) -> bool:
        """Whether somebody is finding out."""
        raise NotImplementedError

    def tick(self, now: Now) -> None:
        """What time alone changes."""
        raise NotImplementedError

    def look(self, now: Now, cost: float = 1.0) -> View:
        """What one who wants to pass would find."""
        if self.open:
            waits = self.pace is not None and self.pace.wait(cost, now.loop) > 0
            return View.WAIT if waits else View.OPEN
        return self.look_closed(now)

    def look_closed(self, now: Now) -> View:
        """The same while it is closed."""
        raise NotImplementedError

    def opens(self, now: Now, cost: float = 1.0) -> Instant:
        """When one more caller may pass; for a pending probe, when its lease ends."""
        if self.open:
            wait = self.pace.wait(cost, now.loop) if self.pace else 0.0
            return Instant(loop=now.loop + wait)
        if self.until.left(now) <= 0 and self.is_probing:
            return Instant(loop=self.lease_ends)
        return self.until

    @property
    def lease_ends(self) -> float:
        """Loop time at which one more may find out."""
        raise NotImplementedError

    def surely_shut(self, now: Now, ahead: float) -> float:
        """Seconds that a caller must wait at least, with so many units of others before it.

        What is learned of the pace may be wrong, and it grows: twice as fast is thought possible.
        """
        left = 0.0 if self.open else max(self.until.left(now), 0.0)
        if self.pace is None or self.pace.first:
            return left
        saved = max(self.pace.tokens if self.open else self.pace.units, self.pace.units)
        return left + max(0.0, ahead - saved) / (2.0 * self.pace.rate)

    # -- probes -------------------------------------------------------------------------------

    def admit_probe(self, permit: Permit, now: Now) -> None:
        """Let one caller through to find out."""
        raise NotImplementedError

    def release_probe(self, permit: Permit) -> None:
        """The probe ended without saying anything about the door."""
        raise NotImplementedError

    def is_proven_by(self, judgement: Judgement) -> bool:
        """Whether a probe that ended so was let in."""
        raise NotImplementedError

    def inconclusive(self, permit: Permit, now: Now) -> None:
        """The probe failed for another reason: somebody else must find out, but not in a rush."""
        raise NotImplementedError

    def reopen(self, now: Now) -> None:
        """Everybody may pass again, at the pace that was learned, if any."""
        raise NotImplementedError

    def reset(self) -> None:
        """Wide open: somebody knows better."""
        self.pace = None
        self.open = True
        self.because = None
