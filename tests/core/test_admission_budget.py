"""The retry budget, on paper: who pays, when, and what becomes of those who can't."""

import pytest
from admission_kit import BROKEN, WELL, Desk, Doors, verdict_of, window

from resilience import RetryBudget, Verdict
from resilience._core.admission.budget import Budget
from resilience._core.admission.model import Again, Go, Place, Raise, Reason
from resilience._core.admission.waiting import BUDGET_NAP
from resilience._core.instants import Instant

AT_ONCE = verdict_of(Verdict.RETRYABLE, wait=0.0)
"""Broken; the retry does not back off."""

FIVE = RetryBudget(ratio=0.5, floor=0.25, burst=5.0)
"""All numbers are exact in binary."""


def a_desk(budget=FIVE):
    """No breaker: only the budget decides."""
    return Desk(machine=Doors(breaker=None, budget=budget))


def lane_of(desk, endpoint="a"):
    """The live lane."""
    return desk.machine.lanes[endpoint]


def tokens(desk):
    """What is left now."""
    lane = lane_of(desk)
    lane.budget.refill(lane.sent, desk.loop)
    return lane.budget.tokens


def retry(desk, judgement=AT_ONCE, **settings):
    """A call whose first attempt fails; gives the call and the answer."""
    call = desk.call(max_attempts=5, **settings)
    return call, desk.answer(call, judgement)


def emptied(budget=FIVE):
    """A desk whose budget has just been used up, by retries that never leave."""
    desk = a_desk(budget)
    while retry(desk)[1].wait_reason != "budget":
        pass
    lane = lane_of(desk)
    lane.suppressed = 0
    lane.budget.tokens = 0.0
    return desk


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param(
            {"ratio": -0.1},
            "RetryBudget(ratio=-0.1): retries per call, at least 0",
            id="ratio",
        ),
        pytest.param(
            {"floor": 0.0},
            "RetryBudget(floor=0.0): retries per second, above 0",
            id="floor",
        ),
        pytest.param({"burst": 0.5}, "RetryBudget(burst=0.5): retries, at least 1", id="burst"),
        pytest.param(
            {"ratio": float("nan")},
            "RetryBudget(ratio=nan): retries per call, at least 0",
            id="nan",
        ),
    ],
)
def test_settings_without_sense_are_named(settings, said):
    """The message holds the argument and its value."""
    with pytest.raises(ValueError) as caught:
        RetryBudget(**settings)
    assert str(caught.value) == said


# -- tokens ---------------------------------------------------------------------------------------


def test_a_budget_begins_full():
    """Twenty retries by default, and not one more in the same instant."""
    budget = Budget(RetryBudget())
    assert [budget.charge(0, 7.0) for _ in range(22)] == [True] * 20 + [False] * 2


def test_calls_that_went_earn_their_share():
    """Two calls at a ratio of a half are one retry."""
    budget = Budget(FIVE)
    budget.tokens = 0.0
    assert [budget.charge(sent, 0.0) for sent in (1, 2, 3, 4, 4)] == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_time_earns_the_floor():
    """One retry in four seconds, without any traffic; the wait for it is told to the second."""
    budget = Budget(FIVE)
    budget.tokens = 0.0
    assert budget.wait(0, 10.0) == 4.0
    assert budget.wait(0, 11.0) == 3.0
    assert budget.charge(0, 13.75) is False
    assert budget.charge(0, 14.0) is True
    assert budget.wait(0, 14.0) == 4.0


def test_no_more_than_the_burst_is_saved_up():
    """Whether by time, by traffic or by refunds."""
    budget = Budget(FIVE)
    budget.refill(0, 0.0)
    budget.refill(1000, 1e6)
    budget.refund()
    assert budget.tokens == 5.0


def test_an_earlier_clock_earns_nothing():
    """Another event loop begins at another time."""
    budget = Budget(FIVE)
    budget.tokens = 0.0
    budget.refill(0, 1000.0)
    budget.refill(0, 10.0)
    assert budget.tokens == 0.0
    budget.refill(0, 14.0)
    assert budget.tokens == 1.0


def test_no_budget_is_no_limit():
    """A thousand retries at once, nothing suppressed."""
    desk = a_desk(None)
    assert {retry(desk)[1].wait_reason for _ in range(1000)} == {"backoff"}
    assert (lane_of(desk).suppressed, lane_of(desk).budget.wait(0, 0.0)) == (0, 0.0)


# -- who pays -------------------------------------------------------------------------------------


