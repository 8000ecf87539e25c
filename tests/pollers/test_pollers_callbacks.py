"""What callbacks are worth, without a clock: the share that is lost, and which hints are open."""

import itertools
import math
import random

import msgspec
import pytest

from pollers._core.callbacks import (
    FOLLOWED,
    KEPT,
    LATE,
    LEAST,
    LONGEST_ID,
    MOST_KEPT,
    SAFETY_NET,
    Callbacks,
    Loss,
)

SPAN = 600.0
_clock = itertools.count(step=60.0)


def new() -> Loss:
    return Loss(SPAN)


def after(announced: int = 0, missed: int = 0, loss: Loss | None = None) -> Loss:
    loss = loss or new()
    for _ in range(announced):
        loss.announced(next(_clock))
    for _ in range(missed):
        loss.missed(next(_clock), alone=True)
    return loss


# -- the share ---------------------------------------------------------------------------------


def test_nothing_is_relied_on_until_callbacks_are_seen() -> None:
    """Exactly 1, also after many ends without one: who has no callbacks is not touched."""
    assert new().chance == 1.0
    assert after(missed=500).chance == 1.0


def test_callbacks_earn_trust_end_by_end() -> None:
    """One is not enough; ten spare two polls in three, a hundred nine in ten."""
    assert after(announced=1).chance == pytest.approx(0.5, abs=0.01)
    assert 0.06 <= after(announced=10).chance <= 0.12
    assert after(announced=100).chance == LEAST
    assert Callbacks(1.0, 30.0).stretch == 1.0
    assert LEAST**-0.5 == pytest.approx(SAFETY_NET)


@pytest.mark.parametrize("lost", [0.02, 0.1, 0.3, 0.5, 0.9])
def test_the_share_is_measured(lost: float) -> None:
    """Its mean over a long time is right within a third, whatever it is."""
    chance = random.Random(7)
    loss, seen = after(announced=1), []
    for i in range(5000):
        if chance.random() < lost:
            loss.missed(next(_clock), alone=True)
        else:
            loss.announced(next(_clock))
        if i > 500:
            seen.append(loss.chance)
    assert sum(seen) / len(seen) == pytest.approx(lost, rel=0.33)


def test_a_single_lost_one_is_no_alarm_and_the_second_is() -> None:
    """With good callbacks: some more looks after the first, as without any after the second."""
    loss = after(announced=200)
    loss.missed(next(_clock), alone=True)
    assert LEAST < loss.chance <= 3 * LEAST
    loss.missed(next(_clock), alone=True)
    assert loss.chance > 0.3
    loss.missed(next(_clock), alone=True)
    assert loss.chance > 0.95


def test_bad_callbacks_that_stop_are_noticed_too() -> None:
    """Where half was lost anyway, it takes some ends more."""
    loss = new()
    chance = random.Random(3)
    for _ in range(400):
        if chance.random() < 0.5:
            loss.missed(next(_clock), alone=True)
        else:
            loss.announced(next(_clock))
    assert loss.chance < 0.7
    after(missed=25, loss=loss)
    assert loss.chance > 0.95


def test_trust_comes_back_when_they_do() -> None:
    """A few announced ends, and the share is what is remembered of it."""
    loss = after(missed=10, loss=after(announced=200))
    assert loss.chance > 0.95
    after(announced=1, loss=loss)
    assert loss.chance > 0.5  # one may be forged
    after(announced=3, loss=loss)
    assert loss.chance < 0.2


def test_false_alarms_are_rare() -> None:
    """One callback in a hundred lost, 20,000 ends: all polling comes back some ten times at most."""
    chance, loss, alarms, before = random.Random(5), after(announced=200), 0, 0.0
    for _ in range(20_000):
        if chance.random() < 0.01:
            loss.missed(next(_clock), alone=True)
        else:
            loss.announced(next(_clock))
        alarms += before <= 0.25 < loss.chance
        before = loss.chance
    assert 0 < alarms <= 10


# -- kept --------------------------------------------------------------------------------------


def test_what_was_learned_is_kept_but_not_believed_at_once() -> None:
    """Nobody knows whether they still come after a restart; one callback says so."""
    kept = after(announced=200).dump()
    loss = Loss.load(kept, SPAN)
    assert loss.chance == pytest.approx(0.5, abs=0.02)
    loss.announced(next(_clock))
    assert loss.chance < 0.07


@pytest.mark.parametrize(
    "kept",
    [
        None,
        b"",
        b"[]",
        b"{",
        b'{"v": 99, "missed": 0, "ends": 9, "odds": 0}',
        b'{"v": 1, "missed": 9, "ends": 1, "odds": 0}',
        b'{"v": 1, "missed": 0, "ends": 0, "odds": 0}',
        b'{"v": 1, "missed": 0, "ends": 9, "odds": -1}',
        b'{"v": 1, "missed": "x", "ends": 9, "odds": 0}',
        b'{"v": 1, "ends": 9, "odds": 0}',
    ],
)
def test_what_is_damaged_is_forgotten(kept: bytes | None) -> None:
    """And polling goes on as without callbacks."""
    assert Loss.load(kept, SPAN).chance == 1.0


