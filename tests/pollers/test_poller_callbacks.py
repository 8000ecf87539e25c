"""The poller and hints, in virtual time on both loops: early, doubled, forged, late and lost ones."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import anyio
import pytest
from pollers_kit import NEVER, Provider, make_poller, now, paper_guard, results

from pollers import JobExpired, JobSucceeded, Poller, PollerStopped
from pollers._core.callbacks import FOLLOWED, LATE, SAFETY_NET
from pollers.store import MemoryStore
from resilience.testing import FixedChance, run_virtual

# -- one hint ----------------------------------------------------------------------------------


def test_a_hinted_job_is_due_at_once(run: Any) -> None:
    """And its end is found by the look, not by what anybody said."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=20.0)
        async with make_poller(provider.source(), min_interval=60.0) as poller:
            job = await poller.watch("a")
            await anyio.sleep(20.0)
            assert poller.hint(["a"]) == 1
            event = await job.result()
            assert isinstance(event, JobSucceeded)
            assert now() == 20.0

    run(main)
    assert provider.looks_at("a") == [0.05, 20.0]


def test_a_hint_says_how_many_are_watched(run: Any) -> None:
    """Of the sources meant; ids that nobody knows are counted and do no harm."""

    async def main() -> None:
        provider, other = Provider(), Provider()
        sources = [provider.source(), other.source(kind="others")]
        for name in "ab":
            provider.add(name, at=NEVER)
            other.add(name, at=NEVER)
        async with make_poller(*sources, max_interval=100.0) as poller:
            await poller.watch_many("a b".split(), kind="jobs")
            await poller.watch("a", kind="others")
            assert poller.hint(["a", "b", "nobody"]) == 3
            assert poller.hint({"a": 1, "b": 2}, kind="others") == 1
            assert poller.hint(iter(["nobody"])) == 0
            with pytest.raises(ValueError, match="fit 0 sources"):
                poller.hint(["a"], kind="nothing")
            with pytest.raises(TypeError, match="a list of ids"):
                poller.hint("a")

    run(main)


def test_who_hints_a_stopped_poller_is_told(run: Any) -> None:
    """As who watches."""

    async def main() -> None:
        async with make_poller(Provider().source()) as poller:
            pass
        with pytest.raises(PollerStopped):
            poller.hint(["a"])
        with pytest.raises(PollerStopped):
            poller.take_callback({})

    run(main)


def test_an_early_hint_is_followed_up(run: Any) -> None:
    """Said to be done before the provider's list knows it: looks at growing intervals, then as before."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=100.0 + 5.0)
        provider.add("b", at=NEVER)
        async with make_poller(provider.source(), max_interval=500.0, look_price=25.0) as poller:
            jobs = [await poller.watch(name, deadline=None) for name in "ab"]
            await anyio.sleep(100.0)
            provider.asked.clear()
            poller.hint(["a", "b"])
            await jobs[0].result()
            await anyio.sleep(60.0)

    run(main)
    assert [round(at - 100.0, 1) for at in provider.looks_at("a")] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert [at for at in provider.looks_at("b") if at <= 100.0 + FOLLOWED + 12.0][:6] == [
        100.0, 101.0, 102.0, 104.0, 108.0, 116.0,
    ]  # fmt: skip


def test_a_hint_before_the_watch_counts(run: Any) -> None:
    """The callback overtakes the answer to the upload; the first look finds it running."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(), max_interval=500.0, look_price=25.0) as poller:
            poller.hint(["a"])
            await anyio.sleep(2.0)
            provider.add("a", at=8.0)
            await (await poller.watch("a")).result()

    run(main)
    assert provider.looks_at("a") == [2.05, 4.1, 8.2]


