"""Watching, results and unwatching, in virtual time on both loops."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
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
    results,
    since_epoch,
    stored,
)

from pollers import (
    JobCancelled,
    JobExpired,
    JobFailed,
    JobSucceeded,
    State,
)
from pollers.store import MemoryStore
from resilience.testing import EPOCH


def test_a_job_is_looked_at_until_it_ends(run: Any) -> None:
    """First look after 50 ms, then every interval; the end is told at the look that sees it."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=2.5)
        async with make_poller(provider.source()) as poller:
            job = await poller.watch("a", data={"user": 7})
            event = await job.result()
            assert isinstance(event, JobSucceeded)
            assert (event.job_id, event.status, event.looks, event.user_data) == (
                "a",
                "done",
                4,
                {"user": 7},
            )
            assert (event.elapsed, since_epoch(event), now()) == (3.05, 3.05, 3.05)
            assert (job.id, (await job.row()).state) == ("a", State.SUCCEEDED)
            assert repr(job) == "<JobHandle /custom/default/jobs a>"
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
            assert (row.rid, row.data, row.deadline) == (
                (await first.row()).rid,
                "first",
                EPOCH + 5.0,
            )
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
            assert [(await handle.row()).state for handle in (first, new)] == [
                State.SUCCEEDED,
                State.FAILED,
            ]
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
            assert [event.id.rsplit(":", 1)[1] for event in told] == [
                str(i + 1) for i in range(len(told))
            ]
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


@pytest.mark.parametrize(
    "instant", [datetime(2026, 1, 2, tzinfo=UTC), "now", float("nan"), float("-inf")]
)
def test_when_it_was_submitted_is_a_number(run: Any, instant: Any) -> None:
    """Anything else would be stored, and would stop every poller that opens the store."""

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            with pytest.raises(ValueError, match="expected seconds since the epoch"):
                await poller.watch("a", submitted_at=instant)
            assert await poller.jobs() == []
            row = await (await poller.watch("a", submitted_at=17)).row()
            assert (row.submitted_at, type(row.submitted_at)) == (17.0, float)

    run(main)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"tags": {"a"}}, id="set"),
        pytest.param([(1, 2)], id="tuple"),
        pytest.param({"at": datetime(2026, 11, 22, tzinfo=UTC)}, id="date"),
        pytest.param({7: "user"}, id="number-as-key"),
        pytest.param([float("nan")], id="NaN"),
        pytest.param(float("inf"), id="infinite"),
        pytest.param(b"bytes", id="bytes"),
        pytest.param(Decimal("0.1"), id="decimal"),
    ],
)
def test_data_that_json_would_change_is_refused(run: Any, data: Any) -> None:
    """It would come back in events as something else; nothing is stored."""

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            with pytest.raises(ValueError, match="not a JSON value: it would come back as"):
                await poller.watch_many([("good", None), ("a", data)])
            assert await poller.jobs() == []

    run(main)


@pytest.mark.parametrize(
    "deadline", [-5, -0.001, float("nan"), float("inf"), timedelta(seconds=-1)]
)
def test_a_deadline_that_is_none_is_refused(run: Any, deadline: Any) -> None:
    """Before the poller, in an hour that is no hour, or never; for watching and for submitting."""

    async def upload(intent: Any) -> str:
        raise AssertionError(intent)

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            with pytest.raises(ValueError, match=r"deadline=.*0 or more, or None for never"):
                await poller.watch("a", deadline=deadline)
            with pytest.raises(ValueError, match=r"deadline=.*0 or more, or None for never"):
                await poller.submit(upload, deadline=deadline)
            assert await poller.jobs() == []

    run(main)


def test_with_a_deadline_of_0_the_first_look_decides(run: Any) -> None:
    """One look, then it has expired, or succeeded if it has."""
    provider = Provider()

    async def main() -> None:
        provider.add("late", at=NEVER)
        provider.add("done", at=0.0)
        async with make_poller(provider.source(batch=2)) as poller:
            late, done = await results(await poller.watch_many(["late", "done"], deadline=0))
            assert (type(late), late.looks) == (JobExpired, 1)
            assert (type(done), done.looks) == (JobSucceeded, 1)

    run(main)


def test_a_state_that_is_none_is_refused_with_those_that_are(run: Any) -> None:
    """Nobody knows them by heart."""

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            said = (
                "state='foo': expected one of submitting, watching, uncertain, succeeded, failed, "
            )
            with pytest.raises(ValueError, match=said):
                await poller.jobs(state="foo")

    run(main)


@pytest.mark.parametrize("name", ["grace", "final_grace"])
def test_a_grace_below_0_is_refused(name: str) -> None:
    """By its name."""
    for wrong in (-1, NEVER):
        with pytest.raises(ValueError, match=f"^{name}={wrong}: expected seconds, 0 or more"):
            make_poller(Provider().source(), **{name: wrong})
    make_poller(Provider().source(), **{name: 0})


def test_data_must_be_json(run: Any) -> None:
    """What can't be stored is refused by name; any JSON value comes back equal."""

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            with pytest.raises(ValueError, match="not a JSON value"):
                await poller.watch("a", data=object())
            with pytest.raises(ValueError, match="not a JSON value"):
                await poller.watch("a", data={"f": print})
            values = [None, 0, 1.5, 2**70, "ä\u2028", [1, {"a": [None, True]}], {}]
            for i, data in enumerate(values):
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
