"""Read one table of a policy file, and complain well.

Every complaint names the file, the key and the value, says what was expected, and suggests the
near miss: ``my.toml: codes.0429.verdict: 'quotta' is not one of success, retryable, quota, fatal
(did you mean 'quota'?)``.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class PolicyError(ValueError):
    """A policy file or argument is wrong.  The message names file, key and value."""


class Section:
    """A table of a policy file together with where it stands."""

    __slots__ = ("_left", "path", "source")

    def __init__(self, data: Any, *, source: str, path: str = "") -> None:
        self.source = source
        self.path = path
        if not isinstance(data, Mapping):
            raise self.error("", data, "a table")
        for key in data:
            if not isinstance(key, str):
                raise self.error("", key, "text: keys, codes too, are texts such as '0429'")
        self._left: dict[str, Any] = dict(data)

    def error(self, key: str, value: Any, expected: str, hint: str = "") -> PolicyError:
        """A complaint about one key of this table."""
        where = ".".join(part for part in (self.path, key) if part)
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."  # noqa: PLR2004
        return PolicyError(f"{self.source}: {where or 'the file'}: {shown} is not {expected}{hint}")

    def take(self, key: str, default: T, read: Callable[["Section", str, Any], T]) -> T:
        """Remove a key and convert its value; the default if it is not there."""
        if key not in self._left:
            return default
        return read(self, key, self._left.pop(key))

    def table(self, key: str) -> "Section":
        """Remove a key that holds a table; empty if it is not there."""
        path = f"{self.path}.{key}" if self.path else key
        return Section(self._left.pop(key, {}), source=self.source, path=path)

    def tables(self, key: str) -> Iterator["Section"]:
        """Remove a key that holds an array of tables."""
        items = self._left.pop(key, [])
        if not isinstance(items, (list, tuple)):
            raise self.error(key, items, f"an array of tables ([[{key}]])")
        path = f"{self.path}.{key}" if self.path else key
        for number, item in enumerate(items):
            yield Section(item, source=self.source, path=f"{path}[{number}]")

    def keys(self) -> list[str]:
        """What has not been taken yet."""
        return list(self._left)

    def only(self, known: Iterable[str]) -> None:
        """Complain about the first key that nobody knows, before anything is said of the others."""
        known = tuple(known)
        strange = {key: value for key, value in self._left.items() if key not in known}
        Section(strange, source=self.source, path=self.path).done(known)

    def done(self, known: Iterable[str]) -> None:
        """Complain about the first key that nobody took."""
        for key, value in self._left.items():
            hint = suggestion(key, known) or f" (known: {', '.join(sorted(known))})"
            where = f"{self.path}.{key}" if self.path else key
            msg = f"{self.source}: {where}: unknown key {key!r} (= {value!r}){hint}"
            raise PolicyError(msg)


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
