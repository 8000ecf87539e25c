"""The ways to say what is wanted: options, using, decorator; and what is refused at the door."""

import dataclasses
import functools
import pickle

import anyio
import pytest
from driver_kit import (
    BAD,
    BUSY,
    DOWN,
    EMPTY,
    LOCKED,
    LOST,
    OK,
    POLICY,
    at_rest,
    instant,
    make_guard,
)

from resilience import (
    DeadlineExceeded,
    FatalError,
    Guard,
    Outcome,
    QuotaError,
    RetriesExhausted,
    Verdict,
    raise_for_code,
    report,
)
from resilience.testing import Script

# -- options --------------------------------------------------------------------------------------


def test_views_share_state(run):
    """A door that one view's call closed is closed for every view."""
    guard = make_guard()

    async def main():
        with pytest.raises(QuotaError):
            await guard.options(idempotent=True).call(Script([EMPTY], name="read"))
        later = Script([OK], name="read")
        with pytest.raises(QuotaError) as caught:
            await guard.options(max_attempts=1).options(deadline=5).call(later)
        assert (later.calls, caught.value.code) == (0, "empty")

    run(main)


def test_options_add_up_and_leave_the_guard_alone(run):
    """A view of a view keeps the first's settings; the guard keeps its own."""
    guard = make_guard()

    async def main():
        view = guard.options(max_attempts=2).options(idempotent=True)
        for caller, attempts in ((view, 2), (guard, 1)):
            script = Script([LOST], name="write")
            with pytest.raises(RetriesExhausted):
                await caller.call(script)
            assert script.calls == attempts

    run(main)


def test_options_can_be_taken_back(run):
    """None is a value of its own: it removes a deadline, or a limit to waiting."""
    guard = make_guard().options(deadline=1.0)

    async def main():
        script = Script([LOCKED, OK], name="read")
        assert await guard.options(deadline=None, max_wait=None).call(script) == OK
        assert script.asked_at == [0.0, 600.0]

    run(main)


