"""Figures of admission, each worked out by hand: where being a little wrong would show nowhere else."""

import math

import pytest
from admission_kit import (
    BROKEN,
    WALL,
    WELL,
    Desk,
    Doors,
    cooldown,
    exhausted,
    keys,
    window,
)

from resilience import CircuitBreaker, Recovers, RetryBudget
from resilience._core.admission.budget import Budget
from resilience._core.admission.door import View
from resilience._core.admission.gate import SHORTEST_CLOSING, Gate
from resilience._core.admission.lane import RAMP_FREE
from resilience._core.admission.machine import Machine
from resilience._core.admission.model import (
    Again,
    Go,
    Park,
    Permit,
    Place,
    Raise,
    Reason,
    ScopeKey,
    Ticket,
)
from resilience._core.admission.pace import Pace
from resilience._core.instants import Instant, Now
from resilience._core.policy.model import Escalation

ENDPOINT = ScopeKey("endpoint:a")


def desk_of(**settings):
    """A desk without breaker and budget, unless they are given."""
    return Desk(machine=Doors(**{"breaker": None, "budget": None} | settings))


def moved(desk, loop, passed):
    """The machine in a new event loop, whose clock begins at ``loop``, after so many seconds."""
    before = desk.now
    after = Now(loop, before.wall + passed)
    desk.machine.carry(before, after)
    desk.loop, desk.shift = after.loop, after.wall - WALL - after.loop


# -- a pace after a light closing -----------------------------------------------------------------


def test_the_way_up_is_measured_between_its_mean_and_its_end():
    """100 units in the 1.1 s until it may go on, 100 a second at the end: the geometric mean."""
    pace = Pace(0.0, units=100.0, span=1.0, in_flight=0, peak=1, took=0.01)
    pace.reopen(1.0, told=False)
    for _ in range(100):
        pace.take(1.0, 1.0)
    pace.close(0.01, 2.0)
    pace.resume(2.1)
    assert pace.base == pytest.approx((100 / 1.1 * 100) ** 0.5)
    assert pace.tokens == 0.0


@pytest.mark.parametrize(
    ("reaction", "closed", "tokens"),
    [
        # 140 a second went where 95 fit: by 0.2368 too fast on average, so that 0.1915 s of the
        # window's second were left when it was full.  It goes on with 0.97 of 95
        pytest.param(0.01, 0.1, 0.0, id="closed for less than was left"),
        pytest.param(0.01, 0.4, 95 * 0.97 * (0.4 - (0.191489 - 0.01)), id="closed for longer"),
        pytest.param(0.01, 2.0, 95 * 0.97 * 0.6, id="no more than a solid share of a window"),
        pytest.param(
            0.3, 0.4, 95 * 0.97 * 0.4 - 95 * 0.236842 * (0.3 - 0.191489), id="told late: some went too fast"
        ),
    ],
)  # fmt: skip
def test_what_a_light_closing_held_up_for_nothing_goes_at_once(reaction, closed, tokens):
    """70 units in half a second at a pace of 100 a second, which was a twentieth too fast."""
    pace = Pace.at_rate(100.0, 0.0)
    for _ in range(70):
        pace.take(1.0, 0.0)
    pace.close(reaction, 0.5)
    pace.resume(0.5 + closed)
    assert pace.base == pytest.approx(95.0)
    assert pace.tokens == pytest.approx(tokens, rel=1e-4)


def test_a_second_light_closing_in_a_row_shortens_the_period():
    """To seven tenths, once; after a closing with a probe the count begins anew."""
    pace = Pace(0.0, units=1000.0, span=1.0, in_flight=0, peak=1, took=0.01)
    pace.reopen(100.0, told=True)
    assert pace.cycle == 101.0
    cycles = []
    for light in range(3):
        pace.close(0.01, 200.0 + light)
        pace.units = 1000.0 * pace.span
        pace.resume(200.5 + light)
        cycles.append(pace.cycle)
    assert cycles == pytest.approx([101.0, 70.7, 49.49])
    pace.close(0.01, 204.0)
    pace.reopen(205.0, told=False)
    began = pace.cycle
    pace.close(0.01, 206.0)
    pace.resume(206.5)
    assert pace.cycle == began


