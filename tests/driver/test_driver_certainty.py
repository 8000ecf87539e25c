"""What an error says of the whole call: whether any of its attempts may have done the work."""

import anyio
import pytest
from driver_kit import BAD, BUSY, DOWN, LOST, OK, make_guard
from test_driver_attempts import failing

from resilience import Certainty, CircuitOpen, DeadlineExceeded, ResilienceError, report
from resilience.testing import Script

NOT, MAYBE = Certainty.NOT_EXECUTED, Certainty.MAYBE_EXECUTED


@pytest.mark.parametrize(
    ("steps", "options", "certainty"),
    [
        pytest.param([BAD], {}, NOT, id="refused"),
        pytest.param([BUSY, BUSY, BAD], {}, NOT, id="refused-after-waits"),
        pytest.param([BUSY] * 3, {"max_wait": 2.0}, NOT, id="never-let-in"),
        pytest.param([DOWN] * 4, {}, NOT, id="never-up"),
        pytest.param([LOST], {}, MAYBE, id="lost"),
        pytest.param([LOST, BAD], {"idempotent": True}, MAYBE, id="lost-then-refused"),
        pytest.param([LOST, BUSY], {"idempotent": True, "max_wait": 1.5}, MAYBE, id="lost-then-busy"),
        pytest.param([DOWN, LOST], {"max_attempts": 2}, MAYBE, id="down-then-lost"),
        pytest.param([TimeoutError()], {}, MAYBE, id="an-exception"),
        pytest.param([{"code": "nobody", "msg": ""}], {}, MAYBE, id="an-unlisted-code"),
        pytest.param([LookupError()], {}, MAYBE, id="an-unlisted-exception"),
    ],
)  # fmt: skip
def test_one_attempt_that_may_have_done_it_is_enough(run, steps, options, certainty):
    """Whatever came after it."""
    error, _ = failing(run, make_guard(), Script(steps), **options)

    assert error.certainty is certainty
    assert report(error).error.certainty is certainty


def test_an_attempt_that_the_deadline_cut_may_have_done_it(run):
    """It was sent, and nobody judged it; the others before it don't speak for it."""

    async def main():
        steps = [DOWN, anyio.sleep]

        async def call():
            step = steps.pop(0)
            return step if step is DOWN else await step(100.0)

        with pytest.raises(DeadlineExceeded) as caught:
            await make_guard().options(deadline=5.0).call(call)
        assert (caught.value.attempts, caught.value.certainty) == (2, MAYBE)

    run(main)


def test_what_was_not_sent_did_nothing(run):
    """A breaker that is open lets nobody through."""
    guard = make_guard()

    async def main():
        for _ in range(100):
            try:
                await guard.options(max_attempts=1, max_wait=0.0).call(Script([LOST]))
            except CircuitOpen as error:
                return error.attempts, error.certainty
            except ResilienceError:
                pass
        return None

    assert run(main) == (0, NOT)


@pytest.mark.parametrize(
    ("steps", "certainty"), [([BAD], NOT), ([LOST, BAD], MAYBE), ([LOST], MAYBE)]
)
def test_an_inner_guard_speaks_for_its_whole_call(run, steps, certainty):
    """Its last attempt alone would not say it."""
    inner = make_guard(account="inner").options(idempotent=True)

    async def main():
        with pytest.raises(ResilienceError) as caught:
            await (
                make_guard(account="outer").options(max_attempts=1).call(inner.call, Script(steps))
            )
        return caught.value.certainty

    assert run(main) is certainty


def test_an_error_of_somebody_else_proves_nothing():
    """Unless it says so."""
    assert ResilienceError("x").certainty is MAYBE
    assert ResilienceError("x", certainty=NOT).certainty is NOT


def test_a_success_has_no_error(run):
    """Also after an attempt that may have done it."""

    async def main():
        return await make_guard().options(idempotent=True).call(Script([LOST, OK]))

    assert run(main) == OK
