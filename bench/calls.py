"""``python -m bench calls``: what a guarded call costs when nothing is wrong.

Absolute times depend on the machine and on who else uses it, so everything runs in turns in one
process, the median of the rounds counts, and ratios are what to quote.
"""

import asyncio
import importlib.metadata
import platform
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import backoff
import stamina
import tenacity
from aiohttp import web

from resilience import Guard

ROUNDS = 15
CALLS = 20_000
REQUESTS = 400
BODY = {"code": "0000", "msg": "success", "data": {"videos": []}, "success": True, "failed": False}

SUCCESS = frozenset({"0000", "0", "200", "SUCCESS"})
QUOTA = frozenset({"0429", "429"})
FATAL = frozenset({"0003", "0401", "0402", "0403", "0409", "9009"})

Timed = Callable[[], Awaitable[Any]]


async def provider(page: int) -> dict[str, Any]:  # noqa: ARG001  # as a client would have
    """A call that succeeds at once."""
    return BODY


def verdict(body: Any) -> str:
    """What a careful person's own table says."""
    code = str(body.get("code")) if isinstance(body, dict) else "0000"
    if code in SUCCESS and body.get("success") is not False and body.get("failed") is not True:
        return "success"
    if code in QUOTA:
        return "quota"
    return "fatal" if code in FATAL else "retry"


async def by_hand(func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    """The try/classify loop that a careful person writes, and no more than that."""
    started = time.monotonic()
    for attempt in range(4):
        try:
            body = await func(*args, **kwargs)
        except (aiohttp.ClientError, TimeoutError):
            if attempt == 3:
                raise
        else:
            said = verdict(body)
            if said == "success":
                return body
            if said == "fatal" or attempt == 3:
                raise RuntimeError(body["code"], body.get("msg"), time.monotonic() - started)
        await asyncio.sleep(random.random() * min(32.0, 2.0**attempt))
    raise RuntimeError


async def by_hand_in_time(func: Callable[..., Awaitable[Any]], **kwargs: Any) -> Any:
    """The same, with a deadline."""
    async with asyncio.timeout(30):
        return await by_hand(func, **kwargs)


def contenders() -> dict[str, Timed]:
    """Everybody's way of calling ``provider``; the first is what the others are measured by."""
    guard = Guard("memories_ai")
    watched = guard.options(deadline=30.0)
    decorated = guard(provider)
    with_backoff = backoff.on_predicate(backoff.expo, lambda body: body["code"] not in SUCCESS)(
        provider
    )
    with_tenacity = tenacity.retry(
        stop=tenacity.stop_after_attempt(4),
        wait=tenacity.wait_random_exponential(),
        retry=tenacity.retry_if_result(lambda body: body["code"] not in SUCCESS),
    )(provider)
    with_stamina = stamina.retry(on=aiohttp.ClientError, attempts=4)(provider)
    return {
        "hand-written loop": lambda: by_hand(provider, page=1),
        "guard.call": lambda: guard.call(provider, page=1),
        "@guard": lambda: decorated(page=1),
        "hand-written, in asyncio.timeout": lambda: by_hand_in_time(provider, page=1),
        "guard.call, with a deadline": lambda: watched.call(provider, page=1),
        f"backoff {version('backoff')}": lambda: with_backoff(page=1),
        f"tenacity {version('tenacity')}": lambda: with_tenacity(page=1),
        f"stamina {version('stamina')} (sees no codes)": lambda: with_stamina(page=1),
    }


def version(package: str) -> str:
    """Of backoff, whichever of its two distributions is installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(f"python-{package}")


async def per_call(func: Timed, calls: int) -> float:
    """Seconds for one."""
    start = time.perf_counter()
    for _ in range(calls):
        await func()
    return (time.perf_counter() - start) / calls


async def in_turns(funcs: dict[str, Timed], calls: int) -> dict[str, list[float]]:
    """Rounds of everybody, one after the other, so that a noisy moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in funcs}
    for func in funcs.values():
        await per_call(func, calls // 10)  # warm up
    for _ in range(ROUNDS):
        for name, func in funcs.items():
            slow = "tenacity" in name or "stamina" in name
            times[name].append(await per_call(func, calls // 20 if slow else calls))
    return times


async def over_loopback() -> dict[str, list[float]]:
    """One request to a local server, without and with the middleware."""
    app = web.Application()

    async def list_videos(_: web.Request) -> web.Response:
        return web.json_response(BODY)

    app.router.add_post("/serve/api/v1/list_videos", list_videos)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    url = f"http://{host}:{port}/serve/api/v1/list_videos"
    guard = Guard("memories_ai")

    def request(session: aiohttp.ClientSession) -> Timed:
        async def one() -> Any:
            async with session.post(url, json={"page": 1}) as response:
                return await response.json()

        return one

    async with (
        aiohttp.ClientSession() as plain,
        aiohttp.ClientSession(middlewares=[guard.aiohttp(hosts=[host])]) as guarded,
    ):
        times = await in_turns(
            {"plain session": request(plain), "guarded session": request(guarded)}, REQUESTS
        )
    await runner.cleanup()
    return times


def show(title: str, times: dict[str, list[float]]) -> None:
    """Medians, and ratios to the first, round by round."""
    print(f"\n{title}")
    base = next(iter(times.values()))
    for name, measured in times.items():
        ratios = [one / other for one, other in zip(measured, base, strict=True)]
        print(
            f"  {name:<34} {statistics.median(measured) * 1e6:9.2f} us   "
            f"x {statistics.median(ratios):6.2f}   ({min(ratios):.2f} to {max(ratios):.2f})"
        )


async def measure() -> None:
    """Everything."""
    print(f"Python {platform.python_version()}, {platform.machine()}, median of {ROUNDS} rounds")
    show("success path of one call (no network)", await in_turns(contenders(), CALLS))
    show("one request over loopback", await over_loopback())


def main() -> None:
    """The program."""
    asyncio.run(measure())
