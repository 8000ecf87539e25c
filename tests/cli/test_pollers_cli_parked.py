"""``pollers events`` where something was parked or pruned, as a person runs it."""

import json

import anyio
import pytest
from test_pollers_cli import run

from pollers._core.events import cursor_of
from pollers._core.model import JobKey, NewJob, Shard
from pollers._core.step import cancel
from pollers.store.sqlite import SqliteStore

pytestmark = pytest.mark.slow

SHARD = Shard("memories_ai", "api.memories.ai", "alice")


async def fill(path) -> str:
    """Three jobs; two sinks parked an event of the second, and the first was pruned."""
    store = SqliteStore(path)
    await store.open()
    epoch = await store.acquire(SHARD)
    new = [
        NewJob(
            key=JobKey("memories_ai", "api.memories.ai", "alice", "videos", name), created_at=1.0
        )
        for name in ("VI1", "VI2", "VI3")
    ]
    first, *_ = await store.register(SHARD, epoch, new)
    await store.commit(SHARD, epoch, [cancel(first, at=2.0, looks=0)])
    await store.ack("webhook:https://example.org/", 4, {2: "HTTP 413: too large"})
    await store.ack("log", 4, {2: "behind"})
    assert await store.prune(3.0) == 1
    await store.aclose()
    return store.uuid


@pytest.fixture
def filled(tmp_path):
    path = str(tmp_path / "jobs.db")
    return path, anyio.run(fill, path)


async def test_events_parked_shows_what_and_why(filled):
    """One line an event and sink; as JSON, a CloudEvent with ``sink`` and ``reason``."""
    path, uuid = filled
    ran = await run("events", "--store", path, "--parked", "--output", "jsonl")
    assert ran.code == 0, ran.err
    assert [(one["subject"], one["sink"], one["reason"]) for one in ran.events] == [
        ("VI2", "log", "behind"), ("VI2", "webhook:https://example.org/", "HTTP 413: too large"),
    ]  # fmt: skip
    assert {(one["specversion"], one["id"]) for one in ran.events} == {("1.0", f"{uuid}:2:1")}
    ran = await run("events", "--store", path, "--parked")
    assert "parked for webhook:https://example.org/: HTTP 413: too large" in ran.out
    assert ran.out.count("VI2") == 2


async def test_events_parked_goes_alone(filled):
    """With ``--after`` or ``--follow`` it is a mistake, told in words."""
    path, _ = filled
    ran = await run("events", "--store", path, "--parked", "--follow")
    assert (ran.code, ran.out) == (2, "")
    assert "--parked" in ran.err


async def test_events_after_a_cursor_in_front_of_a_gap(filled):
    """It is told, not skipped; from the start or behind the gap there is none."""
    path, uuid = filled
    ran = await run("events", "--store", path, "--after", cursor_of(2, uuid))
    assert (ran.code, ran.out) == (2, "")
    assert "pruned, up to number 4" in ran.err
    for after, subjects in (("", ["VI2", "VI3"]), (cursor_of(4, uuid), [])):
        ran = await run("events", "--store", path, "--after", after, "--output", "jsonl")
        assert ran.code == 0
        assert [json.loads(line)["subject"] for line in ran.out.splitlines()] == subjects
