"""The admission machine, scene by scene: how long anybody waits, who is refused, when to look again."""

import pytest
from admission_kit import (
    ACCOUNT,
    BROKEN,
    WALL,
    WELL,
    WRONG,
    Desk,
    Doors,
    capacity,
    cooldown,
    exhausted,
    keys,
    verdict_of,
    window,
)

from resilience import Verdict
from resilience._core.admission.model import Again, Permit, Raise, Reason, Ticket
from resilience._core.instants import CALENDAR_NAP, Instant, Now
from resilience._core.policy.model import Escalation


@pytest.fixture
def desk():
    """A quiet account at loop time 0."""
    return Desk()


# -- patience -------------------------------------------------------------------------------------


def test_window_beyond_max_wait_refuses_now(desk):
    """Not after waiting in vain, and with the instant at which it would resume."""
    closing = window(wait=10.0)
    desk.answer(desk.call(), closing)
    ticket = desk.call(max_wait=9.9)

    assert (Reason.MAX_WAIT, Instant(loop=10.0)) == (
        ticket.refusal.reason,
        ticket.refusal.resume_at,
    )
    assert closing.because is ticket.refusal.because
    assert desk.machine.parked == 0


def test_window_beyond_the_deadline_refuses_now(desk):
    """A deadline is a loop instant; to be there just at its end is too late."""
    desk.answer(desk.call(), window(wait=10.0))

    for deadline in (3.0, 9.9):
        refusal = desk.call(deadline=deadline).refusal
        assert (Reason.DEADLINE, Instant(loop=10.0)) == (refusal.reason, refusal.resume_at)
    assert desk.words(desk.call(deadline=10.1)) == "parked"


def test_door_that_opens_exactly_at_the_end_of_max_wait_is_passed(desk):
    """60 s of patience are enough for a wait of 60 s, though the timer rings a little late."""
    desk.answer(desk.call(), window(wait=60.0))
    waiter = desk.call(max_wait=60.0)

    assert [waiter] == desk.pump(60.002).grants


def test_second_in_line_is_refused_when_its_patience_ends(desk):
    """It waited for the probe's verdict as long as it could."""
    desk.answer(desk.call(), window(wait=10.0))
    probe, second = desk.call(), desk.call(max_wait=12.0)
    desk.pump(10.0)

    assert desk.pump().next_wake == 12.0
    assert [second] == desk.pump(12.0).refusals
    assert second.refusal.reason == Reason.MAX_WAIT
    assert desk.words(probe) == "granted"


def test_max_wait_counts_all_waits_of_a_call(desk):
    """Two windows of ten seconds are twenty."""
    first = desk.call(max_wait=15.0)
    desk.answer(first, window(wait=10.0))
    desk.again(first)
    desk.pump(10.0)
    assert desk.words(first) == "granted"
    desk.answer(first, window(wait=10.0))
    desk.again(first)

    assert first.waited == 10.0
    assert first.refusal.reason == Reason.MAX_WAIT


def test_closing_that_grows_refuses_those_who_cannot_wait(desk):
    """A rejection in flight brings a longer hint: who can't wait that long fails at that moment."""
    late, rejected = desk.call(), desk.call()
    desk.answer(rejected, window(wait=10.0))
    hasty, patient = desk.call(max_wait=20.0), desk.call(max_wait=100.0)
    desk.loop = 5.0
    desk.answer(late, window(wait=10.0, hint=45.0))

    assert desk.words(hasty, patient) == "refused parked"
    assert Instant(loop=50.0) == hasty.refusal.resume_at


def test_no_patience_at_all(desk):
    """``max_wait=0`` passes open doors and never waits."""
    assert desk.words(first := desk.call(max_wait=0.0)) == "granted"
    desk.answer(first, window(wait=10.0))
    assert desk.call(max_wait=0.0).refusal.reason == Reason.MAX_WAIT
    desk.loop = 10.0
    assert desk.words(desk.call(max_wait=0.0)) == "granted"
    assert desk.call(max_wait=0.0).refusal.reason == Reason.MAX_WAIT  # a probe is on its way


def test_old_limit_does_not_hide_an_urgent_waiter(desk):
    """Parked, granted, parked again: the first limit is history, and nobody hides behind it."""
    late, rejected = desk.call(), desk.call()
    desk.answer(rejected, window(wait=1.0))
    old, brief = desk.call(max_wait=100.0), desk.call(max_wait=50.0)
    desk.pump(1.0)
    desk.loop = 5.0
    desk.answer(old, window(wait=10.0))
    desk.again(old)  # its limit was 100, and is 104 now
    desk.loop = 6.0
    desk.leave(brief)
    urgent = desk.call(max_wait=96.5)  # limit 102.5
    desk.answer(late, window(hint=97.0))  # and the door opens at 103

    assert desk.words(old, urgent) == "parked refused"


