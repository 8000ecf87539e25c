"""Both stores keep every promise, on asyncio and on trio; broken stores are found out."""

# ruff: noqa: D102, D103  # helpers say it by their names

from functools import partial

import anyio
import pytest
from store_broken import BROKEN
from store_contract import PROMISES

from pollers.store import MemoryStore, Store, open_store
from pollers.store.sqlite import SqliteStore


async def keep(promise, store: Store) -> None:
    await store.open()
    try:
        await promise(store)
    finally:
        await store.aclose()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("name", list(PROMISES))
def test_promise(name, kind, backend, tmp_path) -> None:
    """A store keeps its promise."""
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "jobs.db")
    anyio.run(keep, PROMISES[name], store, backend=backend)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_broken_store_is_found_out(broken) -> None:
    """At least one promise fails."""
    failed = []
    for name, promise in PROMISES.items():
        try:
            anyio.run(partial(keep, promise, broken()))
        except (Exception, pytest.fail.Exception):
            failed.append(name)
    assert failed


@pytest.mark.parametrize(("where", "kind"), [(":memory:", MemoryStore), ("jobs.db", SqliteStore)])
def test_open_store(where, kind, tmp_path, monkeypatch) -> None:
    """A word or a path says which store is meant; a store stands for itself."""
    monkeypatch.chdir(tmp_path)
    store = open_store(where)
    assert type(store) is kind
    assert open_store(store) is store
    assert list(tmp_path.iterdir()) == []
