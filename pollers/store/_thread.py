"""A thread that owns a connection, and how tasks wait for it.

SQLite calls block, so each connection lives in a thread of its own (a *worker*) and is handed
functions over a queue.  What the worker does with the calls that are waiting is its *room*'s
business: the writer runs them all in one transaction, a reader one by one.

A worker is an ``Executor`` to whatever waits, because that is how a loop learns that a thread works
for it; virtual time stands still then.  On trio a waiter is woken by the run's token.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar, cast

from pollers.store.base import StoreError

T = TypeVar("T")

MOST = 500
"""Calls that a worker takes at once."""


@dataclass(slots=True)
class Call:
    """A function to be called with the connection, and who waits for what it returns."""

    function: Callable[[sqlite3.Connection], Any]
    future: Future[Any]


class Room(Protocol):
    """What a worker's thread owns.  It is made, used and closed in that thread."""

    def perform(self, calls: list[Call]) -> None:
        """Settle the future of every call; never raise."""
        ...

    def close(self) -> None:
        """Nothing comes after this."""
        ...


@dataclass(slots=True)
class _Refusal:
    """The room of a worker whose own room could not be made."""

    why: Exception

    def perform(self, calls: list[Call]) -> None:
        for call in calls:
            call.future.set_exception(self.why)

    def close(self) -> None:
        """Nothing was opened."""


class Worker(Executor):
    """A daemon thread with a room.  It ends with ``stop`` or with the process."""

    def __init__(self, name: str, make: Callable[[], Room]) -> None:
        self._queue: SimpleQueue[Call] = SimpleQueue()
        self._stopped = False
        self._lock = Lock()
        self._thread = Thread(target=_work, args=(make, self._queue), name=name, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a function of the connection; cancelling its future helps until it is begun."""
        if args or kwargs:
            raise TypeError("a worker's function takes the connection and nothing else")
        call = Call(fn, Future())
        with self._lock:
            if self._stopped:
                raise StoreError("the store is closed")
            self._stopped = fn is _stop
            self._queue.put(call)
        return call.future

    async def stop(self) -> None:
        """Do what is queued, close the room, end the thread."""
        await ask(self, _stop)
        self._thread.join()  # it has nothing left to do


def _stop(_db: sqlite3.Connection) -> None:
    """Stands for the end of the queue."""


def _work(make: Callable[[], Room], queue: "SimpleQueue[Call]") -> None:
    room: Room
    try:
        room = make()
    except Exception as why:  # noqa: BLE001  # whoever asks is told
        room = _Refusal(why)
    while _turn(queue, room):
        pass


def _turn(queue: "SimpleQueue[Call]", room: Room) -> bool:
    """Perform what is waiting; a function of its own, so that nothing is kept while it waits."""
    batch = [queue.get()]
    with suppress(Empty):
        while len(batch) < MOST:
            batch.append(queue.get_nowait())
    last = batch.pop() if batch[-1].function is _stop else None
    room.perform([call for call in batch if call.future.set_running_or_notify_cancel()])
    if last is None:
        return True
    try:
        room.close()
    finally:
        if last.future.set_running_or_notify_cancel():
            last.future.set_result(None)
    return False


async def ask(worker: Worker, function: Callable[[sqlite3.Connection], T]) -> T:
    """What the function returned.

    A waiter that is cancelled takes its call with it if that has not begun; else it happens.
    """
    if on_asyncio():
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(worker, cast("Callable[[], T]", function))
    return await _on_trio(worker.submit(function))


def on_asyncio() -> bool:
    """Whether the task that asks is one of asyncio's (else of trio's)."""
    try:
        return asyncio.current_task() is not None  # trio as a guest of asyncio has no task there
    except RuntimeError:
        return False


async def _on_trio(future: "Future[T]") -> T:
    import trio

    token, done = trio.lowlevel.current_trio_token(), trio.Event()

    def wake(_future: "Future[T]") -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    future.add_done_callback(wake)
    try:
        await done.wait()
    except trio.Cancelled:
        future.cancel()
        raise
    return future.result()