# -- exhausted, cooldown, fatal, capacity ------------------------------------------------------------


def test_cooldown_waits_if_there_is_patience(desk):
    """600 seconds: one can wait, the other fails now, saying when."""
    desk.answer(desk.call(), cooldown(wait=600.0))
    patient, hasty = desk.call(max_wait=700.0), desk.call(max_wait=60.0)

    assert (Reason.MAX_WAIT, Instant(loop=600.0)) == (hasty.refusal.reason, hasty.refusal.resume_at)
    assert [patient] == desk.pump(600.0).grants


def test_server_knows_its_lock_better_than_the_documents(desk):
    """A cool-down's hint replaces the rule, also when it is shorter."""
    desk.answer(desk.call(), cooldown(wait=600.0, hint=20.0))

    assert Instant(loop=20.0) == desk.machine.gates["endpoint:a"].until


def test_exhausted_refuses_everybody_at_once(desk):
    """The call itself, those who wait, those who come: no request is sent."""
    payer = desk.call("a")
    desk.answer(desk.call("b"), window("endpoint:b", wait=10.0))
    waiting = desk.call("b")
    closing = exhausted(probe_every=100.0)

    assert Raise(Reason.EXHAUSTED, Instant(loop=100.0)) == desk.answer(payer, closing)
    newcomer = desk.call("a", max_wait=1e9)
    for refused in (waiting, newcomer):
        assert (Reason.EXHAUSTED, Instant(loop=100.0)) == (
            refused.refusal.reason,
            refused.refusal.resume_at,
        )
        assert closing.because is refused.refusal.because


def test_exhausted_sends_one_probe_per_period(desk):
    """Every ``probe_every`` seconds one call finds out; all others are refused."""
    desk.answer(desk.call(), exhausted(probe_every=100.0))
    sent = []
    for second in range(0, 1000, 10):
        desk.loop = float(second)
        call = desk.call()
        if call.permit is not None:
            sent.append(second)
            desk.answer(call, exhausted(probe_every=100.0))

    assert sent == [100, 200, 300, 400, 500, 600, 700, 800, 900]


def test_paid_account_goes_on_by_itself(desk):
    """A probe's success opens the door for all."""
    desk.answer(desk.call(), exhausted(probe_every=100.0))
    desk.loop = 100.0
    probe = desk.call()
    assert desk.call().refusal.reason == Reason.EXHAUSTED
    desk.answer(probe, WELL)

    assert (desk.closed, desk.words(desk.call())) == (0, "granted")


@pytest.mark.parametrize(
    "judgement", [WRONG, BROKEN, capacity()], ids=["fatal", "broken", "capacity"]
)
def test_only_success_proves_that_somebody_paid(desk, judgement):
    """A wrong parameter may be rejected before the balance is looked at."""
    desk.answer(desk.call(), exhausted(probe_every=100.0))
    desk.loop = 100.0
    desk.answer(desk.call(), judgement)

    assert desk.closed == 1


def test_hanging_probe_of_an_exhausted_account(desk):
    """It holds the role for one period; nobody queues behind it."""
    desk.answer(desk.call(), exhausted(probe_every=100.0))
    desk.loop = 100.0
    assert desk.words(desk.call()) == "granted"
    desk.loop = 199.0
    assert Instant(loop=200.0) == desk.call().refusal.resume_at
    desk.loop = 200.0
    assert desk.words(desk.call()) == "granted"


def test_latched_fatal(desk):
    """A refused key closes the account like exhaustion, with a reason of its own."""
    closing = verdict_of(Verdict.FATAL, "account", probe_every=100.0)

    assert Raise(Reason.FATAL, Instant(loop=100.0)) == desk.answer(desk.call("a"), closing)
    refused = desk.call("b")
    assert (Reason.REFUSED, closing.because) == (refused.refusal.reason, refused.refusal.because)
    desk.loop = 100.0
    desk.answer(desk.call("b"), WELL)
    assert desk.closed == 0


def test_fatal_of_a_request_closes_nothing(desk):
    """Other calls are fine."""
    assert Raise(Reason.FATAL) == desk.answer(desk.call(), WRONG)
    assert desk.closed == 0


