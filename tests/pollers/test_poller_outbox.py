"""How a failing sink is asked again, what is parked, and what then happens to the others."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from pollers_kit import PAPER, Provider, make_poller, now, results, stored

from pollers import Event, EventRefused, _relay
from pollers.sinks import POLICY, Sink
from pollers.store import MemoryStore
from resilience import Guard
from resilience.testing import FixedChance, wall

DAY = 86_400.0
Verdict = Callable[[Event], Exception | None]


class AnswerError(Exception):
    """What a receiver over HTTP said."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Scripted(Sink):
    """Takes an event unless ``verdict`` gives an exception for it; remembers when it was asked."""

    def __init__(self, verdict: Verdict = lambda event: None, *, name: str = "s", **settings: Any):
        self.name = name
        self.verdict = verdict
        self.guard = Guard(POLICY, wall=wall, chance=FixedChance(1.0))
        self.tried: list[tuple[float, str]] = []
        self.taken: list[Event] = []
        self.closed = 0
        for key, value in settings.items():
            setattr(self, key, value)

    async def deliver(self, events: Sequence[Event]) -> None:
        self.tried.append((now(), "+".join(word(event) for event in events)))
        for event in events:
            wrong = self.verdict(event)
            if wrong is not None:
                raise wrong
            self.taken.append(event)

    async def aclose(self) -> None:
        self.closed += 1

    @property
    def words(self) -> list[str]:
        return [word(event) for event in self.taken]

    def times(self, of: str) -> list[float]:
        return [at for at, said in self.tried if said == of]


def word(event: Event) -> str:
    return f"{event.subject}.{event.id.rsplit(':', 1)[1]}"


def refuses(*words: str, error: Exception | None = None) -> Verdict:
    return lambda event: (error or EventRefused("no")) if word(event) in words else None


async def lives(store: MemoryStore, *sinks: Sink, jobs: str = "ab", wait: float = 5.0) -> list[Any]:
    """Watch jobs that end at the first look (two events each); what is parked at the end."""
    provider = Provider()
    for name in jobs:
        provider.add(name, at=0.0)
    async with make_poller(provider.source(batch=9), store=store, sinks=sinks) as poller:
        await results(await poller.watch_many(list(jobs)))
        await anyio.sleep(wait)
        return [(one.sink, word(one.event), one.reason) for one in await poller.parked()]


def test_a_sink_that_is_down_for_a_day(run: Any) -> None:
    """It delays nobody else, is asked about every 30 s, and gets everything in order when it is back."""
    store = MemoryStore()
    broken = Scripted(lambda event: OSError("down") if now() < DAY else None, name="broken")
    other = Scripted(name="other")

    async def main() -> None:
        assert await lives(store, broken, other, jobs="abc", wait=DAY + 60.0) == []
        assert broken.taken == other.taken == await stored(store)

    run(main)
    assert other.tried[-1][0] < 0.1
    assert broken.words == ["a.1", "b.1", "c.1", "a.2", "b.2", "c.2"]
    tried = [at for at, _ in broken.tried if at < DAY]
    assert tried[:10] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0, 121.0, 151.0]
    assert max(later - at for at, later in zip(tried, tried[1:], strict=False)) <= 30.0
    assert len(tried) < DAY / 10
    assert broken.tried[-1][0] <= DAY + 31.0


def test_what_can_never_be_taken_is_parked(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """At once, with what comes later of its job behind it; other jobs and sinks go on."""
    store = MemoryStore()
    sink, other = Scripted(refuses("a.1")), Scripted(name="other")

    async def main() -> None:
        assert await lives(store, sink, other) == [
            ("s", "a.1", "no"), ("s", "a.2", "an earlier event of the same job is parked"),
        ]  # fmt: skip
        assert await store.acked("s") == 4

    with caplog.at_level("ERROR", logger="pollers"):
        run(main)
    assert (sink.words, len(other.words)) == (["b.1", "b.2"], 4)
    assert sink.times("a.1") == [0.0]
    (line,) = [one.getMessage() for one in caplog.records if "event_parked" in one.getMessage()]
    assert "sink='s'" in line and "subject='a'" in line and "reason='no'" in line


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_statuses_that_refuse_the_event(status: int, run: Any) -> None:
    """They speak about the body: it is parked with the receiver's words."""
    sink = Scripted(refuses("a.2", error=AnswerError(status)))

    async def main() -> None:
        assert await lives(MemoryStore(), sink) == [("s", "a.2", f"HTTP {status}")]

    run(main)
    assert sink.words == ["a.1", "b.1", "b.2"]


@pytest.mark.parametrize("status", [302, 401, 402, 403, 404, 405, 408, 410, 429, 500, 503, 507])
def test_statuses_that_refuse_us(status: int, run: Any) -> None:
    """They say nothing about the event: it waits until somebody has mended it, and nothing is lost."""
    sink = Scripted(lambda event: AnswerError(status) if now() < 3600.0 else None)

    async def main() -> None:
        assert await lives(MemoryStore(), sink, wait=3700.0) == []

    run(main)
    assert sink.words == ["a.1", "b.1", "a.2", "b.2"]


def test_an_event_that_fails_while_others_are_taken(run: Any) -> None:
    """Ten attempts, one for the next job's event, one more: then it is the event.  None comes twice."""
    sink = Scripted(refuses("a.1", error=RuntimeError("a bug")))

    async def main() -> None:
        assert await lives(MemoryStore(), sink, wait=200.0) == [
            ("s", "a.1", "a bug"), ("s", "a.2", "an earlier event of the same job is parked"),
        ]  # fmt: skip

    run(main)
    assert sink.times("a.1")[:10] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0, 121.0, 151.0]
    assert len(sink.times("a.1")) == 11
    assert sink.words == ["b.1", "b.2"]
    assert 151.0 <= sink.times("b.1")[0] <= 153.0


