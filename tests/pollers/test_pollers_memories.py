"""MemoriesVideos against the emulator: one look, on the wire."""

import json
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from pollers_kit import World, look, phases, wall, world

from pollers import Sighting
from pollers._core.model import Phase
from pollers.emulator import Fault
from pollers.sources import MemoriesVideos, MemosTasks
from pollers.sources.memories_ai import BASE_URL
from resilience import FatalError, Guard, Policy, QuotaError, ResilienceError, RetriesExhausted
from resilience.testing import FixedChance, run_virtual


@pytest.mark.parametrize("dialect", ["2025", "2026"])
def test_both_dialects_say_the_same(dialect: Any) -> None:
    """Texts or integers, "null" or no cause at all: the sightings are equal."""

    async def main() -> dict[str, Sighting]:
        async with world(dialect=dialect) as here:
            here.emulator.add_video("VI1", parse_after=None, duration=12, size=3284512)
            here.emulator.add_video("VI2", duration=7, size=5)
            here.emulator.add_video("VI3", outcome="PARSE_ERROR", cause="no video stream", size=6)
            return await look(here.source(), "VI1", "VI2", "VI3")

    seen = run_virtual(main)
    assert {n: (s.phase, s.status, s.cause, s.features) for n, s in seen.items()} == {
        "VI1": (Phase.PENDING, "UNPARSE", None, {"duration": 12.0, "size": 3284512.0}),
        "VI2": (Phase.SUCCEEDED, "PARSE", None, {"duration": 7.0, "size": 5.0}),
        "VI3": (Phase.FAILED, "PARSE_ERROR", "no video stream", {"duration": 10.0, "size": 6.0}),
    }


@pytest.mark.parametrize("word", ["PARSE_ERROR", "FAILED", "FAIL", "ERROR", "Failed"])
def test_every_word_for_a_failure_is_one(word: str) -> None:
    """The deployments call it differently, and clients that know only one poll for ever."""

    async def main() -> dict[str, Phase]:
        async with world(failure_word=word) as here:
            here.emulator.add_video("VI1", outcome="PARSE_ERROR")
            return phases(await look(here.source(), "VI1"))

    assert run_virtual(main) == {"VI1": Phase.FAILED}


def test_one_request_asks_for_two_hundred() -> None:
    """200 videos by number are one list request, with the key as it is, and nothing else."""

    async def main() -> tuple[int, Any]:
        async with world() as here:
            numbers = [here.emulator.add_video().video_no for _ in range(230)]
            seen = await look(here.source(), *numbers)
            assert set(seen) == set(numbers[:200])
            return len(here.emulator.requests), here.asked()[0] == tuple(numbers[:200])

    assert run_virtual(main) == (1, True)


def test_an_unknown_video_is_missing_and_no_error() -> None:
    """It is simply not in the answer."""

    async def main() -> dict[str, Phase]:
        async with world() as here:
            here.emulator.add_video("VI1")
            here.emulator.add_video("VI2", visible_after=5.0)
            return phases(await look(here.source(), "VI1", "VI2", "VI404"))

    assert run_virtual(main) == {"VI1": Phase.SUCCEEDED}


def test_nothing_is_asked_when_nothing_is_due() -> None:
    """An empty pick sends nothing, whichever way the deployment works."""

    async def main() -> int:
        async with world() as here:
            assert await look(here.source()) == {}
            return len(here.emulator.requests)

    assert run_virtual(main) == 0


class Answers:
    """A server that answers list_videos with what it is given; JSON, or a ready response."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.headers: list[Any] = []
        self.asked_at: list[float] = []

    async def reply(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.asked.append(json.loads(raw) if raw else dict(request.query))
        self.headers.append(request.headers)
        self.asked_at.append(round(anyio.current_time(), 3))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = answer(self.asked[-1]) if callable(answer) else answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


async def looked(answers: Answers, *ids: str, looks: int = 1, **settings: Any) -> Any:
    """What looks at a server of this kind bring; the last one is returned."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers.reply)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            source = MemoriesVideos(
                session, base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/serve/api/v1",
                guard=Guard("memories_ai", wall=wall, chance=FixedChance(1.0)), **settings,
            )  # fmt: skip
            for _ in range(looks - 1):
                await look(source, *ids)
            return await look(source, *ids)
    finally:
        await runner.cleanup()


