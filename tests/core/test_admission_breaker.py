"""The circuit breaker, on paper: when it opens, who finds out, how the traffic comes back."""

import pytest
from admission_kit import BROKEN, WELL, WRONG, Desk, Doors, capacity, verdict_of, window

from resilience import CircuitBreaker, Verdict
from resilience._core.admission.breaker import BLIP, RECOVERY, SLOWEST
from resilience._core.admission.door import PROBE_LEASE
from resilience._core.admission.model import Again, Place, Raise, Reason
from resilience._core.instants import Instant

SLOWLY = CircuitBreaker(shortest=1.0, longest=8.0)
"""Opens for whole seconds, if the draw is 1."""


def a_desk(breaker=SLOWLY):
    """No budget: only the breaker decides."""
    return Desk(machine=Doors(breaker=breaker, budget=None))


def breaker_of(desk, endpoint="a"):
    """The live breaker."""
    return desk.machine.lanes[endpoint].breaker


def fail(desk, times, judgement=BROKEN, *, draw=1.0):
    """So many calls that fail, one after the other."""
    for _ in range(times):
        desk.answer(desk.call(), judgement, draw)


def tripped(breaker=SLOWLY):
    """A desk whose breaker has just opened, for a second."""
    desk = a_desk(breaker)
    fail(desk, breaker.failures)
    assert breaker_of(desk).state == "closed"
    return desk


def half_open(parked=3, breaker=SLOWLY):
    """A desk, the probe under way, and those who wait for its verdict."""
    desk = tripped(breaker)
    calls = [desk.call(max_attempts=9) for _ in range(parked + 1)]
    desk.pump(1.0)
    return desk, calls[0], calls[1:]


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param({"failures": 0}, "CircuitBreaker(failures=0): at least 1", id="failures"),
        pytest.param({"probes": -1}, "CircuitBreaker(probes=-1): at least 1", id="probes"),
        pytest.param(
            {"shortest": 0.0},
            "CircuitBreaker(shortest=0.0, longest=1.5): seconds, above 0 and in this order",
            id="shortest",
        ),
        pytest.param(
            {"shortest": 2.0},
            "CircuitBreaker(shortest=2.0, longest=1.5): seconds, above 0 and in this order",
            id="order",
        ),
        pytest.param(
            {"longest": float("inf")},
            "CircuitBreaker(shortest=0.25, longest=inf): seconds, above 0 and in this order",
            id="infinite",
        ),
        pytest.param(
            {"longest": float("nan")},
            "CircuitBreaker(shortest=0.25, longest=nan): seconds, above 0 and in this order",
            id="nan",
        ),
    ],
)
def test_settings_without_sense_are_named(settings, said):
    """The message holds the argument and its value."""
    with pytest.raises(ValueError) as caught:
        CircuitBreaker(**settings)
    assert str(caught.value) == said


def test_open_time_doubles_up_to_the_longest():
    """0.25, 0.5, 1 and then 1.5 s, however often it failed."""
    times = [CircuitBreaker().open_time(trips, 1.0) for trips in (0, 1, 2, 3, 4, 10_000)]
    assert times == [0.25, 0.5, 1.0, 1.5, 1.5, 1.5]


