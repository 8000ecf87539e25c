"""Is it making progress?  Each kind of trouble is found, named, and forgotten when it is over."""

import json
from typing import Any

import anyio
import pytest
from pollers_kit import DOWN, EMPTY, NEVER, Provider, SlowStore, make_poller, paper_guard, stop_of
from submit_kit import Shop

from pollers import EventRefused, Health, Poller, StoreError
from pollers.sinks import CallbackSink
from pollers.store import MemoryStore
from resilience.testing import EPOCH


def found(health: Health) -> list[tuple[str, str]]:
    """Codes, and what they are about."""
    return [(one.code, one.about) for one in health.problems]


def since(health: Health) -> float:
    """When the one problem began."""
    [one] = health.problems
    assert one.since is not None
    return round(one.since.timestamp() - EPOCH, 3)


async def found_at(poller: Poller, until: float, **limits: float) -> dict[float, list[Any]]:
    """What was found, by the second since which it is; only the changes."""
    seen: dict[float, list[Any]] = {}
    last: list[Any] = []
    while anyio.current_time() < until:
        now = found(poller.health(**limits))
        if now != last:
            seen[round(anyio.current_time(), 1)] = last = now
        await anyio.sleep(0.5)
    return seen


def test_a_poller_that_is_well(run: Any) -> None:
    """Also without jobs, and with jobs that are rarely looked at."""

    async def main() -> None:
        provider = Provider()
        settings = {"min_interval": 200.0, "max_interval": 200.0}
        async with make_poller(provider.source(), sinks=[lambda _: None], **settings) as poller:
            assert await found_at(poller, 1000.0) == {}
            await poller.watch(provider.add("a", at=NEVER))
            assert await found_at(poller, 3000.0) == {}
            assert poller.health() == Health(alive=True)
            assert poller.health().data() == {"ok": True, "alive": True, "problems": []}

    run(main)


def test_before_and_after(run: Any) -> None:
    """It isn't alive; whoever left the block knows why."""

    async def main() -> None:
        poller = make_poller(Provider().source())
        assert (poller.health().alive, found(poller.health())) == (False, [("not_started", "")])
        async with poller:
            await anyio.sleep(5.0)
        assert (poller.health().alive, found(poller.health())) == (False, [("stopped", "")])
        assert since(poller.health()) == 5.0
        assert not poller.health().ok

    run(main)


@pytest.mark.parametrize("how", ["failing", "hanging"])
def test_no_look_succeeds(run: Any, how: str) -> None:
    """Two minutes after the first that should have; not again after the first that does."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source()) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(10.0)

            if how == "hanging":
                provider.delay = NEVER
            else:
                provider.always = lambda _: DOWN
            seen = await found_at(poller, 200.0)
            [(at, problems)] = seen.items()
            assert problems == [("no_progress", "jobs of default")]
            assert 130.0 <= at <= 132.0
            assert since(poller.health()) == 10.05
            assert poller.health().alive
            told = poller.health().problems[0].text
            assert ("down" if how == "failing" else "TimeoutError") in told
            json.dumps(poller.health().data())

            provider.always, provider.delay = None, 0.0
            await anyio.sleep(65.0)
            assert poller.health().ok

    run(main)


def test_no_search_succeeds(run: Any) -> None:
    """A submit whose reply was lost is looked for, and the text says that it is a search."""
    shop = Shop()
    shop.search_trouble = [DOWN] * 1000

    async def main() -> None:
        async with shop.poller() as poller:
            await poller.submit(shop.lose)
            await anyio.sleep(125.0)
            [problem] = poller.health().problems
            assert (problem.code, problem.about) == ("no_progress", "jobs of default")
            assert problem.text.endswith(" s: the last search failed: down: not now")
            shop.search_trouble.clear()
            await anyio.sleep(35.0)
            assert poller.health().ok

    run(main)


def test_a_source_whose_jobs_are_gone_is_not_stuck(run: Any) -> None:
    """And a job that comes later is not due since then."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source()) as poller:
            job = await poller.watch(provider.add("a", at=NEVER))
            provider.always = lambda _: DOWN
            await anyio.sleep(200.0)
            assert found(poller.health()) == [("no_progress", "jobs of default")]
            await job.unwatch()
            assert poller.health().ok
            await anyio.sleep(1000.0)
            await poller.watch(provider.add("b", at=NEVER))
            await anyio.sleep(1.0)
            assert poller.health().ok
            await anyio.sleep(130.0)
            assert found(poller.health()) == [("no_progress", "jobs of default")]

    run(main)


