"""list_videos, get_metadata, delete_videos: exact bodies in both dialects."""

import time

import pytest


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        pytest.param(
            "2025",
            {
                "duration": "12",
                "size": "3284512",
                "status": "PARSE",
                "cause": "null",
                "video_no": "VI1",
                "video_name": "cat",
            },
            id="2025",
        ),
        pytest.param(
            "2026",
            {
                "duration": 12,
                "size": 3284512,
                "status": "PARSE",
                "video_no": "VI1",
                "video_name": "cat",
            },
            id="2026",
        ),
    ],
)
async def test_list_speaks_its_dialect(start, dialect, expected) -> None:
    """Numbers are strings and the cause is "null" in 2025; integers and no cause in 2026."""
    api = await start(dialect=dialect)
    api.emulator.add_video("VI1", name="cat", duration=12.3, size=3284512)
    before = int(time.time() * 1000) - 60_000
    body = await api.page(page=1, size=200)
    (entry,) = body["data"].pop("videos")
    created = entry.pop("create_time")
    assert type(created) is (str if dialect == "2025" else int)
    assert before < int(created)
    assert entry == expected
    total = "1" if dialect == "2025" else 1
    assert body == {
        "code": "0000",
        "msg": "success",
        "data": {"current_page": 1, "page_size": 200, "total_count": total},
        "success": True,
        "failed": False,
    }


@pytest.mark.parametrize("word", ["PARSE_ERROR", "FAILED", "FAIL"])
@pytest.mark.parametrize("dialect", ["2025", "2026"])
async def test_failure_word(start, dialect, word) -> None:
    """A failed video is called by the deployment's own word, with its cause."""
    api = await start(failure_word=word, dialect=dialect)
    api.emulator.add_video("VI1", outcome="PARSE_ERROR", cause="moov atom not found")
    data = (await api.metadata("VI1"))["data"]
    assert (data["status"], data["cause"]) == (word, "moov atom not found")
    assert await api.numbers(status="FAILED") == ["VI1"]
    assert await api.numbers(status="PARSE") == []


async def test_other_outcomes_are_reported_as_they_are(api) -> None:
    """A script may use status words nobody documented, for pending and for ended videos."""
    api.emulator.add_video("VI1", outcome="ERROR")
    api.emulator.add_video("VI2", pending="TRANSCODING", parse_after=None)
    assert (await api.metadata("VI1"))["data"]["status"] == "ERROR"
    assert (await api.metadata("VI2"))["data"]["status"] == "TRANSCODING"
    api.emulator.add_video("VI3", outcome="DONE")
    data = (await api.metadata("VI3"))["data"]
    assert (data["status"], "cause" in data) == ("DONE", False)
    assert await api.numbers(status="PARSE") == ["VI3"]


async def test_status_follows_the_clock(api) -> None:
    """A scripted video is UNPARSE until its time has come, with no task behind it."""
    api.emulator.add_video("VI1", parse_after=3600)
    assert (await api.metadata("VI1"))["data"]["status"] == "UNPARSE"
    api.emulator.videos["VI1"].terminal_at -= 3600
    assert (await api.metadata("VI1"))["data"]["status"] == "PARSE"


async def test_unknown_video_is_null(api) -> None:
    """get_metadata of an unknown number is a success without data."""
    expected = {"code": "0000", "msg": "success", "data": None, "success": True, "failed": False}
    assert await api.metadata("VI404") == expected


async def test_visibility_delay(api) -> None:
    """Until a video is visible, every read acts as if it didn't exist."""
    api.emulator.add_video("VI1", visible_after=0.1)
    api.emulator.add_video("VI2")
    assert (await api.metadata("VI1"))["data"] is None
    assert await api.numbers() == ["VI2"]
    assert await api.numbers(video_nos=["VI1", "VI2"]) == ["VI2"]
    api.emulator.videos["VI1"].visible_at -= 1
    assert await api.numbers(video_nos=["VI1", "VI2"]) == ["VI2", "VI1"]