@pytest.mark.parametrize("scope", [None, "endpoint:a", "account"])
def test_capacity_closes_nothing(desk, scope):
    """Waiting never helps, and others are unaffected, whatever scope was given."""
    assert Raise(Reason.CAPACITY) == desk.answer(desk.call(), capacity(scope))
    assert (desk.closed, desk.words(desk.call())) == (0, "granted")


# -- escalation -----------------------------------------------------------------------------------


def knock(desk, closing, times):
    """Close and probe again and again, as early as possible; what each rejected call was told."""
    told = []
    call = desk.call(max_wait=1e9)
    for _ in range(times):
        told.append(desk.answer(call, closing))
        gate = desk.machine.gates["endpoint:a"]
        desk.loop = gate.until.loop
        call = desk.call(max_wait=1e9)
    return told


def test_window_that_never_opens_counts_as_exhausted(desk):
    """After so many rejections in a row: a daily cap looks just like a busy second."""
    closing = window(wait=1.0, escalate=Escalation(rejections=3, within=1e9), probe_every=50.0)
    told = knock(desk, closing, 4)

    assert [Again, Again, Raise, Raise] == [type(answer) for answer in told]
    assert Raise(Reason.EXHAUSTED, Instant(loop=2.0 + 50.0)) == told[2]


def test_window_that_stays_closed_for_long_counts_as_exhausted(desk):
    """By time as well: here after 25 seconds, at the fourth rejection."""
    closing = window(wait=10.0, escalate=Escalation(rejections=99, within=25.0))

    assert [Again, Again, Again, Raise] == [type(answer) for answer in knock(desk, closing, 4)]


def test_escalation_refuses_those_who_wait(desk):
    """They would wait for a day."""
    closing = window(wait=1.0, escalate=Escalation(rejections=2, within=1e9))
    desk.answer(desk.call(), closing)
    probe, waiting = desk.call(), desk.call()
    desk.pump(1.0)
    desk.answer(probe, closing)

    assert desk.words(waiting) == "refused"
    assert waiting.refusal.reason == Reason.EXHAUSTED


def test_success_between_ends_the_count(desk):
    """Two rejections, a success, two rejections: still a window."""
    closing = window(wait=1.0, escalate=Escalation(rejections=3, within=1e9))
    assert [Again, Again] == [type(answer) for answer in knock(desk, closing, 2)]
    desk.answer(max(desk_probe(desk), key=lambda p: p.ticket.order), WELL)

    assert [Again, Again] == [type(answer) for answer in knock(desk, closing, 2)]


def desk_probe(desk):
    """The probes on their way."""
    return [gate.probe for gate in desk.machine.gates.values() if gate.probe]


def test_quiet_time_ends_the_count(desk):
    """Nobody knocked for longer than ``within``: the next rejection is a new story."""
    closing = window(wait=1.0, escalate=Escalation(rejections=2, within=60.0))
    desk.answer(desk.call(), closing)
    desk.loop = 1.0 + 60.1

    assert Again(desk.loop, "gate") == desk.answer(desk.call(), closing)


def test_escalated_door_opens_by_a_success(desk):
    """And is a window again afterwards."""
    closing = window(wait=1.0, escalate=Escalation(rejections=2, within=1e9), probe_every=50.0)
    knock(desk, closing, 2)
    desk.answer(desk_probe(desk)[0], WELL)

    assert desk.closed == 0
    assert Again(desk.loop, "gate") == desk.answer(desk.call(), closing)
    assert desk.words(desk.call()) == "parked"


# -- calendars ------------------------------------------------------------------------------------


def test_calendar_reset_is_read_from_the_wall_clock(desk):
    """The wall clock jumps an hour ahead: the door opens an hour earlier."""
    desk.answer(desk.call(), window(resets_at=WALL + 7200.0))
    waiter = desk.call()

    assert desk.pump(3600.0).grants == []
    desk.shift = 3600.0
    assert [waiter] == desk.pump().grants


def test_waiters_of_a_calendar_look_again_every_thirty_seconds(desk):
    """The clock may be set while they sleep; near the end they sleep no longer than to it."""
    desk.answer(desk.call(), window(resets_at=WALL + 100.0))
    desk.call()

    assert desk.pump(0.0).next_wake == CALENDAR_NAP
    assert desk.pump(40.0).next_wake == 40.0 + CALENDAR_NAP
    assert desk.pump(95.0).next_wake == 100.0


