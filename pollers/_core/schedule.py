"""How long to leave alone what failed.  When to look at a job again is for ``pollers._core.looks``."""

FIRST_PAUSE = 1.0
"""Longest pause after one failed look, in seconds; it doubles with each further one."""


def after_failure(failures: int, *, hint: float | None, longest: float, draw: float) -> float:
    """Seconds to leave a source alone after so many failed looks in a row; a hint is a floor."""
    backoff = min(longest, FIRST_PAUSE * 2.0 ** min(failures - 1, 20)) * (0.5 + 0.5 * draw)
    return max(backoff, hint or 0.0)
