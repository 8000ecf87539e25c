"""Whole client objects: ``guard.wrap(client)`` is the client, with its calls guarded.

* **Methods**: coroutine functions, functions that return a coroutine, async generators; with
  ``threads=True`` sync methods too, which become coroutine functions.  The attribute's name
  decides about the endpoint, as a function's name does for ``guard.call``.
* **Resources**: objects of the client's own package are proxied (``client.chat.completions``), and so
  is another client of the same kind that a method returns (``client.with_options(…)``).
* **Everything else** is the client's own: constants, data, classes, private names, context managers,
  and ``close()`` and ``aclose()``, which must work while every door is shut.
  ``isinstance``, ``async with`` and setting attributes work as on the client itself.
"""

import inspect
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from itertools import chain
from types import ModuleType
from typing import Any, TypeVar, cast

from resilience._core.policy.section import suggestion
from resilience.adapters.members import is_function, looks_async, members, rooms_of
from resilience.adapters.proxies import Plan, Proxy, plan_of, proxy_of
from resilience.guard import Guard

T = TypeVar("T")

_WILD = "*?["


def wrap(
    guard: Guard,
    client: T,
    *,
    only: Collection[str] | None,
    skip: Collection[str],
    repeat: Collection[str],
    threads: bool,
) -> T:
    """See ``Guard.wrap``."""
    _check_client(client)
    plan = Plan(
        guard=guard,
        only=None if only is None else _patterns("only", only),
        skip=_patterns("skip", skip),
        repeat=_patterns("repeat", repeat),
        threads=threads,
        rooms=rooms_of(client),
    )
    if issubclass(type(client), Proxy) and plan_of(client) == plan:
        return client
    _check_plan(plan, client)
    return cast("T", proxy_of(plan, client, ""))


# -- checking what was asked for --------------------------------------------------------------


def _check_client(client: object) -> None:
    if isinstance(client, type):
        msg = f"{client.__name__} is a class: wrap an instance of it"
    elif isinstance(client, ModuleType):
        msg = f"{client.__name__} is a module: wrap a client object, or decorate functions with @guard"
    elif is_function(client):
        name = getattr(client, "__qualname__", None) or repr(client)
        msg = f"{name} is a function: use guard(func), or await guard.call(func, …)"
    else:
        return
    raise TypeError(msg)


def _patterns(field: str, given: Collection[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        msg = f"{field}={given!r}: give a list of patterns, not one text"
        raise TypeError(msg)
    return tuple(given)


def _check_plan(plan: Plan, client: object) -> None:
    """Every pattern has to match something, and something has to be guarded."""
    known = _found(plan, client)
    for field, pattern in _asked(plan):
        if not any(_hits(plan, field, pattern, name, known[name]) for name in known):
            groups = {name.rpartition(".")[0] + ".*" for name in known if "." in name}
            what = "guarded method" if field == "repeat" else "method"
            hint = suggestion(pattern, [*known, *groups])
            raise ValueError(
                f"{field}: {pattern!r} matches no {what} of {type(client).__name__}{hint}"
            )
        if field == "only" and pattern in known:
            _check_named(plan, pattern, known[pattern])
    if not any(plan.guards(path, func) for path, func in known.items()):
        raise TypeError(_nothing(plan, client, known))


def _asked(plan: Plan) -> list[tuple[str, str]]:
    given = {"only": plan.only or (), "skip": plan.skip, "repeat": plan.repeat}
    return [(field, pattern) for field, patterns in given.items() for pattern in patterns]


def _found(plan: Plan, client: object) -> dict[str, Any]:
    """Methods, looked for until every pattern has one and something is guarded.

    Properties are evaluated if a pattern names them, or else if there is no other way.
    """
    known: dict[str, Any] = {}
    missing, guarded = set(_asked(plan)), False
    literal = [pattern for _, pattern in missing if not set(_WILD) & set(pattern)]
    by_degrees = (
        members(client, plan.rooms, named=plan.named, lazy=lazy) for lazy in ((), plan.lazy, None)
    )
    named = (_by_name(client, pattern) for pattern in literal)
    for name, func in chain.from_iterable(chain(named, by_degrees)):
        known[name] = func
        missing = {one for one in missing if not _hits(plan, *one, name, func)}
        guarded = guarded or plan.guards(name, func)
        if guarded and not missing:
            break
    return known


def _hits(plan: Plan, field: str, pattern: str, name: str, func: Any) -> bool:
    return fnmatchcase(name, pattern) and (field != "repeat" or plan.guards(name, func))


def _check_named(plan: Plan, name: str, func: Any) -> None:
    if not plan.threads and not looks_async(func):
        raise TypeError(
            f"only: {name!r} is a sync method: threads=True runs it in a worker thread (if it "
            "returns a coroutine, say so by its return annotation, or match it by a wildcard)"
        )
    if plan.threads and inspect.isgeneratorfunction(func):
        raise TypeError(f"only: {name!r} is a sync generator: its items would block the event loop")


def _nothing(plan: Plan, client: object, known: dict[str, Any]) -> str:
    name = type(client).__name__
    if not known:
        return f"there is nothing to guard in {name}: it has no public methods"
    covered = [path for path, func in known.items() if plan.covers(path, func)]
    if not covered:
        return f"there is nothing to guard in {name}: skip leaves nothing of only"
    if plan.threads:
        return f"there is nothing to guard in {name}"
    return (
        f"there is nothing to guard in {name}: its methods are sync ({', '.join(covered[:3])} …); "
        "threads=True runs them in worker threads"
    )


def _by_name(client: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The method of this name, also if ``__getattr__`` makes it and ``dir`` doesn't know it."""
    found = client
    for step in path.split("."):
        if step.startswith("_"):
            return
        try:
            found = getattr(found, step)
        except Exception:  # noqa: BLE001  # then it isn't there
            return
    if is_function(found):
        yield path, found
