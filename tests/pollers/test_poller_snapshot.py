"""What a poller tells of itself, against what really happened."""

import json
from typing import Any

import anyio
import pytest
from pollers_kit import BUSY, DOWN, NEVER, Provider, make_poller, results, since_epoch

from pollers import EventRefused
from pollers.sinks import CallbackSink
from pollers.store import MemoryStore
from resilience.testing import EPOCH


def only(shown: dict[str, Any], part: str = "sources") -> dict[str, Any]:
    """The one entry of a part."""
    [one] = shown[part]
    return one


def test_a_snapshot_is_plain_data_at_every_age(run: Any) -> None:
    """Before the start, in the middle, and after the end: what JSON has, and all its parts."""
    shown: list[dict[str, Any]] = []

    async def main() -> None:
        provider = Provider()
        poller = make_poller(provider.source(batch=3), sinks=[lambda _: None])
        shown.append(poller.snapshot())
        async with poller:
            await poller.watch(provider.add("a", at=2.0))
            await anyio.sleep(5.0)
            shown.append(poller.snapshot())
        shown.append(poller.snapshot())

    run(main)
    assert [one["state"] for one in shown] == ["not_started", "running", "stopped"]
    for one in shown:
        assert json.loads(json.dumps(one)) == one
        assert list(one) == ["at", "state", "sources", "accounts", "sinks", "store"]
    told = json.dumps(shown[1])
    assert '"guards": [{"account": "default"' in told


def test_every_field_of_a_source_is_documented() -> None:
    """The docstring is where people look."""
    from pollers import Poller

    async def main() -> dict[str, Any]:
        return make_poller(Provider().source(), sinks=[lambda _: None]).snapshot()

    shown, said = anyio.run(main), Poller.snapshot.__doc__ or ""
    fields = {*shown, *only(shown), *only(shown, "accounts"), *only(shown, "sinks"),
              *shown["store"], *only(shown)["delay"], *only(shown)["callbacks"]}  # fmt: skip
    assert [
        name for name in sorted(fields) if f"{name}`" not in said and f'"{name}"' not in said
    ] == []


def test_callbacks_and_loading_are_shown(run: Any) -> None:
    """What was heard, what of it was about strangers, and whether all jobs are counted."""

    async def main() -> None:
        provider = Provider()
        poller = make_poller(provider.source())
        assert only(poller.snapshot())["loading"] is True
        async with poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(1.0)
            shown = only(poller.snapshot())
            silent = {"heard": 0, "strange": 0, "lost": None, "trusted": False}
            assert (shown["loading"], shown["callbacks"]) == (False, silent)
            poller.hint(["a", "nobody"])
            heard = {"heard": 2, "strange": 1, "lost": 1.0, "trusted": False}
            assert only(poller.snapshot())["callbacks"] == heard

    run(main)


