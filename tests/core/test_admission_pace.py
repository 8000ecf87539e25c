"""What is learned about a limit, and how it is used: paces, meters, lanes and queues."""

import math

import pytest
from admission_kit import BROKEN, WELL, Desk, keys, window

from resilience._core.admission import pace as pace_module
from resilience._core.admission.lane import RAMP_DOUBLES, RAMP_FREE, RAMP_SLOWEST, Lane, Queue
from resilience._core.admission.machine import Machine
from resilience._core.admission.meter import Meter
from resilience._core.admission.model import Kind, Place, Ticket
from resilience._core.admission.pace import BETA, DECREASE, FORGET_IDLE, Pace, growth, leap


def a_pace(now=0.0, **known):
    """A first closing: a hundred units in a second, nothing under way."""
    settings = {"units": 100.0, "span": 1.0, "in_flight": 0, "peak": 1, "took": 0.01}
    return Pace(now, **(settings | known))


def steady(rate=100.0, now=0.0):
    """A pace that goes on at a known rate."""
    return Pace.at_rate(rate, now)


def spend(pace, now):
    """Take one unit if it may go."""
    if pace.wait(1.0, now) > 0:
        return False
    pace.take(1.0, now)
    pace.release(now, now, accepted=True)
    return True


# -- growth ---------------------------------------------------------------------------------------


def test_growth_touches_the_measure_after_one_period_and_is_flat_there():
    """A little below at first; around one period it hardly moves."""
    assert growth(0.0, first=False) == 1.0 - BETA
    assert growth(1.0, first=False) == 1.0
    around = [growth(x, first=False) for x in (0.5, 0.75, 1.25, 1.5)]
    assert max(abs(factor - 1.0) for factor in around) <= BETA / 8 + 1e-9


def test_growth_finds_a_doubled_limit_within_five_periods():
    """It is ever steeper beyond the measure."""
    steps = [growth(x + 1, first=False) - growth(x, first=False) for x in range(1, 7)]
    assert steps == sorted(steps)
    assert growth(4.0, first=False) < 2.0 < growth(5.0, first=False)
    assert leap(4.0) < 2.0 < leap(5.0)


def test_a_fast_pace_grows_by_no_share_of_itself_for_two_periods():
    """A share more for everybody would leave the shares as they are."""
    assert [leap(periods) for periods in (0.0, 1.0, 2.0)] == [1.0 - BETA] * 3
    assert leap(3.0) == pytest.approx(1.0 - BETA + 0.06)


def test_growth_before_the_second_closing_is_exponential():
    """The measure is a guess, and a wrong guess must be left soon."""
    factors = [growth(x, first=True) for x in (0.0, 0.5, 1.0, 2.0)]
    assert factors == pytest.approx([1.0, 2.0**0.5, 2.0, 4.0])


# -- the meter ------------------------------------------------------------------------------------


def test_meter_counts_what_came_lately():
    """Units of the span, not those before."""
    meter = Meter(1.0, 0.0)
    for tenth in range(20):
        meter.add(1.0, tenth / 10)
    assert meter.recent(0.55, 1.95) == 5.0
    assert meter.recent(1.0, 1.95) == 10.0


def test_meter_takes_back_what_was_rejected():
    """A negative unit is one that did not count."""
    meter = Meter(1.0, 0.0)
    meter.add(3.0, 0.0)
    meter.add(-1.0, 0.5)
    assert meter.recent(1.0, 0.9) == 2.0


def test_meter_says_how_far_back_it_knows():
    """No further than its beginning."""
    meter = Meter(1.0, 10.0)
    assert (meter.age(2.0, 10.5), meter.age(2.0, 13.0)) == (0.5, 2.0)


def test_meter_that_is_to_reach_farther_back_knows_what_it_has_dropped():
    """A period that grows does not make a busy time of two seconds one of twenty."""
    meter = Meter(1.0, 0.0)
    for tenth in range(100):
        meter.add(1.0, tenth / 10)
    meter.period = 10.0
    speed = meter.recent(20.0, 10.0) / meter.age(20.0, 10.0)
    assert speed == pytest.approx(10.0, rel=0.1)


