"""Scraper tasks in virtual time: what starts one, how its list grows, and who is called back."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from pollers.emulator import Fault, MemoriesEmulator
from resilience.testing import run_virtual

UNLIMITED = dict.fromkeys(("upload", "list", "metadata", "delete", "task", "scrape"))
HOOK = "http://127.0.0.1:1/hook"
POSTS = [f"https://www.tiktok.com/@a/video/{number}" for number in (71, 72, 73)]


class Api:
    """The calls that have to do with scraper tasks; each returns the JSON body."""

    def __init__(self, emulator: MemoriesEmulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self._session = session

    async def call(self, method: str, path: str, **options: Any) -> Any:
        url = f"{self.emulator.base_url}/{path}"
        headers = {"Authorization": options.pop("key", "sk")}
        async with self._session.request(method, url, headers=headers, **options) as response:
            assert response.status == 200
            return await response.json()

    async def scrape(self, path: str, **body: Any) -> Any:
        return await self.call("POST", path, json=body)

    async def task(self, task_id: str, **query: str) -> Any:
        query = {"task_id": task_id, **query}
        return await self.call("GET", "get_video_ids_by_task_id", params=query)

    async def numbers(self, task_id: str) -> list[str]:
        data = (await self.task(task_id))["data"]
        return [video["video_no"] for video in data["videos"]]

    async def listed(self, *numbers: str) -> dict[str, str]:
        data = (await self.call("POST", "list_videos", json={"video_nos": list(numbers)}))["data"]
        return {video["video_no"]: video["status"] for video in data["videos"]}

    def told(self) -> list[tuple[float, dict[str, str]]]:
        return [(round(one.time, 3), one.payload) for one in self.emulator.callbacks]


def living(main: Callable[[Api], Awaitable[Any]], **settings: Any) -> Any:
    """What happens with an emulator that limits nothing unless it is asked to."""

    async def run() -> Any:
        given = {"limits": UNLIMITED, "decode": False, "parse_seconds": 1.0, "seed": 1} | settings
        async with MemoriesEmulator(**given) as emulator, aiohttp.ClientSession() as session:
            return await main(Api(emulator, session))

    return run_virtual(run)


def test_a_posted_task_downloads_one_video_after_the_other() -> None:
    """Each address is a video that appears UNPARSE, and is parsed some time after that."""

    async def main(api: Api) -> None:
        body = await api.scrape("scraper_url", video_urls=POSTS)
        assert set(body) == {"code", "msg", "data", "success", "failed"}
        assert list(body["data"]) == ["taskId"]
        task_id = body["data"]["taskId"]
        grown = []
        for _ in range(5):
            grown.append([one["status"] for one in (await api.task(task_id))["data"]["videos"]])
            await asyncio.sleep(1.0)
        assert grown == [
            [], [], ["UNPARSE"], ["UNPARSE"] * 2, ["PARSE", "UNPARSE"],
        ]  # fmt: skip
        names = [one["video_name"] for one in (await api.task(task_id))["data"]["videos"]]
        assert names == ["71", "72", "73"]

    living(main, scrape_seconds=1.5, parse_seconds=2.0)


def test_the_answer_about_a_task_has_the_shape_of_its_time() -> None:
    """2025: bare ids beside the task's; later `videos`, with either spelling of the number."""

    async def main(api: Api) -> Any:
        api.emulator.add_scrape("T1", videos=[{"video_no": "VI1", "duration": 12, "size": 5}])
        data = (await api.task("T1"))["data"]
        for video in data.get("videos", ()):
            assert int(video.pop("create_time")) > 0
        return data

    video = {"duration": 12, "size": 5, "status": "PARSE", "video_name": "VI1"}
    texts = {"duration": "12", "size": "5", "status": "PARSE", "video_name": "VI1", "cause": "null"}
    assert living(main, dialect="2025") == {"taskId": "T1", "video_ids": ["VI1"]}
    assert living(main, dialect="2026") == {"videos": [{"video_no": "VI1", **video}]}
    assert living(main, task_listing="videoNo") == {"videos": [{"videoNo": "VI1", **video}]}
    both = {"dialect": "2025", "task_listing": "video_no"}
    assert living(main, **both) == {"videos": [{"video_no": "VI1", **texts}]}


