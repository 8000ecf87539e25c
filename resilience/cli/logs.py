"""Find codes that no policy lists in what guards have logged.

Read are JSON Lines (``to_structlog`` with structlog's ``JSONRenderer``), the text of the standard
logger ``resilience``, and dumped snapshots (``json.dumps(guard.snapshot())``).
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from resilience._core.policy.model import Verdict
from resilience._core.policy.unlisted import Sighting, toml_key
from resilience.policies import Policy
from resilience.records import ATTEMPT, CALL, SHADOW

KINDS = {ATTEMPT: "attempts", SHADOW: "attempts", CALL: "calls"}
TEXTS = ("event", "message", "msg")
"""Where loggers that write JSON keep the event or the line."""
TIMES = ("timestamp", "time", "ts", "@timestamp", "asctime", "created", "datetime")
LONGEST_DOCUMENT = 20_000
"""Lines of an indented JSON object; what is longer is no snapshot."""

_EVENT = re.compile(r"event='(resilience\.\w+)'")
_FIELD = re.compile(r"""(\w+)=('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\([^)]*\)|[^\s]+)""")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")

Key = tuple[str, str]
"""A policy's name and a code."""


@dataclass(slots=True)
class Log:
    """What was found.

    An attempt and the call it was part of are told apart, and a snapshot counts what the log may tell
    too; the same outcome would be counted twice, so of the three counts the largest is the answer.
    """

    attempts: dict[Key, Sighting] = field(default_factory=dict)
    calls: dict[Key, Sighting] = field(default_factory=dict)
    snapshots: dict[tuple[str, str, str, str], Mapping[str, Any]] = field(default_factory=dict)
    """By policy, account, code and first seen: of one guard's snapshots the last tells all."""
    skipped: int = 0
    """Lines that are something else."""

    def unknown(self) -> Iterator[tuple[str, Sighting]]:
        """Every code with the name of its policy, the most frequent first."""
        told: dict[Key, Sighting] = {}
        for (policy, _, code, _), row in self.snapshots.items():
            _count(told.setdefault((policy, code), Sighting(code=code)), row)
        kinds = (self.attempts, self.calls, told)
        found = []
        for key in dict.fromkeys(chain(*kinds)):
            seen = [kind[key] for kind in kinds if key in kind]
            found.append((key[0], _joined(seen)))
        yield from sorted(found, key=lambda one: (-one[1].count, one[0], one[1].code))


def read_log(lines: Iterable[str]) -> Log:
    """What a log tells about unlisted codes."""
    log = Log()
    for found in _parsed(lines):
        if isinstance(found, dict) and _is_snapshot(found):
            _add_snapshot(log, found)
        elif (record := _record(found)) is None:
            log.skipped += 1
        else:
            _add_record(log, record)
    return log


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any] | str]:
    """Each line as JSON or as text; an indented JSON object is one."""
    waiting = iter(lines)
    for line in waiting:
        if line.rstrip() == "{":
            yield from _document(line, waiting)
        elif line.strip():
            yield _object(line) or line


def _document(first: str, waiting: Iterator[str]) -> Iterator[dict[str, Any] | str]:
    lines = [first]
    for line in waiting:
        lines.append(line)
        if line.rstrip() == "}":
            whole = _object("".join(lines))
            if whole:
                yield whole
                return
            break
        if len(lines) > LONGEST_DOCUMENT:
            break
    yield from (line for line in lines if line.strip())


def _object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


# -- records --------------------------------------------------------------------------------------


def _record(found: dict[str, Any] | str) -> dict[str, Any] | None:
    """The fields of a record with its time as ``seen``; None for anything else."""
    if isinstance(found, str):
        return _from_text(found)
    said = next((found[key] for key in TEXTS if isinstance(found.get(key), str)), "")
    seen = next((at for key in TIMES if (at := _seconds(found.get(key))) is not None), None)
    if said in KINDS:
        return {**found, "event": said, "seen": seen}
    record = _from_text(said)
    return (
        {**record, "seen": seen if record["seen"] is None else record["seen"]} if record else None
    )


