"""``pollers events`` and ``pollers jobs`` where jobs are submitted, as a person runs them."""

import anyio
import pytest
from msgspec import structs
from test_pollers_cli import run

from pollers._core import submit
from pollers._core.model import JobKey, NewJob, Shard, State
from pollers.store.sqlite import SqliteStore

pytestmark = pytest.mark.slow

SHARD = Shard("memories_ai", "api.memories.ai", "alice")
TOKENS = ("rp-1111111111111111", "rp-2222222222222222", "rp-3333333333333333")


async def fill(path) -> None:
    """One that is being submitted, one that has its id, one that nobody knows of."""
    store = SqliteStore(path)
    await store.open()
    epoch = await store.acquire(SHARD)
    key = JobKey("memories_ai", "api.memories.ai", "alice", "videos", "")
    new = [
        NewJob(key=structs.replace(key, remote_id=token), state=State.SUBMITTING, created_at=1.0)
        for token in TOKENS
    ]
    _, second, third = await store.register(SHARD, epoch, new)
    moves = [
        submit.named(second, "VI1", at=2.0, at_once=True),
        submit.uncertain(third, "several", at=3.0, cause="TimeoutError", candidates=["VI2", "VI3"]),
    ]
    await store.commit(SHARD, epoch, moves)
    await store.aclose()


@pytest.fixture
def filled(tmp_path):
    path = str(tmp_path / "jobs.db")
    anyio.run(fill, path)
    return path


async def test_events_tell_what_became_of_a_submit(filled):
    """The token with the id that took its place; why nobody knows, and what to do."""
    ran = await run("events", "--store", filled)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert [line.split()[1] for line in lines] == [
        "submitting", "submitting", "submitting", "watching", "uncertain",
    ]  # fmt: skip
    assert f"VI1  - after 0.0 s, 0 looks  token: {TOKENS[1]}" in lines[3]
    assert "cause: TimeoutError  reason: several  candidates: VI2, VI3  remedy: " in lines[4]
    ran = await run("events", "--store", filled, "--output", "jsonl")
    assert [one["type"] for one in ran.events] == [
        *["pollers.job.submitting"] * 3, "pollers.job.watching", "pollers.job.uncertain",
    ]  # fmt: skip
    assert ran.events[4]["data"]["candidates"] == ["VI2", "VI3"]


@pytest.mark.parametrize(
    ("state", "shown"), [("submitting", TOKENS[0]), ("watching", "VI1"), ("uncertain", TOKENS[2])]
)
async def test_jobs_are_chosen_by_the_new_states(filled, state, shown):
    """One row each."""
    ran = await run("jobs", "--store", filled, "--state", state, "--output", "jsonl")
    assert [(one["id"], one["state"]) for one in ran.events] == [(shown, state)]
    ran = await run("jobs", "--store", filled, "--state", state)
    assert shown[:8] in ran.out
    assert state in ran.out
