"""Submit and watch in one step: the call, what came of it, and the handle."""

import asyncio
from functools import partial, wraps
from operator import attrgetter
from typing import Any
from unittest.mock import AsyncMock

import anyio
import httpx
import pytest
from pollers_kit import (
    BAD,
    BUSY,
    DOWN,
    EMPTY,
    LOCKED,
    NEVER,
    REFUSED,
    SlowStore,
    kinds,
    now,
    paper_guard,
    since_epoch,
    stop_of,
    stored,
)
from submit_kit import LOST, Shop

from pollers import (
    Intent,
    JobFailed,
    JobSucceeded,
    JobWatching,
    PollerStopped,
    State,
    StoreError,
)
from pollers.store import MemoryStore
from resilience import (
    CircuitOpen,
    FatalError,
    QuotaError,
    ResilienceError,
    RetriesExhausted,
)
from resilience.testing import EPOCH, run_virtual


async def rows(store: MemoryStore) -> list[tuple[str, str]]:
    return [(job.key.remote_id, job.state.value) for job in await store.jobs()]


# -- it goes well -----------------------------------------------------------------------------


def test_one_step(run: Any) -> None:
    """Intent, call, watching, and the end, each told once."""
    shop, store = Shop(), MemoryStore()
    seen: list[Any] = []

    async def upload(intent: Intent) -> str:
        seen.append((intent.rid, intent.data, intent.kind, intent.account, intent.name))
        (job,) = await store.jobs()
        assert (job.state, job.key.remote_id) == (State.SUBMITTING, intent.token)
        return await shop.upload(intent)

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            job = await poller.submit(upload, data={"user": 7}, name="x.mp4")
            assert (job.id, job.rid, (await job.row()).state) == ("J1", 1, State.WATCHING)
            event = await job.result()
            assert isinstance(event, JobSucceeded)
            assert (event.job_id, event.user_data) == ("J1", {"user": 7})
        assert seen == [(1, {"user": 7}, "jobs", "default", "x.mp4")]
        events = await stored(store)
        assert kinds(events) == ["JobSubmitting", "JobWatching", "JobChanged", "JobSucceeded"]
        assert [event.subject for event in events] == [shop.called[0], "J1", "J1", "J1"]
        assert [int(event.id.rsplit(":", 1)[1]) for event in events] == [1, 2, 3, 4]
        assert (events[1].token, len(shop.called), shop.searched) == (shop.called[0], 1, [])

    run(main)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda number: number, id="the-id"),
        pytest.param(lambda number: {"id": number}, id="a-mapping"),
        pytest.param(lambda number: {"code": "0", "msg": "", "id": number}, id="an-envelope"),
        pytest.param(lambda number: type("Answer", (), {"id": number})(), id="an-object"),
        pytest.param(lambda number: httpx.Response(200, json={"id": number}), id="a-response"),
    ],
)
def test_the_id_is_read_from_any_answer(shape: Any, run: Any) -> None:
    """Or it is the answer."""
    shop = Shop()

    async def upload(intent: Intent) -> Any:
        return shape(await shop.upload(intent))

    async def main() -> None:
        async with shop.poller() as poller:
            assert (await poller.submit(upload)).id == "J1"
            assert (await poller.submit(lambda intent: upload(intent))).id == "J2"

    run(main)


def test_a_number_is_an_id_too(run: Any) -> None:
    """As text."""
    shop = Shop()

    async def upload(intent: Intent) -> Any:
        return {"job": 17}

    async def main() -> None:
        async with shop.poller(source={"job_id": "job"}) as poller:
            assert (await poller.submit(upload)).id == "17"

    run(main)


def test_the_token_may_be_the_id(run: Any) -> None:
    """Where the API lets us say what it is."""
    shop, store = Shop(), MemoryStore()

    async def put(intent: Intent) -> str:
        shop.add(intent.token, at=now() + 10.0)
        return intent.token

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            job = await poller.submit(put)
            assert isinstance(await job.result(), JobSucceeded)
        assert await rows(store) == [(job.id, "succeeded")]
        assert (await store.find(job.key)).rid == job.rid

    run(main)


