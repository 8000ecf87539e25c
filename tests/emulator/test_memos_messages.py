"""Messages of MemOS Cloud: what is added becomes a task and a memory."""

import asyncio

import pytest
from memos_kit import MESSAGE, Memos, now, play

LONG = "x" * 101


def test_a_message_is_running_then_completed() -> None:
    """The answer comes at once with a task, which ends by the clock and stays ended."""

    async def story(memos: Memos) -> None:
        begun = await memos.add("I like black cats")
        assert now() == 0.0
        assert (begun["success"], begun["status"]) == (True, "running")
        task_id = begun["task_id"]
        assert await memos.body("get/status", task_id=task_id) == {
            "code": 0,
            "message": "ok",
            "data": {"task_id": task_id, "status": "running", "memory_views": {}},
        }
        await asyncio.sleep(1.999)
        assert await memos.status(task_id) == "running"
        await asyncio.sleep(0.001)
        assert await memos.status(task_id) == "completed"
        assert [(seen.interface, seen.ids) for seen in memos.emulator.requests] == [
            ("add_message", (task_id,)), *[("get_status", (task_id,))] * 3,
        ]  # fmt: skip

    play(story, task_seconds=2.0)


def test_the_legacy_answer_is_a_list_with_the_code_200() -> None:
    """Older deployments answer get/status so; an unknown task is the same error in both."""

    async def story(memos: Memos) -> None:
        memos.emulator.add_task("T1", outcome="failed")
        assert await memos.body("get/status", task_id="T1") == {
            "code": 200,
            "message": "ok",
            "data": [{"status": "failed"}],
        }
        assert await memos.code("get/status", task_id="T2") == 50131

    play(story, status_shape="list")


@pytest.mark.parametrize("spelling", ["async_mode", "asyncMode"])
def test_without_async_mode_the_answer_comes_when_it_is_processed(spelling: str) -> None:
    """`async_mode: false`, or as the SDK of 2025 spells it: a late answer, already completed."""

    async def story(memos: Memos) -> None:
        begun = await memos.add("I like cats", **{spelling: False})
        assert (now(), begun["status"]) == (2.5, "completed")

    play(story, task_seconds=2.5)


def test_a_message_with_a_file_is_always_processed_later() -> None:
    """Multimodal messages ignore `async_mode`; their text is remembered."""

    async def story(memos: Memos) -> None:
        parts = [{"type": "text", "text": "my cat"}, {"type": "file", "file": {"file_data": "x"}}]
        begun = await memos.data(
            "add/message", messages=[{"role": "user", "content": parts}], user_id="u1",
            async_mode=False,
        )  # fmt: skip
        assert (now(), begun["status"]) == (0.0, "running")
        assert await memos.found("cat") == ["my cat"]

    play(story, task_seconds=2.5)


def test_a_fresh_task_may_be_unknown_for_a_moment() -> None:
    """With a visibility delay it is 50131 until then, like a task that never was."""

    async def story(memos: Memos) -> None:
        task_id = (await memos.add("I like cats"))["task_id"]
        answer = await memos.body("get/status", task_id=task_id)
        assert answer == {"code": 50131, "message": "Task not found", "data": None}
        await asyncio.sleep(0.5)
        assert await memos.status(task_id) == "running"

    play(story, visibility_delay=0.5, task_seconds=2.0)