def test_one_source_of_several_is_stuck(run: Any) -> None:
    """The other's looks do not hide it."""

    async def main() -> None:
        well, ill = Provider(), Provider()
        ill.always = lambda _: DOWN
        sources = [
            well.source(guard=paper_guard("ann")),
            ill.source(guard=paper_guard("bob"), kind="songs"),
        ]
        async with make_poller(*sources) as poller:
            await poller.watch(well.add("a", at=NEVER), account="ann")
            await poller.watch(ill.add("b", at=NEVER), account="bob")
            await anyio.sleep(60.0)
            assert poller.health().ok
            assert found(poller.health(stuck=30.0)) == [("no_progress", "songs of bob")]

    run(main)


def test_the_provider_refuses_us(run: Any) -> None:
    """At once, with the remedy; it is no reason to be restarted, and not told of twice."""

    async def main() -> None:
        provider = Provider()
        provider.always = lambda _: EMPTY if 20.0 < anyio.current_time() < 500.0 else None
        async with make_poller(provider.source(guard=paper_guard("ann"))) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            seen = await found_at(poller, 600.0)
            assert list(seen.values()) == [[("stalled", "ann")], []]
            start, end = seen
            assert (start, 500.0 < end < 541.0) == (20.5, True)
            provider.always = lambda _: EMPTY
            await anyio.sleep(10.0)
            [problem] = poller.health().problems
            assert problem.text == "the API refuses us: empty: No points. Pay."
            assert poller.health().alive

    run(main)


def test_a_stall_that_nobody_feels_is_none(run: Any) -> None:
    """Without jobs nobody is held up, and nobody would find out that it is over."""

    async def main() -> None:
        provider = Provider()
        provider.always = lambda _: EMPTY
        async with make_poller(provider.source()) as poller:
            job = await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(10.0)
            assert found(poller.health()) == [("stalled", "default")]
            await job.unwatch()
            assert poller.health().ok

    run(main)


def test_a_store_that_is_slow(run: Any) -> None:
    """While it hangs, and for a minute after it was slow."""
    store = SlowStore()

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(), store=store) as poller:
            await poller.watch(provider.add("a", at=30.0))
            await poller.watch(provider.add("b", at=NEVER))
            await anyio.sleep(20.0)
            store.seconds = 10.0
            seen = await found_at(poller, 200.0)
            assert list(seen.values()) == [[("store_slow", "jobs of default")], []]
            start, end = seen
            assert 35.0 <= start <= 37.0
            assert 50.0 + 60.0 <= end <= 50.0 + 63.0
            store.seconds = 0.0

    run(main)


def test_a_store_that_fails_ends_the_poller(run: Any) -> None:
    """So it is not alive, and says why, without what was secret in it."""
    store = SlowStore()

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(), store=store) as poller:
            job = await poller.watch(provider.add("a", at=10.0))
            store.fail_commit = StoreError("disk full at s3://x?token=sk-1")
            await stop_of(job.result())
            await anyio.sleep(5.0)
            health = poller.health()
            assert (health.alive, found(health)) == (False, [("stopped", "")])
            assert "disk full" in health.problems[0].text
            assert "sk-1" not in health.problems[0].text

    run(main)


