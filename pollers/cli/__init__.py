"""The command line ``pollers demo | watch | jobs | events | unwatch | settle | emulate``.

stdout carries data only; everything said to a person goes to stderr.  Exit codes: 0 all succeeded,
1 some job failed or expired, 2 bad usage or a store that can't be used, 3 the API refused us,
130 interrupted, 143 terminated, 141 when nobody reads the output any more.
"""

import sys

OK, SOME_FAILED, USAGE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130
TERMINATED, PIPE_CLOSED = 143, 141


def main() -> None:
    """Entry point of ``pollers``."""
    try:
        import click  # noqa: F401
    except ModuleNotFoundError:
        print(
            "pollers: the command line needs: pip install 'resilience-pollers[cli]'",
            file=sys.stderr,
        )
        raise SystemExit(USAGE) from None
    from pollers.cli.commands import cli

    cli()