def test_a_hint_before_the_start_counts(run: Any) -> None:
    """A poller that isn't open yet keeps it, as any other that is about a stranger."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=3.0)
        poller = make_poller(provider.source(), max_interval=500.0, look_price=25.0)
        assert poller.hint(["a"]) == 0
        async with poller:
            await (await poller.watch("a")).result()

    run(main)
    assert provider.looks_at("a")[:2] == [0.05, 1.05]


def test_a_hint_while_we_ask_is_looked_into_again(run: Any) -> None:
    """The answer under way may have been made before."""
    provider = Provider(delay=4.0)
    provider.rounded = 2

    async def main() -> None:
        provider.add("a", at=2.0)
        provider.lives["a"] = [(0.0, "running"), (9.0, "done")]
        async with make_poller(provider.source(), min_interval=1.0, max_interval=900.0) as poller:
            job = await poller.watch("a")
            await anyio.sleep(3.0)
            poller.hint(["a"])
            await job.result()

    run(main)
    assert provider.looks_at("a")[:2] == [0.05, 4.05]


def test_a_hint_doesn_t_break_a_pause(run: Any) -> None:
    """After a failure the source is left alone, whatever anybody says."""
    from pollers_kit import LOCKED

    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source()) as poller:
            await poller.watch("a", deadline=None)
            await anyio.sleep(10.0)
            provider.trouble = [LOCKED]
            await anyio.sleep(2.0)
            provider.asked.clear()
            for _ in range(50):
                poller.hint(["a"])
                await anyio.sleep(2.0)
            assert provider.asked == []

    run(main)


def test_a_deadline_is_kept_however_well_callbacks_work(run: Any) -> None:
    """The safety net never stretches it."""
    provider = Provider()

    async def main() -> None:
        settings = {"max_interval": 60.0}
        async with make_poller(provider.source(batch=50), **settings) as poller:
            await announced(poller, provider, 150)
            provider.add("a", at=NEVER)
            began = now()
            event = await (await poller.watch("a", deadline=100.0)).result()
            assert isinstance(event, JobExpired)
            assert now() - began == pytest.approx(100.0, abs=0.1)

    run(main)


async def announced(
    poller: Poller, provider: Provider, count: int, takes: float = 10.0, name: str = "w"
) -> None:
    """Jobs whose end is announced, each on time."""
    names = [provider.add(f"{name}{i}", at=now() + takes) for i in range(count)]
    jobs = await poller.watch_many(names)
    await anyio.sleep(takes)
    poller.hint(names)
    await results(jobs)


# -- floods ------------------------------------------------------------------------------------


def test_a_flood_of_forged_hints_costs_no_more_than_polling(run: Any) -> None:
    """Twenty a second about one job, for five minutes: a look in `min_interval`, and nothing is kept."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(), min_interval=2.0, max_interval=60.0) as poller:
            await poller.watch("a", deadline=None)
            for _ in range(6000):
                poller.hint(["a"])
                await anyio.sleep(0.05)
            turns = poller._engine.loops[0].watch.queue.turns
            assert len(turns._later) + len(turns._waiting) < 20

    run(main)
    at = provider.looks_at("a")
    assert min(b - a for a, b in zip(at[1:], at[2:], strict=False)) >= 2.0 - 0.06
    assert len(at) <= 300.0 / 2.0 + 3