def test_times_count_from_the_reply(run: Any) -> None:
    """A long upload takes nothing from the deadline, nor from the grace of what is not visible yet."""
    shop = Shop(takes=NEVER, visible_after=30.0)

    async def upload(intent: Intent) -> Any:
        await anyio.sleep(3600.0)
        return await shop.upload(intent)

    async def main() -> None:
        async with shop.poller(grace=60.0) as poller:
            job = await poller.submit(upload, deadline=100.0)
            assert (await job.row()).submitted_at == EPOCH + 3600.0
            event = await job.result()
            assert (type(event).__name__, event.reason) == ("JobExpired", "deadline")
            assert (since_epoch(event), event.elapsed) == (3700.0, 100.0)

    run(main)


def test_how_long_it_takes_is_learned(run: Any) -> None:
    """From the reply on, also by the first look."""
    shop = Shop(takes=0.0)

    async def main() -> None:
        async with shop.poller() as poller:
            await (await poller.submit(shop.upload)).result()
            assert poller._engine.loops[0].watch.looks.learned > 0.9

    run(main)


def test_many_at_once_are_called_once_each(run: Any) -> None:
    """Each with a token of its own."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store) as poller:

            async def one() -> None:
                job = await poller.submit(shop.upload)
                assert shop.made[job.id] == shop.called[int(job.id[1:]) - 1]
                await job.result()

            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(one)
        assert len(shop.made) == len(set(shop.called)) == 50
        assert {state for _, state in await rows(store)} == {"succeeded"}

    run(main)


# -- it was surely not done -------------------------------------------------------------------


def guarded(*bodies: Any, **options: Any) -> Any:
    """An upload through a guard: what the provider says, one after the other, the last for ever."""
    guard = paper_guard(account="uploads").options(**{"max_wait": 0.0, **options})
    left = list(bodies)

    async def call() -> Any:
        body = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(body, BaseException):
            raise body
        if body == "hang":
            await anyio.sleep(1000.0)
        return body

    async def upload(intent: Intent) -> Any:
        return await guard.call(call)

    return upload


REFUSALS = [
    pytest.param([BAD], {}, FatalError, "bad: wrong", id="fatal"),
    pytest.param([BUSY], {}, QuotaError, "busy: slow down", id="window"),
    pytest.param([BUSY], {"max_wait": 5.0}, QuotaError, "busy: slow down", id="window-often"),
    pytest.param([LOCKED], {}, QuotaError, "locked: ten minutes", id="cooldown"),
    pytest.param([EMPTY], {}, QuotaError, "empty: no points", id="exhausted"),
    pytest.param([REFUSED], {}, FatalError, "refused: who are you?", id="refused"),
    pytest.param([DOWN], {"max_wait": None}, RetriesExhausted, "down: not now", id="not-executed"),
    pytest.param([DOWN, BUSY, BAD], {"max_wait": None}, FatalError, "bad: wrong", id="several"),
]


@pytest.mark.parametrize(("bodies", "options", "error", "cause"), REFUSALS)
def test_a_refusal_fails_the_job_and_is_raised(
    bodies: Any, options: Any, error: Any, cause: str, run: Any
) -> None:
    """Nothing was done, so nothing is searched for; the caller gets the guard's own error."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            with pytest.raises(error):
                await poller.submit(guarded(*bodies, **options))
            await anyio.sleep(200.0)
        (*_, last) = await stored(store)
        assert isinstance(last, JobFailed)
        assert last.cause == cause
        assert [state for _, state in await rows(store)] == ["failed"]
        assert shop.searched == []

    run(main)


def test_an_open_breaker_sent_nothing(run: Any) -> None:
    """Nor did it, when it is the reason."""
    shop, store = Shop(), MemoryStore()
    upload = guarded(TimeoutError(), max_attempts=1, idempotent=True)

    async def main() -> None:
        async with shop.poller(store=store, grace=1.0) as poller:
            with pytest.raises(CircuitOpen):
                for _ in range(100):
                    await poller.submit(upload)
            await anyio.sleep(10.0)
        states = [state for _, state in await rows(store)]
        assert states == ["uncertain"] * (len(states) - 1) + ["failed"]
        assert len(states) > 2

    run(main)