def test_a_sink_that_is_back_just_then_parks_nothing(run: Any) -> None:
    """The event is tried once more after another was taken; order per job holds."""
    sink = Scripted()
    sink.verdict = lambda event: OSError("down") if len(sink.tried) <= 10 else None

    async def main() -> None:
        assert await lives(MemoryStore(), sink, wait=200.0) == []

    run(main)
    assert sink.words == ["b.1", "a.1", "a.2", "b.2"]


def test_a_refusal_of_the_other_event_proves_as_much(run: Any) -> None:
    """The sink answers, so it is not down."""
    errors = {"a.1": RuntimeError("a bug"), "b.1": EventRefused("no")}
    sink = Scripted(lambda event: errors.get(word(event)))

    async def main() -> None:
        parked = await lives(MemoryStore(), sink, jobs="abc", wait=300.0)
        assert [one[1:] for one in parked if one[1].endswith(".1")] == [
            ("a.1", "a bug"), ("b.1", "no"),
        ]  # fmt: skip

    run(main)
    assert sink.words == ["c.1", "c.2"]


def test_several_events_to_blame_do_not_hide_the_others(run: Any, monkeypatch: Any) -> None:
    """Each job's next event is tried in turn, however far behind.

    The last bad one stays unparked: nobody is left who waits for it, or could prove it.
    """
    monkeypatch.setattr(_relay, "PAGE", 2)
    bad = [f"{job}.1" for job in "abcde"]
    sink = Scripted(refuses(*bad, error=RuntimeError("a bug")))

    async def main() -> None:
        parked = await lives(MemoryStore(), sink, jobs="abcdefg", wait=3600.0)
        assert [one[1] for one in parked if one[2] == "a bug"] == bad[:4]
        assert len(parked) == 4  # what stands behind them comes after the fifth

    run(main)
    assert sink.words == ["f.1", "g.1", "f.2", "g.2"]
    assert [len(sink.times(one)) <= 55 for one in bad] == [True, True, True, True, False]


def test_an_outage_hides_no_event_that_is_to_blame(run: Any) -> None:
    """All the others were tried in vain while the sink was down; they are tried again behind it."""
    bad = refuses("a.1", error=RuntimeError("a bug"))
    sink = Scripted(lambda event: OSError("down") if now() < 3600.0 else bad(event))

    async def main() -> None:
        parked = await lives(MemoryStore(), sink, jobs="abc", wait=7200.0)
        assert [one[1] for one in parked] == ["a.1", "a.2"]

    run(main)
    assert sink.words == ["b.1", "c.1", "b.2", "c.2"]


def test_what_was_taken_before_its_turn_is_not_parked(run: Any) -> None:
    """Its job's next event is refused: that one alone."""
    store = MemoryStore()

    async def main() -> None:
        for job in "ab":
            down = Scripted(lambda event: OSError("down"), in_sequence=True)
            await lives(store, down, jobs=job, wait=0.0)
        errors = {"a.1": RuntimeError("a bug"), "b.2": EventRefused("no")}
        sink = Scripted(lambda event: errors.get(word(event)), batch=2)
        parked = await lives(store, sink, jobs="c", wait=300.0)
        assert [one[1] for one in parked] == ["a.1", "a.2", "b.2"]
        assert sink.words == ["b.1", "c.1", "c.2"]

    run(main)


def test_a_single_job_is_never_parked_by_failures(run: Any) -> None:
    """Nobody waits behind it, and nothing proves that the sink is well."""
    sink = Scripted(lambda event: RuntimeError("a bug") if now() < DAY else None)

    async def main() -> None:
        assert await lives(MemoryStore(), sink, jobs="a", wait=DAY + 60.0) == []

    run(main)
    assert sink.words == ["a.1", "a.2"]


def test_a_sink_in_sequence_is_never_asked_out_of_order(run: Any) -> None:
    """It would take the earlier event for one that it has; so it waits, and loses nothing."""
    sink = Scripted(lambda event: RuntimeError("x") if now() < 3600.0 else None, in_sequence=True)

    async def main() -> None:
        assert await lives(MemoryStore(), sink, wait=3700.0) == []

    run(main)
    assert {said for at, said in sink.tried if at < 3600.0} == {"a.1"}
    assert sink.words == ["a.1", "b.1", "a.2", "b.2"]


