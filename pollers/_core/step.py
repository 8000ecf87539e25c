"""One step of a job's life: a row and a sighting in, a transition out (or nothing).

Only three things are worth a transition: the job ended, its time is over, or its status text
changed.  A look that finds nothing new writes nothing, and needs no row: ``is_news`` tells.

What a job is made of (its children) is written once, with its end.  Until then the one who watches
has it in memory; with every change of one of n it would be n times n, and after a restart the
provider is asked anyway.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from pollers._core.model import MOVES, Job, NewJob, Phase, Sighting, State, Transition
from pollers._core.model import RECORD_VERSION as V

Step = tuple[int, Callable[[Job], Transition | None]]
"""A row's id, and what is to be made of the row: it is read when there is something to write."""


class IllegalMove(AssertionError):  # noqa: N818  # a mistake of ours, not a condition to handle
    """A transition that the table of moves does not have."""


def opening(new: NewJob, rid: int) -> Transition:
    """The first transition of a job: it is being watched, or submitted."""
    job = first_row(new, rid)
    return Transition(
        after=job, type=new.state.value, at=new.created_at, data=opening_data(new.data)
    )


def first_row(new: NewJob, rid: int) -> Job:
    """A job's row as it is made."""
    return Job(
        rid=rid, version=1, key=new.key, state=new.state, created_at=new.created_at,
        submitted_at=new.submitted_at, deadline=new.deadline, data=new.data,
        features=new.features,
    )  # fmt: skip


def opening_data(user_data: Any) -> dict[str, Any]:
    """What the event of a first transition tells; the same for all who have no data of their own."""
    return {
        "v": V, "status": None, "cause": None, "elapsed": 0.0, "looks": 0, "user_data": user_data,
    }  # fmt: skip


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
    if not is_news(job.status, seen, over=over, missing_for=missing_for, grace=grace):
        return None
    job = replace(job, features={**job.features, **seen.features})
    match seen.phase:
        case Phase.SUCCEEDED | Phase.FAILED:
            state = State.SUCCEEDED if seen.phase is Phase.SUCCEEDED else State.FAILED
            return _end(
                job, state, at=at, looks=looks, status=seen.status, cause=seen.cause,
                children=seen.children,
            )  # fmt: skip
        case Phase.MISSING if missing_for >= grace:
            return expire(job, "missing", at=at, looks=looks, children=seen.children)
    if over:
        return expire(
            job, "deadline", at=at, looks=looks, status=seen.status, children=seen.children
        )
    after = replace(job, version=job.version + 1, status=seen.status, cause=seen.cause, looks=looks)
    return moved(job, after, "changed", at, previous=job.status)


def is_news(
    status: str | None, seen: Sighting, *, over: bool, missing_for: float, grace: float
) -> bool:
    """Whether a sighting means anything for a job whose row has this status; see :func:`step`."""
    match seen.phase:
        case Phase.SUCCEEDED | Phase.FAILED:
            return True
        case Phase.MISSING:
            return over or missing_for >= grace
    return over or seen.status != status


def expire(
    job: Job,
    reason: str,
    *,
    at: float,
    looks: int,
    status: str | None = None,
    cause: str | None = None,
    children: Sequence[Sighting] = (),
) -> Transition:
    """Its time is over (``deadline``), or the provider does not know it (``missing``)."""
    return _end(
        job, State.EXPIRED, at=at, looks=looks, status=status, cause=cause, reason=reason,
        children=children,
    )  # fmt: skip


def cancel(
    job: Job,
    *,
    at: float,
    looks: int | None,
    cause: str | None = None,
    children: Sequence[Sighting] = (),
) -> Transition:
    """We stop watching; the remote work is not touched.  ``looks=None``: no more than the row has."""
    looks = job.looks if looks is None else looks
    return _end(job, State.CANCELLED, at=at, looks=looks, cause=cause, children=children)


def _end(
    job: Job,
    state: State,
    *,
    at: float,
    looks: int,
    status: str | None = None,
    cause: str | None = None,
    reason: str | None = None,
    children: Sequence[Sighting] = (),
) -> Transition:
    features = job.features
    if children:
        features = {**features, "children": [_child(one) for one in children]}
    after = replace(
        job, version=job.version + 1, state=state, status=status or job.status, cause=cause,
        reason=reason, ended_at=at, looks=looks, features=features,
    )  # fmt: skip
    return moved(job, after, state.value, at)


def _child(one: Sighting) -> dict[str, Any]:
    return {
        "id": one.remote_id, "state": one.phase.value, "status": one.status, "cause": one.cause,
    }  # fmt: skip


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
    if job.state.ended and "children" in job.features:
        facts["children"] = job.features["children"]
    return facts