def test_meter_remembers_two_periods_and_no_more():
    """However long it goes on."""
    meter = Meter(1.0, 0.0)
    for hundredth in range(10_000):
        meter.add(1.0, hundredth / 100)
    assert meter.recent(math.inf, 100.0) == pytest.approx(200, abs=10)


# -- tokens ---------------------------------------------------------------------------------------


def test_a_known_rate_is_kept():
    """A unit each hundredth of a second, three per cent less at the beginning."""
    pace = steady(100.0)
    assert spend(pace, 0.0)
    waits = []
    now = 0.0
    for _ in range(5):
        left = pace.wait(1.0, now)
        waits.append(left)
        now += left
        assert spend(pace, now)
    assert waits == pytest.approx([0.01 / 0.97] * 5, rel=0.005)


def test_the_burst_is_a_twentieth_of_a_second():
    """Timers are late: five of a hundred a second may go at once, and no more are saved up."""
    pace = steady(100.0)
    pace.tokens = 0.0
    assert pace.wait(1.0, 10.0) == 0.0
    went = 0
    while spend(pace, 10.0):
        went += 1
    assert (pace.burst, went) == (5.0, 5)


def test_the_burst_of_a_slow_pace_is_one_call():
    """Or it could never go."""
    pace = steady(2.0)
    assert (pace.burst, spend(pace, 100.0), spend(pace, 100.0)) == (1.0, True, False)


def test_cost_counts_in_units():
    """A call of three takes three times as long."""
    pace = steady(100.0)
    pace.tokens = 0.0
    assert pace.wait(3.0, 0.0) == pytest.approx(3 * pace.wait(1.0, 0.0))
    pace.tokens = 5.0
    pace.take(3.0, 0.0)
    assert pace.tokens == 2.0


def test_what_costs_more_than_can_be_saved_goes_and_leaves_a_debt():
    """A cost of 50 at a burst of 5: all is saved, and the next one waits for the rest."""
    pace = steady(100.0)
    pace.tokens = 5.0
    assert pace.wait(50.0, 0.0) == 0.0
    pace.take(50.0, 0.0)
    assert pace.tokens == -45.0
    assert pace.wait(1.0, 0.0) == pytest.approx(46 / 97)


def test_nothing_grows_while_nobody_waits():
    """Growth that nobody used proves nothing: idle time leaves the rate where it was."""
    pace = steady(100.0)
    before = pace.rate
    for second in range(1, 50):
        assert spend(pace, float(second))
    assert pace.rate == pytest.approx(before, rel=0.01)


def test_a_rate_that_is_used_up_grows():
    """After one busy period it is what was measured, after five it is twice that."""
    pace = steady(100.0)
    now, rates = 0.0, {}
    while now < 5.2:
        wait = pace.wait(1.0, now)
        now += wait
        if not wait:
            pace.take(1.0, now)
            pace.release(now, now, accepted=True)
        rates[round(now, 1)] = pace.rate
    assert rates[0.1] == pytest.approx(97, abs=1.5)
    assert rates[1.0] == pytest.approx(100, abs=0.5)
    assert rates[5.1] >= 200


def test_a_refund_takes_back_what_it_carried():
    """A call that was rejected is no proof of the pace."""
    pace = steady(100.0)
    pace.take(2.0, 0.0)
    pace.refund(2.0, 0.0)
    assert pace.carried == 0.0


# -- calls in flight ------------------------------------------------------------------------------


