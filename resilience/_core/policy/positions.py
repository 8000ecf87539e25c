"""On which line does a key of a TOML file stand?

``tomllib`` says what a file means, not where.  This reads the same text once more, which is valid by
then, so it needs no more of the grammar than where strings, arrays and inline tables end.
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from resilience._core.policy.section import Path

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")
# a text may end with quotes of its own: """he said "no"""" is he said "no"
_STRING = re.compile(
    r"""
    \"{3} (?: \\. | [^\\] )*? \"{3}(?!\")
    | '{3} .*? '{3}(?!')
    | \" (?: \\. | [^"\\] )* \"
    | ' [^']* '
    """,
    re.DOTALL | re.VERBOSE,
)


def lines_of(text: str) -> dict[Path, int]:
    """The line (from 1) of every key and array item of a valid TOML text.

    A table that has a header stands where its header is, any other where it is first mentioned.
    """
    return _Scan(text).lines


class _Scan:
    """One pass over a text."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._items: dict[Path, int] = {}
        """Arrays of tables: how many items so far."""
        table: Path = ()
        while self._skip(_BLANK) < len(text):
            if text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _mark(self, path: Path) -> None:
        for end in range(1, len(path) + 1):
            self.lines.setdefault(path[:end], self._line())

    def _line(self) -> int:
        return bisect_left(self._breaks, self._at) + 1

    def _header(self) -> Path:
        double = self._text.startswith("[[", self._at)
        self._at += 2 if double else 1
        *outer, last = self._keys()
        path: Path = ()
        for key in outer:
            path = self._current((*path, key))
        path = (*path, last)
        if double:
            number = self._items[path] = self._items.get(path, -1) + 1
            path = (*path, number)
        self._mark(path)
        self.lines[path] = self._line()
        self._at += 2 if double else 1
        return path

    def _current(self, path: Path) -> Path:
        """Inside an array of tables, its last item is meant."""
        return (*path, self._items[path]) if path in self._items else path

    def _pair(self, table: Path) -> None:
        path = (*table, *self._keys())
        self._mark(path)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            start = self._at
            if self._text[start] in "\"'":
                quoted = self._text[start : self._skip(_STRING)]
                keys.append(str(tomllib.loads(f"key = {quoted}")["key"]))
            else:
                keys.append(self._text[start : self._skip(_BARE_KEY)])
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        match self._text[self._at]:
            case '"' | "'":
                self._skip(_STRING)
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case _:
                self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        number = 0
        while self._text[self._skip(_BLANK)] != "]":
            self._mark((*path, number))
            self._value((*path, number))
            number += 1
            if self._text[self._skip(_BLANK)] == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._text[self._skip(_BLANK)] != "}":
            self._pair(path)
            if self._text[self._skip(_BLANK)] == ",":
                self._at += 1
        self._at += 1


@dataclass(frozen=True, kw_only=True)
class Document:
    """One policy file, as it was read."""

    source: str
    """How it is called in errors."""
    file: str
    """Where it is, for people and editors."""
    data: Mapping[str, Any]
    """Its tables, without what it extends."""
    text: str = field(default="", repr=False)

    @cached_property
    def lines(self) -> Mapping[Path, int]:
        """See :func:`lines_of`."""
        return lines_of(self.text)

    def local(self, path: Path, name: Any) -> Path | None:
        """The path in this file of something in the merged policy; ``name`` is an endpoint's.

        ``extends`` puts the endpoints in another order; all other arrays it takes over or replaces.
        """
        if path[:1] != ("endpoints",) or len(path) == 1:
            return path
        items = self.data.get("endpoints")
        names = [item.get("name") for item in items if isinstance(item, Mapping)] if (
            isinstance(items, list)
        ) else []  # fmt: skip
        number = path[1]
        if isinstance(number, int) and names[number : number + 1] == [name]:
            return path
        return ("endpoints", names.index(name), *path[2:]) if name in names else None


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the values of a merged policy were written."""

    documents: Sequence[Document]
    """The file itself first, then what it extends, and so on."""
    data: Mapping[str, Any]
    """All of them, merged."""

    def where(self, path: Path) -> tuple[Document, int]:
        """The file and line of a key; of what is around it if nobody wrote the key."""
        name = self._endpoint_name(path)
        while path:
            for document in self._owners(path, name):
                local = document.local(path, name)
                if local is not None and local in document.lines:
                    return document, document.lines[local]
            path = path[:-1]
        return self.documents[0], 1

    def _endpoint_name(self, path: Path) -> Any:
        items = self.data.get("endpoints")
        number = path[1] if len(path) > 1 and path[0] == "endpoints" else None
        if not isinstance(items, list) or not isinstance(number, int):
            return None
        item = items[number] if number < len(items) else None
        return item.get("name") if isinstance(item, Mapping) else None

    def _owners(self, path: Path, name: Any) -> Sequence[Document]:
        """An array is written as a whole by one file, so nothing of an earlier one is meant."""
        start = 2 if path[0] == "endpoints" else 0
        for end in range(start, len(path)):
            if isinstance(path[end], int):
                for document in self.documents:
                    local = document.local(path[:end], name)
                    if local is not None and local in document.lines:
                        return [document]
        return self.documents
