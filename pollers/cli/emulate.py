"""``pollers emulate``: the emulated provider as a server of its own."""

import re
from collections.abc import Sequence
from typing import Any

import click

from pollers.cli import OK
from pollers.emulator import MemoriesEmulator, serve


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
    settings: dict[str, Any] = {
        "limits": dict(map(_limit, limits)),
        "points": points,
        "control": control,
    }
    if keys:
        settings["keys"] = list(keys)
    if parse_seconds is not None:
        settings["parse_seconds"] = parse_seconds

    def ready(emulator: MemoriesEmulator) -> None:
        click.echo(f"{provider} is emulated at {emulator.base_url}  (Ctrl-C ends it)", err=True)
        click.echo(f"  and at {emulator.v2_url} and {emulator.datalake_url}", err=True)

    try:
        await serve(host=host, port=port, ready=ready, **settings)
    except OSError as error:
        raise click.UsageError(f"cannot listen on {host}:{port}: {error}") from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return OK


def _limit(text: str) -> tuple[str, tuple[int, float]]:
    found = re.fullmatch(r"(\w+)=(\d+)/(\d+(?:\.\d+)?)", text)
    if found is None or float(found[3]) <= 0:
        raise click.UsageError(
            f"--limit {text!r}: expected INTERFACE=CALLS/SECONDS, such as list=5/1"
        )
    return found[1], (int(found[2]), float(found[3]))
