"""Breaker and budget through a guard, and cancellation at any moment while everything fails."""

import random
from collections.abc import Callable

import anyio
import pytest
from driver_kit import (
    BAD,
    BUSY,
    DOWN,
    LOCKED,
    OK,
    at_rest,
    instant,
    make_guard,
    on_trio,
)

from resilience import (
    CircuitBreaker,
    CircuitOpen,
    DeadlineExceeded,
    QuotaError,
    ResilienceError,
    RetriesExhausted,
    RetryBudget,
)
from resilience.testing import Script, run_virtual


async def fail(guard, times, script):
    """So many calls of one attempt that fail, one after the other."""
    for _ in range(times):
        with pytest.raises(RetriesExhausted):
            await guard.options(max_attempts=1).call(script)


def doors(guard):
    """Scope and state of the closed ones."""
    return [(door["scope"], door["state"]) for door in guard.snapshot()["doors"]]


def budget_of(guard, endpoint="read"):
    """The row of one budget."""
    (row,) = [row for row in guard.snapshot()["budgets"] if row["endpoint"] == endpoint]
    return row


# -- the breaker ----------------------------------------------------------------------------------


def test_after_ten_failures_callers_wait_for_the_probe_and_succeed(run):
    """One asks at 0.25 s; the others come when it has its answer, as fast as before the failure."""

    async def main():
        guard = make_guard()
        script = Script([DOWN] * 10 + [OK], delay=0.1, name="read")
        await fail(guard, 10, script)
        zero = script.asked_at[-1] + 0.1
        results = []

        async def call():
            results.append(await guard.call(script))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(call)
        assert results == [OK] * 5
        after = [asked - zero for asked in script.asked_at[10:]]
        assert after[:2] == pytest.approx([0.25, 0.35])
        gaps = [b - a for a, b in zip(after[1:], after[2:], strict=False)]
        assert gaps == pytest.approx([0.1, 0.1, 0.1], rel=0.05)
        at_rest(guard)

    run(main)


def test_who_can_not_wait_gets_circuit_open(run):
    """At once, nothing sent, with the code that opened it and when to come back."""

    async def main():
        guard = make_guard()
        script = Script([DOWN], name="read")
        await fail(guard, 10, script)
        now = anyio.current_time()
        with pytest.raises(CircuitOpen) as caught:
            await guard.options(max_wait=0).call(script)
        error = caught.value
        assert (error.code, error.title, error.remedy) == ("down", "Down", "Wait.")
        assert (error.reason, error.attempts, error.endpoint) == ("circuit", 0, "read")
        assert error.resume_at == instant(now + 0.25)
        assert error.retry_after == pytest.approx(0.25)
        assert (script.calls, anyio.current_time()) == (10, now)
        at_rest(guard)

    run(main)


def test_a_deadline_before_the_probe_fails_at_once(run):
    """Waiting for something that comes too late helps nobody."""

    async def main():
        guard = make_guard()
        script = Script([DOWN], name="read")
        await fail(guard, 10, script)
        now = anyio.current_time()
        with pytest.raises(CircuitOpen) as caught:
            await guard.options(deadline=0.2).call(script)
        assert (anyio.current_time(), caught.value.reason) == (now, "circuit")
        assert caught.value.resume_at == instant(now + 0.25)

    run(main)


def test_other_endpoints_go_on(run):
    """One breaker per endpoint."""

    async def main():
        guard = make_guard()
        await fail(guard, 10, Script([DOWN], name="read"))
        assert doors(guard) == [("breaker:read", "closed")]
        now = anyio.current_time()
        assert await guard.call(Script([OK], name="other_read")) == OK
        assert anyio.current_time() == now

    run(main)


def test_calls_that_retry_share_the_probes(run):
    """Ten callers with four attempts each: the endpoint sees one of them at a time until it lives."""

    async def main():
        guard = make_guard()
        script = Script([DOWN] * 13 + [OK], delay=0.01, name="read")
        results = []

        async def call():
            results.append(await guard.call(script))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(call)
        assert results == [OK] * 10
        # the probes come when the first back-off of a second is over, one open time after the other
        probes = script.asked_at[10:14]
        assert probes == pytest.approx([1.0, 1.51, 2.52, 4.03], abs=0.06)
        assert script.calls == 23
        at_rest(guard)

    run(main)


def test_no_breaker(run):
    """Switched off, a hundred failures hold nobody up."""

    async def main():
        guard = make_guard(breaker=None)
        script = Script([DOWN] * 100 + [OK], name="read")
        await fail(guard, 100, script)
        assert await guard.options(max_wait=0).call(script) == OK
        assert guard.snapshot()["doors"] == guard.snapshot()["paced"] == []

    run(main)


