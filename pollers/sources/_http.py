"""What the sources of HTTP APIs have in common: the guard, the address, and reading answers."""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp

from resilience import Guard

_MADE: WeakKeyDictionary[aiohttp.ClientSession, dict[tuple[str | None, ...], Guard]] = (
    WeakKeyDictionary()
)


_PROVIDERS = frozenset({"memories_ai", "memos_cloud"})
"""Policies that know the codes of one provider, and say nonsense about those of the other."""


def guard_of(session: aiohttp.ClientSession, policy: str) -> Guard | None:
    """The guard in a session's middlewares, if there is one for this provider: its own first."""
    middlewares = getattr(session, "_middlewares", None) or ()
    guards = (getattr(middleware, "guard", None) for middleware in middlewares)
    others = _PROVIDERS - {policy}
    fitting = [g for g in guards if isinstance(g, Guard) and g.policy.name not in others]
    own = (guard for guard in fitting if guard.policy.name == policy)
    return next(own, fitting[0] if fitting else None)


def guard_for(
    session: aiohttp.ClientSession, policy: str, *, deployment: str, api_key: str | None
) -> Guard:
    """The guard of the session's middlewares, else one made from the catalog.

    Sources of one session, deployment and key get the same: they share an account and its limits.

    Raises:
        TypeError: it is no session; it may be a key, so it isn't shown.
    """
    if not callable(getattr(session, "post", None)):
        raise TypeError(
            f"session: expected an aiohttp.ClientSession, not {type(session).__name__}; "
            "the key goes into its headers or into api_key="
        )
    found = guard_of(session, policy)
    if found is not None:
        return found
    made, account = _MADE.setdefault(session, {}), (policy, deployment, api_key)
    if account not in made:
        made[account] = Guard(policy)
    return made[account]


def deployment_of(base_url: str, *, example: str) -> str:
    """Host and port of the API root: stored with every job, so without user name and password.

    Raises:
        ValueError: it is no http(s) URL.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url={base_url!r}: expected an http(s) URL such as {example}")
    return parts.netloc.rpartition("@")[2].lower()


async def whole(response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    """The whole answer, for the guard to judge with its status and headers."""
    await response.read()
    if response.ok and not isinstance(await response.json(content_type=None), dict):
        # without an envelope it says nothing, least of all that there is no such job
        raise aiohttp.ClientPayloadError("the answer is not a JSON object")
    return response


async def data_of(response: aiohttp.ClientResponse | None) -> Any:
    """What stands under ``data``, of any type; None if nothing was asked."""
    return (await response.json(content_type=None)).get("data") if response else None


async def object_of(response: aiohttp.ClientResponse | None) -> Mapping[str, Any]:
    """The object under ``data``; an empty one if there is something else, or nothing."""
    data = await data_of(response)
    return data if isinstance(data, Mapping) else {}


def inside(answer: Any) -> Mapping[str, Any]:
    """The object under ``data`` of an answer that somebody else read, or that object itself."""
    inner = answer.get("data", answer) if isinstance(answer, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def number_of(value: Any) -> float | None:
    """A finite number; they come as numbers or as text."""
    try:
        number = math.nan if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
