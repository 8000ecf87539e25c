"""Lost replies: the search, what it finds, and what a person does where it finds nothing."""

from typing import Any

import anyio
import pytest
from pollers_kit import (
    BAD,
    BUSY,
    DOWN,
    EMPTY,
    NEVER,
    Provider,
    SlowStore,
    kinds,
    now,
    since_epoch,
    stored,
)
from submit_kit import Shop

from pollers import (
    Intent,
    JobCancelled,
    JobHandle,
    JobSucceeded,
    JobUncertain,
    Poller,
    SubmitUncertain,
)
from pollers.store import MemoryStore
from resilience import FatalError

NO_SEARCH = {"find_submitted": None}


async def uncertain(job: JobHandle) -> JobUncertain:
    with pytest.raises(SubmitUncertain) as caught:
        await job.result()
    return caught.value.event


async def rows(store: MemoryStore) -> list[tuple[str, str]]:
    return [(job.key.remote_id, job.state.value) for job in await store.jobs()]


# -- one match --------------------------------------------------------------------------------


def test_it_is_found_by_its_token(run: Any) -> None:
    """At the first search that shows it; the handle has its id from then on."""
    shop, store = Shop(takes=20.0, visible_after=5.0), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            await poller.submit(shop.upload)
            job = await poller.submit(shop.lose, data="mine")
            assert job.id == shop.called[1]
            event = await job.result()
            assert (event.job_id, event.user_data, job.id) == ("J2", "mine", "J2")
            assert (await job.row()).key.remote_id == "J2"
        assert shop.searched == [0.0, 1.0, 3.0, 7.0]
        assert (len(shop.made), len(shop.called)) == (2, 2)
        told = [event for event in await stored(store) if event.id.split(":")[1] == "2"]
        assert kinds(told) == ["JobSubmitting", "JobWatching", "JobChanged", "JobSucceeded"]
        assert since_epoch(told[1]) == 7.0

    run(main)


def test_a_search_that_fails_says_nothing(run: Any) -> None:
    """However long: the grace ends with a search that worked."""
    shop, store = Shop(), MemoryStore()
    shop.search_trouble = [DOWN] * 40

    async def main() -> None:
        async with shop.poller(store=store, grace=10.0, max_interval=5.0) as poller:
            job = await poller.submit(shop.lose)
            assert isinstance(await job.result(), JobSucceeded)
            assert now() > 60.0
        assert len(shop.searched) == 41

    run(main)


def test_a_refused_search_stalls_and_goes_on(run: Any) -> None:
    """As a refused look does: told once, and mended by itself."""
    shop, store = Shop(), MemoryStore()
    shop.search_trouble = [EMPTY, EMPTY]

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            job = await poller.submit(shop.lose)
            assert isinstance(await job.result(), JobSucceeded)
        told = kinds(await stored(store))
        assert told[:4] == ["JobSubmitting", "PollerStalled", "JobWatching", "PollerResumed"]
        assert shop.searched == [0.0, 40.0, 80.0]

    run(main)


def test_a_search_that_a_quota_rejects_keeps_the_spacing(run: Any) -> None:
    """It goes once more when the quota allows (after 2 s), and no sooner than calls may."""
    shop = Shop()
    shop.search_trouble = [BUSY, BUSY]

    async def main() -> None:
        async with shop.poller(source={"spacing": 3.0}) as poller:
            await (await poller.submit(shop.lose)).result()
        assert shop.searched == [0.0, 3.0, 6.0]
        assert shop.asked_at[0] == 9.0

    run(main)


def test_searches_and_looks_take_turns(run: Any) -> None:
    """A burst of lost replies must not hold up the jobs that are watched, nor the other way round."""
    shop, store = Shop(takes=100.0), MemoryStore()
    provider_looks: list[float] = []

    async def main() -> None:
        settings = {"source": {"spacing": 1.0, "batch": 1}, "store": store, "max_interval": 1.0}
        async with shop.poller(**settings) as poller:
            for i in range(5):
                await poller.watch(shop.add(f"w{i}", at=NEVER), deadline=None)
            jobs = [await poller.submit(shop.lose) for _ in range(20)]
            await anyio.sleep(30.5)
            provider_looks.extend(shop.asked_at)
            assert [job.id[0] for job in jobs].count("J") == len(shop.searched)
        assert 13 <= len(shop.searched) <= 16
        assert 13 <= len(provider_looks) <= 17
        gaps = sorted(shop.searched + provider_looks)
        assert min(b - a for a, b in zip(gaps, gaps[1:], strict=False)) >= 0.999

    run(main)