def test_jobs_that_are_gone_leave_nothing_behind(run: Any) -> None:
    """Unwatched or expired with a hint that is still being followed up: later ones are of strangers."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source()) as poller:
            for name in "abc":
                provider.add(name, at=NEVER)
            jobs = [await poller.watch(name, deadline=30.0) for name in "ab"]
            poller.hint(["a", "b"])
            await anyio.sleep(2.0)
            await jobs[0].unwatch()
            await anyio.sleep(26.0)
            poller.hint(["b"])
            await jobs[1].result()
            assert poller.hint(["a", "b"]) == 0
            assert poller._engine.loops[0].watch.callbacks._hints == {}

    run(main)


def test_forged_ids_cost_no_request(run: Any) -> None:
    """Nobody watches them."""
    provider = Provider()

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(), max_interval=100.0) as poller:
            await poller.watch("a", deadline=None)
            await anyio.sleep(100.0)  # its looks are ten seconds apart by now
            until, asked = provider.asked_at[-1] + 10.0, len(provider.asked)
            while now() < until - 1.0:
                for i in range(2000):
                    assert poller.hint([f"forged-{i}"]) == 0
                await anyio.sleep(0.5)
            assert len(provider.asked) == asked

    run(main)


def test_hints_never_make_a_job_stand_twice_in_a_request(run: Any) -> None:
    """Not even if its looks come back to the very instant at which it was due."""
    provider = Provider()
    chance = random.Random(1)

    async def main() -> None:
        names = [provider.add(f"j{i}", at=50.0 + i) for i in range(20)]
        async with make_poller(provider.source(batch=7, spacing=1.0), max_interval=4.0) as poller:
            jobs = await poller.watch_many(names)
            for _ in range(200):
                poller.hint(chance.sample(names, 5))
                await anyio.sleep(0.5)
            await results(jobs)

    run(main)
    for _, ids in provider.asked:
        assert len(set(ids)) == len(ids)


def test_at_a_limit_a_hinted_job_goes_first(run: Any) -> None:
    """Its look is worth more than any guess; the others don't starve for it."""
    provider = Provider()

    async def main() -> None:
        names = [provider.add(f"j{i}", at=NEVER) for i in range(400)]
        guard = paper_guard()
        source = provider.source(batch=10, spacing=1.0, guard=guard)
        async with make_poller(source, max_interval=5.0) as poller:
            await poller.watch_many(names, deadline=None)
            await anyio.sleep(200.0)
            for name in ("j7", "j77", "j277"):
                provider.lives[name] = [(0.0, "done")]
            poller.hint(["j7", "j77", "j277"])
            hinted_at = now()
            await anyio.sleep(2.1)
            assert {"j7", "j77", "j277"} <= {
                one for at, ids in provider.asked for one in ids if at >= hinted_at
            }
            assert len(await poller.jobs(state="succeeded")) == 3

    run(main)


# -- backing off and taking over -----------------------------------------------------------------


class World:
    """Jobs that come at random and take about 100 s; a share of their callbacks is lost."""

    def __init__(self, seed: int = 1) -> None:
        self.provider = Provider()
        self.chance = random.Random(seed)
        self.lost = 1.0
        self.late = 0.2
        self.doubled = 0.0
        self.ended: dict[str, float] = {}
        self.found: dict[str, float] = {}
        self.hinted = 0

    async def live(
        self, poller: Poller, count: int, *, every: float = 2.0, name: str = "j"
    ) -> None:
        """So many jobs, one every two seconds on average, to their ends."""
        async with anyio.create_task_group() as tasks:
            for i in range(count):
                tasks.start_soon(self._one, poller, f"{name}{i}")
                await anyio.sleep(self.chance.expovariate(1.0 / every))

    async def _one(self, poller: Poller, name: str) -> None:
        takes = self.chance.lognormvariate(4.6, 0.5)
        self.provider.add(name, at=now() + takes)
        self.ended[name] = now() + takes
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._call_back, poller, name, takes)
            await (await poller.watch(name, deadline=None)).result()
            self.found[name] = now()

    async def _call_back(self, poller: Poller, name: str, takes: float) -> None:
        is_lost, times = self.chance.random() < self.lost, 1 + (self.chance.random() < self.doubled)
        await anyio.sleep(takes + self.chance.uniform(0.0, 2.0 * self.late))
        for _ in range(0 if is_lost else times):
            self.hinted += 1
            poller.hint([name])

    def delay(self, name: str) -> float:
        """Mean seconds from the end of such a job to our knowledge of it."""
        ours = [one for one in self.found if one.startswith(name)]
        return sum(self.found[one] - self.ended[one] for one in ours) / len(ours)

    def longest(self, name: str) -> float:
        return max(self.found[one] - at for one, at in self.ended.items() if one.startswith(name))

    def polls(self, name: str) -> float:
        """Looks at such a job on average; without the first one and the one that finds the end."""
        looks = [one for _, ids in self.provider.asked for one in ids if one.startswith(name)]
        return len(looks) / len(set(looks)) - 2.0

    def poller(self, batch: int = 1, **settings: Any) -> Poller:
        given = {
            "min_interval": 1.0,
            "max_interval": 30.0,
            "chance": self.chance.random,
            **settings,
        }
        return make_poller(self.provider.source(batch=batch), **given)


