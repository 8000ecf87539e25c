"""Find a few values in a body without building the body.

An answer may be 5 MB of JSON of which the policy needs four scalars.  The JSON pointers of a policy
(RFC 6901) are merged into a tree once; reading a body decodes only the keys of that tree with
msgspec and skips everything else as bytes.  Objects and mappings that a client already decoded are
read in place, by key or by attribute.

    values = reader.read(b'{"code":"0429","msg":"busy","data":[...5 MB...]}')
    values["/code"]   # "0429"
    "/data" in values # present, but not a scalar: OPAQUE
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

OPAQUE = object()
"""Stands for an object or an array: it is there, and nobody needs to look inside."""

_LEAF = ""
_MISSING = object()


class UnreadableError(ValueError):
    """The body is not JSON: cut off, or something else altogether."""


class Reader:
    """Reads a fixed set of JSON pointers from bodies.  Immutable after construction."""

    __slots__ = ("_root",)

    def __init__(self, pointers: Iterable[str]) -> None:
        tree: dict[str, Any] = {}
        for pointer in pointers:
            node = tree
            for token in tokens(pointer):
                node = node.setdefault(token, {})
            node[_LEAF] = pointer
        self._root = _Node(tree)

    def read(self, body: Any) -> dict[str, Any]:
        """Pointer to value, for those that exist.  Scalars as they are, anything else OPAQUE.

        Raises:
            UnreadableError: bytes or text that are not JSON.
        """
        found: dict[str, Any] = {}
        if issubclass(type(body), str):
            body = body.encode("utf-8", "surrogatepass")
        if is_text(body):
            self._root.scan(body, found)
        else:
            self._root.walk(body, found)
        return found


class _Node:
    __slots__ = ("_children", "_leaves", "_names", "_struct")

    def __init__(self, tree: dict[str, Any]) -> None:
        self._leaves: dict[str, str] = {}
        self._children: dict[str, _Node] = {}
        for token, below in tree.items():
            if token == _LEAF:
                continue
            if _LEAF in below:
                self._leaves[token] = below[_LEAF]
            if any(key != _LEAF for key in below):
                self._children[token] = _Node(below)
        self._names = names = list(dict.fromkeys([*self._leaves, *self._children]))
        self._struct = msgspec.defstruct(
            "Slice",
            [(f"f{n}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for n in range(len(names))],
            rename=dict(zip((f"f{n}" for n in range(len(names))), names, strict=True)),
        )

    def scan(self, raw: bytes | bytearray | memoryview, found: dict[str, Any]) -> None:
        try:
            parts = self._parts(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._scan_leniently(raw, found)
            return
        for token, value in parts:
            text = memoryview(value)  # no copy: it may be all of the 5 MB
            nested = text[0] in b"{["
            if token in self._leaves:
                found[self._leaves[token]] = OPAQUE if nested else _scalar(bytes(text))
            if nested and token in self._children:
                self._children[token].scan(text, found)

    def _parts(self, raw: bytes | bytearray | memoryview) -> list[tuple[str, msgspec.Raw]]:
        """The wanted members of an object or, by their index, items of an array."""
        try:
            part = msgspec.json.decode(raw, type=self._struct)
        except msgspec.ValidationError:
            wanted = [token for token in self._names if token.isdecimal()]
            if not wanted or bytes(raw[:64]).lstrip()[:1] != b"[":
                msgspec.json.decode(raw, type=msgspec.Raw)  # valid, but is it all there?
                return []
            items = msgspec.json.decode(raw, type=list[msgspec.Raw])
            return [(token, items[int(token)]) for token in wanted if int(token) < len(items)]
        values = zip(self._names, msgspec.structs.astuple(part), strict=True)
        return [(token, value) for token, value in values if value is not msgspec.UNSET]

    def _scan_leniently(self, raw: bytes | bytearray | memoryview, found: dict[str, Any]) -> None:
        """``NaN``, a BOM or UTF-16 are not JSON, but servers send them and clients read them."""
        try:
            self.walk(json.loads(bytes(raw)), found)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(str(error)) from None

    def walk(self, value: Any, found: dict[str, Any]) -> None:
        for token, pointer in self._leaves.items():
            item = _get(value, token)
            if item is not _MISSING:
                found[pointer] = item if _is_scalar(item) else OPAQUE
        for token, child in self._children.items():
            item = _get(value, token)
            if item is not _MISSING and not _is_scalar(item):
                child.walk(item, found)


def is_text(body: Any) -> bool:
    """JSON that nobody has decoded yet."""
    return issubclass(type(body), (str, bytes, bytearray, memoryview))


def tokens(pointer: str) -> list[str]:
    """The unescaped steps of a JSON pointer."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _get(value: Any, token: str) -> Any:
    try:
        if isinstance(value, Mapping):
            return value.get(token, _MISSING)
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
            return value[int(token)] if token.isdecimal() else _MISSING
        if _is_scalar(value) or not token.isidentifier():
            return _MISSING
        return getattr(value, token, _MISSING)
    except Exception:  # noqa: BLE001  # somebody's model, and its properties may raise anything
        return _MISSING


def _is_scalar(value: Any) -> bool:
    # by type: a proxy may pretend another __class__, or raise when it is asked
    return value is None or issubclass(type(value), (str, int, float, bool))


def _scalar(text: bytes) -> Any:
    """A JSON scalar; as written if Python can't hold it (thousands of digits) or it isn't UTF-8."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    shown = text.decode("utf-8", "replace")
    try:
        return json.loads(shown, strict=False)
    except ValueError:
        return shown
