"""A guard inside a guard: the outermost layer decides, the inner one makes one attempt."""

import contextlib

import anyio
import pytest
from driver_kit import BAD, BUSY, DOWN, EMPTY, LOCKED, LOST, OK, at_rest, make_guard

from resilience import FatalError, QuotaError, ResilienceError, RetriesExhausted
from resilience.testing import Script


class OwnError(Exception):
    """A client's own error, which hides the provider's code."""


def hiding(guard, script, way):
    """A client method over a guarded call that keeps the code to itself."""

    async def read():
        try:
            body = await guard.options(on_failure="return").call(script)
        except ResilienceError as error:
            if way == "raises our error":
                raise
            raise OwnError("failed") from error
        if way == "returns the data only":
            return body.get("data", [])
        if way == "raises its own error" and body["code"] != "0":
            raise OwnError("failed")
        if way == "raises our error":
            await guard.call(Script([body]))
        return body

    return read


@pytest.mark.parametrize(
    "way", ["returns it all", "returns the data only", "raises its own error", "raises our error"]
)
@pytest.mark.parametrize(
    ("step", "kind", "times"),
    [
        pytest.param(DOWN, RetriesExhausted, [0.0, 1.0, 3.0, 7.0], id="retryable"),
        pytest.param(BAD, FatalError, [0.0], id="fatal"),
        pytest.param(LOCKED, QuotaError, [0.0], id="cooldown"),
        pytest.param(
            {**DOWN, "retry_after": 5}, RetriesExhausted, [0.0, 5.0, 10.0, 15.0], id="hint"
        ),
    ],
)
def test_inner_call_makes_one_attempt(run, way, step, kind, times):
    """Four attempts stay four, never sixteen, and hiding the code hides nothing from the outer call."""
    guard = make_guard()

    async def main():
        script = Script([step], name="read")
        with pytest.raises(kind) as caught:
            await guard.call(hiding(guard, script, way))
        assert script.asked_at == times
        assert (caught.value.code, caught.value.attempts) == (step["code"], len(times))
        at_rest(guard)

    run(main)


@pytest.mark.parametrize("way", ["returns it all", "returns the data only", "raises its own error"])
def test_inner_success_after_failures_is_success(run, way):
    """Only the newest attempt of the inner call counts."""
    guard = make_guard()

    async def main():
        script = Script([DOWN, BUSY, {**OK, "data": [1]}], name="read")
        value = await guard.call(hiding(guard, script, way))
        assert value == ([1] if way == "returns the data only" else {**OK, "data": [1]})
        assert script.asked_at == [0.0, 1.0, 2.0]

    run(main)


def test_three_layers(run):
    """However deep, one layer decides."""
    guard = make_guard()

    async def main():
        script = Script([DOWN], name="read")

        async def middle():
            return await guard.call(script)

        async def read():
            return await guard.call(middle)

        with pytest.raises(RetriesExhausted) as caught:
            await guard.call(read)
        assert script.asked_at == [0.0, 1.0, 3.0, 7.0]
        assert caught.value.attempts == 4

    run(main)


def test_inner_call_never_waits(run):
    """Inside a call that was let in, a closed door is the outer call's business: no deadlock."""
    guard = make_guard()

    async def main():
        async def read():
            with pytest.raises(QuotaError):
                await guard.call(Script([EMPTY], name="chat"))
            return await guard.call(Script([OK], name="chat"))

        with anyio.fail_after(1):
            assert await guard.call(read) == OK

    run(main)


def test_two_inner_calls_of_one_outer_call(run):
    """A composite that swallows one failure and succeeds is a success: its last word counts."""
    guard = make_guard()

    async def main():
        first, second = Script([LOST], name="read"), Script([OK], name="read")

        async def read():
            with contextlib.suppress(RetriesExhausted):
                await guard.call(first)
            return (await guard.call(second))["code"]

        assert await guard.call(read) == "0"
        assert (first.calls, second.calls) == (1, 1)

    run(main)


def test_background_task_that_outlives_the_call_decides_for_itself(run):
    """A task started inside a call is on its own once the call is over: it retries and waits."""
    guard = make_guard()
    script = Script([DOWN, BUSY, OK], name="read")
    results = []

    async def background():
        await anyio.sleep(5)
        results.append(await guard.call(script))

    async def main():
        async with anyio.create_task_group() as group:

            async def read():
                group.start_soon(background)
                return OK

            assert await guard.call(read) == OK
        assert results == [OK]
        assert script.asked_at == [0.0, 1.0, 2.0]
        at_rest(guard)

    run(main)


def test_another_account_inside_is_its_own_master(run):
    """A guard of another account inside a call keeps its own attempts and doors."""
    outer, inner = make_guard(account="outer"), make_guard(account="inner")

    async def main():
        script = Script([DOWN, DOWN, OK], name="read")

        async def read():
            return await inner.call(script)

        assert await outer.call(read) == OK
        assert script.asked_at == [0.0, 1.0, 3.0]

    run(main)


def test_using_reaches_through_an_outer_call(run):
    """A block inside the guarded function still names the endpoint of the inner call's report."""
    guard = make_guard()

    async def main():
        async def client():
            with guard.using(endpoint="chat"):
                return await guard.call(Script([BAD]))

        with pytest.raises(FatalError) as caught:
            await guard.call(client)
        assert caught.value.__cause__.endpoint == "chat"

    run(main)


@pytest.mark.parametrize("bad_first", [True, False], ids=["fails-first", "fails-last"])
def test_of_inner_calls_side_by_side_a_failure_counts(run, bad_first):
    """One that goes well knows nothing of the other, whichever ends first."""
    guard = make_guard()

    async def main():
        async def one(step, seconds):
            async def read():
                await anyio.sleep(seconds)
                return step

            await guard.options(on_failure="return").call(read)

        async def both():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one, BAD, 1.0 if bad_first else 2.0)
                tasks.start_soon(one, OK, 2.0 if bad_first else 1.0)

        with pytest.raises(FatalError) as caught:
            await guard.call(both)
        assert caught.value.code == BAD["code"]

    run(main)