def test_counts_of_jobs(run: Any) -> None:
    """Live ones by state, ended ones by how; due ones are those that a look would be for."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(batch=10), min_interval=5.0) as poller:
            ids = [provider.add("good", at=1.0), provider.add("bad", at=1.0, end="broken"),
                   provider.add("gone", at=NEVER), provider.add("late", at=NEVER)]  # fmt: skip
            good, bad, gone, late = await poller.watch_many(ids)
            assert only(poller.snapshot())["jobs"] == {"watching": 4}
            await anyio.sleep(1.0)
            assert only(poller.snapshot())["due"] == 0
            await results([good, bad])
            await gone.unwatch()
            shown = only(poller.snapshot())
            assert shown["jobs"] == {"watching": 1}
            assert shown["ended"] == {"succeeded": 1, "failed": 1, "cancelled": 1}
            provider.trouble = [DOWN] * 100
            await anyio.sleep(20.0)
            assert only(poller.snapshot())["due"] == 1

    run(main)


def test_delays_bracket_the_truth(run: Any) -> None:
    """Looks are 4 s apart: a real end is up to 4 s before the look; the estimate is 2 s for each."""
    true: list[float] = []

    async def main() -> None:
        provider = Provider()
        settings = {"min_interval": 4.0, "max_interval": 4.0}
        async with make_poller(provider.source(batch=50), **settings) as poller:
            ends = {provider.add(f"job-{i}", at=20.0 + i / 10): 20.0 + i / 10 for i in range(40)}
            for event in await results(await poller.watch_many(list(ends))):
                true.append(since_epoch(event) - ends[event.subject])
            shown = only(poller.snapshot())["delay"]
        assert shown["count"] == pytest.approx(40, rel=0.01)
        assert shown["mean"] == pytest.approx(sum(true) / 40, rel=0.05)
        assert shown["p50"] == shown["p99"] == pytest.approx(2.0, rel=0.05)

    run(main)


def test_the_time_of_the_answer_is_part_of_the_delay(run: Any) -> None:
    """It ended before we asked, and we knew when the answer came."""

    async def main() -> None:
        provider = Provider(delay=3.0)
        settings = {"min_interval": 2.0, "max_interval": 2.0}
        async with make_poller(provider.source(), **settings) as poller:
            await (await poller.watch(provider.add("a", at=20.0))).result()
            assert only(poller.snapshot())["delay"]["mean"] == pytest.approx(5.0 / 2 + 3.0)

    run(main)


def test_what_had_ended_when_we_came_tells_no_delay(run: Any) -> None:
    """Nobody knows when that was."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source()) as poller:
            await (await poller.watch(provider.add("a", at=0.0))).result()
            assert only(poller.snapshot())["delay"]["count"] == 0

    run(main)


def test_the_oldest_look(run: Any) -> None:
    """Not the average: one job that can't be looked at is seen among many."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(batch=5)) as poller:
            await poller.watch_many([provider.add(f"job-{i}", at=NEVER) for i in range(5)])
            await anyio.sleep(30.0)
            assert only(poller.snapshot())["oldest_look"] <= 1.0
            provider.trouble = [DOWN] * 1000
            await anyio.sleep(30.0)
            assert 29.0 <= only(poller.snapshot())["oldest_look"] <= 31.0
            provider.trouble = []
            await anyio.sleep(5.0)
            assert only(poller.snapshot())["oldest_look"] <= 1.0
            await (await poller.watch(provider.add("short", at=66.0))).result()
            await anyio.sleep(30.0)
            assert only(poller.snapshot())["oldest_look"] <= 1.0  # what has ended counts no more

    run(main)


def test_rates_and_fill(run: Any) -> None:
    """Forty jobs, ten a request, a request a second: every job waits for its turn."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(batch=10, spacing=1.0)) as poller:
            assert only(poller.snapshot())["batch_fill"] is None
            await poller.watch_many([provider.add(f"job-{i}", at=NEVER) for i in range(40)])
            await anyio.sleep(120.0)
            shown = only(poller.snapshot())
            assert shown["requests_per_second"] == pytest.approx(1.0, rel=0.05)
            assert shown["looks_per_second"] == pytest.approx(10.0, rel=0.05)
            assert (shown["batch"], shown["batch_fill"]) == (10, 1.0)
            assert 3.0 <= shown["oldest_look"] <= 8.0
            provider.always = lambda _: DOWN
            await anyio.sleep(300.0)
            shown = only(poller.snapshot())
            assert shown["looks_per_second"] < 0.1 < 10 * shown["requests_per_second"]

    run(main)


def test_a_request_for_all_jobs_is_full(run: Any) -> None:
    """Three jobs where two hundred would fit: it can't be fuller."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(batch=200)) as poller:
            await poller.watch_many([provider.add(name, at=NEVER) for name in "abc"])
            await anyio.sleep(10.0)
            assert only(poller.snapshot())["batch_fill"] == 1.0

    run(main)


def test_failures_in_a_row(run: Any) -> None:
    """How many, why the last, and when a look last succeeded; all is forgotten when one does."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source()) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(2.5)
            before = only(poller.snapshot())["looked_at"]
            provider.always = lambda _: DOWN
            asked = len(provider.asked)
            await anyio.sleep(10.0)
            shown = only(poller.snapshot())
            assert shown["failures"] == len(provider.asked) - asked > 3
            assert "down: not now" in shown["trouble"]
            assert shown["looked_at"] == before
            provider.always = None
            await anyio.sleep(20.0)
            shown = only(poller.snapshot())
            assert (shown["failures"], shown["trouble"]) == (0, None)
            assert shown["looked_at"] > before

    run(main)