def test_a_window_of_calls_in_flight_is_kept():
    """Eight were under way when the ninth was rejected: eight may be."""
    pace = a_pace(units=8.0, in_flight=8, peak=8, took=1.0)
    pace.reopen(1.0, told=False)
    assert (pace.by_rate, int(pace.room)) == (False, 8)
    pace.tokens = 100.0
    for _ in range(8):
        assert pace.wait(1.0, 1.0) == 0.0
        pace.take(1.0, 1.0)
    assert pace.wait(1.0, 1.0) == pace.period / 8
    pace.release(1.0, 1.0, accepted=True)
    assert pace.wait(1.0, 1.0) == 0.0


def test_a_window_that_was_not_full_is_as_wide_as_the_rate_needs():
    """Little's law: 80 units a second that take 2 s are 160 under way, and half as many more."""
    pace = a_pace(units=100.0, in_flight=40, peak=100, took=2.0)
    pace.reopen(1.0, told=False)
    assert (pace.base, pace.by_rate) == (80.0, False)
    assert pace.window == pytest.approx(1.5 * 80 * 2.0)


def test_rejected_while_few_were_under_way_is_no_window():
    """Fewer than a third of what was accepted together: it is a rate."""
    pace = a_pace(units=100.0, in_flight=30, peak=100, took=2.0)
    pace.reopen(1.0, told=False)
    assert (pace.by_rate, pace.room) == (True, math.inf)


def test_others_rejected_at_the_same_closing_were_not_in():
    """The level is what was accepted."""
    pace = a_pace(units=100.0, in_flight=10, peak=8, took=1.0)
    for _ in range(2):
        pace.correct(1.0)
    pace.reopen(1.0, told=False)
    assert (pace.units, int(pace.room)) == (98.0, 8)


def test_a_full_window_grows_half_as_fast():
    """One call more is a big step when only a few fit."""
    pace = a_pace(units=8.0, in_flight=8, peak=8, took=1.0)
    pace.reopen(1.0, told=False)
    pace.close(0.1, 2.0)
    pace.level = 8
    pace.reopen(3.0, told=False)
    for _ in range(8):
        pace.take(1.0, 3.0)
    assert pace.room == pytest.approx(8 * 0.97 + 0.5)
    pace.wait(1.0, 3.0 + 2 * pace.period)  # two periods are one
    assert pace.room == pytest.approx(8.5)


# -- measured -------------------------------------------------------------------------------------


def test_a_told_closing_opens_with_a_window_s_worth():
    """A hundred in one second and one second closed: 50 a second, and 99 behind the probe at once."""
    pace = a_pace()
    pace.reopen(1.0, told=True)
    assert (pace.base, pace.cycle, pace.tokens) == (50.0, 2.0, 99.0)


def test_an_untold_closing_is_guessed_to_have_ended_at_once():
    """It was no time of the window; nothing goes at once, and the calls are spread evenly."""
    pace = a_pace()
    pace.reopen(1.0, told=False)
    assert (pace.base, pace.cycle, pace.tokens) == (100.0, 1.0, 0.0)
    assert pace.wait(1.0, 1.0) == pytest.approx(1 / 100)


def test_a_rejected_probe_tells_how_long_it_was_shut_at_least():
    """It was still shut at 3 s."""
    pace = a_pace()
    pace.still_shut(3.0)
    pace.reopen(7.0, told=False)
    assert (pace.cycle, pace.base) == (4.0, 25.0)


def test_a_closing_before_a_window_is_guessed_to_have_ended_at_a_quarter():
    """Calls that were under way went on being served."""
    pace = a_pace(in_flight=10, peak=10, took=0.1)
    pace.release(0.0, 10.0, accepted=True)
    pace.still_shut(3.0)
    pace.reopen(7.0, told=False)
    assert (pace.by_rate, pace.cycle, pace.base) == (False, 5.0, 20.0)


def test_nothing_accepted_begins_at_ten_a_second():
    """Nobody knows anything: not at a call in each closing."""
    pace = a_pace(units=0.0, span=0.0)
    pace.reopen(100.0, told=False)
    assert (pace.base, pace.cycle, pace.tokens) == (10.0, 1.0, 1.0)