def test_a_retry_pays_when_it_is_scheduled():
    """Not when it leaves: all that back off at the same time are counted."""
    desk = a_desk(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    answers = [retry(desk, BROKEN)[1] for _ in range(7)]
    assert [a.wait_reason for a in answers] == ["backoff"] * 5 + ["budget"] * 2
    assert answers[0] == Again(10.0, "backoff")
    assert (tokens(desk), lane_of(desk).suppressed) == (0.0, 2)


def test_what_an_unpaid_retry_will_wait_is_told():
    """The longer of its back-off and the time until its token."""
    desk = emptied()
    assert retry(desk, AT_ONCE)[1].expected == pytest.approx(2.0)  # its own call earned a half
    assert retry(desk, BROKEN)[1].expected == 10.0


def test_a_first_attempt_pays_nothing():
    """A thousand calls that go well leave the budget full."""
    desk = a_desk()
    for _ in range(1000):
        desk.answer(desk.call(), WELL)
    assert tokens(desk) == 5.0


def test_the_end_of_a_call_pays_nothing():
    """What may not be repeated, or not again, takes no token."""
    desk = a_desk(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    assert desk.answer(desk.call(max_attempts=1), AT_ONCE) == Raise(Reason.ATTEMPTS)
    once = verdict_of(Verdict.RETRYABLE, wait=0.0, repeatable=False)
    assert desk.answer(desk.call(max_attempts=5), once) == Raise(Reason.NOT_REPEATABLE)
    assert desk.answer(desk.call(max_attempts=5, deadline=1.0), BROKEN).reason is Reason.DEADLINE
    assert tokens(desk) == 5.0


def test_a_quota_rejection_pays_nothing():
    """Waiting for a window is no retry."""
    desk = a_desk(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    for _ in range(10):
        assert isinstance(desk.answer(desk.call(), window(None, wait=0.1)), Again)
    assert tokens(desk) == 5.0


def test_a_retry_that_went_earns_nothing():
    """Ten first attempts earn five; their ten retries would have earned five more."""
    desk = a_desk(RetryBudget(ratio=0.5, floor=1e-9, burst=100.0))
    lane_of_calls = [desk.call(max_attempts=5) for _ in range(10)]
    lane_of(desk).budget.tokens = 50.0
    for call in lane_of_calls:
        desk.answer(call, AT_ONCE)
    assert tokens(desk) == pytest.approx(50.0 + 5.0 - 10.0)
    for call in lane_of_calls:
        desk.again(call)
        desk.answer(call, WELL)
    assert tokens(desk) == pytest.approx(45.0)


def test_endpoints_have_budgets_of_their_own():
    """The outage of one can't use up the retries of another."""
    desk = emptied()
    call = desk.call("b", max_attempts=5)
    assert desk.answer(call, AT_ONCE).wait_reason == "backoff"


# -- refunds --------------------------------------------------------------------------------------


def test_a_call_that_leaves_while_backing_off_gets_its_token_back():
    """Cancelled in its sleep: the retry never left."""
    desk = a_desk(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    call, _ = retry(desk, BROKEN)
    assert tokens(desk) == 4.0
    desk.leave(call)
    assert tokens(desk) == 5.0
    desk.leave(call)
    desk.leave(call)
    lane_of(desk).budget.tokens = 1.0
    desk.leave(call)
    assert lane_of(desk).budget.tokens == 1.0


def test_a_retry_that_is_refused_gets_its_token_back():
    """The door closed while it backed off, for longer than it can wait."""
    desk = a_desk(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    call, _ = retry(desk, BROKEN, max_wait=1.0)
    desk.answer(desk.call(), window("endpoint:a", wait=60.0))
    assert tokens(desk) == 4.0
    desk.again(call)
    assert (call.refusal.reason, tokens(desk)) == (Reason.MAX_WAIT, 5.0)


def test_a_paid_retry_that_is_refused_in_the_line_gets_its_token_back():
    """It parked before a door, and the probe had no verdict before its patience was over."""
    desk = a_desk(RetryBudget(ratio=0.0, floor=1e-9, burst=5.0))
    call, _ = retry(desk, max_wait=3.0)
    desk.answer(desk.call(), window("endpoint:a", wait=2.0))
    desk.call()
    desk.machine.lanes["a"].queues[call.kind].head().order = -1  # it came first
    desk.again(call)
    desk.pump(2.0)
    assert (call.place, tokens(desk)) == (Place.PARKED, pytest.approx(4.0))
    desk.pump(3.0)
    assert (call.place, call.refusal.reason) == (Place.REFUSED, Reason.MAX_WAIT)
    assert tokens(desk) == 5.0


def test_a_parked_retry_that_leaves_gets_its_token_back():
    """Cancelled in the line, with the token in hand."""
    desk = a_desk(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    call, _ = retry(desk)
    desk.answer(desk.call(), window("endpoint:a", wait=60.0))
    desk.again(call)
    assert (call.place, tokens(desk)) == (Place.PARKED, 4.0)
    desk.leave(call)
    assert tokens(desk) == 5.0


def test_a_grant_that_came_too_late_gives_the_token_back():
    """It was let go and cancelled in the same instant: nothing was sent."""
    desk = a_desk(RetryBudget(ratio=0.0, floor=1e-9, burst=5.0))
    call, _ = retry(desk)
    desk.answer(desk.call(), window("endpoint:a", wait=1.0))
    desk.again(call)
    desk.pump(1.0)
    assert (call.place, tokens(desk)) == (Place.GRANTED, pytest.approx(4.0))
    desk.leave(call)
    assert (tokens(desk), lane_of(desk).in_flight) == (5.0, 0)


def test_a_retry_cancelled_in_its_attempt_stays_paid():
    """The server counted it."""
    desk = a_desk(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    call, _ = retry(desk)
    desk.again(call)
    desk.machine.leave(call.permit, desk.now)
    assert tokens(desk) == 4.0


def test_a_retry_that_was_not_sent_takes_nothing_from_the_next_call():
    """The first attempt after it earns its half."""
    desk = a_desk(RetryBudget(ratio=0.5, floor=1e-9, burst=5.0))
    call, _ = retry(desk)
    desk.answer(desk.call(), window("endpoint:a", wait=1.0))
    desk.again(call)
    lane_of(desk).budget.tokens = 2.0
    desk.pump(1.0)
    assert call.place is Place.GRANTED
    desk.leave(call)  # granted, cancelled, never sent
    assert lane_of(desk).budget.tokens == 3.0
    desk.answer(desk.call(), WELL)
    assert tokens(desk) == pytest.approx(3.5)


def test_a_rejected_call_earns_nothing_whoever_looks():
    """A retry that waits for its token is looked at while calls are under way that are rejected."""
    desk = emptied(RetryBudget(ratio=0.25, floor=1e-9, burst=5.0))
    call, _ = retry(desk)
    desk.again(call)
    desk.pump()
    assert tokens(desk) == pytest.approx(0.25)  # its own first attempt
    for _ in range(5):
        rejected = desk.call()
        desk.pump()
        desk.answer(rejected, window(None, wait=1.0))
    assert call.place is Place.PARKED


# -- an empty budget ------------------------------------------------------------------------------


def test_an_unpaid_retry_parks_and_gets_its_token_by_time():
    """Nobody else calls: the floor of one in four seconds lets it go."""
    desk = emptied()
    lane_of(desk).budget.settings = RetryBudget(ratio=0.0, floor=0.25, burst=5.0)
    call, answer = retry(desk)
    assert answer == Again(0.0, "budget")
    desk.again(call)
    assert (call.place, lane_of(desk).unpaid.parked, desk.machine.parked) == (Place.PARKED, 1, 1)
    while call.place is Place.PARKED:
        wake = desk.pump().next_wake
        assert desk.loop < wake <= desk.loop + BUDGET_NAP
        desk.pump(wake)
    assert (desk.loop, desk.machine.parked, lane_of(desk).unpaid.parked) == (4.0, 0, 0)
    assert tokens(desk) == 0.0


def test_other_calls_earn_its_token():
    """Two calls that go are a retry at a ratio of a half, and no time has to pass."""
    desk = emptied()
    lane_of(desk).budget.settings = RetryBudget(ratio=0.5, floor=1e-6, burst=5.0)
    call, _ = retry(desk)  # half a token by its own first attempt
    desk.again(call)
    desk.pump()
    assert call.place is Place.PARKED
    desk.answer(desk.call(), WELL)
    assert call.place is Place.GRANTED


def test_first_attempts_overtake_unpaid_retries():
    """A retry that can't pay holds up nobody who needs no token."""
    desk = emptied()
    calls = [retry(desk)[0] for _ in range(3)]
    for call in calls:
        desk.again(call)
    waiting = [call.place for call in calls]
    fresh = desk.call()
    assert fresh.place is Place.GRANTED
    assert Place.PARKED in waiting


def test_unpaid_retries_are_paid_in_the_order_of_their_calls():
    """Whoever called first."""
    desk = emptied(RetryBudget(ratio=0.0, floor=1.0, burst=5.0))
    calls = [retry(desk)[0] for _ in range(3)]
    for call in reversed(calls):
        desk.again(call)
    ends = {}
    for tenth in range(1, 40):
        for call in desk.pump(tenth / 8).grants:
            ends[call] = desk.loop
    assert [ends[call] for call in calls] == [1.0, 2.0, 3.0]


def test_a_retry_that_asks_while_others_wait_unpaid_lines_up_behind_them():
    """A token that just came belongs to who waited for it."""
    desk = emptied(RetryBudget(ratio=0.0, floor=1.0, burst=5.0))
    first, second = retry(desk)[0], retry(desk)[0]
    desk.again(first)
    desk.loop = 1.0
    desk.again(second)
    assert second.place is Place.PARKED
    desk.pump()
    assert desk.words(first, second) == "granted parked"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        pytest.param({"max_wait": 1.0}, Reason.MAX_WAIT, id="max_wait"),
        pytest.param({"deadline": 1.0}, Reason.DEADLINE, id="deadline"),
    ],
)
def test_an_unpaid_retry_is_refused_when_its_patience_is_over(limits, reason):
    """With the failure that it would have repeated, and when it would have had its token."""
    desk = emptied(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    call, _ = retry(desk, **limits)
    desk.again(call)
    desk.pump()
    assert call.place is Place.PARKED
    desk.pump(0.999)
    assert call.place is Place.PARKED
    pumped = desk.pump(1.0)
    assert pumped.refusals == [call]
    assert (call.refusal.reason, call.refusal.because) == (reason, AT_ONCE.because)
    assert call.refusal.resume_at == Instant(loop=4.0)
    assert desk.machine.parked == 0


def test_an_unpaid_retry_that_can_not_wait_at_all_is_refused_on_the_spot():
    """It asks, and hears at once what it would have repeated."""
    desk = emptied(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    call, _ = retry(desk, max_wait=0.0)
    desk.again(call)
    assert (call.refusal.reason, call.refusal.because) == (Reason.MAX_WAIT, AT_ONCE.because)
    assert desk.machine.parked == 0


def test_a_cancelled_unpaid_retry_leaves_nothing_behind():
    """No token was taken, and none is given back."""
    desk = emptied(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    call, _ = retry(desk)
    desk.again(call)
    desk.leave(call)
    assert (desk.machine.parked, lane_of(desk).unpaid.parked, tokens(desk)) == (0, 0, 0.0)


def test_suppressed_counts_retries_that_were_held_up():
    """Each once, whether it waits, leaves or is refused."""
    desk = emptied(RetryBudget(ratio=0.0, floor=0.25, burst=5.0))
    for _ in range(3):
        retry(desk)
    assert lane_of(desk).suppressed == 3


def test_a_paid_up_retry_still_stands_before_its_doors():
    """A token is no ticket through a closed door."""
    desk = emptied(RetryBudget(ratio=0.0, floor=1.0, burst=5.0))
    call, _ = retry(desk)
    desk.answer(desk.call(), window("endpoint:a", wait=60.0))
    desk.again(call)
    desk.pump(1.0)
    assert (call.place, call.paid, lane_of(desk).unpaid.parked) == (Place.PARKED, True, 0)
    desk.pump(60.0)
    assert call.place is Place.GRANTED


def test_the_factor_is_bounded():
    """Everything fails for ever: retries are a fifth of the calls, twenty, and two a second."""
    desk = Desk(machine=Doors(breaker=None, budget=RetryBudget()))
    waiting = []
    calls = retries = 0
    for tick in range(400):  # a hundred seconds, ten calls a second
        desk.loop = tick / 4
        for grant in desk.pump().grants:
            retries += 1
            waiting.append(grant)
        for _ in range(2 + tick % 2):
            waiting.append(desk.call(max_attempts=1000))
            calls += 1
        while waiting:
            call = waiting.pop()
            if call.place is not Place.GRANTED:
                continue
            desk.machine.answer(call.permit, AT_ONCE, desk.now, 0.0)
            match desk.machine.ask(call, call.keys, desk.now):
                case Go(_):
                    retries += 1
                    waiting.append(call)
    allowed = 0.2 * calls + 20 + 2.0 * desk.loop
    assert (calls, retries) == (1000, pytest.approx(allowed, abs=2))