@cache
def without() -> World:
    """As it is without callbacks; its jobs are called ``none``."""
    return measured(("none", 1.0, 250))


def measured(*phases: tuple[str, float, int], **settings: Any) -> World:
    """Phases of a name, a share of lost callbacks and a number of jobs each."""
    here = World()
    here.__dict__.update(settings)

    async def main() -> None:
        async with here.poller() as poller:
            for name, lost, count in phases:
                here.lost = lost
                await here.live(poller, count, name=name)

    run_virtual(main)
    return here


def test_working_callbacks_spare_nine_polls_in_ten_and_most_of_the_delay() -> None:
    """One in a hundred lost: a tenth of the polls or fewer, and less delay than all polls gave."""
    here = measured(("warm", 0.01, 300), ("good", 0.01, 400))
    assert here.polls("good") <= without().polls("none") / 8.0
    assert here.delay("good") <= without().delay("none") / 3.0


def test_half_lost_callbacks_spare_some_polls_at_less_delay() -> None:
    """As theory has it, intervals grow by the square root of two, and half the delay is gone."""
    here = measured(("warm", 0.5, 250), ("half", 0.5, 250))
    assert here.polls("half") <= 0.85 * without().polls("none")
    assert here.delay("half") <= 0.9 * without().delay("none")


def test_polling_takes_over_when_callbacks_stop() -> None:
    """After two ends that nobody announced: looks and delay are soon as they were without any."""
    here = measured(("warm", 0.0, 100), ("good", 0.0, 150), ("stop", 1.0, 80), ("poll", 1.0, 120))
    assert here.polls("good") < 0.2 * without().polls("none")
    assert here.polls("poll") == pytest.approx(without().polls("none"), rel=0.3)
    assert here.delay("poll") <= 1.3 * without().delay("none")
    assert here.longest("stop") <= SAFETY_NET * 30.0 + LATE + 30.0
    assert here.delay("stop") <= 40.0


def test_lost_ones_that_a_sweep_finds_together_are_no_alarm(caplog: Any) -> None:
    """Fifty jobs in flight and twenty a request: what one request finds came to pass at many times."""
    here = World()

    async def main() -> None:
        here.lost = 0.05
        async with here.poller(20) as poller:
            await here.live(poller, 800, every=2.0)
            assert poller._engine.loops[0].watch.callbacks.trusted

    run_virtual(main)
    assert "callbacks_stopped" not in caplog.text


def test_doubled_and_late_callbacks_work_as_well() -> None:
    """Three seconds late on average, two in three doubled: nothing is counted as lost."""
    here = measured(("warm", 0.0, 150), ("late", 0.0, 300), late=3.0, doubled=0.67)
    assert here.polls("late") <= 0.25 * without().polls("none")
    assert here.delay("late") <= 4.5


def test_how_long_jobs_take_is_learned_from_callbacks_too() -> None:
    """An end that was announced lies just before, not anywhere since the last look."""
    here = World()

    async def main() -> None:
        async with here.poller() as poller:
            here.lost = 0.0
            await here.live(poller, 400, name="good")
            hazard = poller._engine.loops[0].watch.looks._measures[0].hazard
            # lognormal of median 99 s, sigma 0.5: 5 % have ended after 44 s, 95 % after 226 s
            assert 0.0 <= hazard.until(44.0)[0] <= 0.13
            assert 0.5 <= hazard.until(99.5)[0] <= 0.9
            assert 2.2 <= hazard.until(226.0)[0]

    run_virtual(main)


