"""Many accounts in one poller: each with its own limit, and nobody pays for another."""

from statistics import mean
from typing import Any

import anyio
import pytest
from pollers_kit import (
    BUSY,
    EMPTY,
    NEVER,
    PAPER,
    REFUSED,
    Provider,
    kinds,
    make_poller,
    paper_guard,
    results,
    since_epoch,
    stored,
)
from submit_kit import Shop

from pollers import PollerResumed, PollerStalled, State
from pollers.store import MemoryStore
from resilience import Guard, quota


def told_of(events: list[Any]) -> list[tuple[float, str, str]]:
    """Which accounts stalled and resumed, when."""
    return sorted(
        (since_epoch(event), event.subject, type(event).__name__)
        for event in events
        if isinstance(event, PollerStalled | PollerResumed)
    )


class Limited(Provider):
    """Rejects what is over its limit, counted in whole windows."""

    def __init__(self, calls: int, per: float) -> None:
        super().__init__()
        self.calls, self.per = calls, per
        self.served: list[float] = []
        self.rejected = 0

    def admit(self) -> Any:
        began = anyio.current_time() // self.per * self.per
        if len([at for at in self.served if at >= began]) >= self.calls:
            self.rejected += 1
            return BUSY
        self.served.append(anyio.current_time())
        return None


# -- one of several -------------------------------------------------------------------------------


def test_an_exhausted_account_stalls_only_its_own_jobs(run: Any) -> None:
    """The other two go on as if nothing had happened; the events name the account."""
    ends: dict[str, list[float]] = {}
    store = MemoryStore()

    async def main(*, trouble: bool) -> None:
        providers = {name: Provider() for name in ("ann", "bob", "cid")}
        if trouble:
            providers["bob"].always = lambda _: (
                EMPTY if 4.5 < anyio.current_time() < 100.0 else None
            )
        sources = [one.source(guard=paper_guard(name), batch=5) for name, one in providers.items()]
        async with make_poller(*sources, store=store if trouble else MemoryStore()) as poller:
            handles = {}
            for name, provider in providers.items():
                ids = [provider.add(f"{name}-{i}", at=3.0 + 5 * i) for i in range(3)]
                handles[name] = await poller.watch_many(ids, account=name)
            if trouble:
                await anyio.sleep(20.0)
                shown = {one["account"]: one for one in poller.snapshot()["accounts"]}
                assert [shown[name]["stalled_since"] is None for name in providers] == [
                    True, False, True,
                ]  # fmt: skip
                assert [one["code"] for one in shown["bob"]["stalled_by"]] == ["empty"]
                assert {(await one.row()).state for one in handles["bob"][1:]} == {State.WATCHING}
            for name, those in handles.items():
                ends.setdefault(name, []).extend(
                    since_epoch(event) for event in await results(those)
                )

    run(lambda: main(trouble=True))
    with_trouble = dict(ends)
    ends.clear()
    run(lambda: main(trouble=False))
    assert (with_trouble["ann"], with_trouble["cid"]) == (ends["ann"], ends["cid"])
    first, *later = with_trouble["bob"]
    assert first == ends["bob"][0]
    assert later == [125.05, 125.05]  # refused at 5.05, and probed every 40 s


def test_each_account_is_told_of_by_its_name(run: Any) -> None:
    """Two of three are refused, for different reasons and times."""
    store = MemoryStore()

    async def main() -> None:
        sources = []
        for name, wrong, until in (
            ("ann", EMPTY, 60.0), ("bob", REFUSED, 120.0), ("cid", None, 0.0),
        ):  # fmt: skip
            provider = Provider()
            provider.add("a", at=NEVER)
            provider.always = lambda _, wrong=wrong, until=until: (
                wrong if anyio.current_time() < until else None
            )
            sources.append(provider.source(guard=paper_guard(name)))
        async with make_poller(*sources, store=store) as poller:
            for name in ("ann", "bob", "cid"):
                await poller.watch("a", account=name)
            await anyio.sleep(300.0)

    run(main)
    assert told_of(anyio.run(stored, store)) == [
        (0.05, "ann", "PollerStalled"),
        (0.05, "bob", "PollerStalled"),
        (80.05, "ann", "PollerResumed"),
        (120.05, "bob", "PollerResumed"),
    ]


