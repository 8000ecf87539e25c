"""Failed requests, poisoned batches, refusals: what is never a job's fault."""

from typing import Any

import aiohttp
import anyio
import pytest
from pollers_kit import (
    BAD,
    BUSY,
    DOWN,
    EMPTY,
    LOCKED,
    NEVER,
    REFUSED,
    Provider,
    kinds,
    make_poller,
    now,
    paper_guard,
    results,
    since_epoch,
    stop_of,
    stored,
    take,
    wall,
    world,
)

from pollers import (
    JobCancelled,
    JobSucceeded,
    PollerResumed,
    PollerStalled,
    State,
)
from pollers.emulator import Fault
from pollers.sources import MemoriesVideos
from pollers.store import MemoryStore
from resilience import FatalError, Guard, QuotaError
from resilience.testing import FixedChance, run_virtual


@pytest.mark.parametrize(
    "wrong",
    [DOWN, BUSY, TimeoutError(), ConnectionResetError("x"), ConnectionRefusedError("x")],
    ids=["down", "busy", "timeout", "reset", "refused"],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_failed_requests_never_fail_a_job(run: Any, wrong: Any, batch: int) -> None:
    """A minute of trouble: nobody fails, nothing spins, and all goes on by itself."""
    provider = Provider()

    async def main() -> None:
        names = [provider.add(name, at=10.0) for name in "abc"]
        provider.always = lambda _: wrong if 5.0 < anyio.current_time() < 65.0 else None
        async with make_poller(provider.source(batch=batch), max_interval=30.0) as poller:
            ended = await results(await poller.watch_many(names))
            assert {type(event) for event in ended} == {JobSucceeded}

    run(main)
    troubled = [at for at in provider.asked_at if 5.0 < at < 65.0]
    assert 5 <= len(troubled) <= 40
    gaps = [b - a for a, b in zip(troubled, troubled[1:], strict=False)]
    assert min(gaps) >= 0.499  # the smallest draw of the first pause


def test_pauses_after_failures_double(run: Any) -> None:
    """0.5, 1, 2, 4, 8, 15 s with the smallest draws, and from the start after a success."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        provider.trouble = [DOWN] * 7 + [None] + [DOWN] * 2
        async with make_poller(provider.source(), max_interval=30.0) as poller:
            await poller.watch("a")
            with anyio.move_on_after(55.0):
                await anyio.sleep_forever()

    run(main)
    at = provider.asked_at
    gaps = [round(b - a, 3) for a, b in zip(at, at[1:], strict=False)]
    assert gaps[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert gaps[7] > 6.0  # the interval of a job of that age
    assert gaps[8] == 0.5


def test_a_servers_hint_is_a_floor(run: Any) -> None:
    """Nobody asks before the time that the server named, not even with other jobs coming in."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=0.0)
        provider.trouble = [{"code": "busy", "msg": "slow", "retry_after": 25}]
        async with make_poller(provider.source()) as poller:
            job = await poller.watch("a")
            await anyio.sleep(1.0)
            provider.add("b", at=0.0)
            await results([job, await poller.watch("b")])

    run(main)
    assert provider.asked_at[0] == 0.05
    assert 25.05 <= provider.asked_at[1] <= 26.05


def test_a_cooldown_is_waited_for(run: Any) -> None:
    """Ten minutes without a request, and the jobs are kept."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=10.0)
        provider.trouble = [None, None, LOCKED]
        async with make_poller(provider.source()) as poller:
            assert isinstance(await (await poller.watch("a")).result(), JobSucceeded)

    run(main)
    assert provider.asked_at == [0.05, 1.05, 2.05, 602.05]


def test_failing_looks_keep_the_spacing(run: Any) -> None:
    """The source's own least distance holds for failures too."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        provider.always = lambda _: DOWN
        settings = {"min_interval": 0.1, "max_interval": 0.1}
        async with make_poller(provider.source(spacing=2.0), **settings) as poller:
            await poller.watch("a")
            await anyio.sleep(20.0)

    run(main)
    assert provider.asked_at == [round(0.05 + 2.0 * i, 3) for i in range(10)]


def test_looks_that_a_quota_rejects_keep_the_spacing(run: Any) -> None:
    """The same look goes once more when the window of 2 s is over, but not before 3 s are."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        provider.trouble = [BUSY, BUSY]
        async with make_poller(provider.source(spacing=3.0)) as poller:
            await poller.watch("a")
            await anyio.sleep(10.0)

    run(main)
    assert provider.asked_at == [0.05, 3.05, 6.05, 9.05]


FAULTS = [
    pytest.param(Fault(code="0429", times=4), id="0429"),
    pytest.param(Fault(code="0429", times=4, headers={"Retry-After": "3"}), id="0429-with-hint"),
    pytest.param(Fault(status=503, times=4), id="503"),
    pytest.param(Fault(status=502, body="html", times=4), id="502-html"),
    pytest.param(Fault(body="html", times=4), id="html"),
    pytest.param(Fault(body="truncated", times=4), id="truncated"),
    pytest.param(Fault(body="empty", times=4), id="empty"),
    pytest.param(Fault(abort="before", times=4), id="abort-before"),
    pytest.param(Fault(abort="middle", times=4), id="abort-middle"),
    pytest.param(Fault(delay=60.0, times=2), id="timeout"),
    pytest.param(Fault(code="0001", msg="network abnormal", times=4), id="0001-network"),
    pytest.param(Fault(code="0409", msg="Service is busy, try later", times=4), id="0409-busy"),
    pytest.param(Fault(code="500", times=4), id="code-500"),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("middleware", [True, False], ids=["guarded-session", "plain-session"])
def test_faults_of_the_wire_never_fail_a_job(fault: Fault, middleware: bool) -> None:
    """Whatever the emulator does wrong, the video ends as parsed, and nothing spins."""

    async def main() -> None:
        async with world(middleware=middleware) as here:
            here.emulator.add_video("VI1", parse_after=0.5)
            here.emulator.add_video("VI2", outcome="PARSE_ERROR", cause="no stream")
            here.emulator.fail("list", fault)
            source = here.source(guard=None if middleware else here.guard)
            async with make_poller(source, max_interval=30.0, chance=FixedChance(0.999)) as poller:
                ended = await results(await poller.watch_many(["VI1", "VI2"]))
                assert kinds(ended) == ["JobSucceeded", "JobFailed"]
            at = here.asked_at()
            assert 2 <= len(at) <= 8
            assert all(b - a >= 0.9 for a, b in zip(at, at[1:], strict=False))

    run_virtual(main)


def test_a_server_that_is_not_there_is_waited_for() -> None:
    """Connection refused for a minute, then it starts."""

    async def main() -> None:
        async with world() as here:
            url = here.emulator.base_url
            port = here.emulator.port
        tries = []

        async def count(request: aiohttp.ClientRequest, handler: Any) -> Any:
            tries.append(now())
            return await handler(request)

        async with aiohttp.ClientSession(middlewares=[count]) as session:
            guard = Guard("memories_ai", wall=wall, chance=FixedChance(1.0))
            source = MemoriesVideos(session, api_key="sk", base_url=url, guard=guard)
            async with make_poller(source, max_interval=30.0) as poller:
                job = await poller.watch("VI1")
                await anyio.sleep(60.0)
                assert (await job.row()).state is State.WATCHING
                async with world(port=port) as here:
                    here.emulator.add_video("VI1")
                    assert isinstance(await job.result(), JobSucceeded)
        assert 5 <= len(tries) <= 12

    run_virtual(main)


# -- a batch that is refused as a whole ---------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 8, 200])
@pytest.mark.parametrize("poisons", [1, 2])
def test_a_poisoned_batch_is_taken_apart(run: Any, count: int, poisons: int) -> None:
    """One bad id makes the API refuse the whole request: all the others still end, and soon."""
    provider = Provider()
    bad = {f"j{count // 2}", "j0"} if poisons == 2 else {f"j{count // 2}"}

    async def main() -> None:
        names = [provider.add(f"j{i}", at=5.0) for i in range(count)]
        provider.always = lambda ids: BAD if bad & set(ids) else None
        async with make_poller(
            provider.source(batch=200, spacing=0.2), max_interval=30.0
        ) as poller:
            handles = await poller.watch_many(names)
            ended = await results([handle for handle in handles if handle.id not in bad])
            assert {type(event) for event in ended} <= {JobSucceeded}
            assert now() <= 15.0
            left = [handle for handle in handles if handle.id in bad]
            assert {(await handle.row()).state for handle in left} == {State.WATCHING}
            for handle in left:
                await handle.unwatch()
                assert isinstance(await handle.result(), JobCancelled)

    run(main)


def test_a_poisoned_id_does_not_spoil_every_batch(run: Any) -> None:
    """Once it is found, it is asked for alone, every `max_interval`; the others go on as one."""
    provider = Provider()

    async def main() -> None:
        names = [provider.add(f"j{i}", at=120.0) for i in range(8)]
        provider.always = lambda ids: BAD if "j3" in ids else None
        async with make_poller(
            provider.source(batch=200, spacing=0.2), max_interval=30.0
        ) as poller:
            handles = await poller.watch_many(names)
            await results([handle for handle in handles if handle.id != "j3"])

    run(main)
    spoilt = [ids for _, ids in provider.asked if "j3" in ids]
    assert [len(ids) for ids in spoilt] == [8, 4, 2, 1] + [1] * (len(spoilt) - 4)
    assert len(spoilt) <= 4 + 5
    assert len(provider.asked) <= 60


def test_a_mended_id_is_one_of_the_others_again(run: Any) -> None:
    """When the API takes it at last, it ends as any other."""
    provider = Provider()

    async def main() -> None:
        names = [provider.add(f"j{i}", at=90.0) for i in range(4)]
        provider.always = lambda ids: BAD if "j3" in ids and anyio.current_time() < 40.0 else None
        async with make_poller(provider.source(batch=200), max_interval=30.0) as poller:
            ended = await results(await poller.watch_many(names))
            assert {type(event) for event in ended} == {JobSucceeded}

    run(main)
    assert max(len(ids) for _, ids in provider.asked[-3:]) == 4


def test_a_poisoned_batch_on_the_wire() -> None:
    """0001 for a batch, as for a bad number: halves, then singles, and the rest is fine."""

    async def main() -> None:
        async with world() as here:
            names = [here.emulator.add_video(parse_after=3.0).video_no for _ in range(10)]
            here.emulator.fail("list", Fault(code="0001", times=3))
            async with make_poller(here.source()) as poller:
                ended = await results(await poller.watch_many(names))
                assert {type(event) for event in ended} == {JobSucceeded}

    run_virtual(main)


def test_a_video_that_a_deployment_does_not_find_yet() -> None:
    """0001 "video not found" for the batch with a new one in it: the others end, it stays pending."""

    async def main() -> None:
        async with world() as here:
            names = [here.emulator.add_video(parse_after=3.0).video_no for _ in range(3)]
            fault = Fault(code="0001", msg="video not found", times=2)
            here.emulator.fail("list", fault)
            async with make_poller(here.source()) as poller:
                ended = await results(await poller.watch_many(names))
                assert {type(event) for event in ended} == {JobSucceeded}

    run_virtual(main)


# -- a gate that was closed by others -----------------------------------------------------------


def test_a_look_that_was_rejected_is_made_again(run: Any) -> None:
    """A window of two seconds: the same look goes through the same guard, and no job is lost."""
    provider = Provider()

    async def main() -> None:
        names = [provider.add(f"j{i}", at=30.0) for i in range(3)]
        provider.trouble = [None, BUSY, None, BUSY, BUSY]
        async with make_poller(provider.source(batch=2), max_interval=5.0) as poller:
            ended = await results(await poller.watch_many(names))
            assert {type(event) for event in ended} == {JobSucceeded}
            assert now() < 45.0

    run(main)


def test_looks_and_calls_share_one_guard(run: Any) -> None:
    """What a user's call learned keeps the looks away, and the other way round."""
    provider = Provider()
    guard = paper_guard()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(guard=guard)) as poller:
            await poller.watch("a")
            await anyio.sleep(2.5)

            async def locked() -> Any:
                return LOCKED

            with pytest.raises(QuotaError):
                await guard.options(max_wait=0.0).call(locked)
            asked = len(provider.asked)
            await anyio.sleep(500.0)
            assert len(provider.asked) == asked
            await anyio.sleep(110.0)
            assert len(provider.asked) > asked
            assert poller.stopped is None

            provider.trouble = [LOCKED]
            await anyio.sleep(3.0)
            called = []

            async def call() -> Any:
                called.append(now())
                return {"code": "0", "msg": "ok"}

            with pytest.raises(QuotaError):
                await guard.options(max_wait=1.0).call(call)
            assert called == []

    run(main)