def test_taking_over_plans_what_was_planned_anew(run: Any) -> None:
    """Hundreds of jobs with their next look minutes ahead; within a second or two each is due again."""
    provider = Provider()

    async def main() -> None:
        source = provider.source(batch=200)
        async with make_poller(source, max_interval=30.0) as poller:
            await announced(poller, provider, 150)
            names = [provider.add(f"j{i}", at=NEVER) for i in range(900)]
            await poller.watch_many(names, deadline=None)
            await anyio.sleep(1000.0)
            provider.asked.clear()
            await anyio.sleep(100.0)
            assert len({one for _, ids in provider.asked for one in ids}) < 900
            for name in ("x", "y", "z"):
                provider.add(name, at=now())
                provider.lives[name] = [(0.0, "running"), (now() + 1.0, "done")]
            jobs = [await poller.watch(name) for name in ("x", "y", "z")]
            await results(jobs)  # and nobody calls
            await anyio.sleep(LATE + 1.0)
            provider.asked.clear()
            await anyio.sleep(33.0)
            assert {one for _, ids in provider.asked for one in ids} >= set(names)

    run(main)


def test_polling_takes_over_from_one_job_at_a_time(run: Any) -> None:
    """Few jobs too: two of them wait for the safety net at worst, then it is as before."""
    provider = Provider()
    waits = []

    async def main() -> None:
        async with make_poller(provider.source(batch=200), max_interval=30.0) as poller:
            await announced(poller, provider, 150)
            for i in range(6):
                end = now() + 40.0
                await (await poller.watch(provider.add(f"j{i}", at=end), deadline=None)).result()
                waits.append(round(now() - end, 1))
                await anyio.sleep(LATE + 1.0)

    run(main)
    assert max(waits) <= SAFETY_NET * 30.0
    assert max(waits[2:]) <= 30.0


def test_sources_are_measured_apart(run: Any) -> None:
    """One has callbacks, the other none."""

    async def main() -> None:
        provider, other = Provider(), Provider()
        sources = [provider.source(batch=100), other.source(kind="others", batch=100)]
        async with make_poller(*sources, max_interval=30.0) as poller:
            names = [provider.add(f"j{i}", at=now() + 10.0) for i in range(100)]
            jobs = await poller.watch_many(names, kind="jobs")
            other.add("o", at=now() + 10.0)
            jobs.append(await poller.watch("o", kind="others"))
            await anyio.sleep(10.0)
            poller.hint(names, kind="jobs")
            await results(jobs)
            await anyio.sleep(LATE + 1.0)
            shares = [loop.watch.callbacks.loss.chance for loop in poller._engine.loops]
            assert shares[0] < 0.1
            assert shares[1] == 1.0

    run(main)


def test_without_callbacks_nothing_is_different() -> None:
    """Who never hears of any makes the same looks as ever."""

    def looks(hint: Callable[[Poller], None]) -> Any:
        here = World()

        async def main() -> None:
            async with here.poller(chance=FixedChance(0.5)) as poller:
                hint(poller)
                await here.live(poller, 100)

        run_virtual(main)
        return here.provider.asked

    assert looks(lambda poller: None) == looks(lambda poller: [poller.hint(["nobody"])])


def test_what_was_learned_outlives_a_restart(run: Any) -> None:
    """It is believed again as soon as one callback comes."""
    provider, store = Provider(), MemoryStore()

    async def main() -> None:
        async with make_poller(provider.source(batch=200), store=store) as poller:
            await announced(poller, provider, 150)
        async with make_poller(provider.source(batch=200), store=store) as poller:
            loss = poller._engine.loops[0].watch.callbacks.loss
            assert 0.4 <= loss.chance <= 0.6
            await announced(poller, provider, 1, name="x")
            assert loss.chance < 0.1

    run(main)


