"""``pollers emulate``: the emulated provider as a server of its own."""

import re
from collections.abc import Sequence
from typing import Any

import click

from pollers.cli import OK
from pollers.emulator import MemoriesEmulator, MemosEmulator

Emulated = MemoriesEmulator | MemosEmulator


async def emulate(
    *,
    provider: str,
    host: str,
    port: int,
    keys: Sequence[str],
    limits: Sequence[str],
    points: float | None,
    parse_seconds: float | None,
    control: bool,
) -> int:
    """Serve until cancelled."""
    settings: dict[str, Any] = {"limits": dict(map(_limit, limits)), "control": control}
    if keys:
        settings["keys"] = list(keys)
    try:
        if provider == "memos_cloud":
            emulator = _memos(host, port, settings, seconds=parse_seconds, points=points)
        else:
            emulator = _memories(host, port, settings, seconds=parse_seconds, points=points)
    except ValueError as error:
        raise click.UsageError(str(error)) from None

    def ready(emulator: Emulated) -> None:
        click.echo(f"{provider} is emulated at {emulator.base_url}  (Ctrl-C ends it)", err=True)
        if others := emulator.urls[1:]:
            click.echo(f"  and at {' and '.join(others)}", err=True)

    try:
        await emulator.run(ready)
    except OSError as error:
        raise click.UsageError(f"cannot listen on {host}:{port}: {error}") from None
    return OK


def _memories(
    host: str, port: int, settings: dict[str, Any], *, seconds: float | None, points: float | None
) -> Emulated:
    if seconds is not None:
        settings["parse_seconds"] = seconds
    return MemoriesEmulator(host=host, port=port, points=points, **settings)


def _memos(
    host: str, port: int, settings: dict[str, Any], *, seconds: float | None, points: float | None
) -> Emulated:
    if points is not None:
        raise click.UsageError("--points: memos_cloud has none")
    if seconds is not None:
        settings |= {"task_seconds": seconds, "file_seconds": seconds}
    return MemosEmulator(host=host, port=port, **settings)


def _limit(text: str) -> tuple[str, tuple[int, float]]:
    found = re.fullmatch(r"(\w+)=(\d+)/(\d+(?:\.\d+)?)", text)
    if found is None or float(found[3]) <= 0:
        raise click.UsageError(
            f"--limit {text!r}: expected INTERFACE=CALLS/SECONDS, such as list=5/1"
        )
    return found[1], (int(found[2]), float(found[3]))
