"""MemoriesScrapes against the emulator and odd servers: one look, on the wire."""

import json
import math
from collections.abc import Callable
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from pollers_kit import World, wall, world

from pollers import Job, JobKey, Sighting, State
from pollers._core.model import Phase
from pollers._core.table import Table
from pollers.emulator import Fault
from pollers.sources import MemoriesScrapes
from pollers.sources import memories_scrapes as module
from pollers.sources.base import Asked
from resilience import FatalError, Guard, QuotaError, ResilienceError, RetriesExhausted
from resilience.testing import FixedChance, run_virtual


class Picks:
    """A pick of these tasks, all due, with what `watch` was told about them."""

    def __init__(self, *ids: str, **features: Any) -> None:
        self._ids = ids
        self._features = features
        self.counts: list[int] = []

    def __call__(self, count: int, *, dear: Callable[[Asked], bool] | None = None) -> list[str]:
        self.counts.append(count)
        picked: list[str] = []
        room = True
        for one in self._ids[:count]:
            is_dear = dear is not None and dear(self.job(one))
            if room or not is_dear:
                picked.append(one)
            room = room and not is_dear
        return picked

    def job(self, remote_id: str) -> Asked:
        job = Job(
            rid=1, version=1, key=JobKey("memories_ai", "local", "default", "scrapes", remote_id),
            state=State.WATCHING, created_at=0.0, features=self._features,
        )  # fmt: skip
        return Table(("expect", "settle")).add(job, born=0.0, deadline=math.inf)


async def look(source: MemoriesScrapes, *ids: str, **features: Any) -> dict[str, Sighting]:
    guard = source.guard.options(max_attempts=1, max_wait=0.0, attempt_timeout=30.0)
    return dict(await source.look(guard, Picks(*ids, **features)))


def told(seen: dict[str, Sighting]) -> dict[str, tuple[Phase, str | None]]:
    return {task_id: (one.phase, one.status) for task_id, one in seen.items()}


def children(seen: dict[str, Sighting], task_id: str = "T1") -> dict[str, tuple[str, str | None]]:
    return {one.remote_id: (one.phase.value, one.cause) for one in seen[task_id].children}


def scrapes(here: World, **settings: Any) -> MemoriesScrapes:
    settings = {"api_key": "sk-test", "base_url": here.emulator.base_url, **settings}
    return MemoriesScrapes(here.session, **settings)


THREE = [
    {"video_no": "VI1", "parse_after": None},
    {"video_no": "VI2"},
    {"video_no": "VI3", "outcome": "PARSE_ERROR", "cause": "no video stream"},
]


@pytest.mark.parametrize("shape", ["video_ids", "video_no", "videoNo"])
@pytest.mark.parametrize("dialect", ["2025", "2026"])
def test_all_spellings_say_the_same(dialect: Any, shape: Any) -> None:
    """Bare ids or videos, either casing, texts or numbers: one task, three children."""

    async def main() -> dict[str, Sighting]:
        async with world(dialect=dialect, task_listing=shape) as here:
            here.emulator.add_scrape("T1", videos=THREE)
            return await look(scrapes(here), "T1", expect=3)

    seen = run_virtual(main)
    assert told(seen) == {"T1": (Phase.PENDING, "1 of 3 parsed, 1 failed")}
    assert children(seen) == {
        "VI1": ("pending", None), "VI2": ("succeeded", None), "VI3": ("failed", "no video stream"),
    }  # fmt: skip


def test_a_look_is_one_request_for_the_task_and_one_for_its_videos() -> None:
    """Once the set is whole, the task isn't asked any more, and ended videos aren't either."""

    async def main() -> list[tuple[str, tuple[str, ...]]]:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=THREE)
            source = scrapes(here)
            for _ in range(2):
                await look(source, "T1", expect=3)
            return [(one.interface, one.video_nos) for one in here.emulator.requests]

    asked = run_virtual(main)
    assert [interface for interface, _ in asked] == ["task", "list", "list"]
    assert set(asked[1][1]) == {"VI1", "VI2", "VI3"}
    assert asked[2][1] == ("VI1",)


