"""Scraper tasks in a poller, in virtual time: exact instants, restarts, two kinds in one account."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from pollers_kit import World, kinds, make_poller, now, results, since_epoch, stored, world

from pollers import (
    Event,
    JobCancelled,
    JobChanged,
    JobEvent,
    JobExpired,
    JobFailed,
    JobKey,
    JobSucceeded,
    Poller,
    State,
)
from pollers._core.events import TERMINAL
from pollers._core.model import Job
from pollers._queue import Hand
from pollers._watch import Pace, Watch
from pollers.emulator import Fault
from pollers.sources import CallableSource, MemoriesScrapes
from pollers.store import MemoryStore
from pollers.store.sqlite import SqliteStore
from resilience import Guard
from resilience.testing import run_virtual


def scrapes(here: World, **settings: Any) -> MemoriesScrapes:
    settings = {"api_key": "sk-test", "base_url": here.emulator.base_url, **settings}
    return MemoriesScrapes(here.session, **settings)


async def watched(
    here: World, *, store: Any = None, source: Mapping[str, Any] | None = None, **watch: Any
) -> Any:
    """The terminal event of T1 and all that was told of it."""
    store = store or MemoryStore()
    async with make_poller(scrapes(here, **(source or {})), store=store) as poller:
        job = await poller.watch("T1", **watch)
        end = await job.result()
        return end, await stored(store)


def told(events: Iterable[Event]) -> list[tuple[float, str]]:
    return [(since_epoch(e), e.status or "") for e in events if isinstance(e, JobEvent)]


def states(event: Any) -> dict[str, str]:
    return {child.id: child.state for child in event.children}


GROWING = [
    {"video_no": "VI1", "parse_after": 5.0},
    {"video_no": "VI2", "appears_after": 2.0, "parse_after": 3.0},
    {"video_no": "VI3", "appears_after": 4.0, "parse_after": 9.0},
]


def test_an_expected_task_ends_with_the_look_that_finds_its_last_video_parsed() -> None:
    """The list grows; each look that finds something new is one change; nothing waits to settle."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=GROWING)
            return await watched(here, expect=3)

    end, events = run_virtual(main)
    assert isinstance(end, JobSucceeded)
    assert told(events) == [
        (0.0, ""),
        (0.05, "0 of 3 parsed"),
        (3.2, "1 of 3 parsed"),
        (5.3, "2 of 3 parsed"),
        (9.5, "3 of 3 parsed"),
    ]
    assert states(end) == dict.fromkeys(["VI1", "VI2", "VI3"], "succeeded")
    assert end.to_cloudevent()["data"]["children"][0] == {
        "id": "VI1", "state": "succeeded", "status": "PARSE", "cause": None,
    }  # fmt: skip
    assert end.source == "/memories_ai/default/scrapes"


def test_a_task_settles_when_its_set_has_not_changed() -> None:
    """The third video came at 4 s, was seen at 4.25 s; 10 s later nothing more had come."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=GROWING)
            end, events = await watched(here, settle=10.0)
            return end, events, here.asked_at("task")

    end, events, asked = run_virtual(main)
    assert told(events) == [
        (0.0, ""),
        (0.05, "0 of 1 parsed, more may come"),
        (2.15, "0 of 2 parsed, more may come"),
        (3.2, "1 of 2 parsed, more may come"),
        (4.25, "1 of 3 parsed, more may come"),
        (5.3, "2 of 3 parsed, more may come"),
        (9.5, "3 of 3 parsed, more may come"),
        (14.75, "3 of 3 parsed"),
    ]
    assert (type(end), asked[-1]) == (JobSucceeded, 14.75)


def test_a_settled_task_is_asked_no_more() -> None:
    """Only its videos are, until they have ended."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=[{"parse_after": 20.0}])
            end, _ = await watched(here, settle=3.0)
            return since_epoch(end), here.asked_at("task"), len(here.asked_at("list"))

    assert run_virtual(main) == (20.0, [0.05, 1.1, 2.15, 3.2], 20)


