"""Keys, limits, faults and the control interface of the emulated MemOS Cloud."""

import ast
import asyncio
import dataclasses
import json
from pathlib import Path

import aiohttp
import pytest
from memos_kit import MESSAGE, Memos, now, play

import pollers.emulator
from pollers.emulator import Fault, MemosEmulator, MemosSettings
from pollers.emulator.memos.settings import MemosOptions, estimate_tokens

SEARCH = {"query": "cats", "user_id": "u1"}


async def search(memos: Memos) -> int:
    """The code of a search."""
    return await memos.code("search/memory", **SEARCH)


# -- keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, 40130), ("", 40130), ("Token mpg-a", 0), ("token mpg-a", 0), ("Token  mpg-a", 0),
        ("mpg-a", 40132), ("Bearer mpg-a", 40132), ("Token", 40132), ("Token mpg-x", 40132),
        ("Token mpg-off", 40132),
    ],
)  # fmt: skip
def test_keys(authorization, code: int) -> None:
    """`Token <key>`: missing is 40130, wrong, disabled or in another form 40132."""

    async def story(memos: Memos) -> None:
        memos.authorization = authorization
        assert await search(memos) == code
        assert "mpg-" not in repr(memos.emulator.requests)
        assert "mpg-" not in repr(memos.emulator.settings)

    play(story, keys=["mpg-a"], disabled_keys=["mpg-off"])


def test_any_key_by_default_if_it_is_in_the_right_form() -> None:
    """Without keys every token is good; they can be set while it runs."""

    async def story(memos: Memos) -> None:
        assert await search(memos) == 0
        memos.authorization = "mpg-test"
        assert await search(memos) == 40132
        memos.emulator.set_keys({"mpg-a": "alice"})
        memos.authorization = "Token mpg-a"
        assert await search(memos) == 0
        assert [seen.account for seen in memos.emulator.requests] == ["default", None, "alice"]

    play(story)


# -- limits -----------------------------------------------------------------------------------


def test_the_documented_limits() -> None:
    """Fifty calls a second and 400,000 tokens a minute, for the account."""
    assert {name: (limit.calls, limit.per) for name, limit in MemosEmulator().limits.items()} == {
        "calls": (50, 1.0),
        "tokens": (400_000, 60.0),
    }


def test_calls_of_every_kind_and_key_share_one_limit() -> None:
    """40300 from the third on, until the second is over; another account is not concerned."""

    async def story(memos: Memos) -> None:
        memos.authorization = "Token mpg-1"
        assert await search(memos) == 0
        memos.authorization = "Token mpg-2"
        await memos.add("I like cats")
        answer = await memos.body("get/status", task_id="T1")
        assert answer == {
            "code": 40300,
            "message": "API call frequency limit exceeded",
            "data": None,
        }
        memos.authorization = "Token mpg-3"
        assert await search(memos) == 0
        memos.authorization = "Token mpg-1"
        await asyncio.sleep(0.999)
        assert await search(memos) == 40300
        await asyncio.sleep(0.001)
        assert await search(memos) == 0

    keys = {"mpg-1": "alice", "mpg-2": "alice", "mpg-3": "bob"}
    play(story, keys=keys, limits={"calls": (2, 1.0)})


def test_tokens_are_counted_by_the_minute_for_the_whole_account() -> None:
    """Ten times 40,000 fit; the next token is 40309, for searches and chats too."""
    message = {"role": "user", "content": "x" * 160_000}

    async def story(memos: Memos) -> None:
        for _ in range(10):
            await memos.data("add/message", messages=[message], user_id="u1")
        for path, body in [
            ("add/message", {"messages": [MESSAGE], "user_id": "u1"}),
            ("search/memory", SEARCH),
            ("chat", {**SEARCH, "conversation_id": "c1"}),
            (
                "add/feedback",
                {"user_id": "u1", "conversation_id": "c1", "feedback_content": "no"},
            ),
        ]:
            answer = await memos.body(path, **body)
            assert answer == {
                "code": 40309,
                "message": "Token usage exceeds the per-time-window limit",
                "data": None,
            }
        assert await memos.code("get/memory", user_id="u1") == 0  # nothing is read in by these
        await asyncio.sleep(60.0)
        assert await search(memos) == 0
        charged = [seen.tokens for seen in memos.emulator.requests]
        assert charged == [40_000] * 10 + [0] * 4 + [0] + [1]

    play(story, limits={"calls": None})