def test_videos_of_all_tasks_share_a_request() -> None:
    """Two hundred a request, whichever task they are of; one unknown task a look."""

    async def main() -> Any:
        async with world() as here:
            ids = [f"T{number}" for number in range(6)]
            for task_id in ids:
                here.emulator.add_scrape(task_id, videos=[{"parse_after": None}] * 50)
            source = scrapes(here)
            for _ in ids:
                seen = await look(source, *ids, expect=50)
                ids.append(ids.pop(0))
            assert len(seen) == 6
            here.emulator.requests.clear()
            await look(source, *ids, expect=50)
            return [(one.interface, len(one.video_nos)) for one in here.emulator.requests]

    assert run_virtual(main) == [("list", 200), ("list", 100)]


def test_a_video_of_two_tasks_is_asked_for_once() -> None:
    """A post that is scraped again is the same video."""

    async def main() -> Any:
        async with world() as here:
            source = scrapes(here)
            for task_id in ("T1", "T2"):
                again = [{"video_no": "VI1", "parse_after": None}]
                here.emulator.add_scrape(task_id, videos=again)
                await look(source, task_id, expect=1)
            here.emulator.requests.clear()
            seen = await look(source, "T1", "T2", expect=1)
            return sorted(seen), here.asked()

    assert run_virtual(main) == (["T1", "T2"], [("VI1",)])


def test_a_look_takes_no_more_videos_than_fit_between_two_requests_for_a_task() -> None:
    """Eight hundred; what is left waits for the next look, and one huge task goes alone."""

    async def main() -> Any:
        async with world() as here:
            source, sizes = scrapes(here), {"T1": 500, "T2": 300, "T3": 1, "T4": 900}
            for task_id, size in sizes.items():
                here.emulator.add_scrape(task_id, videos=[{"parse_after": None}] * size)
                await look(source, task_id, settle=0.0)
            first, second = Picks("T1", "T2", "T3", settle=0.0), Picks("T4", "T3", settle=0.0)
            return (
                sorted(await source.look(source.guard, first)),
                sorted(await source.look(source.guard, second)),
                first.counts[1:], second.counts[1:],
            )  # fmt: skip

    assert run_virtual(main) == (["T1", "T2"], ["T4"], [2], [1])


def test_requests_of_one_look_are_spaced() -> None:
    """Tasks 1.05 s apart, whatever was picked; lists 0.21 s apart."""

    async def main() -> Any:
        async with world(limits={}) as here:
            for task_id in ("T1", "T2"):
                here.emulator.add_scrape(task_id, videos=[{"parse_after": None}] * 250)
            source = scrapes(here)
            await look(source, "T1")
            await look(source, "T2")
            return here.asked_at("task"), here.asked_at("list")

    tasks, lists = run_virtual(main)
    assert tasks == [0.0, 1.05]
    assert lists == [0.0, 0.21, 1.05, 1.26]


def test_an_empty_task_is_pending_and_an_unknown_one_is_missing() -> None:
    """An empty list is "still downloading"; null is "no such task", or "not yet"."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1")
            source = scrapes(here)
            empty, unknown = await look(source, "T1"), await look(source, "T404")
            assert here.asked() == []
            return told(empty), unknown

    assert run_virtual(main) == ({"T1": (Phase.PENDING, "0 of 0 parsed, more may come")}, {})


def test_a_task_that_is_unknown_again_is_forgotten() -> None:
    """What was learned about its videos isn't worth anything then."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=THREE)
            source = scrapes(here)
            await look(source, "T1")
            here.emulator.fail("task", Fault(body="null"))
            return await look(source, "T1"), source._families

    assert run_virtual(main) == ({}, {})