# -- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "title", "remedy"), [
    (EMPTY, "No points", "Pay."), (REFUSED, "Refused", "Mend the key."),
])  # fmt: skip
def test_a_refusal_stalls_and_goes_on_by_itself(
    run: Any, wrong: Any, title: str, remedy: str
) -> None:
    """One PollerStalled, a probe every 40 s, one PollerResumed, and no job is harmed."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        names = [provider.add(name, at=10.0) for name in "abc"]
        provider.always = lambda _: wrong if 2.0 < anyio.current_time() < 150.0 else None
        async with make_poller(provider.source(batch=5), store=store, min_interval=3.0) as poller:
            handles = await poller.watch_many(names)
            await anyio.sleep(100.0)
            assert {(await handle.row()).state for handle in handles} == {State.WATCHING}
            ended = await results(handles)
            assert {type(event) for event in ended} == {JobSucceeded}
        everything = await stored(store)
        [stalled] = [e for e in everything if isinstance(e, PollerStalled)]
        [resumed] = [e for e in everything if isinstance(e, PollerResumed)]
        assert (stalled.code, stalled.message, stalled.title, stalled.remedy) == (
            wrong["code"], wrong["msg"], title, remedy,
        )  # fmt: skip
        assert stalled.resume_at is not None
        assert (since_epoch(stalled), since_epoch(resumed), resumed.stalled_for) == (
            3.05,
            163.05,
            160.0,
        )
        assert stalled.subject == "default"
        assert stalled.source == "/custom/default"
        assert [len({e.id for e in everything}), stalled.id == resumed.id] == [
            len(everything),
            False,
        ]

    run(main)
    assert provider.asked_at[:7] == [0.05, 3.05, 43.05, 83.05, 123.05, 163.05]


def test_a_second_refusal_is_told_again(run: Any) -> None:
    """Stalled, resumed, stalled, resumed: in order, with different ids."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        provider.trouble = [None, EMPTY, None, None, EMPTY, EMPTY, None]
        async with make_poller(provider.source()) as poller:
            stream = poller.events()
            await poller.watch("a")
            told = await take(stream, 6)
            assert kinds(told) == [
                "JobWatching",
                "JobChanged",
                *["PollerStalled", "PollerResumed"] * 2,
            ]
            assert len({event.id for event in told}) == 6

    run(main)