# -- two sources of one account -------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False], ids=["one guard", "a guard each"])
def test_an_account_is_told_of_once_however_many_sources_it_has(run: Any, shared: bool) -> None:
    """One PollerStalled for the code, one PollerResumed when all are well, and no delay between."""
    store = MemoryStore()
    provider = Provider()

    async def main() -> None:
        guard = paper_guard("ann")
        provider.always = lambda _: EMPTY if 2.0 < anyio.current_time() < 90.0 else None
        sources = [
            provider.source(guard=guard if shared else paper_guard("ann"), kind=kind)
            for kind in ("films", "songs", "texts")
        ]
        async with make_poller(*sources, store=store) as poller:
            for kind in ("films", "songs", "texts"):
                await poller.watch(provider.add(kind, at=NEVER), kind=kind)
            await anyio.sleep(60.0)
            [account] = poller.snapshot()["accounts"]
            assert len(account["guards"]) == (1 if shared else 3)
            assert {door["code"] for one in account["guards"] for door in one["doors"]} == {"empty"}
            assert [one["code"] for one in account["stalled_by"]] == ["empty"]
            await anyio.sleep(100.0)
            assert not any(one["stalled"] for one in poller.snapshot()["sources"])

    run(main)
    told = told_of(anyio.run(stored, store))
    assert [(who, what) for _, who, what in told] == [
        ("ann", "PollerStalled"),
        ("ann", "PollerResumed"),
    ]
    # whoever probes first finds out for all: nobody waits for a probe of his own
    first = {kind: min(at for at in provider.looks_at(kind) if at > 90.0) for kind in
             ("films", "songs", "texts")}  # fmt: skip
    assert max(first.values()) - min(first.values()) <= 1.0
    assert min(first.values()) < 124.0


def test_who_did_not_find_out_goes_on_at_once(run: Any) -> None:
    """One look is the probe, the others wait for what becomes of it; nobody for a probe of his own."""
    films, songs = Provider(), Provider()

    async def main() -> None:
        guard = paper_guard("ann")
        for provider in (films, songs):
            provider.always = lambda _: EMPTY if anyio.current_time() < 61.0 else None
        sources = [films.source(guard=guard, kind="films"), songs.source(guard=guard, kind="songs")]
        async with make_poller(*sources) as poller:
            await poller.watch(films.add("f", at=NEVER), kind="films")
            await poller.watch(songs.add("s", at=NEVER), kind="songs")
            await anyio.sleep(100.0)

    run(main)
    served = sorted(min(at for at in one.asked_at if at > 61.0) for one in (films, songs))
    assert served == [80.05, pytest.approx(80.05, abs=0.5)]


def test_a_second_reason_is_told_of_too(run: Any) -> None:
    """A key that is refused while the account is empty is another thing for a person to mend."""
    store = MemoryStore()

    async def main() -> None:
        films, songs = Provider(), Provider()
        films.always = lambda _: EMPTY if anyio.current_time() < 100.0 else None
        songs.always = lambda _: REFUSED if anyio.current_time() < 50.0 else None
        sources = [
            films.source(guard=paper_guard("ann"), kind="films"),
            songs.source(guard=paper_guard("ann"), kind="songs"),
        ]
        async with make_poller(*sources, store=store) as poller:
            await poller.watch(films.add("f", at=NEVER), kind="films")
            await poller.watch(songs.add("s", at=NEVER), kind="songs")
            await anyio.sleep(200.0)

    run(main)
    events = [e for e in anyio.run(stored, store) if isinstance(e, PollerStalled | PollerResumed)]
    assert kinds(events) == ["PollerStalled", "PollerStalled", "PollerResumed"]
    assert {events[0].code, events[1].code} == {"empty", "refused"}
    assert since_epoch(events[2]) == 120.05


def test_a_source_whose_last_job_is_unwatched_does_not_keep_its_account_stalled(run: Any) -> None:
    """It will never look again, so it can't be waited for."""
    store = MemoryStore()

    async def main() -> None:
        provider = Provider()
        provider.always = lambda _: EMPTY if anyio.current_time() < 30.0 else None
        guard = paper_guard("ann")
        sources = [provider.source(guard=guard, kind=kind) for kind in ("films", "songs")]
        async with make_poller(*sources, store=store) as poller:
            await poller.watch(provider.add("f", at=NEVER), kind="films")
            song = await poller.watch(provider.add("s", at=NEVER), kind="songs")
            await anyio.sleep(10.0)
            await song.unwatch()
            await anyio.sleep(100.0)
            assert poller.health().ok

    run(main)
    assert told_of(anyio.run(stored, store)) == [
        (0.05, "ann", "PollerStalled"),
        (40.05, "ann", "PollerResumed"),
    ]


