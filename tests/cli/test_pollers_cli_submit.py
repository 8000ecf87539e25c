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
    assert len({line.index("after") for line in lines}) == 1
    assert lines[3].startswith("1970-01-01T00:00:02Z  watching    VI1  ")
    assert lines[3].endswith(f"  after 0.0 s, 0 looks  token: {TOKENS[1]}")
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


async def test_the_table_of_jobs_has_the_rid_and_no_blanks_at_its_ends(filled):
    """What ``settle`` takes is there to be seen; a line ends where its text does."""
    ran = await run("jobs", "--store", filled)
    lines = ran.out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["rid", "id"], ["1", TOKENS[0]], ["2", "VI1"], ["3", TOKENS[2]],
    ]  # fmt: skip
    assert [line for line in lines if line != line.rstrip()] == []
    ran = await run("jobs", "--store", filled, "--output", "jsonl")
    assert [one["rid"] for one in ran.events] == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["jobs"], "no jobs"),
        (["jobs", "--state", "failed", "--output", "jsonl"], "no failed jobs"),
        (["events"], "no events"),
        (["events", "--parked"], "no parked events"),
    ],
)
async def test_an_empty_store_is_told_on_stderr(tmp_path, words, said):
    """Nothing at all would look like a command that did not work; stdout is for data."""
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    await store.aclose()
    ran = await run(*words, "--store", str(tmp_path / "jobs.db"))
    assert (ran.code, ran.out, ran.err) == (0, "", f"pollers: {said}\n")


async def test_a_lost_submit_is_settled_from_the_shell(filled):
    """By its token or its rid: it is watched from now on, under the id that was given."""
    ran = await run("settle", "--store", filled, TOKENS[2], "VI3")
    assert ran.code == 0, ran.err
    assert ran.out.split()[1:3] == ["watching", "VI3"]
    assert f"token: {TOKENS[2]}" in ran.out
    ran = await run("settle", "--store", filled, "--rid", "1", "VI2", "--output", "jsonl")
    assert [(one["type"], one["subject"]) for one in ran.events] == [
        ("pollers.job.watching", "VI2")
    ]
    ran = await run("jobs", "--store", filled, "--output", "jsonl")
    assert [(one["id"], one["state"]) for one in ran.events] == [
        ("VI2", "watching"), ("VI1", "watching"), ("VI3", "watching"),
    ]  # fmt: skip


async def test_a_lost_submit_that_became_a_known_job_ends(filled):
    """Two rows would tell of one job."""
    ran = await run("settle", "--store", filled, TOKENS[2], "VI1")
    assert ran.out.split()[1:3] == ["cancelled", TOKENS[2]]
    assert "cause: VI1 is known already, as job 2" in ran.out


async def test_jobs_are_unwatched_from_the_shell(filled):
    """Live ones, each once; all or none."""
    ran = await run("unwatch", "--store", filled, "VI1", "VI9")
    assert (ran.code, ran.out) == (2, "")
    assert "VI9: nothing was changed" in ran.err
    ran = await run("unwatch", "--store", filled, "VI1", TOKENS[0], "VI1")
    assert ran.code == 0, ran.err
    assert [line.split()[1:3] for line in ran.out.splitlines()] == [
        ["cancelled", "VI1"], ["cancelled", TOKENS[0]],
    ]  # fmt: skip
    ran = await run("unwatch", "--store", filled, "VI1")
    assert ran.code == 2
    assert "no such job is watching or submitting or uncertain" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["settle", "VI1", "VI2"], "no such job is submitting or uncertain", id="has its id"),
        pytest.param(["settle", TOKENS[0], ""], "the provider's id is empty", id="no id"),
        pytest.param(["unwatch", "--rid", "VI1"], "'VI1' is no rid", id="no rid"),
        pytest.param(["unwatch", "--rid", "9"], "rid 9: nothing was changed", id="no such rid"),
    ],
)  # fmt: skip
async def test_a_decision_about_nothing_changes_nothing(filled, words, said):
    """In one line, with the events that there were."""
    before = (await run("events", "--store", filled)).out
    ran = await run(*words, "--store", filled)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert (await run("events", "--store", filled)).out == before


async def test_an_id_of_two_accounts_is_chosen_by_its_rid(filled):
    """Nobody's job is ended by mistake."""
    store = SqliteStore(filled)
    await store.open()
    bob = Shard("memories_ai", "api.memories.ai", "bob")
    key = JobKey("memories_ai", "api.memories.ai", "bob", "videos", "VI1")
    await store.register(bob, await store.acquire(bob), [NewJob(key=key, created_at=1.0)])
    await store.aclose()
    ran = await run("unwatch", "--store", filled, "VI1")
    assert ran.code == 2
    assert "choose one with --rid: 2 (videos of alice), 4 (videos of bob)" in ran.err
    ran = await run("unwatch", "--store", filled, "--rid", "4")
    assert ran.out.split()[1:3] == ["cancelled", "VI1"]


async def test_a_decision_waits_for_no_writer_and_makes_no_store(filled, tmp_path):
    """Whoever writes is named, with what to do; a mistyped file is not created."""
    store = SqliteStore(filled)
    await store.open()
    ran = await run("settle", "--store", filled, TOKENS[2], "VI3")
    await store.aclose()
    assert ran.code == 2
    assert "writes to it" in ran.err
    assert "decide it in that program (job.unwatch(), poller.settle()), or stop it first" in ran.err
    ran = await run("unwatch", "--store", str(tmp_path / "typo.db"), "VI1")
    assert ran.code == 2
    assert not (tmp_path / "typo.db").exists()
