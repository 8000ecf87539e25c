"""The poller and its learned looks, in virtual time on both loops: what is due, who goes first, what is kept."""

import random
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest
from pollers_kit import NEVER, Provider, make_poller, now, paper_guard, results

from pollers import JobSucceeded, Poller
from pollers._core.model import Job, JobKey, Phase, Shard, Sighting, State
from pollers._queue import Hand
from pollers._watch import Pace, Watch
from pollers.store import MemoryStore

DAY = 86_400.0


async def one_after_another(
    poller: Poller, provider: Provider, count: int, takes: float, name: str = "j", **settings: Any
) -> None:
    """Jobs that each take so long."""
    for i in range(count):
        job = provider.add(f"{name}{i}", at=now() + takes)
        await (await poller.watch(job, **settings)).result()


def test_how_long_jobs_take_is_learned(run: Any) -> None:
    """The first of many equal jobs costs a look for each root of its age, the last a few at its end."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(), max_interval=600.0) as poller:
            await one_after_another(poller, provider, 60, 100.0)

    run(main)
    first, last = provider.looks_at("j0"), provider.looks_at("j59")
    assert 18 <= len(first) <= 24  # 2 * sqrt(100)
    assert len(last) <= len(first) / 3
    assert last[1] - last[0] > 30.0
    assert last[-1] - last[0] - 99.95 <= 2.0


def test_the_bounds_of_intervals_are_obeyed(run: Any) -> None:
    """Whatever was learned: never below `min_interval`, never above `max_interval`."""
    provider = Provider()

    async def main() -> None:
        settings = {"min_interval": 4.0, "max_interval": 20.0}
        async with make_poller(provider.source(), **settings) as poller:
            await one_after_another(poller, provider, 30, 100.0)

    run(main)
    for i in range(30):
        at = provider.looks_at(f"j{i}")
        gaps = [b - a for a, b in zip(at, at[1:], strict=False)]
        assert 3.999 <= min(gaps) <= max(gaps) <= 20.001


def test_a_dear_look_is_made_less_often(run: Any) -> None:
    """Sixteen times the price: a quarter of the looks."""
    counts = {}

    async def main() -> None:
        for price in (0.25, 4.0):
            provider = Provider()
            settings = {"max_interval": 1000.0, "min_interval": 0.1, "look_price": price}
            async with make_poller(provider.source(), **settings) as poller:
                provider.add("a", at=now() + 400.0)
                await (await poller.watch("a")).result()
            counts[price] = len(provider.asked)

    run(main)
    assert 3.0 <= counts[0.25] / counts[4.0] <= 5.0


@pytest.mark.parametrize("price", [0.0, -1.0, NEVER, float("nan")])
def test_a_price_is_above_zero(price: float) -> None:
    """The error names it."""
    with pytest.raises(ValueError, match="look_price"):
        make_poller(Provider().source(), look_price=price)


def test_what_fits_one_request_is_asked_for_together(run: Any) -> None:
    """However different the jobs are, a request that goes anyway asks for all of them."""
    provider = Provider()

    async def main() -> None:
        names = [provider.add(f"j{i}", at=20.0 + 40.0 * i) for i in range(5)]
        async with make_poller(provider.source(batch=10), max_interval=60.0) as poller:
            handles = []
            for name in names:
                handles.append(await poller.watch(name))
                await anyio.sleep(3.0)
            await results(handles)

    run(main)
    for at, ids in provider.asked:
        alive = {f"j{i}" for i in range(5) if 3.0 * i < at and (20.0 + 40.0 * i >= at - 61.0)}
        assert set(ids) <= alive
        assert {name for name in alive if 20.0 + 40.0 * int(name[1:]) >= at} <= set(ids)


# -- what the watcher knows ----------------------------------------------------------------------------


def test_features_are_stored_with_the_job(run: Any) -> None:
    """`duration`, `size` and `kind`, beside what the source is told."""

    async def main() -> None:
        provider = Provider()
        provider.add("a", at=NEVER)
        async with make_poller(provider.source()) as poller:
            told = {"duration": 60, "size": 1.5e6, "kind": "hd"}
            row = await (await poller.watch("a", features=told)).row()
            assert row.features == told

    run(main)


@pytest.mark.parametrize(
    ("features", "match"),
    [
        ({"width": 5}, "width=5: expected one of duration, size, kind"),
        ({"size": 0}, "size=0: expected a number above 0"),
        ({"size": True}, "size=True"),
        ({"duration": "60"}, "duration='60'"),
        ({"duration": NEVER}, "duration=inf"),
        ({"kind": ""}, "kind='': expected a text"),
        ({"kind": 3}, "kind=3"),
    ],
)
def test_features_that_say_nothing_are_refused(run: Any, features: Any, match: str) -> None:
    """The error names the feature, its value and what was expected; nothing is stored."""
    store = MemoryStore()

    async def main() -> None:
        async with make_poller(Provider().source(), store=store) as poller:
            with pytest.raises(ValueError, match=match):
                await poller.watch("a", features=features)
            assert await poller.jobs() == []

    run(main)


def test_kinds_are_learned_apart(run: Any) -> None:
    """Quick jobs and slow ones: a slow one is left alone where only quick ones end."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(), max_interval=DAY) as poller:
            for i in range(40):
                quick, slow = {"kind": "quick"}, {"kind": "slow"}
                await one_after_another(poller, provider, 1, 8.0, f"q{i}-", features=quick)
                await one_after_another(
                    poller, provider, 1, 400.0, f"s{i}-", features=slow, deadline=None
                )

    run(main)
    at = [look - provider.looks_at("s39-0")[0] for look in provider.looks_at("s39-0")]
    assert len([age for age in at if 1.0 < age < 200.0]) <= 3  # and 26 with nothing known


