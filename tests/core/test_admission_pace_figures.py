"""Figures of a pace, worked out by hand from what its module says: measures, windows, periods."""

import math

import pytest

from resilience._core.admission.meter import Meter
from resilience._core.admission.pace import Pace


def felt(now=0.0, **known):
    """A first closing: 20 units in a second, ten calls of two units under way, told after a tenth."""
    settings = {
        "units": 20.0, "span": 1.0, "in_flight": 10, "peak": 10, "took": 0.1, "unit": 2.0,
    }  # fmt: skip
    return Pace(now, **(settings | known))


def answered(pace, took, now=0.0):
    """One more call of two units was answered after so long."""
    pace.take(2.0, now)
    pace.release(now, now + took, accepted=True)
    return pace


# -- the first measure ----------------------------------------------------------------------------


def test_a_full_window_is_as_fast_as_its_answers():
    """Ten calls of two units that take 0.4 s are 50 units a second, where only 16 were counted."""
    pace = answered(felt(), 0.4)
    pace.reopen(1.0, told=False)
    assert (pace.base, pace.window, pace.by_rate) == (50.0, 10, False)
    assert (pace.period, pace.slope, pace.burst) == (1.25, 0.0, 2.5)


def test_but_no_faster_than_four_times_what_was_counted():
    """Answers of a hundredth would be 2000 a second."""
    pace = answered(felt(took=0.001), 0.01)
    pace.reopen(1.0, told=False)
    assert pace.base == 64.0


def test_a_guess_of_how_long_calls_take_is_no_measure():
    """Without an answer the count is all there is."""
    pace = felt()
    pace.reopen(1.0, told=False)
    assert pace.base == 16.0


def test_a_window_that_was_not_full_is_no_measure_either():
    """Of twelve, nine and one more are not it; ten and one more nearly are."""
    some, most = answered(felt(in_flight=9, peak=12), 0.4), answered(felt(peak=12), 0.4)
    for pace in (some, most):
        pace.reopen(1.0, told=False)
    assert (some.base, some.window) == (16.0, 9)
    assert (most.base, most.window) == (50.0, 10)


@pytest.mark.parametrize(
    ("in_flight", "by_rate"), [pytest.param(0, True), pytest.param(3, True), pytest.param(4, False)]
)
def test_less_than_a_third_of_what_fitted_is_a_rate(in_flight, by_rate):
    """Four of twelve are just a third."""
    pace = felt(in_flight=in_flight, peak=12)
    pace.reopen(1.0, told=False)
    assert pace.by_rate is by_rate


def test_how_long_calls_take_is_learned_slowly():
    """The first answer is taken as it is, the next one counts a tenth; rejections count nothing."""
    pace = answered(answered(felt(), 0.4), 1.4)
    assert pace.took == pytest.approx(0.5)
    pace.take(2.0, 5.0)
    pace.release(5.0, 9.0, accepted=False)
    assert pace.took == pytest.approx(0.5)
    assert pace.in_flight == 0


def test_a_call_that_no_server_holds_is_limited_by_a_rate():
    """Answered as soon as it could have been rejected, or a quarter later: calls in flight limit nothing."""
    brief, held = answered(felt(), 0.125), answered(felt(), 0.13)
    for pace in (brief, held):
        pace.reopen(1.0, told=False)
    assert (brief.by_rate, held.by_rate) == (True, False)


def test_a_rate_is_measured_over_a_second_at_the_least():
    """Twenty units in a quarter are twenty a second: the first one back must not take all."""
    short = felt(span=0.1, in_flight=0)
    short.reopen(0.6, told=False)
    assert (short.base, short.period) == (20.0, 1.0)
    slots = answered(felt(span=0.1), 10.0)
    slots.reopen(0.6, told=False)
    assert slots.base == pytest.approx(20.0 / 0.25)


def test_what_was_far_too_fast_loses_more_than_a_twentieth():
    """Down to what was accepted, but not below six tenths: the measure of a moment is noise."""
    paces = [Pace.at_rate(100.0, 0.0) for _ in range(3)]
    for pace, units in zip(paces, (98.0, 80.0, 30.0), strict=True):
        pace.close(0.01, 0.5)
        pace.units, pace.span = units, 1.0
        pace.resume(0.55)
    assert [pace.base for pace in paces] == pytest.approx([95.0, 80.0, 60.0])


