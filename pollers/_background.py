"""One function beside the block that started it.

A task group must be left by the task that entered it.  Not everybody can do that: fixtures of
pytest-asyncio, and apps that are started by one and stopped by another, set up and tear down in two
tasks.  So on asyncio the function has a task that we hold and always wait for; on trio, whose
fixtures know of nurseries, it is a nursery's.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

T = TypeVar("T")


class Background:
    """Runs a function that has its own way to be stopped, and that raises nothing."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._group: TaskGroup | None = None

    async def start(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._group = anyio.create_task_group()
            await self._group.__aenter__()
            self._group.start_soon(function)
        else:
            self._task = loop.create_task(function())

    async def ended(self) -> None:
        """Wait until it has ended; stop it first."""
        if self._task is not None:
            with anyio.CancelScope(shield=True):  # whoever cancels us waits too, and it is short
                await _end_of(self._task)
        if self._group is not None:
            # without the block's own exception: a group would wrap it into an exception group
            await self._group.__aexit__(None, None, None)


async def to_its_end(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What a function returns; whoever cancels us meanwhile waits, and is obeyed afterwards."""
    try:
        task = asyncio.get_running_loop().create_task(function())
    except RuntimeError:
        with anyio.CancelScope(shield=True):
            return await function()
    with anyio.CancelScope(shield=True):  # not enough alone: asyncio has its own way of cancelling
        await _end_of(task)
    return task.result()


async def _end_of(task: asyncio.Task[Any]) -> None:
    """Wait for a task; neither is our own cancellation handed on to it, nor is its taken for ours."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # else asyncio logs, whenever it is collected, that nobody saw it
        raise cancelled
    if not task.cancelled():
        task.result()
