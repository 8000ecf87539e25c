"""``pollers watch``: from ids to terminal events."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import aiohttp
import anyio
import click

from pollers import JobHandle, JobSucceeded, Poller, PollerStopped, StoreError
from pollers._core.events import Event
from pollers.cli import OK, REFUSED, SOME_FAILED
from pollers.cli.providers import PROVIDERS, kind_of
from pollers.cli.show import print_event
from resilience import Guard, Policy, ResilienceError


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """What the command line said."""

    ids: Sequence[str]
    provider: str
    kind: str | None
    base_url: str | None
    api_key_env: str | None
    account: str
    policy: str | None
    store: str
    deadline: float
    grace: float
    min_interval: float
    expect: int | None
    settle: float | None
    on_refused: str
    again: bool
    output: str


async def watch(options: WatchOptions) -> int:
    """Watch until every id has ended; returns the exit code."""
    if not all(options.ids):
        raise click.UsageError("an id is empty")
    provider, kind = PROVIDERS[options.provider], kind_of(options.provider, options.kind)
    key = provider.key(options.api_key_env)
    base_url = options.base_url or provider.base_url
    guard = Guard(Policy.load(options.policy or options.provider), options.account)
    host = urlsplit(base_url).hostname or ""
    async with aiohttp.ClientSession(middlewares=[guard.aiohttp(hosts=[host])]) as session:
        make = provider.kinds[kind]
        if kind == "scrapes":
            make = partial(make, grace=options.grace)  # its videos may be unknown, too
        try:
            source = make(session, guard=guard, api_key=key, base_url=base_url)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        poller = Poller(
            source,
            store=options.store,
            on_refused=options.on_refused,
            grace=options.grace,
            min_interval=options.min_interval,
            max_interval=max(30.0, options.min_interval),
        )
        return await _watch_with(poller, options)


async def _watch_with(poller: Poller, options: WatchOptions) -> int:
    ended: list[Event] = []
    stopped: BaseException | None = None
    try:
        async with poller:
            ids = list(dict.fromkeys(options.ids))
            handles = await _register(poller, ids, options)
            if options.output == "text":
                what = handles[0].key.kind.removesuffix("s") + ("s" if len(handles) > 1 else "")
                click.echo(f"watching {len(handles)} {what} in {options.store}", err=True)
            async with anyio.create_task_group() as tasks:
                for handle in handles:
                    tasks.start_soon(partial(_print_result, handle, ended, options.output))
    except* PollerStopped as group:
        stopped = group
    if stopped is not None:
        return _stopped(stopped)
    return OK if all(isinstance(event, JobSucceeded) for event in ended) else SOME_FAILED


async def _register(poller: Poller, ids: list[str], options: WatchOptions) -> list[JobHandle]:
    try:
        return await poller.watch_many(
            ids, deadline=options.deadline, again=options.again, expect=options.expect,
            settle=options.settle,
        )  # fmt: skip
    except ValueError as error:
        raise click.UsageError(str(error)) from None


async def _print_result(handle: JobHandle, ended: list[Event], output: str) -> None:
    event = await handle.result()
    ended.append(event)
    print_event(event, output)


def _stopped(error: BaseException) -> int:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = error.__cause__
    if isinstance(cause, StoreError):
        raise cause
    click.echo(f"pollers: the API refused us: {cause or error}", err=True)
    return REFUSED if isinstance(cause, ResilienceError) else SOME_FAILED
