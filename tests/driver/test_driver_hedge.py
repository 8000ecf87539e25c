"""Hedging: a slow read is asked once more, and the first answer counts."""

import anyio
import pytest
from driver_kit import BAD, BUSY, DOWN, OK, at_rest, make_guard

from resilience import FatalError, QuotaError, RetryBudget
from resilience._hedge import ENOUGH, Durations
from resilience.testing import Script


class Slow:
    """A read that takes so many seconds, call by call."""

    def __init__(self, *takes, body=OK):
        self.takes = list(takes)
        self.body = body
        self.asked_at = []
        self.ended = self.cancelled = 0

    async def read(self):
        """The next duration."""
        self.asked_at.append(anyio.current_time())
        took = self.takes.pop(0) if self.takes else 0.1
        try:
            await anyio.sleep(took)
        except BaseException:
            self.cancelled += 1
            raise
        self.ended += 1
        return {**self.body, "n": len(self.asked_at)}


async def warm(guard):
    """So many calls of a tenth of a second that a slow one is known as such."""
    for _ in range(ENOUGH):
        await guard.call(Slow().read)


def test_slow_read_is_asked_again_and_the_loser_is_cancelled(run):
    """After the quantile of earlier durations; the second answers in a tenth."""

    async def main():
        guard = make_guard().options(hedge=0.95)
        await warm(guard)
        slow, zero = Slow(100.0, 0.1), anyio.current_time()
        assert (await guard.call(slow.read))["n"] == 2
        assert [round(t - zero, 6) for t in slow.asked_at] == [0.0, 0.1]
        assert round(anyio.current_time() - zero, 6) == 0.2
        assert (slow.ended, slow.cancelled) == (1, 1)
        at_rest(guard)

    run(main)


def test_the_first_may_still_win(run):
    """The second was sent, and is slower."""

    async def main():
        guard = make_guard().options(hedge=0.95)
        await warm(guard)
        slow = Slow(0.15, 5.0)
        await guard.call(slow.read)
        assert (len(slow.asked_at), slow.ended, slow.cancelled) == (2, 1, 1)
        at_rest(guard)

    run(main)


@pytest.mark.parametrize(
    ("settings", "endpoint"),
    [
        pytest.param({"hedge": 0.95, "idempotent": False}, None, id="may-not-be-repeated"),
        pytest.param({"hedge": 0.95, "endpoint": "write"}, "write", id="never-repeat"),
        pytest.param({}, None, id="off-by-default"),
    ],
)
def test_what_may_not_be_repeated_is_asked_once(run, settings, endpoint):
    """However slow it is."""

    async def main():
        guard = make_guard().options(**settings)
        await warm(guard)
        slow = Slow(100.0)
        await guard.call(slow.read)
        assert len(slow.asked_at) == 1

    run(main)


def test_unknown_durations_are_not_hedged(run):
    """One fewer than enough."""

    async def main():
        guard = make_guard().options(hedge=0.5)
        for _ in range(ENOUGH - 1):
            await guard.call(Slow().read)
        slow = Slow(100.0)
        await guard.call(slow.read)
        assert len(slow.asked_at) == 1

    run(main)


def test_hedges_are_within_the_budget(run):
    """Two tokens, and hardly any new ones: five slow calls at once get two hedges."""

    async def main():
        guard = make_guard(budget=RetryBudget(ratio=0.0, floor=0.001, burst=2)).options(hedge=0.9)
        await warm(guard)
        slow = Slow(*[50.0] * 7)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(guard.call, slow.read)
        assert len(slow.asked_at) == 7
        at_rest(guard)

    run(main)


def test_a_hedge_that_never_left_costs_nothing(run):
    """The door closed before it could go, and the first answered after all: its token is back."""

    async def main():
        budget = RetryBudget(ratio=0.0, floor=1e-9, burst=3.0)
        guard = make_guard(budget=budget).options(hedge=0.95)
        await warm(guard)
        slow = Slow(1.0)
        async with anyio.create_task_group() as group:
            group.start_soon(guard.call, slow.read)
            await anyio.sleep(0.05)
            with pytest.raises(QuotaError):
                await guard.options(max_wait=0, endpoint="read").call(Script([BUSY]))
        assert len(slow.asked_at) == 1
        assert guard.snapshot()["budgets"][0]["tokens"] == pytest.approx(3.0)
        at_rest(guard)

    run(main)


def test_failure_of_one_waits_for_the_other(run):
    """Only a success wins; if both fail, the first's error is raised."""

    async def main():
        guard = make_guard().options(hedge=0.9, max_attempts=1)
        await warm(guard)
        answers = [(0.5, BAD), (1.0, OK)]

        async def read():
            wait, body = answers.pop(0)
            await anyio.sleep(wait)
            return body

        assert await guard.call(read) == OK
        answers[:] = [(0.5, BAD), (1.0, DOWN)]
        with pytest.raises(FatalError) as caught:
            await guard.call(read)
        assert caught.value.code == "bad"
        at_rest(guard)

    run(main)


def test_cancelled_from_outside_both_end(run):
    """Nothing is left behind."""

    async def main():
        guard = make_guard().options(hedge=0.9)
        await warm(guard)
        slow = Slow(50.0, 50.0)
        with anyio.move_on_after(1) as scope:
            await guard.call(slow.read)
        assert (scope.cancelled_caught, slow.cancelled) == (True, 2)
        at_rest(guard)

    run(main)


def test_callers_own_mistake_is_raised_as_it_is(run):
    """Not inside a group."""

    async def main():
        guard = make_guard().options(hedge=0.9)
        with pytest.raises(TypeError, match="unexpected keyword"):
            await guard.call(Slow().read, nonsense=1)

    run(main)


def test_quantile_of_few_and_many():
    """Infinite while unknown; the highest of the lower share afterwards; the oldest are forgotten."""
    seen = Durations()
    for n in range(ENOUGH - 1):
        seen.add(float(n))
    assert seen.quantile(0.5) == float("inf")
    seen.add(float(ENOUGH - 1))
    assert (seen.quantile(0.5), seen.quantile(0.95), seen.quantile(0.999)) == (9.0, 18.0, 19.0)
    for _ in range(100):
        seen.add(7.0)
    assert seen.quantile(0.01) == 7.0


@pytest.mark.parametrize("hedge", [0, 1, -0.5, 1.5])
def test_hedge_is_a_share(hedge):
    """The value is named."""
    with pytest.raises(ValueError, match=f"hedge={hedge}"):
        make_guard().options(hedge=hedge)
