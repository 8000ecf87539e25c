"""Virtual time for asyncio: hours of back-off pass in milliseconds, and every instant is exact.

    def test_waits_a_minute():
        async def main():
            await asyncio.sleep(60)
            return asyncio.get_running_loop().time()
        assert run_virtual(main) == 60.0

Time advances only when nothing is ready, no thread is working and no socket has anything to say;
then it jumps to the next timer.  ``wall`` gives seconds since the epoch that go with it.  With
``seed`` the ready queue is shuffled, because a program may not rely on the order in which tasks
wake.  For trio, use ``trio.testing.MockClock(autojump_threshold=0)``.
"""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from anyio import to_thread

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""Wall time at loop time 0: 2023-11-14 22:13:20 UTC."""

_LAST_BITS = 1e-6

_PATIENCE = 0.002
"""Real seconds that sockets get to deliver what is already on its way through the kernel."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock is ours."""

    def __init__(self, *, seed: int | None = None) -> None:
        self._virtual = 0.0
        self._busy_threads = 0
        self.workers: anyio.CapacityLimiter | None = None
        """Counts the threads of ``anyio.to_thread``, which the executor knows nothing of."""
        self._order = None if seed is None else random.Random(seed)  # noqa: S311
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Let virtual time pass, to the very instant of the timer that is due then."""
        then = self._virtual + seconds
        due = self._scheduled[0].when() if self._scheduled else then  # type: ignore[attr-defined]
        # a sum of differences misses an instant by the last bit
        self._virtual = due if abs(due - then) < _LAST_BITS else then

    @property
    def busy(self) -> bool:
        """Whether a thread is working for this loop."""
        borrowed = self.workers.borrowed_tokens if self.workers else 0
        return self._busy_threads + borrowed > 0

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # plainer
        """As usual, but virtual time stands still until the thread is done."""
        self._busy_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """As usual; the joining thread is not one of the executor's, but it works for us too."""
        self._busy_threads += 1
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._busy_threads -= 1

    def _thread_done(self, _future: Any) -> None:
        self._busy_threads -= 1

    def _run_once(self) -> None:
        if self._order is not None and len(self._ready) > 1:  # type: ignore[attr-defined]
            ready = list(self._ready)  # type: ignore[attr-defined]
            self._order.shuffle(ready)
            self._ready.clear()  # type: ignore[attr-defined]
            self._ready.extend(ready)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class _Selector(selectors.DefaultSelector):
    """Never sleeps: moves the loop's clock instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self._loop.busy or timeout is None:
            return super().select(0.05 if self._loop.busy else None)
        if len(self.get_map()) > 1:  # the loop's own wake-up pipe is always there
            ready = super().select(_PATIENCE)
        if not ready and timeout is not None:
            self._loop.advance(timeout)
        return ready


def run_virtual(main: Callable[[], Awaitable[T]], *, seed: int | None = None) -> T:
    """Run an async function to its end in virtual time.

    Args:
        main: takes nothing.
        seed: shuffle the order in which ready tasks run.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed=seed)) as runner:
        return runner.run(_awaited(main))


async def _awaited(main: Callable[[], Awaitable[T]]) -> T:
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualLoop):
        loop.workers = to_thread.current_default_thread_limiter()
    return await main()


def wall() -> float:
    """Seconds since the epoch that go with the running loop's virtual time, trio's included."""
    return EPOCH + anyio.current_time()
