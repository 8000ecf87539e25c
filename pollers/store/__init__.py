"""Where jobs are remembered: the Store protocol with its promises, and two stores that keep them.

``memory`` is the model that the contract suite compares with; ``sqlite`` is what people use.
"""

import os

from pollers.store.base import BadStore, Fenced, Store, StoreBusy
from pollers.store.memory import MemoryStore

__all__ = ("BadStore", "Fenced", "MemoryStore", "Store", "StoreBusy", "open_store")


def open_store(where: "str | os.PathLike[str] | Store") -> Store:
    """A store from what users write: ``":memory:"``, a path of a SQLite file, or a store."""
    if not isinstance(where, (str, os.PathLike)):
        return where
    if where == ":memory:":
        return MemoryStore()
    from pollers.store.sqlite import SqliteStore

    return SqliteStore(where)