# -- what is kept ----------------------------------------------------------------------------------------


def shard_of(poller: Poller) -> Shard:
    return poller._engine.loops[0].shard


def test_what_was_learned_outlives_a_restart(run: Any) -> None:
    """It is written along with commits and read at the start."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        for batch in range(2):
            async with make_poller(provider.source(), store=store, max_interval=600.0) as poller:
                if batch:
                    await one_after_another(poller, provider, 1, 100.0, "after")
                else:
                    await one_after_another(poller, provider, 60, 100.0)
                kept = await store.blobs(shard_of(poller))
                assert msgspec.json.decode(kept["looks/jobs"])["v"] == 1

    run(main)
    assert len(provider.looks_at("after0")) <= len(provider.looks_at("j0")) / 3


@pytest.mark.parametrize("spoil", [b"", b"{", b'{"v":99}', b"\x00\xff", b'{"v":1}'])
def test_losing_it_is_no_harm(run: Any, spoil: bytes) -> None:
    """A blob of another version, or no blob: it learns anew."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        async with make_poller(provider.source(), store=store, max_interval=600.0) as poller:
            await one_after_another(poller, provider, 40, 100.0)
            shard = shard_of(poller)
        store._blobs[shard]["looks/jobs"] = spoil
        async with make_poller(provider.source(), store=store, max_interval=600.0) as poller:
            await one_after_another(poller, provider, 1, 100.0, "after")

    run(main)
    assert len(provider.looks_at("after0")) == len(provider.looks_at("j0"))


def test_a_look_that_finds_nothing_writes_nothing(run: Any) -> None:
    """Learning from it is not worth a write either."""
    provider = Provider()
    store = MemoryStore()
    commits: list[Any] = []
    commit = store.commit

    async def counting(*args: Any, **settings: Any) -> Any:
        commits.append(args)
        return await commit(*args, **settings)

    store.commit = counting  # type: ignore[method-assign]

    async def main() -> None:
        provider.add("a", at=NEVER)
        async with make_poller(provider.source(), store=store) as poller:
            await poller.watch("a", deadline=None)
            await anyio.sleep(300.0)

    run(main)
    assert len(provider.asked) == 300
    assert len(commits) == 1  # its status was seen for the first time