# -- a call that waits alone ----------------------------------------------------------------------


def test_a_wait_that_ends_at_the_deadline_is_too_long():
    """Nobody wants the result any more then; a moment before it is wanted."""
    alone = window(None, wait=10.0)
    desk = desk_of()
    late, early = desk.call(deadline=10.0), desk.call(deadline=10.5)
    assert desk.answer(late, alone) == Raise(Reason.DEADLINE, Instant(loop=10.0))
    assert desk.answer(early, alone) == Again(10.0, "backoff")


def test_waits_alone_add_up():
    """Two of ten seconds are as long as twenty may be; the third is not begun."""
    alone = window(None, wait=10.0)
    desk = desk_of()
    call = desk.call(max_wait=20.0)
    answers = [desk.answer(call, alone) for _ in range(3)]
    assert answers[:2] == [Again(10.0, "backoff")] * 2
    assert [answer.expected for answer in answers[:2]] == [10.0, 10.0]
    assert answers[2] == Raise(Reason.MAX_WAIT, Instant(loop=10.0))


# -- another event loop ---------------------------------------------------------------------------


def test_an_escalation_that_began_late_counts_on_in_a_new_loop():
    """First closed at 1005 of the old clock, 20 s later it is a new one's 7,000,000."""
    closing = window(wait=10.0, escalate=Escalation(rejections=99, within=25.0))
    desk = desk_of()
    desk.loop = 1005.0
    desk.answer(desk.call(), closing)
    moved(desk, 7_000_000.0, 20.0)
    assert desk.machine.gates[ENDPOINT].first_closed == 6_999_980.0
    assert isinstance(desk.answer(desk.call(), closing), Again)


def test_a_breaker_is_closed_in_a_new_loop():
    """It learns in a moment what is still broken."""
    desk = desk_of(breaker=CircuitBreaker(failures=1))
    desk.answer(desk.call(), BROKEN)
    breaker = desk.machine.lanes["a"].breaker
    assert not breaker.open
    moved(desk, 0.0, 1.0)
    assert (breaker.open, desk.machine.lanes["a"].doors) == (True, [])


def test_calls_are_counted_on_in_a_new_loop():
    """Those of the old one are not among the last seconds."""
    desk = desk_of()
    for _ in range(3):
        desk.answer(desk.call(), WELL)
    moved(desk, 50.0, 1.0)
    lane = desk.machine.lanes["a"]
    assert lane.recent(10.0, 50.0)[0] == 0.0
    desk.answer(desk.call(), WELL)
    assert (lane.recent(10.0, 50.0)[0], lane.sent) == (1.0, 4)


def test_those_who_waited_in_a_closed_loop_are_gone():
    """They hold no place, and nothing of theirs is under way."""
    desk = desk_of()
    desk.answer(desk.call(), cooldown(wait=100.0))
    waiting = [desk.call(), desk.call()]
    desk.machine.lanes["a"].in_flight = 3
    desk.machine.forget_waiting()
    assert desk.words(*waiting) == "gone gone"
    assert (desk.machine.parked, desk.machine.lanes["a"].in_flight) == (0, 0)
    assert desk.pump(1000.0).grants == []


# -- stepping in ----------------------------------------------------------------------------------


def test_reset_of_a_scope_leaves_the_others_closed():
    """And of one that is open nothing: what is under way may still speak about it."""
    desk = desk_of()
    desk.answer(desk.call("a"), window("endpoint:a"))
    desk.answer(desk.call("b"), window("endpoint:b"))
    assert desk.machine.reset(ENDPOINT) == [ENDPOINT]
    assert (desk.closed, desk.machine.epoch) == (1, 3)
    assert desk.machine.reset(ENDPOINT) == []
    assert (desk.closed, desk.machine.epoch) == (1, 3)


