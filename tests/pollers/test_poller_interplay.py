"""Parts of the poller that meet: what an earlier run left, page by page, and what is done meanwhile."""

from contextlib import nullcontext
from typing import Any

import anyio
import pytest
from pollers_kit import DOWN, NEVER, SlowStore, make_poller, now, paper_guard, stop_of
from submit_kit import Shop

from pollers import (
    Job,
    JobExpired,
    JobHandle,
    JobKey,
    JobSucceeded,
    Poller,
    Sighting,
    State,
    SubmitUncertain,
)
from pollers import _ledger as module
from pollers._core.callbacks import LATE, Loss
from pollers._core.model import Phase
from pollers._queue import Hand
from pollers._watch import INFINITE, Pace, Watch
from pollers.observe import LookRecord, Record, SaveRecord
from pollers.store import MemoryStore
from resilience import Policy, QuotaError, ResilienceError

LEFT = 12
"""Jobs that are left behind, before a submit whose reply was lost."""


class Paged(MemoryStore):
    """Takes ten seconds to read a page."""

    async def load_active(self, *args: Any, **settings: Any) -> Any:
        rows = await super().load_active(*args, **settings)
        await anyio.sleep(10.0)
        return rows


class Heard:
    """Which events were saved at once, and how many looks failed."""

    def __init__(self) -> None:
        self.saved: list[dict[str, int]] = []
        self.failed = 0

    def doing(self, what: str, about: Any) -> Any:
        return nullcontext()

    def tell(self, record: Record) -> None:
        if isinstance(record, SaveRecord):
            self.saved.append(dict(record.events))
        if isinstance(record, LookRecord):
            self.failed += record.reason is not None


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 5)


async def left_behind(shop: Shop, *, uncertain: bool = True) -> Paged:
    """A store of an earlier run; its last row has no id, and is on the third page."""
    store = Paged()
    names = [shop.add(f"w{i}", at=NEVER) for i in range(LEFT)]
    source = {"find_submitted": None} if uncertain else {}
    async with shop.poller(store=store, source=source) as poller:
        await anyio.sleep(1.0)
        await poller.watch_many(names, deadline=None)
        if uncertain:
            job = await poller.submit(shop.lose, deadline=None)
            with pytest.raises(SubmitUncertain):
                await job.result()
    return store


def test_a_job_can_be_settled_before_its_page_is_read(run: Any) -> None:
    """By its rid, or by the handle of its token, which learns the id."""
    shop = Shop(takes=100.0)

    async def main() -> None:
        store = await left_behind(shop)
        async with shop.poller(store=store) as poller:
            job = await poller.job(shop.called[0])
            assert job is not None
            assert job.id == shop.called[0]
            settled = await poller.settle(LEFT + 1, remote_id="J1")
            assert (settled.id, job.id) == ("J1", "J1")
            assert isinstance(await job.result(), JobSucceeded)
            with pytest.raises(LookupError):
                await poller.settle(LEFT + 1, remote_id="J1")
            with pytest.raises(LookupError):
                await poller.settle(1, remote_id="J1")
            with pytest.raises(LookupError):
                await poller.settle(99, remote_id="J1")
            await anyio.sleep(50.0)
            (jobs,) = (loop.watch.jobs for loop in poller._engine.loops)
            assert sorted(jobs) == list(range(1, LEFT + 1))

    run(main)


def test_who_watches_a_token_after_a_restart_learns_the_id(run: Any) -> None:
    """An app remembers the id of its handle, which was the token."""
    shop = Shop(takes=100.0)

    async def main() -> None:
        store = await left_behind(shop)
        async with shop.poller(store=store) as poller:
            known = await poller.watch("J1")
            job = await poller.watch(shop.called[0])
            assert job.id == shop.called[0]
            await poller.settle(job, remote_id="J1")
            assert (job.id, job.rid) == ("J1", known.rid)
            assert isinstance(await job.result(), JobSucceeded)

    run(main)


def test_a_job_not_taken_up_yet_is_its_own_source_s(run: Any) -> None:
    """Two sources of one shard: the other one neither names it nor looks at it."""
    shop, other = Shop(takes=100.0), Shop()

    async def main() -> None:
        store = await left_behind(shop)
        names = [other.add(f"o{i}", at=NEVER) for i in range(LEFT)]
        async with make_poller(other.source(kind="others"), store=store) as poller:
            await poller.watch_many(names, deadline=None)
        sources = [other.source(kind="others", batch=50), shop.source(batch=50)]
        async with make_poller(*sources, store=store) as poller:
            await poller.settle(LEFT + 1, remote_id="J1")
            others, jobs = (loop.watch.jobs for loop in poller._engine.loops)
            assert LEFT + 1 in jobs
            assert LEFT + 1 not in others
            job = await poller.job("J1", kind="jobs")
            assert job is not None
            assert isinstance(await job.result(), JobSucceeded)

    run(main)


