"""The promises of ``pollers/sinks/base.py``, kept by every sink, and sinks that break one."""

import asyncio
import inspect
from typing import Any

import pytest
from sinks_kit import PLACES, Function, events, ids

from pollers.sinks import CallbackSink, Sink


class Contract:
    """Each function is a promise.  ``place`` is broken at first, and ``sink`` delivers to it."""

    async def what_was_delivered_is_there(self, place: Any, sink: Sink) -> None:
        """In order, when ``deliver`` returns, batch after batch."""
        await place.mend()
        given = events(7)
        for start in range(0, 7, min(sink.batch, 3)):
            await sink.deliver(given[start : start + min(sink.batch, 3)])
            assert await place.ids() == ids(given[: start + min(sink.batch, 3)])

    async def a_failure_is_told(self, place: Any, sink: Sink) -> None:
        """Nothing is taken then; once it is mended, the same sink takes it."""
        given = events(1)
        for _ in range(2):
            with pytest.raises(Exception, match="."):  # its own kind
                await sink.deliver(given)
        await place.mend()
        assert await place.ids() == []
        await sink.deliver(given)
        assert await place.ids() == ids(given)

    async def the_same_again_has_the_same_id(self, place: Any, sink: Sink) -> None:
        """A sink in sequence has it once; of the others, the receiver can tell."""
        await place.mend()
        given = events(2)
        for _ in range(2):
            for event in given:
                await sink.deliver([event])
        assert await place.ids() == ids(given) * (1 if sink.in_sequence else 2)

    async def a_new_sink_goes_on(self, place: Any, sink: Sink) -> None:
        """After a restart, with the last batch again and more."""
        await place.mend()
        given = events(4)
        for event in given[:2]:
            await sink.deliver([event])
        await sink.aclose()
        again = place.sink()
        for event in given[1:]:
            await again.deliver([event])
        await again.aclose()
        expected = ids(given) if sink.in_sequence else [*ids(given[:2]), *ids(given[1:])]
        assert await place.ids() == expected

    async def closing_is_harmless_at_any_time(self, place: Any, sink: Sink) -> None:
        """Before its use, twice, and in between: it opens again."""
        await sink.aclose()
        await place.mend()
        given = events(2)
        for event in given:
            await sink.deliver([event])
            await sink.aclose()
            await sink.aclose()
        assert await place.ids() == ids(given)

    async def it_can_be_cancelled_anywhere(self, place: Any, sink: Sink) -> None:
        """And asked again: nothing is missing; in sequence, nothing is there twice."""
        await place.mend()
        given = events(12)
        for number, event in enumerate(given):
            task = asyncio.ensure_future(sink.deliver([event]))
            for _ in range(number * 2):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await sink.deliver([event])
        found = await place.ids()
        assert list(dict.fromkeys(found)) == ids(given)
        assert len(found) == 12 or not sink.in_sequence

    async def any_data_survives(self, place: Any, sink: Sink) -> None:
        """Line ends, text of every script, large ones."""
        await place.mend()
        given = events(1, data=["a\nb\r\n\u2028", "ü🎬\u0000", {"x": "y" * 100_000}])
        await sink.deliver(given)
        assert await place.ids() == ids(given)

    async def its_name_is_the_same_each_time(self, place: Any, sink: Sink) -> None:
        """Its cursor is stored under it."""
        assert (sink.name, sink.batch >= 1) == (place.sink().name, True)


PROMISES = dict(inspect.getmembers(Contract(), inspect.iscoroutinefunction))


async def keep(promise: Any, place: Any) -> None:
    async with place:
        sink = place.sink()
        try:
            await promise(place, sink)
        finally:
            await sink.aclose()


@pytest.mark.parametrize("kind", list(PLACES))
@pytest.mark.parametrize("name", list(PROMISES))
async def test_promise(name: str, kind: str, tmp_path: Any, servers: Any) -> None:
    """A sink keeps its promise."""
    await keep(PROMISES[name], PLACES[kind](tmp_path, servers))


class Swallows(CallbackSink):
    """Says that it has what it could not deliver."""

    async def deliver(self, given: Any) -> None:
        try:
            await super().deliver(given)
        except OSError:
            pass


class TakesTheFirst(CallbackSink):
    """Of a batch."""

    batch = 3

    async def deliver(self, given: Any) -> None:
        await super().deliver(given[:1])


class StaysClosed(CallbackSink):
    """Once closed, for ever."""

    async def aclose(self) -> None:
        self._callback = None


class SaysThatItRemembers(CallbackSink):
    """What it has, but it does not."""

    in_sequence = True


@pytest.mark.parametrize("broken", [Swallows, TakesTheFirst, StaysClosed, SaysThatItRemembers])
async def test_broken_sink_is_found_out(broken: Any) -> None:
    """At least one promise fails."""
    failed = []
    for name, promise in PROMISES.items():
        place = Function(None, None)  # type: ignore[arg-type]
        place.sink = lambda place=place: broken(place.take, name="x")
        try:
            await keep(promise, place)
        except (Exception, pytest.fail.Exception):
            failed.append(name)
    assert failed