def test_restored_doors_are_closed_for_those_who_were_there_before():
    """Each is a closing of its own: what was sent before says nothing about it."""
    desk = desk_of()
    early = desk.call()
    for scope in ("account", "endpoint:a"):
        desk.machine.restore(ScopeKey(scope), Recovers.COOLDOWN, Instant(loop=50.0), None)
    gates = desk.machine.gates
    assert [gates[key].closed_epoch for key in ("account", "endpoint:a")] == [1, 2]
    assert [gates[key].open for key in ("account", "endpoint:a")] == [False, False]
    assert desk.machine.lanes["a"].doors == [gates["account"], gates["endpoint:a"]]
    desk.answer(early, WELL)
    assert desk.closed == 2
    assert desk.call().place is Place.PARKED


def test_a_call_that_is_only_watched_goes_and_is_counted_once():
    """It tells nothing new about doors: it is older than every closing."""
    desk = desk_of()
    desk.loop = 3.0
    desk.answer(desk.call(), window(wait=10.0))
    call = desk.call()
    lane = desk.machine.lanes["a"]
    lane.sent = 5
    permit = desk.machine.overrule(call, Park(), desk.now)
    assert (permit.epoch, permit.sent_at, permit.ticket) == (-1, 3.0, call)
    assert (lane.sent, desk.machine.parked) == (6, 0)
    granted = Permit(call, 7)
    assert desk.machine.overrule(call, Go(granted), desk.now) is granted
    assert lane.sent == 6


# -- measured when a limit is first felt ----------------------------------------------------------


def felt(count, at, judgement, **settings):
    """The pace after so many calls at each of these instants, and this answer at the last of them."""
    desk = Desk(machine=Machine(breaker=None, budget=None))
    for instant in at:
        desk.loop = instant
        for _ in range(count):
            desk.answer(desk.call(**settings), WELL)
    desk.answer(desk.call(**settings), judgement)
    gate = desk.machine.gates.get(ENDPOINT)
    return desk, gate and gate.pace


def test_a_told_limit_is_measured_as_far_back_as_its_window_reaches():
    """Ten calls a second for five seconds: 40 in the 3 s of a window, 20 if only the last is asked."""
    at = [0.0, 1.0, 2.0, 3.0, 4.0]
    _, told = felt(10, at, window(wait=3.0, hint=3.0))
    _, untold = felt(10, at, window(wait=3.0))
    assert (told.units, told.span) == (40.0, 3.0)
    assert (untold.units, untold.span) == (20.0, 1.0)


def test_a_limit_on_units_is_measured_in_units():
    """Ten calls of three are thirty, and one more is three."""
    _, pace = felt(10, [0.0], window(hint=1.0), cost=3.0)
    assert (pace.units, pace.unit, pace.burst) == (30.0, 3.0, 3.0)


def test_a_door_of_nobody_is_measured_from_nothing():
    """A group that no lane belongs to: nothing is known, and nothing breaks."""
    desk = Desk(machine=Machine(breaker=None, budget=None))
    desk.answer(desk.call(), window("group:none"))
    pace = desk.machine.gates[ScopeKey("group:none")].pace
    assert (pace.units, pace.span, pace.unit, pace.window) == (0.0, 0.0, 1.0, 1)


def test_how_long_a_rejection_took_is_known_to_the_pace():
    """At its second closing too, when it corrects what went too fast."""
    desk, pace = felt(10, [0.0], window(wait=1.0, hint=1.0))
    desk.loop = 1.0
    call = desk.call()
    desk.loop = 1.25
    desk.answer(call, WELL)
    call = desk.call()
    desk.loop = 2.0
    desk.answer(call, window())
    assert (desk.machine.gates[ENDPOINT].reaction, pace._reaction) == (0.75, 0.75)


def test_a_breaker_remembers_the_rate_of_a_short_life():
    """63 calls in its first second and a half, the three that failed included."""
    desk = desk_of(breaker=CircuitBreaker(failures=2))
    for instant in (0.0, 1.5):
        desk.loop = instant
        for _ in range(30):
            desk.answer(desk.call(), WELL)
    for _ in range(3):
        desk.answer(desk.call(), BROKEN)
    assert not desk.machine.lanes["a"].breaker.open
    assert desk.machine.lanes["a"].breaker.rate == pytest.approx(63 / 1.5)