def test_exhausted_until_midnight(desk):
    """Refused with the calendar's own instant; the first call after it is the probe."""
    reset = WALL + 5000.0
    assert Raise(Reason.EXHAUSTED, Instant(wall=reset)) == desk.answer(
        desk.call(), exhausted(resets_at=reset)
    )
    assert Instant(wall=reset) == desk.call().refusal.resume_at
    desk.loop = 5000.0
    desk.answer(desk.call(), WELL)
    assert desk.closed == 0


def test_hint_later_than_the_calendar_wins(desk):
    """Whichever comes later."""
    desk.answer(desk.call(), exhausted(resets_at=WALL + 50.0, hint=80.0))

    assert Instant(loop=80.0) == desk.machine.gates["account"].until


# -- retries --------------------------------------------------------------------------------------


def test_retryable_backs_off_and_ends(desk):
    """Three attempts in all: two waits of the schedule, then the end."""
    call = desk.call(max_attempts=3)
    broken = verdict_of(Verdict.RETRYABLE, wait=(1.0, 2.0))

    assert Again(1.0, "backoff") == desk.answer(call, broken)
    assert Again(2.0, "backoff") == desk.answer(call, broken)
    assert Raise(Reason.ATTEMPTS) == desk.answer(call, broken)


def test_rule_may_allow_fewer_attempts_but_not_more(desk):
    """The smaller of the two limits holds."""
    few = verdict_of(Verdict.RETRYABLE, max_attempts=2)
    assert [Again, Raise] == [type(desk.answer(c, few)) for c in [desk.call(max_attempts=9)] * 2]
    assert [Raise] == [type(desk.answer(desk.call(max_attempts=1), few))]


def test_quota_spends_no_attempt(desk):
    """Five windows and then a failure: it is the first of the attempts."""
    call = desk.call(max_attempts=2, max_wait=1e9)
    for _ in range(5):
        desk.answer(call, window())
        desk.loop = desk.machine.gates["endpoint:a"].until.loop
        desk.again(call)

    assert isinstance(desk.answer(call, BROKEN), Again)
    assert isinstance(desk.answer(call, BROKEN), Raise)


def test_backoff_beyond_the_deadline_fails_now(desk):
    """Never clamped, never knocked early: it says when it would resume."""
    call = desk.call(max_attempts=9, deadline=10.0)

    assert Raise(Reason.DEADLINE, Instant(loop=10.0)) == desk.answer(call, BROKEN)


def test_hint_on_a_retry_is_a_floor(desk):
    """Longer than the backoff it holds, shorter it doesn't matter."""
    call = desk.call(max_attempts=9)

    assert Again(25.0, "hint") == desk.answer(
        call, verdict_of(Verdict.RETRYABLE, wait=10.0, hint=25.0)
    )
    assert Again(10.0, "backoff") == desk.answer(
        call, verdict_of(Verdict.RETRYABLE, wait=10.0, hint=3.0)
    )


def test_hint_spends_max_wait(desk):
    """A server can't make a caller wait longer than it wants; two hints add up."""
    call = desk.call(max_attempts=9, max_wait=40.0)
    hinted = verdict_of(Verdict.RETRYABLE, wait=1.0, hint=25.0)

    assert Again(25.0, "hint") == desk.answer(call, hinted)
    assert Raise(Reason.MAX_WAIT, Instant(loop=25.0)) == desk.answer(call, hinted)


def test_hint_of_the_last_attempt_is_told(desk):
    """Too late for this call, useful for the next."""
    call = desk.call(max_attempts=1)

    assert Raise(Reason.ATTEMPTS, Instant(loop=25.0)) == desk.answer(
        call, verdict_of(Verdict.RETRYABLE, hint=25.0)
    )


@pytest.mark.parametrize("verdict", [Verdict.RETRYABLE, Verdict.QUOTA])
def test_what_may_not_be_repeated_ends(desk, verdict):
    """Nobody said that it may be done twice."""
    call = desk.call(max_attempts=9)

    assert Raise(Reason.NOT_REPEATABLE) == desk.answer(call, verdict_of(verdict, repeatable=False))


def test_unrepeatable_rejection_still_closes_the_door(desk):
    """The others have to know."""
    desk.answer(desk.call(), window(repeatable=False))

    assert desk.closed == 1


def test_quota_of_this_request_alone_waits_alone(desk):
    """It closes no door, and spends ``max_wait``."""
    call = desk.call(max_wait=15.0)

    assert Again(10.0, "backoff") == desk.answer(call, window(None, wait=10.0))
    assert desk.closed == 0
    assert Raise(Reason.MAX_WAIT, Instant(loop=10.0)) == desk.answer(call, window(None, wait=10.0))


