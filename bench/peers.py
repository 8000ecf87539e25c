"""Everybody's way of calling a server that answers with codes: ours, and each peer's.

Each is set up as its own documentation advises, and all get the same generous number of attempts,
because with the usual three to ten most calls of a crowd just fail.  Where a peer can follow the
server's hint, it does; where it has a limiter, a breaker or a budget to share, it has it.
"""

import asyncio
import contextlib
import importlib
import importlib.metadata
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import aiohttp_retry
import backoff
import nopanic
import redress
import stamina
import tenacity
from redress.strategies import decorrelated_jitter, retry_after_or

from resilience import Guard, Policy
from resilience.testing import Limited, wall

Call = Callable[[], Awaitable[Any]]

FORK = Path(sys.prefix) / "python-backoff"
"""Where ``make bench`` puts the maintained fork of backoff, which has the same import name."""

BUSY_TEXT = "(?i)network|timeout|timed out|busy"
HINTED: dict[str, Any] = {
    "name": "hinted",
    "extends": "memories_ai",
    "envelope": [
        {
            "required": ["/code", "/msg", "/retry_after"],
            "code": "/code",
            "message": "/msg",
            "retry_after": "/retry_after",
            "success": ["0000"],
        },
        {"required": ["/code", "/msg"], "code": "/code", "message": "/msg", "success": ["0000"]},
    ],
}
PATIENT: dict[str, Any] = {  # the catalog's own rule, but it gives up after three attempts
    "name": "patient",
    "extends": "memories_ai",
    "codes": {
        "0001": {
            "verdict": "fatal",
            "when": [
                {
                    "message": BUSY_TEXT,
                    "verdict": "retryable",
                    "certainty": "maybe_executed",
                    "wait": {"backoff": "expo", "factor": 0.4, "max_value": 2.0},
                }
            ],
        }
    },
}


class Busy(Exception):  # noqa: N818  # what it is
    """What a wrapper raises for libraries that see exceptions only."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body["code"])
        self.retry_after: float | None = body.get("retry_after")
        self.status = 429 if body["code"] == "0429" else 500


@dataclass(frozen=True, slots=True)
class Setting:
    """What a contender is set up for.

    Attributes:
        hint: the server says how long to wait.
        outage: the failure is an outage, not a quota.
        seed: for those who take their own chance.
    """

    hint: bool = False
    outage: bool = False
    seed: int = 1

    @property
    def attempts(self) -> int:
        """Attempts in all."""
        return 1000 if self.outage else 100


Make = Callable[[Limited, Setting], Call]


def raising(server: Limited) -> Call:
    """A client that raises for a code which is not success."""

    async def ask() -> Any:
        body = await server()
        if body["code"] != "0000":
            raise Busy(body)
        return body

    return ask


def checked(func: Call) -> Call:
    """For libraries that return the last result when they give up."""

    async def ask() -> Any:
        body = await func()
        if body["code"] != "0000":
            raise Busy(body)
        return body

    return ask


def hint_of(error: BaseException) -> float:
    """Seconds that the server asked for."""
    return getattr(error, "retry_after", None) or 0.0


def ours(server: Limited, setting: Setting) -> Call:
    """A guard; in the outage its rule may try as often as everybody else."""
    policy = Policy.from_dict(PATIENT) if setting.outage else Policy.load("memories_ai")
    return guarded(server, setting, Policy.from_dict(HINTED) if setting.hint else policy)


def ours_as_shipped(server: Limited, setting: Setting) -> Call:
    """A guard with the catalog's own rule, which gives up after three attempts."""
    return guarded(server, setting, Policy.load("memories_ai"))


def guarded(server: Limited, setting: Setting, policy: Policy) -> Call:
    """A guard of its own."""
    guard = Guard(policy, wall=wall, chance=random.Random(setting.seed).random)
    guard = guard.options(max_wait=None)
    if setting.outage:
        guard = guard.options(idempotent=True, max_attempts=setting.attempts)
    return lambda: guard.call(server)


def with_tenacity(server: Limited, setting: Setting) -> Call:
    """Full jitter, as its documentation advises for a shared resource; or the hint."""
    wait: Any = tenacity.wait_random_exponential(multiplier=1, max=32)
    again = tenacity.retry(
        wait=tenacity.wait_exception(hint_of) if setting.hint else wait,
        stop=tenacity.stop_after_attempt(setting.attempts),
        retry=tenacity.retry_if_exception_type(Busy),
        reraise=True,
    )
    return again(raising(server))


def with_stamina(server: Limited, setting: Setting) -> Call:
    """Its defaults but for the limits; or the hint, through its hook."""

    def waits(error: Exception) -> bool | float:
        return hint_of(error) if isinstance(error, Busy) else False

    stamina.instrumentation.set_on_retry_hooks([])  # it would log each retry to structlog
    again = stamina.retry(
        on=waits if setting.hint else Busy, attempts=setting.attempts, timeout=None
    )
    return again(raising(server))


