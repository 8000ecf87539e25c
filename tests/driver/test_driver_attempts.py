"""Attempts, waits, hints, deadlines: what is sent, exactly when, and how it ends."""

from datetime import timedelta

import anyio
import pytest
from driver_kit import (
    BAD,
    BUSY,
    DOWN,
    DUPLICATE,
    EMPTY,
    FLOOD,
    FULL,
    LOCKED,
    LOST,
    OK,
    QUICK,
    REFUSED,
    at_rest,
    instant,
    make_guard,
)

from resilience import (
    AlreadyDone,
    DeadlineExceeded,
    FatalError,
    QuotaError,
    RetriesExhausted,
    report,
)
from resilience.testing import FixedChance, Script


def failing(run, guard, script, *args, **options):
    """Run one call that fails, and give its error and the moment when it did."""

    async def main():
        zero = anyio.current_time()
        with pytest.raises(Exception) as caught:
            await guard.options(**options).call(script, *args)
        at_rest(guard)
        return caught.value, anyio.current_time() - zero

    return run(main)


def succeeding(run, guard, script, *args, **options):
    """Run one call that succeeds, and give its value and the moment when it did."""

    async def main():
        zero = anyio.current_time()
        value = await guard.options(**options).call(script, *args)
        at_rest(guard)
        return value, anyio.current_time() - zero

    return run(main)


# -- attempts and waits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "times"),
    [
        pytest.param([OK], [0.0], id="success"),
        pytest.param([DOWN, OK], [0.0, 1.0], id="one"),
        pytest.param([DOWN, DOWN, DOWN, OK], [0.0, 1.0, 3.0, 7.0], id="three"),
        pytest.param([QUICK, OK], [0.0, 1.0], id="constant"),
        pytest.param([DOWN, QUICK, DOWN, OK], [0.0, 1.0], id="the-rule-with-fewer-attempts-ends-it"),
        pytest.param([BUSY, BUSY, BUSY, BUSY, BUSY, OK], [0.0, 1.0, 3.0, 7.0, 15.0, 23.0], id="window-costs-no-attempt"),
        pytest.param([BUSY, DOWN, BUSY, DOWN, OK], [0.0, 1.0, 2.0, 4.0, 6.0], id="mixed"),
        pytest.param([FLOOD, FLOOD, OK], [0.0, 10.0, 20.0], id="account-window"),
        pytest.param([ConnectionRefusedError(), OK], None, id="exception"),
        pytest.param(["text"], [0.0], id="unreadable-is-success"),
        pytest.param([None], [0.0], id="none-is-success"),
    ],
)  # fmt: skip
def test_attempts_happen_at_these_instants(run, steps, times):
    """Every attempt is sent exactly when the schedule says."""
    script = Script(steps, name="read")
    if steps[-1] is OK and len(steps) == 4 and steps[1] is QUICK:
        error, _ = failing(run, make_guard(), script)
        assert isinstance(error, RetriesExhausted)
    else:
        value, _ = succeeding(run, make_guard(), script)
        assert value == steps[-1]
    assert len(script.asked_at) == (len(times) if times else len(steps))
    assert times is None or script.asked_at == times


@pytest.mark.parametrize(
    ("step", "kind", "attempts", "reason", "elapsed"),
    [
        pytest.param(BAD, FatalError, 1, "fatal", 0.0, id="fatal"),
        pytest.param(DUPLICATE, AlreadyDone, 1, "fatal", 0.0, id="duplicate"),
        pytest.param(REFUSED, FatalError, 1, "fatal", 0.0, id="refused"),
        pytest.param(FULL, QuotaError, 1, "capacity", 0.0, id="capacity"),
        pytest.param(EMPTY, QuotaError, 1, "exhausted", 0.0, id="exhausted"),
        pytest.param(LOCKED, QuotaError, 1, "max_wait", 0.0, id="cooldown"),
        pytest.param(DOWN, RetriesExhausted, 4, "attempts", 7.0, id="retryable"),
        pytest.param(LOST, RetriesExhausted, 4, "attempts", 7.0, id="uncertain-but-safe"),
        pytest.param(QUICK, RetriesExhausted, 2, "attempts", 1.0, id="two-attempts"),
        pytest.param(
            {"code": "never heard of", "msg": ""}, FatalError, 1, "fatal", 0.0, id="unknown"
        ),
    ],
)
def test_final_failure_raises(run, step, kind, attempts, reason, elapsed):
    """The error's class says whose move it is; its fields say what happened."""
    script = Script([step], name="read")
    error, ended = failing(run, make_guard(), script)
    assert type(error) is kind
    assert (error.code, error.message) == (step["code"], step["msg"])
    assert (error.attempts, error.reason, error.endpoint) == (attempts, reason, "read")
    assert error.elapsed == ended == elapsed
    assert script.calls == attempts