def _from_text(line: str) -> dict[str, Any] | None:
    event = _EVENT.search(line)
    if event is None or event[1] not in KINDS:
        return None
    record = {key: _literal(value) for key, value in _FIELD.findall(line, event.start())}
    time = _TIME.search(line, 0, event.start())
    return {**record, "seen": _seconds(time[0]) if time else None}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _seconds(value: Any) -> float | None:
    """An instant as seconds since the epoch.  Without an offset it is local time, as in logging."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = value / 1000 if value > 1e11 else value  # noqa: PLR2004  # milliseconds
        return float(value) if 0 <= value < 1e11 else None  # noqa: PLR2004
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value.replace(",", ".")).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _add_record(log: Log, record: Mapping[str, Any]) -> None:
    code, policy, matched_by = (str(record.get(k)) for k in ("code", "policy", "matched_by"))
    # logs of before the field was written: a family or `unknown` spoke
    guess = matched_by == "unknown" or matched_by.startswith("families.")
    if record.get("code") is None or not record.get("unlisted", guess):
        return
    kind: dict[Key, Sighting] = getattr(log, KINDS[record["event"]])
    key = (policy.partition("@")[0], code)
    _count(kind.setdefault(key, Sighting(code=code)), record)


# -- snapshots ------------------------------------------------------------------------------------


def _is_snapshot(found: Mapping[str, Any]) -> bool:
    return isinstance(found.get("unknown"), list) and isinstance(found.get("policy"), str)


def _add_snapshot(log: Log, snapshot: Mapping[str, Any]) -> None:
    policy = snapshot["policy"].partition("@")[0]
    for row in snapshot["unknown"]:
        if isinstance(row, dict) and isinstance(row.get("code"), str):
            key = (policy, str(snapshot.get("account")), row["code"], str(row.get("first_seen")))
            log.snapshots[key] = row


# -- counting -------------------------------------------------------------------------------------


def _count(sighting: Sighting, row: Mapping[str, Any]) -> None:
    """A record, or a row of a snapshot."""
    verdict, recovers, count = row.get("verdict"), row.get("recovers"), row.get("count", 1)
    endpoints = row.get("endpoints", [row.get("endpoint", "other")])
    first, last = (_seconds(row.get(key, row.get("seen"))) for key in ("first_seen", "last_seen"))
    sighting.saw(
        map(str, endpoints if isinstance(endpoints, list) else ()),
        verdict=str(verdict) if verdict in [*Verdict] else Verdict.FATAL.value,
        recovers=recovers if isinstance(recovers, str) else None,
        matched_by=str(row.get("matched_by")),
        when=(first, last),
        count=count if isinstance(count, int) else 1,
    )


def _joined(seen: list[Sighting]) -> Sighting:
    """The largest of several counts of the same, with what the others know of when and where."""
    largest = max(seen, key=lambda one: one.count)
    for other in seen:
        largest.saw(
            other.endpoints,
            verdict=largest.verdict,
            recovers=largest.recovers,
            matched_by=largest.matched_by,
            when=(other.first_seen, other.last_seen),
            count=0,
        )
    return largest


# -- telling --------------------------------------------------------------------------------------


def is_unlisted(policy: Policy, name: str, sighting: Sighting) -> bool:
    """Whether it came under the policy of this name, and the policy still does not list it."""
    successes = chain(*(envelope.success for envelope in policy.table.envelopes))
    return name == policy.name and sighting.code not in {*policy.codes, *successes}


def unknown_row(name: str, sighting: Sighting) -> dict[str, Any]:
    """``resilience codes --unknown FILE --output json``: these keys, always; times in UTC or null."""
    return {
        "policy": name,
        "code": sighting.code,
        "count": sighting.count,
        "endpoints": list(sighting.endpoints),
        "verdict": sighting.verdict,
        "matched_by": sighting.matched_by,
        "first_seen": _shown(sighting.first_seen),
        "last_seen": _shown(sighting.last_seen),
        "stanza": sighting.stanza,
    }


def unknown_remarks(name: str, sighting: Sighting) -> list[str]:
    """The same for people, as lines that can stand in a comment."""
    times = "once" if sighting.count == 1 else f"{sighting.count} times"
    first, last = (_shown(at, "seconds") for at in (sighting.first_seen, sighting.last_seen))
    when = f", first {first}, last {last}" if first else ""
    where = ", ".join(map(toml_key, sighting.endpoints))
    return [
        f"{toml_key(sighting.code)} of {toml_key(name)}: {times}{when}",
        f"taken for {sighting.verdict} by {toml_key(sighting.matched_by)}, endpoints: {where}",
    ]


def _shown(seconds: float | None, precision: str = "auto") -> str | None:
    return (
        None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat("T", precision)
    )