def test_one_bad_measure_halves_at_most():
    """What was known counts too."""
    pace = steady(100.0)
    pace.close(0.01, 0.1)
    pace.units = 1.0
    pace.reopen(60.0, told=False)
    assert pace.base == 50.0


# -- light closings -------------------------------------------------------------------------------


def paced_desk(rate=100):
    """A machine with a pace for endpoint a, learned from a told window of a second."""
    desk = Desk(machine=Machine(breaker=None, budget=None))
    for _ in range(rate):
        desk.answer(desk.call(), WELL)
    desk.answer(desk.call(), window("endpoint:a", wait=1.0, hint=1.0))
    desk.loop = 1.0
    desk.answer(desk.call(), WELL)
    return desk, desk.machine.gates["endpoint:a"]


def drive(desk, calls):
    """So many calls that go well, each as soon as it may go."""
    for _ in range(calls):
        call = desk.call()
        while call.place is Place.PARKED:
            desk.pump(desk.pump().next_wake)
        desk.answer(call, WELL)


def test_a_pace_that_carried_its_calls_closes_lightly():
    """The shortest wait of the rule, no probe, no closing counted; then it goes on by itself."""
    desk, gate = paced_desk()
    drive(desk, 200)
    rejected = desk.call()
    desk.pump(desk.loop + 1.0)
    desk.answer(rejected, window("endpoint:a", wait=0.5))
    assert (gate.state, gate.light, gate.closings) == ("closed", True, 0)
    closed_at = desk.loop
    waiting = [desk.call() for _ in range(3)]
    assert desk.pump().next_wake == closed_at + 0.5
    desk.pump(closed_at + 0.5)
    assert (gate.state, gate.light, gate.probe) == ("paced", False, None)
    for _ in range(3):
        if desk.machine.parked:
            desk.pump(desk.pump().next_wake)
    assert desk.words(*waiting) == "granted granted granted"


def test_a_told_closing_is_never_light():
    """The server said when: whoever goes first then is a probe."""
    desk, gate = paced_desk()
    drive(desk, 200)
    desk.loop += 1.0
    desk.answer(desk.call(), window("endpoint:a", wait=3.0, hint=3.0))
    assert (gate.light, gate.closings) == (False, 1)
    first, second = desk.call(), desk.call()
    desk.pump(desk.loop + 3.0)
    assert (desk.words(first, second), gate.state) == ("granted parked", "probing")


def test_a_pace_that_carried_little_closes_with_a_probe():
    """It was not nearly right."""
    desk, gate = paced_desk()
    desk.loop += 0.1
    desk.answer(desk.call(), window("endpoint:a", wait=0.5))
    assert (gate.state, gate.light, gate.closings) == ("closed", False, 1)


def test_too_fast_before_it_could_prove_itself_is_a_twentieth_slower():
    """The measure of a moment would be noise."""
    pace = steady(100.0)
    for hundredth in range(70):
        pace.take(1.0, hundredth / 100)
        pace.release(0.0, hundredth / 100, accepted=True)
    pace.close(0.01, 0.7)
    assert pace.is_solid
    pace.resume(0.75)
    assert pace.base == pytest.approx(100.0 * DECREASE)


def test_a_solid_pace_is_measured_by_what_it_carried():
    """Over two periods, the closing is no part of it."""
    pace = steady(100.0)
    for hundredth in range(300):
        pace.take(1.0, hundredth / 100)
        pace.release(0.0, hundredth / 100, accepted=True)
    pace.close(0.01, 3.0)
    pace.resume(3.05)
    assert pace.base == pytest.approx(100.0, rel=0.04)


# -- forgetting -----------------------------------------------------------------------------------


def test_a_limit_that_is_never_felt_is_forgotten():
    """Eight busy periods without a rejection: it seems to be gone."""
    pace = steady(100.0)
    now = 0.0
    while not pace.forgettable(now):
        now += pace.wait(1.0, now)
        pace.take(1.0, now)
        pace.release(now, now, accepted=True)
        assert now < 20.0
    assert now == pytest.approx(8.0, abs=0.3)
    assert pace.rate > 1000