def test_a_loop_that_crashed_is_not_alive(run: Any) -> None:
    """A source's bug ends the poller; health says so."""

    async def main() -> None:
        provider = Provider()

        class Mine(type(provider.source())):  # type: ignore[misc]
            async def look(self, guard: Any, pick: Any) -> Any:
                raise ZeroDivisionError("a bug")

        source = Mine(provider.one, succeeded=["done"], failed=[], guard=paper_guard())
        async with make_poller(source) as poller:
            job = await poller.watch("a")
            await stop_of(job.result())
            assert found(poller.health()) == [("stopped", "")]
            assert "a bug" in poller.health().problems[0].text

    run(main)


def test_a_sink_that_is_late(run: Any) -> None:
    """Five minutes after the oldest event that it has not got, until it has got it."""
    state = {"down": False}

    def sink(_: Any) -> None:
        if state["down"]:
            raise RuntimeError("down")

    async def main() -> None:
        provider = Provider()
        sinks = [CallbackSink(sink, name="mine"), CallbackSink(lambda _: None, name="other")]
        async with make_poller(provider.source(), sinks=sinks) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(1000.0)
            state["down"] = True
            await poller.watch(provider.add("b", at=NEVER))
            seen = await found_at(poller, 1400.0)
            [(at, problems)] = seen.items()
            assert problems == [("sink_behind", "mine")]
            assert 1300.0 <= at <= 1302.0
            assert since(poller.health()) == 1000.0
            assert "RuntimeError: down" in poller.health().problems[0].text
            assert poller.health(late=500.0).ok
            state["down"] = False
            await anyio.sleep(60.0)
            assert poller.health().ok

    run(main)


@pytest.mark.parametrize("in_sequence", [False, True])
def test_what_a_sink_does_not_take(run: Any, in_sequence: bool) -> None:
    """Until it takes it, at a later start; who is never asked again, is told of by one run only."""
    store = MemoryStore()
    refused = ["a"]

    def sink(event: Any) -> None:
        if event.subject in refused:
            raise EventRefused("no")

    async def lives(name: str) -> list[tuple[str, str]]:
        provider = Provider()
        mine = CallbackSink(sink, name="mine")
        mine.in_sequence = in_sequence
        sinks = [mine, CallbackSink(lambda _: None, name="other")]
        async with make_poller(provider.source(), store=store, sinks=sinks) as poller:
            await anyio.sleep(1.0)
            before = found(poller.health())
            await (await poller.watch(provider.add(name, at=0.0))).result()
            await anyio.sleep(1.0)
            after = poller.health()
            if after.problems:
                assert after.alive and "does not take: 2. poller.parked('mine')" in (
                    after.problems[0].text
                )
                assert ("not tried again" in after.problems[0].text) is in_sequence
        return [*before, ("then", ""), *found(after)]

    async def main() -> None:
        parked = ("parked", "mine")
        assert await lives("a") == [("then", ""), parked]
        tried_again = [] if in_sequence else [parked]
        assert await lives("b") == [*tried_again, ("then", ""), *tried_again]
        refused.clear()
        assert await lives("c") == [("then", "")]

    run(main)


def test_a_sink_that_hangs_at_what_is_parked_is_late(run: Any) -> None:
    """Before it has come to what is new."""
    store = MemoryStore()
    state: dict[str, Any] = {"refuse": True}

    async def sink(_: Any) -> None:
        if state["refuse"]:
            raise EventRefused("no")
        await anyio.sleep_forever()

    async def main() -> None:
        provider = Provider()
        sinks = [CallbackSink(sink, name="mine")]
        async with make_poller(provider.source(), store=store, sinks=sinks) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(10.0)
        state["refuse"] = False
        async with make_poller(provider.source(), store=store, sinks=sinks) as poller:
            await anyio.sleep(5.0)
            assert poller.snapshot()["sinks"][0]["behind_seconds"] == 0.0  # that is not new
            await poller.watch(provider.add("b", at=NEVER))
            await anyio.sleep(10.0)
            assert poller.snapshot()["sinks"][0]["parked"] == 2
            assert found(poller.health()) == [("parked", "mine")]
            await anyio.sleep(300.0)
            assert found(poller.health()) == [("sink_behind", "mine"), ("parked", "mine")]

    run(main)