def test_expecting_more_than_ever_comes_ends_by_settling() -> None:
    """The text keeps what was expected; the children are those that came."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=[{"video_no": "VI1"}, {"video_no": "VI2"}])
            return (await watched(here, expect=5, settle=4.0))[0]

    end = run_virtual(main)
    assert (type(end), since_epoch(end), end.status) == (JobSucceeded, 4.25, "2 of 5 parsed")
    assert states(end) == {"VI1": "succeeded", "VI2": "succeeded"}


def test_one_parsed_video_is_a_success_and_none_is_a_failure() -> None:
    """A child that failed is in `children` with its cause; all of them failed: so did the task."""
    bad = {"outcome": "PARSE_ERROR", "cause": "no video stream"}

    async def main(*videos: Any) -> Any:
        async with world(dialect="2025") as here:
            here.emulator.add_scrape("T1", videos=videos)
            return (await watched(here, expect=2))[0]

    mixed = run_virtual(lambda: main({"video_no": "VI1"}, {"video_no": "VI2", **bad}))
    assert (type(mixed), mixed.cause) == (JobSucceeded, None)
    assert [(c.state, c.cause) for c in mixed.children] == [
        ("succeeded", None), ("failed", "no video stream"),
    ]  # fmt: skip
    worse = run_virtual(lambda: main({"video_no": "VI1", **bad}, {"video_no": "VI2", **bad}))
    assert (type(worse), worse.cause) == (JobFailed, "no video stream")
    assert worse.status == "0 of 2 parsed, 2 failed"


def test_a_task_that_stays_empty_expires_at_its_deadline() -> None:
    """A bad address looks like "still downloading" for ever; it never settles and is never missing."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1")
            return await watched(here, settle=0.0, deadline=600.0)

    end, events = run_virtual(main)
    assert (type(end), end.reason, end.children) == (JobExpired, "deadline", ())
    assert 600.0 <= since_epoch(end) <= 601.05
    assert "children" not in end.to_cloudevent()["data"]
    assert kinds(events) == ["JobWatching", "JobChanged", "JobExpired"]


def test_an_unknown_task_is_missing_after_its_grace() -> None:
    """Null is "not there yet" for sixty seconds."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T2", known_after=50.0, videos=[{"appears_after": 50.0}])
            async with make_poller(scrapes(here)) as poller:
                jobs = await poller.watch_many(["T1", "T2"], settle=0.0)
                return [(type(e), e.reason if isinstance(e, JobExpired) else "", since_epoch(e))
                        for e in await results(jobs)]  # fmt: skip

    (first, second) = run_virtual(main)
    assert first == (JobExpired, "missing", 60.95)
    assert second[:2] == (JobSucceeded, "")
    assert 50.0 <= second[2] <= 52.1  # two tasks share one request a second


def test_a_task_whose_only_video_is_gone_is_missing() -> None:
    """Neither a success nor a failure: the provider doesn't know what came of it."""

    async def main() -> Any:
        async with world(task_listing="video_ids") as here:
            here.emulator.add_scrape("T1", videos=[{"video_no": "VI1", "visible_after": 1e9}])
            return (await watched(here, expect=1, source={"grace": 20.0}))[0]

    end = run_virtual(main)
    assert (type(end), end.reason, states(end)) == (JobExpired, "missing", {"VI1": "missing"})
    assert 80.0 <= since_epoch(end) <= 83.0


def test_an_end_without_a_look_has_the_children_that_were_known() -> None:
    """Unwatched, or expired while the API is down."""

    async def main() -> Any:
        async with world() as here:
            videos = [{"video_no": "VI1"}, {"video_no": "VI2", "parse_after": None}]
            here.emulator.add_scrape("T1", videos=videos)
            here.emulator.add_scrape("T2", videos=[{"video_no": "VI3", "parse_after": None}])
            async with make_poller(scrapes(here)) as poller:
                one = await poller.watch("T1", expect=2, deadline=10.0)
                two = await poller.watch("T2", expect=1)
                await anyio.sleep(5.0)
                await two.unwatch()
                here.emulator.fail("any", Fault(status=503, times=None))
                return await results([one, two])

    expired, cancelled = run_virtual(main)
    assert (type(expired), states(expired)) == (
        JobExpired, {"VI1": "succeeded", "VI2": "pending"},
    )  # fmt: skip
    assert (type(cancelled), states(cancelled)) == (JobCancelled, {"VI3": "pending"})


