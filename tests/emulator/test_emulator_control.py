"""The control interface, used by a test in another process."""

import re
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from pollers.emulator import MemoriesEmulator, MemosEmulator
from pollers.emulator.control import COMMON_ACTS

PAGE = Path(__file__).parents[2] / "docs" / "settings" / "testing.md"


def documented():
    """The tables of the page: each request with the bodies that its row shows."""
    for table in re.findall(
        r"^\| request \|.*\n(?:\|.*\n)+", PAGE.read_text("utf-8"), re.MULTILINE
    ):
        rows = re.findall(r"^\| `(GET|POST) (\w+)` \| (.*) \|$", table, re.MULTILINE)
        yield [(method, name, re.findall(r"`([\[{?].*?)`", cell)) for method, name, cell in rows]


@pytest_asyncio.fixture
async def controlled(start):
    """An emulator with its control interface."""
    return await start(control=True)


async def post(api, name, body, status=200):
    """Tell the emulator something."""
    url = api.emulator.base_url.replace("/serve/api/v1", f"/_emulator/{name}")
    async with api.session.post(url, json=body) as response:
        assert response.status == status
        return await response.json()


async def get(api, name, **query):
    """Ask the emulator something."""
    url = api.emulator.base_url.replace("/serve/api/v1", f"/_emulator/{name}")
    async with api.session.get(url, params=query) as response:
        return response.status, await response.json()


async def test_faults(controlled) -> None:
    """Faults are scripted one by one or as a list, with the fields of Fault."""
    api = controlled
    await post(api, "faults", {"interface": "list", "fault": {"code": "0429", "times": 2}})
    await post(api, "faults", {"interface": "any", "faults": [{"code": "0001"}, {"code": "9"}]})
    codes = [(await api.page())["code"] for _ in range(5)]
    assert codes == ["0429", "0429", "0001", "9", "0000"]


async def test_videos(controlled) -> None:
    """Videos are added as a list, or by their number with a prefix."""
    api = controlled
    entries = [{"video_no": "VI1", "outcome": "PARSE_ERROR", "cause": "why"}, {"video_no": "VI2"}]
    assert await post(api, "videos", entries) == {"added": 2}
    assert (await api.metadata("VI1"))["data"]["cause"] == "why"
    many = {"count": 1000, "prefix": "VIX", "parse_after": None}
    assert await post(api, "videos", many) == {"added": 1000}
    assert (await api.metadata("VIX999"))["data"]["status"] == "UNPARSE"


async def test_the_other_surfaces(controlled) -> None:
    """Assets, tasks and the Datalake's videos are scripted as videos are."""
    api = controlled
    assert await post(api, "assets", [{"asset_id": "re_1"}]) == {"asset_ids": ["re_1"]}
    tasks = [{"task_id": "t1", "ends_after": None}]
    assert await post(api, "tasks", tasks) == {"task_ids": ["t1"]}
    lake = [{"video_id": "vid_7", "ready_after": 60.0}, {"error": "broken"}]
    assert await post(api, "lake", lake) == {"operations": ["op_1", "op_2"]}
    for url, expected in (
        (f"{api.emulator.v2_url}/task/t1", "processing"),
        (f"{api.emulator.datalake_url}/videos/vid_7", "processing"),
        (f"{api.emulator.datalake_url}/videos/vid_2", "failed"),
    ):
        async with api.session.get(url, headers={"Authorization": "sk"}) as response:
            assert (await response.json())["status"] == expected


async def test_limits_points_keys_and_settings(controlled) -> None:
    """All that can be changed at run time can be changed from outside."""
    api = controlled
    await post(api, "limits", {"interface": "list", "calls": 0})
    assert (await api.page())["code"] == "0429"
    await post(api, "limits", {"interface": "list", "calls": None})
    assert (await api.page())["code"] == "0000"
    assert await post(api, "points", {"points": 3}) == {"points": 3}
    await post(api, "keys", {"keys": {"sk-a": "alice"}})
    assert (await api.page())["code"] == "9009"
    await post(api, "settings", {"dialect": "2025"})
    api.key = "sk-a"
    assert (await api.page())["data"]["total_count"] == "0"


async def test_log_and_state(controlled) -> None:
    """The log is read in steps; the state tells what is there."""
    api = controlled
    await post(api, "videos", [{"video_no": "VI1"}, {"video_no": "VI2", "parse_after": None}])
    api.emulator.configure(callback_loss=1.0)
    await post(api, "videos", [{"video_no": "VI3", "callback": "http://127.0.0.1:1/"}])
    await api.page(video_nos=["VI1"])
    _, log = await get(api, "log")
    assert log["next"] == 1
    assert log["requests"][0]["video_nos"] == ["VI1"]
    assert log["callbacks"][0]["payload"] == {"videoNo": "VI3", "status": "PARSE"}
    await api.page()
    _, log = await get(api, "log", after=1)
    assert len(log["requests"]) == 1
    _, state = await get(api, "state")
    assert (state["videos"], state["ended"], state["requests"]) == (3, 2, 2)
    status, _ = await get(api, "log", after="x")
    assert status == 400


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("faults", {"interface": "nowhere", "fault": {}}),
        ("faults", {"interface": "list", "fault": {"colour": "red"}}),
        ("faults", []),
        ("videos", {"prefix": "VI"}),
        ("videos", [{"number": 1}]),
        ("assets", [{"number": 1}]),
        ("tasks", ["t1"]),
        ("lake", [{"ready_after": "soon"}]),
        ("limits", {"interface": "list", "calls": -1}),
        ("points", {}),
        ("keys", {"keys": "sk-a"}),
        ("settings", {"seed": 1}),
        ("settings", {"dialect": "1999"}),
    ],
)
async def test_bad_bodies(controlled, name, body) -> None:
    """A body that says nothing sensible is HTTP 400 with a reason."""
    assert (await post(controlled, name, body, status=400))["error"]


def test_the_page_has_a_row_for_everything() -> None:
    """The second table is of what only the MemOS emulator has."""
    memories, memos = ([(method, name) for method, name, _ in rows] for rows in documented())
    assert sorted(memories) == sorted(
        [*(("POST", name) for name in MemoriesEmulator.acts), ("GET", "log"), ("GET", "state")]
    )
    assert sorted(memos) == sorted(
        ("POST", name) for name in {*MemosEmulator.acts} - {*COMMON_ACTS}
    )


@pytest.mark.parametrize(("table", "make"), [(0, MemoriesEmulator), (1, MemosEmulator)])
async def test_every_row_of_the_page_works(table, make) -> None:
    """Each body as it stands there, and each address."""
    async with make(control=True) as emulator, aiohttp.ClientSession() as session:
        root = f"{URL(emulator.base_url).origin()}/_emulator"
        for method, name, shown in list(documented())[table]:
            for one in shown or [""]:
                url = f"{root}/{name}"
                asked = session.get(url + one) if method == "GET" else session.post(url, data=one)
                async with asked as response:
                    assert response.status == 200, (name, one, await response.text())


async def test_off_by_default(api) -> None:
    """Without control=True there is nothing under /_emulator/."""
    body = await post(api, "faults", {"interface": "any", "fault": {"code": "1"}})
    assert (body["code"], body["msg"]) == ("0001", "No static resource _emulator/faults.")
    assert (await get(api, "state"))[1]["code"] == "0001"
    assert api.emulator.faults == {}
