"""The door of one scope: wide open, closed until an instant, or open at a learned pace.

    OPEN --rejection--> CLOSED(until) --until passes--> half-open --probe lives--> PACED --> OPEN
                          ^   |                             |                        |
                          |   +--- a light closing -------------------------------->-+
                          +----- probe rejected (a longer wait), or the pace was --<-+

Whoever goes first after ``until`` is the probe; the others wait for its verdict.  A probe is a
caller's own call.  It has a lease, so that one that hangs or was forgotten passes the role on; a
window's rejections come fast, so a probe that is silent for much longer was let in.

A pace that carried its calls and is then told "busy" was only a little too fast: the closing is
*light*, the shortest that the rule's schedule allows, and needs no probe.
"""

import math
from typing import Any

from resilience._core.admission.door import PROBE_LEASE, Door, View
from resilience._core.admission.model import Judgement, Permit, Reason, ScopeKey, Ticket
from resilience._core.instants import Instant, Now, later
from resilience._core.policy.model import Recovers, Verdict

SHORTEST_LEASE = 0.25
"""Seconds.  However fast rejections have come so far: the network may be slower now."""

SHORTEST_CLOSING = 0.05
"""Seconds.  Whatever policy and hints say: a rejected call may not be sent again at once, for ever."""

POISON = 3
"""So often a call may close a door that others pass, before the call is taken to be at fault,"""

INNOCENT = 1e-4
"""and so often that it would happen to an innocent one with this chance, where many are rejected."""

MOST_SHED = 0.9
"""The largest share that is reckoned with: if all were rejected, no number would prove a fault."""

SHED_CALLS = 50
"""Calls whose share counts."""

POISON_PROOF = 3
"""So many others, sent after its last rejection, must have been let in."""