def test_an_unknown_task_is_null_and_no_error() -> None:
    """So are another namespace's, another account's, and one that reads don't know yet."""

    async def main(api: Api) -> None:
        api.emulator.add_scrape("T1", unique_id="mine")
        api.emulator.add_scrape("T2", known_after=5.0)
        for task_id in ("T1", "T2", "T3"):
            body = await api.task(task_id)
            assert (body["code"], body["data"]) == ("0000", None)
        assert (await api.task("T1", unique_id="mine"))["data"] == {"videos": []}
        assert (
            await api.call(
                "GET",
                "get_video_ids_by_task_id",
                params={"task_id": "T1", "unique_id": "mine"},
                key="sk-other",
            )
        )["data"] is None
        await asyncio.sleep(5.0)
        assert (await api.task("T2"))["data"] == {"videos": []}
        assert (await api.call("GET", "get_video_ids_by_task_id"))["code"] == "0001"

    living(main, keys={"sk": "default", "sk-other": "other"})


def test_a_bad_address_is_empty_for_ever() -> None:
    """No answer ever says that it failed; only a callback does."""

    async def main(api: Api) -> Any:
        body = await api.scrape(
            "scraper_url", video_urls=["https://nowhere.invalid/1"], callback_url=HOOK
        )
        task_id = body["data"]["taskId"]
        await asyncio.sleep(86_400.0)
        assert (await api.task(task_id))["data"] == {"videos": []}
        return task_id, api.told()

    task_id, told = living(main, scrape_seconds=3.0)
    assert told == [(3.0, {"taskId": task_id, "status": "FAILED"})]


def test_scripted_videos_come_and_end_by_script() -> None:
    """Each has its own instant of appearance, of visibility in lists, and of parsing."""

    async def main(api: Api) -> None:
        api.emulator.add_scrape(
            "T1",
            videos=[
                {"video_no": "VI2", "appears_after": 2.0, "parse_after": 9.0, "visible_after": 5.0},
                {"video_no": "VI1", "parse_after": 4.0, "outcome": "PARSE_ERROR", "cause": "codec"},
            ],
        )
        seen = []
        for _ in range(4):
            seen.append((await api.numbers("T1"), await api.listed("VI1", "VI2")))
            await asyncio.sleep(3.0)
        assert seen == [
            (["VI1"], {"VI1": "UNPARSE"}),
            (["VI1", "VI2"], {"VI1": "UNPARSE"}),
            (["VI1", "VI2"], {"VI1": "PARSE_ERROR", "VI2": "UNPARSE"}),
            (["VI1", "VI2"], {"VI1": "PARSE_ERROR", "VI2": "PARSE"}),
        ]
        assert set(api.emulator.scrapes) == {"T1"}
        seen_task = api.emulator.requests[0]
        assert (seen_task.interface, seen_task.ids) == ("task", ("T1",))

    living(main)


def test_public_videos_are_in_no_list() -> None:
    """Their numbers begin with PI-, and only the answer about their task has their status."""

    async def main(api: Api) -> None:
        body = await api.scrape("scraper_url_public", video_urls=POSTS[:1])
        await asyncio.sleep(2.0)
        (video,) = (await api.task(body["data"]["taskId"]))["data"]["videos"]
        assert (video["video_no"][:3], video["status"]) == ("PI-", "PARSE")
        assert await api.listed(video["video_no"]) == {}

    living(main)


