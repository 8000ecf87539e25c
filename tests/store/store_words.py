"""What the tests of the stores say often: small domains, values made shortly, everything at once."""

# ruff: noqa: D102, D103  # helpers say it by their names

import dataclasses
from typing import Any

from msgspec.structs import replace

from pollers._core import submit
from pollers._core.model import (
    Job,
    JobKey,
    NewJob,
    Notice,
    Phase,
    Shard,
    Sighting,
    State,
    Transition,
)
from pollers._core.step import cancel, expire, step
from pollers.store import Store

A = Shard("memories_ai", "api.memories.ai", "alice")
B = Shard("memories_ai", "api.memories.ai", "bob")
A1 = dataclasses.replace(A, bucket=1)
SHARDS = (A, B, A1)
IDS = ("VI1", "VI2", "VI3")
TOKENS = ("rp-0", "rp-1", "rp-2", "rp-3")
SINKS = ("hook", "log")


def key(remote_id: str = "VI1", shard: Shard = A, kind: str = "videos") -> JobKey:
    return JobKey(shard.provider, shard.deployment, shard.account, kind, remote_id)


def new(remote_id: str = "VI1", shard: Shard = A, *, at: float = 1.0, **more: Any) -> NewJob:
    return NewJob(key=key(remote_id, shard), created_at=at, **more)


def live(job: Job, state: State = State.WATCHING) -> Job:
    """The tests let jobs live again, to have more to try."""
    return replace(job, state=state, ended_at=None)


def changed(job: Job, status: str = "UNPARSE", *, at: float = 2.0) -> Transition:
    after = replace(live(job), version=job.version + 1, status=status, looks=1)
    return Transition(after=after, type="changed", at=at, data={"status": status})


def submitting(token: str = "rp-1", shard: Shard = A, **more: Any) -> NewJob:
    return new(token, shard, state=State.SUBMITTING, **more)


def named(job: Job, remote_id: str = "VI1", *, at: float = 2.0) -> Transition:
    return submit.named(live(job, State.SUBMITTING), remote_id, at=at, at_once=True)


def renamed(job: Job, *, at: float) -> Transition:
    """A job that has a token gets its id, one of a few; another changes."""
    if not job.key.remote_id.startswith("rp-"):
        return changed(job, at=at)
    return named(job, IDS[job.rid % len(IDS)], at=at)


def ended(job: Job, *, at: float = 3.0) -> Transition:
    seen = Sighting(remote_id=job.key.remote_id, phase=Phase.SUCCEEDED, status="PARSE")
    moved = step(live(job), seen, at=at, looks=2)
    assert moved is not None
    return moved


def expired(job: Job, *, at: float = 4.0) -> Transition:
    return expire(live(job), "deadline", at=at, looks=3)


def cancelled(job: Job, *, at: float = 5.0) -> Transition:
    return cancel(live(job), at=at, looks=4)


def notice(kind: str = "stalled", *, at: float = 6.0) -> Notice:
    return Notice(type=kind, at=at, data={"code": "0401"})


async def everything(store: Store) -> dict[str, Any]:
    """All that can be seen of a store, and that it agrees with itself."""
    jobs = await store.jobs()
    events = await store.events(0, 100_000)
    told: dict[int, int] = {}
    for event in events:
        told[event.rid] = told.get(event.rid, 0) + bool(event.rid)
    assert {job.rid: job.version for job in jobs} == {rid: n for rid, n in told.items() if rid}
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    return {
        "jobs": jobs,
        "events": events,
        "head": await store.head(),
        "active": [await store.load_active(shard) for shard in SHARDS],
        "of shards": [await store.jobs(shard=shard) for shard in SHARDS],
        "states": {state: await store.jobs(state=state) for state in State},
        "last": [await store.last_event(rid) for rid in range(len(jobs) + 2)],
        "found": [
            await store.find(key(name, shard)) for shard in SHARDS for name in (*IDS, *TOKENS)
        ],
        "blobs": [await store.blobs(shard) for shard in SHARDS],
        "acked": [await store.acked(sink) for sink in SINKS],
        "parked": await store.parked(),
        "pruned": await store.pruned(),
    }