@pytest.mark.parametrize(
    "wrong",
    [{"max_attempts": 0}, {"on_failure": "shrug"}, {"deadline": -1}, {"max_wait": float("nan")}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_setting_fails_at_once(wrong):
    """A setting that makes no sense is a ValueError where it is given."""
    guard = make_guard()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        guard.options(**wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        with guard.using(**wrong):
            pass


def test_unknown_setting_fails_at_once():
    """A misspelt setting is a TypeError, and the block is not entered."""
    with pytest.raises(TypeError, match="deadlin"):
        with make_guard().using(deadlin=3):
            pytest.fail("entered")


def test_endpoint_option_decides(run):
    """endpoint= names the queue, the door and what may be repeated."""
    guard = make_guard()

    async def main():
        script = Script([LOST], name="write")
        with pytest.raises(RetriesExhausted) as caught:
            await guard.options(endpoint="read").call(script)
        assert (script.calls, caught.value.endpoint) == (4, "read")
        busy = guard.options(endpoint="mine", max_wait=0)
        with pytest.raises(QuotaError):
            await busy.call(Script([BUSY], name="read"))
        with pytest.raises(QuotaError) as caught:
            await busy.call(Script([OK], name="read"))
        assert caught.value.attempts == 0
        assert await guard.options(max_wait=0).call(Script([OK], name="read")) == OK

    run(main)


# -- using ----------------------------------------------------------------------------------------


def test_using_reaches_calls_inside(run):
    """endpoint, idempotent and deadline hold inside the block and not after it."""
    guard = make_guard()

    async def main():
        with guard.using(endpoint="read", deadline=2.0):
            script = Script([LOST], name="write")
            with pytest.raises(DeadlineExceeded) as caught:
                await guard.call(script)
            assert (caught.value.endpoint, script.asked_at) == ("read", [0.0, 1.0])
        with guard.using(idempotent=False):
            with pytest.raises(RetriesExhausted) as caught:
                await guard.call(Script([LOST], name="read"))
            assert caught.value.attempts == 1
        script = Script([LOST], name="write")
        with pytest.raises(RetriesExhausted):
            await guard.call(script)
        assert script.calls == 1

    run(main)


def test_using_nests(run):
    """The inner block wins where both speak, and adds where only one does."""
    guard = make_guard()

    async def main():
        with guard.using(endpoint="read", max_attempts=3):
            with guard.using(max_attempts=2):
                with pytest.raises(RetriesExhausted) as inner:
                    await guard.call(Script([LOST]))
            with pytest.raises(RetriesExhausted) as outer:
                await guard.call(Script([LOST]))
        assert (inner.value.attempts, inner.value.endpoint) == (2, "read")
        assert outer.value.attempts == 3

    run(main)


def test_using_beats_options(run):
    """A block around a call is nearer than a view that was made long before."""
    guard = make_guard().options(max_attempts=2)

    async def main():
        with guard.using(max_attempts=1):
            with pytest.raises(RetriesExhausted) as caught:
                await guard.call(Script([DOWN], name="read"))
        assert caught.value.attempts == 1

    run(main)


def test_using_is_for_its_own_account(run):
    """Another guard does not listen."""
    guard, other = make_guard(account="a"), make_guard(account="b")

    async def main():
        with other.using(max_attempts=1):
            with pytest.raises(RetriesExhausted) as caught:
                await guard.call(Script([DOWN], name="read"))
        assert caught.value.attempts == 4

    run(main)


def test_using_is_per_task(run):
    """Two tasks with different blocks do not disturb each other."""
    guard = make_guard()
    attempts = {}

    async def one(name, limit):
        with guard.using(max_attempts=limit):
            await anyio.sleep(1)
            with pytest.raises(RetriesExhausted) as caught:
                await guard.call(Script([DOWN], name="read"))
            attempts[name] = caught.value.attempts

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(one, "a", 2)
            group.start_soon(one, "b", 3)
        assert attempts == {"a": 2, "b": 3}

    run(main)


# -- decorator ------------------------------------------------------------------------------------


def test_decorator_keeps_the_function(run):
    """A decorated function keeps its name, doc and arguments, and is guarded."""
    guard = make_guard()
    seen = []

    @guard
    async def read(page: int, *, size: int = 10) -> dict:
        """Read a page."""
        seen.append((page, size))
        return DOWN if len(seen) == 1 else OK

    assert (read.__name__, read.__doc__) == ("read", "Read a page.")

    async def main():
        assert await read(1, size=20) == OK
        assert seen == [(1, 20), (1, 20)]

    run(main)


def test_decorator_with_options(run):
    """A view decorates too, and methods work."""
    guard = make_guard()

    class Client:
        calls = 0

        @guard.options(max_attempts=2)
        async def read(self):
            self.calls += 1
            return DOWN

    async def main():
        client = Client()
        with pytest.raises(RetriesExhausted):
            await client.read()
        assert client.calls == 2

    run(main)


# -- what is refused ------------------------------------------------------------------------------


def sync_function():
    """Not a coroutine function."""
    return OK


async def async_generator():
    """Not awaitable either."""
    yield OK


@pytest.mark.parametrize("lane", ["fast", "slow"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(sync_function, "sync function", id="sync"),
        pytest.param(async_generator, "async generator", id="async-generator"),
        pytest.param(OK, "can't be called", id="not-callable"),
        pytest.param(len, "sync function", id="builtin"),
    ],
)
def test_call_refuses_what_cannot_be_awaited(run, lane, wrong, words):
    """A TypeError names the right form; nothing is retried, nothing stays behind."""
    guard = make_guard()
    view = guard if lane == "fast" else guard.options(deadline=10)

    async def main():
        with pytest.raises(TypeError, match=words):
            await view.call(wrong, *(["x"] if wrong is len else []))
        at_rest(guard)

    run(main)


def test_call_refuses_a_coroutine_object(run):
    """guard.call(f()) is a mistake with a clear answer: give the function, not its result."""
    guard = make_guard()

    async def main():
        coroutine = Script([OK])()
        with pytest.raises(TypeError, match="not its result"):
            await guard.call(coroutine)
        coroutine.close()

    run(main)


@pytest.mark.parametrize("wrong", [sync_function, async_generator])
def test_decorator_refuses_at_definition(wrong):
    """The decorator complains where it stands, not at the first call."""
    with pytest.raises(TypeError, match=r"sync function|async generator"):
        make_guard()(wrong)


@pytest.mark.parametrize("lane", ["fast", "slow"])
def test_wrong_arguments_pass_untouched(run, lane):
    """The caller's own TypeError is neither judged nor retried nor wrapped."""
    guard = make_guard()
    view = guard if lane == "fast" else guard.options(deadline=10)

    async def read(page):
        return OK

    async def main():
        with pytest.raises(TypeError, match="unexpected keyword argument 'pgae'"):
            await view.call(read, pgae=1)
        at_rest(guard)

    run(main)


def test_type_error_from_inside_is_an_outcome(run):
    """A TypeError that the function itself raised is its failure, and the cause of ours."""

    async def read():
        return len(3)

    async def main():
        with pytest.raises(FatalError) as caught:
            await make_guard().call(read)
        assert isinstance(caught.value.__cause__, TypeError)

    run(main)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda s: functools.partial(s, 1), id="partial"),
        pytest.param(lambda s: lambda: s(), id="lambda-giving-a-coroutine"),
        pytest.param(lambda s: s, id="callable-object"),
    ],
)
def test_other_callables_work(run, make):
    """Whatever gives an awaitable when called may be guarded."""

    async def main():
        script = Script([DOWN, OK])
        assert await make_guard().call(make(script)) == OK
        assert script.calls == 2

    run(main)


