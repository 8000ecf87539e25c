"""Read one table of a policy file, and complain well.

Every complaint names the file, the key and the value, says what was expected, and suggests the
near miss: ``my.toml: codes.0429.verdict: 'quotta' is not one of success, retryable, quota, fatal
(did you mean 'quota'?)``.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
Path = tuple[str | int, ...]
"""Keys and indices from the top of a file: ``("codes", "0001", "when", 0, "message")``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one key, for those who collect problems instead of stopping at the first."""

    at: Path
    check: str
    """The kind of problem: ``bad-value``, ``unknown-key``, ``contradiction`` or ``wide-scope``."""
    reason: str
    advice: str


class PolicyError(ValueError):
    """A policy file or argument is wrong.  The message names file, key and value."""

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem


Report = Callable[[PolicyError], None]


def refuse(error: PolicyError) -> None:
    """Report by raising: the first problem is the last that is looked for."""
    raise error


def dotted(path: Path) -> str:
    """``codes.0001.when[0].message``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


class Section:
    """A table of a policy file together with where it stands.

    ``report`` gets every problem.  If it returns, reading goes on with the default of the key.
    """

    __slots__ = ("_left", "at", "report", "source")

    def __init__(self, data: Any, *, source: str, at: Path = (), report: Report = refuse) -> None:
        self.source = source
        self.at = at
        self.report = report
        if not isinstance(data, Mapping):
            report(self.error("", data, "a table"))
            data = {}
        for key in data:
            if not isinstance(key, str):
                report(self.error("", key, "text: keys, codes too, are texts such as '0429'"))
        self._left: dict[str, Any] = {k: v for k, v in data.items() if isinstance(k, str)}

    @property
    def path(self) -> str:
        """Where it stands, dotted."""
        return dotted(self.at)

    def error(
        self,
        key: str | Path,
        value: Any,
        expected: str,
        hint: str = "",
        *,
        check: str = "bad-value",
    ) -> PolicyError:
        """A complaint about one key of this table; ``""`` is the table itself."""
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."  # noqa: PLR2004
        return self._complaint(key, check, f"{shown} is not {expected}", hint)

    def _complaint(self, key: str | Path, check: str, reason: str, hint: str) -> PolicyError:
        at = (*self.at, *(key if isinstance(key, tuple) else (key,) if key else ()))
        advice = hint.strip(" ()") or "correct it: like this the file can't be loaded"
        problem = Problem(at, check, reason, advice[0].upper() + advice[1:])
        return PolicyError(f"{self.source}: {dotted(at) or 'the file'}: {reason}{hint}", problem)

    def take(self, key: str, default: T, read: Callable[["Section", str, Any], T]) -> T:
        """Remove a key and convert its value; the default if it is not there."""
        if key not in self._left:
            return default
        try:
            return read(self, key, self._left.pop(key))
        except PolicyError as error:
            self.report(error)
            return default

    def inside(self, key: str, value: Any, *index: int) -> "Section":
        """A table that stands under a key of this one."""
        return Section(value, source=self.source, at=(*self.at, key, *index), report=self.report)

    def table(self, key: str) -> "Section":
        """Remove a key that holds a table; empty if it is not there."""
        return self.inside(key, self._left.pop(key, {}))

    def tables(self, key: str) -> Iterator["Section"]:
        """Remove a key that holds an array of tables."""
        items = self._left.pop(key, [])
        if not isinstance(items, (list, tuple)):
            self.report(self.error(key, items, f"an array of tables ([[{key}]])"))
            return
        for number, item in enumerate(items):
            yield self.inside(key, item, number)

    def keys(self) -> list[str]:
        """What has not been taken yet."""
        return list(self._left)

    def only(self, known: Iterable[str]) -> None:
        """Complain about keys that nobody knows, before anything is said of the others."""
        known = tuple(known)
        for key in [key for key in self._left if key not in known]:
            self._complain_of(key, self._left.pop(key), known)

    def done(self, known: Iterable[str]) -> None:
        """Complain about keys that nobody took."""
        for key, value in self._left.items():
            self._complain_of(key, value, known)

    def _complain_of(self, key: str, value: Any, known: Iterable[str]) -> None:
        hint = suggestion(key, known) or f" (known: {', '.join(sorted(known))})"
        reason = f"unknown key {key!r} (= {value!r})"
        self.report(self._complaint(key, "unknown-key", reason, hint))


def suggestion(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'quota'?)`` or nothing."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def text(section: Section, key: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise section.error(key, value, "text")
    return value


def texts(section: Section, key: str, value: Any) -> tuple[str, ...]:
    """An array of strings."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise section.error(key, value, "an array of texts")
    return tuple(value)


def boolean(section: Section, key: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise section.error(key, value, "true or false")
    return value


def scalar(section: Section, key: str, value: Any) -> str | int | float | bool | None:
    """A value that JSON can hold and that is neither an object nor an array."""
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise section.error(key, value, "a text, a number, true or false")
    return value


def positive(section: Section, key: str, value: Any) -> float:
    """A number of seconds above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e10:  # noqa: PLR2004
        raise section.error(key, value, "a number above 0")
    return float(value)


def count(section: Section, key: str, value: Any) -> int:
    """A whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise section.error(key, value, "a whole number above 0")
    return value


def one_of(*options: str) -> Callable[[Section, str, Any], str]:
    """One word of a fixed list."""
    words = [str(option) for option in options]

    def read(section: Section, key: str, value: Any) -> str:
        if value not in words:
            raise section.error(
                key, value, f"one of {', '.join(words)}", suggestion(str(value), words)
            )
        return str(value)

    return read


def pointer(section: Section, key: str, value: Any) -> str:
    """A JSON pointer (RFC 6901)."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise section.error(key, value, "a JSON pointer such as '/code'")
    return value