def test_a_video_that_lists_do_not_have_yet_is_waited_for() -> None:
    """A child is missing from list_videos for a while: pending, and then it is there."""

    async def main() -> Any:
        async with world(task_listing="video_ids") as here:
            here.emulator.add_scrape("T1", videos=[{"video_no": "VI1", "visible_after": 5.0}])
            source = scrapes(here)
            first = await look(source, "T1", expect=1)
            await anyio.sleep(5.0)
            second = await look(source, "T1", expect=1)
            return told(first), children(first), told(second)

    assert run_virtual(main) == (
        {"T1": (Phase.PENDING, "0 of 1 parsed")},
        {"VI1": ("missing", None)},
        {"T1": (Phase.SUCCEEDED, "1 of 1 parsed")},
    )


def test_a_video_that_is_gone_is_not_waited_for_for_ever() -> None:
    """After the grace the others decide; a deleted video doesn't hang its task."""

    async def main() -> Any:
        async with world(task_listing="video_ids") as here:
            here.emulator.add_scrape("T1", videos=THREE[1:])
            here.emulator._state.library.delete(here.emulator.videos["VI3"])
            source, seen = scrapes(here, grace=10.0), []
            for wait in (0.0, 9.9, 0.1):
                await anyio.sleep(wait)
                seen.append(told(await look(source, "T1", expect=2))["T1"])
            return seen

    assert run_virtual(main) == [
        (Phase.PENDING, "1 of 2 parsed"),
        (Phase.PENDING, "1 of 2 parsed"),
        (Phase.SUCCEEDED, "1 of 2 parsed, 1 missing"),
    ]


def test_public_videos_are_believed_from_the_answer_about_their_task() -> None:
    """No list has them, so the task is asked until they have ended."""

    async def main() -> Any:
        async with world() as here:
            videos = [{"video_no": "PI-1", "parse_after": 5.0}, {"video_no": "PI-2"}]
            here.emulator.add_scrape("T1", videos=videos, public=True)
            source = scrapes(here)
            first = await look(source, "T1", expect=2)
            await anyio.sleep(5.0)
            second = await look(source, "T1", expect=2)
            assert [one.interface for one in here.emulator.requests].count("task") == 2
            return told(first)["T1"], children(first), told(second)["T1"]

    assert run_virtual(main) == (
        (Phase.PENDING, "1 of 2 parsed"),
        {"PI-1": ("pending", None), "PI-2": ("succeeded", None)},
        (Phase.SUCCEEDED, "2 of 2 parsed"),
    )


def test_old_deployments_are_asked_as_they_can_be() -> None:
    """Where `video_nos` is ignored, the videos are found in pages or one by one."""

    async def main() -> Any:
        async with world(ignore_video_nos=True, max_size=3) as here:
            for number in range(10):
                here.emulator.add_video(f"VIX{number}")
            here.emulator.add_scrape("T1", videos=THREE[1:])
            return told(await look(scrapes(here), "T1", expect=2))

    assert run_virtual(main) == {"T1": (Phase.SUCCEEDED, "1 of 2 parsed, 1 failed")}


def test_a_namespace_is_asked_in() -> None:
    """`unique_id` goes with the request for the task and with the one for its videos."""

    async def main() -> Any:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=[{"video_no": "VI1"}], unique_id="mine")
            assert await look(scrapes(here), "T1", expect=1) == {}
            return told(await look(scrapes(here, unique_id="mine"), "T1", expect=1))

    assert run_virtual(main) == {"T1": (Phase.SUCCEEDED, "1 of 1 parsed")}