def ok(data: Any, **more: Any) -> dict[str, Any]:
    return {"code": "0000", "msg": "success", "data": data, **more}


@pytest.mark.parametrize(
    "video",
    [
        {"video_no": "VI1", "status": "PARSE"},
        {"videoNo": "VI1", "status": "PARSE"},
        {"videoNo": "VI1", "videoStatus": "PARSE"},
        {"video_no": None, "videoNo": "VI1", "status": "PARSE", "cause": "null"},
        {"video_no": "VI1", "status": "parse", "duration": "12", "size": None, "fps": "NaN"},
        {"video_no": "VI1", "status": "PARSE", "duration": [1], "size": "1e999", "fps": True},
    ],
)
def test_fields_come_in_either_casing_and_type(video: Any) -> None:
    """`video_no` or `videoNo`, text or number, and nonsense in numbers is left out."""

    async def main() -> dict[str, Sighting]:
        return await looked(Answers(ok({"videos": [video], "total_count": "1"})), "VI1")

    seen = run_virtual(main)
    assert phases(seen) == {"VI1": Phase.SUCCEEDED}
    assert seen["VI1"].features in ({}, {"duration": 12.0})


def test_numbers_of_videos_may_be_integers() -> None:
    """Old ids are integers on the wire and texts with us."""

    async def main() -> dict[str, Phase]:
        return phases(
            await looked(Answers(ok({"videos": [{"video_no": 17, "status": "FAIL"}]})), "17")
        )

    assert run_virtual(main) == {"17": Phase.FAILED}


@pytest.mark.parametrize(
    "data",
    [
        None, {}, {"videos": None}, {"videos": []}, {"videos": {}}, [], "x",
        {"videos": [None, 1, "VI1", {}, {"video_no": "VI1"}, {"status": "PARSE"}]},
        {"videos": [], "total_count": "many", "page_size": 0},
        {"videos": [], "total_count": "Infinity", "page_size": "NaN"},
        {"videos": [], "total_count": 10**400},
    ],
)  # fmt: skip
def test_no_data_is_nothing_there_yet(data: Any) -> None:
    """`data: null` and its kin are a success without a video, never something to index into."""

    async def main() -> Any:
        return await looked(Answers(ok(data)), "VI1")

    assert run_virtual(main) == {}


def empty(**settings: Any) -> Any:
    return lambda _: web.Response(**{"content_type": "application/json", **settings})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(empty(body=b""), None, id="empty"),
        pytest.param(empty(text="null"), None, id="null"),
        pytest.param(empty(text="[]"), None, id="a-list"),
        pytest.param(empty(text='"ok"'), None, id="a-text"),
        pytest.param(empty(text='{"code":"0000","msg":"success","da'), None, id="truncated"),
        pytest.param(empty(text="<html>hello</html>", content_type="text/html"), None, id="html"),
        pytest.param(
            empty(text="<html>bad</html>", content_type="text/html", status=502),
            "502",
            id="html-502",
        ),
        pytest.param(empty(body=b"", status=503), "503", id="empty-503"),
    ],
)
def test_what_is_no_answer_is_a_failed_look(answer: Any, code: str | None) -> None:
    """An answer that can't be understood says nothing about the videos; it may be asked again."""

    async def main() -> None:
        with pytest.raises(RetriesExhausted) as caught:
            await looked(Answers(answer), "VI1")
        assert code in (None, caught.value.code)

    run_virtual(main)


def test_the_vendors_transient_code_is_a_failed_look() -> None:
    """0001 "network abnormal" is retryable, and says nothing about the videos."""

    async def main() -> None:
        with pytest.raises(RetriesExhausted):
            await looked(Answers({"code": "0001", "msg": "network abnormal", "data": None}), "VI1")

    run_virtual(main)


def test_video_not_found_is_missing_for_a_single_video() -> None:
    """0001 "video not found" for one video is "not there yet"; for several it can't be told which."""
    answer = {
        "code": "0001",
        "msg": "video not found",
        "data": None,
        "failed": True,
        "success": False,
    }

    async def main() -> None:
        assert await looked(Answers(answer), "VI1") == {}
        with pytest.raises(FatalError) as caught:
            await looked(Answers(answer), "VI1", "VI2")
        assert caught.value.code == "0001"

    run_virtual(main)