async def test_video_nos_and_video_no(api) -> None:
    """Asked for by number, the known ones come newest first and once, in pages."""
    for number in range(5):
        api.emulator.add_video(f"VI{number}")
    assert await api.numbers(video_nos=["VI1", "VI3", "VI404", "VI1"]) == ["VI3", "VI1"]
    assert await api.numbers(video_no="VI2") == ["VI2"]
    body = await api.page(video_nos=["VI1", "VI3", "VI4"], size=2, page=2)
    assert [video["video_no"] for video in body["data"]["videos"]] == ["VI1"]
    assert body["data"]["total_count"] == 3


async def test_older_deployments_ignore_video_nos(start) -> None:
    """With the setting, the answer is the page of everything, whatever was asked for."""
    api = await start(ignore_video_nos=True)
    for number in range(3):
        api.emulator.add_video(f"VI{number}")
    assert await api.numbers(video_nos=["VI0"], size=2) == ["VI2", "VI1"]
    assert await api.numbers(video_no="VI0") == ["VI0"]
    api.emulator.configure(ignore_video_nos=False)
    assert await api.numbers(video_nos=["VI0"], size=2) == ["VI0"]


@pytest.mark.parametrize(("dialect", "shown"), [("2025", None), ("2026", ["rp-1", "api"])])
async def test_tags_are_shown_since_2026(start, dialect, shown) -> None:
    """A video without any shows none."""
    api = await start(dialect=dialect)
    api.emulator.add_video("VI1", tags=["rp-1", "api"])
    api.emulator.add_video("VI2")
    second, first = (await api.page())["data"]["videos"]
    assert (first.get("tags"), "tags" in second) == (shown, False)


async def test_a_deployment_may_ignore_tags(start) -> None:
    """With the setting, a tag chooses nothing; other filters do."""
    api = await start(ignore_tag=True)
    api.emulator.add_video("VI1", tags=["rp-1"])
    api.emulator.add_video("VI2", name="cat")
    assert await api.numbers(tag="rp-1") == ["VI2", "VI1"]
    assert await api.numbers(tag="rp-1", video_name="cat") == ["VI2"]
    api.emulator.configure(ignore_tag=False)
    assert await api.numbers(tag="rp-1") == ["VI1"]


@pytest.mark.parametrize(
    ("dialect", "asked", "given"),
    [
        pytest.param("2026", 1000, 200, id="capped"),
        pytest.param("2026", None, 200, id="default-2026"),
        pytest.param("2025", None, 20, id="default-2025"),
        pytest.param("2026", "7", 7, id="text"),
    ],
)
async def test_page_size(start, dialect, asked, given) -> None:
    """A page holds at most 200 entries; the default depends on the documents' year."""
    api = await start(dialect=dialect)
    for _ in range(201):
        api.emulator.add_video()
    body = await api.page(**({} if asked is None else {"size": asked}))
    assert body["data"]["page_size"] == given
    assert len(body["data"]["videos"]) == given
    assert int(body["data"]["total_count"]) == 201


async def test_filters(api) -> None:
    """Name, status, folder, tag and namespace each narrow the list."""
    api.emulator.add_video("VI1", name="a cat", tags=["pets"], folder_id=7)
    api.emulator.add_video("VI2", name="a dog", parse_after=None)
    api.emulator.add_video("VI3", name="a cat", unique_id="elsewhere")
    assert await api.numbers(video_name="a cat") == ["VI1"]
    assert await api.numbers(video_name="cat") == []
    assert await api.numbers(status="UNPARSE") == ["VI2"]
    assert await api.numbers(status="PARSE") == ["VI1"]
    assert await api.numbers(tag="pets") == ["VI1"]
    assert await api.numbers(folder_id=7) == ["VI1"]
    assert await api.numbers(folder_id=-1) == ["VI2"]
    assert await api.numbers(unique_id="elsewhere") == ["VI3"]
    assert (await api.metadata("VI3"))["data"] is None
    assert (await api.metadata("VI3", unique_id="elsewhere"))["data"]["video_no"] == "VI3"


