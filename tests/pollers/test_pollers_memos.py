"""MemosTasks and MemosFiles against the emulator: one look, on the wire."""

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from memos_world import KEY, memos
from pollers_kit import look, phases, wall

from pollers._core.model import Phase
from pollers.emulator import Fault
from pollers.sources import MemoriesVideos, MemosFiles, MemosTasks
from pollers.sources.memos_cloud import BASE_URL
from resilience import FatalError, Guard, QuotaError, ResilienceError, RetriesExhausted
from resilience.testing import FixedChance, run_virtual

SOURCES = [pytest.param(MemosTasks, id="tasks"), pytest.param(MemosFiles, id="files")]


class Answers:
    """A server that answers everything with one thing: JSON, or a ready response."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Any]] = []
        self.headers: list[Any] = []

    async def reply(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, json.loads(await request.read())))
        self.headers.append(request.headers)
        answer = self.answer() if callable(self.answer) else self.answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


async def looked(answers: Answers, kind: type, *ids: str, **settings: Any) -> Any:
    """What a look at a server of this kind brings."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers.reply)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            guard = Guard("memos_cloud", wall=wall, chance=FixedChance(1.0))
            base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/openmem/v1/"
            return await look(kind(session, base_url=base_url, guard=guard, **settings), *ids)
    finally:
        await runner.cleanup()


def sight(kind: type, status: Any, **more: Any) -> dict[str, Any]:
    """An answer that tells of one job, ``J1``."""
    if kind is MemosTasks:
        return {"code": 0, "message": "ok", "data": {"task_id": "J1", "status": status, **more}}
    page = {"total": 1, "page": 1, "page_size": 20}
    files = [{"id": "J1", "type": "document", "name": "a.pdf", "size": "1", "status": status}]
    return {"code": 0, "message": "ok", "data": {**page, "file_detail_list": files, **more}}


# -- what a status means ------------------------------------------------------------------------

WORDS = [
    *((word, Phase.PENDING) for word in (
        "running", "waiting", "pending", "processing", "in_progress", "queued", "RUNNING", "odd"
    )),
    *((word, Phase.SUCCEEDED) for word in ("completed", "success", "Completed")),
    *((word, Phase.FAILED) for word in ("failed", "fail", "error", "cancelled", "FAILED")),
]  # fmt: skip


@pytest.mark.parametrize(("word", "phase"), WORDS)
@pytest.mark.parametrize("kind", SOURCES)
def test_every_word_of_the_documents_and_the_self_hosted_server(kind, word, phase) -> None:
    """Cloud or self-hosted, in any case; an unknown word means "not finished"."""

    async def main() -> Any:
        return await looked(Answers(sight(kind, word)), kind, "J1")

    seen = run_virtual(main)["J1"]
    assert (seen.phase, seen.status, seen.known) == (phase, word, word != "odd")


@pytest.mark.parametrize("shape", ["object", "list"])
def test_both_shapes_of_a_status_say_the_same(shape: Any) -> None:
    """An object with code 0, or as it used to be, a list with code 200."""

    async def main() -> list[dict[str, Phase]]:
        async with memos(status_shape=shape) as here:
            here.emulator.add_task("T1", ends_after=None)
            here.emulator.add_task("T2")
            here.emulator.add_task("T3", outcome="failed")
            return [phases(await look(here.tasks(), one)) for one in ("T1", "T2", "T3")]

    assert run_virtual(main) == [
        {"T1": Phase.PENDING}, {"T2": Phase.SUCCEEDED}, {"T3": Phase.FAILED},
    ]  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_a_failed_status_in_a_good_answer_is_the_jobs_result(kind) -> None:
    """`data.status: "failed"` with code 0: the call went well, and its job didn't."""

    async def main() -> Any:
        return await looked(Answers(sight(kind, "failed")), kind, "J1")

    seen = run_virtual(main)
    assert phases(seen) == {"J1": Phase.FAILED}
    assert seen["J1"].cause is None  # none is documented


@pytest.mark.parametrize("kind", SOURCES)
def test_a_call_that_says_it_did_not_succeed_is_a_failed_look(kind) -> None:
    """`data.success: false` under code 0 is no answer about a job, whatever status is beside it."""

    async def main() -> None:
        with pytest.raises(FatalError) as caught:
            await looked(Answers(sight(kind, "completed", success=False)), kind, "J1")
        assert caught.value.code is None  # "0" would mean success: the flag is what was believed

    run_virtual(main)


@pytest.mark.parametrize("data", [None, {}, [], [None], ["x"], [{}], "x", 7, {"status": None}])
def test_a_status_without_a_status_is_nothing_there_yet(data: Any) -> None:
    """`data: null` and its kin tell nothing, and there is nothing to index into."""

    async def main() -> Any:
        answers = Answers({"code": 0, "message": "ok", "data": data})
        return await looked(answers, MemosTasks, "J1")

    assert run_virtual(main) == {}