# -- settings and books ---------------------------------------------------------------------------


def test_a_breaker_may_be_open_for_always_the_same_time():
    """The shortest is the longest, before the spread."""
    settings = CircuitBreaker(shortest=2.0, longest=2.0)
    assert [settings.open_time(trips, 1.0) for trips in (0, 5)] == [2.0, 2.0]


def test_a_breaker_begins_at_ten_calls_a_second():
    """And has been well for ever."""
    desk = desk_of(breaker=CircuitBreaker())
    desk.call()
    breaker = desk.machine.lanes["a"].breaker
    assert (breaker.rate, breaker.reopened_at, breaker.trips) == (10.0, 0.0, 0)


def test_a_breaker_that_came_back_is_patient_by_its_rate():
    """Five in a hundred of what it got before, not of the little that it gets now."""
    desk = desk_of(breaker=CircuitBreaker(failures=1, shortest=1.0, longest=1.0))
    desk.call()
    breaker = desk.machine.lanes["a"].breaker
    breaker.rate = 400.0
    assert breaker.patience(100.0) == 5.0
    breaker.pace = Pace.at_rate(400.0, 0.0)
    assert breaker.patience(100.0) == 20.0


def test_a_budget_that_is_nearly_full_of_a_token_has_it():
    """Sums of tenths are a hair less than one."""
    budget = Budget(RetryBudget(ratio=0.0, floor=1.0, burst=1.0))
    budget.tokens = 1.0 - 5e-10
    assert (budget.wait(0, 0.0), budget.charge(0, 0.0)) == (0.0, True)
    budget.tokens = 0.25
    assert budget.wait(0, 0.0) == 0.75
    assert Budget(None).wait(0, 0.0) == 0.0


def test_a_retry_that_was_taken_back_is_earned_by_again():
    """Of ten calls three were retries; one of them did not go after all: nine, and two retries."""
    budget = Budget(RetryBudget(ratio=0.5, floor=0.25, burst=8.0))
    budget.tokens = 0.0
    for _ in range(3):
        budget.retried()
    budget.took_back()
    assert budget.tokens == 1.0
    budget.refill(9, 0.0)
    assert budget.tokens == 4.5


def test_a_reset_door_forgets_what_closed_it():
    """Whoever looks finds no reason."""
    desk = desk_of(breaker=CircuitBreaker(failures=1))
    desk.answer(desk.call(), BROKEN)
    breaker = desk.machine.lanes["a"].breaker
    assert breaker.because is not None
    desk.machine.reset()
    assert breaker.because is None


def test_a_reopened_breaker_forgets_what_closed_it():
    """A sign of life ends the story."""
    desk = desk_of(breaker=CircuitBreaker(failures=1, shortest=1.0, longest=1.0))
    desk.answer(desk.call(), BROKEN, 1.0)
    desk.loop = 1.0
    desk.answer(desk.call(), WELL)
    breaker = desk.machine.lanes["a"].breaker
    assert (breaker.state, breaker.because, breaker.reopened_at) == ("paced", None, 1.0)


# -- doors ----------------------------------------------------------------------------------------


def test_who_can_not_be_served_in_time_is_told_by_twice_the_pace():
    """50 units are ahead, of which 30 may go at once; if it is closed, 20 when it opens."""
    gate = Gate(ENDPOINT)
    gate.pace = Pace.at_rate(10.0, 0.0)
    gate.pace.units, gate.pace.tokens = 20.0, 30.0
    now = Now(0.0, WALL)
    assert gate.surely_shut(now, 50.0) == pytest.approx(20 / 19.4)
    assert gate.surely_shut(now, 10.0) == 0.0
    gate.open, gate.until = False, Instant(loop=5.0)
    assert gate.surely_shut(now, 50.0) == pytest.approx(5.0 + 30 / 19.4)
    gate.pace.first = True
    assert gate.surely_shut(now, 50.0) == 5.0


