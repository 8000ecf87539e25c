"""Deadlines, the final grace, and jobs that are missing from answers."""

from typing import Any

import anyio
import pytest
from pollers_kit import (
    BUSY,
    DOWN,
    EMPTY,
    LOCKED,
    NEVER,
    Provider,
    kinds,
    make_poller,
    now,
    results,
    since_epoch,
    stored,
    world,
)

from pollers import JobExpired, JobFailed, JobSucceeded
from pollers.emulator import Fault
from pollers.store import MemoryStore
from resilience.testing import EPOCH, run_virtual


def test_a_job_expires_only_after_a_look_at_its_deadline(run: Any) -> None:
    """However long the interval, there is a look at the very deadline, and it decides."""
    provider = Provider()

    async def main() -> None:
        provider.add("late", at=NEVER)
        provider.add("just", at=9.9)
        settings = {"min_interval": 6.0, "max_interval": 6.0}
        async with make_poller(provider.source(batch=2), **settings) as poller:
            late, just = await results(await poller.watch_many(["late", "just"], deadline=10.0))
            assert isinstance(late, JobExpired)
            assert (late.reason, late.looks, since_epoch(late)) == ("deadline", 3, 10.0)
            assert isinstance(just, JobSucceeded)

    run(main)
    assert provider.asked_at == [0.05, 6.05, 10.0]


def test_a_success_at_the_deadline_is_a_success(run: Any) -> None:
    """What the look at the deadline finds is believed."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=10.0, end="broken")
        async with make_poller(provider.source()) as poller:
            assert isinstance(await (await poller.watch("a", deadline=10.0)).result(), JobFailed)

    run(main)


def test_a_slow_look_from_before_the_deadline_does_not_expire_a_job(run: Any) -> None:
    """The answer may be older than the deadline: only a look that went at or after it counts."""
    provider = Provider(delay=4.0)

    async def main() -> None:
        provider.add("a", at=9.9)
        async with make_poller(provider.source()) as poller:
            event = await (await poller.watch("a", deadline=10.0)).result()
            assert isinstance(event, JobSucceeded)

    seen: list[float] = []
    original = provider.one

    async def early(job_id: str) -> Any:
        status = provider.status(job_id)  # what the server knew when the request came
        seen.append(anyio.current_time())
        await original(job_id)
        return status

    provider.one = early  # type: ignore[method-assign]
    run(main)
    # looks take 4 s: 0.05–4.05, 5.05–9.05, 10.0–14.0; one that began at 9.05 would not count
    assert [round(at, 2) for at in seen] == [0.05, 5.05, 10.0]


def test_a_look_that_spans_the_deadline_is_followed_by_one_at_once(run: Any) -> None:
    """It went before the deadline and came back after it: the next look is due immediately."""
    provider = Provider(delay=4.0)

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(), min_interval=5.0) as poller:
            event = await (await poller.watch("a", deadline=10.0)).result()
            assert isinstance(event, JobExpired)
            assert since_epoch(event) == 17.05

    run(main)
    assert provider.asked_at == [0.05, 9.05, 13.05]


@pytest.mark.parametrize("wrong", [DOWN, BUSY, LOCKED, EMPTY, ConnectionRefusedError("x")])
def test_the_final_grace_ends_a_wait_for_looks_that_fail(run: Any, wrong: Any) -> None:
    """Without a look the job expires `final_grace` after its deadline, whatever the trouble is."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        provider.always = lambda _: wrong
        async with make_poller(provider.source(), final_grace=30.0) as poller:
            event = await (await poller.watch("a", deadline=100.0)).result()
            assert isinstance(event, JobExpired)
            assert (event.reason, event.looks, event.status) == ("deadline", 0, None)
            # a look that waits in front of a closed gate is given up after 5 s
            assert 130.0 <= now() <= 135.0

    run(main)