def test_tasks_fail_as_often_as_was_asked_and_by_the_seed() -> None:
    """The same seed brings the same ends, at the same times."""

    async def story(memos: Memos) -> list[tuple[str, float]]:
        for number in range(40):
            await memos.add(f"number {number}")
        return [(task.outcome, round(task.ends_at, 6)) for task in memos.emulator.tasks.values()]

    runs = [play(story, failing=0.5, task_seconds=(1.0, 3.0), seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert {outcome for outcome, _ in runs[0]} == {"completed", "failed"}
    assert all(1.0 <= ends <= 3.0 for _, ends in runs[0])


def test_a_task_that_failed_in_the_answer_is_still_a_success_of_the_call() -> None:
    """`success` speaks about the call and `status` about the task."""

    async def story(memos: Memos) -> None:
        begun = await memos.add("I like cats", async_mode=False)
        assert (begun["success"], begun["status"]) == (True, "failed")

    play(story, failing=1.0, task_seconds=0.1)


def test_feedback_is_a_task_too() -> None:
    """add/feedback answers with a task and remembers nothing."""

    async def story(memos: Memos) -> None:
        begun = await memos.data(
            "add/feedback", user_id="u1", conversation_id="c1", feedback_content="I like dogs"
        )
        assert (begun["success"], begun["status"]) == (True, "running")
        await asyncio.sleep(1.0)
        assert await memos.status(begun["task_id"]) == "completed"
        assert await memos.found("dogs") == []

    play(story, task_seconds=1.0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param({}, 40000, id="no messages"),
        pytest.param({"messages": "hello", "user_id": "u"}, 40000, id="messages are a text"),
        pytest.param({"messages": [], "user_id": "u"}, 40003, id="empty messages"),
        pytest.param({"messages": [MESSAGE]}, 40000, id="nobody"),
        pytest.param({"messages": [MESSAGE], "user_id": None}, 40000, id="null is nothing"),
        pytest.param({"messages": [MESSAGE], "user_id": " "}, 40002, id="empty user"),
        pytest.param({"messages": [MESSAGE], "user_id": 7}, 40000, id="number as user"),
        pytest.param({"messages": [MESSAGE], "user_id": LONG}, 40010, id="long user"),
        pytest.param({"messages": [MESSAGE], "user_id": ["u"] * 21}, 40000, id="21 users"),
        pytest.param(
            {"messages": [MESSAGE], "user_id": "u", "conversation_id": LONG}, 40011, id="long talk"
        ),
        pytest.param(
            {"messages": [{"role": "function", "content": "x"}], "user_id": "u"}, 40000, id="role"
        ),
        pytest.param({"messages": [{"role": "user"}], "user_id": "u"}, 40000, id="no content"),
        pytest.param(
            {"messages": [{"role": "user", "content": ["x"]}], "user_id": "u"}, 40000, id="parts"
        ),
        pytest.param({"messages": ["hello"], "user_id": "u"}, 40000, id="a text as message"),
        pytest.param(
            {"messages": [{"role": [], "content": "x"}], "user_id": "u"}, 40000, id="a list as role"
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text"}]}], "user_id": "u"},
            40000,
            id="a part without its text",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": "x" * 160_001}], "user_id": "u"},
            40305,
            id="more than 40,000 tokens",
        ),
    ],
)
def test_bad_messages_have_their_own_codes(body, code: int) -> None:
    """Nothing is begun for them, and nothing is charged."""

    async def story(memos: Memos) -> None:
        assert await memos.code("add/message", **body) == code
        assert memos.emulator.tasks == {}
        assert memos.emulator.requests[0].tokens == 0

    play(story)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"'])
def test_a_body_that_is_no_object_is_40000(raw: bytes) -> None:
    """HTTP 200, and a message that says what is expected."""

    async def story(memos: Memos) -> None:
        async with memos.request("add/message", data=raw) as response:
            answer = await response.json()
        assert (response.status, answer["code"], answer["data"]) == (200, 40000, None)
        assert "JSON" in answer["message"]

    play(story)


@pytest.mark.parametrize("body", [{}, {"task_id": ""}, {"task_id": ["T1"]}])
def test_a_status_needs_a_task(body) -> None:
    """One task_id, a text that isn't empty."""

    async def story(memos: Memos) -> int:
        return await memos.code("get/status", **body)

    assert play(story) in (40000, 40002)


def test_scripted_tasks_say_what_they_are_told() -> None:
    """Any status text before and after, visible late, of another account, or never ending."""

    async def story(memos: Memos) -> None:
        add = memos.emulator.add_task
        add("T1", ends_after=5.0, pending="waiting", outcome="cancelled")
        add("T2", visible_after=3.0, ends_after=None)
        add("T3", account="other")
        assert await memos.status("T1") == "waiting"
        assert await memos.code("get/status", task_id="T2") == 50131
        assert await memos.code("get/status", task_id="T3") == 50131
        await asyncio.sleep(5.0)
        assert await memos.status("T1") == "cancelled"
        await asyncio.sleep(1e6)
        assert await memos.status("T2") == "running"

    play(story)


# -- memories -----------------------------------------------------------------------------------


def test_a_message_is_found_at_once_and_the_best_comes_first() -> None:
    """ "Rough" memories can be searched while their task is running."""

    async def story(memos: Memos) -> None:
        await memos.add("I like black cats", "I have a dog")
        await memos.add("black cats and black dogs")
        assert await memos.found("black cats") == ["black cats and black dogs", "I like black cats"]
        assert await memos.found("do you like cats", relativity=0.4) == ["I like black cats"]
        assert await memos.found("black cats", memory_limit_number=1) == [
            "black cats and black dogs"
        ]
        assert await memos.found("like black") == [
            "I like black cats",
            "black cats and black dogs",
        ]
        assert await memos.found("elephants") == []
        assert await memos.found("black cats", user_id="u2") == []

    play(story)


def test_only_what_users_say_is_remembered() -> None:
    """The assistant's part of a conversation is read, and charged for, but becomes no memory."""
    messages = [MESSAGE, {"role": "assistant", "content": "All cats are black at night"}]

    async def story(memos: Memos) -> None:
        await memos.data("add/message", messages=messages, user_id="u1")
        assert await memos.found("cats") == ["I like black cats"]
        assert memos.emulator.requests[0].tokens == 5 + 7

    play(story)


def test_what_a_failed_task_had_is_forgotten() -> None:
    """There while it is running, gone when it has failed."""

    async def story(memos: Memos) -> None:
        await memos.add("I like black cats")
        assert await memos.found("cats") == ["I like black cats"]
        await asyncio.sleep(1.0)
        assert await memos.found("cats") == []

    play(story, failing=1.0, task_seconds=1.0)


def test_a_group_shares_its_messages() -> None:
    """A list of users, and an agent beside them: each finds it."""

    async def story(memos: Memos) -> None:
        await memos.add("we like cats", user_id=["u1", "u2"], agent_id="a1")
        assert await memos.found("cats") == await memos.found("cats", user_id="u2")
        data = await memos.data("search/memory", query="cats", agent_id="a1")
        assert len(data["memory_detail_list"]) == 1

    play(story)


def test_other_accounts_find_nothing() -> None:
    """Users of the same name in two accounts are two users."""

    async def story(memos: Memos) -> None:
        memos.authorization = "Token mpg-a"
        await memos.add("I like cats")
        memos.authorization = "token mpg-b"
        assert await memos.found("cats") == []

    play(story, keys={"mpg-a": "alice", "mpg-b": "bob"})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"user_id": "u1"}, 40000),
        ({"query": " ", "user_id": "u1"}, 40002),
        ({"query": "cats"}, 40000),
        ({"query": "cats", "user_id": "u1", "agent_id": "a1"}, 40000),
        ({"query": "cats", "user_id": "u1", "relativity": 2}, 40012),
        ({"query": "cats", "user_id": "u1", "memory_limit_number": 0}, 40000),
        ({"query": "x" * 160_001, "user_id": "u1"}, 40305),
    ],
)
def test_bad_searches(body, code: int) -> None:
    """A query, and `user_id` or `agent_id` but not both."""

    async def story(memos: Memos) -> int:
        return await memos.code("search/memory", **body)

    assert play(story) == code


