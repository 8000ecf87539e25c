"""``resilience codes | explain | lint``: what a policy says, for people and for scripts.

Nothing in here decides anything.  ``words.py`` turns rules into text and JSON, ``logs.py`` finds
unlisted codes in logs, ``commands.py`` is the command line; it needs the extra ``cli``, which is why
it is imported late.
"""

import sys
from typing import NoReturn

OPTIONAL = ("click", "rich")
"""Packages of the extra ``cli``."""


def main() -> NoReturn:
    """Run the program on ``sys.argv``.

    Raises:
        SystemExit: always; 0 for an answer, 2 for a bad policy or bad usage.
    """
    try:
        from resilience.cli.commands import run  # the extra may be missing
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in OPTIONAL:
            raise
        print(f"resilience: {error.name} is missing: pip install 'resilience-pollers[cli]'",
              file=sys.stderr)  # fmt: skip
        raise SystemExit(2) from None
    raise SystemExit(run())