def test_no_budget(run):
    """Switched off, three hundred retries may leave in the same second."""

    async def main():
        guard = make_guard(breaker=None, budget=None)
        scripts = [Script([DOWN, OK], name="read") for _ in range(300)]
        ends = []

        async def call(script):
            await guard.call(script)
            ends.append(anyio.current_time() - zero)

        zero = anyio.current_time()
        async with anyio.create_task_group() as group:
            for script in scripts:
                group.start_soon(call, script)
        assert {script.asked_at[1] for script in scripts} <= {1.0}
        assert guard.snapshot()["budgets"] == []
        at_rest(guard)

    run(main)


def test_an_empty_budget_spreads_the_retries(run):
    """Sixty fail at once: 20 and a fifth of 60 retry after a second, and two more each second."""

    async def main():
        guard = make_guard(breaker=None)
        retries = []

        async def call():
            asked = []

            async def read():
                asked.append(anyio.current_time() - zero)
                return OK if len(asked) > 1 else DOWN

            assert await guard.call(read) == OK
            retries.append(asked[1])

        zero = anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(60):
                group.start_soon(call)
        by = [sum(at <= second for at in retries) for second in range(1, 20)]
        assert retries[0] >= 1.0
        allowed = [20 + 0.2 * 60 + 2.0 * second for second in range(1, 20)]
        assert all(done <= most for done, most in zip(by, allowed, strict=True))
        assert len(retries) == 60
        assert max(retries) == pytest.approx(14.0, abs=5.0)
        assert budget_of(guard)["suppressed"] > 0
        at_rest(guard)

    run(main)


def test_a_retry_that_can_not_wait_for_its_token_fails_with_what_it_would_repeat(run):
    """The error is the server's, the reason is the patience."""

    async def main():
        guard = make_guard(breaker=None, budget=RetryBudget(ratio=0.0, floor=0.01, burst=1.0))
        script = Script([DOWN], name="read")
        with pytest.raises(RetriesExhausted):
            await guard.options(max_attempts=2).call(script)  # the only token
        with pytest.raises(RetriesExhausted) as caught:
            await guard.options(max_wait=5).call(script)
        assert (caught.value.code, caught.value.reason) == ("down", "max_wait")
        assert (caught.value.attempts, script.calls) == (1, 3)
        assert caught.value.retry_after > 60.0
        at_rest(guard)

    run(main)


# -- what is no failure -----------------------------------------------------------------------------


def test_cancelled_calls_never_trip_it(run):
    """Neither alone nor together."""

    async def main():
        guard = make_guard()
        script = Script([OK], delay=1.0, name="read")
        for _ in range(30):
            with anyio.move_on_after(0.1):
                await guard.call(script)
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(guard.call, script)
            await anyio.sleep(0.5)
            group.cancel_scope.cancel()
        assert guard._shared.machine.lanes["read"].failing == 0
        assert doors(guard) == []
        at_rest(guard)

    run(main)


def test_the_caller_s_own_deadline_never_trips_it(run):
    """Whoever gives a call a tenth of a second learns nothing about the server."""

    async def main():
        guard = make_guard()
        script = Script([OK], delay=1.0, name="read")
        for _ in range(30):
            with pytest.raises(DeadlineExceeded):
                await guard.options(deadline=0.1).call(script)
        assert (script.calls, doors(guard)) == (30, [])
        assert guard._shared.machine.lanes["read"].failing == 0
        at_rest(guard)

    run(main)


def test_attempts_that_time_out_do_trip_it(run):
    """A server that never answers is down."""

    async def main():
        guard = make_guard()
        script = Script([OK], delay=9.0, name="read")
        for _ in range(10):
            assert doors(guard) == []
            with pytest.raises(RetriesExhausted):
                await guard.options(attempt_timeout=0.1, max_attempts=1).call(script)
        assert doors(guard) == [("breaker:read", "closed")]

    run(main)


def test_quota_and_fatal_answers_never_trip_it(run):
    """They prove that it is alive."""

    async def main():
        guard = make_guard()
        for answer in [BAD, BUSY] * 20:
            with pytest.raises(ResilienceError):
                await guard.options(max_wait=0).call(Script([answer], name="read"))
            guard.reset("endpoint:read")
        assert doors(guard) == []

    run(main)


def test_a_cancelled_probe_passes_the_role_on(run):
    """The next one asks at once, and its answer decides."""

    async def main():
        guard = make_guard()
        script = Script([DOWN] * 10 + [OK], delay=0.0, name="read")
        await fail(guard, 10, script)
        script.delay = 1.0
        zero = anyio.current_time()
        ends = []

        async def other():
            await anyio.sleep(0.1)
            await guard.call(script)
            ends.append(anyio.current_time() - zero)

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            with anyio.move_on_after(0.5):
                await guard.call(script)
        assert ends == [1.5]  # it went when the first was cancelled, half a second after the trip
        at_rest(guard)

    run(main)


