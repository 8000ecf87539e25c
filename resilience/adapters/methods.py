"""The guarded forms of a client's methods: awaited, run in a thread, or streamed.

* **Arguments**: one that gives its content only once (a file, an iterator) is never sent again.
* **Streams**: an async generator's first piece is asked for inside the guard, so an error before it
  is judged, retried and raised like any other.  After it nothing is repeated.
* **Threads**: cancellation and time-outs do not wait for the thread.  It goes on to its end and
  its result is dropped, so a repeated call can overlap with the one that was given up.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from functools import partial, wraps
from typing import Any

from anyio import to_thread

from resilience._core.policy.model import Outcome, Verdict
from resilience.adapters.results import outcome_of_result
from resilience.adapters.witness import note_response
from resilience.guard import Guard

Finish = Callable[[Any], Any]
_END = Outcome(status=200)
"""What an empty stream brings: a success, and nobody has to be taught to read it."""


def awaited(guard: Guard, func: Any, name: str, finish: Finish) -> Callable[..., Any]:
    """The guarded form of an async function."""
    same = getattr(func, "__name__", None) == name  # the name decides about the endpoint
    attempt = func if same else _named(name, lambda args, kwargs: func(*args, **kwargs))

    @wraps(func, updated=())
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not same:
            _check_arguments(func, args, kwargs)
        return finish(await guard.call(attempt, *args, **kwargs))

    return call


def looked_at(guard: Guard | None, func: Any, name: str, finish: Finish) -> Callable[..., Any]:
    """The form of a plain function: only what it returns tells whether there is a call to guard.

    A coroutine or an async generator is guarded.  Anything else that can be awaited (a task, a
    request that is a context manager too) has a life of its own and is handed through.
    """

    @wraps(func, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        given = func(*args, **kwargs)
        if guard is not None and inspect.iscoroutine(given):
            return _going_on(guard, func, name, finish, given, args, kwargs)
        if guard is not None and inspect.isasyncgen(given):
            return _pieces(guard, func, name, given, args, kwargs)
        return finish(given)

    return call


def threaded(guard: Guard, func: Any, name: str, finish: Finish) -> Callable[..., Any]:
    """The guarded form of a sync function: a coroutine function that runs it in a worker thread."""

    def begin(args: Any, kwargs: Any) -> Awaitable[Any]:
        work = partial(_watched, guard, func, args, kwargs)
        return to_thread.run_sync(work, abandon_on_cancel=True)

    attempt = _named(name, begin)

    @wraps(func, updated=())
    async def call(*args: Any, **kwargs: Any) -> Any:
        _check_arguments(func, args, kwargs)
        value = await guard.call(attempt, *args, **kwargs)
        if inspect.isgenerator(value):
            value.close()
            msg = (
                f"{name}() returned a generator, and its items would block the event loop: leave it "
                f"out (skip=[{name!r}]) and iterate over it in a thread of your own"
            )
            raise TypeError(msg)
        return finish(value)

    return call


def _watched(guard: Guard, func: Any, args: Any, kwargs: Any) -> Any:
    try:
        return func(*args, **kwargs)
    except Exception as error:
        note_response(guard.policy, error)
        raise


def _named(name: str, begin: Callable[[Any, Any], Awaitable[Any]]) -> Callable[..., Any]:
    async def attempt(*args: Any, **kwargs: Any) -> Any:
        return await begin(args, kwargs)

    attempt.__name__ = name
    return attempt


def _check_arguments(func: Any, args: Any, kwargs: Any) -> None:
    """Wrong arguments are the caller's mistake, not an answer of the provider."""
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # written in C
        return
    signature.bind(*args, **kwargs)


async def _going_on(  # noqa: PLR0917  # private
    guard: Guard, func: Any, name: str, finish: Finish, first: Coroutine[Any, Any, Any],
    args: Any, kwargs: Any,
) -> Any:  # fmt: skip
    """Await the coroutine that the function has already given; ask for another one to repeat."""
    ready = [first]

    def begin(args: Any, kwargs: Any) -> Awaitable[Any]:
        given: Awaitable[Any] = ready.pop() if ready else func(*args, **kwargs)
        return given

    try:
        return finish(await guard.call(_named(name, begin), *args, **kwargs))
    finally:
        for unused in ready:  # the call was refused
            unused.close()


async def _pieces(  # noqa: PLR0917  # private
    guard: Guard, func: Any, name: str, first: AsyncGenerator[Any, Any], args: Any, kwargs: Any
) -> AsyncGenerator[Any, None]:
    """The items of the stream that at last began."""
    stream, fresh = first, True

    async def begin(args: Any, kwargs: Any) -> Any:
        nonlocal stream, fresh
        if not fresh:
            stream = func(*args, **kwargs)
        fresh = False
        piece = await anext(stream, _END)
        if await _is_failure(guard, piece, name):
            await stream.aclose()  # before any wait: it may hold a connection
        return piece

    try:
        piece = await guard.call(_named(name, begin), *args, **kwargs)
        while piece is not _END:
            yield piece
            piece = await anext(stream, _END)
    finally:
        await stream.aclose()


async def _is_failure(guard: Guard, piece: Any, name: str) -> bool:
    known = guard._read(piece) if guard._read and piece is not _END else None  # noqa: SLF001
    outcome = await outcome_of_result(piece if known is None else known)
    if outcome is None:
        return False
    found = guard.policy.classify(
        outcome.body,
        status=outcome.status,
        endpoint=guard.policy.table.endpoint_of_function(name),
    )
    return found.verdict is not Verdict.SUCCESS
