"""``pollers unwatch`` and ``pollers settle``: what a person decides about a stored job.

They write to the store themselves, while no poller does, and ask no provider: no key is needed.  A
poller that opens the store later goes on from there.  Each prints the event that it made.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import click
from msgspec import structs

from pollers import Job, State, StoreBusy
from pollers._core.events import event_of
from pollers._core.model import Transition
from pollers._core.step import cancel
from pollers._core.submit import settled
from pollers.cli import OK
from pollers.cli.show import print_event
from pollers.store.sqlite import SqliteStore

LOST = (State.SUBMITTING, State.UNCERTAIN)
LIVE = (State.WATCHING, *LOST)


async def unwatch(path: str, *, ids: Sequence[str], by_rid: bool, output: str) -> int:
    """End jobs as cancelled; the remote work goes on.  All of them, or none if one is not live."""
    async with _writing(path) as store:
        jobs = [await _the_job(store, one, LIVE, by_rid=by_rid) for one in dict.fromkeys(ids)]
        for job in jobs:
            await _commit(store, cancel(job, at=time.time(), looks=None), output)
    return OK


async def settle(path: str, *, job_id: str, remote_id: str, by_rid: bool, output: str) -> int:
    """Say which job of the provider a submit became whose reply was lost."""
    if not remote_id:
        raise click.UsageError("the provider's id is empty")
    async with _writing(path) as store:
        job = await _the_job(store, job_id, LOST, by_rid=by_rid)
        other = await store.find(structs.replace(job.key, remote_id=remote_id))
        await _commit(store, settled(job, remote_id, other, at=time.time()), output)
    return OK


@asynccontextmanager
async def _writing(path: str) -> AsyncIterator[SqliteStore]:
    """The store of a file that is there: a mistyped name must not make another."""
    reader, store = SqliteStore(path, read_only=True), SqliteStore(path)
    try:
        await reader.open()
        await reader.aclose()
        await store.open()
        yield store
    except StoreBusy as error:
        hint = "decide it in that program (job.unwatch(), poller.settle()), or stop it first"
        raise click.UsageError(f"{error}; {hint}") from None
    finally:
        await reader.aclose()
        await store.aclose()


async def _the_job(store: SqliteStore, given: str, states: Sequence[State], *, by_rid: bool) -> Job:
    """The one row that is meant."""
    if by_rid and not given.isdecimal():
        raise click.UsageError(f"{given!r} is no rid: a number, as 'pollers jobs' shows it")
    if by_rid:
        rows = await store.rows([int(given)])
    else:
        rows = [one for state in states for one in await store.jobs(state=state)
                if one.key.remote_id == given]  # fmt: skip
    fitting = [job for job in rows if job.state in states]
    if len(fitting) == 1:
        return fitting[0]
    what = f"{'rid ' if by_rid else ''}{given}: nothing was changed; "
    if fitting:
        known = ", ".join(f"{job.rid} ({job.key.kind} of {job.key.account})" for job in fitting)
        raise click.UsageError(f"{what}these rows have it, so choose one with --rid: {known}")
    raise click.UsageError(f"{what}no such job is {' or '.join(states)}")


async def _commit(store: SqliteStore, move: Transition, output: str) -> None:
    shard = move.after.key.shard
    (row,) = await store.commit(shard, await store.acquire(shard), [move])
    print_event(event_of(row, store.uuid), output)