# -- several, or none -------------------------------------------------------------------------


def test_several_matches_are_uncertain_at_once(run: Any) -> None:
    """The event names them; nothing is submitted, nobody hangs, and everybody is told the same."""
    shop, store = Shop(), MemoryStore()

    async def twice(intent: Intent) -> Any:
        await shop.upload(intent)
        return await shop.lose(intent)

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            job = await poller.submit(twice)
            event = await uncertain(job)
            assert (event.reason, event.candidates) == ("several", ("J1", "J2"))
            assert event.cause == "TimeoutError: no reply"
            assert (now(), await uncertain(job)) == (0.0, event)
            await anyio.sleep(500.0)
        assert shop.searched == [0.0]
        assert kinds(await stored(store)) == ["JobSubmitting", "JobUncertain"]

    run(main)


def test_none_is_uncertain_after_the_grace(run: Any) -> None:
    """With pauses that grow, and a last search at its end."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store, grace=40.0) as poller:
            job = await poller.submit(shop.vanish)
            event = await uncertain(job)
            assert (event.reason, event.candidates, now()) == ("none", (), 40.0)
            await anyio.sleep(500.0)
        assert shop.searched == [0.0, 1.0, 3.0, 7.0, 15.0, 30.0, 40.0]
        assert len(shop.called) == 1

    run(main)


def test_no_search_is_uncertain_at_once(run: Any) -> None:
    """A source that can't search can't know."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store, source=NO_SEARCH) as poller:
            job = await poller.submit(shop.lose)
            event = await uncertain(job)
            assert (event.reason, now()) == ("no_search", 0.0)
            (problem,) = poller.health().problems
            assert (problem.code, problem.about) == ("uncertain", "jobs of default")
            await poller.settle(job, remote_id="J1")
            assert poller.health().ok
            assert (await (await poller.submit(shop.upload)).result()).job_id == "J2"

    run(main)


def test_a_search_that_is_refused_is_no_search(run: Any) -> None:
    """It is told why, after the grace."""
    shop, store = Shop(), MemoryStore()
    shop.search_trouble = [BAD] * 100

    async def main() -> None:
        async with shop.poller(store=store, grace=5.0) as poller:
            event = await uncertain(await poller.submit(shop.lose))
            assert (event.reason, now()) == ("none", 5.0)
            assert event.cause == "the last search failed: bad: wrong"

    run(main)


@pytest.mark.parametrize("wrong", ["J1", {"J1": 1}])
def test_a_search_must_give_a_list(wrong: Any, run: Any) -> None:
    """A text would be taken for many ids of one letter: the poller ends and says so."""
    shop = Shop()
    shop.search_trouble = [wrong]

    async def main() -> None:
        with pytest.raises(Exception, match="expected a list of ids"):
            async with shop.poller() as poller:
                await poller.submit(shop.lose)
                await anyio.sleep(1.0)

    run(main)


# -- a guess ----------------------------------------------------------------------------------


def test_a_guess_is_never_a_job_that_is_known(run: Any) -> None:
    """It is another's; what is left over may be it."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store, source={"find_submitted": shop.guess}) as poller:
            await poller.submit(shop.upload)
            job = await poller.submit(shop.lose)
            await job.result()
            assert job.id == "J2"
            event = await uncertain(await poller.submit(shop.vanish))
            assert (event.reason, event.candidates) == ("none", ())

    run(main)


def test_two_guesses_are_uncertain(run: Any) -> None:
    """Both are named."""
    shop = Shop()

    async def main() -> None:
        async with shop.poller(source={"find_submitted": shop.guess}) as poller:
            shop.make("somebody else's")
            event = await uncertain(await poller.submit(shop.lose))
            assert (event.reason, event.candidates) == ("several", ("J1", "J2"))

    run(main)


# -- an id that is known ----------------------------------------------------------------------


@pytest.mark.parametrize("over", [False, True], ids=["live", "ended"])
@pytest.mark.parametrize("lost", [False, True], ids=["replied", "lost"])
def test_a_known_id_is_the_job_that_has_it(lost: bool, over: bool, run: Any) -> None:
    """The intent's row ends, honestly; the handle stands for the other, and two never live."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            first = await poller.submit(shop.upload, data="first")
            if over:
                await first.result()

            async def again(intent: Intent) -> str:
                shop.made["J1"] = intent.token
                if lost:
                    raise TimeoutError
                return "J1"

            second = await poller.submit(again, data="second")
            event = await second.result()
            assert (event.user_data, event.job_id) == ("first", "J1")
            assert (second.rid, second.id) == (first.rid, "J1")
            assert (await second.row()).rid == first.rid
        assert await rows(store) == [("J1", "succeeded"), (shop_token(store), "cancelled")]
        cancelled = next(e for e in await stored(store) if isinstance(e, JobCancelled))
        assert (cancelled.cause, cancelled.user_data) == ("J1 is known already, as job 1", "second")

    def shop_token(store: MemoryStore) -> str:
        return next(job.key.remote_id for job in store._jobs.values() if job.rid == 2)

    run(main)