def test_what_is_kept_is_small_json() -> None:
    """It goes along with the looks."""
    assert set(msgspec.json.decode(after(announced=3).dump())) == {"v", "missed", "ends", "odds"}


# -- hints -------------------------------------------------------------------------------------


def test_a_hint_is_open_until_a_look_is_sent_after_it() -> None:
    """A second one changes nothing meanwhile."""
    hints = Callbacks(1.0, 30.0)
    assert hints.hint(1, 10.0) == 10.0
    assert hints.is_open(1)
    assert hints.hint(1, 10.5) is None
    assert hints.goes_on(1, asked=10.2) == 11.2
    assert not hints.is_open(1)
    assert not hints.is_open(2)


def test_one_that_comes_while_we_ask_stays_open() -> None:
    """The answer may be older than it."""
    hints = Callbacks(1.0, 30.0)
    hints.hint(1, 10.0)
    hints.goes_on(1, asked=10.0)
    hints.hint(1, 10.7)
    assert hints.goes_on(1, asked=10.5) == 11.5
    assert hints.is_open(1)
    hints.goes_on(1, asked=11.5)
    assert not hints.is_open(1)


def test_hints_cost_one_look_in_the_least_interval() -> None:
    """From the last look on, however many come."""
    hints = Callbacks(2.0, 30.0)
    hints.hint(1, 10.0)
    hints.goes_on(1, asked=10.0)
    assert hints.hint(1, 10.1) == 12.0
    assert hints.hint(1, 10.2) is None
    hints.goes_on(1, asked=12.0)
    assert hints.hint(1, 20.0) == 20.0


def test_after_an_early_hint_looks_are_made_at_growing_intervals() -> None:
    """For half a minute; then it is forgotten."""
    hints, at = Callbacks(1.0, 30.0), [10.0]
    hints.hint(1, 10.0)
    while (following := hints.goes_on(1, asked=at[-1])) < math.inf:
        at.append(following)
    assert at == [10.0, 11.0, 12.0, 14.0, 18.0, 26.0, 42.0]
    assert hints.goes_on(1, asked=43.0) == math.inf
    assert hints.ended(1, "a", since=0.0, asked=50.0, counts=True) is None


def test_long_intervals_outlast_the_half_minute() -> None:
    """Or a hint right after would break `min_interval`."""
    hints = Callbacks(90.0, 90.0)
    hints.hint(1, 0.0)
    assert hints.goes_on(1, asked=0.0) == 90.0
    assert hints.goes_on(1, asked=FOLLOWED + 1.0) == FOLLOWED + 91.0
    assert hints.hint(1, FOLLOWED + 2.0) == FOLLOWED + 91.0


def ends(hints: Callbacks, names: str, *, hinted: bool, at: float = 0.0) -> None:
    for rid, name in enumerate(names):
        if hinted:
            hints.hint(rid, at)
        hints.ended(rid, name, since=at - 2.0, asked=at, counts=True)


def test_an_end_with_a_hint_is_announced() -> None:
    """When, is told to whoever learns how long jobs take."""
    hints = Callbacks(1.0, 30.0)
    hints.hint(1, 9.0)
    assert hints.ended(1, "a", since=0.0, asked=9.5, counts=True) == 9.0
    assert hints.loss.chance < 0.6
    assert not hints.is_open(1)


def test_a_late_callback_is_not_lost() -> None:
    """Within ten seconds after our look found the end."""
    hints = Callbacks(1.0, 30.0)
    ends(hints, "abcdefghij", hinted=True)
    learned = hints.loss.chance
    hints.ended(1, "z", since=0.0, asked=100.0, counts=True)
    assert hints.next_verdict() == 100.0 + LATE
    hints.settle(100.0 + LATE - 0.1)
    assert hints.loss.chance == learned
    hints.hint_of_stranger("z", 105.0)
    assert hints.loss.chance < learned
    assert hints.strange == 0
    assert hints.next_verdict() == math.inf


def test_a_lost_callback_counts_when_nobody_can_be_late_any_more() -> None:
    """It is the one thing that looks don't tell."""
    hints = Callbacks(1.0, 30.0)
    ends(hints, "abcdefghij", hinted=True)
    learned = hints.loss.chance
    hints.ended(1, "z", since=0.0, asked=100.0, counts=True)
    hints.settle(100.0 + LATE)
    assert hints.loss.chance > learned
    hints.hint_of_stranger("z", 111.0)
    assert hints.strange == 1