def test_what_is_rejected_is_not_counted() -> None:
    """A bad request, or one too large for what is left, uses up nothing."""

    async def story(memos: Memos) -> None:
        assert await memos.code("search/memory", query="x" * 40) == 40000
        assert await memos.code("search/memory", query="x" * 36, user_id="u1") == 0  # 9 of 10
        assert await memos.code("search/memory", query="x" * 8, user_id="u1") == 40309
        assert await memos.code("search/memory", query="x" * 4, user_id="u1") == 0
        assert await memos.code("search/memory", query="x", user_id="u1") == 40309

    play(story, limits={"calls": None, "tokens": (10, 60.0)})


def test_tokens_are_a_quarter_of_the_bytes() -> None:
    """Rounded up; Chinese characters have three bytes; settable."""
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "我喜欢猫")] == [
        0,
        1,
        1,
        2,
        3,
    ]

    async def story(memos: Memos) -> int:
        await search(memos)
        return memos.emulator.requests[0].tokens

    assert play(story, tokens_of=lambda text: 7 * len(text)) == 28


@pytest.mark.parametrize(("per", "hint"), [(60.0, "60"), (1.5, "2"), (0.1, "1")])
def test_retry_after(per: float, hint: str) -> None:
    """By the documents there is none; with the setting it tells the rest of the window."""

    async def story(memos: Memos) -> None:
        for wanted in (None, hint):
            memos.emulator.configure(retry_after=wanted is not None)
            async with memos.request("search/memory", json=SEARCH) as response:
                assert (await response.json())["code"] == 40309
                assert response.headers.get("Retry-After") == wanted

    play(story, limits={"tokens": (0, per)})


def test_limits_can_be_changed() -> None:
    """Another number from now on, or none; only the two that exist."""

    async def story(memos: Memos) -> None:
        memos.emulator.set_limit("calls", 0)
        assert await search(memos) == 40300
        memos.emulator.set_limit("calls", None)
        assert await search(memos) == 0
        with pytest.raises(ValueError, match="calls, tokens, not 'search_memory'"):
            memos.emulator.set_limit("search_memory", 1)

    play(story)


# -- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [50004, "50004"])
def test_codes_are_numbers_on_the_wire_with_the_documented_message(code) -> None:
    """However the fault was written; its own message if it has one; used once."""

    async def story(memos: Memos) -> None:
        memos.emulator.fail("search_memory", Fault(code=code), Fault(code=99999, msg="who knows"))
        assert await memos.body("search/memory", **SEARCH) == {
            "code": 50004, "message": "Memory service temporarily unavailable", "data": None,
        }  # fmt: skip
        assert await memos.body("search/memory", **SEARCH) == {
            "code": 99999, "message": "who knows", "data": None,
        }  # fmt: skip
        assert await search(memos) == 0
        assert [seen.fault for seen in memos.emulator.requests] == ["50004", "99999", None]

    play(story)


def test_faults_of_the_wire() -> None:
    """HTTP 500, an empty 2xx, truncated JSON, null data, a dropped connection, a slow answer."""

    async def story(memos: Memos) -> None:
        memos.emulator.fail(
            "search_memory", Fault(status=500), Fault(status=202, body="empty"),
            Fault(body="truncated", after_work=True), Fault(body="null", after_work=True),
            Fault(abort="before"), Fault(delay=20.0),
        )  # fmt: skip
        assert (await memos.raw("search/memory", **SEARCH))[0] == 500
        assert await memos.raw("search/memory", **SEARCH) == (202, "application/json", b"")
        status, _, body = await memos.raw("search/memory", **SEARCH)
        assert (status, body[:9]) == (200, b'{"code":0')
        with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
            json.loads(body)
        answer = await memos.body("search/memory", **SEARCH)
        assert answer == {"code": 0, "message": "ok", "data": None}
        with pytest.raises(aiohttp.ClientConnectionError):
            await memos.raw("search/memory", **SEARCH)
        assert await search(memos) == 0
        assert now() == 20.0

    play(story)


def test_a_lost_answer_to_a_message_was_work() -> None:
    """`after_work`: the task exists, and the client can't know it."""

    async def story(memos: Memos) -> None:
        memos.emulator.fail("add_message", Fault(code=50000, after_work=True))
        assert await memos.code("add/message", messages=[MESSAGE], user_id="u1") == 50000
        assert len(memos.emulator.tasks) == 1
        assert await memos.found("cats") == ["I like black cats"]

    play(story)