def with_module(module: ModuleType, server: Limited, setting: Setting) -> Call:
    """``backoff`` or its fork: full jitter; or the hint without jitter, as in its documentation."""
    if setting.hint:
        again = module.on_predicate(
            module.runtime,
            lambda body: body["code"] != "0000",
            max_tries=setting.attempts,
            value=lambda body: body["retry_after"],
            jitter=None,
        )
    else:
        again = module.on_predicate(
            module.expo,
            lambda body: body["code"] != "0000",
            max_tries=setting.attempts,
            max_value=32,
        )

    async def limited() -> Any:
        return await server()

    return checked(again(limited))


def with_backoff(server: Limited, setting: Setting) -> Call:
    """Version 2.2.1."""
    return with_module(backoff, server, setting)


def with_fork(server: Limited, setting: Setting) -> Call:
    """Version 3, from a place of its own."""
    return with_module(load_fork(), server, setting)


def load_fork() -> ModuleType:
    """The fork, beside the other package of the same name."""

    def take() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.split(".")[0] == "backoff"]
        return {name: sys.modules.pop(name) for name in names}

    usual = take()
    sys.path.insert(0, str(FORK))
    try:
        return importlib.import_module("backoff")
    finally:
        sys.path.remove(str(FORK))
        take()
        sys.modules.update(usual)


def with_aiohttp_retry(server: Limited, setting: Setting) -> Call:
    """Its exponential schedule in its own loop's order; it has no use for a hint."""
    options = aiohttp_retry.ExponentialRetry(attempts=setting.attempts)

    async def ask() -> Any:
        for attempt in range(1, options.attempts + 1):
            body = await server()
            if body["code"] == "0000" or attempt == options.attempts:
                return body
            await asyncio.sleep(options.get_timeout(attempt))
        raise AssertionError

    return checked(ask)


def with_redress(server: Limited, setting: Setting) -> Call:
    """A wait per error class as in its README; in the outage with a shared budget and breaker.

    The README's budget (20 retries a minute) and threshold (5 failures) are meant for one small
    client; they are scaled to this crowd: half of the traffic, a second's worth of failures.
    """

    def classify(error: BaseException) -> redress.Classification:
        kind = redress.ErrorClass.SERVER_ERROR if setting.outage else redress.ErrorClass.RATE_LIMIT
        return redress.Classification(klass=kind, retry_after_s=getattr(error, "retry_after", None))

    clock = asyncio.get_running_loop().time
    budget = redress.Budget(max_retries=24_000, window_s=60.0)
    breaker = redress.CircuitBreaker(
        failure_threshold=800,
        window_s=60.0,
        recovery_timeout_s=30.0,
        trip_on={redress.ErrorClass.SERVER_ERROR, redress.ErrorClass.CONCURRENCY},
        clock=clock,
    )
    policy = redress.AsyncPolicy(
        retry=redress.AsyncRetry(
            classifier=classify,
            strategy=decorrelated_jitter(max_s=5.0),
            strategies={
                redress.ErrorClass.RATE_LIMIT: retry_after_or(decorrelated_jitter(max_s=60.0))
            },
            budget=budget if setting.outage else None,
            deadline_s=1e9,
            max_attempts=setting.attempts,
        ),
        circuit_breaker=breaker if setting.outage else None,
    )
    ask = raising(server)
    return lambda: policy.call(ask)


def with_nopanic(server: Limited, setting: Setting) -> Call:
    """Retry inside which is its adaptive limiter; in the outage its breaker, and its budget.

    The limiter is told twice the true rate to start from, since nobody knows the true one.
    """
    clock = asyncio.get_running_loop().time
    ask = raising(server)
    if setting.outage:
        again = nopanic.retry(
            attempts=setting.attempts,
            on=(Busy, nopanic.CircuitOpen),
            budget=nopanic.RetryBudget(clock=clock),
            clock=clock,
        )
        return again(nopanic.circuit_breaker(on=Busy, clock=clock)(ask))
    again = nopanic.retry(attempts=setting.attempts, on=Busy, clock=clock)
    return again(nopanic.adaptive_rate_limit(200, per=1.0, clock=clock)(ask))


MAKERS: dict[str, Make] = {
    "ours": ours,
    "ours, as shipped": ours_as_shipped,
    "tenacity": with_tenacity,
    "stamina": with_stamina,
    "backoff": with_backoff,
    "python-backoff": with_fork,
    "aiohttp-retry schedule": with_aiohttp_retry,
    "redress": with_redress,
    "nopanic": with_nopanic,
}


def available() -> list[str]:
    """Names of the contenders that can run here; says who is missing."""
    if FORK.is_dir():
        return list(MAKERS)
    print(f"python-backoff: not installed in {FORK.name}/ of the environment, left out")
    return [name for name in MAKERS if name != "python-backoff"]


def version(contender: str) -> str:
    """Of the installed distribution; empty for us."""
    if contender.startswith("ours"):
        return ""
    package = contender.split(maxsplit=1)[0]
    if package == "python-backoff":
        found = importlib.metadata.distributions(name=package, path=[str(FORK)])
        return next(iter(found)).version
    return importlib.metadata.version(package)


@contextlib.contextmanager
def virtual_clock() -> Iterator[None]:
    """Peers read ``time.monotonic``; inside it tells the running loop's virtual time."""
    with mock.patch("time.monotonic", asyncio.get_running_loop().time):
        yield
