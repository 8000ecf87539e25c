"""Policy files are found and read here: catalogs by name, others by path, and what they extend."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import reduce
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from resilience._core.policy.extends import merge
from resilience._core.policy.positions import Document
from resilience._core.policy.section import PolicyError, suggestion

DEEPEST = 20
"""Tables in tables; a policy needs five, and a deeper file would end in a RecursionError somewhere."""


class NotTomlError(PolicyError):
    """A file is not TOML; ``line`` says where."""

    def __init__(self, message: str, *, file: str, line: int, reason: str) -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.reason = reason


def catalogs() -> list[str]:
    """Names of the policies that ship with the library."""
    return sorted(item.name[:-5] for item in _room().iterdir() if item.name.endswith(".toml"))


def _room() -> Traversable:
    # not files("resilience.catalogs"): importing that package would put it in the place of the
    # public function of the same name
    return resources.files("resilience") / "catalogs"


def read(name: str) -> tuple[dict[str, Any], str]:
    """The merged data of a catalog or file, and how to call it in errors.

    Raises:
        PolicyError: it, or something that it extends, can't be found or read.
    """
    documents = list(chain(name))
    return merged(documents), documents[0].source


def merged(documents: list[Document]) -> dict[str, Any]:
    """What the first of a chain says, on the ground of all that it extends."""
    return reduce(merge, (document.data for document in reversed(documents)), {})


def chain(name: str) -> Iterator[Document]:
    """A catalog or file, then what it extends, then what that extends; read as it is asked for.

    Raises:
        PolicyError: what is asked for can't be found or read.
    """
    document, parent = _document(name, folder=Path())
    yield document
    yield from ancestors(document, parent)


def ancestors(child: Document, parent: Any) -> Iterator[Document]:
    """What ``extends = parent`` in a file leads to, as in :func:`chain`."""
    first, seen = child, {(child.source, child.file)}
    while parent is not None:
        try:
            child, parent = _parent(child, parent, seen)
        except NotTomlError as error:
            error.args = (f"{first.source}: extends: {error}",)
            raise
        except PolicyError as error:
            msg = f"{first.source}: extends: {error}"
            raise PolicyError(msg) from error
        seen.add((child.source, child.file))
        yield child


def _parent(child: Document, name: Any, seen: set[tuple[str, str]]) -> tuple[Document, Any]:
    if not isinstance(name, str):
        msg = f"{name!r} is not the name or path of a policy"
        raise PolicyError(msg)
    document, parent = _document(name, folder=Path(child.file).parent)
    if (document.source, document.file) in seen:
        msg = f"{name!r} leads back to {document.source}"
        raise PolicyError(msg)
    return document, parent


def _document(name: str, *, folder: Path) -> tuple[Document, Any]:
    """One file, and what it extends."""
    if name in catalogs():
        here = _room() / f"{name}.toml"
        text, file, source = here.read_text("utf-8"), str(here), f"{name}.toml (catalog)"
    else:
        path = folder / Path(name).expanduser()
        text, file, source = _text(name, path), os.path.normpath(path), name
    data = parse(text, source=source, file=file)
    parent = data.pop("extends", None)
    return Document(source=source, file=file, text=text, data=data), parent


def _text(name: str, path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        msg = f"{name!r} is neither a catalog ({', '.join(catalogs())}) nor a file"
        raise PolicyError(msg + suggestion(name, catalogs())) from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        msg = f"{name}: cannot be read: {error}"
        raise PolicyError(msg) from error


def parse(text: str, *, source: str, file: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        NotTomlError: it isn't TOML, or holds what no policy does (20 tables in each other).
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        said = str(error) or "too deep"
    else:
        if not _deeper(data, DEEPEST):
            return data
        said = f"tables are nested more than {DEEPEST} deep"
    found = re.search(r"at line (\d+)", said)
    ending = "end of document" in said
    line = int(found[1]) if found else text.rstrip().count("\n") + 1 if ending else 1
    raise NotTomlError(f"{source}: not TOML: {said}", file=file, line=line, reason=said)


def _deeper(data: Any, limit: int) -> bool:
    layer = [data]
    for _ in range(limit):
        layer = [
            value
            for part in layer
            for value in (part.values() if isinstance(part, Mapping) else part)
            if isinstance(value, (dict, list))
        ]
    return bool(layer)
