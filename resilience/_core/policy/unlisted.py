"""Codes that came from the provider and that no rule of the policy lists.

They were judged by a family, their HTTP status or ``unknown``, which is a guess: somebody should look
them up.  So they are counted, within bounds, because anybody may send anything.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_CODES = 200
MOST_ENDPOINTS = 20
PLACEHOLDER = "TODO: what the provider's documents say about it"


@dataclass(slots=True, kw_only=True)
class Sighting:
    """One such code.  Instants are seconds since the epoch, None if nobody knows."""

    code: str
    count: int = 0
    endpoints: dict[str, None] = field(default_factory=dict)
    """Where it came, in order; the first 20."""
    verdict: str = ""
    """What it was taken for, the last time."""
    recovers: str | None = None
    matched_by: str = ""
    first_seen: float | None = None
    last_seen: float | None = None

    def saw(
        self,
        endpoints: Iterable[str],
        *,
        verdict: str,
        recovers: str | None,
        matched_by: str,
        when: tuple[float | None, float | None],
        count: int = 1,
    ) -> None:
        """Once more (or ``count`` times), ``when`` the first and the last of them was."""
        for endpoint in endpoints:
            if len(self.endpoints) < MOST_ENDPOINTS:
                self.endpoints[endpoint] = None
        self.count += count
        self.verdict, self.recovers, self.matched_by = verdict, recovers, matched_by
        known = [at for at in (self.first_seen, self.last_seen, *when) if at is not None]
        self.first_seen, self.last_seen = min(known, default=None), max(known, default=None)

    @property
    def stanza(self) -> str:
        """TOML that lists the code as it was taken, to be corrected and pasted into a policy.

        The provider's message is not in it: it may hold what was sent, and is not kept.
        """
        recovers = f"recovers = {toml_text(self.recovers)}\n" if self.recovers else ""
        return (
            f"[codes.{toml_key(self.code)}]\n"
            f"verdict = {toml_text(self.verdict)}\n"
            f"{recovers}"
            f"title = {toml_text(PLACEHOLDER)}\n"
        )


class Unlisted:
    """The unlisted codes of one guard: 200 of them, and how many outcomes had yet another one."""

    __slots__ = ("overflow", "sightings")

    def __init__(self) -> None:
        self.sightings: dict[str, Sighting] = {}
        self.overflow = 0

    def of(self, code: str) -> Sighting | None:
        """Where to count this code; None if there are too many, which is counted too."""
        sighting = self.sightings.get(code)
        if sighting is None and len(self.sightings) >= MOST_CODES:
            self.overflow += 1
            return None
        return sighting or self.sightings.setdefault(code, Sighting(code=code))


def toml_key(key: str) -> str:
    """As it has to be written: codes with a point in them are quoted."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key, re.ASCII) else toml_text(key)


def toml_text(text: str) -> str:
    """A basic string of TOML: JSON's, apart from DEL and what can't be encoded."""
    plain = text.encode("utf-8", "replace").decode()
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")
