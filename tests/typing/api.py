"""Type-checked by mypy --strict and pyright, never run: the types that users see."""

from collections.abc import Callable, Coroutine, Generator
from datetime import datetime, timedelta
from typing import Any, assert_type

import httpx
import httpx2

from resilience import (
    Certainty,
    Classification,
    FatalError,
    Guard,
    Policy,
    QuotaError,
    Recovers,
    Report,
    ResilienceError,
    Rule,
    Verdict,
    catalogs,
    fatal,
    quota,
    raise_for_code,
    report,
    retryable,
    success,
)
from resilience.adapters.backoff import Rules

# -- policies -------------------------------------------------------------------------------------

policy = Policy.load("memories_ai")
assert_type(policy, Policy)
assert_type(Policy.load(), Policy)
assert_type(Policy.from_dict({"name": "mine"}), Policy)
assert_type(catalogs(), list[str])

changed = policy.with_codes(
    {
        "50143": fatal(scope="account"),
        429: quota("window", scope="account", wait=timedelta(seconds=5)),
        "1": retryable(wait={"backoff": "expo", "max_value": 30}, max_attempts=2),
        "0": success(),
    }
)
assert_type(changed, Policy)

found = policy.classify({"code": "0429"}, status=200, headers={}, endpoint="list")
assert_type(found, Classification)
assert_type(found.verdict, Verdict)
assert_type(found.recovers, Recovers | None)
assert_type(found.certainty, Certainty)
assert_type(found.code, str | None)
assert_type(found.rule, Rule)
assert_type(policy.explain(429), Classification)
assert_type(policy.version, str)

# -- guards ---------------------------------------------------------------------------------------

guard = Guard(policy, account="default")
assert_type(guard, Guard)
assert_type(Guard("memories_ai"), Guard)
assert_type(guard.policy, Policy)
assert_type(guard.options(idempotent=False, deadline=30.0), Guard)
assert_type(guard.options(deadline=timedelta(minutes=1), max_wait=None, max_attempts=2), Guard)


async def search(query: str, *, page: int = 1) -> dict[str, int]:
    """Somebody's own coroutine."""
    return {query: page}


@guard
async def decorated(query: str, *, page: int = 1) -> dict[str, int]:
    """The same, decorated."""
    return {query: page}


@guard.options(endpoint="list")
async def with_options(query: str) -> bytes:
    """Decorated by a view."""
    return query.encode()


class Client:
    """Somebody's client."""

    async def list_videos(self, page: int) -> list[str]:
        """A method."""
        return [str(page)]

    @guard
    async def get(self, name: str) -> int:
        """A decorated method."""
        return len(name)


async def calls() -> None:
    """What comes back is what the function returns, and its arguments are checked."""
    assert_type(await guard.call(search, "cats", page=2), dict[str, int])
    assert_type(await guard.call(Client().list_videos, page=1), list[str])
    assert_type(await guard.options(deadline=1).call(search, "cats"), dict[str, int])
    assert_type(await decorated("cats", page=2), dict[str, int])
    assert_type(await with_options("cats"), bytes)

    await guard.call(search, 3)  # type: ignore[arg-type]
    await guard.call(search, "cats", pages=2)  # type: ignore[call-arg]
    await decorated(3)  # type: ignore[arg-type]
    await decorated("cats", pages=2)  # type: ignore[call-arg]
    guard.options(nonsense=1)  # type: ignore[call-arg]

    with guard.using(endpoint="upload", cost=2.0):
        pass


async def wrapping() -> None:
    """A wrapped client has the type of the client, so its methods are checked as before."""
    wrapped = guard.wrap(Client(), only=["list_*"], skip=("get",), repeat=["list_videos"])
    assert_type(wrapped, Client)
    assert_type(await wrapped.list_videos(page=1), list[str])
    assert_type(guard.wrap(Client(), threads=True), Client)
    await wrapped.list_videos("1")  # type: ignore[arg-type]
    guard.wrap(Client(), only=3)  # type: ignore[arg-type]


rules = Rules(policy, endpoint="list", idempotent=True, max_wait=timedelta(minutes=1))
assert_type(rules.predicate({"code": "0429"}), bool)
assert_type(rules.giveup(ValueError()), bool)
assert_type(rules.wait_gen(), Generator[float, Any, None])


def sync(query: str) -> int:
    """Not a coroutine function."""
    return len(query)


async def mistakes() -> None:
    """A sync function is refused by the type checker already."""
    await guard.call(sync, "cats")  # type: ignore[arg-type]
    guard(sync)  # type: ignore[arg-type]


# -- what happened ----------------------------------------------------------------------------------

told = report(ValueError())
assert_type(told, Report | None)
if told is not None:
    assert_type(told.classification, Classification | None)
    assert_type(told.attempts, int)
    assert_type(told.elapsed, float)
    assert_type(told.resume_at, datetime | None)
    assert_type(told.error, ResilienceError | None)
raise_for_code(object())

try:
    pass
except QuotaError as error:
    assert_type(error.resume_at, datetime | None)
    assert_type(error.retry_after, float | None)
    assert_type(error.rule, Rule | None)
except FatalError as error:
    assert_type(error.code, str | None)
    assert_type(error.message, str)

observer: Callable[[Any], None] = print
assert_type(Guard(policy, observe=observer), Guard)
middleware = guard.aiohttp(hosts=["localhost:8080"])
assert_type(guard.httpx(), httpx.AsyncBaseTransport)
assert_type(guard.httpx(httpx.AsyncHTTPTransport(http2=True)), httpx.AsyncBaseTransport)
assert_type(guard.httpx(httpx2.AsyncHTTPTransport(), ["localhost"]), httpx2.AsyncBaseTransport)
assert_type(guard.install(httpx.AsyncClient(transport=guard.httpx())), httpx.AsyncClient)
assert_type(guard.install(httpx2.AsyncClient(), hosts=["localhost:8080"]), httpx2.AsyncClient)
assert_type(guard.enforce, bool)
task: Callable[[], Coroutine[Any, Any, None]] = calls