def test_elapsed_counts_the_first_attempt(run):
    """The seconds of an error count from the start of the call, the first attempt included."""
    error, _ = failing(run, make_guard(), Script([BAD], delay=3.0, name="read"))
    assert error.elapsed == 3.0


def test_max_attempts_counts_the_first(run):
    """max_attempts=2 is one repeat."""
    script = Script([DOWN], name="read")
    error, _ = failing(run, make_guard(), script, max_attempts=2)
    assert (error.attempts, script.asked_at) == (2, [0.0, 1.0])


def test_draw_scales_every_delay(run):
    """A delay is the step of the schedule times the draw."""
    script = Script([DOWN, DOWN, OK], name="read")
    succeeding(run, make_guard(chance=FixedChance(0.5)), script)
    assert script.asked_at == [0.0, 0.5, 1.5]


def test_exception_is_the_cause(run):
    """The original exception is always __cause__."""
    original = ConnectionResetError("gone")
    error, _ = failing(run, make_guard(), Script([original], name="write"))
    assert isinstance(error, RetriesExhausted)
    assert error.__cause__ is original
    assert error.reason == "not_repeatable"


# -- hints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "times"),
    [
        pytest.param({**DOWN, "retry_after": 20}, [0.0, 20.0], id="longer-than-back-off"),
        pytest.param({**DOWN, "retry_after": 0.1}, [0.0, 1.0], id="shorter"),
        pytest.param({**DOWN, "retry_after": "soon"}, [0.0, 1.0], id="malformed"),
        pytest.param({**DOWN, "retry_after": 1e9}, [0.0, 1.0], id="absurd"),
        pytest.param({**DOWN, "retry_after": -5}, [0.0, 1.0], id="negative"),
        pytest.param({**BUSY, "retry_after": 20}, [0.0, 20.0], id="window-longer"),
        pytest.param({**BUSY, "retry_after": 0.1}, [0.0, 1.0], id="window-shorter"),
        pytest.param({"code": "busy", "msg": "try again in 20s"}, [0.0, 20.0], id="in-the-message"),
        pytest.param({**LOCKED, "retry_after": 5}, [0.0, 5.0], id="the-server-knows-its-lock"),
    ],
)
@pytest.mark.parametrize("draw", [1.0, 0.999])
def test_hint_is_a_floor(run, step, times, draw):
    """A server's hint is never jittered below, and nonsense is not obeyed."""
    script = Script([step, OK], name="read")
    succeeding(run, make_guard(chance=FixedChance(draw)), script)
    if times[1] == 1.0:
        assert script.asked_at[1] <= 1.0
        assert script.asked_at[1] >= 0.99
    else:
        assert script.asked_at == times


def test_hint_beyond_max_wait_fails_now(run):
    """A retryable answer whose hint is longer than anyone may wait ends at once, and says until when."""
    script = Script([{**DOWN, "retry_after": 90}], name="read")
    error, ended = failing(run, make_guard(), script)
    assert type(error) is RetriesExhausted
    assert (error.reason, ended) == ("max_wait", 0.0)
    assert error.retry_after == 90.0


# -- deadlines ------------------------------------------------------------------------------------


def test_wait_beyond_the_deadline_fails_now(run):
    """A back-off that would end after the deadline is not begun; the error says when it would resume."""
    script = Script([DOWN], name="read")
    error, ended = failing(run, make_guard(), script, deadline=2.5)
    assert type(error) is DeadlineExceeded
    assert ended == 1.0
    assert error.attempts == 2
    assert error.retry_after == 2.0
    assert (error.code, error.reason) == ("down", "deadline")


