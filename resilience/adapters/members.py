"""What a client object is made of: methods, resources below it, and plain data.

Asking must change nothing, so members are looked at without calling anything; properties are only
evaluated when a pattern, or the search for anything to guard, needs to know what is behind them.
"""

import dataclasses
import functools
import inspect
import re
import sys
import types
from collections import deque
from collections.abc import Collection, Iterator
from enum import Enum
from typing import Any

_DEPTH = 4
"""Dots of the longest name that is looked for (``client.beta.chat.completions.create`` has three)."""

_NO_RESOURCE = (
    type, types.ModuleType, BaseException, Enum, str, bytes, bytearray, int, float, complex,
    dict, list, tuple, set, frozenset, type(None),
)  # fmt: skip
_DATA_MARKS = ("__pydantic_validator__", "__attrs_attrs__", "__struct_fields__")
_PLAIN = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, staticmethod, classmethod,
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType,
    types.MethodWrapperType, types.MemberDescriptorType, types.GetSetDescriptorType,
    functools.partialmethod,
)  # fmt: skip
"""Descriptors that run no code of anybody's; all others are properties of some kind."""
_AWAITABLE = re.compile(r"(?:^|[.'])(?:Awaitable|Coroutine|AsyncGenerator)\b")


def is_function(value: Any) -> bool:
    """Something that a client offers to be called, and not a class or a resource with more below."""
    if inspect.isroutine(value) or isinstance(value, functools.partial):
        return True
    return not isinstance(value, type) and _is_async_callable(value) and not _has_methods(value)


def is_async(func: Any) -> bool:
    """An ``async def``: a method, a partial of one, or an object whose ``__call__`` is one."""
    return inspect.iscoroutinefunction(func) or _is_async_callable(func)


def looks_async(func: Any) -> bool:
    """Whether a call will give something to await or to iterate over, as far as one can see."""
    if is_async(func) or inspect.isasyncgenfunction(func):
        return True
    bare = inspect.unwrap(func)
    if inspect.iscoroutinefunction(bare) or _hands_on_a_coroutine(func, bare):
        return True
    told = getattr(func, "__annotations__", {}).get("return")
    return told is not None and _AWAITABLE.search(str(told)) is not None


def _hands_on_a_coroutine(method: Any, bare: Any) -> bool:
    """``def get(self): return self._request(…)``: what else can a sync method do with an async one?"""
    used = getattr(getattr(bare, "__code__", None), "co_names", ())
    owner = type(getattr(method, "__self__", None))
    return any(inspect.iscoroutinefunction(getattr(owner, name, None)) for name in used)


def is_farewell(name: str, func: Any) -> bool:
    """``close()`` gives back what the client holds: it must work while every door is shut.

    One that needs an argument (``issues.close(42)``) is a call like any other.
    """
    if name not in ("aclose", "close"):
        return False
    try:
        needed = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):  # written in C
        return True
    return all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in needed
    )


def rooms_of(client: object) -> frozenset[str]:
    """The top-level packages that the client's class and its bases come from."""
    rooms = {cls.__module__.partition(".")[0] for cls in client.__class__.__mro__}
    return frozenset(rooms - {"builtins"} - sys.stdlib_module_names)


def is_resource(value: Any, rooms: Collection[str], *, named: bool = False) -> bool:
    """An object with calls below it: it is of the client's own package, or was asked for by name."""
    kind = type(value)
    if issubclass(kind, _NO_RESOURCE) or is_function(value):
        return False
    at_home = kind is types.SimpleNamespace or _room(kind) in rooms
    if not at_home and not named:
        return False
    if dataclasses.is_dataclass(kind) or any(hasattr(kind, mark) for mark in _DATA_MARKS):
        return _has_methods(value)
    return any(
        inspect.isroutine(member) or _is_lazy(member) or _room(type(member)) in rooms
        for _, member in _static(value)
    )


def members(
    client: object,
    rooms: Collection[str],
    *,
    named: Collection[str] = (),
    lazy: Collection[str] | None = (),
) -> Iterator[tuple[str, Any]]:
    """Dotted name and value of every public function, those of nested resources included.

    Args:
        client: where to begin.
        rooms: packages whose objects are looked into.
        named: names of attributes that are looked into wherever they come from.
        lazy: names of the properties that are evaluated; None for all.  (A resource that is made when
            it is asked for may import half of its SDK.)
    """
    todo, seen = deque([("", client, 0)]), {id(client)}
    while todo:
        path, holder, depth = todo.popleft()
        for name, static in _static(holder):
            if _is_lazy(static) and lazy is not None and path + name not in lazy:
                continue
            try:
                member = getattr(holder, name)
            except Exception:  # noqa: BLE001, S112  # somebody's property, and nobody asked for it
                continue
            if is_function(member):
                yield path + name, member
            elif (
                depth < _DEPTH
                and id(member) not in seen
                and is_resource(member, rooms, named=path + name in named)
            ):
                seen.add(id(member))
                todo.append((f"{path}{name}.", member, depth + 1))


def _static(holder: Any) -> Iterator[tuple[str, Any]]:
    while hasattr(type(holder), "_resilience_target"):  # a proxy of ours has nothing of its own
        holder = object.__getattribute__(holder, "_resilience_target")
    for name in dir(holder):
        if not name.startswith("_"):
            yield name, inspect.getattr_static(holder, name, None)


def _has_methods(value: Any) -> bool:
    return any(inspect.isroutine(member) and looks_async(member) for _, member in _static(value))


def _is_async_callable(value: Any) -> bool:
    return not inspect.isroutine(value) and inspect.iscoroutinefunction(
        getattr(type(value), "__call__", None)  # noqa: B004  # not whether, but how
    )


def _is_lazy(static: Any) -> bool:
    return hasattr(type(static), "__get__") and not isinstance(static, _PLAIN)


def _room(kind: type) -> str:
    return kind.__module__.partition(".")[0]