@pytest.mark.parametrize(
    ("body", "error"), [(BAD, FatalError), (EMPTY, QuotaError), (DOWN, RetriesExhausted)]
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_code_in_an_answer_is_a_refusal(body: Any, error: Any, wrapped: bool, run: Any) -> None:
    """Also if no guard saw it: the source's policy knows the codes."""
    shop, store = Shop(), MemoryStore()

    async def upload(intent: Intent) -> Any:
        return httpx.Response(200, json=body) if wrapped else body

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            with pytest.raises(error) as caught:
                await poller.submit(upload)
            assert caught.value.code == body["code"]
        assert [state for _, state in await rows(store)] == ["failed"]

    run(main)


# -- it may have been done --------------------------------------------------------------------

LOSSES = [
    pytest.param([TimeoutError()], {"max_attempts": 1}, id="timeout"),
    pytest.param([{"code": "nobody", "msg": ""}], {}, id="a-code-that-nobody-knows"),
    pytest.param([TimeoutError()], {"idempotent": True, "max_wait": None}, id="exhausted"),
    pytest.param(["hang"], {"deadline": 5.0}, id="deadline"),
    pytest.param(["hang"], {"attempt_timeout": 5.0}, id="attempt-timeout"),
    pytest.param([TimeoutError(), BAD], {"idempotent": True, "max_wait": None}, id="then-refused"),
    pytest.param([TimeoutError(), BUSY], {"idempotent": True, "max_wait": 3.0}, id="then-busy"),
    pytest.param([DOWN, "hang"], {"deadline": 5.0, "max_wait": None}, id="down-then-hanging"),
]


@pytest.mark.parametrize(("bodies", "options"), LOSSES)
def test_what_a_guard_can_not_rule_out_is_searched_for(bodies: Any, options: Any, run: Any) -> None:
    """One attempt that may have been executed is enough, whatever came after it."""
    shop, store = Shop(), MemoryStore()
    call = guarded(*bodies, **options)

    async def upload(intent: Intent) -> Any:
        await shop.upload(intent)
        return await call(intent)

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            job = await poller.submit(upload)
            assert job.id == shop.called[0]
            assert isinstance(await job.result(), JobSucceeded)
            assert (job.id, len(shop.called)) == ("J1", 1)

    run(main)


@pytest.mark.parametrize(
    "error",
    [LOST, ConnectionResetError("x"), KeyError("videoNo"), ResilienceError("?"), Exception("sdk")],
)
def test_an_exception_that_no_guard_saw_proves_nothing(error: Exception, run: Any) -> None:
    """Whatever it is; the caller gets a handle, since an error would be answered by a second call."""
    shop, store = Shop(), MemoryStore()

    async def upload(intent: Intent) -> Any:
        await shop.upload(intent)
        raise error

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            job = await poller.submit(upload)
            assert (await job.result()).job_id == job.id == "J1"
        assert kinds(await stored(store))[:2] == ["JobSubmitting", "JobWatching"]

    run(main)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"code": "0", "msg": "", "data": {}}, "a mapping with code, data, msg"),
        (None, "None"),
        ("", "''"),
        ([1], "a list"),
        (17, "17"),
        (httpx.Response(200, json={"x": 1}), "a mapping with x"),
    ],
)
def test_an_answer_without_an_id_is_a_type_error(answer: Any, said: str, run: Any) -> None:
    """It names what was got; and what was done is found all the same."""
    shop, store = Shop(), MemoryStore()

    async def upload(intent: Intent) -> Any:
        await shop.upload(intent)
        return answer

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            with pytest.raises(TypeError, match=f"^the upload returned {said}: expected"):
                await poller.submit(upload)
            await anyio.sleep(30.0)
        assert await rows(store) == [("J1", "succeeded")]

    run(main)


