"""Traps that a guard once fell into, or its peers do: each is a way to do damage quietly."""

import asyncio
import io
import time

import aiohttp
import anyio
import httpx
import pytest
from aiohttp import web

from resilience import (
    FatalError,
    Guard,
    Policy,
    PolicyError,
    QuotaError,
    RetriesExhausted,
    fatal,
    quota,
    report,
)
from resilience.testing import FixedChance, Script, VirtualLoop, run_virtual, wall

LOCKED = {"code": 40112, "message": "try again in 0s", "data": None}
FINE = {"code": 0, "message": "ok", "data": {}}


def memos(**settings):
    return Guard("memos_cloud", chance=FixedChance(1.0), wall=wall, **settings)


def test_a_hint_of_zero_is_no_answer_to_a_lock():
    """``Retry-After: 0`` on a cool-down waits as documented instead of hammering."""

    async def main():
        script = Script([LOCKED, FINE])
        await memos().options(max_wait=None).call(script)
        return script.asked_at

    assert run_virtual(main) == [0.0, 600.0]


def test_a_policy_without_any_wait_does_not_spin():
    """Even a window that waits 0 s is not knocked at twice at the same instant."""
    policy = Policy.load("memos_cloud").with_codes(
        {"1": quota(wait={"backoff": "constant", "interval": 0})}
    )

    async def main():
        script = Script([{"code": 1, "message": ""}])
        with pytest.raises(QuotaError):
            await Guard(policy, chance=FixedChance(0.0)).options(max_wait=1.0).call(script)
        return script.calls

    assert 2 <= run_virtual(main) <= 21


def test_calls_slower_than_a_lease_reopen_a_window():
    """Forty calls of six seconds are served in a few rounds after one rejection."""
    asked = []

    async def slow():
        asked.append(anyio.current_time())
        first = len(asked) == 1
        await anyio.sleep(0 if first else 6)
        return {"code": 40309, "message": ""} if first else FINE

    async def main():
        guard = memos()
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(guard.call, slow)
        return anyio.current_time()

    assert run_virtual(main) < 20


@pytest.mark.parametrize(
    "content", [lambda: io.BytesIO(b"video"), lambda: iter([b"video"]), lambda: map(bytes, [b"v"])]
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_is_used_up_is_not_sent_again(content, wrapped):
    """A file or an iterator was read by the first attempt; a second would upload nothing."""

    async def upload(files):
        list(files["file"] if wrapped else files)
        sent.append(1)
        return {"code": 40309, "message": ""}

    sent = []

    async def main():
        argument = {"file": content()} if wrapped else content()
        with pytest.raises(QuotaError) as caught:
            await memos().call(upload, argument)
        assert caught.value.reason == "not_repeatable"

    run_virtual(main)
    assert sent == [1]


async def test_a_timeout_covers_the_reading_of_the_answer():
    """Headers came, the body stalls: the attempt ends in time."""
    gone = asyncio.Event()

    async def stall(request):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await gone.wait()
        return response

    app = web.Application()
    app.router.add_get("/", stall)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:

        async def get():
            return await session.get(f"http://{host}:{port}/")

        guard = Guard("http").options(attempt_timeout=0.1, max_attempts=1)
        started = time.monotonic()
        with pytest.raises(RetriesExhausted):
            await guard.call(get)
        assert time.monotonic() - started < 5
        gone.set()
    await runner.cleanup()


def test_a_loop_that_was_closed_under_its_callers_is_forgotten():
    """A notebook's or a test's closed loop does not make the guard unusable for ever."""
    guard = Guard("memos_cloud", chance=FixedChance(1.0))
    loop = VirtualLoop()
    closed = Script([{"code": 40309, "message": ""}])

    async def leave_one_behind():
        task = asyncio.ensure_future(guard.call(closed))
        await asyncio.sleep(0.5)
        return task

    task = loop.run_until_complete(leave_one_behind())
    loop.close()
    task._log_destroy_pending = False

    async def main():
        return await guard.call(Script([FINE]))

    assert run_virtual(main) == FINE
    del task


def test_an_outage_does_not_let_everybody_probe_an_empty_account():
    """A probe that ends in a server error is one probe; the next comes ``probe_every`` later."""
    policy = Policy.load("memos_cloud").with_codes({"1": quota("exhausted", probe_every=10)})
    down = {"code": 50000, "message": ""}

    async def main():
        guard = Guard(policy, chance=FixedChance(1.0)).options(max_attempts=1, endpoint="x")
        script = Script([{"code": 1, "message": ""}, down, down])
        for _ in range(20):
            with pytest.raises((QuotaError, RetriesExhausted)):
                await guard.call(script)
        await anyio.sleep(10)
        for _ in range(20):
            with pytest.raises((QuotaError, RetriesExhausted)):
                await guard.call(script)
        return script.calls

    assert run_virtual(main) == 2


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ({"code": "0429"}, "quota"),
        ({"code": "0429", "message": "m"}, "quota"),
        ({"code": "0000"}, "success"),
    ],
)
def test_a_code_alone_is_enough(body, verdict):
    """Without the message beside it, a code still means what it means."""
    assert Policy.load("memories_ai").classify(body, status=200).verdict == verdict


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": None},
        {"Retry-After": -1},
        {"Retry-After": b"5"},
        {"Date": 5},
        {1: "x"},
        [("a", "b")],
        7,
    ],
)
def test_headers_of_any_make_never_raise(headers):
    """What some SDK calls headers is read as far as it makes sense."""
    assert Policy.load("http").classify(None, status=503, headers=headers).verdict == "retryable"