def test_changes_are_bounded_by_what_happens_not_by_looks() -> None:
    """Forty videos that come and end one by one, seen in 300 looks: at most two changes a video."""

    async def main() -> Any:
        async with world() as here:
            videos = [
                {"appears_after": n * 3.0, "parse_after": n * 3.0 + 150.0, "visible_after": n * 5.0}
                for n in range(40)
            ]
            here.emulator.add_scrape("T1", videos=videos)
            return await watched(here, settle=40.0)

    end, events = run_virtual(main)
    assert isinstance(end, JobSucceeded)
    assert end.looks > 200
    changes = [event for event in events if isinstance(event, JobChanged)]
    assert 40 <= len(changes) <= 80
    assert all(event.children == () for event in changes)


# -- restarts -------------------------------------------------------------------------------------


CRASHES = [0.0, 0.05, 0.5, 1.2, 2.15, 3.3, 4.25, 4.9, 5.3, 7.0, 9.4]


@pytest.mark.parametrize("crash", CRASHES)
def test_a_restart_at_any_step_loses_nothing(crash: float, tmp_path: Path) -> None:
    """`expect` and `settle` are in the row; the videos are learned again; one terminal event."""

    async def live(here: World, *, seconds: float) -> Any:
        store = SqliteStore(tmp_path / f"{crash}.db")
        with anyio.move_on_after(seconds):
            async with make_poller(scrapes(here), store=store) as poller:
                job = await poller.watch("T1", expect=3, settle=7.0)
                end = await job.result()
                events = [e async for e in _until(poller.events(after=""), end.id)]
                row = await job.row()
                return end, events, row
        return None

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=GROWING)
            first = await live(here, seconds=crash)
            assert first is None
            return await live(here, seconds=100.0), now()

    (end, events, row), ended = run_virtual(main)
    assert isinstance(end, JobSucceeded)
    assert states(end) == dict.fromkeys(["VI1", "VI2", "VI3"], "succeeded")
    assert [isinstance(event, TERMINAL) for event in events].count(True) == 1
    assert len({event.id for event in events}) == len(events)
    assert 9.0 <= ended <= 10.1
    assert (row.features["expect"], row.features["settle"]) == (3, 7.0)


async def _until(stream: Any, last: str) -> Any:
    async for event in stream:
        yield event
        if event.id == last:
            break
    await stream.aclose()


def test_settling_is_not_counted_over_a_restart() -> None:
    """Nobody looked while it was down, so the span begins with the first look of the new run."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=[{"video_no": "VI1"}])
            store = MemoryStore()
            for seconds in (8.0, 100.0):
                with anyio.move_on_after(seconds):
                    async with make_poller(scrapes(here), store=store) as poller:
                        job = await poller.watch("T1", settle=10.0)
                        return since_epoch(await job.result())
                await anyio.sleep(20.0)
            return None

    # looks of the second run: 28.05 s and each 1.05 s after; ten seconds are over at 38.55 s
    assert run_virtual(main) == 38.55


def test_what_was_said_first_holds() -> None:
    """A second `watch` of a known task changes nothing; `again` starts a row with its own."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=[{"video_no": "VI1"}])
            async with make_poller(scrapes(here)) as poller:
                await poller.watch("T1", expect=1)
                job = await poller.watch("T1", expect=9, settle=9.0)
                first = await job.row()
                await job.result()
                again = await (await poller.watch("T1", settle=2.0, again=True)).row()
                return first.features, again.features

    assert run_virtual(main) == ({"expect": 1}, {"settle": 2.0})


# -- several tasks, two kinds -------------------------------------------------------------------------


