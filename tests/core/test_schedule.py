"""The backoff table is the same whatever distribution of ``backoff`` is installed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience._core.policy.model import Wait
from resilience._core.policy.schedule import MAX_DELAY, STEPS, BadScheduleError, generators, unroll

TABLES = [
    ("expo", {}, [1, 2, 4, 8, 16, 32, 64]),
    ("expo", {"base": 3}, [1, 3, 9, 27]),
    ("expo", {"factor": 0.5}, [0.5, 1, 2, 4, 8]),
    ("expo", {"factor": 2.0, "max_value": 30.0}, [2, 4, 8, 16, 30, 30, 30]),
    ("expo", {"factor": 0.4, "max_value": 2.0}, [0.4, 0.8, 1.6, 2.0, 2.0]),
    ("expo", {"factor": 1.0, "max_value": 32.0}, [1, 2, 4, 8, 16, 32, 32, 32]),
    ("fibo", {}, [1, 1, 2, 3, 5, 8, 13, 21, 34]),
    ("fibo", {"max_value": 10}, [1, 1, 2, 3, 5, 8, 10, 10]),
    ("constant", {}, [1, 1, 1]),
    ("constant", {"interval": 2.5}, [2.5, 2.5, 2.5]),
    ("constant", {"interval": [1, 2, 7]}, [1, 2, 7]),
    ("constant", {"interval": 0}, [0, 0]),
]


@pytest.mark.parametrize(("name", "arguments", "first"), TABLES)
def test_delays(name, arguments, first):
    """Written by hand: the priming step of the generator is never a delay."""
    assert first == pytest.approx(list(unroll(name, arguments)[: len(first)]))


@pytest.mark.parametrize(("name", "arguments"), [("expo", {}), ("fibo", {}), ("constant", {})])
def test_table_has_32_steps(name, arguments):
    """An endless generator is cut there."""
    assert 32 == STEPS == len(unroll(name, arguments))


def test_finite_generator_gives_a_short_table():
    """Its last delay repeats."""
    wait = Wait(schedule=unroll("constant", {"interval": [1, 2, 7]}), low=1.0)

    assert [wait.delay(n, 0.3) for n in (0, 1, 2, 3, 1000)] == [1, 2, 7, 7, 7]


def test_table_is_bounded():
    """A step beyond a year is a mistake in the file, not a wait."""
    assert unroll("expo", {"base": 10})[-1] == MAX_DELAY
    assert unroll("expo", {"base": 1e300}) == (1.0, *[MAX_DELAY] * (STEPS - 1))


BAD = [
    ("exponential", {}, "no wait generator"),
    ("runtime", {}, "no wait generator"),
    ("full_jitter", {}, "no wait generator"),
    ("on_exception", {}, "no wait generator"),
    ("__doc__", {}, "no wait generator"),
    ("expo", {"bas": 2}, "bas"),
    ("expo", {"base": "two"}, "failed"),
    ("expo", {"factor": -1}, "-1"),
    ("constant", {"interval": []}, "no delay"),
    ("constant", {"interval": "ab"}, "failed"),
    ("constant", {"interval": float("nan")}, "nan"),
    ("constant", {"interval": -2}, "-2"),
]


@pytest.mark.parametrize(("name", "arguments", "word"), BAD)
def test_bad_generators_and_arguments(name, arguments, word):
    """The complaint names the generator, and what was wrong with it."""
    with pytest.raises(BadScheduleError, match=word):
        unroll(name, arguments)


@given(
    n=st.integers(0, 100),
    draw=st.floats(0, 1, exclude_max=True),
    low=st.sampled_from([0.0, 0.5, 1.0]),
    cap=st.floats(0.1, 60),
)
def test_delay_is_the_capped_step_times_the_draw(n, draw, low, cap):
    """Never above the cap, never below its lower end, and spread at the cap as well."""
    wait = Wait(schedule=unroll("expo", {"factor": 0.3, "max_value": cap}), low=low)
    delay = wait.delay(n, draw)
    step = min(cap, 0.3 * 2 ** min(n, 31))

    assert step * (low + (1 - low) * draw) == pytest.approx(delay)
    assert step * low <= delay * (1 + 1e-9)
    assert delay <= cap * (1 + 1e-9)


@pytest.mark.parametrize(
    ("low", "draw", "delay"),
    [
        (0.0, 0.0, 0.0),
        (0.0, 0.25, 2.0),
        (0.5, 0.0, 4.0),
        (0.5, 0.5, 6.0),
        (1.0, 0.0, 8.0),
        (1.0, 0.9, 8.0),
    ],
)
def test_jitter_scales(low, draw, delay):
    """Full jitter from nothing, equal jitter from the half, none not at all."""
    assert delay == Wait(schedule=(8.0,), low=low).delay(0, draw)


def test_a_generator_that_nobody_has_is_told_with_those_that_are_there():
    """Their names are the ones that can stand in a file."""
    with pytest.raises(BadScheduleError) as caught:
        unroll("runtime", {})
    assert str(caught.value) == (
        "the backoff package has no wait generator 'runtime' that needs no answer "
        f"({', '.join(generators())})"
    )
    assert {"constant", "expo", "fibo"} <= set(generators())


def test_what_could_not_be_unrolled_is_shown_as_a_call():
    """With all its arguments."""
    with pytest.raises(BadScheduleError, match=r"^backoff\.expo\(factor=-1, base=2\) failed: "):
        unroll("expo", {"factor": -1, "base": 2})
