"""A read that goes on when nobody waits for it, and a stream that is looked into, by themselves."""

import anyio
import httpx
import pytest
import trio
from trio.testing import MockClock

from resilience.adapters.ahead import Ahead
from resilience.adapters.replayed import Replayed
from resilience.testing import run_virtual


@pytest.fixture(params=["asyncio", "trio"])
def run(request):
    """Runs an async function in virtual time, on each loop."""
    if request.param == "asyncio":
        return run_virtual
    return lambda main: trio.run(main, clock=MockClock(autojump_threshold=0))


class Source:
    """Gives pieces after so many seconds each; tells how it ended."""

    def __init__(self, *pieces, wait=1.0):
        self.pieces = list(pieces)
        self.wait = wait
        self.ended = []

    async def read(self):
        try:
            await anyio.sleep(self.wait)
        except anyio.get_cancelled_exc_class():
            self.ended.append("cancelled")
            raise
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)


def test_wait_may_be_given_up(run):
    """Who stops waiting does not stop the read; whoever asks next gets the piece."""

    async def main():
        source = Source(b"one")
        ahead = Ahead(source.read)
        with anyio.move_on_after(0.5):
            await ahead.wait()
        assert await ahead.result() == b"one"
        assert source.ended == []

    run(main)


def test_piece_that_is_there_is_never_lost(run):
    """A cancellation that comes when the read is done does not take its piece away."""

    async def main():
        ahead = Ahead(Source(b"one").read)
        await anyio.sleep(2)
        pieces = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            pieces.append(await ahead.result())
        assert pieces == [b"one"]

    run(main)


def test_cancelled_result_ends_the_read(run):
    """Who asked for the piece and is cancelled ends the read, as if it were its own."""

    async def main():
        source = Source(b"one")
        ahead = Ahead(source.read)
        with anyio.move_on_after(0.5) as scope:
            await ahead.result()
        assert scope.cancelled_caught
        assert source.ended == ["cancelled"]

    run(main)


@pytest.mark.parametrize("after", [0.0, 0.5, 2.0])
def test_cancel(run, after):
    """Ended before it began, under way or when it is done: it returns, and nothing is under way."""

    async def main():
        source = Source(b"one")
        ahead = Ahead(source.read)
        await anyio.sleep(after)
        await ahead.cancel()
        await ahead.cancel()
        assert source.ended in ([], ["cancelled"])
        if after < 1:
            with pytest.raises(anyio.ClosedResourceError):
                await ahead.result()

    run(main)


@pytest.mark.parametrize("error", [ValueError("broken"), StopAsyncIteration()])
def test_what_the_read_raises_is_raised_by_result(run, error):
    """Errors and the end of the stream come out where the piece would have."""

    async def main():
        async def read():
            raise error

        ahead = Ahead(read)
        await ahead.wait()
        with pytest.raises(type(error)):
            await ahead.result()

    run(main)


class Stream(httpx.AsyncByteStream):
    """Three pieces; counts how often it is closed."""

    def __init__(self):
        self.closed = 0

    async def __aiter__(self):
        for piece in (b"one", b"two", b"three"):
            await anyio.sleep(1)
            yield piece

    async def aclose(self):
        self.closed += 1


@pytest.mark.parametrize("looks", range(5))
@pytest.mark.parametrize("gently", [False, True])
def test_consumer_gets_everything_after_any_number_of_looks(run, looks, gently):
    """However far the look went, and in the middle of a read too, the consumer reads all of it."""

    async def main():
        inner = Stream()
        stream = Replayed(inner)
        for _ in range(looks):
            await stream.take(gently=gently)
        if gently:
            with anyio.move_on_after(0.5):
                await stream.take(gently=True)
        assert [piece async for piece in stream] == [b"one", b"two", b"three"]
        await stream.aclose()
        await stream.aclose()
        assert inner.closed == 1

    run(main)
