"""The stream of events, several sources, and how many requests n jobs take."""

from typing import Any

import anyio
import pytest
from pollers_kit import (
    NEVER,
    Provider,
    kinds,
    make_poller,
    now,
    paper_guard,
    results,
    since_epoch,
    stop_of,
    stored,
    take,
    world,
)

from pollers import (
    BadCursor,
    JobSucceeded,
)
from pollers.store import MemoryStore
from resilience.testing import run_virtual

# -- events ---------------------------------------------------------------------------------------


async def two_jobs(provider: Provider, poller: Any) -> None:
    """Six events: two watching, two changed, two succeeded."""
    provider.add("a", at=1.0)
    provider.add("b", at=2.0)
    await results(await poller.watch_many(["a", "b"]))


SIX = ["JobWatching", "JobWatching", "JobChanged", "JobChanged", "JobSucceeded", "JobSucceeded"]


def test_events_from_the_start_from_now_and_from_a_cursor(run: Any) -> None:
    """`""` gives all, a cursor what is behind it, None what comes."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(batch=5)) as poller:
            await two_jobs(provider, poller)
            everything = await take(poller.events(after=""), 6)
            assert kinds(everything) == SIX
            for i, event in enumerate(everything[:-1]):
                assert await take(poller.events(after=event.cursor), 5 - i) == everything[i + 1 :]
            from_now = poller.events()
            provider.add("c", at=now() + 1.0)
            job = await poller.watch("c")
            await job.result()
            assert [e.subject for e in await take(from_now, 3)] == ["c", "c", "c"]

    run(main)


def test_from_now_means_from_the_call(run: Any) -> None:
    """What happened between `events()` and the first `async for` is not lost."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(batch=5)) as poller:
            stream = poller.events(after=None)
            await two_jobs(provider, poller)
            assert kinds(await take(stream, 6)) == SIX

    run(main)


def test_from_now_before_the_poller_runs_is_from_its_opening(run: Any) -> None:
    """A store that is full of the past gives only what is new."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        async with make_poller(provider.source(batch=5), store=store) as poller:
            await two_jobs(provider, poller)
        provider.add("c", at=now() + 1.0)
        second = make_poller(provider.source(batch=5), store=store)
        stream = second.events()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.run)
            await second.watch("c")
            assert [event.subject for event in await take(stream, 3)] == ["c"] * 3
            tasks.cancel_scope.cancel()

    run(main)


def test_several_consumers_get_everything_in_order(run: Any) -> None:
    """Fast, slow and late ones, without gap or double."""
    provider = Provider()

    async def main() -> None:
        got: dict[str, list[str]] = {"fast": [], "slow": [], "late": []}
        for i in range(20):
            provider.add(f"j{i}", at=1.0 + i * 0.7)
        async with make_poller(provider.source(batch=50)) as poller:

            async def consume(name: str, pause: float, wait: float = 0.0) -> None:
                stream = poller.events(after="")
                await anyio.sleep(wait)
                async for event in stream:
                    got[name].append(event.id)
                    if pause:
                        await anyio.sleep(pause)
                    if len(got[name]) == 60:
                        break
                await stream.aclose()  # type: ignore[attr-defined]

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(consume, "fast", 0.0)
                tasks.start_soon(consume, "slow", 3.0)
                tasks.start_soon(consume, "late", 0.0, 50.0)
                await poller.watch_many([f"j{i}" for i in range(20)])
        assert len(set(got["fast"])) == 60
        assert got["fast"] == got["slow"] == got["late"]

    run(main)


def test_a_stream_resumes_without_gap_or_double(run: Any) -> None:
    """Stopping after every event and going on from its cursor gives exactly the whole."""
    provider = Provider()

    async def main() -> None:
        for i in range(10):
            provider.add(f"j{i}", at=1.0 + i * 0.7)
        async with make_poller(provider.source(batch=50)) as poller:
            await poller.watch_many([f"j{i}" for i in range(10)])
            cursor, seen = "", []
            while len(seen) < 30:
                [event] = await take(poller.events(after=cursor), 1)
                seen.append(event)
                cursor = event.cursor
            assert seen == await take(poller.events(after=""), 30)
            assert len({event.id for event in seen}) == 30

    run(main)


def test_more_events_than_one_page(run: Any) -> None:
    """A backlog of a thousand is given whole."""
    provider = Provider()

    async def main() -> None:
        names = [provider.add(f"j{i}") for i in range(700)]
        async with make_poller(provider.source(batch=1000)) as poller:
            await results(await poller.watch_many(names))
            everything = await take(poller.events(after=""), 1400)
            assert len({event.id for event in everything}) == 1400

    run(main)


def test_a_wrong_cursor_is_told_at_the_first_event(run: Any) -> None:
    """Garbage, or another store's."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(batch=5)) as other:
            await two_jobs(provider, other)
            [event] = await take(other.events(after=""), 1)
        async with make_poller(provider.source(batch=5)) as poller:
            for cursor in ("garbage", event.cursor):
                with pytest.raises(BadCursor):
                    await take(poller.events(after=cursor), 1)

    run(main)