# -- what results say -----------------------------------------------------------------------------


class Model:
    """As SDKs have it: attributes instead of keys."""

    def __init__(self, code, msg=""):
        self.code = code
        self.msg = msg


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        pytest.param(Model("0"), None, id="object-success"),
        pytest.param(Model("bad"), FatalError, id="object-failure"),
        pytest.param(Outcome(status=503), RetriesExhausted, id="outcome"),
        pytest.param([1, 2], None, id="list"),
        pytest.param({"data": 1}, None, id="no-code"),
        pytest.param({"code": "bad"}, None, id="not-the-envelope"),
    ],
)
def test_call_reads_results(run, result, kind):
    """Mappings, objects with a code and outcomes are read; anything else is success."""

    async def main():
        guard = make_guard()
        if kind is None:
            assert await guard.call(Script([lambda: result])) is result
        else:
            with pytest.raises(kind):
                await guard.call(Script([lambda: result]))

    run(main)


def test_read_teaches_other_results(run):
    """read= turns a result type of one's own into a body."""
    guard = make_guard(
        read=lambda value: {"code": value[0], "msg": value[1]} if isinstance(value, tuple) else None
    )

    async def main():
        script = Script([("down", "no"), ("0", "fine")])
        assert await guard.call(script) == ("0", "fine")
        assert await guard.call(Script([OK])) == OK
        with pytest.raises(FatalError):
            await guard.call(Script([BAD]))

    run(main)


# -- report ---------------------------------------------------------------------------------------


def test_report_of_an_error(run):
    """report() of a raised error tells attempts, elapsed, resume_at and the classification."""

    async def main():
        with pytest.raises(QuotaError) as caught:
            await make_guard().call(Script([DOWN, LOCKED], name="read"))
        told = report(caught.value)
        assert told.error is caught.value
        assert (told.attempts, told.elapsed, told.endpoint) == (2, 1.0, "read")
        assert told.resume_at == instant(anyio.current_time() + 600)
        assert (told.classification.code, told.classification.verdict) == ("locked", Verdict.QUOTA)

    run(main)