@pytest.mark.parametrize(
    "data",
    [
        None, {}, [], "x", {"file_detail_list": None}, {"file_detail_list": {}},
        {"file_detail_list": [None, "J1", {}, {"id": "J1"}, {"status": "completed"}]},
        {"file_detail_list": [{"id": "J2", "status": "completed"}]},
    ],
)  # fmt: skip
def test_files_that_are_not_in_the_answer_are_missing(data: Any) -> None:
    """Absent is "not there (yet)", and what nobody asked for is left out."""

    async def main() -> Any:
        answers = Answers({"code": 0, "message": "ok", "data": data})
        return await looked(answers, MemosFiles, "J1")

    assert run_virtual(main) == {}


def test_ids_of_files_may_be_numbers() -> None:
    """A number on the wire is a text with us."""
    answer = {
        "code": 0,
        "message": "ok",
        "data": {"file_detail_list": [{"id": 7, "status": "fail"}]},
    }

    async def main() -> Any:
        return phases(await looked(Answers(answer), MemosFiles, "7"))

    assert run_virtual(main) == {"7": Phase.FAILED}


# -- what is unknown ----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "code"), [(MemosTasks, 50131), (MemosFiles, 50100)])
def test_an_unknown_job_is_missing_and_no_error(kind, code) -> None:
    """Right after a submit it may not be visible yet; how long that may be is the poller's grace."""

    async def main() -> Any:
        answers = Answers({"code": code, "message": "not found", "data": None})
        return await looked(answers, kind, "J1")

    assert run_virtual(main) == {}


def test_an_unknown_file_among_several_is_raised() -> None:
    """It can't be told which one it is: the poller asks for halves."""

    async def main() -> None:
        with pytest.raises(FatalError) as caught:
            answers = Answers({"code": 50100, "message": "not found", "data": None})
            await looked(answers, MemosFiles, "J1", "J2")
        assert caught.value.code == "50100"

    run_virtual(main)


@pytest.mark.parametrize(("kind", "code"), [(MemosTasks, 50100), (MemosFiles, 50131)])
def test_other_codes_do_not_mean_missing(kind, code) -> None:
    """Each kind has its own code for it; anything else is a failed look."""

    async def main() -> None:
        with pytest.raises(FatalError) as caught:
            await looked(Answers({"code": code, "message": "?", "data": None}), kind, "J1")
        assert caught.value.code == str(code)

    run_virtual(main)


# -- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        (MemosTasks, "/api/openmem/v1/get/status", {"task_id": "J1"}),
        (MemosFiles, "/api/openmem/v1/get/knowledgebase-file", {"file_ids": ["J1", "J2"]}),
    ],
)
@pytest.mark.parametrize("key", ["mpg-1", "Token mpg-1", "token mpg-1", " mpg-1 "])
def test_the_request_is_what_the_docs_say(kind, path, body, key) -> None:
    """One task, or several files; JSON; `Token` and the key, however the key was copied."""
    answers = Answers({"code": 0, "message": "ok", "data": None})

    async def main() -> None:
        await looked(answers, kind, "J1", "J2", api_key=key)

    run_virtual(main)
    assert answers.asked == [(path, body)]
    assert answers.headers[0]["Authorization"] == "Token mpg-1"
    assert answers.headers[0]["Content-Type"] == "application/json"


def test_twenty_files_are_one_request() -> None:
    """As many as a page of the answer has; tasks go one by one."""

    async def main() -> None:
        async with memos() as here:
            ids = [here.emulator.add_file().id for _ in range(25)]
            assert set(await look(here.files(), *ids, "nonsense")) == set(ids[:20])
            assert here.asked("get_knowledgebase_file") == [tuple(ids[:20])]
            here.emulator.add_task("T1")
            assert set(await look(here.tasks(), "T1", "T2")) == {"T1"}
            assert here.asked("get_status") == [("T1",)]

    run_virtual(main)


@pytest.mark.parametrize("kind", SOURCES)
def test_nothing_is_asked_when_nothing_is_due(kind) -> None:
    """An empty pick sends nothing."""
    answers = Answers({"code": 0, "message": "ok", "data": None})

    async def main() -> Any:
        return await looked(answers, kind)

    assert run_virtual(main) == {}
    assert answers.asked == []


def test_without_a_key_the_sessions_headers_stand() -> None:
    """A session that carries the key is left alone."""

    async def main() -> int:
        async with memos(keys=["mpg-of-session"]) as here:
            here.emulator.add_task("T1")
            headers = {"Authorization": "Token mpg-of-session"}
            async with aiohttp.ClientSession(headers=headers) as session:
                return len(await look(MemosTasks(session, base_url=here.emulator.base_url), "T1"))

    assert run_virtual(main) == 1


