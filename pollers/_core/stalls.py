"""What the provider refuses one account for: told once, however many sources of it find out.

A source that was refused is *stalled* until a look of its own succeeds.  The account has resumed when
no source that has jobs is stalled any more: without jobs nobody is held up, and nobody would find out
that it is over.  (Whoever waits with new jobs until then would wait for ever.)
"""

from collections.abc import Mapping
from typing import Any, Protocol


class Member(Protocol):
    """A source of the account, as far as stalling goes."""

    @property
    def idle(self) -> bool:
        """It has no jobs, so it won't look."""
        ...


class Stalls:
    """One account's."""

    def __init__(self) -> None:
        self.since: float | None = None
        """When the first of its sources was refused; None while all is well."""
        self.reasons: dict[str | None, Mapping[str, Any]] = {}
        """By the provider's code: what was told of it, the last refusal's."""
        self._refused: set[Member] = set()

    @property
    def pressing(self) -> bool:
        """Whether a source that has jobs is stalled."""
        return any(not one.idle for one in self._refused)

    def has(self, who: Member) -> bool:
        """Whether this source is stalled."""
        return who in self._refused

    def refused(self, who: Member, told: Mapping[str, Any], now: float) -> bool:
        """A look was refused; whether that is to be told: nobody was yet, for this code."""
        code = told["code"]
        is_new = code not in self.reasons
        self.since = now if self.since is None else self.since
        self.reasons[code] = told
        self._refused.add(who)
        return is_new

    def works(self, who: Member, now: float) -> float | None:
        """A look of this source succeeded; see ``over``."""
        self._refused.discard(who)
        return self.over(now)

    def over(self, now: float) -> float | None:
        """A look succeeded or jobs ended; for how many seconds it was stalled, if that is over now."""
        if self.since is None or self.pressing:
            return None
        stalled_for = now - self.since
        self.since = None
        self.reasons.clear()
        self._refused.clear()
        return stalled_for