def test_tasks_wait_for_their_turn_and_videos_do_not() -> None:
    """Ten unknown tasks get a request each 1.05 s; the videos of a known one are seen each time."""

    async def main() -> Any:
        async with world(limits={}) as here:
            here.emulator.add_scrape("T0", videos=[{"video_no": "VI0", "parse_after": 9.0}])
            for number in range(1, 10):
                here.emulator.add_scrape(f"T{number}")
            store = MemoryStore()
            async with make_poller(scrapes(here), store=store) as poller:
                jobs = await poller.watch_many(["T0"], expect=1)
                await poller.watch_many([f"T{n}" for n in range(1, 10)], deadline=20.0)
                (end,) = await results(jobs)
                codes = {seen.code for seen in here.emulator.requests}
                asked = [i for s in here.emulator.requests if s.interface == "task" for i in s.ids]
                return since_epoch(end), here.asked_at("task"), asked, codes

    ended, at, asked, codes = run_virtual(main)
    assert ended == 9.5
    assert at == [round(0.05 + 1.05 * n, 3) for n in range(10)]
    assert sorted(asked) == sorted(f"T{number}" for number in range(10))
    assert codes == {"0000"}


@pytest.mark.parametrize("shared", ["guard", "middleware", "session"])
def test_two_kinds_share_one_account(shared: str) -> None:
    """One guard and one shard: nobody is fenced, and the documented limits are kept together."""

    async def main() -> Any:
        async with world(limits={}, middleware=shared == "middleware") as here:
            guard = {"guard": here.guard} if shared == "guard" else {}
            videos, tasks = here.source(**guard), scrapes(here, **guard)
            assert videos.guard is tasks.guard
            here.emulator.add_video("VI1", parse_after=6.0)
            here.emulator.add_scrape("T1", videos=GROWING)
            async with make_poller(videos, tasks, min_interval=0.2) as poller:
                jobs = [
                    await poller.watch("VI1", kind="videos"),
                    await poller.watch("T1", kind="scrapes", expect=3),
                ]
                ends = await results(jobs)
                shards = {job.key.shard for job in await poller.jobs()}
                return ends, shards, {seen.code for seen in here.emulator.requests}

    ends, shards, codes = run_virtual(main)
    assert [type(end) for end in ends] == [JobSucceeded, JobSucceeded]
    assert [end.source.rsplit("/", 1)[1] for end in ends] == ["videos", "scrapes"]
    assert (len(shards), codes) == (1, {"0000"})
    assert 9.0 <= since_epoch(ends[1]) <= 10.1


def test_a_task_that_the_api_objects_to_holds_nobody_up() -> None:
    """0001 for one task splits the batch until it is found; the others end on time."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=[{"parse_after": 6.0}])
            here.emulator.add_scrape("T2", videos=[{"parse_after": 6.0}])
            async with make_poller(scrapes(here)) as poller:
                jobs = await poller.watch_many(["T1", "T2"], expect=1)
                await anyio.sleep(3.0)
                here.emulator.fail("task", Fault(code="0001", times=None))
                await poller.watch("bad", expect=1, deadline=60.0)
                return [since_epoch(event) for event in await results(jobs)]

    # 3.2 s: refused together; 4.25 s and 5.3 s: the halves; from then on without the odd one
    assert run_virtual(main) == [7.4, 7.4]


def test_faults_of_either_request_end_no_task() -> None:
    """Quotas, outages and cut connections delay the end by seconds, and are nobody's failure."""

    async def main() -> Any:
        async with world(limits={}) as here:
            here.emulator.add_scrape("T1", videos=GROWING)
            for fault in (Fault(code="0429"), Fault(status=503), Fault(abort="middle")):
                here.emulator.fail("task", fault)
                here.emulator.fail("list", fault)
            return (await watched(here, expect=3))[0]

    end = run_virtual(main)
    assert isinstance(end, JobSucceeded)
    assert 9.0 <= since_epoch(end) <= 25.0


