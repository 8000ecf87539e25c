"""The admission machine, scene by scene: doors that close and open, probes, and the order of those who wait."""

import pytest
from admission_kit import (
    BROKEN,
    WELL,
    WRONG,
    Desk,
    capacity,
    exhausted,
    window,
)

from resilience._core.admission.machine import Machine
from resilience._core.admission.model import Again, Return
from resilience._core.instants import Instant


@pytest.fixture
def desk():
    """A quiet account at loop time 0."""
    return Desk()


# -- open doors -----------------------------------------------------------------------------------


def test_open_doors_let_everybody_pass(desk):
    """Nothing is restricted: no queue, no gate, no wake."""
    calls = [desk.call("a"), desk.call("a"), desk.call("b")]

    assert desk.words(*calls) == "granted granted granted"
    assert [Return()] * 3 == [desk.answer(call, WELL) for call in calls]
    assert (desk.closed, desk.machine.parked, desk.machine.gates) == (0, 0, {})
    assert tuple(desk.pump()) == ([], [], None)


# -- windows --------------------------------------------------------------------------------------


def test_window_closes_its_scope_only(desk):
    """A rejection of endpoint a: a waits, b goes on."""
    assert Again(0.0, "gate") == desk.answer(desk.call("a"), window("endpoint:a"))

    a, b = desk.call("a"), desk.call("b")
    assert desk.words(a, b) == "parked granted"
    assert desk.closed == 1


def test_account_window_closes_every_endpoint(desk):
    """The account's door stands in front of all."""
    desk.answer(desk.call("a"), window("account"))

    assert desk.words(desk.call("a"), desk.call("b")) == "parked parked"


def test_window_reopens_by_one_probe(desk):
    """When the wait is over one goes, and its success lets the others go, in order."""
    desk.answer(desk.call(), window(wait=10.0))
    first, second, third = desk.call(), desk.call(), desk.call()

    assert tuple(desk.pump(9.99))[:2] == ([], [])
    assert [first] == desk.pump(10.0).grants
    assert desk.words(second, third) == "parked parked"
    assert Return() == desk.machine.answer(first.permit, WELL, desk.now, 0.0)
    assert [second, third] == desk.pump().grants
    assert desk.closed == 0


def test_newcomer_is_the_probe_if_nobody_waits(desk):
    """After the wait the next call finds out."""
    desk.answer(desk.call(), window(wait=10.0))
    desk.loop = 10.0
    probe = desk.call()

    assert desk.words(probe, desk.call()) == "granted parked"
    desk.answer(probe, WELL)
    assert desk.closed == 0


def test_rejected_probe_closes_again_for_the_next_step(desk):
    """One closing more, a longer wait, and the others still wait."""
    desk.answer(desk.call(), window(wait=(1.0, 2.0, 4.0)))
    first, second = desk.call(), desk.call()
    desk.pump(1.0)
    desk.answer(first, window(wait=(1.0, 2.0, 4.0)))

    assert desk.words(second) == "parked"
    assert desk.pump(2.9).grants == []
    assert [second] == desk.pump(3.0).grants


def test_steps_start_over_after_a_success(desk):
    """The backoff belongs to one closing time."""
    steps = (1.0, 50.0)
    desk.answer(desk.call(), window(wait=steps))
    desk.loop = 1.0
    desk.answer(desk.call(), WELL)
    desk.answer(desk.call(), window(wait=steps))
    waiter = desk.call()

    assert [waiter] == desk.pump(2.0).grants


def test_draw_scales_the_wait():
    """The chance that was handed in decides, nothing else."""
    spread = window(wait=10.0)
    loose = type(spread.rule.wait)(schedule=(10.0,), low=0.5)
    object.__setattr__(spread.rule, "wait", loose)
    for draw, opens in [(0.0, 5.0), (0.5, 7.5)]:
        desk = Desk()
        desk.answer(desk.call(), spread, draw)
        waiter = desk.call()
        assert opens == desk.pump().next_wake
        assert [waiter] == desk.pump(opens).grants


def test_hint_is_a_floor(desk):
    """Neither the draw nor a short rule knocks before the server's word; a longer rule stays."""
    desk.answer(desk.call("a"), window("endpoint:a", wait=1.0, hint=30.0))
    desk.answer(desk.call("b"), window("endpoint:b", wait=40.0, hint=30.0))

    assert Instant(loop=30.0) == desk.machine.gates["endpoint:a"].until
    assert Instant(loop=40.0) == desk.machine.gates["endpoint:b"].until


