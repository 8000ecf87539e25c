"""``pollers events`` and ``pollers jobs``: what is stored, for people and for programs.

Both open the store read-only, so they work while a poller writes to it.
"""

import sys
from datetime import UTC, datetime
from typing import Any

import anyio
import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pollers import BadCursor, Event, Job, JobEvent, State
from pollers._core.events import event_of, seq_of
from pollers.cli import OK
from pollers.store.sqlite import SqliteStore

FOLLOW_EVERY = 0.5
NO_END = 10_000
_COLOURS = {
    "succeeded": "green", "failed": "red", "expired": "yellow", "watching": "cyan",
    "submitting": "blue", "uncertain": "magenta",
}  # fmt: skip


def print_event(event: Event, output: str) -> None:
    """One event: a CloudEvent, or a line that a person reads."""
    if output == "jsonl":
        click.echo(msgspec.json.encode(event.to_cloudevent()).decode())
        return
    told = event.to_cloudevent()
    word = told["type"].rsplit(".", 1)[-1]
    facts = told["data"]
    parts = [f"{event.time:%Y-%m-%dT%H:%M:%SZ}", f"{word:<10}", f"{event.subject:<20}"]
    if isinstance(event, JobEvent):
        parts.append(f"{event.status or '-':<8}")
        parts.append(f"after {event.elapsed:.1f} s, {counted_looks(event.looks)}")
    if facts.get("candidates"):
        facts["candidates"] = ", ".join(facts["candidates"])
    told_too = ("token", "cause", "reason", "candidates", "code", "remedy")
    parts += [f"{name}: {facts[name]}" for name in told_too if facts.get(name)]
    click.echo("  ".join(parts).rstrip())
    if isinstance(event, JobEvent):
        for child in event.children:
            told_of = [child.id, f"{child.state:<10}", child.status or "-"]
            told_of += [f"cause: {child.cause}"] if child.cause else []
            click.echo(f"{'':10}{'  '.join(told_of)}")


def counted_looks(count: int) -> str:
    """So many looks, in words."""
    return "1 look" if count == 1 else f"{count} looks"


async def show_events(path: str, *, after: str, follow: bool, output: str) -> int:
    """Print stored events from a cursor on; with ``follow`` until interrupted."""
    store = SqliteStore(path, read_only=True)
    await store.open()
    try:
        seq = seq_of(after, store.uuid)
        if after and seq < (gone := await store.pruned()):
            raise BadCursor(f"{after!r}: events behind it were pruned, up to number {gone}")
        while True:
            rows = await store.events(seq)
            for row in rows:
                seq = row.seq
                print_event(event_of(row, store.uuid), output)
            if not rows and not follow:
                if not seq:
                    click.echo("pollers: no events", err=True)
                return OK
            if not rows:
                await anyio.sleep(FOLLOW_EVERY)
    finally:
        await store.aclose()


async def show_parked(path: str, *, output: str) -> int:
    """Print the events that sinks could not take, each with its sink and the reason."""
    store = SqliteStore(path, read_only=True)
    await store.open()
    try:
        parked = await store.parked()
        if not parked:
            click.echo("pollers: no parked events", err=True)
        for one in parked:
            event = event_of(one.row, store.uuid)
            if output == "jsonl":
                told = event.to_cloudevent() | {"sink": one.sink, "reason": one.reason}
                click.echo(msgspec.json.encode(told).decode())
            else:
                print_event(event, output)
                click.echo(f"{'':10}parked for {one.sink}: {one.reason}")
    finally:
        await store.aclose()
    return OK


async def show_jobs(path: str, *, state: str | None, output: str) -> int:
    """Print stored jobs."""
    store = SqliteStore(path, read_only=True)
    await store.open()
    try:
        rows = await store.jobs(state=State(state) if state else None)
    finally:
        await store.aclose()
    if not rows:
        click.echo(f"pollers: no {f'{state} ' if state else ''}jobs", err=True)
    elif output == "jsonl":
        for job in rows:
            click.echo(msgspec.json.encode(_plain(job)).decode())
    elif sys.stdout.isatty():
        Console().print(_table(rows))
    else:
        _print_whole(_table(rows))
    return OK


def _print_whole(table: Table) -> None:
    """To a pipe, which has no edge; without the blanks that fill the last column."""
    console = Console(width=NO_END)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _plain(job: Job) -> dict[str, Any]:
    row = msgspec.to_builtins(job)
    key = row.pop("key")
    return {"id": key.pop("remote_id"), **key, **row}


def _table(jobs: list[Job]) -> Table:
    table = Table(
        "rid",
        "id",
        "kind",
        "state",
        "status",
        "since",
        "took",
        "looks",
        "cause",
        box=None,
        pad_edge=False,
    )
    for job in jobs:
        took = f"{job.ended_at - job.created_at:.1f} s" if job.ended_at is not None else ""
        since = datetime.fromtimestamp(job.created_at, UTC)
        colour = _COLOURS.get(job.state.value, "white")
        table.add_row(
            str(job.rid), escape(job.key.remote_id), job.key.kind, f"[{colour}]{job.state.value}[/]",
            escape(job.status or "-"), f"{since:%Y-%m-%d %H:%M:%S}Z", took, str(job.looks),
            escape(job.cause or job.reason or ""),  # brackets are the provider's, not markup
        )  # fmt: skip
    return table