def test_creators_and_tags_are_scraped_too() -> None:
    """`scraper_cnt` newest posts, of a creator's address or of hashtags."""

    async def main(api: Api) -> None:
        creator = {"username": "https://www.tiktok.com/@cat", "scraper_cnt": 2}
        first = await api.scrape("scraper", **creator)
        second = await api.scrape("scraper_tag", hash_tags=["a", "b"], scraper_cnt=3)
        third = await api.scrape("scraper_public", **creator)
        fourth = await api.scrape("scraper_tag_public", hash_tags=["a"])
        await asyncio.sleep(60.0)
        counts = [
            len(await api.numbers(b["data"]["taskId"])) for b in (first, second, third, fourth)
        ]
        assert counts == [2, 3, 2, 10]

    living(main)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("scraper_url", {}),
        ("scraper_url", {"video_urls": []}),
        ("scraper_url", {"video_urls": "https://a.com/1"}),
        ("scraper_url", {"video_urls": ["nonsense"]}),
        ("scraper_url", {"video_urls": ["https://a.com/1"] * 51}),
        ("scraper_url", {"video_urls": ["https://www.a.com/1", "https://b.com/1"]}),
        ("scraper", {"username": "cat"}),
        ("scraper", {"username": "https://a.com/@cat", "scraper_cnt": -1}),
        ("scraper_tag", {"hash_tags": [1]}),
        ("scraper_tag_public", {"hash_tags": ["a"], "scraper_cnt": "many"}),
    ],
    ids=str,
)
def test_bad_tasks_are_refused(path: str, body: dict[str, Any]) -> None:
    """0001 in HTTP 200, and no task is started."""

    async def main(api: Api) -> None:
        answer = await api.scrape(path, **body)
        assert (answer["code"], answer["success"]) == ("0001", False)
        assert not api.emulator.scrapes

    living(main)


def test_fifty_posts_of_one_platform_are_fine() -> None:
    """Whatever the host in front of the site's name; `tiktok_post_urls` is the older name."""

    async def main(api: Api) -> None:
        urls = [
            "https://vm.tiktok.com/1",
            "https://www.tiktok.com/2",
            *["https://tiktok.com/3"] * 48,
        ]
        assert (await api.scrape("scraper_url", tiktok_post_urls=urls))["code"] == "0000"

    living(main)


# -- callbacks ----------------------------------------------------------------------------------

VIDEOS = [
    {"video_no": "VI1", "parse_after": 4.0},
    {"video_no": "VI2", "appears_after": 2.0, "parse_after": 3.0, "outcome": "PARSE_ERROR"},
]
SUCCEEDED = {"taskId": "T1", "status": "SUCCEEDED"}


def called_back(**settings: Any) -> list[tuple[float, dict[str, str]]]:
    async def main(api: Api) -> Any:
        api.emulator.add_scrape("T1", videos=VIDEOS, callback=HOOK)
        await asyncio.sleep(60.0)
        return api.told()

    return living(main, **settings)


def test_a_task_calls_back_when_everything_is_there_and_nothing_is_parsed() -> None:
    """2026: the same URL gets SUCCEEDED of the task, then the end of each video."""
    assert called_back() == [
        (2.0, SUCCEEDED),
        (3.0, {"videoNo": "VI2", "status": "FAIL"}),
        (4.0, {"videoNo": "VI1", "status": "PARSE"}),
    ]
    assert called_back(dialect="2025") == [(2.0, SUCCEEDED)]


def test_callbacks_come_early_doubled_or_never() -> None:
    """The settings for uploads hold for scraper tasks."""
    assert called_back(dialect="2025", callback_early=True) == [(0.0, SUCCEEDED)]
    assert called_back(dialect="2025", callback_times=2) == [(2.0, SUCCEEDED)] * 2
    assert called_back(callback_times=0) == []
    early = called_back(callback_early=True, callback_times=2)
    assert [at for at, payload in early if payload == SUCCEEDED] == [0.0, 2.0]
    assert [at for at, payload in early if payload.get("videoNo") == "VI2"] == [2.0, 3.0]

    async def lost(api: Api) -> list[bool]:
        api.emulator.add_scrape("T1", videos=VIDEOS, callback=HOOK)
        await asyncio.sleep(60.0)
        return [one.lost for one in api.emulator.callbacks]

    assert living(lost, callback_loss=1.0) == [True] * 3