def test_other_bad_parameters_are_raised() -> None:
    """0001 with any other message is a failed look, for one video too."""

    async def main() -> None:
        with pytest.raises(FatalError):
            await looked(Answers({"code": "0001", "msg": "No static resource api."}), "VI1")

    run_virtual(main)


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault(code="0429"), QuotaError, "0429"),
        (Fault(code="0402"), QuotaError, "0402"),
        (Fault(code="0401"), FatalError, "0401"),
        (Fault(code="9009"), FatalError, "9009"),
        (Fault(status=503), RetriesExhausted, "503"),
        (Fault(status=502, body="html"), RetriesExhausted, "502"),
        (Fault(body="truncated"), RetriesExhausted, None),
        (Fault(body="html"), RetriesExhausted, None),
        (Fault(body="empty"), RetriesExhausted, None),
        (Fault(abort="before"), RetriesExhausted, None),
        (Fault(abort="middle"), RetriesExhausted, None),
        (Fault(delay=60.0), RetriesExhausted, "TimeoutError"),
    ],
)
@pytest.mark.parametrize("middleware", [True, False], ids=["guarded-session", "plain-session"])
def test_faults_of_the_wire_are_raised_as_the_guard_names_them(
    fault: Fault, error: type[ResilienceError], code: str | None, middleware: bool
) -> None:
    """With and without a middleware below: the same error, one request, and no job's failure."""

    async def main() -> None:
        async with world(middleware=middleware) as here:
            here.emulator.add_video("VI1")
            here.emulator.fail("list", fault)
            with pytest.raises(error) as caught:
                await look(here.source(guard=here.guard), "VI1", attempt_timeout=30.0)
            assert code in (None, caught.value.code)
            assert len(here.emulator.requests) <= 1

    run_virtual(main)


# -- namespaces and headers ---------------------------------------------------------------------


def test_a_namespace_is_asked_in() -> None:
    """`unique_id` goes with every request; in another namespace the video isn't found."""

    async def main() -> None:
        async with world() as here:
            here.emulator.add_video("VI1", unique_id="mine")
            assert set(await look(here.source(unique_id="mine"), "VI1")) == {"VI1"}
            assert await look(here.source(), "VI1") == {}
            assert await look(here.source(unique_id="yours"), "VI1") == {}

    run_virtual(main)


def test_the_request_is_what_the_docs_say() -> None:
    """JSON with page, size, numbers, namespace and folder; the raw key, without `Bearer`."""
    answers = Answers(ok({"videos": []}))

    async def main() -> None:
        await looked(answers, "VI1", api_key="sk-1", unique_id="mine", folder_id=3)

    run_virtual(main)
    assert answers.asked == [
        {"page": 1, "size": 1, "video_nos": ["VI1"], "unique_id": "mine", "folder_id": 3}
    ]
    assert answers.headers[0]["Authorization"] == "sk-1"
    assert answers.headers[0]["Content-Type"] == "application/json"


def test_without_a_key_the_sessions_headers_stand() -> None:
    """A session that carries the key is left alone."""

    async def main() -> int:
        async with world(keys=["sk-of-session"]) as here:
            here.emulator.add_video("VI1")
            headers = {"Authorization": "sk-of-session"}
            async with aiohttp.ClientSession(headers=headers) as session:
                source = MemoriesVideos(session, base_url=here.emulator.base_url)
                return len(await look(source, "VI1"))

    assert run_virtual(main) == 1


# -- deployments that ignore video_nos ------------------------------------------------------------


async def crowd(here: World, count: int) -> list[str]:
    """So many videos of others, newer than ours."""
    return [here.emulator.add_video(f"XX{i}").video_no for i in range(count)]


def test_a_deployment_that_ignores_numbers_is_paged_through() -> None:
    """Where a page of everything comes back, the pages are searched, each once."""

    async def main() -> None:
        async with world(ignore_video_nos=True, max_size=20) as here:
            numbers = [here.emulator.add_video().video_no for _ in range(30)]
            await crowd(here, 25)
            source = here.source()
            assert set(await look(source, *numbers)) == set(numbers)
            assert len(here.asked()) == 1 + 3  # 55 videos on pages of 20
            assert here.asked("metadata") == []
            here.emulator.requests.clear()
            assert set(await look(source, *numbers)) == set(numbers)
            assert here.asked() == [(), (), ()]  # it is known by now
            assert source.looks_at_once == 1  # pages come no faster for being asked for by several

    run_virtual(main)