def test_only_so_many_tasks_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many, those that were seen last; an ended one is forgotten at once."""
    monkeypatch.setattr(module, "MOST_FAMILIES", 2)

    async def main() -> Any:
        async with world() as here:
            source = scrapes(here)
            for task_id in ("T1", "T2", "T1", "T3"):
                here.emulator.add_scrape(task_id, videos=[{"parse_after": None}])
                await look(source, task_id)
            assert list(source._families) == ["T1", "T3"]
            here.emulator.add_scrape("T4", videos=[{"video_no": "VI1"}])
            await look(source, "T4", expect=1)
            return list(source._families)

    assert run_virtual(main) == ["T1", "T3"]


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault(code="0429"), QuotaError, "0429"),
        (Fault(code="0402"), QuotaError, "0402"),
        (Fault(code="9009"), FatalError, "9009"),
        (Fault(code="0001", msg="network abnormal"), RetriesExhausted, "0001"),
        (Fault(code="0001", times=None), FatalError, "0001"),  # videos are asked for in halves
        (Fault(status=503), RetriesExhausted, "503"),
        (Fault(body="truncated"), RetriesExhausted, None),
        (Fault(body="html"), RetriesExhausted, None),
        (Fault(abort="before", times=2), RetriesExhausted, None),  # aiohttp itself asks twice
        (Fault(abort="middle"), RetriesExhausted, None),
        (Fault(delay=60.0), RetriesExhausted, "TimeoutError"),
    ],
)
@pytest.mark.parametrize("interface", ["task", "list"])
def test_faults_are_raised_as_the_guard_names_them(
    fault: Fault, error: type[ResilienceError], code: str | None, interface: str
) -> None:
    """On either request: a failed look, and never the task's failure."""

    async def main() -> None:
        async with world() as here:
            here.emulator.add_scrape("T1", videos=THREE)
            here.emulator.fail(interface, fault)
            with pytest.raises(error) as caught:
                await look(scrapes(here), "T1")
            assert code in (None, caught.value.code)

    run_virtual(main)


def ok(data: Any) -> dict[str, Any]:
    return {"code": "0000", "msg": "success", "data": data}


UNKNOWN = {"code": "0001", "msg": "video not found", "data": None, "success": False, "failed": True}


async def looked(
    task: Any, videos: Callable[[list[str]], Any], *ids: str, **settings: Any
) -> tuple[dict[str, Sighting], list[Any], list[Any]]:
    """A look at a server that answers `task` about tasks; what was asked about videos, headers."""
    asked: list[Any] = []
    headers: list[Any] = []

    async def reply(request: web.Request) -> web.Response:
        headers.append(request.headers)
        if request.method == "GET":
            asked.append(dict(request.query))
            return web.json_response(task)
        asked.append(json.loads(await request.read()))
        return web.json_response(videos(asked[-1]["video_nos"]))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", reply)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            source = MemoriesScrapes(
                session, base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/serve/api/v1",
                guard=Guard("memories_ai", wall=wall, chance=FixedChance(1.0)), **settings,
            )  # fmt: skip
            return await look(source, *ids, expect=1), asked, headers
    finally:
        await runner.cleanup()


def parsed(numbers: list[str]) -> Any:
    return ok({"videos": [{"video_no": one, "status": "PARSE"} for one in numbers]})


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        ({"video_ids": ["VI1", "VI1", "VI2"]}, ["VI1", "VI2"]),
        ({"video_ids": [17, None]}, ["17"]),
        ({"videos": [{"video_no": "VI1"}, {"videoNo": "VI2"}, None, "x", {}]}, ["VI1", "VI2"]),
        ({"videos": [{"video_no": None, "videoNo": 17, "duration": "12"}]}, ["17"]),
        ({"video_ids": ["VI1"], "videos": [{"video_no": "VI1", "status": "UNPARSE"}]}, ["VI1"]),
        ({"video_ids": ["VI\ud83d"]}, ["VI?"]),  # half an emoji could not be stored
        ({"taskId": "T1", "video_ids": None}, []),
        ({"videos": None}, []),
        ({"videos": {}}, []),
    ],
)
def test_ids_come_in_any_form(data: Any, numbers: list[str]) -> None:
    """Texts or numbers, twice, in either casing, and with nonsense between them."""

    async def main() -> list[str]:
        seen, _, _ = await looked(ok(data), parsed, "T1")
        return [one.remote_id for one in seen["T1"].children]

    assert run_virtual(main) == numbers


