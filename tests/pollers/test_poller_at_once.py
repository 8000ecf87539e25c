"""Several looks under way, where a round trip takes longer than the spacing; in virtual time."""

from typing import Any

import aiohttp
import anyio
import pytest
from pollers_kit import (
    BAD,
    DOWN,
    EMPTY,
    NEVER,
    Provider,
    SlowStore,
    kinds,
    make_poller,
    now,
    results,
    stored,
)

from pollers import JobSucceeded, PollerStopped
from pollers.emulator import Fault, MemosEmulator
from pollers.sources import CallableSource, MemosTasks
from pollers.sources._spacing import Spacing
from resilience.testing import run_virtual

SIX = [f"j{i}" for i in range(6)]


def slow(*, end: float) -> Provider:
    """Answers take a second; six jobs end together."""
    provider = Provider(delay=1.0)
    for name in SIX:
        provider.add(name, at=end)
    return provider


def test_looks_begin_at_their_spacing_however_long_answers_take(run: Any) -> None:
    """As many as are allowed, and no job in two of them."""
    provider = slow(end=0.0)

    async def main() -> None:
        source = provider.source(batch=2, spacing=0.25, at_once=2)
        async with make_poller(source) as poller:
            ended = await results(await poller.watch_many(SIX))
            assert all(isinstance(event, JobSucceeded) for event in ended)

    run(main)
    assert provider.asked == [
        (0.05, ("j0", "j1")), (0.3, ("j2", "j3")), (1.05, ("j4", "j5")),
    ]  # fmt: skip


def test_one_at_a_time_is_the_default(run: Any) -> None:
    """A function of the user's need not bear to be called twice."""
    provider = slow(end=0.0)

    async def main() -> None:
        async with make_poller(provider.source(batch=2, spacing=0.25)) as poller:
            await results(await poller.watch_many(SIX))

    run(main)
    assert provider.asked_at == [0.05, 1.05, 2.05]


def test_never_are_more_under_way_than_may_be(run: Any) -> None:
    """Though one ends while another is being begun."""
    provider = Provider(delay=1.0)
    for i in range(5):
        provider.add(f"j{i}", at=0.0)

    async def main() -> None:
        async with make_poller(provider.source(at_once=2)) as poller:
            await results(await poller.watch_many([f"j{i}" for i in range(5)]))

    run(main)
    assert provider.asked_at == [0.05, 0.05, 1.05, 1.05, 2.05]


def test_requests_of_all_looks_keep_apart(run: Any) -> None:
    """Two were rejected and may go again from one instant on; a third comes beside them."""
    went: list[float] = []

    async def main() -> None:
        spaced = Spacing(0.5)

        async def go() -> None:
            await spaced.wait()
            went.append(now())

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(go)

    run(main)
    assert went == [0.0, 0.5, 1.0]


def test_a_pause_is_not_shortened_by_a_look_that_was_under_way(run: Any) -> None:
    """Half a second; that something is wrong with the other batch changes nothing."""
    provider = slow(end=0.0)
    provider.trouble = [DOWN, BAD]

    async def main() -> None:
        async with make_poller(provider.source(batch=3, spacing=0.1, at_once=2)) as poller:
            await results(await poller.watch_many(SIX))

    run(main)
    assert provider.asked_at[:3] == [0.05, 0.15, 1.55]


def test_an_answer_to_an_older_question_does_not_end_a_stall(run: Any) -> None:
    """It was asked before the refusal came, and says nothing of what is now."""
    provider = slow(end=90.0)
    provider.trouble = [EMPTY, None]
    store = SlowStore()

    async def main() -> None:
        source = provider.source(batch=3, spacing=0.1, at_once=2)
        async with make_poller(source, store=store) as poller:
            jobs = await poller.watch_many(SIX)
            await anyio.sleep(10.0)
            assert poller.snapshot()["sources"][0]["stalled"]
            await results(jobs)

    run(main)
    assert [kind for kind in kinds(run_virtual(lambda: stored(store))) if "Poller" in kind] == [
        "PollerStalled", "PollerResumed",
    ]  # fmt: skip