def test_metadata_is_asked_where_that_takes_fewer_requests() -> None:
    """Two videos in a list of three pages: two requests instead of three."""

    async def main() -> None:
        async with world(ignore_video_nos=True, max_size=20) as here:
            here.emulator.add_video("VI1")
            here.emulator.add_video("VI2", parse_after=None)
            await crowd(here, 50)
            source = here.source()
            await look(source, "VI1", "VI2", "VI404")  # how short the pages are is known now
            here.emulator.requests.clear()
            found = await look(source, "VI1", "VI2", "VI404")
            assert phases(found) == {"VI1": Phase.SUCCEEDED, "VI2": Phase.PENDING}
            asked = here.asked("metadata")
            assert (here.asked(), asked) == ([], [("VI1",), ("VI2",), ("VI404",)])

    run_virtual(main)


def test_metadata_may_call_an_unknown_video_an_error() -> None:
    """0001 "video not found" there is "not there yet" too; any other 0001 is raised."""

    async def main() -> None:
        async with world(ignore_video_nos=True, max_size=20) as here:
            here.emulator.add_video("VI1")
            await crowd(here, 50)
            source = here.source()
            await look(source, "VI404", "VI1")  # how short the pages are is known now
            here.emulator.fail("metadata", Fault(code="0001", msg="video not found"))
            assert set(await look(source, "VI404", "VI1")) == {"VI1"}
            here.emulator.fail("metadata", Fault(code="0001"))
            with pytest.raises(FatalError):
                await look(source, "VI1")

    run_virtual(main)


def test_paging_stops_when_all_are_found() -> None:
    """The newest are on the first page: no second one is asked for."""

    async def main() -> int:
        async with world(ignore_video_nos=True, max_size=20) as here:
            await crowd(here, 100)
            numbers = [here.emulator.add_video().video_no for _ in range(10)]
            source = here.source()
            await look(source, *numbers)
            here.emulator.requests.clear()
            assert set(await look(source, *numbers)) == set(numbers)
            return len(here.emulator.requests)

    assert run_virtual(main) == 1


def test_pages_keep_the_documented_rate() -> None:
    """Five requests a second, within a look and from one to the next."""

    async def main() -> list[float]:
        async with world(ignore_video_nos=True, max_size=20, limits={}) as here:
            numbers = [here.emulator.add_video().video_no for _ in range(100)]
            await crowd(here, 60)
            source = here.source()
            assert set(await look(source, *numbers)) == set(numbers)
            assert set(await look(source, *numbers)) == set(numbers)
            assert {seen.code for seen in here.emulator.requests} == {"0000"}
            return here.asked_at()

    at = run_virtual(main)
    assert len(at) == 1 + 8 + 8
    assert all(later - earlier >= 0.2 for earlier, later in zip(at, at[1:], strict=False))


def test_a_namespace_holds_for_pages_and_metadata() -> None:
    """The other ways of asking stay in the namespace too."""

    async def main() -> None:
        async with world(ignore_video_nos=True, max_size=20) as here:
            for i in range(30):
                here.emulator.add_video(f"XX{i}", unique_id="mine")
            here.emulator.add_video("VI0", unique_id="yours")
            source = here.source(unique_id="mine")
            first = await look(source, *(f"XX{i}" for i in range(9, 29)), "VI0")
            assert set(first) == {f"XX{i}" for i in range(9, 29)}
            assert await look(source, "VI0") == {}

    run_virtual(main)


def test_honoured_numbers_on_short_pages_are_all_found() -> None:
    """A server that cuts pages to 20 has more pages; what is on them is not missing."""

    async def main() -> list[int]:
        async with world(max_size=20) as here:
            numbers = [here.emulator.add_video().video_no for _ in range(50)]
            await crowd(here, 70)
            source = here.source()
            assert set(await look(source, *numbers)) == set(numbers)
            assert set(await look(source, *numbers, "VI404")) == set(numbers)
            return [len(asked) for asked in here.asked()]

    assert run_virtual(main) == [50, 50, 50, 51, 51, 51]  # still by number