def test_rejections_in_flight_are_one_closing(desk):
    """Ten calls were on the way: their rejections count once, and the longest hint holds."""
    calls = [desk.call() for _ in range(10)]
    for call, hint in zip(
        calls, [3.0, None, 7.0, 5.0, None, 7.0, 1.0, 2.0, 3.0, None], strict=True
    ):
        assert Again(0.0, "gate") == desk.answer(call, window(wait=(1.0, 99.0), hint=hint))
    gate = desk.machine.gates["endpoint:a"]

    assert (1, Instant(loop=7.0), 1) == (gate.closings, gate.until, desk.closed)


def test_success_in_flight_does_not_open_a_closed_door(desk):
    """It was sent before the rejection and proves nothing about now."""
    early, rejected = desk.call(), desk.call()
    desk.answer(rejected, window())
    desk.answer(early, WELL)

    assert desk.words(desk.call()) == "parked"
    assert desk.closed == 1


def test_late_rejection_does_not_close_a_door_that_was_reopened(desk):
    """It was sent before the closing that is over by now."""
    late, rejected = desk.call(), desk.call()
    desk.answer(rejected, window(wait=10.0))
    desk.loop = 10.0
    desk.answer(desk.call(), WELL)
    desk.answer(late, window(wait=10.0, hint=500.0))

    assert (desk.closed, desk.words(desk.call())) == (0, "granted")


def test_late_rejection_does_not_disturb_a_probe(desk):
    """The probe's answer is newer and decides (redress let the old one decide)."""
    late, rejected = desk.call(), desk.call()
    desk.answer(rejected, window(wait=10.0))
    desk.loop = 10.0
    probe = desk.call()
    desk.answer(late, window(wait=10.0, hint=500.0))
    desk.answer(probe, WELL)

    assert desk.closed == 0


def test_fresh_rejection_of_another_scope_is_fresh(desk):
    """Closing one door does not make old news of what is said about another."""
    a, b = desk.call("a"), desk.call("b")
    desk.answer(a, window("endpoint:a"))
    desk.answer(b, window("endpoint:b"))

    assert desk.closed == 2


# -- probes ---------------------------------------------------------------------------------------


def test_hanging_probe_passes_the_role_on(desk):
    """After its lease of five seconds the next waiter finds out too."""
    desk.answer(desk.call(), window(wait=10.0))
    hanging, second, third = desk.call(), desk.call(), desk.call()
    desk.pump(10.0)

    assert desk.pump().next_wake == 15.0
    assert desk.pump(14.9).grants == []
    assert [second] == desk.pump(15.0).grants
    assert desk.words(third) == "parked"
    desk.answer(second, WELL)
    assert (desk.words(third), desk.closed) == ("granted", 0)
    desk.answer(hanging, WELL)
    assert desk.closed == 0


def test_slow_calls_reopen_a_window_too(desk):
    """A probe that takes longer than its lease is no less of a success."""
    desk.answer(desk.call(), window(wait=10.0))
    slow, second, third = desk.call(), desk.call(), desk.call()
    desk.pump(10.0)
    assert [second] == desk.pump(15.0).grants
    desk.pump(16.0)
    desk.answer(slow, WELL)
    assert (desk.words(third), desk.closed) == ("granted", 0)
    desk.answer(second, WELL)
    assert desk.closed == 0


def test_rejection_of_an_overtaken_probe_changes_nothing(desk):
    """The newer probe is on its way, and decides."""
    desk.answer(desk.call(), window(wait=10.0))
    hanging, second = desk.call(), desk.call()
    desk.pump(10.0)
    desk.pump(15.0)
    assert Again(15.0, "gate") == desk.answer(hanging, window(wait=10.0))
    desk.answer(second, WELL)

    assert desk.closed == 0


def test_rejection_of_an_overtaken_probe_does_not_close_what_was_reopened(desk):
    """Its permit is older than the opening."""
    desk.answer(desk.call(), window(wait=10.0))
    hanging, second = desk.call(), desk.call()
    desk.pump(10.0)
    desk.pump(15.0)
    desk.answer(second, WELL)
    desk.answer(hanging, window(wait=10.0))

    assert desk.closed == 0


def test_cancelling_an_overtaken_probe_takes_nothing_from_the_newer_one(desk):
    """The role is not its own any more."""
    desk.answer(desk.call(), window(wait=10.0))
    hanging, second, third = desk.call(), desk.call(), desk.call()
    desk.pump(10.0)
    desk.pump(15.0)
    desk.leave(hanging)

    assert desk.words(second, third) == "granted parked"