def test_names_of_interfaces() -> None:
    """Each path is an interface; the faults for any come after its own."""

    async def story(memos: Memos) -> None:
        memos.emulator.fail("any", Fault(code=50005))
        memos.emulator.fail("get_status", Fault(code=50004))
        assert await memos.code("get/status", task_id="T1") == 50004
        assert await memos.code("get/memory", user_id="u1") == 50005
        with pytest.raises(ValueError, match="unknown interface 'list'; there are add_feedback"):
            memos.emulator.fail("list", Fault(code=1))

    play(story)


def test_unknown_paths_are_50000() -> None:
    """As the API answers them: HTTP 200, and the code of a broken server."""

    async def story(memos: Memos) -> None:
        answer = await memos.body("add/tool")
        assert (answer["code"], answer["data"]) == (50000, None)
        async with memos.request("add/message", method="GET") as response:
            assert (await response.json())["code"] == 50000
        assert [seen.interface for seen in memos.emulator.requests] == ["other", "other"]

    play(story)


# -- settings and control ---------------------------------------------------------------------


def test_options_are_the_settings() -> None:
    """The keyword arguments and the fields of MemosSettings are the same, with the same types."""
    fields = {field.name: field.type for field in dataclasses.fields(MemosSettings)}
    assert MemosOptions.__annotations__ == fields


@pytest.mark.parametrize(
    "fields",
    [
        {"status_shape": "text"}, {"stream_end": "never"}, {"stream_errors": "none"},
        {"failing": 1.5}, {"limits": {"list": (1, 1.0)}}, {"limits": {"calls": (-1, 1.0)}},
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings(fields) -> None:
    """A setting nobody could mean is refused when the emulator is made."""
    with pytest.raises(ValueError, match=r"must be|needs"):
        MemosEmulator(**fields)


def test_what_is_fixed_at_the_start() -> None:
    """The seed, keys and limits are only what it starts with."""
    emulator = MemosEmulator()
    emulator.configure(failing=0.5)
    assert emulator.settings.failing == 0.5
    with pytest.raises(ValueError, match="seed can't be changed"):
        emulator.configure(seed=3)


def test_control() -> None:
    """Faults, tasks, files, limits, keys and settings from another process, and what happened."""

    async def story(memos: Memos) -> None:
        root = memos.emulator.base_url.replace("/api/openmem/v1", "/_emulator")

        async def post(name: str, body) -> int:
            async with memos.session.post(f"{root}/{name}", json=body) as response:
                return response.status

        fault = {"interface": "get_status", "fault": {"code": 50004}}
        assert await post("faults", fault) == 200
        assert await post("tasks", [{"task_id": "T1", "outcome": "failed"}]) == 200
        assert await post("files", [{"file_id": "F1", "ends_after": None}]) == 200
        assert await post("limits", {"interface": "tokens", "calls": 5, "per": 60}) == 200
        assert await post("settings", {"status_shape": "list"}) == 200
        for name, bad in [
            ("videos", []), ("tasks", [{"colour": "red"}]), ("settings", {"seed": 1}),
            ("limits", {"interface": "list", "calls": 1}),
        ]:  # fmt: skip
            async with memos.session.post(f"{root}/{name}", json=bad) as response:
                answer = await response.json()
            assert answer.get("error") or answer["code"] == 50000
        assert await memos.code("get/status", task_id="T1") == 50004
        assert (await memos.body("get/status", task_id="T1"))["data"] == [{"status": "failed"}]
        async with memos.session.get(f"{root}/log") as response:
            log = await response.json()
        assert [seen["code"] for seen in log["requests"]] == ["50004", "200"]
        async with memos.session.get(f"{root}/state") as response:
            state = await response.json()
        assert (state["tasks"], state["files"], state["limits"]["tokens"]["calls"]) == (1, 1, 5)

    play(story, control=True)


def test_the_room_stands_alone() -> None:
    """No module of the emulators imports anything of the project from outside their folder."""
    folder = Path(pollers.emulator.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom | ast.Import):
                module = getattr(node, "module", None) or node.names[0].name
                ours = module.split(".")[0] in {"pollers", "resilience"}
                assert not (ours and not getattr(node, "level", 0)) or module.startswith(
                    "pollers.emulator"
                ), path
