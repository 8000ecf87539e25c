"""Shadow mode: a guard that only watches changes nothing, and tells what it would have done."""

import anyio
import pytest
from driver_kit import BAD, BUSY, DOWN, EMPTY, LOST, OK, at_rest, closed_doors, make_guard

from resilience import ShadowRecord
from resilience.testing import Script


def watching(**settings):
    """A guard that only watches, and what it would have done."""
    told = []

    def note(record):
        if isinstance(record, ShadowRecord):
            told.append(record)

    return make_guard(enforce=False, observe=note, **settings), told


def before(record):
    """What it would have done before sending."""
    return record.before, record.before_reason


def after(record):
    """What it would have done with the answer."""
    return record.after, record.after_reason, record.wait


@pytest.mark.parametrize(
    ("answer", "verdict", "expected"),
    [
        pytest.param(OK, "success", ("return", None, None), id="success"),
        pytest.param(BAD, "fatal", ("raise", "fatal", None), id="fatal"),
        pytest.param(DOWN, "retryable", ("retry", "backoff", 1.0), id="retryable"),
        pytest.param(BUSY, "quota", ("retry", "gate", 1.0), id="window"),
        pytest.param(EMPTY, "quota", ("raise", "exhausted", None), id="exhausted"),
    ],
)
def test_a_call_is_made_once_and_gives_what_it_gave(run, answer, verdict, expected):
    """The very object comes back, and one record says what would have become of it."""

    async def main():
        guard, told = watching()
        script = Script([answer], name="read")
        zero = anyio.current_time()
        assert await guard.call(script) is answer
        assert (script.calls, anyio.current_time()) == (1, zero)
        (record,) = told
        assert (record.verdict, record.endpoint) == (verdict, "read")
        assert (before(record), after(record)) == (("go", None), expected)
        at_rest(guard)

    run(main)


def test_an_exception_comes_back_untouched(run):
    """The very object, with no cause of ours."""

    async def main():
        guard, told = watching()
        broken = ConnectionError("gone")
        script = Script([broken], name="read")
        with pytest.raises(ConnectionError) as caught:
            await guard.call(script)
        assert caught.value is broken
        assert caught.value.__cause__ is None
        assert (script.calls, told[0].after, told[0].after_reason) == (1, "retry", "backoff")
        at_rest(guard)

    run(main)


def test_decorator(run):
    """Watched just the same, arguments and result untouched."""

    async def main():
        guard, told = watching()

        @guard
        async def read(one, *, two):
            return {**DOWN, "data": (one, two)}

        assert await read(1, two=2) == {**DOWN, "data": (1, 2)}
        assert [after(record) for record in told] == [("retry", "backoff", 1.0)]

    run(main)


def test_what_may_not_be_repeated_would_be_raised(run):
    """The work may have been done: writing is not retried."""

    async def main():
        guard, told = watching()
        assert await guard.call(Script([LOST], name="write")) is LOST
        assert after(told[0]) == ("raise", "not_repeatable", None)

    run(main)


def test_nobody_waits_before_a_closed_door(run):
    """Ten calls behind a rejection go in the same instant; the records say that they would wait."""

    async def main():
        guard, told = watching()
        script = Script([BUSY, OK], name="read")
        zero = anyio.current_time()
        for _ in range(11):
            await guard.call(script)
        assert script.asked_at == [0.0] * 11
        assert anyio.current_time() == zero
        assert {before(record) for record in told[1:]} == {("wait", None)}
        assert {record.after for record in told[1:]} == {"return"}
        assert closed_doors(guard) == 1
        at_rest(guard)

    run(main)


def test_who_would_not_wait_would_be_refused(run):
    """With the reason: no patience, or no sense in waiting."""

    async def main():
        guard, told = watching()
        await guard.call(Script([BUSY], name="read"))
        await guard.options(max_wait=0).call(Script([OK], name="read"))
        await guard.options(deadline=0.5).call(Script([OK], name="read"))
        assert [before(record) for record in told[1:]] == [
            ("refuse", "max_wait"),
            ("refuse", "deadline"),
        ]
        guard, told = watching()
        await guard.call(Script([EMPTY], name="read"))
        script = Script([OK], name="read")
        assert await guard.call(script) == OK
        assert (script.calls, before(told[1])) == (1, ("refuse", "exhausted"))
        at_rest(guard)

    run(main)


def test_an_open_circuit_holds_nobody_up(run):
    """Ten failures would have opened it; every call is made."""

    async def main():
        guard, told = watching()
        script = Script([DOWN] * 10 + [OK], name="read")
        for _ in range(10):
            assert await guard.call(script) is DOWN
        assert await guard.options(max_wait=0).call(script) == OK
        assert (script.calls, before(told[10])) == (11, ("refuse", "circuit"))
        assert [d["scope"] for d in guard.snapshot()["doors"]] == ["breaker:read"]
        at_rest(guard)

    run(main)


def test_the_first_call_after_a_closing_would_be_the_probe(run):
    """Its answer opens the door on paper."""

    async def main():
        guard, told = watching()
        await guard.call(Script([BUSY], name="read"))
        await anyio.sleep(1.0)
        await guard.call(Script([OK], name="read"))
        assert (before(told[1]), closed_doors(guard)) == (("go", None), 0)
        at_rest(guard)

    run(main)


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "fast lane"])
def test_time_outs_of_ours_cut_nothing(run, heard):
    """A deadline or an attempt's time-out is part of the policy, too; whether anybody listens or not."""

    async def main():
        guard = watching()[0] if heard else make_guard(enforce=False)
        zero = anyio.current_time()
        script = Script([OK], delay=9.0, name="read")
        assert await guard.options(deadline=1.0, attempt_timeout=1.0).call(script) == OK
        assert anyio.current_time() - zero == 9.0

    run(main)


def test_a_crowd_goes_at_once(run):
    """A hundred and fifty calls in one instant, none held by the ramp."""

    async def main():
        guard, told = watching()
        script = Script([OK], delay=1.0, name="read")
        async with anyio.create_task_group() as group:
            for _ in range(150):
                group.start_soon(guard.call, script)
        assert script.asked_at == [0.0] * 150
        assert len(told) == 150
        at_rest(guard)

    run(main)


def test_cancellation_passes_and_leaves_nothing(run):
    """In the attempt, as a probe, and as one that would have waited."""

    async def main():
        guard, told = watching()
        await guard.call(Script([BUSY], name="read"))
        script = Script([OK], delay=9.0, name="read")
        for _ in range(2):  # one that would wait, then the probe
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(guard.call, script)
                await anyio.sleep(1.0)
                group.cancel_scope.cancel()
            at_rest(guard)
        assert (script.calls, len(told)) == (10, 1)

    run(main)


def test_the_budget_is_never_spent(run):
    """No retry leaves, so none is paid for."""

    async def main():
        guard, told = watching(breaker=None)
        for _ in range(100):
            await guard.call(Script([DOWN], name="read"))
        (row,) = guard.snapshot()["budgets"]
        assert (row["tokens"], row["suppressed"], row["waiting"]) == (20.0, 0, 0)
        assert {after(record) for record in told} == {("retry", "backoff", 1.0)}

    run(main)


def test_rejections_of_those_who_would_have_waited_are_counted_right(run):
    """They were not counted as sent, so none is taken back."""

    async def main():
        guard, _ = watching()
        for _ in range(10):
            await guard.call(Script([BUSY], name="read"))
        assert guard._shared.machine.lanes["read"].sent >= 0

    run(main)
