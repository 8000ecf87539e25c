"""The state of a guard as plain data: shown, followed as it changes, brought back after a restart."""

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import anyio

from resilience._core.admission.breaker import Breaker
from resilience._core.admission.door import Door
from resilience._core.admission.gate import Gate
from resilience._core.admission.lane import Lane
from resilience._core.admission.model import ScopeKey
from resilience._core.instants import Instant, Now
from resilience._core.policy.model import ACCOUNT, ENDPOINT, Classification, Recovers, Rule, Verdict
from resilience._core.policy.unlisted import Sighting
from resilience._shared import Shared
from resilience.errors import at

MOST_CHANGES = 1000
"""Changes that a slow reader may be behind."""

_KINDS = {kind.value: kind for kind in Recovers if kind is not Recovers.CAPACITY}


def snapshot(shared: Shared) -> dict[str, Any]:
    """Everything, as ``Guard.snapshot`` says."""
    now = shared.now()
    machine = shared.machine
    doors = machine.doors()
    return {
        "account": shared.account,
        "policy": shared.policy.version,
        "waiting": machine.parked,
        "doors": [_closed(door, now) for door in doors if not door.open],
        "paced": [_paced(door) for door in doors if door.open and door.pace is not None],
        "budgets": [
            _budget(lane, now)
            for lane in machine.lanes.values()
            if lane.budget.settings is not None
        ],
        "unknown": [_unlisted(one) for one in shared.unlisted.sightings.values()],
        "unknown_overflow": shared.unlisted.overflow,
    }


def _iso(wall: float | None) -> str | None:
    """An instant as text, in UTC: all of a snapshot is JSON."""
    known = at(wall)
    return known.isoformat() if known else None


def _unlisted(sighting: Sighting) -> dict[str, Any]:
    return {
        "code": sighting.code,
        "count": sighting.count,
        "endpoints": list(sighting.endpoints),
        "verdict": sighting.verdict,
        "recovers": sighting.recovers,
        "matched_by": sighting.matched_by,
        "first_seen": _iso(sighting.first_seen),
        "last_seen": _iso(sighting.last_seen),
        "stanza": sighting.stanza,
    }


def _closed(door: Door, now: Now) -> dict[str, Any]:
    because: Classification | None = door.because
    gate = door if isinstance(door, Gate) else None
    return {
        "scope": str(door.key),
        "state": door.state,
        "recovers": gate.kind.value if gate else None,
        "code": because.code if because else None,
        "title": because.title if because else "",
        "remedy": because.remedy if because else "",
        "closings": gate.closings if gate else door.trips if isinstance(door, Breaker) else 0,
        "resume_at": _iso(door.opens(now).wall_time(now)),
    }


def _paced(door: Door) -> dict[str, Any]:
    pace = door.pace
    assert pace is not None  # noqa: S101  # the caller looked
    room = pace.room
    return {
        "scope": str(door.key),
        "state": door.state,
        "rate": pace.rate,
        "room": None if room == float("inf") else int(room),
        "in_flight": pace.in_flight,
    }


def _budget(lane: Lane, now: Now) -> dict[str, Any]:
    lane.budget.refill(lane.sent, now.loop)
    return {
        "endpoint": lane.keys.endpoint,
        "tokens": lane.budget.tokens,
        "waiting": lane.unpaid.parked,
        "suppressed": lane.suppressed,
    }


# -- following ------------------------------------------------------------------------------------


class Changes:
    """The changes of a guard's doors, as they happen: an async iterator of plain dictionaries.

    Each is a row of ``snapshot()["doors"]`` or ``["paced"]``, or ``{"scope", "state": "open"}``.
    It listens from its beginning until ``close``, or to the end of its ``with`` block.  A reader that
    is more than a thousand changes behind loses the oldest; ``dropped`` counts them.
    """

    def __init__(self, shared: Shared) -> None:
        self.dropped = 0
        self._shared = shared
        self._waiting: deque[dict[str, Any]] = deque()
        self._news: anyio.Event | None = None
        self._closed = False
        shared.listen(self._moved)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> "Changes":
        return self

    async def __anext__(self) -> dict[str, Any]:
        """The next change; waits for it."""
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._news = self._news or anyio.Event()  # one for all who read
            await self._news.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Listen no more; what has happened can still be read."""
        self._closed = True
        self._shared.listen_no_more(self._moved)
        self._wake()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None

    def _moved(self, door: Door) -> None:
        now = self._shared.now()
        if not door.open:
            told = _closed(door, now)
        elif door.pace is not None:
            told = _paced(door)
        else:
            told = {"scope": str(door.key), "state": door.state}
        if len(self._waiting) >= MOST_CHANGES:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(told)
        self._wake()


# -- bringing back --------------------------------------------------------------------------------


def restore(shared: Shared, told: Mapping[str, Any]) -> list[str]:
    """Close the doors that a snapshot has closed, as ``Guard.restore`` says."""
    doors = told.get("doors", []) if isinstance(told, Mapping) else None
    if not isinstance(doors, list) or not all(isinstance(row, Mapping) for row in doors):
        msg = "this is not a snapshot: a mapping, whose 'doors' is a list of mappings"
        raise ValueError(msg)
    if told.get("account") != shared.account:
        msg = f"this snapshot is of account {told.get('account')!r}, not of {shared.account!r}"
        raise ValueError(msg)
    rows = [row for row in doors if row.get("recovers") is not None]
    # all are read before any is closed: bad input changes nothing
    read = [
        (_scope(row, shared), _kind(row), _resume_at(row), _because(row, shared)) for row in rows
    ]
    for key, kind, until, because in read:
        shared.machine.restore(key, kind, Instant(wall=until.timestamp()), because)
    return [str(key) for key, *_ in read]


def _scope(row: Mapping[str, Any], shared: Shared) -> ScopeKey:
    scope = row.get("scope")
    kind, _, name = str(scope).partition(":")
    groups = shared.policy.table.groups
    if scope == ACCOUNT or (kind == ENDPOINT and name) or (kind == "group" and name in groups):
        return ScopeKey(str(scope))
    names = ", ".join(f"group:{group}" for group in groups)
    msg = (
        f"doors: scope={scope!r}: 'account', 'endpoint:<name>' or a group of the policy "
        f"({names or 'it has none'})"
    )
    raise ValueError(msg)


def _kind(row: Mapping[str, Any]) -> Recovers:
    kind = _KINDS.get(str(row["recovers"]))
    if kind is None:
        msg = f"doors: recovers={row['recovers']!r} of {row['scope']!r}: one of {', '.join(_KINDS)}"
        raise ValueError(msg)
    return kind


def _resume_at(row: Mapping[str, Any]) -> datetime:
    value = row.get("resume_at")
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        given = f"resume_at={row.get('resume_at')!r} of {row['scope']!r}"
        msg = f"doors: {given}: an aware datetime, or one in ISO 8601"
        raise ValueError(msg)
    return value


def _because(row: Mapping[str, Any], shared: Shared) -> Classification:
    code = row.get("code")
    rule = shared.policy.table.rule_for_code(str(code), message="", status=None, endpoint="other")
    rule = rule or Rule(key="restored", verdict=Verdict.QUOTA, recovers=Recovers.EXHAUSTED)
    return Classification(
        verdict=rule.verdict, code=code, message="", rule=rule, matched_by=rule.key
    )