def test_cancelled_probe_passes_the_role_on_at_once(desk):
    """No lease has to run out."""
    desk.answer(desk.call(), window(wait=10.0))
    probe, second = desk.call(), desk.call()
    desk.pump(10.0)
    desk.leave(probe)

    assert desk.words(probe, second) == "gone granted"
    assert desk.closed == 1


@pytest.mark.parametrize(
    "judgement", [WRONG, capacity(), capacity("endpoint:a")], ids=["fatal", "capacity", "own"]
)
def test_any_answer_past_a_window_proves_that_it_is_open(desk, judgement):
    """The quota let it through, whatever else was wrong with it."""
    desk.answer(desk.call(), window(wait=10.0))
    desk.loop = 10.0
    desk.answer(desk.call(), judgement)

    assert (desk.closed, desk.words(desk.call())) == (0, "granted")


def test_failed_probe_proves_nothing(desk):
    """A network error opens no door; the next one may try."""
    desk.answer(desk.call(), window(wait=10.0))
    probe, second, third = desk.call(), desk.call(), desk.call()
    desk.pump(10.0)
    desk.answer(probe, BROKEN)

    assert desk.words(second, third) == "granted parked"
    assert desk.closed == 1


def test_probe_of_two_doors_opens_both(desk):
    """All doors are taken together, and given back together."""
    other = desk.call("b")
    desk.answer(desk.call("a"), window("endpoint:a", wait=10.0))
    desk.answer(other, window("account", wait=10.0))
    desk.loop = 10.0
    probe = desk.call("a")

    assert len(probe.permit.probes) == 2
    desk.answer(probe, WELL)
    assert desk.closed == 0


def test_probe_that_meets_another_door_opens_the_first(desk):
    """Past the account's window, rejected by the endpoint's: one opens, one closes."""
    desk.answer(desk.call("a"), window("account", wait=10.0))
    desk.loop = 10.0
    desk.answer(desk.call("a"), window("endpoint:a", wait=10.0))

    assert desk.words(desk.call("a"), desk.call("b")) == "parked granted"


# -- order ----------------------------------------------------------------------------------------


def test_first_come_first_served(desk):
    """In the order of arrival, also behind a door that has just opened."""
    desk.answer(desk.call(), window(wait=10.0))
    calls = [desk.call() for _ in range(4)]
    desk.loop = 10.0
    late = desk.call()

    assert desk.words(late) == "parked"
    assert [calls[0]] == desk.pump().grants
    desk.machine.answer(calls[0].permit, WELL, desk.now, 0.0)
    assert [*calls[1:], late] == desk.pump().grants


def test_rejected_call_keeps_its_place(desk):
    """Asking again, it is older than those who came while it was away."""
    first = desk.call()
    desk.answer(first, window(wait=10.0))
    younger = desk.call()
    desk.again(first)

    assert [first] == desk.pump(10.0).grants
    assert desk.words(younger) == "parked"


def test_closed_endpoint_does_not_block_another_behind_a_shared_door(desk):
    """The account's door opens: the oldest head whose own endpoint is open is the probe."""
    busy = desk.call("b")
    desk.answer(desk.call("a"), window("endpoint:a", wait=100.0))
    desk.answer(busy, window("account", wait=10.0))
    blocked, free = desk.call("a"), desk.call("b")

    assert [free] == desk.pump(10.0).grants
    desk.answer(free, WELL)
    assert desk.words(blocked) == "parked"
    assert [blocked] == desk.pump(100.0).grants


def test_shared_door_serves_the_oldest_head(desk):
    """Across endpoints, by arrival."""
    desk.answer(desk.call("a"), window("account", wait=10.0))
    calls = [desk.call("b"), desk.call("a"), desk.call("b")]

    assert [calls[0]] == desk.pump(10.0).grants
    desk.machine.answer(calls[0].permit, WELL, desk.now, 0.0)
    assert calls[1:] == desk.pump().grants


def test_who_knocked_in_vain_lets_all_the_others_knock_first(desk):
    """Also those of other endpoints; if everybody did, it is the oldest's turn again."""
    calls = [desk.call("a"), desk.call("a"), desk.call("b")]
    desk.answer(calls[0], window("account", wait=10.0))
    for call in calls[1:]:
        desk.answer(call, window("account", wait=10.0))
    for call in calls:
        desk.again(call)
    knocked = []
    for tens in range(1, 5):
        (probe,) = desk.pump(10.0 * tens).grants
        knocked.append(probe)
        desk.answer(probe, window("account", wait=10.0))
        desk.again(probe)

    assert knocked == [*calls, calls[0]]


