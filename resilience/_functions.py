"""What may be guarded: async functions, and arguments that can be given to them twice."""

import inspect
from typing import Any


def check_function(func: Any) -> None:
    """Refuse what can't be awaited, naming the right form."""
    if inspect.isasyncgenfunction(func):
        msg = f"{_name(func)} is an async generator: guard the call that opens the stream instead"
        raise TypeError(msg)
    if not callable(func):
        msg = f"{func!r} can't be called: give the async function and its arguments, not its result"
        raise TypeError(msg)
    plain = inspect.isfunction(func) or inspect.ismethod(func) or inspect.isbuiltin(func)
    if plain and not inspect.iscoroutinefunction(inspect.unwrap(func)):
        msg = f"{_name(func)} is a sync function: guard an 'async def' (anyio.to_thread.run_sync helps)"
        raise TypeError(msg)


def is_spent_by_use(argument: object, depth: int = 1) -> bool:
    """A file, an iterator or a generator gives its content once; a second attempt would send nothing.

    Looks into the containers that arguments come in (``files={"file": handle}``), one level deep.
    """
    if isinstance(argument, (str, bytes, int, float)):
        return False
    if any(hasattr(argument, name) for name in ("__next__", "__anext__", "readline")):
        return True
    if depth and isinstance(argument, (dict, list, tuple, set)):
        inside = argument.values() if isinstance(argument, dict) else argument
        return any(is_spent_by_use(one, depth - 1) for one in inside)
    return False


def _name(func: Any) -> str:
    return getattr(func, "__qualname__", None) or repr(func)