def test_the_final_look_may_come_within_the_grace(run: Any) -> None:
    """The API is back 20 s after the deadline: the job gets its real end."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=50.0)
        provider.always = lambda _: DOWN if anyio.current_time() < 120.0 else None
        async with make_poller(provider.source(), final_grace=30.0, max_interval=4.0) as poller:
            event = await (await poller.watch("a", deadline=100.0)).result()
            assert isinstance(event, JobSucceeded)
            assert 120.0 <= now() <= 124.0

    run(main)


def test_a_rate_limit_never_stretches_a_deadline() -> None:
    """0429 for ever, as by the daily cap: every job ends by its deadline and the grace."""

    async def main() -> None:
        async with world() as here:
            here.emulator.add_video("VI1", parse_after=None)
            here.emulator.fail("list", Fault(code="0429", times=None))
            async with make_poller(here.source(), max_interval=30.0) as poller:
                first = await poller.watch("VI1", deadline=300.0)
                second = await poller.watch("VI2", deadline=20.0)
                event = await second.result()
                assert isinstance(event, JobExpired)
                assert 50.0 <= now() <= 56.0
                event = await first.result()
                assert isinstance(event, JobExpired)
                assert 330.0 <= now() <= 336.0
            # about one request per half minute in the end, and 20 s after which it escalates
            assert len(here.emulator.requests) < 40

    run_virtual(main)


@pytest.mark.parametrize("jump", [86_400.0 * 365, -86_400.0 * 365, 3.0, -3.0])
def test_the_wall_clock_may_jump(run: Any, jump: float) -> None:
    """Deadlines are anchored to the monotonic clock while we run."""
    provider = Provider()
    clock = {"jump": 0.0}

    async def main() -> None:
        provider.add("a", at=NEVER)
        provider.add("b", at=20.5)

        def wall() -> float:
            return EPOCH + anyio.current_time() + clock["jump"]

        async with make_poller(provider.source(batch=2), wall=wall) as poller:
            a = await poller.watch("a", deadline=10.0)
            b = await poller.watch("b", deadline=30.0)
            await anyio.sleep(5.0)
            clock["jump"] = jump
            event = await a.result()
            assert (type(event), now()) == (JobExpired, 10.0)
            assert event.elapsed >= 0.0
            late = await poller.watch("c", deadline=5.0)
            assert isinstance(await b.result(), JobSucceeded)
            assert isinstance(await late.result(), JobExpired)
            assert now() == 21.0

    run(main)


def test_downtime_counts(run: Any) -> None:
    """A job whose deadline passed while nobody ran gets one look, and its real end if it has one."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.add("good", at=50.0)
        provider.add("stuck", at=NEVER)
        provider.add("more", at=4000.0)
        async with make_poller(provider.source(batch=5), store=store) as poller:
            await poller.watch_many(["good", "stuck"], deadline=60.0)
            await poller.watch("more", deadline=7200.0)
            await anyio.sleep(10.0)
        await anyio.sleep(3590.0)
        asked = len(provider.asked)
        async with make_poller(provider.source(batch=5), store=store) as poller:
            good, stuck = await results(await poller.watch_many(["good", "stuck"]))
            assert isinstance(good, JobSucceeded)
            assert isinstance(stuck, JobExpired)
            assert stuck.reason == "deadline"
            assert now() == 3600.05
            assert len(provider.asked) == asked + 1
            assert isinstance(await (await poller.watch("more")).result(), JobSucceeded)

    run(main)


def test_all_overdue_jobs_get_their_look_after_a_restart(run: Any) -> None:
    """A slow source with one job per call: none expires unseen only because its turn came late."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        names = [provider.add(f"j{i}", at=30.0) for i in range(40)]
        async with make_poller(provider.source(batch=40), store=store) as poller:
            await poller.watch_many(names, deadline=60.0)
            await anyio.sleep(10.0)
        await anyio.sleep(3600.0)
        provider.delay = 2.0  # 80 s for all of them, far more than the final grace
        async with make_poller(provider.source(), store=store) as poller:
            ended = await results(await poller.watch_many(names))
            assert {type(event) for event in ended} == {JobSucceeded}

    run(main)


def test_overdue_jobs_expire_after_a_restart_without_the_api(run: Any) -> None:
    """If no look is possible, the final grace counts from the restart."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(), store=store) as poller:
            await poller.watch("a", deadline=60.0)
            await anyio.sleep(10.0)
        await anyio.sleep(990.0)
        provider.always = lambda _: DOWN
        async with make_poller(provider.source(), store=store) as poller:
            event = await (await poller.watch("a")).result()
            assert isinstance(event, JobExpired)
            assert 1030.0 <= now() <= 1031.0

    run(main)