# -- waiting for a job whose page was not read yet ------------------------------------------------


async def last_left(poller: Poller) -> JobHandle:
    job = await poller.job(f"w{LEFT - 1}")
    assert job is not None
    return job


def test_who_waits_for_a_job_not_taken_up_yet_hears_of_the_stop(run: Any) -> None:
    """The poller stopped before it came to that page."""
    shop = Shop()

    async def main() -> None:
        store = await left_behind(shop, uncertain=False)
        async with shop.poller(store=store) as poller:
            job = await last_left(poller)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stop_of, job.result())
                await anyio.sleep(0.5)
                await poller.stop()

    with_patience(run, main)


def test_who_waits_for_a_job_not_taken_up_yet_may_hear_much_of_others(run: Any) -> None:
    """Thousands of commits, before the one that it waits for."""
    shop = Shop()
    shop.lives[f"w{LEFT - 1}"] = [(0.0, "running")]

    async def main() -> None:
        store = await left_behind(shop, uncertain=False)
        shop.lives[f"w{LEFT - 1}"] = [(0.0, "done")]
        async with shop.poller(store=store) as poller:
            job = await last_left(poller)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(job.result)
                for _ in range(2_000):
                    poller._engine.news.tell_stored()
                    await anyio.sleep(0.001)

    with_patience(run, main)


def test_news_that_came_while_a_waiter_was_reading_is_not_missed(run: Any) -> None:
    """Its page was read and it ended, all while the waiter asked the store how it stands."""
    shop = Shop()

    class Slow(Paged):
        reading = 0.0

        async def last_event(self, rid: int) -> Any:
            found = await super().last_event(rid)
            await anyio.sleep(Slow.reading)
            return found

    async def main() -> None:
        left = await left_behind(shop, uncertain=False)
        store = Slow()
        store.__dict__.update(left.__dict__)
        Slow.reading = 100.0
        shop.lives = {f"w{i}": [(0.0, "done")] for i in range(LEFT)}
        async with shop.poller(store=store) as poller:
            assert isinstance(await (await last_left(poller)).result(), JobSucceeded)

    with_patience(run, main)


def with_patience(run: Any, main: Any) -> None:
    async def bounded() -> None:
        with anyio.fail_after(1_000.0):
            await main()

    run(bounded)


# -- submits and what observes, and stopping ------------------------------------------------------


def test_what_is_saved_is_told_as_what_it_is(run: Any) -> None:
    """A submit stores ``submitting``; a job that is known already stores nothing, read or not."""
    shop, observer = Shop(), Heard()

    async def main() -> None:
        store = await left_behind(shop, uncertain=False)
        async with shop.poller(store=store, observe=observer) as poller:
            await poller.watch_many([f"w{i}" for i in range(LEFT)])
            await anyio.sleep(20.0)  # all pages are read
            await poller.submit(shop.upload)
            await poller.watch_many(["new", "new"])
            await poller.watch("new")
        stored = [one for one in observer.saved if one.keys() <= {"submitting", "watching"}]
        assert stored == [{}, {"submitting": 1}, {"watching": 1}, {"watching": 1}, {}]

    run(main)


@pytest.mark.parametrize("refused", [True, False])
def test_a_submit_is_refused_after_the_poller_stopped(refused: bool, run: Any) -> None:
    """Its own error comes, not the store's; a reply that is lost by then waits for the next run."""
    shop, store = Shop(), SlowStore()

    async def upload(intent: Any) -> Any:
        await anyio.sleep(10.0)
        if not refused:
            return await shop.lose(intent)

        async def ask() -> Any:
            return DOWN

        return await paper_guard().options(max_attempts=1).call(ask)

    async def submit(poller: Poller) -> None:
        if refused:
            with pytest.raises(ResilienceError):
                await poller.submit(upload)
            return
        job = await poller.submit(upload)
        await stop_of(job.result())

    async def main() -> None:
        poller = shop.poller(store=store)
        async with poller, anyio.create_task_group() as tasks:
            tasks.start_soon(submit, poller)
            await anyio.sleep(1.0)
            await poller.stop(within=2.0)
            assert now() <= 3.0
        assert [row.state.value for row in await MemoryStore.jobs(store)] == ["submitting"]
        async with shop.poller(store=store, grace=5.0) as poller:
            (job,) = await poller.jobs()
            found = await poller.job(job.key.remote_id)
            assert found is not None
            if refused:
                with pytest.raises(SubmitUncertain):
                    await found.result()
            else:
                assert isinstance(await found.result(), JobSucceeded)

    run(main)


