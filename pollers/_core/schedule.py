"""When to look at a job again.

With nothing known about how long a job takes, the hazard of its ending is about ``0.5 / t`` at age
``t``, and the best density of looks is proportional to the square root of the hazard (Keller, 1974,
"Optimum Checking Schedules", Management Science 21(3)): so the interval grows with the square root
of the age.  Fast jobs are found fast, slow ones cost little, and nobody has to tune it.
"""

import math

FIRST_PAUSE = 1.0
"""Longest pause after one failed look, in seconds; it doubles with each further one."""

JITTER = 0.1
"""Intervals are shortened by up to this part, so that jobs of one second drift apart."""


def interval(age: float, *, shortest: float, longest: float, draw: float) -> float:
    """Seconds until the next look at a job that is ``age`` seconds old; ``draw`` in ``[0, 1)``."""
    plain = min(longest, max(shortest, math.sqrt(max(age, 0.0))))
    return max(shortest, plain * (1.0 - JITTER * draw))


def after_failure(failures: int, *, hint: float | None, longest: float, draw: float) -> float:
    """Seconds to leave a source alone after so many failed looks in a row; a hint is a floor."""
    backoff = min(longest, FIRST_PAUSE * 2.0 ** min(failures - 1, 20)) * (0.5 + 0.5 * draw)
    return max(backoff, hint or 0.0)