def test_no_deadline_is_for_ever(run: Any) -> None:
    """`deadline=None` watches for months if need be."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=86_400.0 * 100)
        settings = {"min_interval": 14_400.0, "max_interval": 86_400.0}
        async with make_poller(provider.source(), **settings) as poller:
            assert isinstance(await (await poller.watch("a", deadline=None)).result(), JobSucceeded)

    run(main)
    assert len(provider.asked) <= 601


# -- missing ------------------------------------------------------------------------------------


def test_a_job_that_never_shows_up_expires_as_missing(run: Any) -> None:
    """After the grace, counted from the first watch, and exactly then."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        settings = {"grace": 10.0, "min_interval": 3.0, "store": store}
        async with make_poller(provider.source(), **settings) as poller:
            event = await (await poller.watch("ghost")).result()
            assert isinstance(event, JobExpired)
            assert (event.reason, event.status, since_epoch(event)) == ("missing", None, 10.0)
        assert kinds(await stored(store)) == ["JobWatching", "JobExpired"]

    run(main)
    assert provider.asked_at == [0.05, 3.05, 6.05, 9.05, 10.0]


def test_a_job_may_become_visible_late(run: Any) -> None:
    """Right after its submission it isn't in the answers yet: that is pending."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", visible=8.0, at=30.0)
        async with make_poller(provider.source(), grace=10.0) as poller:
            assert isinstance(await (await poller.watch("a")).result(), JobSucceeded)

    run(main)


def test_missing_from_one_answer_is_nothing(run: Any) -> None:
    """A hiccup of the list, or several within the grace, is no end; the grace starts anew each time."""
    provider = Provider()

    async def main() -> None:
        provider.lives["a"] = [
            (0.0, "running"), (5.0, None), (6.0, "running"), (20.0, None), (29.0, "running"),
            (40.0, None), (49.0, "running"), (60.0, "done"),
        ]  # fmt: skip
        async with make_poller(provider.source(), grace=10.0) as poller:
            assert isinstance(await (await poller.watch("a")).result(), JobSucceeded)

    run(main)


def test_a_job_that_disappears_expires_as_missing(run: Any) -> None:
    """Deleted at the provider: after the grace from its first absence, with the last status seen."""
    provider = Provider()

    async def main() -> None:
        provider.lives["a"] = [(0.0, "running"), (20.5, None)]
        async with make_poller(provider.source(), grace=10.0) as poller:
            event = await (await poller.watch("a")).result()
            assert isinstance(event, JobExpired)
            assert (event.reason, event.status, since_epoch(event)) == ("missing", "running", 31.05)

    run(main)


def test_a_failed_look_is_not_an_absence(run: Any) -> None:
    """While nothing can be learned, nobody counts as gone."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=100.0)
        provider.always = lambda _: DOWN if 5.0 < anyio.current_time() < 90.0 else None
        async with make_poller(provider.source(), grace=10.0) as poller:
            assert isinstance(await (await poller.watch("a")).result(), JobSucceeded)

    run(main)


@pytest.mark.parametrize(
    "fault", [Fault(body="null", times=None), Fault(body="null", times=None, after_work=True)]
)
def test_data_null_is_missing_on_the_wire(fault: Fault) -> None:
    """`data: null` with 0000 from the emulator: pending during the grace, then missing."""

    async def main() -> None:
        async with world() as here:
            here.emulator.add_video("VI1")
            here.emulator.fail("list", fault)
            async with make_poller(here.source(), grace=10.0) as poller:
                event = await (await poller.watch("VI1")).result()
                assert isinstance(event, JobExpired)
                assert (event.reason, since_epoch(event)) == ("missing", 10.0)

    run_virtual(main)


def test_an_unknown_video_never_shows_up() -> None:
    """A wrong number, or the wrong namespace, ends as missing and not at the deadline."""

    async def main() -> None:
        async with world() as here:
            here.emulator.add_video("VI1", unique_id="mine")
            here.emulator.add_video("VI2", visible_after=20.0)
            async with make_poller(here.source(), grace=30.0) as poller:
                lost, late = await results(await poller.watch_many(["VI1", "VI2"]))
                assert isinstance(lost, JobExpired)
                assert isinstance(late, JobSucceeded)

    run_virtual(main)
