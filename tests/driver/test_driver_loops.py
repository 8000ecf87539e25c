"""A guard belongs to one event loop at a time; what it knows about doors outlives the loop."""

import asyncio

import anyio
import pytest
from driver_kit import (
    BAD,
    EMPTY,
    EPOCH,
    LOCKED,
    OK,
    at_rest,
    closed_doors,
    instant,
    make_guard,
    on_trio,
)

from resilience import FatalError, QuotaError
from resilience.testing import Script, VirtualLoop, run_virtual


class Wall:
    """Wall time that goes on while no loop runs."""

    def __init__(self) -> None:
        self.base = EPOCH

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.base + anyio.current_time()


LOOPS = {
    "asyncio-asyncio": (run_virtual, run_virtual),
    "asyncio-trio": (run_virtual, on_trio),
    "trio-asyncio": (on_trio, run_virtual),
    "trio-trio": (on_trio, on_trio),
}


@pytest.fixture(params=LOOPS)
def loops(request):
    """Which loop runs first, and which second."""
    return LOOPS[request.param]


def test_closed_door_carries_over(loops):
    """A lock of ten minutes, met in one loop, is waited for in the next: less what has passed."""
    first, second = loops
    wall = Wall()
    guard = make_guard(wall=wall)
    script = Script([OK], name="read")

    async def before():
        with pytest.raises(QuotaError) as caught:
            await guard.call(Script([LOCKED], name="read"))
        assert caught.value.resume_at == instant(600)
        await anyio.sleep(10)

    async def after():
        zero = anyio.current_time()
        with pytest.raises(QuotaError) as caught:
            await guard.call(script)
        assert (caught.value.attempts, caught.value.resume_at) == (0, instant(600))
        assert await guard.options(max_wait=None).call(script) == OK
        assert anyio.current_time() - zero == 490.0
        at_rest(guard)

    first(before)
    wall.base += 110
    second(after)


def test_lock_that_passed_between_two_loops(loops):
    """A door that opened while no loop ran is open."""
    first, second = loops
    wall = Wall()
    guard = make_guard(wall=wall)

    async def before():
        with pytest.raises(QuotaError):
            await guard.call(Script([EMPTY], name="read"))

    async def after():
        assert await guard.options(max_wait=0).call(Script([OK], name="read")) == OK
        assert closed_doors(guard) == 0

    first(before)
    wall.base += 301
    second(after)


def test_two_live_loops_are_an_error():
    """While calls are under way in one loop, another loop is told to make its own guard."""
    guard = make_guard(observe=lambda _record: None)  # with an observer there is no fast lane
    with (
        asyncio.Runner(loop_factory=VirtualLoop) as one,
        asyncio.Runner(loop_factory=VirtualLoop) as two,
    ):

        async def start():
            task = asyncio.ensure_future(guard.call(Script([OK], delay=5, name="read")))
            await asyncio.sleep(1)
            return task

        async def meddle():
            with pytest.raises(RuntimeError, match="another event loop: make one per loop"):
                await guard.call(Script([OK], name="read"))

        async def finish():
            return await task

        task = one.run(start())
        two.run(meddle())
        assert one.run(finish()) == OK
    at_rest(guard)


def test_elapsed_in_the_second_loop(loops):
    """The clock of the first loop is not mixed into the second's numbers."""
    first, second = loops
    guard = make_guard()

    async def before():
        await anyio.sleep(1000)
        assert await guard.call(Script([OK], name="read")) == OK

    async def after():
        with pytest.raises(QuotaError) as caught:
            await guard.options(max_wait=0).call(Script([LOCKED], delay=2, name="read"))
        assert 0.0 <= caught.value.elapsed <= 2.0

    first(before)
    second(after)


def test_a_clock_patched_into_the_loop_is_the_one_that_counts():
    """Other test kits replace ``loop.time`` of an ordinary loop; elapsed and deadlines follow it."""

    async def main():
        loop = asyncio.get_running_loop()
        shift = [1000.0]
        plain = loop.time
        loop.time = lambda: plain() + shift[0]

        async def read():
            shift[0] += 50.0
            return BAD

        with pytest.raises(FatalError) as caught:
            await make_guard().call(read)
        assert 50.0 <= caught.value.elapsed < 55.0

    asyncio.run(main())
