"""One step of a job's life: exactly the moves of the table, and nothing else."""

from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from pollers import Job, JobKey, Sighting, State
from pollers._core.model import ENDED, NewJob, Phase
from pollers._core.step import IllegalMove, cancel, expire, opening, step

KEY = JobKey("memories_ai", "api.memories.ai", "acme", "videos", "VI1")
BORN = 1_000.0
NOW = 1_060.5
PENDING_TEXT = "UNPARSE"


def job(state: State = State.WATCHING, **changes: Any) -> Job:
    ended = NOW - 1 if state in ENDED else None
    plain = Job(
        rid=7, version=3, key=KEY, state=state, status=PENDING_TEXT, created_at=BORN, ended_at=ended,
        looks=4, data={"user": 7}, features={"size": 1.0},
    )  # fmt: skip
    return replace(plain, **changes)


def sighting(phase: Phase, *, changed: bool, **more: Any) -> Sighting:
    text = {Phase.PENDING: PENDING_TEXT, Phase.SUCCEEDED: "PARSE", Phase.FAILED: "FAIL"}.get(phase)
    if phase is Phase.PENDING and changed:
        text = "PROCESSING"
    return Sighting(remote_id="VI1", phase=phase, status=text, **more)


WATCHING = State.WATCHING
# what a sighting does to a WATCHING job: (phase, over, changed) -> (state, event type) or None
TABLE = {
    (Phase.PENDING, False, False): None,
    (Phase.PENDING, False, True): (State.WATCHING, "changed"),
    (Phase.PENDING, True, False): (State.EXPIRED, "expired"),
    (Phase.PENDING, True, True): (State.EXPIRED, "expired"),
    (Phase.SUCCEEDED, False, False): (State.SUCCEEDED, "succeeded"),
    (Phase.SUCCEEDED, False, True): (State.SUCCEEDED, "succeeded"),
    (Phase.SUCCEEDED, True, False): (State.SUCCEEDED, "succeeded"),
    (Phase.SUCCEEDED, True, True): (State.SUCCEEDED, "succeeded"),
    (Phase.FAILED, False, False): (State.FAILED, "failed"),
    (Phase.FAILED, False, True): (State.FAILED, "failed"),
    (Phase.FAILED, True, False): (State.FAILED, "failed"),
    (Phase.FAILED, True, True): (State.FAILED, "failed"),
    (Phase.MISSING, False, False): None,
    (Phase.MISSING, False, True): None,
    (Phase.MISSING, True, False): (State.EXPIRED, "expired"),
    (Phase.MISSING, True, True): (State.EXPIRED, "expired"),
}
LEGAL_ELSEWHERE = {(State.SUBMITTING, State.FAILED)}
"""The one other move that a sighting can ask for and the table of moves has."""


@pytest.mark.parametrize(
    ("state", "phase", "over", "changed"),
    list(product(State, Phase, (False, True), (False, True))),
)
def test_step_makes_exactly_the_moves_of_the_table(
    state: State, phase: Phase, over: bool, changed: bool
) -> None:
    """Every (state, phase, deadline, status) gives the written move, nothing, or the one error."""
    wanted = TABLE[phase, over, changed]
    before = job(state)
    seen = sighting(phase, changed=changed)
    if wanted is None:
        assert step(before, seen, at=NOW, looks=5, over=over, grace=60.0) is None
        return
    # "changed" keeps the state, and only a watched job can be seen to change
    target = before.state if wanted[1] == "changed" else wanted[0]
    legal = state is WATCHING or (state, target) in LEGAL_ELSEWHERE
    if not legal:
        with pytest.raises(IllegalMove, match=r"job 7: "):
            step(before, seen, at=NOW, looks=5, over=over, grace=60.0)
        return
    made = step(before, seen, at=NOW, looks=5, over=over, grace=60.0)
    assert made is not None
    assert (made.after.state, made.type) == wanted
    assert made.after.version == before.version + 1
    assert made.after.looks == 5
    assert made.at == NOW
    assert made.after.ended_at == (NOW if wanted[0].ended else None)
    assert (made.after.rid, made.after.key, made.after.created_at) == (7, KEY, BORN)


