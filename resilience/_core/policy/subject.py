"""What the checks of ``lint`` look at, and how they complain."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from resilience._core.policy.model import Rule
from resilience._core.policy.positions import Positions
from resilience._core.policy.section import Path
from resilience._core.policy.table import CodeRules, Table, When


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """It can't be loaded, or something in it never has an effect."""
    WARNING = "warning"
    """It works, and is probably not what was meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What callers of the policy are going to allow.  Times are seconds."""

    max_wait: float = 60.0
    """The default of a guard."""
    deadline: float | None = None
    attempts: int = 4
    """The default of a guard, the first included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One problem."""

    at: Path
    check: str
    severity: Severity
    reason: str
    """One sentence."""
    advice: str
    """What to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A merged and compiled policy.

    ``broken`` are the keys that couldn't be read: what stands there is not compared with anything.
    """

    data: Mapping[str, Any]
    table: Table
    positions: Positions
    broken: frozenset[Path]
    limits: Limits

    def is_sound(self, path: Path) -> bool:
        """Whether everything under this key could be read."""
        return not any(at[: len(path)] == path for at in self.broken)

    def codes(self) -> Iterator[tuple[Path, CodeRules]]:
        """Every listed code; aliases only with their code."""
        for code, fields in self._mapping("codes"):
            own = [key for key in fields if key not in ("aliases", "when")]
            if all(self.is_sound(("codes", code, key)) for key in ("verdict", *own)):
                yield ("codes", code), self.table.codes[code]

    def whens(self) -> Iterator[tuple[Path, When]]:
        """Every condition."""
        for path, entry in self.codes():
            for number, when in enumerate(entry.when):
                if self.is_sound((*path, "when", number)):
                    yield (*path, "when", number), when

    def endpoints(self) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """Every endpoint that has a name of its own, as it was written."""
        items = self.data.get("endpoints")
        for number, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, Mapping) and self.is_sound(("endpoints", number, "name")):
                yield ("endpoints", number), item

    def _mapping(self, key: str) -> list[tuple[str, Mapping[str, Any]]]:
        value = self.data.get(key)
        items = value.items() if isinstance(value, Mapping) else ()
        return [(name, item) for name, item in items if isinstance(item, Mapping)]

    def rules(self) -> Iterator[tuple[Path, Rule]]:
        """Everything that has a verdict and says something about it itself."""
        for path, entry in self.codes():
            yield path, entry.rule
        for path, when in self.whens():
            yield path, when.rule
        table = self.table
        for part, rules in (
            ("http", {**table.http, **table.http_families}),
            ("families", table.families),
            ("exceptions", table.exceptions),
        ):
            for key, rule in rules.items():
                if self.is_sound((part, key)):
                    yield (part, key), rule
        if "unknown" in self.data and self.is_sound(("unknown",)):
            yield ("unknown",), table.unknown

    def stated(self, path: Path) -> Mapping[str, Any]:
        """The table at a path, as it was written."""
        here: Any = self.data
        for step in path:
            here = here[step]
        return here if isinstance(here, Mapping) else {}

    def place(self, path: Path) -> str:
        """``line 12``, with the file if it isn't the file that was asked about."""
        document, line = self.positions.where(path)
        own = document is self.positions.documents[0]
        return f"line {line}" if own else f"line {line} of {document.source}"


def error(at: Path, check: str, reason: str, advice: str) -> Complaint:
    """It can't be meant like this."""
    return Complaint(at=at, check=check, severity=Severity.ERROR, reason=reason, advice=advice)


def warning(at: Path, check: str, reason: str, advice: str) -> Complaint:
    """It may be meant like this."""
    return Complaint(at=at, check=check, severity=Severity.WARNING, reason=reason, advice=advice)