# -- waking and moving ----------------------------------------------------------------------------


def test_next_wake_is_the_first_instant_that_matters(desk):
    """The nearest of door openings, leases and limits; nothing while nobody waits."""
    b = desk.call("b")
    desk.answer(desk.call("a"), window("endpoint:a", wait=10.0))
    desk.answer(b, window("endpoint:b", wait=7.0))
    assert desk.pump().next_wake is None
    desk.call("a")
    assert desk.pump().next_wake == 10.0
    hurried = desk.call("a", deadline=10.5)
    desk.call("b")
    assert desk.pump().next_wake == 7.0
    desk.pump(7.0)
    assert desk.pump().next_wake == 10.0
    desk.pump(10.0)
    assert desk.pump().next_wake == 10.5
    assert [hurried] == desk.pump(10.5).refusals
    assert desk.pump().next_wake is None


def test_two_doors_open_with_the_later_one(desk):
    """A call behind both sleeps until the second."""
    b = desk.call("b")
    desk.answer(desk.call("a"), window("endpoint:a", wait=10.0))
    desk.answer(b, window("account", wait=4.0))
    waiter = desk.call("a")

    assert desk.pump(4.0).next_wake == 10.0
    assert [waiter] == desk.pump(10.0).grants


def test_doors_stay_closed_in_a_new_loop(desk):
    """Trio starts every run's clock at a random value: what is left is bridged by wall time."""
    desk.answer(desk.call("a"), window("endpoint:a", wait=100.0))
    before = desk.now
    after = Now(loop=7_000_000.0, wall=before.wall + 30.0)
    desk.machine.carry(before, after)
    desk.loop, desk.shift = after.loop, after.wall - WALL - after.loop
    desk.call("a")

    assert desk.pump().next_wake == 7_000_070.0


def test_lost_probe_of_an_old_loop_is_forgotten(desk):
    """Its task is gone with its loop."""
    desk.answer(desk.call("a"), exhausted(probe_every=1000.0))
    desk.loop = 1000.0
    desk.call("a")
    desk.machine.carry(desk.now, desk.now)

    assert desk.words(desk.call("a")) == "granted"


def test_fast_lane_is_dated(desk):
    """A call that never asked dates its first attempt by the epoch it saw."""
    epoch = desk.machine.epoch
    fast = Ticket(99, keys("a"))
    desk.answer(desk.call("a"), window(wait=10.0))
    desk.loop = 10.0
    desk.answer(desk.call("a"), WELL)
    desk.answer(Permit(fast, epoch), window(wait=10.0))

    assert desk.closed == 0
    assert ACCOUNT in fast.keys.scopes


def test_escalation_counts_on_in_a_new_loop(desk):
    """What began in the old loop is as old as the wall clock says."""
    closing = window(wait=10.0, escalate=Escalation(rejections=99, within=25.0))
    desk.answer(desk.call(), closing)
    before = desk.now
    after = Now(loop=7_000_000.0, wall=before.wall + 20.0)
    desk.machine.carry(before, after)
    desk.loop, desk.shift = after.loop, after.wall - WALL - after.loop

    assert isinstance(desk.answer(desk.call(), closing), Again)
    desk.loop += 10.0
    assert isinstance(desk.answer(desk.call(), closing), Raise)


def test_one_too_many_is_refused():
    """So many may wait, and the next is told at once; who leaves makes room."""
    desk = Desk(machine=Doors(1))
    desk.answer(desk.call(), window(wait=10.0))
    first, second = desk.call(), desk.call()

    assert desk.words(first) == "parked"
    assert second.refusal.reason is Reason.CROWD
    desk.leave(first)
    assert desk.words(desk.call()) == "parked"


def test_what_was_waited_counts_from_the_parking(desk):
    """Not from the beginning of the clock."""
    desk.loop = 5.0
    desk.answer(desk.call(), window(wait=10.0))
    ticket = desk.call()
    desk.loop = 7.0
    later = desk.call()
    desk.leave(later)
    desk.pump(15.0)

    assert (ticket.waited, later.waited) == (10.0, 0.0)


def test_the_ramp_lets_one_pass_though_the_clock_is_late(desk):
    """No door is closed; whoever waited for the ramp goes, after max_wait too."""
    for _ in range(10):
        desk.call()
    ticket = desk.call(max_wait=0.2)
    assert desk.words(ticket) == "parked"

    assert desk.pump(0.3).grants == [ticket]