def test_a_batch_that_fails_is_given_one_by_one(run: Any) -> None:
    """So the one that is to blame is found; the others are taken, perhaps twice."""
    sink = Scripted(refuses("b.1"), batch=10)

    async def main() -> None:
        parked = await lives(MemoryStore(), sink, jobs="abc")
        assert [one[1] for one in parked] == ["b.1", "b.2"]

    run(main)
    assert [said for _, said in sink.tried] == ["a.1+b.1+c.1", "a.1", "b.1", "c.1", "a.2+c.2"]
    assert sink.words == ["a.1", "a.1", "c.1", "a.2", "c.2"]


def test_a_batch_is_no_larger_than_the_sink_says(run: Any) -> None:
    """And in order."""
    sink = Scripted(batch=3)

    async def main() -> None:
        await lives(MemoryStore(), sink, jobs="abcd")

    run(main)
    assert [said for _, said in sink.tried] == ["a.1+b.1+c.1", "d.1", "a.2+b.2+c.2", "d.2"]


def test_what_is_parked_is_tried_again_by_the_next_run(run: Any) -> None:
    """In order; once the sink takes it, its job goes on as any other."""
    store = MemoryStore()
    first, second, third = Scripted(refuses("a.1")), Scripted(), Scripted()

    async def main() -> None:
        assert len(await lives(store, first)) == 2
        assert await lives(store, second, jobs="c") == []
        await lives(store, third, jobs="d")

    run(main)
    assert second.words == ["a.1", "a.2", "c.1", "c.2"]
    assert third.words == ["d.1", "d.2"]


def test_what_is_refused_again_stays_parked(run: Any) -> None:
    """The other parked job is taken; a sink that is down is not asked for each of them."""
    store = MemoryStore()

    async def main() -> None:
        assert len(await lives(store, Scripted(refuses("a.1", "b.1")))) == 4
        down = Scripted(lambda event: OSError("down"))
        assert len(await lives(store, down, jobs="c", wait=0.5)) == 4
        assert [said for _, said in down.tried] == ["a.1", *["c.1"] * (len(down.tried) - 1)]
        again = Scripted(refuses("a.1"))
        parked = await lives(store, again, jobs="d")
        assert [one[1] for one in parked] == ["a.1", "a.2"]
        assert again.words == ["b.1", "b.2", "c.1", "c.2", "d.1", "d.2"]

    run(main)


def test_a_sink_in_sequence_keeps_what_is_parked(run: Any) -> None:
    """Behind a later one it would be lost: it stays for the user to deal with."""
    store = MemoryStore()

    async def main() -> None:
        assert len(await lives(store, Scripted(refuses("a.1"), in_sequence=True))) == 2
        second = Scripted(in_sequence=True)
        assert len(await lives(store, second, jobs="c")) == 2
        assert second.words == ["c.1", "c.2"]

    run(main)


def test_a_guard_that_refuses_us_parks_nothing(run: Any) -> None:
    """With a guard of the user's: a latched account is nobody's event; its own fatal codes are."""
    bodies = {"refused": 900.0, "bad": 2000.0}

    class SaidError(Exception):
        def __init__(self, code: str) -> None:
            super().__init__(code)
            self.body = {"code": code, "msg": code}

    sink = Scripted()
    sink.verdict = lambda event: next(
        (SaidError(c) for c, at in bodies.items() if now() < at), None
    )
    sink.guard = Guard(PAPER, wall=wall, chance=FixedChance(1.0))

    async def main() -> None:
        parked = await lives(MemoryStore(), sink, wait=2100.0)
        assert [one[1:] for one in parked if one[1].endswith("1")] == [
            ("a.1", "bad"),
            ("b.1", "bad"),
        ]

    run(main)
    assert {said for at, said in sink.tried if at < 900.0} <= {"a.1", "b.1"}
    assert [at for at, _ in sink.tried if at < 900.0][:3] == [0.0, 40.0, 80.0]


def test_a_sinks_place_is_stored_before_any_event_of_its_first_run(run: Any) -> None:
    """So that a crash before its first delivery loses nothing."""
    store = MemoryStore()

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(), store=store, sinks=[Scripted()]) as poller:
            assert await store.acked("s") == 0
            await poller.watch(provider.add("a"))

    run(main)


def test_leaving_closes_the_sinks(run: Any) -> None:
    """Once; one that hangs gets five seconds."""

    class Hangs(Scripted):
        async def aclose(self) -> None:
            await anyio.sleep_forever()

    quick, hanging = Scripted(), Hangs(name="h")

    async def main() -> None:
        await lives(MemoryStore(), quick, wait=0.0)
        before = now()
        await lives(MemoryStore(), hanging, wait=0.0)
        assert now() - before == pytest.approx(5.05)

    run(main)
    assert quick.closed == 1