def test_a_stream_ends_with_the_poller_after_giving_everything(run: Any) -> None:
    """First all that was committed, then PollerStopped."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(batch=5)) as poller:
            stream = poller.events(after="")
            await two_jobs(provider, poller)
        given = []
        error = await stop_of(_drain(stream, given))
        assert (kinds(given), error.__cause__) == (SIX, None)

    async def _drain(stream: Any, given: list[Any]) -> None:
        async for event in stream:
            given.append(event)

    run(main)


def test_the_status_is_told_when_it_changes(run: Any) -> None:
    """Once per change, with the text before; an unchanged status is no event."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.lives["a"] = [(0.0, "queued"), (2.5, "running"), (5.5, "done")]
        async with make_poller(
            provider.source(pending=["queued", "running"]), store=store
        ) as poller:
            await (await poller.watch("a")).result()
        told = [
            (type(e).__name__, e.status, getattr(e, "previous", "-"), since_epoch(e))
            for e in await stored(store)
        ]
        assert told == [
            ("JobWatching", None, "-", 0.0),
            ("JobChanged", "queued", None, 0.05),
            ("JobChanged", "running", "queued", 3.05),
            ("JobSucceeded", "done", "-", 6.05),
        ]

    run(main)


def test_an_unknown_status_is_pending_and_reported_once(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The job goes on, and one warning names the word, however many jobs have it."""
    provider = Provider()

    async def main() -> None:
        for name in ("a", "b"):
            provider.lives[name] = [(0.0, "flabbergasted"), (5.5, "done")]
        async with make_poller(provider.source(batch=2)) as poller:
            ended = await results(await poller.watch_many(["a", "b"]))
            assert {type(event) for event in ended} == {JobSucceeded}

    with caplog.at_level("WARNING", logger="pollers"):
        run(main)
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "flabbergasted" in line]) == 1
    assert "pollers.unknown_status" in said[0]


# -- sources --------------------------------------------------------------------------------------


def test_two_sources_in_one_poller(run: Any) -> None:
    """Same account or not: each job is asked for at its own source, in one stream of events."""
    films, songs, others = Provider(), Provider(), Provider()
    guard = paper_guard()

    async def main() -> None:
        films.add("x", at=1.5)
        songs.add("x", at=2.5, end="broken")
        others.add("x", at=0.5)
        async with make_poller(
            films.source(kind="films", guard=guard),
            songs.source(kind="songs", guard=guard),
            others.source(kind="films", guard=paper_guard("other")),
        ) as poller:
            film = await poller.watch("x", kind="films", account="default")
            song = await poller.watch("x", kind="songs")
            other = await poller.watch("x", account="other")
            with pytest.raises(ValueError, match="fit 2 sources"):
                await poller.watch("x", kind="films")
            ended = await results([film, song, other])
            assert kinds(ended) == ["JobSucceeded", "JobFailed", "JobSucceeded"]
            assert [event.source for event in ended] == [
                "/custom/default/films", "/custom/default/songs", "/custom/other/films",
            ]  # fmt: skip
            assert len({e.id for e in await take(poller.events(after=""), 9)}) == 9

    run(main)


def test_a_restart_takes_up_the_jobs_of_each_source(run: Any) -> None:
    """Two sources of one shard get back what is theirs, and only that."""
    films, songs = Provider(), Provider()
    store = MemoryStore()

    async def main() -> None:
        films.add("f", at=5.0)
        songs.add("s", at=5.0)
        for _ in range(2):
            made = films.source(kind="films"), songs.source(kind="songs")
            async with make_poller(*made, store=store) as poller:
                handles = [
                    await poller.watch("f", kind="films"),
                    await poller.watch("s", kind="songs"),
                ]
                with anyio.move_on_after(2.0):
                    await results(handles)
        async with make_poller(
            films.source(kind="films"), songs.source(kind="songs"), store=store
        ) as poller:
            await results(
                [await poller.watch("f", kind="films"), await poller.watch("s", kind="songs")]
            )

    run(main)
    assert {job for _, ids in films.asked for job in ids} == {"f"}
    assert {job for _, ids in songs.asked for job in ids} == {"s"}


# -- requests for n jobs -----------------------------------------------------------------------------


def test_450_videos_take_three_requests_a_sweep() -> None:
    """ceil(450 / 200), never more than five list requests in a second, and nothing rejected."""

    async def main() -> None:
        async with world(limits={}) as here:
            names = [here.emulator.add_video(parse_after=4.0).video_no for _ in range(450)]
            async with make_poller(here.source()) as poller:
                ended = await results(await poller.watch_many(names))
                assert {type(event) for event in ended} == {JobSucceeded}
            at = here.asked_at()
            assert at[:4] == [0.05, 0.26, 0.47, 1.05]
            assert [len(asked) for asked in here.asked()[:3]] == [200, 200, 50 + 150]
            sweeps = 5  # 0.05, 1.05 … 4.05
            assert len(at) <= sweeps * 3 + 1
            assert max(sum(one <= other < one + 1.0 for other in at) for one in at) <= 5
            assert {seen.code for seen in here.emulator.requests} == {"0000"}

    run_virtual(main)


def test_batches_are_filled_with_what_is_due_next(run: Any) -> None:
    """A request that goes anyway asks for the others too: they cost nothing."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        provider.add("b", at=NEVER)
        async with make_poller(provider.source(batch=2)) as poller:
            await poller.watch("a")
            await anyio.sleep(0.6)
            await poller.watch("b")
            await anyio.sleep(3.0)

    run(main)
    assert provider.asked == [
        (0.05, ("a",)), (0.65, ("b", "a")), (1.65, ("b", "a")), (2.65, ("b", "a")),
    ] or [(at, set(ids)) for at, ids in provider.asked] == [
        (0.05, {"a"}), (0.65, {"a", "b"}), (1.65, {"a", "b"}), (2.65, {"a", "b"}),
    ]  # fmt: skip