def test_what_proves_nothing_does_not_count() -> None:
    """A job that had ended before it was watched; and all, before anybody ever called."""
    hints = Callbacks(1.0, 30.0)
    hints.ended(1, "a", since=0.0, asked=0.0, counts=True)
    assert hints.next_verdict() == math.inf
    hints.hint(2, 1.0)
    assert hints.ended(2, "b", since=0.0, asked=1.0, counts=False) == 1.0
    hints.ended(3, "c", since=0.0, asked=1.0, counts=False)
    assert (hints.loss.chance, hints.next_verdict()) == (1.0, math.inf)


def test_a_hint_before_the_watch_is_kept_for_a_minute() -> None:
    """The callback may overtake the answer to the upload."""
    hints = Callbacks(1.0, 30.0)
    hints.hint_of_stranger("a", 0.0)
    hints.hint_of_stranger("b", 0.0)
    hints.begin(1, "a", KEPT)
    hints.begin(2, "b", KEPT + 0.1)
    assert (hints.is_open(1), hints.is_open(2)) == (True, False)
    hints.begin(3, "a", KEPT)
    assert not hints.is_open(3)
    assert (hints.heard, hints.strange) == (2, 2)


def test_strangers_are_kept_within_bounds() -> None:
    """The newest ones, and none whose id is longer than any provider's."""
    hints = Callbacks(1.0, 30.0)
    for i in range(MOST_KEPT + 1):
        hints.hint_of_stranger(str(i), 0.0)
    hints.hint_of_stranger("x" * (LONGEST_ID + 1), 0.0)
    assert len(hints._kept) == MOST_KEPT
    assert hints.strange == MOST_KEPT + 2
    hints.begin(1, "0", 0.0)
    hints.begin(2, "1", 0.0)
    hints.begin(3, "x" * (LONGEST_ID + 1), 0.0)
    assert [hints.is_open(rid) for rid in (1, 2, 3)] == [False, True, False]


def test_what_is_forgotten_leaves_nothing() -> None:
    """A job that was unwatched."""
    hints = Callbacks(1.0, 30.0)
    hints.hint(1, 0.0)
    hints.forget(1)
    assert not hints.is_open(1)
    assert hints._hints == {}


MANY = "".join(map(chr, range(1000, 1200)))


def test_polling_takes_over_once() -> None:
    """When the share has grown fourfold since it was smallest."""
    hints = Callbacks(1.0, 30.0)
    ends(hints, MANY, hinted=True)
    assert (hints.trusted, hints.takes_over, hints.stretch) == (True, False, SAFETY_NET)
    ends(hints, "a", hinted=False, at=100.0)
    hints.settle(100.0 + LATE)
    assert (hints.trusted, hints.takes_over) == (True, False)
    ends(hints, "b", hinted=False, at=200.0)
    hints.settle(200.0 + LATE)
    assert hints.takes_over
    hints.takes_over = False
    ends(hints, "cdefgh", hinted=False, at=300.0)
    hints.settle(300.0 + LATE)
    assert (hints.trusted, hints.takes_over) == (False, False)


def test_a_sweep_that_finds_many_missed_ends_is_no_alarm() -> None:
    """They ended while others were announced: lost ones, as there always are; their share grows."""
    hints = Callbacks(1.0, 30.0)
    ends(hints, MANY, hinted=True, at=100.0)
    for rid, name in enumerate("abcdef"):
        hints.ended(rid, name, since=20.0, asked=120.0, counts=True)
    hints.settle(120.0 + LATE)
    assert LEAST < hints.loss.chance <= 0.05
    assert not hints.takes_over


def test_missed_ends_that_lie_mostly_after_the_last_announced_one_are_an_alarm() -> None:
    """Half-way between the looks around it counts; all of them were alive when it came."""
    hints = Callbacks(1.0, 30.0)
    ends(hints, MANY, hinted=True, at=100.0)
    for rid, name in enumerate("ab"):
        hints.ended(rid, name, since=90.0, asked=120.0, counts=True)
    hints.settle(120.0 + LATE)
    assert hints.takes_over


def test_a_late_one_tells_that_callbacks_still_come() -> None:
    """What was found before it came, and counts after, is no sign of a stop."""
    hints = Callbacks(1.0, 30.0)
    ends(hints, MANY, hinted=True)
    ends(hints, "abcdef", hinted=False, at=100.0)
    hints.hint_of_stranger("f", 105.0)
    hints.settle(100.0 + LATE)
    assert hints.loss.chance <= 0.05


def test_many_ends_are_remembered_for_long() -> None:
    """A sweep is minutes apart from the next: a hundred ends are too few where ten come a second."""
    slow, fast = new(), new()
    for i in range(3000):
        slow.announced(60.0 * i)
        fast.announced(0.1 * i)
    for _ in range(30):
        slow.missed(200_000.0, alone=False)
        fast.missed(300.0, alone=False)
    assert slow.chance > 0.2
    assert fast.chance < 0.02
    fast.announced(1e9)
    assert fast.chance < 0.02  # however long nothing came