def test_an_open_door_opens_now():
    """Or when its pace lets one more pass."""
    gate = Gate(ENDPOINT)
    now = Now(3.0, WALL)
    assert gate.opens(now) == Instant(loop=3.0)
    gate.pace = Pace.at_rate(10.0, 3.0)
    gate.pace.tokens = 0.0
    assert gate.opens(now, 2.0).left(now) == pytest.approx(
        1 / 9.7
    )  # one is all that can be saved up


@pytest.mark.parametrize(
    ("again_at", "ends"),
    [
        pytest.param(24.5, Again, id="not yet long enough"),
        pytest.param(25.0, Raise, id="just long enough"),
        pytest.param(35.0, Raise, id="as quiet as one story may be"),
        pytest.param(35.5, Again, id="quiet for so long that it is another story"),
    ],
)
def test_a_window_escalates_within_one_story(again_at, ends):
    """Closed at 0 for ten seconds, and again; 25 s is too long, and 25 s of silence end a story."""
    desk = desk_of()
    closing = window(wait=10.0, escalate=Escalation(rejections=99, within=25.0))
    desk.answer(desk.call(), closing)
    desk.loop = again_at
    assert type(desk.answer(desk.call(), closing)) is ends


def test_a_probe_that_is_silent_for_long_was_let_in():
    """A rejection took 0.2 s: four times as long, and the window is open at its pace."""
    desk, _ = felt(10, [0.0], WELL)
    call = desk.call()
    desk.loop = 0.2
    desk.answer(call, window(wait=1.0))
    gate = desk.machine.gates[ENDPOINT]
    desk.loop = 1.2
    probe, next_one = desk.call(), desk.call()
    assert (desk.words(probe, next_one), gate.state) == ("granted parked", "probing")
    assert desk.pump(1.9).grants == []
    desk.pump(2.0)
    assert gate.state == "paced"


def test_a_silent_probe_of_a_lock_proves_nothing():
    """Another one finds out when its lease is over."""
    desk = Desk(machine=Machine(breaker=None, budget=None))
    desk.answer(desk.call(), cooldown(wait=10.0))
    desk.loop = 10.0
    desk.call()
    gate = desk.machine.gates[ENDPOINT]
    gate.pace = Pace.at_rate(10.0, 0.0)
    desk.loop = 15.0
    desk.machine.ask(desk.call(), keys("a"), desk.now)
    assert gate.state == "probing"


def test_how_long_calls_take_is_learned_from_those_that_were_accepted():
    """A rejection comes fast and says nothing about that."""
    desk, pace = felt(10, [0.0], window(wait=1.0, hint=1.0))
    desk.loop = 1.0
    call = desk.call()
    desk.loop = 1.5
    desk.answer(call, WELL)
    assert pace.took == 0.5
    desk.loop = 2.0
    slow, fast = desk.call(), desk.call()
    desk.loop = 2.25
    desk.answer(fast, window(wait=1.0))
    assert pace.took == 0.5
    desk.loop = 2.75
    desk.answer(slow, WELL)
    assert pace.took == pytest.approx(0.5 + 0.1 * 0.25)


def test_the_ramp_holds_up_those_who_can_wait():
    """The eleventh at once waits for a tenth of a second at most; one that can't wait goes."""
    desk = desk_of()
    assert desk.words(*(desk.call() for _ in range(10))) == " ".join(["granted"] * 10)
    patient = desk.call()
    assert patient.place is Place.PARKED
    assert 0.0 < desk.pump().next_wake <= 0.1
    other = desk_of()
    for _ in range(10):
        other.call()
    assert other.call(max_wait=0.0).place is Place.GRANTED


def test_seconds_of_counting_follow_each_other():
    """Unless there was one without any call: then a new one begins with the next."""
    lane = desk_of().machine.lane(keys("a"))
    turns = []
    for now in (0.0, 1.5, 2.0, 4.0, 4.5):
        lane.went(now)
        turns.append(lane.turn)
    assert turns == [1.0, 2.0, 3.0, 5.0, 5.0]
    assert lane.recent(1.0, 4.5) == (2.0, 0.5)