def test_an_unknown_word_of_a_child_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """It means "not finished", here too."""
    caplog.set_level(logging.WARNING)

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=[{"pending": "MARINATING", "parse_after": 8.0}])
            return (await watched(here, expect=1))[0]

    assert isinstance(run_virtual(main), JobSucceeded)
    assert len([r for r in caplog.records if "MARINATING" in r.getMessage()]) == 1


# -- what watch takes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"expect": 0}, "expect=0"), ({"expect": True}, "expect=True"),
        ({"settle": -1.0}, "settle=-1.0"), ({"settle": float("inf")}, "settle=inf"),
        ({"settle": float("nan")}, "settle=nan"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_when_it_is_said(given: Any, said: str) -> None:
    """The argument and its value are named, and nothing is stored."""

    async def main() -> None:
        async with world() as here, make_poller(scrapes(here)) as poller:
            with pytest.raises(ValueError, match=said):
                await poller.watch("T1", **given)
            assert await poller.jobs() == []

    run_virtual(main)


def test_kinds_without_children_take_neither() -> None:
    """A video has no children, and a silent `expect` would be a promise."""

    async def ask(_: str) -> str:
        return "done"

    async def main() -> None:
        source = CallableSource(ask, succeeded=["done"], failed=[], guard=Guard("http"))
        async with Poller(source) as poller:
            with pytest.raises(
                ValueError, match="settle=2.0: jobs of kind 'jobs' have no children"
            ):
                await poller.watch("j1", settle=2.0)

    run_virtual(main)


def test_a_task_that_is_watched_again_is_asked_for_anew() -> None:
    """Videos that came between its expiry and the second watch are among its children."""

    async def main() -> Any:
        async with world() as here:
            late = {"video_no": "VI2", "appears_after": 400.0}
            here.emulator.add_scrape("T1", videos=[{"video_no": "VI1", "parse_after": 300.0}, late])
            async with make_poller(scrapes(here)) as poller:
                first = await (await poller.watch("T1", deadline=100.0)).result()
                await anyio.sleep(900.0)
                again = await poller.watch("T1", deadline=600.0, again=True)
                return states(first), states(await again.result())

    assert run_virtual(main) == (
        {"VI1": "pending"}, {"VI1": "succeeded", "VI2": "succeeded"},
    )  # fmt: skip


# -- picking ------------------------------------------------------------------------------------------


def picks(
    dear: set[str], due: Mapping[str, float], *, count: int = 9, at: float = 5.0
) -> list[str]:
    watch = Watch(Pace(), batch=9, chance=lambda: 0.0)
    for rid, (name, first) in enumerate(due.items(), 1):
        key = JobKey("memories_ai", "local", "default", "scrapes", name)
        job = Job(rid=rid, version=1, key=key, state=State.WATCHING, created_at=0.0)
        watch.add(job, now=0.0, wall=0.0, first_look=first)
    hand = Hand()
    picked = watch.pick(hand, count, now=at, dear=lambda job: job.remote_id in dear)
    again = watch.pick(hand, count, now=at, dear=lambda job: job.remote_id in dear)
    assert sorted(again) == sorted(picked)
    assert sorted(watch.pick(hand, 9)) == sorted(due)
    return picked


@pytest.mark.parametrize(
    ("dear", "due", "count", "picked"),
    [
        pytest.param("", {"a": 3, "b": 1, "c": 8}, 9, "bac", id="none-is-dear"),
        pytest.param("ab", {"a": 1, "b": 2, "c": 3}, 9, "ac", id="one-at-most"),
        pytest.param("c", {"a": 1, "b": 2, "c": 8}, 9, "ab", id="only-if-due"),
        pytest.param("abc", {"a": 1, "b": 2, "c": 3}, 9, "a", id="all-are-dear"),
        pytest.param("b", {"a": 1, "b": 2, "c": 3}, 2, "ab", id="a-smaller-pick-is-a-prefix"),
    ],
)
def test_a_pick_has_one_dear_job_at_most(
    dear: str, due: dict[str, float], count: int, picked: str
) -> None:
    """The first that is due; the others stay where they were, and a second pick is the same."""
    assert picks(set(dear), due, count=count) == list(picked)
