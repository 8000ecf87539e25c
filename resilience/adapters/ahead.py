"""One read of a stream that goes on when nobody waits for it any longer.

Whoever cancels the read of an httpx stream closes the stream.  So that a look at it can end after
some seconds without harm, the read runs in a task of its own and is handed over, as it is, to the
consumer of the stream: awaited by its next read, or ended when it is closed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context

import anyio


class Ahead:
    """A read that was begun; ``result`` waits for it, ``wait`` may be given up at any time.

    Args:
        read: gives the next piece, or raises; StopAsyncIteration is the end of the stream.
    """

    __slots__ = ("_done", "_error", "_piece", "_read", "_scope", "_task")

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self._read = read
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()
        self._piece = b""
        self._error: Exception | None = anyio.ClosedResourceError()  # if it is cancelled
        self._task = _spawn(self._run)  # asyncio itself does not hold on to a task

    async def _run(self) -> None:
        try:
            with self._scope:
                try:
                    self._piece = await self._read()
                    self._error = None
                except Exception as error:  # noqa: BLE001  # raised by ``result``
                    self._error = error
        finally:
            self._done.set()

    async def wait(self) -> None:
        """Wait until it is done; cancelling this leaves it under way."""
        await self._done.wait()

    async def result(self) -> bytes:
        """The piece, or what the read raised; cancelling this ends the read."""
        if not self._done.is_set():  # else no checkpoint: a cancellation there would lose the piece
            try:
                await self._done.wait()
            except BaseException:
                await self.cancel()
                raise
        if self._error is not None:
            raise self._error
        return self._piece

    async def cancel(self) -> None:
        """End it, and wait until it has let go of the stream."""
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._done.wait()


def _spawn(run: Callable[[], Awaitable[None]]) -> object:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio  # then this is trio

        return trio.lowlevel.spawn_system_task(run, name=run, context=copy_context())
    return loop.create_task(run())  # type: ignore[arg-type]  # it is a coroutine