def test_who_closed_two_doors_lets_some_others_pass_first():
    """Three, and they must have been let in; then it is the oldest again."""
    desk = Desk(machine=Machine(breaker=None, budget=None))
    suspect = desk.call()
    desk.answer(suspect, window(wait=10.0))
    others = [desk.call() for _ in range(6)]
    desk.again(suspect)
    assert desk.pump(10.0).grants == [suspect]
    desk.answer(suspect, window(wait=10.0))
    desk.again(suspect)

    order = []
    while suspect not in order:
        (gone,) = desk.pump(desk.loop + 10.0).grants
        order.append(gone)
        desk.machine.answer(gone.permit, WELL, desk.now, 0.0)
    assert order == [*others[:3], suspect]


def test_who_closed_two_open_doors_does_not_find_out_about_the_second():
    """Although it was no probe."""
    desk = Desk(machine=Machine(breaker=None, budget=None))
    suspect = desk.call()
    desk.answer(suspect, window(wait=10.0))
    desk.loop = 10.0
    desk.answer(desk.call(), WELL)
    desk.loop = 20.0
    desk.again(suspect)
    other = desk.call()
    desk.answer(suspect, window(wait=10.0))
    desk.again(suspect)
    desk.again(other)

    assert desk.pump(40.0).grants == [other]


def test_a_suspect_does_not_find_out_though_others_have_passed():
    """It may go again, and is rejected a third time: another one is the next probe."""
    desk = Desk(machine=Machine(breaker=None, budget=None))
    suspect = desk.call()
    desk.answer(suspect, window(wait=10.0))
    desk.again(suspect)
    desk.pump(10.0)
    desk.answer(suspect, window(wait=10.0))
    for tens in (2, 3, 4):
        desk.loop = 10.0 * tens
        desk.answer(desk.call(), WELL)
    assert not desk.closed
    desk.loop = 60.0
    closer = desk.call()
    desk.loop = 70.0
    desk.again(suspect)
    waiting = desk.call()
    desk.answer(closer, window(wait=10.0))
    desk.answer(suspect, window(wait=10.0))
    desk.again(suspect)

    assert desk.pump(100.0).grants == [waiting]


def test_newcomer_of_another_endpoint_does_not_overtake(desk):
    """The door can be passed, but somebody who came before stands in front of it."""
    desk.answer(desk.call("a"), window("account", wait=10.0))
    waiting = desk.call("a")
    desk.loop = 10.0
    newcomer = desk.call("b")

    assert [waiting] == desk.pump().grants
    assert desk.words(newcomer) == "parked"


def test_cancelled_waiter_is_skipped(desk):
    """And counts no more."""
    desk.answer(desk.call(), window(wait=10.0))
    first, second = desk.call(), desk.call()
    desk.leave(first)

    assert desk.machine.parked == 1
    assert [second] == desk.pump(10.0).grants


def test_cancelled_grant_goes_to_the_next(desk):
    """Granted and cancelled in the same moment: the probe is given back."""
    desk.answer(desk.call(), window(wait=10.0))
    first, second = desk.call(), desk.call()
    desk.pump(10.0)
    desk.leave(first)

    assert desk.words(first, second) == "gone granted"


def test_leaving_twice_or_after_the_end_changes_nothing(desk):
    """Cancellation may come late."""
    desk.answer(desk.call(), window(wait=10.0))
    waiter = desk.call()
    desk.leave(waiter)
    desk.leave(waiter)

    assert desk.machine.parked == 0


def test_who_was_passed_over_is_told_at_once_that_somebody_finds_out(desk):
    """b may go first, and is the one who asks the empty account: a, who waits for its own door, hears now."""
    empty, busy, later = desk.call("a"), desk.call("a"), desk.call("b")
    desk.answer(busy, window("endpoint:a", wait=10.0))
    desk.answer(later, window("endpoint:b", wait=5.0))
    desk.answer(empty, exhausted("account", probe_every=4.0))

    desk.loop = 4.5
    a, b = desk.call("a"), desk.call("b")
    assert desk.words(a, b) == "parked parked"
    pumped = desk.pump(5.0)
    assert (pumped.grants, pumped.refusals) == ([b], [a])
    assert a.refusal.reason == "exhausted"