@pytest.mark.parametrize("how", ["expired", "unwatched", "given up"])
def test_an_account_without_jobs_is_no_longer_stalled(run: Any, how: str) -> None:
    """Whoever submits nothing while it is stalled would never learn that he may; the next is told anew."""
    store = MemoryStore()
    shop = Shop()
    shop.always = lambda _: EMPTY
    shop.search_trouble = [EMPTY] * 9

    async def main() -> None:
        async with shop.poller(store=store, final_grace=5.0) as poller:
            if how == "given up":
                job = await poller.submit(shop.vanish)
            else:
                shop.add("a", at=NEVER)
                job = await poller.watch("a", deadline=10.0 if how == "expired" else None)
            await poller.watch(shop.add("b", at=NEVER), deadline=1.0)
            await anyio.sleep(12.0)
            assert [what for *_, what in told_of(await stored(store))] == ["PollerStalled"]
            if how != "expired":
                await job.unwatch()
            await anyio.sleep(100.0)
            [account] = poller.snapshot()["accounts"]
            assert (account["stalled_since"], account["stalled_by"]) == (None, [])
            assert not poller.snapshot()["sources"][0]["stalled"]
            await poller.watch("c", deadline=None)
            await anyio.sleep(100.0)
            assert poller.snapshot()["accounts"][0]["stalled_since"] is not None

    run(main)
    at = 15.0 if how == "expired" else 12.0
    first = 0.0 if how == "given up" else 0.05
    told = told_of(anyio.run(stored, store))
    assert told[:2] == [
        (first, "default", "PollerStalled"),
        (pytest.approx(at, abs=0.01), "default", "PollerResumed"),
    ]
    assert [what for *_, what in told[2:]] == ["PollerStalled"]


# -- shares ---------------------------------------------------------------------------------------


def test_twenty_accounts_have_a_rate_each(run: Any) -> None:
    """An account with two thousand jobs takes nothing from one with a single job."""
    sizes = [1, 2, 5, 10, 2000, *[20] * 15]

    async def main() -> None:
        providers = [Limited(1, 0.5) for _ in sizes]
        sources = []
        for i, provider in enumerate(providers):
            provider.always = lambda _, provider=provider: provider.admit()
            sources.append(provider.source(guard=busy_guard(f"account-{i}"), batch=10, spacing=0.5))
        async with make_poller(*sources, min_interval=2.0) as poller:
            for i, (provider, size) in enumerate(zip(providers, sizes, strict=True)):
                ids = [provider.add(f"{i}-{j}", at=NEVER) for j in range(size)]
                await poller.watch_many(ids, account=f"account-{i}")
            began = anyio.current_time()
            await anyio.sleep(60.0)
            shown = poller.snapshot()["sources"]
        for provider, size, one in zip(providers, sizes, shown, strict=True):
            requests = len([at for at in provider.asked_at if at > began])
            # a look every two seconds for each, ten a request, at most two requests a second
            wanted = min(2.0, max(1, size / 10) / 2.0) * 60.0
            assert requests == pytest.approx(wanted, rel=0.15), size
            assert provider.rejected <= 3
            assert one["requests_per_second"] == pytest.approx(wanted / 60.0, rel=0.2)

    run(main)


def busy_guard(account: str) -> Guard:
    """Of an account whose limit counts the requests for all kinds together."""
    narrow = quota("window", scope="account", wait=1.0)
    return paper_guard(account, policy=PAPER.with_codes({"busy": narrow}))


@pytest.mark.parametrize(
    ("sources", "calls", "per"), [(2, 4, 1.0), (2, 1, 1.0), (2, 1, 4.0), (2, 1, 10.0), (5, 1, 4.0)]
)
def test_sources_of_one_account_share_its_limit(
    run: Any, sources: int, calls: int, per: float
) -> None:
    """All have more to ask for than may go, one a hundred times more: each has about the same share."""
    served: dict[str, int] = {}

    async def main() -> None:
        account, guard = Limited(calls, per), busy_guard("ann")
        providers = {f"kind-{i}": Provider() for i in range(sources)}

        def admitting(kind: str) -> Any:
            def admit(_: Any) -> Any:
                refused = account.admit()
                if refused is None:
                    served[kind] = served.get(kind, 0) + 1
                return refused

            return admit

        for kind, provider in providers.items():
            provider.always = admitting(kind)
        made = [one.source(guard=guard, kind=kind, batch=5) for kind, one in providers.items()]
        async with make_poller(*made) as poller:
            for i, (kind, provider) in enumerate(providers.items()):
                ids = [provider.add(f"{kind}-{j}", at=NEVER) for j in range(20 if i else 2000)]
                await poller.watch_many(ids, kind=kind)
            await anyio.sleep(100 * sources * per / calls)

    run(main)
    assert mean(served.values()) > 60
    assert min(served.values()) > 0.7 * max(served.values()), served