def test_closed_door_beyond_the_deadline_fails_now(run):
    """A quota that opens after the deadline is a QuotaError now, with its instant."""
    script = Script([FLOOD], name="read")
    error, ended = failing(run, make_guard(), script, deadline=5)
    assert type(error) is QuotaError
    assert (error.reason, ended, error.attempts) == ("deadline", 0.0, 1)
    assert error.retry_after == 10.0


def test_deadline_cuts_the_attempt(run):
    """The deadline bounds the attempt that is under way, to the instant."""
    script = Script([OK], delay=100.0, name="read")
    error, ended = failing(run, make_guard(), script, deadline=7.25)
    assert type(error) is DeadlineExceeded
    assert (ended, error.elapsed, error.attempts) == (7.25, 7.25, 1)


def test_deadline_cuts_the_second_attempt(run):
    """Waits and attempts share one deadline."""
    script = Script([DOWN, OK], delay=2.0, name="read")
    error, ended = failing(run, make_guard(), script, deadline=4.0)
    assert type(error) is DeadlineExceeded
    assert (ended, script.asked_at) == (4.0, [0.0, 3.0])


def test_deadline_as_timedelta(run):
    """Times are seconds or timedelta."""
    error, ended = failing(
        run, make_guard(), Script([OK], delay=9, name="read"), deadline=timedelta(seconds=2)
    )
    assert (type(error), ended) == (DeadlineExceeded, 2.0)


def test_success_within_the_deadline(run):
    """A call that makes it is not disturbed."""
    value, ended = succeeding(
        run, make_guard(), Script([DOWN, OK], delay=1, name="read"), deadline=3.5
    )
    assert (value, ended) == (OK, 3.0)


# -- attempt_timeout ------------------------------------------------------------------------------


def test_attempt_timeout_is_retryable(run):
    """A silent attempt is cut and repeated where that is safe."""
    script = Script([lambda: OK], name="read")

    async def slow_then_quick():
        script.asked_at.append(anyio.current_time())
        await anyio.sleep(100 if len(script.asked_at) == 1 else 0.5)
        return OK

    slow_then_quick.__name__ = "read"
    _, ended = succeeding(run, make_guard(), slow_then_quick, attempt_timeout=2.0)
    assert script.asked_at[1] - script.asked_at[0] in (3.0, 2.0 + 0.5, 2.0 + 1.0)
    assert ended == script.asked_at[1] - script.asked_at[0] + 0.5


def test_attempt_timeout_may_have_been_executed(run):
    """After a time-out nobody knows, so a call that may not be done twice ends."""
    script = Script([OK], delay=100, name="write")
    error, ended = failing(run, make_guard(), script, attempt_timeout=2.0)
    assert type(error) is RetriesExhausted
    assert (error.code, error.reason, ended) == ("TimeoutError", "not_repeatable", 2.0)
    assert isinstance(error.__cause__, TimeoutError)


def test_callers_own_timeout_is_not_ours(run):
    """A time-out around the call ends it from outside, as a cancellation."""

    async def main():
        guard = make_guard()
        with anyio.move_on_after(1.5) as scope:
            await guard.options(attempt_timeout=50).call(Script([OK], delay=9, name="read"))
        assert scope.cancelled_caught
        at_rest(guard)
        return anyio.current_time()

    run(main)


# -- max_wait -------------------------------------------------------------------------------------


def test_max_wait_zero_never_waits_for_a_door(run):
    """max_wait=0 fails at the first closed door, but still backs off and retries."""
    script = Script([BUSY], name="read")
    error, ended = failing(run, make_guard(), script, max_wait=0)
    assert type(error) is QuotaError
    assert (error.reason, error.attempts, ended) == ("max_wait", 1, 0.0)
    assert error.retry_after == 1.0
    script = Script([DOWN, OK], name="read")
    assert succeeding(run, make_guard(), script, max_wait=0) == (OK, 1.0)


def test_max_wait_adds_up(run):
    """The seconds in front of doors add up over one call; the one that would be too much is not begun."""
    script = Script([BUSY], name="read")
    error, ended = failing(run, make_guard(), script, max_wait=5)
    assert script.asked_at == [0.0, 1.0, 3.0]
    assert (error.reason, ended, error.retry_after) == ("max_wait", 3.0, 4.0)