def test_a_pace_that_nobody_used_is_forgotten_after_ten_minutes():
    """And not before."""
    pace = steady(100.0)
    assert not pace.forgettable(FORGET_IDLE)
    assert pace.forgettable(FORGET_IDLE + 0.001)


def test_a_forgotten_pace_restricts_nothing():
    """The door is wide open again, and no lane asks it."""
    desk, gate = paced_desk()
    assert gate.state == "paced"
    desk.loop += FORGET_IDLE + 1.0
    desk.call()
    assert gate.state == "open"
    assert desk.machine.lanes["a"].doors == []


def test_a_limit_of_ten_minutes_is_forgotten_later():
    """A pace with a long period is not old news before its period is over."""
    pace = a_pace(units=10.0)
    pace.reopen(3600.0, told=True)
    assert pace.period == 3601.0
    assert not pace.forgettable(3600.0 + FORGET_IDLE + 1.0)
    assert pace.forgettable(7300.0)


def test_nothing_is_under_way_that_ended():
    """However a call ends, the pace gets its place back."""
    desk, gate = paced_desk()
    desk.answer(desk.call(), WELL)
    desk.answer(desk.call(), BROKEN)
    desk.leave(desk.call())
    desk.machine.leave(desk.call().permit, desk.now)
    desk.answer(desk.call(), window("endpoint:a"))
    assert gate.pace.in_flight == 0


# -- lanes ----------------------------------------------------------------------------------------


def test_ramp_lets_ten_go_and_then_doubles_every_tenth():
    """1, 2, 4 … more: the instants at which one more may be under way."""
    lane = Lane(keys("a"))
    now, went = 0.0, []
    while len(went) < 25:
        wait = lane.ramp(now)
        if wait > 0:
            now += wait
            continue
        lane.in_flight += 1
        went.append(now)
    assert went[:RAMP_FREE] == [0.0] * RAMP_FREE
    more = [round(instant, 3) for instant in went[RAMP_FREE:]]
    expected = [round(RAMP_DOUBLES * math.log2(extra), 3) for extra in range(1, 16)]
    assert more == expected


def test_ramp_doubles_no_faster_than_answers_come():
    """Growing as fast as answers come is blind: in the time of two; but a second is slow enough."""
    lane = Lane(keys("a"))
    lane.answered(0.3)
    assert lane.doubles == RAMP_DOUBLES  # no burst is on
    lane.in_flight = RAMP_FREE
    lane.ramp(0.0)
    told = []
    for took in (0.3, 0.01, 60.0):
        lane.answered(took)
        told.append(lane.doubles)
    assert told == [0.6, RAMP_DOUBLES, RAMP_SLOWEST]


def test_the_next_burst_begins_where_the_last_one_got_to():
    """What was reached is known to be well; it does not grow while nobody waits."""
    lane = Lane(keys("a"))
    lane.in_flight = 20
    now = 0.0
    while (wait := lane.ramp(now)) > 0:
        now += wait
    reached = lane.window
    lane.rest()
    assert 20 < reached < 20.1
    lane.in_flight = 21
    assert lane.ramp(100.0) > 0
    assert lane.window == reached


def test_a_known_limit_needs_no_ramp():
    """A door knows better."""
    lane = Lane(keys("a"))
    lane.in_flight = 1000
    assert lane.ramp(0.0) > 0
    lane.lift()
    assert lane.ramp(0.0) == 0.0


def test_recent_counts_the_calls_of_the_last_seconds():
    """Whole seconds are kept; the oldest counts by its share."""
    lane = Lane(keys("a"))
    for second in range(5):
        lane.recent(1.0, float(second))  # turns the page
        lane.sent += 10 * (second + 1)
    assert lane.recent(1.0, 4.5) == (50 + 20.0, 1.0)
    assert lane.recent(2.0, 4.5) == (50 + 40 + 15.0, 2.0)
    assert lane.recent(60.0, 4.5) == (150.0, 4.5)