def test_memories_come_in_pages() -> None:
    """Newest first, ten to a page unless asked, at most fifty."""

    async def story(memos: Memos) -> None:
        await memos.add(*(f"fact {number}" for number in range(60)))
        data = await memos.data("get/memory", user_id="u1")
        assert [one["memory_value"] for one in data["memory_detail_list"]][:2] == [
            "fact 59", "fact 58",
        ]  # fmt: skip
        assert [data[name] for name in ("total", "size", "current", "pages")] == [60, 10, 1, 6]
        data = await memos.data("get/memory", user_id="u1", page=2, size=99)
        assert len(data["memory_detail_list"]) == 10

    play(story)


def test_a_memory_is_deleted_once() -> None:
    """The second time it is 40307; a list with one unknown id deletes nothing."""

    async def story(memos: Memos) -> None:
        await memos.add("I like cats", "I like dogs")
        data = await memos.data("get/memory", user_id="u1")
        dogs, cats = (one["id"] for one in data["memory_detail_list"])
        assert await memos.code("delete/memory", memory_ids=[dogs, "nonsense"]) == 40307
        assert await memos.found("dogs") == ["I like dogs"]
        assert await memos.data("delete/memory", memory_ids=[dogs]) == {"success": True}
        assert await memos.code("delete/memory", memory_ids=[dogs]) == 40307
        assert await memos.found("I like") == ["I like cats"]
        assert await memos.data("delete/memory", user_id="u1") == {"success": True}
        assert await memos.code("delete/memory", user_id="u1") == 40308
        assert await memos.code("delete/memory", memory_ids=[cats]) == 40307

    play(story)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 40000),
        ({"memory_ids": ["m"], "user_id": "u"}, 40000),
        ({"memory_ids": []}, 40003),
        ({"memory_ids": [1]}, 40000),
        ({"filter": {"tags": ["x"]}}, 40000),
    ],
)
def test_bad_deletes(body, code: int) -> None:
    """Exactly one way to say what is deleted."""

    async def story(memos: Memos) -> int:
        return await memos.code("delete/memory", **body)

    assert play(story) == code