def test_what_never_ends_is_never_told() -> None:
    """A task without videos and a video that is parsed never have no callback."""

    async def main(api: Api) -> Any:
        api.emulator.add_scrape("T1", callback=HOOK)
        api.emulator.add_scrape("T2", videos=[{"parse_after": None}], callback=HOOK)
        await asyncio.sleep(86_400.0)
        assert math.isinf(api.emulator.scrapes["T1"].finished_at)
        return api.told()

    assert living(main) == [(0.0, {"taskId": "T2", "status": "SUCCEEDED"})]


# -- limits, faults, control ----------------------------------------------------------------------


def test_the_documented_limits_are_one_status_a_second_and_one_task_a_minute() -> None:
    """All scraper paths share one limit; the answer to a broken one has two keys only."""

    async def main(api: Api) -> list[str]:
        codes = [(await api.task("T1"))["code"] for _ in range(2)]
        await asyncio.sleep(1.0)
        codes.append((await api.task("T1"))["code"])
        codes.append((await api.scrape("scraper_url", video_urls=POSTS))["code"])
        refused = await api.scrape("scraper_tag", hash_tags=["a"])
        assert refused == {"code": "0429", "msg": "Request has exceeded the limit."}
        await asyncio.sleep(60.0)
        codes.append((await api.scrape("scraper_tag_public", hash_tags=["a"]))["code"])
        return codes

    assert living(main, limits={}) == ["0000", "0429", "0000", "0000", "0000"]


def test_faults_are_scripted_by_interface_or_path() -> None:
    """`task`, `scrape`, or one path of the six."""

    async def main(api: Api) -> None:
        api.emulator.fail("task", Fault(code="0429"))
        api.emulator.fail("get_video_ids_by_task_id", Fault(body="null"))
        api.emulator.fail("scraper_tag", Fault(code="0402"))
        api.emulator.fail("scrape", Fault(code="0409"))
        api.emulator.add_scrape("T1")
        assert (await api.task("T1"))["code"] == "0429"
        assert (await api.task("T1"))["data"] is None
        assert (await api.task("T1"))["data"] == {"videos": []}
        assert (await api.scrape("scraper_url", video_urls=POSTS))["code"] == "0409"
        assert (await api.scrape("scraper_tag", hash_tags=["a"]))["code"] == "0402"
        api.emulator.set_limit("scraper_url_public", 0)
        assert (await api.scrape("scraper", username="https://a.com/@b"))["code"] == "0429"
        with pytest.raises(ValueError, match="unknown interface 'scrapes'"):
            api.emulator.fail("scrapes", Fault(code="1"))

    living(main)


def test_the_control_interface_scripts_tasks() -> None:
    """POST scrapes takes what `add_scrape` takes, and gives the ids."""

    async def main(api: Api) -> None:
        root = api.emulator.base_url.replace("/serve/api/v1", "/_emulator")
        async with aiohttp.ClientSession() as session:
            entries = [{"task_id": "T1", "videos": [{"video_no": "VI1"}]}, {}]
            async with session.post(f"{root}/scrapes", json=entries) as response:
                made = (await response.json())["task_ids"]
            async with session.get(f"{root}/state") as response:
                assert (await response.json())["scrapes"] == 2
            async with session.post(f"{root}/scrapes", json=[{"colour": "red"}]) as response:
                assert response.status == 400
        assert (made[0], len(made[1])) == ("T1", 36)
        assert await api.numbers("T1") == ["VI1"]

    living(main, control=True)


def test_a_task_listing_nobody_has_is_refused() -> None:
    """The setting is checked when the emulator is made."""
    with pytest.raises(ValueError, match="task_listing must be one of"):
        MemoriesEmulator(task_listing="ids")  # type: ignore[arg-type]
