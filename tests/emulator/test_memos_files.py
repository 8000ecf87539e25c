"""Knowledge bases of MemOS Cloud and their files."""

import asyncio
import base64
import io

import aiohttp
import pytest
from memos_kit import Memos, play

URL = "https://example.org/papers/cats.pdf"


async def base(memos: Memos) -> str:
    """The id of a new knowledge base."""
    return (await memos.data("create/knowledgebase", knowledgebase_name="Cats"))["id"]


async def listed(memos: Memos, **which) -> dict[str, str]:
    """Status by file."""
    data = await memos.data("get/knowledgebase-file", **which)
    return {one["id"]: one["status"] for one in data["file_detail_list"]}


def test_files_are_running_then_completed_or_failed() -> None:
    """Each by itself; the upload answers an array, the reads a page of details."""

    async def story(memos: Memos) -> None:
        base_id = await base(memos)
        content = base64.b64encode(b"x" * 2048).decode()
        uploaded = await memos.data(
            "add/knowledgebase-file", knowledgebase_id=base_id,
            file=[{"content": URL}, {"content": content, "name": "notes.MD", "type": "skill"}],
        )  # fmt: skip
        first, second = (one["id"] for one in uploaded)
        assert uploaded[1] == {
            "id": second, "name": "notes.MD", "sizeMB": 2048 / 1024**2, "status": "running",
        }  # fmt: skip
        assert uploaded[0]["name"] == "cats.pdf"
        memos.emulator.add_file("F3", outcome="failed", ends_after=1.0, knowledgebase_id=base_id)
        await asyncio.sleep(1.0)
        asked = [first, second, "F3", "nonsense"]
        assert await listed(memos, file_ids=asked) == {
            first: "running", second: "running", "F3": "failed",
        }  # fmt: skip
        assert memos.emulator.requests[-1].ids == tuple(asked)
        await asyncio.sleep(2.0)
        assert await listed(memos, file_ids=[first]) == {first: "completed"}
        data = await memos.data("get/knowledgebase-file", file_ids=[second])
        assert data == {
            "total": 1, "page": 1, "page_size": 20,
            "file_detail_list": [
                {
                    "id": second, "type": "skill", "name": "notes.MD", "size": "0.002MB",
                    "status": "completed",
                }
            ],
        }  # fmt: skip

    play(story, file_seconds=3.0)


def test_a_knowledge_base_is_listed_in_pages() -> None:
    """Twenty a page, for a list of ids too; a type chooses among them."""

    async def story(memos: Memos) -> None:
        base_id = await base(memos)
        ids = [memos.emulator.add_file(knowledgebase_id=base_id).id for _ in range(45)]
        assert list(await listed(memos, knowledgebase_id=base_id)) == ids[:20]
        assert list(await listed(memos, knowledgebase_id=base_id, page=3)) == ids[40:]
        assert list(await listed(memos, file_ids=ids)) == ids[:20]
        assert list(await listed(memos, file_ids=ids, page_size=45)) == ids
        assert await listed(memos, file_ids=ids, type="skill") == {}

    play(story)


def test_what_is_not_visible_is_absent() -> None:
    """Unknown, another account's, or not there yet: no error and no entry."""

    async def story(memos: Memos) -> None:
        memos.emulator.add_file("F1", visible_after=1.0)
        memos.emulator.add_file("F2", account="other")
        assert await listed(memos, file_ids=["F1", "F2", "F3"]) == {}
        await asyncio.sleep(1.0)
        assert await listed(memos, file_ids=["F1", "F2", "F3"]) == {"F1": "completed"}

    play(story)


def test_a_form_uploads_files_too() -> None:
    """Multipart, with the knowledge base in the query, as the SDK does it."""

    async def story(memos: Memos) -> None:
        base_id = await base(memos)
        form = aiohttp.FormData()
        for name in ("a.txt", "b.pdf"):
            form.add_field("file", io.BytesIO(b"hello"), filename=name)
        query = {"knowledgebase_id": base_id}
        async with memos.request("add/knowledgebase-file", params=query, data=form) as response:
            answer = await response.json()
        assert [one["name"] for one in answer["data"]] == ["a.txt", "b.pdf"]
        assert {one.size for one in memos.emulator.files.values()} == {5}
        empty = aiohttp.FormData({"note": "x"}, default_to_multipart=True)
        async with memos.request("add/knowledgebase-file", params=query, data=empty) as response:
            assert (await response.json())["code"] == 40003

    play(story)


@pytest.mark.parametrize(
    ("file", "code"),
    [
        pytest.param([{"content": URL}] * 21, 50103, id="21 files"),
        pytest.param([], 40003, id="none"),
        pytest.param(None, 40000, id="no list"),
        pytest.param([URL], 40000, id="a text"),
        pytest.param([{"name": "a.pdf"}], 40000, id="no content"),
        pytest.param([{"content": ""}], 40002, id="empty content"),
        pytest.param([{"content": "no base64!"}], 40009, id="bad base64"),
        pytest.param([{"content": URL, "type": "film"}], 40006, id="bad type"),
        pytest.param([{"content": "https://x.org/a.mp4"}], 40007, id="bad ending"),
        pytest.param([{"content": URL, "type": "skill"}], 40007, id="no skill"),
        pytest.param([{"content": "aGVsbG8gd29ybGQ="}], 50106, id="too large"),
    ],
)
def test_bad_files_have_their_own_codes(file, code: int) -> None:
    """One bad file, and none is taken."""

    async def story(memos: Memos) -> None:
        base_id = await base(memos)
        good = [{"content": "aGk="}, *file] if file else file
        file_ = file if code == 50103 else good
        body = {"knowledgebase_id": base_id, "file": file_}
        assert await memos.code("add/knowledgebase-file", **body) == code
        assert memos.emulator.files == {}

    play(story, max_file_bytes=10 if code == 50106 else 10**9)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("create/knowledgebase", {}, 40000),
        ("create/knowledgebase", {"knowledgebase_name": ""}, 40002),
        ("add/knowledgebase-file", {"knowledgebase_id": "kb", "file": [{"content": URL}]}, 50120),
        ("get/knowledgebase-file", {"knowledgebase_id": "kb"}, 50120),
        ("get/knowledgebase-file", {}, 40000),
        ("get/knowledgebase-file", {"file_ids": ["F"], "knowledgebase_id": "kb"}, 40000),
        ("get/knowledgebase-file", {"file_ids": []}, 40003),
        ("get/knowledgebase-file", {"file_ids": [1]}, 40000),
        ("get/knowledgebase-file", {"file_ids": ["F"], "page": 0}, 40000),
    ],
)
def test_bad_requests(path: str, body, code: int) -> None:
    """What is missing or unknown has its code."""

    async def story(memos: Memos) -> int:
        return await memos.code(path, **body)

    assert play(story) == code


def test_a_plan_has_only_so_many_knowledge_bases() -> None:
    """One more than the plan allows is 50121; another account has its own."""

    async def story(memos: Memos) -> None:
        memos.authorization = "Token mpg-a"
        made = [await base(memos), await base(memos)]
        assert len(set(made)) == 2
        assert await memos.code("create/knowledgebase", knowledgebase_name="x") == 50121
        memos.authorization = "Token mpg-b"
        await base(memos)
        assert await memos.code("get/knowledgebase-file", knowledgebase_id=made[0]) == 50120

    play(story, knowledgebases=2, keys={"mpg-a": "alice", "mpg-b": "bob"})
