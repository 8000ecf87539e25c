"""The command line itself, with click.  Tables are drawn with rich where a person is looking."""

import json
import os
import shutil
import sys
from dataclasses import asdict
from typing import IO, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resilience._core.policy.model import Rule
from resilience._core.policy.section import suggestion
from resilience._core.policy.subject import Limits, Severity
from resilience.cli import words
from resilience.cli.linting import counted, findings, in_words, summary
from resilience.cli.logs import is_unlisted, read_log, unknown_remarks, unknown_row
from resilience.errors import PolicyError
from resilience.policies import Policy

PLAIN_WIDTH = 100
COLUMNS = ("code", "verdict", "recovers", "scope", "wait", "tries", "title", "remedy")
SEVERITIES = {Severity.ERROR: "red", Severity.WARNING: "yellow"}
COLOURS = {"success": "green", "retryable": "yellow", "quota": "cyan", "fatal": "red"}


def run() -> int:
    """Run the command line; the exit code."""
    try:
        status = cli(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        return _complain(error.format_message())
    except PolicyError as error:
        return _complain(str(error))
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # `… | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status if isinstance(status, int) else 0


def _complain(message: str) -> int:
    print(f"resilience: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _loaded(
    _context: click.Context, _parameter: click.Parameter, name: str | None
) -> Policy | None:
    return None if name is None else Policy.load(name)


POLICY = click.argument("policy", metavar="POLICY", callback=_loaded)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="resilience-pollers", prog_name="resilience")
def cli() -> None:
    """Ask what a policy says about the codes of an API, and whether it makes sense.

    POLICY is a catalog (memories_ai, memos_cloud, http) or the path of a TOML file.
    """


@cli.command()
@click.argument("policy", metavar="[POLICY]", required=False, callback=_loaded)
@click.option(
    "--unknown",
    type=click.File("r", encoding="utf-8", errors="replace"),
    metavar="FILE",
    help="Read a log (- for stdin) and show the codes that came and that no policy lists.",
)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def codes(policy: Policy | None, unknown: IO[str] | None, output: str) -> None:
    """List every code with what is done about it.

    With --unknown, the codes of a log that are in no policy: how often and when they came, each with
    TOML that lists it, ready to be corrected and pasted. The log is JSON Lines of structlog, text of
    the standard logger, or dumped snapshots. With POLICY, only what came under the policy of that
    name, without the codes that it lists by now.
    """
    if unknown is not None:
        _show_unknown(policy, unknown, output)
        return
    if policy is None:
        msg = "give a POLICY, or --unknown FILE"
        raise click.UsageError(msg)
    if output == "json":
        click.echo(json.dumps(words.listed(policy), indent=2, ensure_ascii=False))
        return
    rules = words.rules(policy)
    rows = [_cells(row, rules[row["code"]]) for row in words.listed(policy)]
    if sys.stdout.isatty():
        _draw(policy, rows)
    else:
        _print_aligned(rows)


def _show_unknown(policy: Policy | None, lines: IO[str], output: str) -> None:
    log = read_log(lines)
    found = [one for one in log.unknown() if policy is None or is_unlisted(policy, *one)]
    if output == "json":
        rows = [unknown_row(*one) for one in found]
        told = {"unknown": rows, "skipped": log.skipped}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    for name, sighting in found:
        for line in unknown_remarks(name, sighting):
            click.secho(f"# {line}", dim=True)
        click.echo(sighting.stanza)
    skipped = f"; skipped: {counted(log.skipped, 'other line')}" if log.skipped else ""
    print(f"resilience: {counted(len(found), 'unknown code')}{skipped}", file=sys.stderr)


def _cells(row: dict[str, Any], rule: Rule) -> tuple[str, ...]:
    alias = row["alias_of"]
    tries = "" if row["max_attempts"] is None else str(row["max_attempts"])
    return (
        f"{row['code']} = {alias}" if alias else row["code"],
        row["verdict"], row["recovers"] or "", row["scope"], words.short_wait(rule), tries,
        row["title"], f"see {alias}" if alias else row["remedy"],
    )  # fmt: skip


def _print_aligned(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in [COLUMNS, *rows]:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _draw(policy: Policy, rows: list[tuple[str, ...]]) -> None:
    table = Table(title=policy.version, title_justify="left", header_style="bold", pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, no_wrap=column in ("code", "verdict", "wait"))
    for row in rows:
        verdict = Text(row[1], style=COLOURS[row[1]])
        table.add_row(Text(row[0]), verdict, *(Text(cell) for cell in row[2:]))
    Console().print(table)


@cli.command(context_settings={"ignore_unknown_options": True})  # -1 is a code
@POLICY
@click.argument("code")
@click.option("--message", default="", help="The provider's message; it decides for some codes.")
@click.option("--status", type=click.IntRange(100, 599), default=200, show_default=True)
@click.option("--endpoint", default="other", help="Name of the endpoint, as in the policy.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(
    *, policy: Policy, code: str, message: str, status: int, endpoint: str, output: str
) -> None:
    """Tell what a code means and what the guard does about it.

    CODE may also be an HTTP status or the name of an exception.
    """
    if endpoint != "other" and endpoint not in policy.endpoints:
        near = suggestion(endpoint, policy.endpoints)  # any name is allowed, but most are typos
        note = f"resilience: note: {policy.name} has no endpoint {endpoint!r}{near}"
        print(note, file=sys.stderr)
    found = policy.explain(code, message=message, status=status, endpoint=endpoint)
    if output == "json":
        click.echo(json.dumps(words.explained(policy, found), indent=2, ensure_ascii=False))
        return
    verdict, about = words.headline(found)
    click.echo(f"{click.style(verdict, fg=COLOURS[found.verdict.value], bold=True)}  {about}\n")
    width = min(PLAIN_WIDTH, shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns)
    for label, text in words.paragraphs(policy, found):
        click.echo(words.filled(label, text, width=width, margin=14))
        if not label:
            click.echo()


@cli.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Warnings make the exit code 1, too.")
@click.option(
    "--max-wait",
    type=click.FloatRange(0, min_open=True),
    default=Limits().max_wait,
    show_default=True,
    help="Seconds that your calls may wait for quotas.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0, min_open=True),
    help="Seconds that your calls may take.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def lint(
    *, files: tuple[str, ...], strict: bool, max_wait: float, deadline: float | None, output: str
) -> int:
    """Find what is wrong in policy files, all at once.

    FILE is the path of a TOML file, or a catalog. Problems in what it extends are told with the file
    and line where they were written. Exit code 1 if there is any error, 0 if not; a warning is
    something that works but may not be meant.
    """
    limits = Limits(max_wait=max_wait, deadline=deadline)
    found = [finding for file in files for finding in findings(file, limits)]
    if output == "json":
        click.echo(json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False))
    else:
        for one in found:
            severity = click.style(one.severity.value, fg=SEVERITIES[one.severity], bold=True)
            click.echo(f"{one.file}:{one.line}: {severity}: {in_words(one)}")
        click.echo(summary(found, files))
    return int(any(strict or one.severity is Severity.ERROR for one in found))