@pytest.mark.parametrize("data", [None, [], "x", {}, 0])
def test_no_data_is_no_task(data: Any) -> None:
    """`data: null` and its kin are nothing to look into."""

    async def main() -> Any:
        return (await looked(ok(data), parsed, "T1"))[0]

    assert run_virtual(main) == {}


def test_a_task_that_is_called_an_error_is_missing() -> None:
    """0001 "… not found" is "there is no such task (yet)"; 0001 with other words is a failed look."""

    async def main() -> None:
        assert (await looked({**UNKNOWN, "msg": "Task not found"}, parsed, "T1"))[0] == {}
        with pytest.raises(FatalError):
            await looked({**UNKNOWN, "msg": "No static resource api."}, parsed, "T1")

    run_virtual(main)


def test_videos_that_are_called_an_error_are_told_apart() -> None:
    """0001 "video not found" for several doesn't say which one: it is found by halving."""

    def only_even(numbers: list[str]) -> Any:
        return UNKNOWN if any(int(one) % 2 for one in numbers) else parsed(numbers)

    async def main() -> Any:
        seen, _, _ = await looked(ok({"video_ids": ["0", "1", "2", "4", "6"]}), only_even, "T1")
        return children(seen)

    assert run_virtual(main) == {
        "0": ("succeeded", None), "1": ("missing", None), "2": ("succeeded", None),
        "4": ("succeeded", None), "6": ("succeeded", None),
    }  # fmt: skip


def test_a_task_of_more_videos_than_a_request_may_have_is_looked_up_in_parts() -> None:
    """A refused batch is halved; a single video that is refused is a failed look."""

    def no_more_than_two(numbers: list[str]) -> Any:
        bad = {"code": "0003", "msg": "One or more parameters are incorrect", "data": None}
        return parsed(numbers) if len(numbers) <= 2 and "bad" not in numbers else bad

    async def main() -> Any:
        seen, _, _ = await looked(ok({"video_ids": list("12345")}), no_more_than_two, "T1")
        with pytest.raises(FatalError):
            await looked(ok({"video_ids": ["1", "bad"]}), no_more_than_two, "T1")
        return children(seen)

    assert run_virtual(main) == dict.fromkeys("12345", ("succeeded", None))


def test_a_status_nobody_knows_is_pending_and_reported() -> None:
    """The child's own text is kept, and marked."""

    async def main() -> Any:
        odd = ok({"videos": [{"video_no": "VI1", "status": "Marinating"}]})
        seen, _, _ = await looked(ok({"video_ids": ["VI1"]}), lambda _: odd, "T1")
        (child,) = seen["T1"].children
        return seen["T1"].phase, child.status, child.known

    assert run_virtual(main) == (Phase.PENDING, "Marinating", False)


def test_the_requests_are_what_the_docs_say() -> None:
    """The task's id and the namespace in the query, the raw key, then list_videos as JSON."""

    async def main() -> Any:
        _, asked, headers = await looked(
            ok({"video_ids": ["VI1"]}), parsed, "T1", api_key="sk-1", unique_id="mine", folder_id=3
        )
        assert [one["Authorization"] for one in headers] == ["sk-1", "sk-1"]
        return asked

    where = {"unique_id": "mine", "folder_id": 3}
    assert run_virtual(main) == [
        {"task_id": "T1", "unique_id": "mine", "folder_id": "3"},
        {"page": 1, "size": 1, "video_nos": ["VI1"], **where},
    ]


@pytest.mark.parametrize("settings", [{"settle": -1.0}, {"grace": float("nan")}])
def test_bad_settings_are_refused(settings: Any) -> None:
    """A span is never negative."""

    async def main() -> None:
        async with world() as here:
            with pytest.raises(ValueError, match="expected seconds"):
                scrapes(here, **settings)

    run_virtual(main)