def test_report_of_a_call_that_was_refused_before_any_attempt(run):
    """Nothing was classified: no success either, though nobody said that anything failed."""

    async def main():
        guard = make_guard(most_waiting=0)
        with pytest.raises(QuotaError):
            await guard.call(Script([BUSY], name="read"))
        with pytest.raises(QuotaError) as caught:
            await guard.call(Script([OK], name="read"))
        told = report(caught.value)
        assert (told.attempts, told.classification, told.error.reason) == (0, None, "crowd")

    run(main)


def test_report_of_a_success_after_a_retry(run):
    """It tells what the call ended with, not that there was nothing: the same as without a retry."""

    async def main():
        guard = make_guard().options(on_failure="return")
        good = Model("0")
        await guard.call(Script([DOWN, lambda: good], name="read"))
        told = report(good)
        assert (told.attempts, told.error) == (2, None)
        assert (told.classification.verdict, told.classification.matched_by) == (
            Verdict.SUCCESS, "success",
        )  # fmt: skip

    run(main)


def test_report_of_the_original_exception(run):
    """The client's exception that stands behind an error knows the report too."""

    async def main():
        original = ConnectionRefusedError("no")
        with pytest.raises(RetriesExhausted):
            await make_guard().call(Script([original], name="read"))
        assert report(original).attempts == 4

    run(main)


def test_raise_for_code(run):
    """raise_for_code raises what call would have raised, and nothing for a success."""

    async def main():
        guard = make_guard().options(on_failure="return")
        bad, good = Model("bad"), Model("down")
        await guard.call(Script([lambda: bad], name="read"))
        with pytest.raises(FatalError) as caught:
            raise_for_code(bad)
        assert caught.value.code == "bad"
        good.code = "0"
        await guard.options(deadline=5).call(Script([lambda: good], name="read"))
        raise_for_code(good)
        assert report(good).error is None

    run(main)


@pytest.mark.parametrize("unseen", [Model("bad"), {"code": "bad"}, None, ValueError()])
def test_report_of_the_unseen(unseen):
    """What no guard saw has no report, and raise_for_code says so instead of staying silent."""
    assert report(unseen) is None
    with pytest.raises(LookupError, match="no guard saw"):
        raise_for_code(unseen)


def test_error_survives_pickling(run):
    """An error crosses a process boundary with all its fields, and prints the same."""

    async def main():
        with pytest.raises(QuotaError) as caught:
            await make_guard().call(Script([LOCKED], name="read"))
        copy = pickle.loads(pickle.dumps(caught.value))
        assert type(copy) is QuotaError
        assert str(copy) == str(caught.value)
        assert (copy.code, copy.rule, copy.resume_at) == (
            caught.value.code, caught.value.rule, caught.value.resume_at,
        )  # fmt: skip

    run(main)


def test_error_prints_what_matters(run):
    """Code, title, words, attempts, remedy and resume_at are in the text."""

    async def main():
        with pytest.raises(QuotaError) as caught:
            await make_guard().options(max_wait=0).call(Script([BUSY], name="read"))
        at = instant(anyio.current_time() + 1)
        assert str(caught.value) == (
            'busy Busy: "slow down" [read, 1 attempt, max_wait, 0.0 s]\n'
            "  what to do: Slow down.\n"
            f"  resumes at: {at.isoformat(timespec='seconds')}"
        )

    run(main)


def test_guard_takes_a_name():
    """Guard("memories_ai") loads the catalog."""
    assert Guard("memories_ai").policy.name == "memories_ai"
    assert Guard(POLICY, account="mine").account == "mine"


def test_report_on_a_frozen_result(run):
    """A result of the user's own is left alone, unless failures are returned; even a frozen one."""

    @dataclasses.dataclass(frozen=True)
    class Frozen:
        code: str
        msg: str = ""

    async def main():
        guard = make_guard()
        result = Frozen("0")
        assert await guard.call(Script([lambda: result], name="read")) is result
        assert vars(result) == {"code": "0", "msg": ""}  # a user's object is left alone
        returned = await guard.options(on_failure="return").call(
            Script([Frozen("bad")], name="read")
        )
        assert report(returned).error.code == "bad"
        with pytest.raises(FatalError):
            await guard.call(Script([Frozen("bad")], name="read"))

    run(main)