def test_what_is_no_upload_is_refused(run: Any) -> None:
    """Before anything is stored."""
    shop, store = Shop(), MemoryStore()

    def plain(intent: Intent) -> str:
        return "J1"

    class Sync:
        def upload(self, intent: Intent) -> str:
            return "J1"

        __call__ = upload

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            for wrong, said in [
                (plain, "plain is a sync function"),
                (partial(partial(plain)), "plain is a sync function"),
                (Sync().upload, r"Sync\.upload is a sync function"),
                (Sync(), r"Sync\.upload is a sync function"),
                (lambda: "J1", "can't be called with one Intent: too many positional arguments"),
                (partial(shop.upload, 1), r"Shop\.upload can't be called with one Intent"),
                (None, "expected an async function"),
                ("x", "expected an async function"),
            ]:
                with pytest.raises(TypeError, match=said):
                    await poller.submit(wrong)
            for settings in [
                {"name": ""}, {"data": object()}, {"kind": "other"}, {"expect": 3},
                {"features": {"x": 1}},
            ]:  # fmt: skip
                with pytest.raises(ValueError):
                    await poller.submit(shop.upload, **settings)
            assert (await rows(store), shop.called) == ([], [])

    run(main)


def in_a_thread(function: Any) -> Any:
    """What is async about it is only the wrapper."""

    def blocking(intent: Intent) -> Any:
        return function(intent)

    @wraps(blocking)
    async def wrapper(intent: Intent) -> Any:
        return await blocking(intent)

    return wrapper


def passed_on(function: Any) -> Any:
    """What is async about it is only what it wraps."""

    async def inner(intent: Intent) -> Any:
        return await function(intent)

    @wraps(inner)
    def wrapper(intent: Intent) -> Any:
        return inner(intent)

    return wrapper


async def by_way_of(function: Any, intent: Intent) -> Any:
    return await function(intent)


@pytest.mark.parametrize(
    "of",
    [
        partial, lambda one: wraps(one)(lambda it: one(it)), lambda _: lambda _it: "J1",
        lambda _: AsyncMock(return_value="J1"), in_a_thread, passed_on,
    ],
)  # fmt: skip
def test_whatever_is_called_with_one_intent_may_be_an_upload(run: Any, of: Any) -> None:
    """A partial, something decorated; a lambda, of which nobody knows before what it returns."""
    shop = Shop()

    async def main() -> None:
        async with shop.poller() as poller:
            assert (await poller.submit(of(partial(by_way_of, shop.upload)))).id == "J1"

    run(main)


def test_an_upload_need_not_be_written_in_python(run: Any) -> None:
    """What such a function takes can't be asked."""
    shop = Shop()

    async def main() -> None:
        async with shop.poller() as poller:
            job = await poller.submit(attrgetter("token"))
            assert (await job.row()).state is State.WATCHING

    run(main)


# -- it is interrupted ------------------------------------------------------------------------


def test_a_cancelled_call_is_searched_for(run: Any) -> None:
    """The cancellation goes to the caller at once; the job is found in the background."""
    shop, store = Shop(), MemoryStore()

    async def upload(intent: Intent) -> Any:
        await shop.upload(intent)
        await anyio.sleep(1000.0)

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            with anyio.move_on_after(3.0) as scope:
                await poller.submit(upload)
            assert (scope.cancelled_caught, now()) == (True, 3.0)
            await anyio.sleep(1.0)
            job = await poller.job("J1")
            assert job is not None
            assert isinstance(await job.result(), JobSucceeded)
        assert len(shop.called) == 1

    run(main)


@pytest.mark.parametrize("at", [0.2, 0.7, 1.2, 1.7])
@pytest.mark.parametrize("how", ["scope", "task"])
def test_cancelled_in_the_middle_of_a_commit(how: str, at: float) -> None:
    """Also in asyncio's own way: what is stored is what we hold, and the poller goes on."""
    shop, store = Shop(), SlowStore(0.5)

    async def main() -> None:
        async with shop.poller(store=store, grace=5.0) as poller:
            if how == "scope":
                with anyio.move_on_after(at):
                    await poller.submit(shop.upload)
            else:
                task = asyncio.create_task(poller.submit(shop.upload))
                await asyncio.sleep(at)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await anyio.sleep(60.0)
            made = [("J1", "succeeded")] if shop.made else [(shop_token(store), "uncertain")]
            assert await rows(store) == made
            assert (await (await poller.submit(shop.upload)).result()).job_id[0] == "J"

    run_virtual(main)