@pytest.mark.parametrize(
    ("hosts", "error"),
    [("127.0.0.1:80", TypeError), (["http://127.0.0.1"], ValueError), ([], ValueError)],
)
def test_hosts_that_would_guard_nothing_are_refused(hosts, error):
    """A middleware that silently lets everything pass is worse than none."""
    with pytest.raises(error, match="hosts"):
        Guard("memories_ai").aiohttp(hosts=hosts)


def test_a_child_policy_may_change_the_generator():
    """``wait`` is one thing: another generator does not inherit the arguments of the first."""
    policy = Policy.from_dict(
        {"name": "mine", "extends": "memories_ai",
         "codes": {"0429": {"wait": {"backoff": "constant", "interval": 3}}}}
    )  # fmt: skip
    assert policy.codes["0429"].wait.schedule[0] == 3


def test_a_users_own_object_is_left_alone():
    """Nothing is written into what the guard only hands through."""

    class Model:
        code, message = 0, "ok"

    model = Model()

    async def main():
        await memos().call(Script([lambda: model]))
        with pytest.raises(FatalError):
            await memos().call(Script([{"code": 40000, "message": ""}]))

    run_virtual(main)
    assert vars(model) == {}
    assert report(model) is None


async def _served(handler):
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}/"


async def test_the_clients_own_timeout_of_a_request_is_the_end():
    """aiohttp's ``timeout=`` covers all attempts; once it is over nothing more is tried."""
    asked = []

    async def slow(_request):
        asked.append(1)
        await asyncio.sleep(0.5)
        return web.json_response({"code": "0000", "msg": "ok"})

    runner, url = await _served(slow)
    guard = Guard("memories_ai")
    async with aiohttp.ClientSession(middlewares=[guard.aiohttp(hosts=["127.0.0.1"])]) as session:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await session.get(url, timeout=aiohttp.ClientTimeout(total=0.1))
        assert time.monotonic() - started < 0.45
    assert asked == [1]
    await runner.cleanup()


async def test_a_host_that_is_not_guarded_is_told_once(caplog):
    """A list of hosts that misses the server would else go unnoticed."""

    async def fine(_request):
        return web.json_response({"code": "0429", "msg": "busy"})

    caplog.set_level("INFO")
    runner, url = await _served(fine)
    async with aiohttp.ClientSession(middlewares=[Guard("memories_ai").aiohttp()]) as session:
        for _ in range(3):
            response = await session.get(url)
            assert report(response) is None
    assert [
        (r.levelname, r.getMessage()) for r in caplog.records if "guarded" in r.getMessage()
    ] == [("WARNING", "requests to '127.0.0.1' pass unguarded: it is not in hosts")]
    await runner.cleanup()


@pytest.mark.parametrize(
    ("hosts", "asked", "level"),
    [
        pytest.param(["api.memories.ai"], "api.memorie.ai", "WARNING", id="a typo"),
        pytest.param(["api.memories.ai:8443"], "staging.memories.ai", "WARNING", id="a neighbour"),
        pytest.param(["api.memories.ai"], "localhost", "WARNING", id="a test server"),
        pytest.param(["api.memories.ai"], "[::1]", "WARNING", id="a test server's number"),
        pytest.param(["api.memories.ai"], "api.example.ai", "INFO", id="somewhat like it"),
        pytest.param(["api.memories.ai"], "s3.amazonaws.com", "INFO", id="another service"),
        pytest.param(["localhost:8080"], "localhost", "INFO", id="another port"),
        pytest.param(["localhost:8080"], "127.0.0.1", "WARNING", id="the same server"),
    ],
)
async def test_a_host_that_was_probably_meant_is_a_warning(caplog, hosts, asked, level):
    """Requests to other services are nobody's mistake; nearly the name of a listed one is."""
    caplog.set_level("INFO")
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json={}))
    async with httpx.AsyncClient(
        transport=Guard("memories_ai").httpx(answer, hosts=hosts)
    ) as client:
        for _ in range(2):
            await client.get(f"https://{asked}/x")
    assert [r.levelname for r in caplog.records if "unguarded" in r.getMessage()] == [level]


@pytest.mark.parametrize("way", ["options", "using"])
def test_a_misspelt_setting_is_named(way):
    """With the near miss, before anything is called."""
    guard = memos()
    with pytest.raises(TypeError, match="'dealine' .did you mean 'deadline'"):
        if way == "options":
            guard.options(dealine=1)
        else:
            with guard.using(dealine=1):
                pass


def test_a_behaviour_without_its_brackets_is_explained():
    """``with_codes({"1": fatal})`` is a slip that says how to mend it."""
    with pytest.raises(PolicyError, match=r"write fatal\(\)"):
        Policy.load("http").with_codes({"1": fatal})


def test_a_misspelt_extends_is_named_before_all_else():
    """``extend`` is not a missing name."""
    with pytest.raises(PolicyError, match="did you mean 'extends'"):
        Policy.from_dict({"extend": "memories_ai"})


def test_hours_without_quota_measure_no_limit():
    """After an empty account comes a busy second: the limit is learned from it, not from the hours."""
    used_up, busy = ({**FINE, "code": code} for code in (40300, 40309))

    async def main():
        script = Script([FINE, used_up, used_up, busy, FINE])
        guard = memos().options(max_wait=None)
        await guard.call(script)  # one was accepted: that is not one in an hour
        with pytest.raises(QuotaError, match="40300"):
            await guard.call(script)  # a second rejection after a minute, which counts as used up
        await anyio.sleep(3600.0)
        since = anyio.current_time()
        await asyncio.gather(*(guard.call(script) for _ in range(20)))
        return script.asked_at[:3], anyio.current_time() - since

    asked_at, took = run_virtual(main)
    assert asked_at == [0.0, 0.0, 60.0]
    assert 8.0 < took < 10.0  # the rule's third wait, then ten a second and soon more
