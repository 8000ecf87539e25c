"""Keys, limits and points: what is refused before any work is done."""

import asyncio

import pytest

from pollers.emulator import Fault


async def code(api, key="sk-test") -> str:
    """The code of an answer to this key."""
    api.key = key
    return (await api.page())["code"]


async def test_any_key_by_default(api) -> None:
    """Without keys any non-empty one is good; none, or one with Bearer, is 0401."""
    assert await code(api, "anything") == "0000"
    assert await code(api, None) == "0401"
    assert await code(api, "Bearer anything") == "0401"
    assert [seen.account for seen in api.emulator.requests] == ["default", None, None]


@pytest.mark.parametrize("wrong", ["9009", "0401"])
async def test_keys(start, wrong) -> None:
    """Good, wrong and disabled keys are told apart, and can be changed while it runs."""
    api = await start(keys={"sk-a": "alice"}, disabled_keys=["sk-off"], wrong_key_code=wrong)
    assert await code(api, "sk-a") == "0000"
    assert await code(api, "sk-b") == wrong
    assert await code(api, "sk-off") == "0403"
    assert await code(api, None) == "0401"
    api.emulator.set_keys(["sk-b"], disabled=["sk-a"])
    assert await code(api, "sk-b") == "0000"
    assert await code(api, "sk-a") == "0403"
    assert "sk-" not in repr(api.emulator.requests)
    assert "sk-" not in repr(api.emulator.settings)


async def test_accounts_do_not_see_each_other(start) -> None:
    """A video belongs to one account; for the others it doesn't exist."""
    api = await start(keys={"sk-a": "alice", "sk-b": "bob"})
    api.emulator.add_video("VI1", account="alice")
    api.key = "sk-a"
    assert await api.numbers() == ["VI1"]
    api.key = "sk-b"
    assert await api.numbers() == []
    assert (await api.metadata("VI1"))["data"] is None
    assert (await api.delete("VI1"))["code"] == "0000"
    assert "VI1" in api.emulator.videos


async def test_rejection_is_exact(api) -> None:
    """A broken limit is answered with these bytes, HTTP 200 and no Retry-After."""
    api.emulator.set_limit("list", 1, 60.0)
    await api.page()
    async with api.request("POST", "list_videos", json={}) as response:
        assert response.status == 200
        assert await response.read() == b'{"code":"0429","msg":"Request has exceeded the limit."}'
        assert response.content_type == "application/json"
        assert "Retry-After" not in response.headers


@pytest.mark.parametrize(("per", "hint"), [(60.0, "60"), (1.5, "2"), (0.1, "1")])
async def test_retry_after(start, per, hint) -> None:
    """With the setting, a rejection tells the whole seconds until the window has ended."""
    api = await start(retry_after=True, limits={"list": (0, per)})
    async with api.request("POST", "list_videos", json={}) as response:
        assert (await response.json())["code"] == "0429"
        assert response.headers["Retry-After"] == hint


async def test_documented_limits(start) -> None:
    """Out of the box: five lists and one upload a second, upload and upload_url together."""
    api = await start(limits={})
    lists = [(await api.page())["code"] for _ in range(6)]
    assert lists == ["0000"] * 5 + ["0429"]
    assert (await api.upload())["code"] == "0000"
    assert (await api.upload_url("http://127.0.0.1:1/a.mp4"))["code"] == "0429"
    assert (await api.metadata("VI1"))["code"] == "0000"
    assert len(api.emulator.videos) == 1


async def test_window_is_fixed_and_rejections_do_not_count(api) -> None:
    """The window opens with the first request and ends on time, however often one knocks."""
    api.emulator.set_limit("list_videos", 2, 0.15)
    codes = [(await api.page())["code"] for _ in range(6)]
    assert codes == ["0000", "0000", "0429", "0429", "0429", "0429"]
    await asyncio.sleep(0.16)
    assert [(await api.page())["code"] for _ in range(3)] == ["0000", "0000", "0429"]


async def test_limits_are_by_account(start) -> None:
    """Two keys of one account share its quota; another account has its own."""
    api = await start(keys={"sk-1": "alice", "sk-2": "alice", "sk-3": "bob"})
    api.emulator.set_limit("list", 1, 60.0)
    assert [await code(api, key) for key in ("sk-1", "sk-2", "sk-3")] == ["0000", "0429", "0000"]


async def test_limit_can_be_lifted(api) -> None:
    """A limit of None lets everything through; an unknown interface is an error."""
    api.emulator.set_limit("list", 0)
    assert await code(api) == "0429"
    api.emulator.set_limit("list", None)
    assert await code(api) == "0000"
    with pytest.raises(ValueError, match="unknown interface 'lists'"):
        api.emulator.set_limit("lists", 1)


async def test_points_run_out_and_are_topped_up(start) -> None:
    """Uploads cost points; without enough they are 0402, and reads go on."""
    api = await start(points=5, upload_cost=2)
    codes = [(await api.upload())["code"] for _ in range(3)]
    assert codes == ["0000", "0000", "0402"]
    assert (await api.upload_url("http://127.0.0.1:1/a.mp4"))["code"] == "0402"
    assert await code(api) == "0000"
    assert api.emulator.balance() == 1
    assert api.emulator.top_up(1) == 2
    assert (await api.upload())["code"] == "0000"
    assert api.emulator.balance() == 0
    assert len(api.emulator.videos) == 3


async def test_an_empty_account_may_be_paused(start) -> None:
    """With the setting, an account without points is refused everywhere."""
    api = await start(points=0, pause_when_empty=True)
    assert await code(api) == "0402"
    api.emulator.top_up(1)
    assert await code(api) == "0000"


async def test_log(start) -> None:
    """Every request leaves one frozen record: who, what, which videos, and the answer."""
    api = await start(keys={"sk-a": "alice"})
    api.key = "sk-a"
    await api.page(video_nos=["VI1", "VI2"])
    api.emulator.fail("metadata", Fault(status=503, name="gone"))
    async with api.request("GET", "get_metadata", params={"video_no": "VI1"}):
        pass
    first, second = api.emulator.requests
    assert (first.method, first.path) == ("POST", "/serve/api/v1/list_videos")
    assert (first.interface, first.account) == ("list", "alice")
    assert first.video_nos == ("VI1", "VI2")
    assert (first.code, first.status, first.fault) == ("0000", 200, None)
    assert (second.code, second.status, second.fault) == (None, 503, "gone")
    assert first.time <= second.time <= asyncio.get_running_loop().time()
    with pytest.raises(AttributeError):
        first.code = "0429"