@pytest.mark.parametrize("state", list(State))
def test_only_a_watched_job_expires(state: State) -> None:
    """One that has no id yet has no look that could decide it."""
    if state is WATCHING:
        assert expire(job(state), "deadline", at=NOW, looks=5).after.state is State.EXPIRED
        return
    with pytest.raises(IllegalMove):
        expire(job(state), "deadline", at=NOW, looks=5)


@pytest.mark.parametrize("state", list(State))
def test_what_has_not_ended_can_be_cancelled(state: State) -> None:
    """Whether it has its id or not."""
    if not state.ended:
        assert cancel(job(state), at=NOW, looks=5).after.state is State.CANCELLED
        return
    with pytest.raises(IllegalMove):
        cancel(job(state), at=NOW, looks=5)


@pytest.mark.parametrize(
    ("missing_for", "over", "reason"),
    [
        pytest.param(59.999, False, None, id="within-the-grace"),
        pytest.param(60.0, False, "missing", id="the-grace-is-over"),
        pytest.param(60.0, True, "missing", id="both-are-over"),
        pytest.param(59.999, True, "deadline", id="the-deadline-comes-first"),
    ],
)
def test_missing_becomes_expired_when_the_grace_is_over(
    missing_for: float, over: bool, reason: str | None
) -> None:
    """A job that is missing expires after its grace with reason "missing", and not a bit earlier."""
    seen = sighting(Phase.MISSING, changed=False)
    made = step(job(), seen, at=NOW, looks=5, over=over, missing_for=missing_for, grace=60.0)
    assert (None if made is None else made.after.reason) == reason
    if made is not None:
        assert made.data["reason"] == reason
        assert made.after.status == PENDING_TEXT  # the last that was seen


def test_a_transition_carries_what_its_event_tells() -> None:
    """Status, cause, elapsed, looks and the user's data travel in the event's data."""
    seen = Sighting(
        remote_id="VI1", phase=Phase.FAILED, status="FAIL", cause="no video stream",
        features={"duration": 12.0},
    )  # fmt: skip
    made = step(job(), seen, at=NOW, looks=5)
    assert made is not None
    assert made.data == {
        "v": 1, "status": "FAIL", "cause": "no video stream", "elapsed": 60.5, "looks": 5,
        "user_data": {"user": 7},
    }  # fmt: skip
    assert made.after.features == {"size": 1.0, "duration": 12.0}
    assert (made.after.status, made.after.cause) == ("FAIL", "no video stream")


def test_a_change_tells_the_previous_status() -> None:
    """`changed` names both texts, and the job goes on."""
    made = step(job(), sighting(Phase.PENDING, changed=True), at=NOW, looks=5)
    assert made is not None
    assert (made.data["previous"], made.data["status"]) == (PENDING_TEXT, "PROCESSING")


def test_elapsed_is_never_negative() -> None:
    """A wall clock that jumped back gives 0, not nonsense."""
    made = step(job(), sighting(Phase.SUCCEEDED, changed=True), at=BORN - 3600.0, looks=5)
    assert made is not None
    assert made.data["elapsed"] == 0.0


def test_a_job_opens_watching_with_version_one() -> None:
    """The first transition is version 1, `watching`, nothing seen yet."""
    made = opening(NewJob(key=KEY, created_at=BORN, deadline=BORN + 5, data="x"), 9)
    assert (made.after.rid, made.after.version, made.after.state) == (9, 1, State.WATCHING)
    assert made.type == "watching"
    assert made.data == {
        "v": 1, "status": None, "cause": None, "elapsed": 0.0, "looks": 0, "user_data": "x",
    }  # fmt: skip


def test_the_shard_and_the_source_follow_from_the_key() -> None:
    """A key names its owner and the CloudEvents source."""
    assert KEY.source == "/memories_ai/acme/videos"
    assert (KEY.shard.provider, KEY.shard.deployment, KEY.shard.account, KEY.shard.bucket) == (
        "memories_ai", "api.memories.ai", "acme", 0,
    )  # fmt: skip