def test_jobs_that_come_while_stalled_wait(run: Any) -> None:
    """They are stored at once and looked at with the next probe."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=0.0)
        provider.trouble = [EMPTY]
        async with make_poller(provider.source(batch=5)) as poller:
            a = await poller.watch("a")
            await anyio.sleep(5.0)
            provider.add("b", at=0.0)
            b = await poller.watch("b")
            await results([a, b])
            assert now() == 40.05

    run(main)
    assert provider.asked_at == [0.05, 40.05]


@pytest.mark.parametrize(
    ("break_it", "mend", "code"),
    [
        (lambda e: e.set_keys(["other"]), lambda e: e.set_keys(None), "9009"),
        (lambda e: e.set_keys(None, disabled=["sk-test"]), lambda e: e.set_keys(None), "0403"),
        (lambda e: e.top_up(-100.0), lambda e: e.top_up(1000.0), "0402"),
    ],
    ids=["key", "disabled", "points"],
)
def test_a_mended_account_goes_on_by_itself_on_the_wire(
    break_it: Any, mend: Any, code: str
) -> None:
    """A refused key, a disabled account and exhausted points, seen through the emulator."""

    async def main() -> None:
        async with world(points=50.0, pause_when_empty=True) as here:
            here.emulator.add_video("VI1", parse_after=30.0)
            async with make_poller(here.source()) as poller:
                stream = poller.events()
                job = await poller.watch("VI1")
                await anyio.sleep(5.5)
                break_it(here.emulator)
                told = await take(stream, 3)
                assert kinds(told) == ["JobWatching", "JobChanged", "PollerStalled"]
                assert isinstance(told[2], PollerStalled)
                assert told[2].code == code
                assert told[2].remedy
                asked = len(here.emulator.requests)
                await anyio.sleep(110.0)
                assert len(here.emulator.requests) == asked + 1  # a probe a minute
                mend(here.emulator)
                assert isinstance(await job.result(), JobSucceeded)
                assert 120.0 < now() < 130.0

    run_virtual(main)


def test_a_daily_cap_is_a_refusal_too() -> None:
    """0429 for minutes on end escalates: it is told, probed now and then, and nothing is lost."""

    async def main() -> None:
        async with world() as here:
            here.emulator.add_video("VI1")
            here.emulator.fail("list", Fault(code="0429", times=None))
            async with make_poller(here.source(), max_interval=30.0) as poller:
                job = await poller.watch("VI1", deadline=None)
                stream = poller.events(after="")
                told = await take(stream, 2)
                assert kinds(told) == ["JobWatching", "PollerStalled"]
                assert 150.0 <= now() <= 260.0
                here.emulator.clear_faults()
                assert isinstance(await job.result(), JobSucceeded)

    run_virtual(main)


@pytest.mark.parametrize(("wrong", "kind"), [(EMPTY, QuotaError), (REFUSED, FatalError)])
def test_stop_ends_the_poller(run: Any, wrong: Any, kind: type[Exception]) -> None:
    """Every pending result and stream raises PollerStopped from the refusal; the jobs stay."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.add("a", at=NEVER)
        provider.add("b", at=NEVER)
        provider.trouble = [None, None, wrong]
        stops: list[Exception] = []
        async with make_poller(provider.source(batch=2), store=store, on_refused="stop") as poller:
            handles = await poller.watch_many(["a", "b"])

            async def wait(what: Any) -> None:
                stops.append(await stop_of(what))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait, handles[0].result())
                tasks.start_soon(wait, handles[1].result())
                tasks.start_soon(wait, take(poller.events(), 99))
            for late in (
                handles[0].result(),
                poller.watch("c"),
                take(poller.events(), 1),
                handles[0].unwatch(),
            ):
                stops.append(await stop_of(late))
            assert poller.stopped is not None
        assert len(stops) == 7
        assert {type(error.__cause__) for error in stops} == {kind}
        assert now() == 2.05
        assert {job.state for job in await store.jobs()} == {State.WATCHING}

    run(main)


def test_run_raises_the_refusal(run: Any) -> None:
    """`run()` ends with PollerStopped from what the API said."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        provider.trouble = [None, REFUSED]
        poller = make_poller(provider.source(), on_refused="stop")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poller.watch, "a")
            error = await stop_of(poller.run())
        assert isinstance(error.__cause__, FatalError)
        assert "Mend the key." in str(error)

    run(main)


def test_a_bad_request_is_no_refusal(run: Any) -> None:
    """A fatal answer about the request alone stops nothing, even with on_refused="stop"."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=40.0)
        provider.always = lambda _: BAD if anyio.current_time() < 35.0 else None
        settings = {"on_refused": "stop", "max_interval": 30.0}
        async with make_poller(provider.source(), **settings) as poller:
            assert isinstance(await (await poller.watch("a")).result(), JobSucceeded)

    run(main)
    assert provider.asked_at[:3] == [0.05, 30.05, 60.05]