# -- what goes wrong ----------------------------------------------------------------------------


def empty(**settings: Any) -> Any:
    return lambda: web.Response(**{"content_type": "application/json", **settings})


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(empty(body=b""), id="empty"),
        pytest.param(empty(body=b"", status=202), id="empty-202"),
        pytest.param(empty(text="[]"), id="a-list"),
        pytest.param(empty(text='{"code":0,"message":"ok","da'), id="truncated"),
        pytest.param(empty(text="<html>hello</html>", content_type="text/html"), id="html"),
        pytest.param(empty(body=b"", status=503), id="empty-503"),
    ],
)
@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_no_answer_is_a_failed_look(kind, answer) -> None:
    """It says nothing about the jobs, least of all that they are unknown; it may be asked again."""

    async def main() -> None:
        with pytest.raises(RetriesExhausted):
            await looked(Answers(answer), kind, "J1")

    run_virtual(main)


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault(code=40300), QuotaError, "40300"),
        (Fault(code=40304), QuotaError, "40304"),
        (Fault(code=40309), QuotaError, "40309"),
        (Fault(code=40132), FatalError, "40132"),
        (Fault(code=50000), RetriesExhausted, "50000"),
        (Fault(code=50004), RetriesExhausted, "50004"),
        (Fault(status=500), RetriesExhausted, "500"),
        (Fault(status=502, body="html"), RetriesExhausted, "502"),
        (Fault(body="truncated"), RetriesExhausted, None),
        (Fault(body="empty"), RetriesExhausted, None),
        (Fault(abort="before"), RetriesExhausted, None),
        (Fault(abort="middle"), RetriesExhausted, None),
        (Fault(delay=60.0), RetriesExhausted, "TimeoutError"),
    ],
)
@pytest.mark.parametrize("middleware", [True, False], ids=["guarded-session", "plain-session"])
@pytest.mark.parametrize("files", [True, False], ids=["files", "tasks"])
def test_faults_of_the_wire_are_raised_as_the_guard_names_them(
    fault: Fault, error: type[ResilienceError], code: str | None, middleware: bool, files: bool
) -> None:
    """With and without a middleware below: the same error, one request, and no job's failure."""

    async def main() -> None:
        async with memos(middleware=middleware) as here:
            here.emulator.add_task("J1")
            here.emulator.add_file("J1")
            here.emulator.fail("any", fault)
            source = (here.files if files else here.tasks)(guard=here.guard)
            with pytest.raises(error) as caught:
                await look(source, "J1", attempt_timeout=30.0)
            assert code in (None, caught.value.code)
            assert len(here.emulator.requests) <= 1

    run_virtual(main)


# -- guard, address -----------------------------------------------------------------------------


def test_the_sources_of_a_session_share_one_guard() -> None:
    """The one in its middlewares, else one that is made once for its account."""

    async def main() -> None:
        mine, given = Guard("memos_cloud", "mine"), Guard("memos_cloud", "given")
        async with aiohttp.ClientSession(middlewares=[mine.aiohttp()]) as session:
            assert MemosTasks(session).guard is MemosFiles(session).guard is mine
            assert MemosTasks(session, guard=given).guard is given
        async with aiohttp.ClientSession() as session:
            made = MemosTasks(session, api_key=KEY).guard
            assert (made.policy.name, made.account) == ("memos_cloud", "default")
            assert MemosFiles(session, api_key=KEY).guard is made
            assert MemosFiles(session, api_key="another").guard is not made
            assert MemosFiles(session, api_key=KEY, base_url="http://x/").guard is not made
            assert MemoriesVideos(session, api_key=KEY).guard.policy.name == "memories_ai"
            async with aiohttp.ClientSession() as other:
                assert MemosTasks(other, api_key=KEY).guard is not made

    run_virtual(main)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_address(kind) -> None:
    """The real API by default; the deployment is host and port; nonsense is refused."""

    async def main() -> None:
        assert BASE_URL == "https://memos.memtensor.cn/api/openmem/v1"
        async with aiohttp.ClientSession() as session:
            assert kind(session).deployment == "memos.memtensor.cn"
            assert kind(session, base_url="http://u:p@H.org:81/x").deployment == "h.org:81"
            with pytest.raises(ValueError, match="base_url='memos': expected an http"):
                kind(session, base_url="memos")

    run_virtual(main)


def test_both_kinds_together_stay_below_the_accounts_calls() -> None:
    """40 a second are recommended for everything; looks leave a quarter of it to others."""
    assert 1 / MemosTasks.spacing + 1 / MemosFiles.spacing <= 30.0
