"""What a parked caller sleeps on until somebody wakes it, once.

On asyncio it is a bare future: an event would take six times as much, and a hundred thousand callers
may be parked.  Who has to wait again takes a new one.
"""

import asyncio
from collections.abc import Generator
from typing import Any

import anyio


class _FutureWaker(asyncio.Future[None]):
    __slots__ = ()

    def wake(self) -> None:
        if not self.done():
            self.set_result(None)


class _EventWaker:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._event.wait().__await__()

    def wake(self) -> None:
        self._event.set()


Waker = _FutureWaker | _EventWaker


def new_waker() -> Waker:
    """One for the running event loop."""
    try:
        return _FutureWaker(loop=asyncio.get_running_loop())
    except RuntimeError:
        return _EventWaker()