def shop_token(store: MemoryStore) -> str:
    return next(iter(store._jobs.values())).key.remote_id


def test_nobody_searches_while_the_call_is_under_way(run: Any) -> None:
    """However long it takes."""
    shop = Shop()

    async def upload(intent: Intent) -> Any:
        await anyio.sleep(500.0)
        return await shop.upload(intent)

    async def main() -> None:
        async with shop.poller() as poller:
            assert (await poller.submit(upload)).id == "J1"
        assert shop.searched == []

    run(main)


def test_a_poller_that_stops_during_the_call(run: Any) -> None:
    """The caller is told, with the id; the next run finds the job."""
    shop, store = Shop(takes=20.0), SlowStore()

    async def upload(intent: Intent) -> Any:
        await anyio.sleep(5.0)
        return await shop.upload(intent)

    async def main() -> None:
        stopped: list[Any] = []
        async with anyio.create_task_group() as tasks:
            async with shop.poller(store=store) as poller:

                async def submit() -> None:
                    stopped.append(await stop_of(poller.submit(upload)))

                tasks.start_soon(submit)
                await anyio.sleep(1.0)
        assert "J1" in str(stopped[0])
        assert [state for _, state in await rows_of(store)] == ["submitting"]
        async with shop.poller(store=store) as poller:
            (row,) = await poller.jobs()
            job = await poller.job(row.key.remote_id)
            assert job is not None
            assert isinstance(await job.result(), JobSucceeded)
        assert (await rows_of(store), len(shop.called)) == ([("J1", "succeeded")], 1)

    run(main)


async def rows_of(store: SlowStore) -> list[tuple[str, str]]:
    await store.open()
    return await rows(store)


def test_a_stopped_poller_takes_no_submit(run: Any) -> None:
    """And calls nothing."""
    shop = Shop()

    async def main() -> None:
        poller = shop.poller()
        async with poller:
            pass
        await stop_of(poller.submit(shop.upload))
        await stop_of(poller.settle(1, remote_id="J1"))
        assert shop.called == []

    run(main)


def test_an_intent_that_is_not_stored_is_not_submitted(run: Any) -> None:
    """First the row, then the call."""
    shop = Shop()

    class Full(MemoryStore):
        async def register(self, *args: Any, **settings: Any) -> Any:
            raise StoreError("the disk is full")

    async def main() -> None:
        async with shop.poller(store=Full()) as poller:
            with pytest.raises(StoreError, match="full"):
                await poller.submit(shop.upload)
        assert shop.called == []

    run(main)


def test_an_id_that_is_not_stored_is_found_later(run: Any) -> None:
    """The caller is told of the store; a later run needs no second call."""
    shop, store = Shop(), SlowStore()

    async def main() -> None:
        poller = shop.poller(store=store)
        with pytest.raises(PollerStopped):
            async with poller:
                store.fail_commit = StoreError("the disk is full")
                with pytest.raises(StoreError, match="full"):
                    await poller.submit(shop.upload)
                await anyio.sleep(10.0)
        store.fail_commit = None
        async with shop.poller(store=store) as poller:
            await anyio.sleep(1.0)
            job = await poller.job("J1")
            assert job is not None
            await job.result()
        assert len(shop.called) == 1

    run(main)


def test_a_later_watch_of_the_id_is_the_same_job(run: Any) -> None:
    """One row for one remote job."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            job = await poller.submit(shop.upload)
            assert (await poller.watch("J1")).rid == job.rid
            assert await poller.job(shop.called[0]) is None
        assert len(await store.jobs()) == 1
        assert [type(one) for one in await stored(store)].count(JobWatching) == 1

    run(main)