def test_a_job_that_is_being_looked_at_is_not_given_up_meanwhile(run: Any) -> None:
    """Looks have failed for the whole final grace; one that is under way then finds its end."""
    provider = Provider(delay=4.0)
    provider.add("late", at=0.0)
    provider.add("other", at=NEVER)
    provider.always = lambda ids: DOWN if ids == ["other"] or now() < 10.0 else None

    async def main() -> None:
        source = provider.source(at_once=2, spacing=1.0)
        async with make_poller(source, final_grace=9.0) as poller:
            await poller.watch("other", deadline=300.0)
            late = await poller.watch("late", deadline=1.0)
            assert isinstance(await late.result(), JobSucceeded)

    run(main)
    assert provider.asked[-3:] == [(10.05, ("other",)), (11.05, ("late",)), (15.05, ("other",))]


def test_full_requests_count_as_full(run: Any) -> None:
    """Whoever comes second can only have what the first has left."""
    provider = slow(end=30.0)

    async def main() -> None:
        async with make_poller(provider.source(batch=4, spacing=0.1, at_once=2)) as poller:
            jobs = await poller.watch_many(SIX)
            await anyio.sleep(20.0)
            assert poller.snapshot()["sources"][0]["batch_fill"] == 1.0
            await results(jobs)

    run(main)


def test_an_end_that_is_being_stored_is_not_looked_at_again(run: Any) -> None:
    """The next look would have room for it."""
    provider = slow(end=0.0)
    provider.add("long", at=30.0)

    async def main() -> None:
        source = provider.source(batch=10, at_once=5)
        async with make_poller(source, store=SlowStore(5.0)) as poller:
            await results(await poller.watch_many([*SIX, "long"]))

    run(main)
    assert [len(provider.looks_at(name)) for name in SIX] == [1] * 6
    assert len(provider.looks_at("long")) > 3


def test_looks_that_fail_together_are_one_failure(run: Any) -> None:
    """Else the pause would grow with their number: it is one second, or half of it, after each round."""
    provider = slow(end=0.0)
    provider.trouble = [DOWN] * 3

    async def main() -> None:
        source = provider.source(batch=2, spacing=0.1, at_once=3)
        async with make_poller(source) as poller:
            jobs = await poller.watch_many(SIX)
            await anyio.sleep(1.3)
            assert poller.snapshot()["sources"][0]["failures"] == 1
            await results(jobs)

    run(main)
    assert provider.asked_at == [0.05, 0.15, 0.25, 1.55, 1.65, 1.75]


def test_a_refusal_in_one_of_them_ends_the_poller(run: Any) -> None:
    """As it does in the only one; the others are cancelled, and nobody waits."""
    provider = slow(end=0.0)
    provider.trouble = [{"code": "refused", "msg": "no"}]

    async def main() -> None:
        source = provider.source(batch=2, spacing=0.1, at_once=3)
        async with make_poller(source, on_refused="stop") as poller:
            jobs = await poller.watch_many(SIX)
            with pytest.raises(PollerStopped, match="refused"):
                await jobs[5].result()

    run(main)
    assert len(provider.asked) == 3


def test_stopping_cancels_all_of_them(run: Any) -> None:
    """At once, and the jobs stay."""
    provider = slow(end=0.0)

    async def main() -> None:
        source = provider.source(batch=2, spacing=0.1, at_once=3)
        async with make_poller(source) as poller:
            await poller.watch_many(SIX)
            await anyio.sleep(0.5)
            began = anyio.current_time()
            await poller.stop()
            assert anyio.current_time() == began

    run(main)
    assert len(provider.asked) == 3


def test_tasks_of_memos_are_asked_for_as_fast_as_allowed_over_a_slow_line() -> None:
    """Twenty a second, which is what the documents leave us, at a round trip of 300 ms."""

    async def main() -> float:
        async with MemosEmulator() as memos:
            memos.fail("any", Fault(delay=0.3, times=None))
            names = [f"t{i}" for i in range(100)]
            for name in names:
                memos.add_task(name, ends_after=0.0)
            async with aiohttp.ClientSession() as session:
                source = MemosTasks(session, api_key="mpg-1", base_url=memos.base_url)
                async with make_poller(source) as poller:
                    began = anyio.current_time()
                    await results(await poller.watch_many(names))
                    return anyio.current_time() - began

    assert run_virtual(main) == pytest.approx(0.05 + 99 * 0.05 + 0.3, abs=0.1)


@pytest.mark.parametrize("at_once", [0, -1])
def test_none_at_once_is_refused(at_once: int) -> None:
    """It would never look."""
    with pytest.raises(ValueError, match="at_once"):
        CallableSource(Provider().one, succeeded=["a"], failed=["b"], at_once=at_once)