def test_recent_leaves_out_a_pause():
    """Calls before a minute of silence are not recent."""
    lane = Lane(keys("a"))
    lane.rotate(0.0)
    lane.sent += 100
    lane.recent(1.0, 60.0)
    lane.sent += 3
    assert lane.recent(10.0, 60.5) == (3.0, 0.5)


def test_recent_remembers_a_minute():
    """Sixty seconds are kept, and this one."""
    lane = Lane(keys("a"))
    for second in range(200):
        lane.recent(1.0, float(second))
        lane.sent += 1
    assert lane.recent(1000.0, 199.0) == (61.0, 60.0)


def test_another_loop_begins_anew():
    """Its clock is another one: nothing is under way, and the ramp begins at ten."""
    lane = Lane(keys("a"))
    lane.rotate(1000.0)
    lane.sent, lane.in_flight = 50, 7
    lane.lift()
    lane.begin_anew()
    assert (lane.in_flight, lane.window) == (0, RAMP_FREE)
    assert lane.recent(10.0, 5.0) == (0.0, 0.0)


# -- queues ---------------------------------------------------------------------------------------


def waiting(queue, order, limit=math.inf):
    """A parked call."""
    ticket = Ticket(order, keys("a"), kind=Kind.CALLS)
    ticket.place, ticket.limit = Place.PARKED, limit
    queue.add(ticket)
    return ticket


def test_queue_serves_by_arrival_and_refuses_by_limit():
    """Whoever came first is first; whoever can wait least is the most urgent."""
    queue = Queue()
    third, first, second = (
        waiting(queue, 3, 30.0),
        waiting(queue, 1, 20.0),
        waiting(queue, 2, 10.0),
    )
    assert (queue.head(), queue.most_urgent()) == (first, second)
    first.place = Place.GRANTED
    second.place = Place.GONE
    assert (queue.head(), queue.most_urgent()) == (third, third)


def test_queue_knows_no_urgency_of_the_patient():
    """Who waits for ever is never refused."""
    queue = Queue()
    waiting(queue, 1)
    assert queue.most_urgent() is None


def test_a_limit_of_an_earlier_wait_counts_no_more():
    """It parked again with another limit."""
    queue = Queue()
    ticket = waiting(queue, 1, 10.0)
    ticket.limit = 50.0
    queue.add(ticket)
    assert queue.most_urgent() is ticket
    assert queue.by_limit[0][0] == 50.0


def test_an_empty_queue_has_no_head():
    """Nor anybody who fits."""
    queue = Queue()
    assert (queue.head(), queue.most_urgent(), queue.first(bool)) == (None, None, None)


def test_the_first_that_fits_is_found_behind_others():
    """Nobody loses a place."""
    queue = Queue()
    first, second, third = (waiting(queue, order) for order in (1, 2, 3))
    assert queue.first(lambda ticket: ticket.order > 2) is third
    assert queue.first(lambda ticket: ticket.order > 3) is None
    assert [queue.head(), *queue.by_order[1:]] == [first, second, third]


def test_queue_is_swept():
    """Ten thousand that left don't stay in its heaps."""
    queue = Queue()
    stays = waiting(queue, 0, 1e9)
    for order in range(1, 10_001):
        ticket = waiting(queue, order, float(order))
        ticket.place = Place.GONE
        queue.left()
    assert (queue.head(), queue.most_urgent()) == (stays, stays)
    assert len(queue.by_order) <= 67
    assert len(queue.by_limit) <= 67


def test_the_constants_agree_with_each_other():
    """A fast pace's period is at most a second; a burst is less than what makes a pace solid."""
    assert pace_module.BURST < pace_module.SOLID < 1.0
    assert pace_module.DECREASE <= 1.0 - pace_module.BETA