def no_more_than(most: int, everything: list[str] | None = None) -> Any:
    """A server that refuses larger pages; and ignores numbers, if it is given what it has."""

    def answer(asked: Any) -> Any:
        if asked["size"] > most:
            return {"code": "0003", "msg": "One or more parameters are incorrect", "data": None}
        numbers = asked["video_nos"] if everything is None else everything
        page = numbers[(asked["page"] - 1) * asked["size"] :][: asked["size"]]
        videos = [{"video_no": one, "status": "PARSE"} for one in page]
        return ok({"videos": videos, "page_size": asked["size"], "total_count": len(numbers)})

    return answer


def test_a_server_that_refuses_large_pages_is_asked_for_small_ones() -> None:
    """A refused batch is split by the poller, so a part of it must be a smaller page, too."""
    answers = Answers(no_more_than(50))

    async def main() -> Any:
        numbers = [f"VI{i}" for i in range(50)]
        with pytest.raises(FatalError):
            await looked(answers, *numbers, "VI50")
        return set(await looked(answers, *numbers)) == set(numbers)

    assert run_virtual(main)
    assert [asked["size"] for asked in answers.asked] == [51, 50]


def test_pages_of_everything_are_as_large_as_the_server_takes() -> None:
    """Found out once; numbers are ignored here, too."""
    everything = [f"VI{i}" for i in range(220)]
    answers = Answers(no_more_than(50, everything))

    async def main() -> Any:
        return await looked(answers, *everything[190:], looks=2)

    assert set(run_virtual(main)) == set(everything[190:])
    sizes = [asked["size"] for asked in answers.asked]
    assert sizes == [30, 200, 100, *[50] * 5, *[50] * 5]


@pytest.mark.parametrize(
    ("refused", "asked"),
    [
        pytest.param(lambda it: it["size"] != 30, [(1, n) for n in (30, 200, 100, 50, 25, 12)], id="all"),
        pytest.param(lambda it: it["page"] > 1, [(1, 30), (1, 200), (2, 200)], id="a later one"),
    ],
)  # fmt: skip
def test_a_page_that_is_refused_for_another_reason_ends_the_look(refused: Any, asked: Any) -> None:
    """Any deployment gives 20; and a smaller second page would be another one."""
    everything = [f"VI{i}" for i in range(220)]
    no = {"code": "0003", "msg": "One or more parameters are incorrect", "data": None}
    plain = no_more_than(200, everything)
    answers = Answers(lambda it: no if refused(it) else plain(it))

    async def main() -> None:
        with pytest.raises(FatalError):
            await looked(answers, *everything[190:])

    run_virtual(main)
    assert [(it["page"], it["size"]) for it in answers.asked] == asked


def test_all_pages_of_one_question_are_of_one_size() -> None:
    """Where the server's are shorter than that."""
    numbers = [f"VI{i}" for i in range(30)]

    def ten(it: Any) -> Any:
        page = numbers[(it["page"] - 1) * 10 :][:10]
        videos = [{"video_no": one, "status": "PARSE"} for one in page]
        return ok({"videos": videos, "page_size": 10, "total_count": 30})

    answers = Answers(ten)
    assert set(run_virtual(lambda: looked(answers, *numbers))) == set(numbers)
    assert [(it["page"], it["size"]) for it in answers.asked] == [(1, 30), (2, 30), (3, 30)]


def test_how_many_pages_there_are_does_not_go_by_the_few_that_were_asked_for() -> None:
    """250 videos are two pages, although the one that told it had two videos."""

    async def main() -> list[str]:
        async with world(ignore_video_nos=True) as here:
            numbers = await crowd(here, 250)
            source = here.source()
            await look(source, *numbers[:2])
            here.emulator.requests.clear()
            assert set(await look(source, *numbers[:10])) == set(numbers[:10])
            return [seen.interface for seen in here.emulator.requests]

    assert run_virtual(main) == ["list", "list"]


def test_a_missing_video_costs_one_more_request_at_most() -> None:
    """Where the count is that of everything, an empty page ends the search."""
    first = ok(
        {"videos": [{"video_no": "VI1", "status": "PARSE"}], "page_size": 200, "total_count": 9999}
    )
    answers = Answers(first, ok({"videos": [], "page_size": 200, "total_count": 9999}))

    async def main() -> Any:
        return await looked(answers, "VI1", "VI2")

    assert set(run_virtual(main)) == {"VI1"}
    assert [body["page"] for body in answers.asked] == [1, 2]


