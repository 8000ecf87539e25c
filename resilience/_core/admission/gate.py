"""The door of one scope: open, or closed until an instant and then re-opened by one caller.

    OPEN --rejection--> CLOSED(until) --until passes--> half-open --probe succeeds--> OPEN
                          ^                                 |
                          +-------- probe rejected ---------+   (one closing more, a longer wait)

Whoever goes first after ``until`` is the probe; the others wait for its verdict.  A probe is a
caller's own call.  It has a lease, so that one that hangs or was forgotten passes the role on.
"""

from enum import Enum
from typing import Any

from resilience._core.admission.model import Judgement, Permit, Reason, ScopeKey
from resilience._core.instants import Instant, Now, later
from resilience._core.policy.model import Recovers, Verdict

PROBE_LEASE = 5.0
"""Seconds after which a silent probe of a window no longer holds up the others."""

SHORTEST_CLOSING = 0.05
"""Seconds.  Whatever policy and hints say: a rejected call may not be sent again at once, for ever."""


class View(Enum):
    """How a door looks to one who wants to pass now."""

    OPEN = "open"
    WAIT = "wait"
    PROBE = "probe"
    PENDING = "pending"
    SHUT = "shut"


class Gate:
    """One scope's door.  Changed only by the functions of this room."""

    __slots__ = (
        "because", "closed_epoch", "closings", "first_closed", "key", "kind", "lease_until",
        "open", "probe", "until",
    )  # fmt: skip

    def __init__(self, key: ScopeKey) -> None:
        self.key = key
        self.open = True
        self.kind = Recovers.WINDOW
        self.until = Instant(loop=0.0)
        self.closings = 0
        self.first_closed = 0.0
        self.closed_epoch = 0
        self.probe: Permit | None = None
        self.lease_until = 0.0
        self.because: Any = None

    @property
    def patient(self) -> bool:
        """Whether waiting in front of it makes sense: windows and cool-downs come back soon."""
        return self.kind is not Recovers.EXHAUSTED

    def look(self, now: Now) -> View:
        """What one who wants to pass would find."""
        if self.open:
            return View.OPEN
        if self.until.left(now) > 0:
            return View.WAIT if self.patient else View.SHUT
        if self.probe is not None and now.loop < self.lease_until:
            return View.PENDING if self.patient else View.SHUT
        return View.PROBE

    def opens(self, now: Now) -> Instant:
        """When one more caller may pass; for a pending probe, when its lease ends."""
        if self.until.left(now) <= 0 and self.probe is not None:
            return Instant(loop=self.lease_until)
        return self.until

    def refusal_reason(self) -> Reason:
        """Why it does not let people wait."""
        latched = getattr(self.because, "verdict", None) is Verdict.FATAL
        return Reason.REFUSED if latched else Reason.EXHAUSTED

    def admit_probe(self, permit: Permit, now: Now) -> None:
        """Let one caller through to find out."""
        self.probe = permit
        rule = getattr(self.because, "rule", None)
        patience = PROBE_LEASE if self.patient or rule is None else rule.probe_every
        self.lease_until = now.loop + patience

    def release_probe(self, permit: Permit) -> None:
        """The probe ended without saying anything about the door."""
        if self.probe is permit:
            self.probe = None

    def inconclusive(self, permit: Permit, now: Now) -> None:
        """The probe failed for another reason: somebody else must find out, but not in a rush."""
        if self.probe is permit and not self.patient:
            pause = getattr(getattr(self.because, "rule", None), "probe_every", PROBE_LEASE)
            self.until = later(self.until, Instant(loop=now.loop + pause), now)
        self.release_probe(permit)

    def reopen(self) -> None:
        """Everybody may pass again."""
        self.open = True
        self.probe = None
        self.closings = 0
        self.because = None
        self.kind = Recovers.WINDOW

    def close(self, judgement: Judgement, now: Now, draw: float, epoch: int) -> None:
        """A fresh rejection: one closing more."""
        escalate = judgement.rule.escalate
        if self.closings == 0 or (
            escalate and now.loop - (self.until.loop or 0.0) > escalate.within
        ):
            self.closings = 0  # nobody knocked for so long that this is a new story
            self.first_closed = now.loop
        wait = judgement.rule.wait.delay(self.closings, draw)
        self.closings += 1
        self.open = False
        self.probe = None
        self.closed_epoch = epoch
        self.because = judgement.because
        self.kind = judgement.recovers or Recovers.EXHAUSTED
        if self._escalates(judgement, now):
            self.kind = Recovers.EXHAUSTED
        self.until = self._until(judgement, now, wait)

    def merge(self, judgement: Judgement, now: Now) -> None:
        """An old rejection, sent before the door closed: only its hint can tell something new."""
        if not self.open and judgement.hint is not None and self.probe is None:
            self.until = later(self.until, Instant(loop=now.loop + judgement.hint), now)

    def _escalates(self, judgement: Judgement, now: Now) -> bool:
        escalate = judgement.rule.escalate
        if escalate is None or self.kind is not Recovers.WINDOW:
            return False
        too_long = now.loop - self.first_closed >= escalate.within
        return too_long or self.closings >= escalate.rejections

    def _until(self, judgement: Judgement, now: Now, wait: float) -> Instant:
        hint = (
            judgement.hint or None
        )  # "come back after 0 s" is no answer to a lock or an empty balance
        if judgement.resets_at is not None:
            reset = Instant(wall=judgement.resets_at)
            return later(reset, Instant(loop=now.loop + (hint or 0.0)), now)
        if self.kind is Recovers.EXHAUSTED:
            wait = judgement.rule.probe_every if hint is None else hint
        elif self.kind is Recovers.COOLDOWN:
            wait = wait if hint is None else hint  # the server knows its lock better than the docs
        else:
            wait = max(wait, hint or 0.0)  # a hint is a floor, never jittered below
        return Instant(loop=now.loop + max(wait, SHORTEST_CLOSING))
