"""One step of a job's life: a row and a sighting in, a transition out (or nothing).

Only three things are worth a transition: the job ended, its time is over, or its status text
changed.  A look that finds nothing new writes nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pollers._core.model import MOVES, Job, NewJob, Phase, Sighting, State, Transition
from pollers._core.model import RECORD_VERSION as V


class IllegalMove(AssertionError):  # noqa: N818  # a mistake of ours, not a condition to handle
    """A transition that the table of moves does not have."""


def opening(new: NewJob, rid: int) -> Transition:
    """The first transition of a job: it is being watched, or submitted."""
    job = Job(
        rid=rid, version=1, key=new.key, state=new.state, created_at=new.created_at,
        submitted_at=new.submitted_at, deadline=new.deadline, data=new.data,
        features=new.features,
    )  # fmt: skip
    return Transition(
        after=job, type=new.state.value, at=new.created_at, data=_data(job, new.created_at)
    )


def step(
    job: Job,
    seen: Sighting,
    *,
    at: float,
    looks: int,
    over: bool = False,
    missing_for: float = 0.0,
    grace: float = 0.0,
) -> Transition | None:
    """What a sighting means for a job.

    Args:
        job: the row as it is.
        seen: what the look found.
        at: wall time of the look.
        looks: looks at this job so far, this one included.
        over: the deadline is past.  (Whoever runs knows better than wall time, which may jump.)
        missing_for: seconds that it has been missing from answers.
        grace: seconds that a job may be missing before it counts as gone.
    """
    features = {**job.features, **seen.features}
    if seen.children:
        features["children"] = [
            {
                "id": one.remote_id,
                "state": one.phase.value,
                "status": one.status,
                "cause": one.cause,
            }
            for one in seen.children
        ]
    match seen.phase:
        case Phase.SUCCEEDED | Phase.FAILED:
            state = State.SUCCEEDED if seen.phase is Phase.SUCCEEDED else State.FAILED
            return _end(
                job, state, at=at, looks=looks, status=seen.status, cause=seen.cause,
                features=features,
            )  # fmt: skip
        case Phase.MISSING if missing_for >= grace:
            return expire(job, "missing", at=at, looks=looks, features=features)
    if over:
        return expire(job, "deadline", at=at, looks=looks, status=seen.status, features=features)
    if seen.phase is Phase.PENDING and seen.status != job.status:
        after = replace(
            job, version=job.version + 1, status=seen.status, cause=seen.cause, looks=looks,
            features=features,
        )  # fmt: skip
        return moved(job, after, "changed", at, previous=job.status)
    return None


def expire(
    job: Job,
    reason: str,
    *,
    at: float,
    looks: int,
    status: str | None = None,
    cause: str | None = None,
    features: Mapping[str, Any] | None = None,
) -> Transition:
    """Its time is over (``deadline``), or the provider does not know it (``missing``)."""
    return _end(
        job, State.EXPIRED, at=at, looks=looks, status=status, cause=cause, reason=reason,
        features=features,
    )  # fmt: skip


def cancel(job: Job, *, at: float, looks: int, cause: str | None = None) -> Transition:
    """We stop watching; the remote work is not touched."""
    return _end(job, State.CANCELLED, at=at, looks=looks, cause=cause)


def _end(
    job: Job,
    state: State,
    *,
    at: float,
    looks: int,
    status: str | None = None,
    cause: str | None = None,
    reason: str | None = None,
    features: Mapping[str, Any] | None = None,
) -> Transition:
    after = replace(
        job, version=job.version + 1, state=state, status=status or job.status, cause=cause,
        reason=reason, ended_at=at, looks=looks,
        features=job.features if features is None else features,
    )  # fmt: skip
    return moved(job, after, state.value, at)


def moved(job: Job, after: Job, kind: str, at: float, **more: Any) -> Transition:
    """A move of the table, with what its event tells."""
    if after.state not in MOVES.get(job.state, frozenset()):
        msg = f"job {job.rid}: {job.state} -> {after.state}"
        raise IllegalMove(msg)
    return Transition(after=after, type=kind, at=at, data=_data(after, at) | more)


def _data(job: Job, at: float) -> dict[str, Any]:
    facts = {
        "v": V,
        "status": job.status,
        "cause": job.cause,
        "elapsed": max(0.0, round(at - job.created_at, 6)),
        "looks": job.looks,
        "user_data": job.data,
    }
    if job.reason:
        facts["reason"] = job.reason
    # only the end tells of each: with every change of one of n it would be n times n
    if job.state.ended and "children" in job.features:
        facts["children"] = job.features["children"]
    return facts
