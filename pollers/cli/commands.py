"""The commands and their options; what they do is in the modules beside this one."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click
from anyio.abc import TaskStatus

from pollers import State
from pollers.cli import INTERRUPTED, PIPE_CLOSED, TERMINATED, USAGE, decide
from pollers.cli.providers import KINDS, PROVIDERS, told
from pollers.cli.show import show_events, show_jobs, show_parked
from pollers.cli.watch import WatchOptions, watch
from pollers.errors import BadCursor, StoreError
from resilience import PolicyError

Main = Callable[[], Coroutine[Any, Any, int]]

STORE = click.option(
    "--store",
    "store",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="SQLite file with the jobs.  [default: jobs.db in the user's state directory]",
)
OUTPUT = click.option(
    "--output",
    type=click.Choice(["text", "jsonl"]),
    default="text",
    show_default=True,
    help="jsonl: one CloudEvent (or row) a line on stdout and nothing else.",
)

PROVIDER = click.option(
    "--provider", type=click.Choice(list(PROVIDERS)), default="memories_ai", show_default=True
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="resilience-pollers")
def cli() -> None:
    """Watch jobs of remote APIs until they end, and forget nothing."""


@cli.command(name="watch")
@PROVIDER
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    help=f"Kind of the jobs.  [{told(lambda one: ' or '.join(one.kinds))}; the first by default]",
)
@click.option("--base-url", metavar="URL", help="API root.  [default: the provider's]")
@click.option(
    "--api-key-env",
    metavar="NAME",
    help="Environment variable with the key.  "
    f"[default: {told(lambda one: ' or '.join(one.key_names))}]",
)
@click.option(
    "--account",
    default="default",
    show_default=True,
    metavar="NAME",
    help="A name for the account; never the key.",
)
@click.option("--policy", metavar="FILE", help="Policy file.  [default: the provider's catalog]")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    default=1800.0,
    show_default=True,
    metavar="SECONDS",
    help="After that a job expires, by a last look; without, if the API gives none for 30 s more (an "
    "outage, a quota).",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a job, or a video of a scrape, may be unknown to the API.",
)
@click.option(
    "--expect",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of scrapes: so many videos will come of each task.  [default: not known]",
)
@click.option(
    "--settle",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Of scrapes: a task is whole when no video has come for so long.  [default: 30]",
)
@click.option(
    "--min-interval",
    type=click.FloatRange(min=0.05),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Least time between two looks at a job.",
)
@click.option(
    "--on-refused",
    type=click.Choice(["stop", "stall"]),
    default="stop",
    show_default=True,
    help="When the API refuses us: end with 3, or wait until it is mended.",
)
@click.option("--again", is_flag=True, help="Watch once more what has ended.")
@click.option("-v", "--verbose", is_flag=True, help="Log to stderr.")
@STORE
@OUTPUT
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def watch_command(*, store: str | None, verbose: bool, **given: Any) -> None:
    """Watch jobs until they end; print the terminal event of each.

    A job that ended earlier prints its stored event.  Ctrl-C keeps the store.

    Exit codes: 0 all succeeded, 1 some failed or expired, 2 bad usage, 3 the API refused us, 130
    interrupted.
    """
    options = WatchOptions(store=store or _default_store(), **given)
    _run(lambda: watch(options), verbose=verbose)


@cli.command()
@STORE
@click.option("--after", default="", metavar="CURSOR", help="Only events behind this one.")
@click.option("--follow", is_flag=True, help="Go on with those to come, until Ctrl-C.")
@click.option(
    "--parked", is_flag=True, help="Only those that a sink could not take, with sink and reason."
)
@OUTPUT
def events(store: str | None, after: str, output: str, *, follow: bool, parked: bool) -> None:
    """Print the stored events from the start."""
    path = store or _default_store()
    if parked and (after or follow):
        raise click.UsageError(
            "--parked shows all of them: it goes with neither --after nor --follow"
        )
    if parked:
        _run(lambda: show_parked(path, output=output))
    else:
        _run(lambda: show_events(path, after=after, follow=follow, output=output))


@cli.command()
@STORE
@click.option(
    "--state",
    metavar="STATE",
    help="Only jobs in this state.",
    type=click.Choice([state.value for state in State]),
)
@OUTPUT
def jobs(store: str | None, state: str | None, output: str) -> None:
    """List the stored jobs."""
    path = store or _default_store()
    _run(lambda: show_jobs(path, state=state, output=output))


BY_RID = click.option(
    "--rid", "by_rid", is_flag=True, help="Jobs are given by their rid, as 'jobs' shows it."
)


@cli.command()
@STORE
@BY_RID
@OUTPUT
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def unwatch(store: str | None, ids: tuple[str, ...], output: str, *, by_rid: bool) -> None:
    """Stop watching jobs, while no poller writes to the store; print the event of each.

    The remote work goes on. An uncertain job is given up so, by its token, if the provider has
    nothing of it: then it is safe to submit again.
    """
    path = store or _default_store()
    _run(lambda: decide.unwatch(path, ids=ids, by_rid=by_rid, output=output))


@cli.command()
@STORE
@BY_RID
@OUTPUT
@click.argument("token")
@click.argument("remote_id", metavar="ID")
def settle(store: str | None, token: str, remote_id: str, output: str, *, by_rid: bool) -> None:
    """Say which job of the provider a lost submit became, while no poller writes to the store.

    TOKEN is what 'jobs --state uncertain' shows, ID the provider's id. The next poller on this store
    watches it; its deadline counts from now.
    """
    path = store or _default_store()
    _run(
        lambda: decide.settle(path, job_id=token, remote_id=remote_id, by_rid=by_rid, output=output)
    )


@cli.command()
@PROVIDER
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--key", "keys", multiple=True, help="Accept this key only (repeatable).  [default: any]"
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="INTERFACE=CALLS/SECONDS",
    help="Such as list=5/1 or upload=1/60, for memos_cloud calls=50/1 or tokens=400000/60 "
    "(repeatable).",
)
@click.option(
    "--points",
    type=click.FloatRange(min=0),
    help="Balance; each upload costs 1; memories_ai only.  [default: endless]",
)
@click.option(
    "--parse-seconds",
    type=click.FloatRange(min=0),
    help="Time that a video, a task or a file takes.  "
    "[default: by duration; memos_cloud: 1 to 3, files 2 to 6]",
)
@click.option(
    "--control", is_flag=True, help="Serve /_emulator/ to script faults, jobs and limits."
)
def emulate(**given: Any) -> None:
    """Serve an emulated provider, until Ctrl-C.

    One port has all surfaces of memories_ai: Visual Search under /serve/api/v1, Visual Intelligence
    under /serve/api/v2, the Video Datalake under /serve/datalake/v1.  Interfaces for --limit are
    upload, list, metadata, delete, task, scrape, search, chat, download, v2_upload, v2_metadata,
    v2_delete, v2_task, v2_job, v2_transcription, vlm, datalake_ingest, datalake_read and
    datalake_search.
    """
    from pollers.cli.emulate import emulate as run

    _run(lambda: run(**given))


@cli.command()
@click.option(
    "--keep",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Leave the videos and the store there.",
)
@click.option("--plain", is_flag=True, help="Lines instead of a live display.")
@click.option("--seed", type=int, default=7, show_default=True, help="Chance of the faults.")
def demo(**given: Any) -> None:
    """The main job on real videos, on loopback: emulator, guard, poller, SQLite, and a kill -9."""
    from pollers.cli.demo import demo as run

    _run(lambda: run(**given))


def _run(main: Main, *, verbose: bool = False) -> None:
    """Run a command to its exit code; a person's mistakes become one line on stderr."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(name)s %(message)s")
    if not verbose:
        logging.getLogger("resilience").setLevel(
            logging.ERROR
        )  # the poller tells of the same looks
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = anyio.run(main if os.name == "nt" else partial(_until_signalled, main))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException as error:  # noqa: BLE001  # told apart below, and raised if it is none of these
        code = _code_of(error)
    raise SystemExit(code)


async def _until_signalled(main: Main) -> int:
    """Run a command until it ends or is told to: cancelled by the loop, at one of its awaits.

    Python's own handlers act wherever the program happens to be, in the middle of asyncio too.
    """
    codes: list[int] = []

    async def listen(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for which in signals:
                codes.append(INTERRUPTED if which is signal.SIGINT else TERMINATED)
                tasks.cancel_scope.cancel()
                return

    async with anyio.create_task_group() as tasks:
        await tasks.start(listen)
        codes.append(await main())
        tasks.cancel_scope.cancel()
    return codes[0]


def _terminate(_signal: int, _frame: object) -> None:
    """TERM before the loop runs, or after it."""
    raise SystemExit(TERMINATED)


def _code_of(error: BaseException) -> int:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, BrokenPipeError):  # whoever read our output has enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    if isinstance(error, (StoreError, BadCursor, PolicyError, click.UsageError)):
        said = error.format_message() if isinstance(error, click.UsageError) else str(error)
        click.echo(f"pollers: {said}", err=True)
        return USAGE
    raise error


def _default_store() -> str:
    from platformdirs import user_state_path

    path = user_state_path("pollers", appauthor=False, ensure_exists=True)
    return str(Path(path) / "jobs.db")