def test_nothing_is_submitted_any_more_while_the_poller_stops(run: Any) -> None:
    """It delivers its last events, and could not store the id."""
    shop = Shop()

    async def slow(_event: Any) -> None:
        await anyio.sleep(3.0)

    async def main() -> None:
        async with shop.poller(sinks=[slow]) as poller:
            await poller.watch(shop.add("a", at=NEVER))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(poller.stop)
                await anyio.sleep(1.0)
                assert poller.stopped is None
                await stop_of(poller.submit(shop.upload))
            assert [job.key.remote_id for job in await poller.jobs()] == ["a"]
        assert shop.called == []

    run(main)


def test_searches_that_work_do_not_hide_looks_that_fail(run: Any) -> None:
    """A job whose last look does not come about expires in time, and it is said why."""
    shop = Shop()
    shop.always = lambda ids: DOWN

    async def main() -> None:
        async with shop.poller(grace=500.0, final_grace=30.0) as poller:
            job = await poller.watch(shop.add("a", at=NEVER), deadline=10.0)
            other = await poller.watch(shop.add("b", at=NEVER))
            await poller.submit(shop.vanish)
            event = await job.result()
            assert isinstance(event, JobExpired)
            assert event.cause is not None
            assert "down" in event.cause
            assert 40.0 <= now() <= 45.0
            assert len(shop.searched) > 4
            await anyio.sleep(100.0)
            assert [one.code for one in poller.health().problems] == ["no_progress"]
            await other.unwatch()
            await anyio.sleep(20.0)
            assert poller.health().ok
            assert poller.snapshot()["sources"][0]["trouble"] is None

    run(main)


# -- callbacks and the looks of many ----------------------------------------------------------------


def watch_of(*names: str, **settings: Any) -> Watch:
    """At 0.0, with the first looks at 1.0."""
    watch = Watch(Pace(**settings), 10, lambda: 0.0)
    for rid, name in enumerate(names, 1):
        key = JobKey("custom", "local", "default", "jobs", name)
        job = Job(rid=rid, version=1, key=key, state=State.WATCHING, created_at=0.0)
        watch.add(job, now=0.0, wall=0.0, first_look=1.0)
    return watch


def look(watch: Watch, now: float, phase: Phase = Phase.PENDING, **settings: Any) -> list[str]:
    picked = watch.pick(hand := Hand(), 10, now=now, **settings)
    seen = {one: Sighting(remote_id=one, phase=phase) for one in picked}
    watch.saw(hand, seen, now=now, wall=now)
    return picked


def test_a_callback_that_comes_while_the_end_is_being_saved_is_not_lost() -> None:
    """Our look was a moment earlier than it, and the store takes its time."""
    watch = watch_of("a")
    watch.hint(["nobody"], now=0.5)  # there are callbacks
    look(watch, 1.0)
    look(watch, 2.0, Phase.SUCCEEDED)
    assert watch.callbacks.next_verdict() == 2.0 + LATE
    assert watch.hint(["a"], now=2.1) == 1
    watch.remove(1)
    assert watch.callbacks.next_verdict() == INFINITE
    assert watch.callbacks.loss.chance < 1.0


def test_polling_takes_over_from_callbacks_for_dear_jobs_too() -> None:
    """They were set aside by a look that had room for more, minutes before they are due."""
    watch = watch_of(*"abc", max_interval=30.0)
    watch.callbacks.loss = Loss(600.0, missed=0.0, ends=100.0)
    for at in range(1, 400):
        look(watch, float(at), dear=lambda one: one.rid > 1)
    assert watch.next_look() > 430.0
    watch.callbacks.loss = Loss(600.0)
    watch.callbacks.takes_over = True
    watch.tidy(400.0)
    soon = [watch.jobs.at[one.slot] for one in watch.jobs.values()]
    assert max(soon) <= 431.0


WAITS = Policy.from_dict(
    {
        "name": "waits", "extends": "http",
        "envelope": [{"required": ["/code"], "code": "/code", "success": ["0"]}],
        "codes": {
            "wait": {
                "verdict": "quota", "recovers": "window", "scope": "account", "wait": 20.0,
            }
        },
    }
)  # fmt: skip


def test_a_look_waits_in_line_whatever_callbacks_are_waited_for(run: Any) -> None:
    """Else it is overtaken by the other sources of the account."""
    shop, observer = Shop(), Heard()

    async def main() -> None:
        guard = paper_guard(policy=WAITS)
        async with make_poller(shop.source(guard=guard), observe=observer) as poller:
            poller.hint(["nobody"])  # there are callbacks
            first = await poller.watch(shop.add("a", at=2.5))
            await poller.watch(shop.add("b", at=NEVER))
            await first.result()

            async def elsewhere() -> Any:
                return {"code": "wait"}

            with pytest.raises(QuotaError):
                await guard.options(max_attempts=1, max_wait=0.0).call(elsewhere)
            began = now()
            await anyio.sleep(25.0)
            assert observer.failed == 0
            assert [at for at in shop.asked_at if at > began][0] == began + 20.0

    run(main)