# -- the next one ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "cycle", "base", "period", "slope"),
    [
        # 16 units in 1 + 1 s are 8 a second, less than half of the 50 that were known
        pytest.param(True, 2.0, 25.0, 2.0, 0.25, id="told: ten calls are 0.8 s"),
        pytest.param(False, 1.25, 25.0, 8.0, 0.25, id="guessed: a hundred calls are 8 s"),
    ],
)
def test_a_second_closing_measures_anew(told, cycle, base, period, slope):
    """A bad measure halves at most; a hundredth of the pace is added in a second."""
    pace = answered(felt(), 0.4)
    pace.reopen(1.0, told=False)
    pace.close(0.1, 2.0)
    assert pace._lasted == 1.0
    pace.units, pace.span, pace.level = 16.0, 1.0, 4
    pace.reopen(3.0, told=told)
    assert (pace.base, pace.first) == (base, False)
    assert pace.window == 7.5  # half as many again as 25 a second, 0.4 s each, by two
    assert (pace.period, pace.slope) == (period, slope)
    assert pace.cycle == max(cycle, period)


def test_a_fast_rate_is_tested_every_second():
    """From ten calls a second on, with two calls a second more."""
    pace = Pace.at_rate(80.0, 0.0)
    pace.unit = 2.0
    pace.close(0.1, 1.0)
    pace.units, pace.span = 80.0, 1.0
    pace.reopen(1.0, told=True)
    assert (pace.base, pace.period) == (80.0, 1.0)
    assert (pace.slope, pace.rate) == (4.0, pytest.approx(0.97 * 80.0))
    pace._busy_rate = 2.0
    assert pace.rate == pytest.approx(0.97 * 80.0 + 2 * 4.0)
    slow = Pace.at_rate(18.0, 0.0)
    slow.unit = 2.0
    slow.close(0.1, 1.0)
    slow.units, slow.span = 18.0, 1.0
    slow.reopen(1.0, told=True)
    assert (slow.base, slow.period, slow.slope) == (18.0, 10 * 2 / 18, 0.18)


def test_a_long_flow_says_nothing_about_a_window_that_was_not_told():
    """A pace that went on for more than a period and a half keeps its period."""
    kept, told = Pace.at_rate(50.0, 0.0), Pace.at_rate(50.0, 0.0)
    for pace in (kept, told):
        pace.close(0.1, 1.5)
        pace.units, pace.span = 50.0, 1.0
    kept.reopen(5.5, told=False)
    told.reopen(5.5, told=True)
    assert (kept.cycle, told.cycle) == (1.0, 5.0)


def test_a_closing_looks_back_two_periods():
    """A unit every half second: four in the last two seconds, however long it went on."""
    pace = Pace.at_rate(100.0, 0.0)
    for half in range(9):
        pace.take(1.0, half / 2)
    pace.close(0.25, 4.0)
    assert (pace.units, pace.span, pace.level) == (4.0, 2.0, 9)
    assert (pace.closed_at, pace._lasted, pace._reaction) == (4.0, 4.0, 0.25)
    assert pace._fastest == pytest.approx(97.0, rel=0.02)


# -- growing --------------------------------------------------------------------------------------


def test_what_grows_is_the_cubic_and_a_share():
    """Two busy periods: 103 of a hundred, and two seconds of one a second."""
    pace = Pace.at_rate(100.0, 0.0)
    pace.slope, pace._busy_rate = 1.0, 2.0
    assert pace.rate == pytest.approx(103.0 + 2.0)
    pace.period = 3.0
    assert pace.rate == pytest.approx(103.0 + 6.0)


def test_time_is_busy_while_less_than_a_call_is_left():
    """Half a unit short at 97 a second is busy for half a hundredth, not for the whole second."""
    pace = Pace.at_rate(100.0, 0.0)
    pace.tokens = 0.5
    pace.wait(1.0, 1.0)
    assert pace._busy_rate == pytest.approx(0.5 / 97.0)
    assert pace.tokens == 5.0
    pace.tokens = 2.0
    pace.wait(1.0, 2.0)
    assert pace._busy_rate == pytest.approx(0.5 / 97.0)


def test_a_full_window_is_busy_half_the_time_but_before_the_second_closing():
    """A period that is full counts as a half; while the measure is a guess, as a whole one."""
    pace = felt()
    pace.reopen(1.0, told=False)
    for _ in range(10):
        pace.take(2.0, 1.0)
    pace.wait(2.0, 1.0 + pace.period)
    assert pace._busy_window == pytest.approx(1.0)
    pace.first = False
    pace._busy_window = 0.0
    pace.wait(2.0, 1.0 + 2 * pace.period)
    assert pace._busy_window == pytest.approx(0.5)


def test_a_pace_is_solid_when_it_carried_six_tenths_of_a_period():
    """And at least one call."""
    pace = Pace.at_rate(100.0, 0.0)
    pace.carried = 59.9
    assert not pace.is_solid
    pace.carried = 60.0
    assert pace.is_solid
    slow = Pace.at_rate(0.5, 0.0)
    slow.carried = 0.9
    assert not slow.is_solid


def test_units_of_a_call_are_learned_slowly():
    """A tenth of what the next one costs."""
    pace = Pace.at_rate(100.0, 0.0)
    pace.take(11.0, 0.0)
    assert (pace.unit, pace.carried, pace.in_flight) == (2.0, 11.0, 1)


