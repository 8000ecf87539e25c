"""Hypothesis profiles; nothing else is global.  ``HYPOTHESIS_PROFILE=nightly pytest tests/core``."""

import os

from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = [HealthCheck.too_slow]

settings.register_profile(
    "fast", max_examples=30, deadline=None, database=None, suppress_health_check=_SLOW_IS_FINE
)
settings.register_profile(
    "ci", max_examples=100, deadline=None, database=None, derandomize=True, print_blob=True,
    suppress_health_check=_SLOW_IS_FINE,
)  # fmt: skip
settings.register_profile(
    "nightly", max_examples=2000, stateful_step_count=100, deadline=None, database=None,
    suppress_health_check=_SLOW_IS_FINE,
)  # fmt: skip
settings.register_profile(  # for `make mutants`, where each example is tried a thousand times
    "mutants", max_examples=40, deadline=None, database=None, derandomize=True,
    suppress_health_check=_SLOW_IS_FINE,
)  # fmt: skip
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