def test_max_wait_none_waits(run):
    """Only max_wait=None waits for ever."""
    script = Script([LOCKED, OK], name="read")
    assert succeeding(run, make_guard(), script, max_wait=None) == (OK, 600.0)


def test_max_wait_to_the_second(run):
    """A wait of exactly max_wait is allowed."""
    script = Script([LOCKED, OK], name="read")
    assert succeeding(run, make_guard(), script, max_wait=600) == (OK, 600.0)


def test_a_late_timer_does_not_refuse_who_waited_enough():
    """Real timers ring late; a caller whose door opened within max_wait goes, not fails."""
    from resilience._core.admission.model import Place
    from resilience._core.instants import Now

    guard = make_guard()
    shared = guard._shared
    now = Now(0.0, 0.0)
    rejected = shared.ticket(guard._options, "read", float("inf"))
    permit = shared.machine.ask(rejected, rejected.keys, now).permit
    found = guard.policy.classify(FLOOD)
    from resilience._core.admission.model import Judgement, ScopeKey

    judgement = Judgement(
        verdict=found.verdict, rule=found.rule, recovers=found.recovers, scope=ScopeKey("account")
    )
    shared.machine.answer(permit, judgement, now, 1.0)
    waiting = shared.ticket(guard.options(max_wait=10)._options, "read", float("inf"))
    shared.machine.ask(waiting, waiting.keys, now)
    grants, refusals, _ = shared.machine.pump(Now(10.0013, 10.0013))
    assert (grants, refusals, waiting.place) == ([waiting], [], Place.GRANTED)


# -- may it be repeated? --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "idempotent", "step", "attempts"),
    [
        pytest.param("read", None, LOST, 4, id="safe-endpoint"),
        pytest.param("write", None, LOST, 1, id="never"),
        pytest.param("merge", None, LOST, 2, id="once"),
        pytest.param("nobody_knows", None, LOST, 1, id="unknown-endpoint"),
        pytest.param("write", True, LOST, 4, id="the-caller-says-yes"),
        pytest.param("read", False, LOST, 1, id="the-caller-says-no"),
        pytest.param("write", None, DOWN, 4, id="never-but-not-executed"),
        pytest.param("nobody_knows", None, DOWN, 4, id="unknown-but-not-executed"),
        pytest.param("read", False, DOWN, 4, id="no-but-not-executed"),
    ],
)
def test_who_may_be_repeated(run, name, idempotent, step, attempts):
    """The caller's word, then the endpoint's, and nothing known means only what was not executed."""
    script = Script([step], name=name)
    error, _ = failing(run, make_guard(), script, idempotent=idempotent)
    assert script.calls == error.attempts == attempts
    assert error.reason == ("attempts" if attempts == 4 else "not_repeatable")


def test_stopped_retry_is_logged_once(run, caplog):
    """That nobody allowed a repeat is told once per endpoint, with the remedy."""
    guard = make_guard()

    async def main():
        for _ in range(3):
            with pytest.raises(RetriesExhausted):
                await guard.call(Script([LOST], name="write"))

    run(main)
    told = [r for r in caplog.records if "was not retried" in r.getMessage()]
    assert len(told) == 1
    assert "idempotent=True" in told[0].getMessage()


@pytest.mark.parametrize("maker", ["async generator", "generator"])
def test_stream_argument_is_not_sent_twice(run, maker):
    """A generator among the arguments is used up by the first attempt, so there is no second."""
    seen = []

    async def chunks():
        yield b"data"

    async def write(data):
        seen.append(b"".join([c async for c in data] if maker == "async generator" else list(data)))
        return DOWN

    data = chunks() if maker == "async generator" else (c for c in [b"data"])
    error, _ = failing(run, make_guard(), write, data)
    assert seen == [b"data"]
    assert error.reason == "not_repeatable"


# -- duplicates -----------------------------------------------------------------------------------


def test_duplicate_after_our_own_lost_reply_is_success(run):
    """If an attempt of this call may have done it, "already done" is what we wanted."""
    script = Script([LOST, DUPLICATE], name="remove")
    assert succeeding(run, make_guard(), script) == (DUPLICATE, 1.0)