# -- guard, address ---------------------------------------------------------------------------


def test_the_guard_of_the_session_is_used() -> None:
    """The one in the middlewares, unless one is given; a session without gets the catalog's."""

    async def main() -> None:
        mine, given = Guard("memories_ai", "mine"), Guard("memories_ai", "given")

        async def other(request: Any, handler: Any) -> Any:
            return await handler(request)

        async with aiohttp.ClientSession(middlewares=[other, mine.aiohttp()]) as session:
            assert MemoriesVideos(session).guard is mine
            assert MemoriesVideos(session, guard=given).guard is given
        async with aiohttp.ClientSession(middlewares=[other]) as session:
            made = MemoriesVideos(session).guard
            assert (made.policy.name, made.account) == ("memories_ai", "default")

    run_virtual(main)


def test_the_guard_of_another_provider_is_not_used() -> None:
    """It would take MemOS' rate limit for a fatal code; a policy of one's own is taken as it is."""

    async def main() -> None:
        memories, memos = Guard("memories_ai"), Guard("memos_cloud")
        both = [memories.aiohttp(), memos.aiohttp()]
        async with aiohttp.ClientSession(middlewares=both) as session:
            assert MemoriesVideos(session).guard is memories
            assert MemosTasks(session).guard is memos
        async with aiohttp.ClientSession(middlewares=[memories.aiohttp()]) as session:
            assert MemosTasks(session).guard.policy.name == "memos_cloud"
        mine = Guard(Policy.from_dict({"name": "mine", "extends": "memos_cloud"}))
        async with aiohttp.ClientSession(middlewares=[mine.aiohttp()]) as session:
            assert MemosTasks(session).guard is mine

    run_virtual(main)


@pytest.mark.parametrize(
    ("base_url", "deployment"),
    [
        (BASE_URL, "api.memories.ai"),
        ("http://127.0.0.1:8080/serve/api/v1/", "127.0.0.1:8080"),
        ("https://API.Memories.ai/serve/api/v1", "api.memories.ai"),
        ("https://user:secret@proxy.example:444/x", "proxy.example:444"),
        ("http://[::1]:80/serve/api/v1", "[::1]:80"),
    ],
)
def test_the_deployment_comes_from_the_base_url(base_url: str, deployment: str) -> None:
    """Host and port, in lower case, and never what stands before the @."""

    async def main() -> str:
        async with aiohttp.ClientSession() as session:
            return MemoriesVideos(session, base_url=base_url).deployment

    assert run_virtual(main) == deployment


@pytest.mark.parametrize(
    "base_url",
    ["", "api.memories.ai", "ftp://api.memories.ai", "http://", "https:///x", "http://:80/x"],
)
def test_a_bad_base_url_is_refused(base_url: str) -> None:
    """At once, showing what was given and what is expected."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(ValueError, match=r"base_url=.*expected") as caught:
                MemoriesVideos(session, base_url=base_url)
            assert repr(base_url) in str(caught.value)

    run_virtual(main)


def test_the_default_address_is_the_real_api() -> None:
    """`MemoriesVideos(session)` talks to the provider."""
    assert BASE_URL == "https://api.memories.ai/serve/api/v1"


# -- admission ----------------------------------------------------------------------------------


def test_the_batch_is_picked_after_admission() -> None:
    """Nothing is picked while the gate is closed; what is due when it opens is asked for."""

    async def main() -> None:
        async with world() as here:
            here.emulator.add_video("OLD")
            here.emulator.add_video("NEW")
            here.emulator.fail("list", Fault(code="0429"))
            source = here.source()
            picked: list[float] = []
            due = ["OLD"]

            def pick(count: int) -> list[str]:
                picked.append(round(anyio.current_time(), 3))
                return due[:count]

            with pytest.raises(QuotaError):
                await source.look(source.guard.options(max_wait=0.0), pick)
            async with anyio.create_task_group() as tasks:

                async def second() -> None:
                    found = await source.look(source.guard.options(max_wait=5.0), pick)
                    assert set(found) == {"NEW"}

                tasks.start_soon(second)
                await anyio.sleep(0.5)
                due[:] = ["NEW"]
            assert picked == [0.0, 1.0]
            assert here.asked() == [(), ("NEW",)]  # a fault in front of the API reads no numbers

    run_virtual(main)