def test_the_third_rejection_that_others_disprove_is_the_call_s_own_fault():
    """Those who were let in before its first one prove nothing against it."""
    desk, _ = felt(10, [0.0], window(wait=1.0, hint=1.0))

    def sent(call):
        while call.place is Place.PARKED:
            desk.pump(desk.pump().next_wake)
        desk.last[call] = call.permit
        return call

    culprit, answers = None, []
    for story in range(1, 4):
        desk.loop = 100.0 * story
        for _ in range(40):  # the first is the probe
            desk.answer(sent(desk.call()), WELL)
        if culprit is None:
            culprit = desk.call()
        else:
            desk.again(culprit)
        answers.append(desk.answer(sent(culprit), window(wait=1.0, hint=1.0)))
    assert [type(answer) for answer in answers] == [Again, Again, Raise]
    assert answers[2].reason is Reason.THIS_CALL


def test_an_innocent_call_is_rejected_as_often_as_others():
    """By chance once in ten thousand: three times if one in fifty is rejected, eleven if four in ten."""
    gate, strikes = Gate(ENDPOINT), {}
    for shed in (0.0, 0.02, 0.1, 0.4, 1.0):
        gate.shed = shed
        strikes[shed] = gate.strikes
    assert strikes == {0.0: 3, 0.02: 3, 0.1: 4, 0.4: 11, 1.0: 88}


def test_the_share_of_rejected_calls_is_that_of_the_last_fifty():
    """Of fewer if there were fewer; after that old ones fade."""
    gate = Gate(ENDPOINT)
    gate.count(rejected=True)
    assert gate.shed == 1.0
    for _ in range(49):
        gate.count(rejected=False)
    assert gate.shed == pytest.approx(0.02)
    gate.count(rejected=False)
    assert gate.shed == pytest.approx(0.02 - 0.02 / 50)


def test_who_is_let_in_lowers_the_share_of_the_rejected():
    """As far as a door is not wide open."""
    desk, _ = felt(0, [], window(wait=1.0, hint=1.0))
    gate = desk.machine.gates[ENDPOINT]
    assert gate.shed == 1.0
    desk.loop = 1.0
    desk.answer(desk.call(), WELL)
    assert gate.shed == 0.5


def test_whoever_goes_next_tells_when_to_look_again():
    """Four units are missing at 97 a second; the suspect before it, of one unit, could go now."""
    desk = desk_of()
    gate = desk.machine._gate(ENDPOINT)
    gate.pace = Pace.at_rate(100.0, 0.0)
    desk.machine._sort(gate)
    desk.loop = 1.0
    gate.pace.take(4.0, 1.0)  # of five that were saved up
    suspect, other = (Ticket(order, keys("a"), cost=cost) for order, cost in ((1, 1.0), (2, 5.0)))
    suspect.suspect, suspect.rejected_at = True, 0.5
    for ticket in (suspect, other):
        desk.machine._park(ticket, desk.machine.lane(keys("a")), desk.now)
    pumped = desk.pump()
    assert pumped.grants == []
    assert pumped.next_wake == pytest.approx(1.0 + 4 / 97)


def test_an_old_rejection_of_an_open_door_waits_for_nothing():
    """The door was opened again since: it asks at once."""
    desk = desk_of()
    old = desk.call()
    desk.answer(desk.call(), window(wait=10.0))
    desk.loop = 10.0
    desk.answer(desk.call(), WELL)
    answer = desk.answer(old, window(wait=10.0))
    assert (answer, answer.expected) == (Again(10.0, "gate"), 0.0)


def test_those_ahead_count_for_one_who_can_not_wait_so_long():
    """Fifty more than a window's worth at ten a second, thought twice as fast, are over a second."""
    desk = desk_of()
    gate = desk.machine._gate(ENDPOINT)
    gate.pace = Pace.at_rate(10.0, 0.0)
    desk.machine._sort(gate)
    assert desk.call().place is Place.GRANTED
    assert desk.call(max_wait=1.0).place is Place.PARKED
    for _ in range(59):
        assert desk.call().place is Place.PARKED
    late = desk.call(max_wait=1.0)
    assert (late.place, late.refusal.reason) == (Place.OUTSIDE, Reason.MAX_WAIT)