class Gate(Door):
    """One scope's door."""

    __slots__ = (
        "answers", "closings", "first_closed", "kind", "lease_until", "light", "probe", "proved",
        "reaction", "shed", "successes", "told",
    )  # fmt: skip

    def __init__(self, key: ScopeKey) -> None:
        super().__init__(key)
        self.kind = Recovers.WINDOW
        self.light = False
        self.told = False
        """The server said until when it is closed."""
        self.closings = 0
        self.first_closed = 0.0
        self.probe: Permit | None = None
        self.lease_until = 0.0
        self.proved = 0.0
        """When the probe went that opened it last."""
        self.reaction = PROBE_LEASE
        """Seconds that the last rejection took to come."""
        self.successes: list[float] = []
        self.shed = 0.0
        """The share of calls that were rejected, of those that could not know better."""
        self.answers = 0
        """Of how many calls that is the share."""

    # -- how it looks -------------------------------------------------------------------------

    @property
    def patient(self) -> bool:
        """Whether waiting in front of it makes sense: windows and cool-downs come back soon."""
        return self.kind is not Recovers.EXHAUSTED

    def tick(self, now: Now) -> None:
        """What time alone changes."""
        if self.open:
            if self.pace is not None and self.pace.forgettable(now.loop):
                self.pace = None
        elif self.light and self.until.left(now) <= 0:
            self.open, self.light = True, False
            assert self.pace is not None  # noqa: S101  # only a pace makes a closing light
            self.pace.resume(now.loop)
        elif (
            self.probe is not None
            and self.kind is Recovers.WINDOW
            and self.pace is not None
            and now.loop >= self.lease_until
        ):
            self.reopen(now)

    @property
    def is_probing(self) -> bool:
        """Whether somebody is finding out."""
        return self.probe is not None

    @property
    def lease_ends(self) -> float:
        """Loop time at which one more may find out."""
        return self.lease_until

    def look_closed(self, now: Now) -> View:
        """Wait, find out, wait for the one who does, or go away."""
        if self.until.left(now) > 0:
            return View.WAIT if self.patient else View.SHUT
        if self.light:
            return View.WAIT
        if self.probe is not None and now.loop < self.lease_until:
            return View.PENDING if self.patient else View.SHUT
        return View.PROBE

    def refusal_reason(self) -> Reason:
        """Why it does not let people wait."""
        latched = getattr(self.because, "verdict", None) is Verdict.FATAL
        return Reason.REFUSED if latched else Reason.EXHAUSTED

    def let_in(self, sent_at: float) -> None:
        """One more call was accepted, which went at that time."""
        self.successes = [*self.successes[1 - POISON_PROOF :], sent_at]
        self.count(rejected=False)

    def count(self, *, rejected: bool) -> None:
        """One more call was answered that did not know the door to be closed."""
        self.answers = min(self.answers + 1, SHED_CALLS)
        self.shed += (rejected - self.shed) / self.answers

    @property
    def strikes(self) -> int:
        """So often a call may close the door before it is taken to be at fault."""
        share = min(max(self.shed, INNOCENT), MOST_SHED)
        return max(POISON, math.ceil(math.log(INNOCENT, share)))

    def has_proved(self, ticket: Ticket) -> bool:
        """Whether enough others were let in that went after this call was rejected."""
        return sum(sent > ticket.rejected_at for sent in self.successes) >= POISON_PROOF

    # -- probes -------------------------------------------------------------------------------

    def admit_probe(self, permit: Permit, now: Now) -> None:
        """Let one caller through to find out."""
        self.probe = permit
        rule = getattr(self.because, "rule", None)
        patience = PROBE_LEASE
        if not self.patient and rule is not None:
            patience = rule.probe_every
        elif self.kind is Recovers.WINDOW:
            patience = min(max(4.0 * self.reaction, SHORTEST_LEASE), PROBE_LEASE)
        self.lease_until = now.loop + patience

    def release_probe(self, permit: Permit) -> None:
        """The probe ended without saying anything about the door."""
        if self.probe is permit:
            self.probe = None

    def is_proven_by(self, judgement: Judgement) -> bool:
        """Any answer of the application came past a window.

        Only success proves that an exhausted account was topped up, or that a refused key was mended.
        """
        if judgement.verdict is Verdict.SUCCESS:
            return True
        return self.patient and judgement.verdict is not Verdict.RETRYABLE

    def inconclusive(self, permit: Permit, now: Now) -> None:
        """The probe failed for another reason: somebody else must find out, but not in a rush."""
        if self.probe is permit and not self.patient:
            pause = getattr(getattr(self.because, "rule", None), "probe_every", PROBE_LEASE)
            self.until = later(self.until, Instant(loop=now.loop + pause), now)
        self.release_probe(permit)

    def reopen(self, now: Now) -> None:
        """Everybody may pass again, at the pace that was learned, if any."""
        if self.pace is not None and self.kind is Recovers.WINDOW:
            self.pace.reopen(now.loop, told=self.told)
        self._opened()

    def reset(self) -> None:
        """Wide open: somebody knows better."""
        self.pace = None
        self._opened()

    def restore(self, kind: Recovers, until: Instant, because: Any, epoch: int) -> None:
        """Closed as it was before a restart."""
        self.reset()
        self.open = False
        self.kind = kind
        self.until = until
        self.because = because
        self.closings = 1
        self.closed_epoch = epoch

    def _opened(self) -> None:
        self.open = True
        self.light = False
        self.probe = None
        self.closings = 0
        self.because = None
        self.kind = Recovers.WINDOW

    # -- closings -----------------------------------------------------------------------------

    def close(self, judgement: Judgement, now: Now, draw: float, epoch: int) -> None:
        """A fresh rejection: one closing more."""
        escalate = judgement.rule.escalate
        if self.closings == 0 or (
            escalate and now.loop - (self.until.loop or 0.0) > escalate.within
        ):
            self.closings = 0  # nobody knocked for so long that this is a new story
            self.first_closed = now.loop
        kind = judgement.recovers or Recovers.EXHAUSTED
        self.light = (
            self.open and self.pace is not None and self.pace.is_solid
            and kind is Recovers.WINDOW and not judgement.hint and judgement.resets_at is None
        )  # fmt: skip
        wait = judgement.rule.wait.delay(self.closings, 0.0 if self.light else draw)
        self.closings += not self.light
        self.open = False
        self.probe = None
        self.closed_epoch = epoch
        self.because = judgement.because
        self.kind = kind
        self.told = bool(judgement.hint) and kind is Recovers.WINDOW
        if self._escalates(judgement, now):
            self.kind = Recovers.EXHAUSTED
        if not self.patient:
            self.light, self.pace = False, None  # hours that were closed measure no window
        self.until = self._until(judgement, now, wait)

    def merge(self, judgement: Judgement, now: Now) -> None:
        """An old rejection, sent before the door closed: only its hint can tell something new."""
        if not self.open and judgement.hint is not None and self.probe is None:
            self.until = later(self.until, Instant(loop=now.loop + judgement.hint), now)
            self.told = self.told or self.kind is Recovers.WINDOW

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
