"""Watching, results, unwatching and the stream of events, in virtual time on both loops."""

from datetime import timedelta
from typing import Any

import anyio
import pytest
from pollers_kit import (
    NEVER,
    Provider,
    SlowStore,
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
    JobCancelled,
    JobExpired,
    JobFailed,
    JobSucceeded,
    State,
)
from pollers.store import MemoryStore
from resilience.testing import EPOCH, run_virtual


def test_a_job_is_looked_at_until_it_ends(run: Any) -> None:
    """First look after 50 ms, then every interval; the end is told at the look that sees it."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=2.5)
        async with make_poller(provider.source()) as poller:
            job = await poller.watch("a", data={"user": 7})
            event = await job.result()
            assert isinstance(event, JobSucceeded)
            assert (event.job_id, event.status, event.looks, event.user_data) == ("a", "done", 4, {"user": 7})
            assert (event.elapsed, since_epoch(event), now()) == (3.05, 3.05, 3.05)
            assert (job.id, (await job.row()).state) == ("a", State.SUCCEEDED)
            await anyio.sleep(100.0)

    run(main)
    assert provider.asked_at == [0.05, 1.05, 2.05, 3.05]  # and never again


def test_intervals_grow_with_age_by_default(run: Any) -> None:
    """With the default pace an hour costs a request every half minute at most."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=3600.0)
        async with make_poller(provider.source(), max_interval=30.0) as poller:
            job = await poller.watch("a", deadline=None)
            assert isinstance(await job.result(), JobSucceeded)

    run(main)
    gaps = [b - a for a, b in zip(provider.asked_at, provider.asked_at[1:], strict=False)]
    assert gaps[0] == 1.0
    assert all(later >= earlier - 0.002 for earlier, later in zip(gaps, gaps[1:], strict=False))
    assert round(max(gaps), 3) == 30.0
    assert 3600.0 <= provider.asked_at[-1] <= 3630.0


@pytest.mark.parametrize(
    ("end", "kind", "cause"),
    [
        ("done", JobSucceeded, None),
        ({"status": "broken", "cause": "no disk"}, JobFailed, "no disk"),
        ({"status": "DONE", "cause": "null"}, JobSucceeded, None),
    ],
)
def test_the_result_is_the_provider_s(run: Any, end: Any, kind: type, cause: str | None) -> None:
    """A failure status is the job's result, with the provider's reason."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=0.5, end=end)
        async with make_poller(provider.source()) as poller:
            event = await (await poller.watch("a")).result()
            assert (type(event), event.cause) == (kind, cause)

    run(main)


def test_many_jobs_are_watched_in_one_go(run: Any) -> None:
    """`watch_many` takes ids and pairs, keeps the order, and they share their first look."""
    provider = Provider()

    async def main() -> None:
        for i in range(5):
            provider.add(f"j{i}", at=0.0)
        async with make_poller(provider.source(batch=10)) as poller:
            handles = await poller.watch_many(["j0", ("j1", 1), "j2", ("j3", None), "j0"])
            assert [handle.id for handle in handles] == ["j0", "j1", "j2", "j3", "j0"]
            ended = await results(handles)
            assert [event.user_data for event in ended] == [None, 1, None, None, None]
            assert ended[0] == ended[4]

    run(main)
    assert provider.asked == [(0.05, ("j0", "j1", "j2", "j3"))]


def test_nothing_to_watch_is_nothing(run: Any) -> None:
    """An empty list is fine and asks nobody."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source()) as poller:
            assert await poller.watch_many([]) == []
            await anyio.sleep(1000.0)

    run(main)
    assert provider.asked == []


def test_a_known_job_is_returned_as_it_is(run: Any) -> None:
    """Data, deadline and row are those of the first watch; nothing happens twice."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(), store=store) as poller:
            first = await poller.watch("a", deadline=5.0, data="first")
            await anyio.sleep(3.0)
            second = await poller.watch("a", deadline=1000.0, data="second", again=True)
            row = await second.row()
            assert (row.rid, row.data, row.deadline) == ((await first.row()).rid, "first", EPOCH + 5.0)
            event = await second.result()
            assert (type(event), now(), event.user_data) == (JobExpired, 5.0, "first")
        assert kinds(await stored(store)) == ["JobWatching", "JobChanged", "JobExpired"]

    run(main)


def test_a_finished_job_gives_its_stored_result(run: Any) -> None:
    """The same event with the same id, and no request; `again` starts a new row."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=0.0)
        async with make_poller(provider.source()) as poller:
            first = await poller.watch("a", data=1)
            event = await first.result()
            asked = len(provider.asked)
            again = await poller.watch("a", data=2)
            assert await again.result() == event
            assert len(provider.asked) == asked

            provider.add("a", at=now() + 1.5, end="broken")
            new = await poller.watch("a", data=3, again=True)
            other = await new.result()
            assert (type(other), other.user_data) == (JobFailed, 3)
            assert other.id != event.id
            assert await first.result() == event
            assert [(await handle.row()).state for handle in (first, new)] == [State.SUCCEEDED, State.FAILED]
            found = await poller.job("a")
            assert found is not None
            assert await found.result() == other

    run(main)


