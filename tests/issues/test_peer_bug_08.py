"""Retry-After is ignored, jittered, clamped, or obeyed for days.

Ignored (https://github.com/inyutin/aiohttp_retry/issues/59), jittered below its minimum
(https://github.com/meltano/sdk/issues/1477), clamped and then knocked too early (httpx-retries), or
obeyed for days (anthropic, stamina's hook).
"""

import anyio
import pytest
from driver_kit import OK, make_guard

from resilience import Outcome, ResilienceError
from resilience.testing import FixedChance, Script


def answer(status, value):
    """An answer with a Retry-After."""
    return lambda: Outcome(status=status, headers={"Retry-After": value})


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("draw", [0.0, 0.3, 0.999])
def test_never_before_retry_after(run, status, draw):
    """Honoured on quota and on failure alike, whatever the draw."""

    async def main():
        script = Script([answer(status, "17"), OK], name="read")
        assert await make_guard(chance=FixedChance(draw)).call(script) == OK
        assert script.asked_at == [0.0, 17.0]

    run(main)


@pytest.mark.parametrize("status", [429, 503])
def test_never_clamped(run, status):
    """Longer than the call may wait means failing now and saying when, not knocking early."""

    async def main():
        zero = anyio.current_time()
        script = Script([answer(status, "600"), OK], name="read")
        with pytest.raises(ResilienceError) as caught:
            await make_guard().call(script)
        assert (script.calls, anyio.current_time() - zero) == (1, 0.0)
        assert caught.value.retry_after == 600.0

    run(main)


@pytest.mark.parametrize("value", ["63072000", "-1", "nan", "inf", "tomorrow", ""])
def test_absurd_values_put_nobody_to_sleep(run, value):
    """Two years, the past and nonsense are not obeyed: the rule's own wait stands."""

    async def main():
        script = Script([answer(503, value), OK], name="read")
        assert await make_guard().options(max_wait=None).call(script) == OK
        assert script.asked_at == [0.0, 1.0]

    run(main)