@pytest.mark.parametrize(
    ("name", "steps", "attempts"),
    [
        pytest.param("remove", [DUPLICATE], 1, id="somebody-else"),
        pytest.param("remove", [DOWN, DUPLICATE], 2, id="ours-was-not-executed"),
        pytest.param("add", [LOST, DUPLICATE], 2, id="the-endpoint-does-not-say-done"),
    ],
)
def test_other_duplicates_raise(run, name, steps, attempts):
    """Any other duplicate is AlreadyDone."""
    error, _ = failing(run, make_guard(), Script(steps, name=name))
    assert type(error) is AlreadyDone
    assert error.attempts == attempts


# -- on_failure -----------------------------------------------------------------------------------


def test_on_failure_return_gives_the_last_result(run):
    """on_failure="return" hands out the last result, after the same attempts."""
    script = Script([DOWN, {**DOWN, "msg": "last"}], name="read")
    value, ended = succeeding(run, make_guard(), script, on_failure="return", max_attempts=2)
    assert (value["msg"], ended) == ("last", 1.0)


def test_on_failure_return_still_raises_exceptions(run):
    """Where there is no result, there is an error."""
    guard = make_guard()
    error, _ = failing(
        run, guard, Script([ConnectionResetError()], name="write"), on_failure="return"
    )
    assert type(error) is RetriesExhausted
    assert report(error).attempts == 1


def test_on_failure_return_and_a_closed_door(run):
    """A local refusal has no result to return."""
    guard = make_guard()

    async def main():
        view = guard.options(on_failure="return")
        assert await view.call(Script([EMPTY], name="read")) == EMPTY
        with pytest.raises(QuotaError) as caught:
            await view.call(Script([OK], name="read"))
        assert caught.value.attempts == 0

    run(main)


# -- what is left for the next caller -------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "kind", "reason"),
    [
        pytest.param(EMPTY, QuotaError, "exhausted", id="exhausted"),
        pytest.param(REFUSED, FatalError, "refused", id="refused"),
    ],
)
def test_latched_door_and_its_probe(run, step, kind, reason):
    """Everybody fails fast, one probe goes per probe_every, and its success opens for all."""
    guard = make_guard()
    server = Script([step, step, OK], name="read")

    async def main():
        zero = anyio.current_time()
        for wait, calls in ((0, 1), (0, 1), (299, 1), (1, 2), (1, 2), (298, 2)):
            await anyio.sleep(wait)
            with pytest.raises(kind) as caught:
                await guard.call(server)
            assert server.calls == calls
        assert caught.value.reason == reason
        assert caught.value.resume_at == instant(zero + 600)
        await anyio.sleep(1)
        assert await guard.call(server) == OK
        assert await guard.call(server) == OK
        assert server.asked_at == [0.0, 300.0, 600.0, 600.0]
        at_rest(guard)

    run(main)


def test_only_one_probe_goes(run):
    """Ten callers at the moment of the probe send one request; the others fail fast or follow it."""
    guard = make_guard()

    async def main():
        with pytest.raises(QuotaError):
            await guard.call(Script([EMPTY], name="read"))
        await anyio.sleep(300)
        probe = Script([OK], delay=1.0, name="read")
        outcomes = []

        async def one():
            try:
                outcomes.append(await guard.call(probe))
            except QuotaError as error:
                outcomes.append(error.attempts)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(one)
        assert probe.calls == 1
        assert sorted(map(str, outcomes)) == sorted(map(str, [0] * 9 + [OK]))
        at_rest(guard)

    run(main)


def test_probe_that_hangs_passes_on(run):
    """A window rejects fast; a probe that is silent for much longer was let in, and the others follow."""
    guard = make_guard()
    times = []

    async def read(delay):
        times.append(anyio.current_time())
        await anyio.sleep(delay)
        return OK

    async def main():
        zero = anyio.current_time()
        with pytest.raises(QuotaError):
            await guard.options(max_wait=0).call(Script([FLOOD], name="read"))
        async with anyio.create_task_group() as group:
            for delay in (100, 1, 1):
                group.start_soon(guard.call, read, delay)
                await anyio.sleep(0)
        assert [t - zero for t in times] == [10.0, 10.25, 10.35]
        at_rest(guard)

    run(main)