def test_a_waiter_goes_on_with_the_known_job(run: Any) -> None:
    """Also one that waited before it was known."""
    shop, store = Shop(takes=20.0), MemoryStore()
    shop.search_trouble = [[], [], ["J1"]]

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            first = await poller.submit(shop.upload, data="first")
            second = await poller.submit(shop.vanish)
            event = await second.result()
            assert (event, second.rid) == (await first.result(), first.rid)

    run(main)


# -- a person settles it ----------------------------------------------------------------------


@pytest.mark.parametrize("by", ["handle", "rid"])
def test_settling_goes_on(by: str, run: Any) -> None:
    """With the id that somebody found: watched, and its deadline counts from then."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store, source=NO_SEARCH) as poller:
            job = await poller.submit(shop.lose, deadline=50.0)
            await uncertain(job)
            await anyio.sleep(100.0)
            settled = await poller.settle(job if by == "handle" else job.rid, remote_id="J1")
            assert (settled.id, job.id) == ("J1", "J1")
            assert isinstance(await job.result(), JobSucceeded)
            with pytest.raises(LookupError, match=f"rid {job.rid} "):
                await poller.settle(job, remote_id="J1")
            with pytest.raises(LookupError):
                await poller.settle(99, remote_id="J1")
            with pytest.raises(ValueError):
                await poller.settle(job, remote_id="")
        told = kinds(await stored(store))
        assert told == ["JobSubmitting", "JobUncertain", "JobWatching", "JobSucceeded"]

    run(main)


def test_giving_up_an_uncertain_job(run: Any) -> None:
    """`unwatch` ends it; whoever knows that nothing was done can submit again."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store, source=NO_SEARCH) as poller:
            job = await poller.submit(shop.vanish)
            await uncertain(job)
            (row,) = await poller.jobs(state="uncertain")
            again = await poller.job(row.key.remote_id)
            assert again is not None
            await again.unwatch()
            assert isinstance(await job.result(), JobCancelled)
        assert [state for _, state in await rows(store)] == ["cancelled"]

    run(main)


def test_giving_up_while_it_is_searched_for(run: Any) -> None:
    """No further search, and whoever waits is told."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store) as poller:
            job = await poller.submit(shop.vanish)
            async with anyio.create_task_group() as tasks:

                async def wait() -> None:
                    assert isinstance(await job.result(), JobCancelled)
                    assert now() == 5.0

                tasks.start_soon(wait)
                await anyio.sleep(5.0)
                await job.unwatch()
            await anyio.sleep(500.0)
        assert shop.searched == [0.0, 1.0, 3.0]

    run(main)


@pytest.mark.parametrize("how", ["unwatched", "settled", "settled otherwise"])
def test_somebody_decides_while_the_call_is_under_way(how: str, run: Any) -> None:
    """What was decided stays."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store) as poller:

            async def upload(intent: Intent) -> str:
                number = await shop.upload(intent)
                job = await poller.job(intent.token)
                assert job is not None
                if how == "unwatched":
                    await job.unwatch()
                else:
                    await poller.settle(job, remote_id=number if how == "settled" else "J9")
                return number

            job = await poller.submit(upload)
            event = await job.result()
        ends = {
            "unwatched": (shop.called[0], "JobCancelled"),
            "settled": ("J1", "JobSucceeded"),
            "settled otherwise": ("J9", "JobExpired"),
        }
        assert (job.id, type(event).__name__) == ends[how]
        assert len(await store.jobs()) == 1

    run(main)