def test_what_had_ended_before_the_watch_teaches_nothing(run: Any) -> None:
    """A hundred old videos are all parsed at the first look; a new one is still looked at as before."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(batch=100), max_interval=600.0) as poller:
            await results(await poller.watch_many([provider.add(f"o{i}") for i in range(100)]))
            assert poller._engine.loops[0].watch.looks.learned == 0.0
            provider.add("new", at=now() + 50.0)
            submitted = await poller.watch("new", submitted_at=poller._engine.wall() - 30.0)
            assert isinstance(await submitted.result(), JobSucceeded)
            assert 0.9 < poller._engine.loops[0].watch.looks.learned <= 1.0

    run(main)


def test_the_first_look_after_a_restart_teaches_nothing(run: Any) -> None:
    """Nobody knows when the job was seen last: a day of downtime is no long job."""
    provider = Provider()
    store = MemoryStore()

    async def main() -> None:
        provider.add("a", at=50.0)
        async with make_poller(provider.source(), store=store) as poller:
            await poller.watch("a", deadline=None)
            await anyio.sleep(10.0)
        await anyio.sleep(DAY)
        async with make_poller(provider.source(), store=store) as poller:
            await (await poller.watch("a")).result()
            assert poller._engine.loops[0].watch.looks.learned == 0.0

    run(main)


# -- who goes first, under a limit -----------------------------------------------------------------------


class Hall:
    """A `Watch` without a loop: one request a second for so many jobs."""

    def __init__(self, batch: int, chance: Callable[[], float] = lambda: 0.0, **pace: Any) -> None:
        self.watch = Watch(Pace(**pace), batch, chance)
        self.batch = batch
        self.ends: dict[str, float] = {}
        self.looked: dict[str, list[float]] = {}
        self.deadlines: dict[int, float] = {}

    def add(self, rid: int, at: float, ends: float, deadline: float | None = None) -> None:
        name = f"j{rid}"
        key = JobKey("p", "d", "a", "k", name)
        job = Job(
            rid=rid, version=1, key=key, state=State.WATCHING, created_at=at, submitted_at=at,
            deadline=deadline,
        )  # fmt: skip
        self.watch.add(job, now=at, wall=at, first_look=at + 0.05)
        self.deadlines[rid] = NEVER if deadline is None else deadline
        self.ends[name] = ends
        self.looked[name] = []

    def second(self, at: float) -> list[str]:
        hand = Hand()
        picked = self.watch.pick(hand, self.batch, now=at)
        seen = {}
        for name in picked:
            self.looked[name].append(at)
            phase = Phase.SUCCEEDED if self.ends[name] <= at else Phase.PENDING
            seen[name] = Sighting(remote_id=name, phase=phase)
        for rid, _ in self.watch.saw(hand, seen, now=at, wall=at):
            if self.ends[f"j{rid}"] <= at or self.deadlines.get(rid, NEVER) <= at:
                self.watch.remove(rid)
        return picked


def test_nobody_starves() -> None:
    """1,000 jobs, 20 a second, for ever: each is looked at within nine times what a round takes."""
    hall = Hall(20)
    for rid in range(1, 1001):
        hall.add(rid, 0.0, NEVER)
    for at in range(1, 1500):
        assert len(hall.second(float(at))) == 20
    for looks in hall.looked.values():
        gaps = [b - a for a, b in zip([0.0, *looks], [*looks, 1499.0], strict=True)]
        assert max(gaps) <= 9 * 50.0


def test_who_is_never_worth_a_look_has_one_all_the_same() -> None:
    """Eight rounds of 20 s have better use for their looks; then it goes first."""
    hall = Hall(20, max_interval=10.0)
    worth = hall.watch.worth

    def little(slot: int, now: float, starved: float) -> float:
        found = worth(slot, now, starved)
        return 0.0 if hall.watch.jobs.rid[slot] == 1 and found < NEVER else found

    hall.watch.worth = little  # type: ignore[method-assign]
    for rid in range(1, 401):
        hall.add(rid, 0.0, NEVER)
    for at in range(1, 800):
        hall.second(float(at))
    looks = hall.looked["j1"][1:]
    gaps = [b - a for a, b in zip(looks, looks[1:], strict=False)]
    assert 140.0 <= min(gaps) <= max(gaps) <= 180.0


def test_a_crowd_takes_turns() -> None:
    """Watched at once, under a limit: each end is found within 1.15 of what a round takes."""
    chance = random.Random(3)
    hall = Hall(10, chance.random)
    ends = {rid: chance.lognormvariate(5.0, 0.6) for rid in range(1, 1001)}
    for rid, end in ends.items():
        hall.add(rid, 0.0, end)
    at = 0
    while hall.watch.jobs:
        at += 1
        hall.second(float(at))
    late = [hall.looked[f"j{rid}"][-1] - end for rid, end in ends.items()]
    assert max(late) <= 1.15 * 100.0


def test_new_jobs_are_served_beside_a_backlog() -> None:
    """A handful of quick ones among a thousand old ones need not wait for a round of 50 s."""
    hall = Hall(20)
    for rid in range(1, 1001):
        hall.add(rid, 0.0, NEVER)
    for at in range(1, 1000):
        hall.second(float(at))
    for rid in range(2001, 2011):
        hall.add(rid, 1000.0, 1002.0)
    for at in range(1001, 1040):
        hall.second(float(at))
    assert all(hall.ends[f"j{rid}"] <= hall.looked[f"j{rid}"][-1] for rid in range(2001, 2011))


def test_a_limit_never_stretches_a_deadline() -> None:
    """Among a thousand that wait, those whose time is over are looked at at once."""
    hall = Hall(20)
    for rid in range(1, 1001):
        hall.add(rid, 0.0, NEVER)
    for rid in range(1001, 1021):
        hall.add(rid, 0.0, NEVER, deadline=300.5)
    for at in range(1, 304):
        hall.second(float(at))
    assert all(300.5 <= hall.looked[f"j{rid}"][-1] <= 303.0 for rid in range(1001, 1021))


def test_a_crowd_costs_each_look_little() -> None:
    """20,000 jobs under a limit: nobody is compared with everybody."""
    calls = 0
    hall = Hall(20)
    worth = hall.watch.worth

    def counted(*args: Any) -> float:
        nonlocal calls
        calls += 1
        return worth(*args)

    hall.watch.worth = counted  # type: ignore[method-assign]
    for rid in range(1, 20_001):
        hall.add(rid, 0.0, NEVER)
    for at in range(1, 101):
        hall.second(float(at))
    assert calls <= 100 * 20 * 8


def test_the_order_does_not_grow() -> None:
    """400 jobs that never end under a limit, for long: what is kept of them stays a few entries each."""
    hall = Hall(20, max_interval=10.0)
    for rid in range(1, 401):
        hall.add(rid, 0.0, NEVER)
    for at in range(1, 1000):
        hall.second(float(at))
    turns = hall.watch.queue.turns
    assert turns.held_up
    assert len(turns._waiting) + len(turns._later) <= 5 * 400


def test_the_limit_is_forgotten_when_all_fits_again() -> None:
    """After a backlog the looks are as dense as before it."""
    hall = Hall(20, max_interval=30.0)
    for rid in range(1, 201):
        hall.add(rid, 0.0, 100.0 if rid > 20 else NEVER)
    for at in range(1, 400):
        hall.second(float(at))
    assert not hall.watch.queue.turns.held_up
    assert hall.watch.queue.turns.shadow_price == 0.25
    assert len(hall.watch.jobs) == 20


def test_the_guard_still_says_when(run: Any) -> None:
    """A server's hint is a floor, also for a look that is worth much."""
    provider = Provider()

    async def main() -> None:
        async with make_poller(provider.source(guard=paper_guard()), max_interval=600.0) as poller:
            await one_after_another(poller, provider, 20, 10.0)
            provider.trouble = [{"code": "busy", "msg": "slow", "retry_after": 300}]
            started = now()
            await one_after_another(poller, provider, 1, 10.0, "late")
            assert now() >= started + 300.0

    run(main)