def test_callbacks_that_stopped_with_a_restart_are_noticed(run: Any) -> None:
    """Not one comes to the new process: what the old one learned is unlearned, in its store too."""
    provider, store = Provider(), MemoryStore()

    async def main() -> None:
        async with make_poller(provider.source(batch=200), store=store) as poller:
            await announced(poller, provider, 150)
        for _ in range(2):
            async with make_poller(provider.source(batch=200), store=store) as poller:
                names = [provider.add(f"j{now()}-{i}", at=now() + 10.0) for i in range(10)]
                await results(await poller.watch_many(names))
                await anyio.sleep(LATE + 1.0)
                last = provider.add(f"k{now()}", at=now() + 10.0)
                await (await poller.watch(last)).result()
                assert poller._engine.loops[0].watch.callbacks.loss.chance > 0.9

    run(main)


def test_jobs_that_ended_while_nobody_listened_are_not_counted(run: Any) -> None:
    """After a restart, the first look finds what was announced to nobody."""
    provider, store = Provider(), MemoryStore()

    async def main() -> None:
        async with make_poller(provider.source(batch=200), store=store) as poller:
            await announced(poller, provider, 150)
            names = [provider.add(f"j{i}", at=now() + 30.0) for i in range(20)]
            await poller.watch_many(names)
            await anyio.sleep(2.0)
        await anyio.sleep(60.0)
        async with make_poller(provider.source(batch=200), store=store) as poller:
            await announced(poller, provider, 3, name="x")
            await anyio.sleep(LATE + 1.0)
            assert len(await poller.jobs(state="succeeded")) == 173
            assert poller._engine.loops[0].watch.callbacks.loss.chance < 0.05

    run(main)


def test_jobs_that_ended_before_they_were_watched_are_not_counted(run: Any) -> None:
    """Their callbacks are long gone; whether they had any, nobody knows."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(batch=200)) as poller:
            await announced(poller, provider, 150)
            await anyio.sleep(500.0)
            names = [provider.add(f"j{i}", at=now() - 100.0) for i in range(20)]
            submitted_at = poller._engine.wall() - 300.0
            await results(await poller.watch_many(names, submitted_at=submitted_at))
            await anyio.sleep(LATE + 1.0)
            assert poller._engine.loops[0].watch.callbacks.loss.chance == 0.01

    run(main)


def test_a_job_that_no_answer_has_until_its_end_is_counted(run: Any) -> None:
    """Deployments that show a video only when it is parsed."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(batch=200)) as poller:
            for i in range(60):
                job = provider.add(f"j{i}", at=now() + 5.0, visible=NEVER)
                handle = await poller.watch(job)
                await anyio.sleep(5.0)
                poller.hint([job])
                await handle.result()
            assert poller._engine.loops[0].watch.callbacks.loss.chance < 0.05

    run(main)


def test_stopping_and_working_are_told_once(run: Any, caplog: Any) -> None:
    """In the log, with the share that is lost."""
    provider = Provider()
    caplog.set_level("INFO", logger="pollers")

    async def main() -> None:
        async with make_poller(provider.source(batch=200), max_interval=5.0) as poller:
            await announced(poller, provider, 150)
            await anyio.sleep(1.0)
            names = [provider.add(f"j{i}", at=now() + 10.0) for i in range(20)]
            await results(await poller.watch_many(names))
            await anyio.sleep(LATE + 5.0)

    run(main)
    said = [record.getMessage() for record in caplog.records if "callbacks_" in record.getMessage()]
    assert [one.split("'")[1] for one in said] == [
        "pollers.callbacks_work",
        "pollers.callbacks_stopped",
    ]