@pytest.mark.parametrize("deed", ["reply", "refuse", "search"])
def test_giving_up_while_it_is_decided(deed: str, run: Any) -> None:
    """One comes first, and the other finds it done: the call's own end is told to its caller only."""
    shop, store = Shop(), SlowStore(0.5)

    async def upload(intent: Intent) -> Any:
        await anyio.sleep(2.2)
        return BAD if deed == "refuse" else await shop.upload(intent)

    async def find(intent: Intent) -> Any:
        await anyio.sleep(2.2)
        return await shop.find(intent)

    async def main() -> None:
        async with shop.poller(store=store, source={"find_submitted": find}) as poller:
            async with anyio.create_task_group() as tasks:

                async def submit() -> None:
                    if deed == "refuse":
                        with pytest.raises(FatalError):
                            await poller.submit(upload)
                    else:
                        await poller.submit(shop.lose if deed == "search" else upload)

                tasks.start_soon(submit)
                await anyio.sleep(3.0)  # stored at 1.0; decided at 3.2, or found then
                (row,) = await MemoryStore.jobs(store)
                await poller._engine.cancel(row.rid, row.key)
            await anyio.sleep(60.0)
        assert kinds(await stored(store)) == ["JobSubmitting", "JobCancelled"]

    run(main)


def test_a_handle_of_the_token_learns_the_id(run: Any) -> None:
    """Whoever took it from the store meanwhile."""
    shop = Shop(visible_after=5.0)

    async def main() -> None:
        async with shop.poller() as poller:
            job = await poller.submit(shop.lose)
            same = await poller.job(job.id)
            assert same is not None
            await job.result()
            assert (same.id, (await same.row()).state.value) == ("J1", "succeeded")

    run(main)


# -- restarts ---------------------------------------------------------------------------------


async def die(poller: Poller, upload: Any, **settings: Any) -> None:
    """Be gone in the middle of the call."""
    with anyio.CancelScope() as scope:

        async def cut(intent: Intent) -> Any:
            await upload(intent)
            scope.cancel()
            await anyio.sleep(1.0)

        async with poller:
            await poller.submit(cut, **settings)


@pytest.mark.parametrize("done", [True, False])
def test_a_restart_searches_for_what_was_left(done: bool, run: Any) -> None:
    """With the same intent, and a grace that begins anew."""
    shop, store = Shop(), MemoryStore()
    intents: list[Intent] = []
    restarted: list[bool] = []

    async def find(intent: Intent) -> Any:
        intents.append(intent)
        return await shop.find(intent) if restarted else []

    async def upload(intent: Intent) -> Any:
        intents.append(intent)
        if done:
            await shop.upload(intent)

    async def main() -> None:
        source = {"find_submitted": find}
        poller = shop.poller(store=store, source=source)
        await die(poller, upload, name="x", data=[1], deadline=30.0)
        before = await rows(store)
        assert [state for _, state in before] == ["submitting"]
        await anyio.sleep(1000.0)
        restarted.append(True)
        async with shop.poller(store=store, source=source, grace=20.0) as poller:
            job = await poller.job(before[0][0])
            assert job is not None
            if done:
                assert isinstance(await job.result(), JobSucceeded)
            else:
                event = await uncertain(job)
                assert (
                    event.cause
                    == "the process ended, or stopped its call, before it knew the reply"
                )
                assert now() == 1020.0
        assert len(set(map(repr, intents))) == 1
        assert len(intents) >= 2

    run(main)


def test_an_uncertain_job_stays_uncertain(run: Any) -> None:
    """Over a restart, until somebody settles it; nobody searches, nothing is told again."""
    shop, store = Shop(), MemoryStore()

    async def main() -> None:
        async with shop.poller(store=store, grace=5.0) as poller:
            await uncertain(await poller.submit(shop.vanish))
        count = len(shop.searched)
        async with shop.poller(store=store) as poller:
            await anyio.sleep(100.0)
            (row,) = await poller.jobs(state="uncertain")
            job = await poller.job(row.key.remote_id)
            assert job is not None
            assert (await uncertain(job)).reason == "none"
            shop.add("J7", at=now() + 5.0)
            await poller.settle(row.rid, remote_id="J7")
            assert isinstance(await job.result(), JobSucceeded)
        assert len(shop.searched) == count

    run(main)


def test_sources_keep_their_own(run: Any) -> None:
    """Each searches for what was submitted to it."""
    one, two = Shop(), Provider()

    async def main() -> None:
        from pollers_kit import make_poller

        sources = [one.source(find_submitted=one.find), two.source(kind="others")]
        async with make_poller(*sources) as poller:
            job = await poller.submit(one.lose, kind="jobs")
            other = await poller.submit(one.vanish, kind="others")
            assert (await uncertain(other)).reason == "no_search"
            assert isinstance(await job.result(), JobSucceeded)
            with pytest.raises(ValueError, match="fit 2 sources"):
                await poller.submit(one.upload)

    run(main)