def test_jobs_can_be_found_and_listed(run: Any) -> None:
    """`job(id)` finds the newest, `jobs(state=…)` filters; states may be given as words."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=0.0)
        provider.add("b", at=NEVER)
        async with make_poller(provider.source()) as poller:
            a = await poller.watch("a")
            await poller.watch("b")
            await a.result()
            assert [job.key.remote_id for job in await poller.jobs()] == ["a", "b"]
            assert [job.key.remote_id for job in await poller.jobs(state="watching")] == ["b"]
            assert [job.key.remote_id for job in await poller.jobs(state=State.SUCCEEDED)] == ["a"]
            assert await poller.job("unheard of") is None
            with pytest.raises(ValueError, match="sleeping"):
                await poller.jobs(state="sleeping")

    run(main)


@pytest.mark.parametrize(
    ("deadline", "ends"),
    [(5.0, 5.0), (timedelta(seconds=5), 5.0), (0.0, 0.05), (0.02, 0.05)],
)
def test_a_deadline_is_seconds_or_a_timedelta(run: Any, deadline: Any, ends: float) -> None:
    """It is counted from the watch; even the shortest allows one look."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source()) as poller:
            event = await (await poller.watch("a", deadline=deadline)).result()
            assert isinstance(event, JobExpired)
            assert (event.reason, event.status, now()) == ("deadline", "running", ends)

    run(main)


def test_cancelling_a_wait_leaves_the_job(run: Any) -> None:
    """A result that nobody waits for any more still comes."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=4.5)
        async with make_poller(provider.source()) as poller:
            job = await poller.watch("a")
            with anyio.move_on_after(2.0) as scope:
                await job.result()
            assert scope.cancelled_caught
            assert (await job.row()).state is State.WATCHING
            assert isinstance(await job.result(), JobSucceeded)

    run(main)


def test_many_may_wait_for_one_job(run: Any) -> None:
    """Every waiter gets the same event; one that leaves takes nobody along."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=4.5)
        got: list[Any] = []
        async with make_poller(provider.source()) as poller:
            job = await poller.watch("a")

            async def wait() -> None:
                got.append(await job.result())

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(wait)
                with anyio.move_on_after(1.0):
                    await job.result()
        assert len(got) == 3
        assert len({event.id for event in got}) == 1

    run(main)


def test_unwatching_ends_with_cancelled(run: Any) -> None:
    """The watch ends, nobody looks any more, and doing it twice changes nothing."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.add("a", at=100.0)
        async with make_poller(provider.source(), store=store) as poller:
            job = await poller.watch("a", data=1)
            await anyio.sleep(2.5)
            await job.unwatch()
            await job.unwatch()
            event = await job.result()
            assert isinstance(event, JobCancelled)
            assert (event.status, event.looks, since_epoch(event)) == ("running", 3, 2.5)
            await anyio.sleep(200.0)
        assert kinds(await stored(store)) == ["JobWatching", "JobChanged", "JobCancelled"]

    run(main)
    assert provider.asked_at == [0.05, 1.05, 2.05]


def test_unwatching_an_ended_job_leaves_it(run: Any) -> None:
    """What has ended stays as it is."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=0.0)
        async with make_poller(provider.source()) as poller:
            job = await poller.watch("a")
            event = await job.result()
            await job.unwatch()
            assert await job.result() == event

    run(main)


@pytest.mark.parametrize("seconds", [0.0, 0.3], ids=["quick-store", "slow-store"])
@pytest.mark.parametrize("moment", [1.1, 1.4, 1.5, 1.7, 2.0, 2.2])
def test_unwatching_while_a_look_is_in_flight(run: Any, seconds: float, moment: float) -> None:
    """Whoever commits first wins; one terminal event, the versions count up, the poller lives."""
    provider = Provider(delay=0.5)
    store = SlowStore(seconds)

    async def main() -> None:
        provider.add("a", at=1.2)
        provider.add("b", at=5.0)
        async with make_poller(provider.source(batch=2), store=store) as poller:
            a, b = await poller.watch_many(["a", "b"])
            await anyio.sleep(max(0.0, moment - anyio.current_time()))
            await a.unwatch()
            assert isinstance(await a.result(), (JobCancelled, JobSucceeded))
            assert isinstance(await b.result(), JobSucceeded)
            told = [event for event in await stored(store) if event.subject == "a"]
            assert [event.id.rsplit(":", 1)[1] for event in told] == [str(i + 1) for i in range(len(told))]
            assert sum(kind not in ("JobWatching", "JobChanged") for kind in kinds(told)) == 1

    run(main)