def test_gates_are_those_of_the_guard(run: Any) -> None:
    """What is closed, by which code, until when."""

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source()) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(3.5)
            provider.trouble = [BUSY]
            await anyio.sleep(1.5)
            [guard] = only(poller.snapshot(), "accounts")["guards"]
            assert [door["code"] for door in guard["doors"]] == ["busy"]
            assert guard["waiting"] == 1

    run(main)


def test_a_sink_that_is_behind(run: Any) -> None:
    """By how many events, for how long, and why; then level again, with what was parked."""
    state = {"down": True}

    def sink(event: Any) -> None:
        if state["down"]:
            raise RuntimeError("no such host https://me:hunter2@there/?key=sk-1")
        if event.subject == "bad":
            raise EventRefused("too long")

    async def main() -> None:
        provider = Provider()
        async with make_poller(
            provider.source(), sinks=[CallbackSink(sink, name="mine")]
        ) as poller:
            await poller.watch(provider.add("good", at=NEVER))
            await poller.watch(provider.add("bad", at=NEVER))
            await anyio.sleep(100.0)
            shown = only(poller.snapshot(), "sinks")
            assert (shown["sink"], shown["behind"], shown["parked"]) == ("mine", 4, 0)
            assert shown["behind_seconds"] == pytest.approx(100.0, abs=1.0)
            assert shown["trouble"] == "RuntimeError: no such host https://…@there/?…"
            state["down"] = False
            await anyio.sleep(100.0)
            shown = only(poller.snapshot(), "sinks")
            assert {k: shown[k] for k in ("behind", "behind_seconds", "parked")} == {
                "behind": 0, "behind_seconds": 0.0, "parked": 2,
            }  # fmt: skip

    run(main)


def test_the_oldest_event_that_is_behind_is_meant(run: Any) -> None:
    """A sink that takes its time, but goes on, is only as late as what it is at."""

    async def slow(_: Any) -> None:
        await anyio.sleep(10.0)

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(), sinks=[slow]) as poller:
            for i in range(5):
                await poller.watch(provider.add(f"job-{i}", at=NEVER, visible=NEVER))
                await anyio.sleep(5.0)
            await anyio.sleep(0.5)
            shown = only(poller.snapshot(), "sinks")
            assert (shown["behind"], shown["behind_seconds"]) == (3, 15.5)
            await anyio.sleep(5.0)
            shown = only(poller.snapshot(), "sinks")
            assert (shown["behind"], shown["behind_seconds"]) == (2, 15.5)

    run(main)


def test_instants_are_of_the_calendar(run: Any) -> None:
    """In UTC, from the poller's own wall clock."""
    from datetime import datetime

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source()) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(7.5)
            shown = poller.snapshot()
            at = datetime.fromisoformat(shown["at"]).timestamp() - EPOCH
            looked = datetime.fromisoformat(only(shown)["looked_at"]).timestamp() - EPOCH
            assert (at, looked) == (pytest.approx(7.5), pytest.approx(7.05))

    run(main)


def test_what_is_parked_counts_until_it_is_taken(run: Any) -> None:
    """Over a restart, after which the sink is mended."""
    store = MemoryStore()
    state = {"refuse": True}

    def sink(_: Any) -> None:
        if state["refuse"]:
            raise EventRefused("no")

    async def main() -> None:
        provider = Provider()
        sinks = [CallbackSink(sink, name="mine")]
        for refuse, parked in ((True, 2), (True, 2), (False, 0)):
            state["refuse"] = refuse
            async with make_poller(provider.source(), store=store, sinks=sinks) as poller:
                await poller.watch(provider.add("a", at=NEVER))
                await anyio.sleep(5.0)
                assert only(poller.snapshot(), "sinks")["parked"] == parked

    run(main)