def test_a_door_is_asked_about_one_unit():
    """Two would have to wait: one is saved of the two that can be."""
    gate, now = Gate(ENDPOINT), Now(0.0, WALL)
    gate.pace = Pace.at_rate(40.0, 0.0)
    assert (gate.look(now), gate.opens(now)) == (View.OPEN, Instant(loop=0.0))
    assert gate.look(now, 2.0) is View.WAIT


def test_a_probe_that_broke_leaves_an_empty_account_alone():
    """For as long as its rule says, as if it had been told once more."""
    desk = desk_of()
    desk.answer(desk.call(), exhausted(probe_every=100.0))
    desk.loop = 100.0
    desk.answer(desk.call(), BROKEN)

    assert desk.call().refusal.resume_at == Instant(loop=200.0)


def test_an_old_rejection_may_tell_when():
    """The first had no hint, so the door did not know; from now on it was told."""
    desk = desk_of()
    first, second = desk.call(), desk.call()
    desk.answer(first, window(wait=10.0))
    gate = desk.machine.gates[ENDPOINT]
    assert not gate.told
    desk.answer(second, window(hint=12.0))

    assert (gate.told, gate.until) == (True, Instant(loop=12.0))


def test_calls_of_the_fast_lane_take_one_unit_each():
    """They are not looked at one by one: a first call of another cost moves the average by a tenth."""
    desk = desk_of()
    lane = desk.machine.lane(keys("a"))
    lane.sent = 5
    desk.call(cost=11.0)

    assert lane.unit == 2.0


def test_the_ramp_is_back_when_the_pace_is_forgotten():
    """With room for those under way; another door that is closed keeps it lifted."""
    desk = desk_of()
    lane = desk.machine.lane(keys("a"))
    for under_way, room in ((0, RAMP_FREE), (25, 25)):
        lane.in_flight = 0
        desk.answer(desk.call(), window(wait=1.0))
        assert lane.window == math.inf
        lane.in_flight = under_way
        desk.machine.reset(ENDPOINT)
        assert lane.window == room

    lane.in_flight = 0
    first, second = desk.call(), desk.call()
    desk.answer(first, window(wait=1.0))
    desk.answer(second, window("account", wait=1.0))
    desk.machine.reset(ENDPOINT)
    assert lane.window == math.inf


def test_a_wait_of_one_request_alone_is_as_long_as_its_rule_says():
    """No door: a rule's wait without a hint, else the hint, and never none at all."""
    for judgement, waits in (
        (window(None, wait=0.5), Again(0.5, "backoff", 0.5)),
        (window(None, wait=0.5, hint=3.0), Again(3.0, "hint", 3.0)),
        (window(None, wait=0.0), Again(SHORTEST_CLOSING, "backoff", SHORTEST_CLOSING)),
    ):
        desk = desk_of()
        answer = desk.answer(desk.call(), judgement)
        assert (answer, answer.wait_reason) == (waits, waits.wait_reason)


def test_an_open_door_is_not_shut():
    """Whenever it would have opened, had nobody known better."""
    gate = Gate(ENDPOINT)
    gate.until = Instant(loop=100.0)
    assert gate.surely_shut(Now(0.0, WALL), 5.0) == 0.0


def test_the_ramp_rests_when_nobody_waits():
    """It goes on from the window that it got to, not from the time that passed since."""
    desk = desk_of()
    lane = desk.machine.lane(keys("a"))
    calls = [desk.call() for _ in range(11)]
    assert desk.words(calls[-1]) == "parked"
    desk.pump(0.1)
    assert desk.words(calls[-1]) == "granted"
    window_then = lane.window
    desk.loop = 50.0
    waits = desk.call()

    assert desk.words(waits) == "parked"
    assert lane.window == window_then