def test_a_wait_is_what_is_missing_and_never_nothing():
    """By the rate; a millionth of a second at least, or the clock would not move."""
    pace = Pace.at_rate(100.0, 0.0)
    pace.tokens = 0.0
    assert pace.wait(3.0, 0.0) == pytest.approx(3.0 / 97.0)
    pace.tokens = 1.0 - 5e-9
    assert pace.wait(1.0, 0.0) == 1e-6
    pace.tokens = 1.0 - 5e-10
    assert pace.wait(1.0, 0.0) == 0.0


def test_nobody_knows_anything_begins_with_ten_calls_of_their_size():
    """Ten calls of two units a second, a window of a second at most, one call at once."""
    pace = felt(units=0.0, in_flight=0, peak=0)
    pace.reopen(40.0, told=False)
    assert (pace.base, pace.cycle, pace.tokens, pace.window) == (20.0, 1.0, 2.0, 1.5)
    assert (pace.first, pace.slope) == (True, 0.0)


def test_at_a_rate_all_is_known():
    """A unit to begin with, a twentieth of a second saved up, no window."""
    pace = Pace.at_rate(100.0, 7.0)
    assert (pace.base, pace.burst, pace.tokens, pace.room) == (100.0, 5.0, 1.0, math.inf)
    assert (pace.first, pace.by_rate, pace.period, pace.slope) == (False, True, 1.0, 0.0)
    assert Pace.at_rate(2.0, 7.0).burst == 1.0


# -- the meter ------------------------------------------------------------------------------------


def test_bins_are_a_sixteenth_of_a_period():
    """What comes within one is counted where it began."""
    meter = Meter(16.0, 0.0)
    for now in (0.0, 0.9, 1.0, 1.9, 2.0):
        meter.add(1.0, now)
    assert [list(b) for b in meter._bins] == [[0.0, 2.0], [1.0, 2.0], [2.0, 1.0]]
    assert [meter.recent(span, 2.0) for span in (0.5, 1.0, 1.5, 2.0, 2.5)] == [1, 1, 3, 3, 5]
    meter.add(1.0, 33.0)
    assert [b[0] for b in meter._bins] == [1.0, 2.0, 33.0]


# -- strangers: others who share the limit ----------------------------------------------------------


def measured(pace, units, now):
    """The same pace after a closing at which so many units a second were counted."""
    pace.close(0.1, now)
    pace.units, pace.span = units, 1.0
    pace.reopen(now, told=True)
    return pace


def test_a_pace_that_was_fast_a_moment_ago_is_tested_as_often_as_then():
    """Four a second, 20 s after a hundred: a stranger took the rest, and may leave at any time."""
    pace = measured(Pace.at_rate(100.0, 0.0), 100.0, 1.0)
    pace.base = 8.0  # what a first measure may fall to at once is half
    measured(pace, 4.0, 21.0)
    assert (pace.base, pace.period, pace.slope) == (4.0, 1.0, 2.0)
    assert pace.rate == pytest.approx(4.0 * 0.97)


def test_it_is_so_however_long_the_last_closing_was():
    """Two seconds of counting and three closed are no period for who was five times as fast."""
    pace = measured(Pace.at_rate(100.0, 0.0), 100.0, 1.0)
    pace.close(0.1, 2.0)
    pace.units, pace.span = 250.0, 2.0
    pace.reopen(5.0, told=True)
    assert (pace.base, pace.cycle, pace.period) == (50.0, 1.0, 1.0)


def test_what_is_long_ago_is_forgotten():
    """After 80 s a sixteenth is remembered: 6 a second are slow, and a tenth of a hundred calls long."""
    pace = measured(Pace.at_rate(100.0, 0.0), 100.0, 1.0)
    pace.base = 8.0
    measured(pace, 4.0, 81.0)
    assert (pace.period, pace.slope) == (pytest.approx(10 / 6.25), pytest.approx(0.04))


def test_a_few_calls_at_once_are_no_rate_to_remember():
    """Eleven in a second are forgotten at the next measure, twelve are not."""
    few, many = (measured(Pace.at_rate(n, 0.0), n, 1.0) for n in (11.0, 12.0))
    for pace in (few, many):
        pace.base = 8.0
        measured(pace, 4.0, 2.0)
    assert few.period == pytest.approx(10 / 4)
    assert many.period == pytest.approx(1.0)


def test_a_slow_limit_is_tested_after_ten_seconds_or_eight_calls():
    """A hundred calls would be minutes, and what was measured of a few calls may be wrong."""
    periods = []
    for rate in (9.0, 2.0, 0.5):
        pace = Pace.at_rate(rate, 0.0)
        pace.close(0.1, 0.0)
        pace.units, pace.span = 2 * rate, 2.0
        pace.reopen(0.0, told=False)
        periods.append(pace.period)
    assert periods == pytest.approx([10.0, 10.0, 16.0])