# -- cancellation at any moment ---------------------------------------------------------------------

BURST = 500.0
FAULTS = [OK, OK, OK, BUSY, DOWN, DOWN, DOWN, "hang", "break", "break"] * 5 + [LOCKED]


class Wild:
    """A server of random answers and delays; each caller knows which of its attempts were retries."""

    def __init__(self, seed, faults=FAULTS):
        self.chance = random.Random(seed)
        self.faults = faults
        self.retries = 0

    def caller(self, name) -> Callable:
        """An async function for one call."""
        last = None

        async def attempt():
            nonlocal last
            self.retries += last in ("lost", "down")
            last = "lost"  # unless it comes to an answer
            fault = self.chance.choice(self.faults)
            await anyio.sleep(self.chance.choice([0.0, 0.0, 0.01, 0.3]))
            if fault == "hang":
                await anyio.sleep(30.0)
            if fault == "break":
                raise ConnectionError
            last = "down" if fault is DOWN else "answered"
            return fault

        attempt.__name__ = name
        return attempt


async def live(guard, wild, chance):
    """One caller's life: a call of random settings, cancelled at a random moment or never."""
    await anyio.sleep(chance.uniform(0.0, 4.0))
    view = guard.options(
        max_attempts=4,
        max_wait=chance.choice([0.0, 1.0, 60.0, None]),
        deadline=chance.choice([None, None, 0.2, 5.0]),
        attempt_timeout=chance.choice([0.1, 0.5, 2.0]),
        idempotent=True,
    )
    with anyio.move_on_after(chance.choice([0.0, 0.05, 0.3, 1.0, 1.25, 5.0, 1e4])):
        try:
            await view.call(wild.caller(chance.choice(["read", "other_read"])))
        except (CircuitOpen, DeadlineExceeded, QuotaError, RetriesExhausted):
            pass


@pytest.mark.parametrize(
    "loop",
    [
        *(
            pytest.param(lambda main, seed=seed: run_virtual(main, seed=seed), id=f"asyncio-{seed}")
            for seed in range(6)
        ),
        pytest.param(on_trio, id="trio"),
    ],
)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_cancelled_at_any_moment_everything_comes_back(loop, seed):
    """Places, probes, leases; and of the tokens exactly those are gone that paid a retry that left."""

    async def main():
        guard = make_guard(
            breaker=CircuitBreaker(failures=5),
            budget=RetryBudget(ratio=0.0, floor=1e-12, burst=BURST),
            chance=random.Random(seed).random,
        )
        wild, chance = Wild(seed), random.Random(seed)
        async with anyio.create_task_group() as group:
            for _ in range(150):
                group.start_soon(live, guard, wild, chance)
        at_rest(guard)
        lanes = guard._shared.machine.lanes.values()
        assert [lane.breaker.probing for lane in lanes] == [{}, {}]
        assert [lane.unpaid.parked for lane in lanes] == [0, 0]
        assert all(lane.breaker.pace is None or lane.breaker.pace.in_flight == 0 for lane in lanes)
        gone = sum(BURST - row["tokens"] for row in guard.snapshot()["budgets"])
        assert gone == pytest.approx(wild.retries, abs=1e-6)
        assert wild.retries > 0

    loop(main)


@pytest.mark.parametrize("seed", range(4))
def test_cancelled_with_an_empty_budget_nothing_is_left(run, seed):
    """Retries that wait for a token leave the line too, and no token is made of nothing."""

    async def main():
        guard = make_guard(
            breaker=None,
            budget=RetryBudget(ratio=0.02, floor=0.1, burst=1.0),
            chance=random.Random(seed).random,
        )
        wild, chance = Wild(seed, FAULTS[:-1]), random.Random(seed)
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(live, guard, wild, chance)
        at_rest(guard)
        rows = guard.snapshot()["budgets"]
        assert {row["waiting"] for row in rows} == {0}
        assert all(-1e-6 < row["tokens"] <= 1.0 for row in rows)
        assert sum(row["suppressed"] for row in rows) > 0

    run(main)


class Stream:
    """A failed answer whose connection takes a while to close, as an httpx stream's may."""

    status_code = 503
    is_closed = False
    headers: dict[str, str] = {}

    async def aclose(self):
        """Somebody else works meanwhile."""
        await anyio.sleep(1.0)
        self.is_closed = True


class Refusal(Stream):
    """The same for a quota: its door is closed, so the call has to wait."""

    status_code = 429
    headers = {"Retry-After": "5"}


@pytest.mark.parametrize("cut", [0.5, 5.5])
def test_cancelled_while_a_response_closes(run, cut):
    """What was to be sent again is closed first; cancelled there, the place in the line is free."""

    async def main():
        guard = make_guard()

        async def read():
            return Refusal()

        with anyio.move_on_after(cut):
            await guard.call(read)
        at_rest(guard)

    run(main)