async def test_partial_names_in_2025(start) -> None:
    """The documents of 2025 promise partial matches of a name."""
    api = await start(dialect="2025")
    api.emulator.add_video("VI1", name="a cat")
    assert await api.numbers(video_name="cat") == ["VI1"]


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        pytest.param("POST", "list_videos", {"data": b"{"}, id="broken-json"),
        pytest.param("POST", "list_videos", {"json": [1]}, id="array"),
        pytest.param("POST", "list_videos", {"json": {"page": -1}}, id="page"),
        pytest.param("POST", "list_videos", {"json": {"page": 10**30}}, id="page-beyond-int"),
        pytest.param("POST", "list_videos", {"json": {"size": "many"}}, id="size"),
        pytest.param("POST", "list_videos", {"json": {"video_nos": "VI1"}}, id="video-nos"),
        pytest.param("GET", "get_metadata", {}, id="no-number"),
        pytest.param("POST", "delete_videos", {"json": {"video_nos": []}}, id="no-array"),
        pytest.param("POST", "delete_videos", {"json": []}, id="nothing"),
        pytest.param("POST", "delete_videos", {"json": ["VI"] * 101}, id="too-many"),
        pytest.param("GET", "list_videos", {}, id="method"),
        pytest.param("GET", "nothing/here", {}, id="path"),
    ],
)
async def test_bad_parameters(api, method, path, options) -> None:
    """What is wrong with a request is told with HTTP 200 and 0001."""
    body = await api.body(method, path, **options)
    assert (body["code"], body["data"]) == ("0001", None)
    assert (body["success"], body["failed"]) == (False, True)
    assert api.emulator.requests[-1].code == "0001"


async def test_repeated_delete_is_refused(api) -> None:
    """A second delete is answered 0409, and then deletes nothing else either."""
    api.emulator.add_video("VI1")
    api.emulator.add_video("VI2")
    assert (await api.delete("VI1", "VI404"))["code"] == "0000"
    assert await api.numbers() == ["VI2"]
    again = await api.delete("VI1", "VI2")
    assert (again["code"], again["msg"]) == ("0409", "Duplicate requests are not allowed")
    assert await api.numbers() == ["VI2"]


async def test_repeated_delete_may_be_ignored(start) -> None:
    """With the setting, deleting what is gone is a silent success."""
    api = await start(repeated_delete="ignored")
    api.emulator.add_video("VI1")
    assert [(await api.delete("VI1"))["code"] for _ in range(2)] == ["0000", "0000"]


async def test_a_number_may_be_used_again(api) -> None:
    """A script may replace a video, also in another namespace, and bring back a deleted one."""
    api.emulator.add_video("VI1")
    api.emulator.add_video("VI1", unique_id="mine")
    assert await api.numbers() == []
    assert await api.numbers(unique_id="mine") == ["VI1"]
    await api.delete("VI1", unique_id="mine")
    api.emulator.add_video("VI1")
    assert (await api.delete("VI1"))["code"] == "0000"


async def test_made_up_numbers_are_new(api) -> None:
    """A number that is made up is never one that a script used."""
    first = api.emulator.add_video().video_no
    digits = int(first.removeprefix("VI"))
    for ahead in range(1, 5):
        api.emulator.add_video(f"VI{digits + ahead}")
    assert api.emulator.add_video().video_no not in {f"VI{digits + n}" for n in range(5)}


async def test_delete_stays_in_its_namespace(api) -> None:
    """A delete with the wrong unique_id succeeds and deletes nothing."""
    api.emulator.add_video("VI1", unique_id="mine")
    assert (await api.delete("VI1"))["code"] == "0000"
    assert "VI1" in api.emulator.videos
    await api.delete("VI1", unique_id="mine")
    assert "VI1" not in api.emulator.videos


async def test_many_videos_are_cheap(api) -> None:
    """Fifty thousand scripted videos are made and asked about in no time."""
    began = time.perf_counter()
    for number in range(50_000):
        api.emulator.add_video(f"VI{number}", parse_after=number)
    assert time.perf_counter() - began < 3.0
    began = time.perf_counter()
    for start_at in range(0, 4000, 200):
        asked = [f"VI{number}" for number in range(start_at, start_at + 200)]
        assert len(await api.numbers(video_nos=asked)) == 200
    assert time.perf_counter() - began < 2.0