def test_a_cancelled_unwatch_or_watch_leaves_no_half(run: Any) -> None:
    """Cancelled in the middle of a commit: what is stored is also what is held."""
    provider = Provider()
    store = SlowStore(1.0)

    async def main() -> None:
        provider.add("a", at=8.0)
        provider.add("b", at=8.0)
        async with make_poller(provider.source(batch=5), store=store) as poller:
            with anyio.move_on_after(1.5) as scope:
                await poller.watch("a")
            assert scope.cancel_called
            await anyio.sleep(3.0)
            assert provider.looks_at("a") != []  # it was stored, so it is watched
            b = await poller.watch("b")
            with anyio.move_on_after(1.5):
                await b.unwatch()
            a = await poller.watch("a")
            assert isinstance(await a.result(), JobSucceeded)
            assert type(await b.result()) in (JobCancelled, JobSucceeded)
            assert poller.stopped is None

    run(main)


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("job_id", ["", None, 7, b"a"])
def test_an_id_must_be_a_text(run: Any, job_id: Any) -> None:
    """An empty id or another type is refused, and nothing is stored."""
    store = MemoryStore()

    async def main() -> None:
        async with make_poller(Provider().source(), store=store) as poller:
            with pytest.raises(ValueError, match="not a job's id"):
                await poller.watch(job_id)
            with pytest.raises(ValueError, match="not a job's id"):
                await poller.watch_many(["good", job_id])
            assert await poller.jobs() == []

    run(main)


def test_data_must_be_json(run: Any) -> None:
    """What can't be stored is refused by name; any JSON value comes back equal."""

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            with pytest.raises(ValueError, match="not a JSON value"):
                await poller.watch("a", data=object())
            with pytest.raises(ValueError, match="not a JSON value"):
                await poller.watch("a", data={"f": print})
            for i, data in enumerate([None, 0, 1.5, "ä\u2028", [1, {"a": [None, True]}], {}]):
                row = await (await poller.watch(f"j{i}", data=data)).row()
                assert row.data == data

    run(main)


def test_data_is_a_copy(run: Any) -> None:
    """Changing one's own object afterwards changes nothing of what was stored."""

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            mine = {"list": [1]}
            job = await poller.watch("a", data=mine)
            mine["list"].append(2)
            assert (await job.row()).data == {"list": [1]}

    run(main)


def test_a_text_is_not_a_list_of_ids(run: Any) -> None:
    """`watch_many("VI1")` would watch V, I and 1."""

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            with pytest.raises(TypeError, match="VI1"):
                await poller.watch_many("VI1")

    run(main)


def test_an_unknown_kind_or_account_is_refused(run: Any) -> None:
    """The error names what there is."""

    async def main() -> None:
        async with make_poller(Provider().source(kind="videos")) as poller:
            with pytest.raises(ValueError, match=r"kind='films'.*videos of default"):
                await poller.watch("a", kind="films")
            with pytest.raises(ValueError, match=r"account='x'"):
                await poller.watch("a", account="x")
            await poller.watch("a", kind="videos", account="default")

    run(main)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"on_refused": "wait"}, "on_refused='wait'"),
        ({"min_interval": 0.0}, "min_interval"),
        ({"min_interval": 2.0, "max_interval": 1.0}, "min_interval"),
    ],
)
def test_wrong_settings_are_refused(settings: Any, match: str) -> None:
    """When the poller is made, outside of any loop."""
    with pytest.raises(ValueError, match=match):
        make_poller(Provider().source(), **settings)


def test_a_poller_needs_sources_that_differ() -> None:
    """None, or two of one kind and account, are refused."""
    with pytest.raises(ValueError, match="source"):
        make_poller()
    with pytest.raises(ValueError, match="two sources"):
        make_poller(Provider().source(), Provider().source())


def test_a_poller_is_made_outside_of_a_loop_and_runs_once(run: Any) -> None:
    """Made in a module, used in `asyncio.run`; a second use is refused and disturbs nothing."""
    provider = Provider()
    poller = make_poller(provider.source())

    async def main() -> None:
        provider.add("a", at=1.5)
        async with poller:
            job = await poller.watch("a")
            with pytest.raises(RuntimeError, match="runs once"):
                async with poller:
                    pass
            assert isinstance(await job.result(), JobSucceeded)
        with pytest.raises(RuntimeError, match="runs once"):
            await poller.run()

    run(main)


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
        async with make_poller(provider.source(pending=["queued", "running"]), store=store) as poller:
            await (await poller.watch("a")).result()
        told = [(type(e).__name__, e.status, getattr(e, "previous", "-"), since_epoch(e)) for e in await stored(store)]
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
                handles = [await poller.watch("f", kind="films"), await poller.watch("s", kind="songs")]
                with anyio.move_on_after(2.0):
                    await results(handles)
        async with make_poller(films.source(kind="films"), songs.source(kind="songs"), store=store) as poller:
            await results([await poller.watch("f", kind="films"), await poller.watch("s", kind="songs")])

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