@pytest.mark.parametrize(("draw", "share"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_open_time_is_spread_between_half_and_all_of_it(draw, share):
    """The capped time is spread, so that the longest is spread too."""
    settings = CircuitBreaker()
    assert [settings.open_time(trips, draw) for trips in (0, 9)] == [0.25 * share, 1.5 * share]


# -- opening --------------------------------------------------------------------------------------


def test_the_tenth_failure_opens_it():
    """Nine are not enough; then everybody waits until it has been open for a quarter of a second."""
    desk = a_desk(CircuitBreaker())
    fail(desk, 9)
    assert breaker_of(desk).state == "open"
    fail(desk, 1)
    late = desk.call()
    assert (breaker_of(desk).state, late.place) == ("closed", Place.PARKED)
    assert desk.pump().next_wake == 0.25


@pytest.mark.parametrize(
    "alive",
    [
        pytest.param(WELL, id="success"),
        pytest.param(WRONG, id="fatal"),
        pytest.param(window(None), id="quota"),
        pytest.param(capacity(), id="full"),
    ],
)
def test_a_sign_of_life_heals_one_failure(alive):
    """Every answer that is not retryable takes one failure back."""
    desk = a_desk()
    fail(desk, 9)
    desk.answer(desk.call(), alive)
    assert desk.machine.lanes["a"].failing == 8
    fail(desk, 1)
    assert breaker_of(desk).open
    fail(desk, 1)
    assert not breaker_of(desk).open


def test_success_saves_nothing_up():
    """A thousand successes long ago don't make the breaker more patient."""
    desk = a_desk()
    for _ in range(1000):
        desk.answer(desk.call(), WELL)
    desk.loop = 100.0
    fail(desk, 10)
    assert not breaker_of(desk).open


def test_a_busy_endpoint_may_fail_for_a_share_of_its_traffic():
    """At 400 calls in this second, the 22nd failure is the first above five in a hundred."""
    desk = a_desk()
    for _ in range(400):
        desk.answer(desk.call(), WELL)
    fail(desk, 21)
    assert (21 < BLIP * 421, breaker_of(desk).open) == (True, True)
    fail(desk, 1)
    assert (22 >= BLIP * 422, breaker_of(desk).open) == (True, False)


def test_another_endpoint_is_untouched():
    """There is one breaker per endpoint."""
    desk = tripped()
    assert desk.call("b").place is Place.GRANTED
    assert desk.call("a").place is Place.PARKED


def test_no_breaker_never_opens():
    """Switched off, a hundred failures hold nobody up."""
    desk = a_desk(None)
    fail(desk, 100)
    assert desk.call().place is Place.GRANTED
    assert breaker_of(desk) is None


def test_a_cancelled_call_is_no_failure():
    """A hundred calls that left, before the answer or in the line, count nothing."""
    desk = a_desk()
    for _ in range(100):
        desk.leave(desk.call())
    assert desk.machine.lanes["a"].failing == 0
    fail(desk, 9)
    assert breaker_of(desk).open


# -- hints ----------------------------------------------------------------------------------------


def test_a_hint_is_the_earliest_probe():
    """The server asked for 30 s: the open time alone would have been one second."""
    desk = a_desk()
    fail(desk, 9)
    fail(desk, 1, verdict_of(Verdict.RETRYABLE, hint=30.0))
    waiting = desk.call()
    assert desk.pump().next_wake == 30.0
    desk.pump(29.999)
    assert waiting.place is Place.PARKED
    desk.pump(30.0)
    assert waiting.place is Place.GRANTED


def test_a_hint_shorter_than_the_open_time_shortens_nothing():
    """It is a floor."""
    desk = a_desk()
    fail(desk, 9)
    fail(desk, 1, verdict_of(Verdict.RETRYABLE, hint=0.5))
    assert breaker_of(desk).until == Instant(loop=1.0)


def test_late_hints_merge_by_maximum():
    """What was under way when it opened may bring a later hint, never an earlier one."""
    desk = a_desk()
    flying = [desk.call() for _ in range(4)]
    fail(desk, 10)
    untils = []
    for call, hint in zip(flying, (4.0, 2.0, None, 6.0), strict=True):
        desk.answer(call, verdict_of(Verdict.RETRYABLE, hint=hint))
        untils.append(breaker_of(desk).until.loop)
    assert untils == [4.0, 4.0, 4.0, 6.0]
    assert breaker_of(desk).trips == 1


def test_a_late_hint_does_not_disturb_a_probe():
    """While somebody finds out, old news is worth nothing."""
    desk = a_desk()
    flying = desk.call()
    fail(desk, 10)
    desk.call()
    desk.pump(1.0)
    assert breaker_of(desk).state == "probing"
    desk.answer(flying, verdict_of(Verdict.RETRYABLE, hint=60.0))
    assert breaker_of(desk).until == Instant(loop=1.0)


# -- probes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("probes", [1, 2, 3])
def test_exactly_so_many_probes(probes):
    """The others stand in line, whenever they come."""
    desk, _, _ = half_open(9, CircuitBreaker(shortest=1.0, longest=8.0, probes=probes))
    late = desk.call()
    assert len(breaker_of(desk).probing) == probes
    assert desk.machine.lanes["a"].in_flight == probes
    assert (desk.machine.parked, late.place) == (11 - probes, Place.PARKED)
    assert breaker_of(desk).state == "probing"


@pytest.mark.parametrize("alive", [WELL, WRONG, window(None)], ids=["well", "fatal", "quota"])
def test_those_who_waited_are_served_after_the_verdict(alive):
    """In the order in which they came, at the pace that the endpoint had."""
    desk, probe, others = half_open(3)
    assert desk.words(probe, *others) == "granted parked parked parked"
    desk.answer(probe, alive)
    assert desk.words(*others) == "granted parked parked"
    for _ in range(2):
        desk.pump(desk.pump().next_wake)
    assert desk.words(*others) == "granted granted granted"
    # the lowest rate is ten calls a second, and a recovery begins three in a hundred below
    assert 2 / SLOWEST < desk.loop - 1.0 < 2 / (SLOWEST * 0.95)


def test_a_failed_probe_opens_it_for_longer():
    """One, two, four and then eight seconds; a sign of life and ten calm seconds begin anew."""
    desk = tripped()
    opened = []
    for _ in range(5):
        desk.loop = breaker_of(desk).until.loop
        desk.answer(desk.call(), BROKEN, 1.0)
        opened.append(breaker_of(desk).until.loop - desk.loop)
    assert opened == [2.0, 4.0, 8.0, 8.0, 8.0]
    desk.loop = breaker_of(desk).until.loop
    desk.answer(desk.call(), WELL)
    desk.loop += RECOVERY
    fail(desk, 10)
    assert breaker_of(desk).until.loop - desk.loop == 1.0


def test_a_failed_probe_goes_to_the_end_of_the_line():
    """Or the oldest call would use up all its attempts in finding out for the others."""
    desk, first, (second, third) = half_open(2)
    assert desk.answer(first, BROKEN, 1.0) == Again(11.0, "backoff")
    desk.loop = 3.0  # the second open time was two seconds
    desk.pump()
    assert desk.words(second, third) == "granted parked"
    desk.answer(second, BROKEN, 1.0)
    desk.loop = 20.0
    desk.again(first)
    desk.again(second)
    desk.pump()
    assert desk.words(third, first, second) == "granted parked parked"


def test_a_silent_probe_holds_the_others_up_for_its_lease():
    """Then one more may find out, and the first one's late word counts all the same."""
    desk, probe, (second, third) = half_open(2)
    assert desk.pump().next_wake == 1.0 + PROBE_LEASE
    desk.pump(1.0 + PROBE_LEASE)
    assert desk.words(second, third) == "granted parked"
    desk.answer(probe, WELL)
    assert breaker_of(desk).state == "paced"
    assert third.place is Place.GRANTED


def test_a_cancelled_probe_passes_the_role_on():
    """At once, and the breaker stays as it was."""
    desk, probe, (second, third) = half_open(2)
    desk.leave(probe)
    assert desk.words(second, third) == "granted parked"
    assert (breaker_of(desk).trips, breaker_of(desk).until) == (1, Instant(loop=1.0))


def test_a_probe_cancelled_in_its_attempt_passes_the_role_on():
    """The same, when what left is the attempt."""
    desk, probe, (second, _) = half_open(2)
    desk.machine.leave(probe.permit, desk.now)
    desk.pump()
    assert second.place is Place.GRANTED
    assert list(breaker_of(desk).probing) == [second.permit]


def test_a_probe_that_meets_a_quota_proves_the_endpoint_alive():
    """The breaker is open for calls again; the quota's own door is what they stand before."""
    desk, probe, others = half_open(1)
    desk.answer(probe, window("endpoint:a", wait=7.0))
    assert breaker_of(desk).state == "paced"
    assert desk.machine.gates["endpoint:a"].state == "closed"
    assert others[0].place is Place.PARKED
    assert desk.pump().next_wake == 8.0


def test_of_two_probes_the_first_verdict_counts():
    """After a failed one, the other's success is of before and opens nothing."""
    desk, first, (second,) = half_open(1, CircuitBreaker(shortest=1.0, longest=8.0, probes=2))
    second_permit = second.permit
    desk.answer(first, BROKEN, 1.0)
    desk.answer(second_permit, WELL)
    assert (breaker_of(desk).state, breaker_of(desk).until) == ("closed", Instant(loop=3.0))


def test_of_two_probes_one_that_lives_is_enough():
    """The other's failure is one failure among those that are counted."""
    desk, first, (second,) = half_open(1, CircuitBreaker(shortest=1.0, longest=8.0, probes=2))
    second_permit = second.permit
    desk.answer(first, WELL)
    desk.answer(second_permit, BROKEN, 1.0)
    assert (breaker_of(desk).state, desk.machine.lanes["a"].failing) == ("paced", 1)


# -- late results ---------------------------------------------------------------------------------


@pytest.mark.parametrize("judgement", [WELL, WRONG, BROKEN], ids=["well", "fatal", "broken"])
@pytest.mark.parametrize("probing", [False, True], ids=["open", "half-open"])
def test_results_of_before_the_trip_change_nothing(judgement, probing):
    """They were under way when it opened: neither good nor bad ones decide."""
    desk = a_desk()
    flying = [desk.call() for _ in range(5)]
    fail(desk, 10)
    if probing:
        desk.call()
        desk.pump(1.0)
    breaker = breaker_of(desk)
    before = breaker.state, breaker.until, breaker.trips, list(breaker.probing)
    for call in flying:
        desk.answer(call, judgement)
    assert (breaker.state, breaker.until, breaker.trips, list(breaker.probing)) == before
    assert desk.machine.lanes["a"].failing == 0


def test_failures_of_before_the_trip_do_not_count_after_it():
    """A hundred old failures that come during the recovery don't open it again."""
    desk = a_desk()
    desk.machine.lane(desk.call().keys).lift()
    flying = [desk.call() for _ in range(100)]
    fail(desk, 10)
    desk.loop = 1.0
    desk.answer(desk.call(), WELL)
    for call in flying:
        desk.answer(call, BROKEN)
    assert (breaker_of(desk).state, desk.machine.lanes["a"].failing) == ("paced", 0)


# -- coming back ----------------------------------------------------------------------------------


def after_traffic(per_second, seconds=10):
    """A desk where so many calls a second went well until the endpoint went down."""
    desk = a_desk()
    for second in range(seconds):
        desk.loop = float(second)
        for _ in range(per_second):
            desk.answer(desk.call(), WELL)
    desk.loop = float(seconds)
    fail(desk, 10)
    assert not breaker_of(desk).open
    return desk


def come_back(desk):
    """The probe lives."""
    desk.loop = breaker_of(desk).until.loop
    desk.answer(desk.call(), WELL)


def test_traffic_comes_back_at_the_rate_it_had():
    """30 a second and ten failures, measured over ten seconds, are 31 a second."""
    desk = after_traffic(30)
    come_back(desk)
    assert breaker_of(desk).rate == 31.0
    assert breaker_of(desk).pace.rate == pytest.approx(31.0 * 0.97)
    burst = [desk.call() for _ in range(8)]
    went = [desk.loop] * sum(call.place is Place.GRANTED for call in burst)
    while any(call.place is Place.PARKED for call in burst):
        pumped = desk.pump(desk.pump().next_wake)
        went += [desk.loop] * len(pumped.grants)
    gaps = [round(b - a, 3) for a, b in zip(went, went[1:], strict=False)]
    assert max(gaps) == pytest.approx(1 / 31, rel=0.04)
    assert sum(gaps) == pytest.approx(7 / 31, rel=0.06)


def test_a_slow_endpoint_comes_back_at_ten_a_second():
    """Or what went once a minute would be held up for minutes."""
    desk = a_desk()
    for second in range(10):
        desk.loop = 60.0 * second
        fail(desk, 1)
    come_back(desk)
    assert breaker_of(desk).rate == SLOWEST


def test_recovery_ends_after_ten_seconds():
    """Then nothing is restricted any more, and the next trip is a first one."""
    desk = after_traffic(30)
    come_back(desk)
    back = desk.loop
    desk.pump(back + RECOVERY - 0.001)
    desk.answer(desk.call(), WELL)
    assert (breaker_of(desk).state, breaker_of(desk).trips) == ("paced", 1)
    desk.loop = back + RECOVERY
    desk.answer(desk.call(), WELL)
    assert (breaker_of(desk).state, breaker_of(desk).trips) == ("open", 0)
    assert desk.machine.lanes["a"].doors == []


def test_a_trip_during_the_recovery_halves_the_rate():
    """Perhaps we came back too fast: 31, 15.5 and never below ten; and it is open for longer."""
    desk = after_traffic(30)
    rates, opened = [], []
    for _ in range(3):
        come_back(desk)
        rates.append(breaker_of(desk).rate)
        for _ in range(10):
            desk.loop += 0.2
            desk.answer(desk.call(), BROKEN, 1.0)
        opened.append(breaker_of(desk).until.loop - desk.loop)
    assert rates == [31.0, 15.5, 10.0]
    assert opened == pytest.approx([2.0, 4.0, 8.0])


def test_a_failed_probe_leaves_the_rate_alone():
    """It is one call: it says nothing about the rate."""
    desk = after_traffic(30)
    desk.loop = breaker_of(desk).until.loop
    desk.answer(desk.call(), BROKEN, 1.0)
    assert breaker_of(desk).rate == 31.0


# -- those who can't wait ---------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{"max_wait": 0.0}, {"max_wait": 0.9}, {"deadline": 0.9}])
def test_who_can_not_wait_so_long_is_told_at_once(limits):
    """With what opened it, and when it makes sense to come back."""
    desk = tripped()
    call = desk.call(**limits)
    assert call.place is Place.OUTSIDE
    assert (call.refusal.reason, call.refusal.resume_at) == (Reason.CIRCUIT, Instant(loop=1.0))
    assert call.refusal.because is BROKEN.because


def test_who_can_not_wait_for_the_verdict_is_told_when_the_lease_ends():
    """A probe is under way: nobody knows how long it takes."""
    desk, _, _ = half_open(0)
    call = desk.call(max_wait=0.0)
    assert (call.refusal.reason, call.refusal.resume_at) == (
        Reason.CIRCUIT,
        Instant(loop=1.0 + PROBE_LEASE),
    )


def test_who_waited_long_enough_is_refused():
    """The verdict took longer than the patience."""
    desk, _, (other,) = half_open(1)
    patient = desk.call(max_wait=2.0)
    assert desk.pump().next_wake == 3.0
    desk.pump(3.0)
    assert desk.words(other, patient) == "parked refused"
    assert patient.refusal.reason is Reason.CIRCUIT


def test_the_attempts_of_a_call_are_its_own():
    """The failure that opens the breaker is an attempt of the call that made it, and no more."""
    desk = a_desk()
    fail(desk, 9)
    assert desk.answer(desk.call(max_attempts=1), BROKEN, 1.0) == Raise(Reason.ATTEMPTS)
    assert not breaker_of(desk).open


def test_reset_opens_it_and_forgets_its_trips():
    """Somebody knows better: everybody goes, and the next trip is a first one."""
    desk, probe, others = half_open(3)
    permit = probe.permit
    assert desk.machine.reset("breaker:a") == ["breaker:a"]
    desk.pump()
    assert desk.words(*others) == "granted granted granted"
    assert (breaker_of(desk).state, breaker_of(desk).trips) == ("open", 0)
    desk.answer(permit, BROKEN)
    assert desk.machine.lanes["a"].failing == 0
