"""A time-out that does not bound the attempt: https://github.com/bcgov/bcdata_py/issues/243 (stamina).

``timeout=0.2`` with an attempt of 0.5 s took 0.5 s, because it is only looked at between attempts.
More in ``driver/test_driver_attempts.py``.
"""

import anyio
import pytest
from driver_kit import OK, make_guard

from resilience import DeadlineExceeded, RetriesExhausted
from resilience.testing import Script


@pytest.mark.parametrize(
    ("options", "kind", "times"),
    [
        pytest.param({"deadline": 0.2}, DeadlineExceeded, [0.0], id="deadline"),
        pytest.param(
            {"attempt_timeout": 0.2, "max_attempts": 2}, RetriesExhausted, None, id="attempt"
        ),
    ],
)
def test_a_hanging_attempt_is_cut(run, options, kind, times):
    """An attempt that never answers costs what was allowed, and no more."""

    async def main():
        zero = anyio.current_time()
        script = Script([OK], delay=1e6, name="read")
        with pytest.raises(kind):
            await make_guard().options(**options).call(script)
        spent = anyio.current_time() - zero
        if times:
            assert (script.asked_at, spent) == (times, 0.2)
        else:
            assert spent == pytest.approx(script.asked_at[1] + 0.2)

    run(main)
