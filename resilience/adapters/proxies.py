"""The proxy that stands for a client or one of its resources, and the plan that it follows."""

from fnmatch import fnmatchcase
from functools import lru_cache
from types import MethodType
from typing import Any, cast

from msgspec import Struct

from resilience.adapters.members import is_async, is_farewell, is_function, is_resource, looks_async
from resilience.adapters.methods import awaited, looked_at, threaded
from resilience.guard import Guard

_FORWARDED = (
    "__bool__", "__call__", "__contains__", "__delitem__", "__eq__", "__getitem__", "__hash__",
    "__iter__", "__len__", "__next__", "__setitem__", "__str__", "__aiter__", "__anext__",
    "__aexit__", "__exit__",
)  # fmt: skip
MOST_CLASSES = 256
"""Classes whose proxies are remembered: a client may make classes, too."""


class Plan(Struct, frozen=True):
    """What is guarded, and how: the arguments of ``wrap``."""

    guard: Guard
    only: tuple[str, ...] | None
    skip: tuple[str, ...]
    repeat: tuple[str, ...]
    threads: bool
    rooms: frozenset[str]

    def covers(self, path: str, func: Any) -> bool:
        """Whether the patterns let this method be guarded."""
        wanted = self.only is None or _matches(path, self.only)
        return (
            wanted
            and not _matches(path, self.skip)
            and not is_farewell(path.rpartition(".")[2], func)
        )

    def guards(self, path: str, func: Any) -> bool:
        """Whether a call of this method certainly goes through the guard."""
        return self.covers(path, func) and (looks_async(func) or self.threads)

    def view(self, path: str) -> Guard:
        """The guard that knows whether this method may be repeated."""
        return self.guard.options(idempotent=True) if _matches(path, self.repeat) else self.guard

    @property
    def named(self) -> frozenset[str]:
        """Attributes that ``only`` names: they are looked into wherever they come from."""
        return _heads(self.only or ())

    @property
    def lazy(self) -> frozenset[str]:
        """Attributes that any pattern names: worth evaluating, if they are properties."""
        return _heads((*(self.only or ()), *self.skip, *self.repeat))


def _heads(patterns: tuple[str, ...]) -> frozenset[str]:
    """``chat`` and ``chat.completions``, of ``chat.completions.*``."""
    steps = [pattern.split(".")[:-1] for pattern in patterns]
    return frozenset(".".join(path[: n + 1]) for path in steps for n in range(len(path)))


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


class Proxy:
    """Stands for a client or a resource of it.  Made by ``Guard.wrap``."""

    __slots__ = (
        "__weakref__", "_resilience_path", "_resilience_plan", "_resilience_seen",
        "_resilience_target",
    )  # fmt: skip

    @property  # type: ignore[misc]  # isinstance() asks here
    def __class__(self) -> type:
        return type(_target(self))

    def __getattr__(self, name: str) -> Any:
        value = getattr(_target(self), name)
        if name.startswith("_"):
            return value
        seen = object.__getattribute__(self, "_resilience_seen")
        before, given = seen.get(name, (None, None))
        if given is None or not _same(before, value):
            given = _given(self, name, value)
            seen[name] = (value, given)
        return given

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_target(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_target(self), name)

    def __dir__(self) -> Any:
        return dir(_target(self))

    def __repr__(self) -> str:
        return f"<guarded {_target(self)!r}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        msg = "a wrapped client belongs to its guard and can't be copied or pickled: wrap it there"
        raise TypeError(msg)


def _target(proxy: Any) -> Any:
    return object.__getattribute__(proxy, "_resilience_target")


def plan_of(proxy: Any) -> Plan:
    """What a proxy was made to do."""
    return cast("Plan", object.__getattribute__(proxy, "_resilience_plan"))


def proxy_of(plan: Plan, target: Any, path: str) -> Proxy:
    """Stands for ``target``, which the client calls ``path``."""
    proxy: Proxy = object.__new__(_class_for(type(target)))  # type: ignore[arg-type]  # classes can be hashed
    object.__setattr__(proxy, "_resilience_plan", plan)
    object.__setattr__(proxy, "_resilience_target", target)
    object.__setattr__(proxy, "_resilience_path", path)
    object.__setattr__(proxy, "_resilience_seen", {})
    return proxy


@lru_cache(MOST_CLASSES)
def _class_for(kind: type) -> type[Proxy]:
    """Python looks for special methods on the class only, so every class has a proxy of its own.

    Made once: clients may give a new object for each call (``client.with_options(…)``).
    """
    makers = dict.fromkeys(_FORWARDED, _forward) | {"__enter__": _enter, "__aenter__": _aenter}
    special = {name: make(name) for name, make in makers.items() if _defines(kind, name)}
    names = {"__slots__": (), "__doc__": kind.__doc__, "__module__": kind.__module__, **special}
    return type(kind.__name__, (Proxy,), names)


def _defines(kind: type, name: str) -> bool:
    mine = getattr(kind, name, None)
    return mine is not None and mine is not getattr(object, name, None)


def _forward(name: str) -> Any:
    def forwarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        target = _target(self)
        return getattr(type(target), name)(target, *args, **kwargs)

    return forwarded


def _enter(name: str) -> Any:
    def entered(self: Any) -> Any:
        target = _target(self)
        return _again(self, getattr(type(target), name)(target))

    return entered


def _aenter(name: str) -> Any:
    async def entered(self: Any) -> Any:
        target = _target(self)
        return _again(self, await getattr(type(target), name)(target))

    return entered


def _again(proxy: Any, value: Any) -> Any:
    """The client itself, or another one of its kind (``with_options``), is guarded as well."""
    target = _target(proxy)
    if value is target:
        return proxy
    path = object.__getattribute__(proxy, "_resilience_path")
    plan = plan_of(proxy)
    if isinstance(value, target.__class__) and is_resource(value, plan.rooms):
        return proxy_of(plan, value, path)
    return value


def _given(proxy: Any, name: str, value: Any) -> Any:
    """What the proxy gives for an attribute of its target."""
    plan = plan_of(proxy)
    path = object.__getattribute__(proxy, "_resilience_path") + name
    if not is_function(value):
        if is_resource(value, plan.rooms, named=path in plan.named):
            return proxy_of(plan, value, path + ".")
        return value

    def finish(result: Any) -> Any:
        return _again(proxy, result)

    guard = plan.view(path) if plan.covers(path, value) else None
    if guard is not None and is_async(value):
        return awaited(guard, value, name, finish)
    if guard is not None and plan.threads and not looks_async(value):
        return threaded(guard, value, name, finish)
    return value if is_async(value) else looked_at(guard, value, name, finish)


def _same(before: Any, value: Any) -> bool:
    """The same attribute as last time; a method is bound anew each time that it is looked up."""
    return before is value or (type(before) is MethodType and before == value)
