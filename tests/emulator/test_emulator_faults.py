"""Scripted faults: each kind, how often, in which order, before or after the work."""

import asyncio
import json

import aiohttp
import pytest

from pollers.emulator import Fault


async def raw(api) -> tuple[int, str, bytes]:
    """Status, content type and bytes of a list."""
    async with api.request("POST", "list_videos", json={}) as response:
        return response.status, response.content_type, await response.read()


async def test_code_and_message(api) -> None:
    """A fault answers with any code, as text or as a number, and then is spent."""
    api.emulator.fail("list", Fault(code="0001", msg="network abnormal"), Fault(code=429))
    body = await api.page()
    assert body == {
        "code": "0001",
        "msg": "network abnormal",
        "data": None,
        "success": False,
        "failed": True,
    }
    assert (await api.page())["code"] == 429
    assert (await api.page())["code"] == "0000"
    assert [seen.fault for seen in api.emulator.requests] == ["0001", "429", None]


async def test_scripted_rate_limit_has_the_short_body(api) -> None:
    """A scripted 0429 can't be told from a real one, but for a header."""
    api.emulator.fail("list", Fault(code="0429", headers={"Retry-After": "3"}))
    async with api.request("POST", "list_videos", json={}) as response:
        assert await response.read() == b'{"code":"0429","msg":"Request has exceeded the limit."}'
        assert response.headers["Retry-After"] == "3"


async def test_html_page(api) -> None:
    """A proxy's error page is HTML with its status."""
    api.emulator.fail("list", Fault(status=502, body="html"))
    status, kind, body = await raw(api)
    assert (status, kind) == (502, "text/html")
    assert b"502 Bad Gateway" in body


async def test_spring_body(api) -> None:
    """A bare status of 400 or more brings the framework's body, without a code."""
    api.emulator.fail("list", Fault(status=503))
    status, kind, body = await raw(api)
    assert (status, kind) == (503, "application/json")
    payload = json.loads(body)
    assert set(payload) == {"timestamp", "path", "status", "error", "requestId"}
    assert (payload["status"], payload["error"]) == (503, "Service Unavailable")
    assert payload["path"] == "/serve/api/v1/list_videos"


async def test_statuses_out_of_the_ordinary(api) -> None:
    """204 has no body, and a status nobody registered has no phrase."""
    api.emulator.fail("list", Fault(status=204), Fault(status=599))
    assert (await raw(api))[::2] == (204, b"")
    status, _, body = await raw(api)
    assert (status, json.loads(body)["error"]) == (599, "Unknown")


async def test_message_alone(api) -> None:
    """A fault may change only the message of a success."""
    api.emulator.fail("list", Fault(msg="Search completed successfully"))
    body = await api.page()
    assert (body["code"], body["msg"]) == ("0000", "Search completed successfully")


async def test_a_client_that_does_not_wait(api, caplog) -> None:
    """A client that leaves before the answer is logged as answered, and harms nothing."""
    api.emulator.fail("list", Fault(delay=0.1, code="0429"), Fault(body="huge"))
    with pytest.raises(TimeoutError):
        async with api.request(
            "POST", "list_videos", json={}, timeout=aiohttp.ClientTimeout(total=0.03)
        ):
            pass
    async with api.request("POST", "list_videos", json={}) as response:
        response.close()
    async with asyncio.timeout(1):
        while len(api.emulator.requests) < 2:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    assert (await api.page())["code"] == "0000"
    assert [seen.code for seen in api.emulator.requests] == ["0000", "0429", "0000"]
    assert caplog.records == []


async def test_json_body_with_a_status(api) -> None:
    """A code may come with a status other than 200."""
    api.emulator.fail("list", Fault(status=429, code=429, msg="Rate limit exceeded"))
    status, _, body = await raw(api)
    assert (status, json.loads(body)["code"]) == (429, 429)


async def test_empty_truncated_and_text(api) -> None:
    """The body may be missing, half, or anything."""
    api.emulator.add_video("VI1")
    api.emulator.fail(
        "list", Fault(body="empty"), Fault(body="truncated", after_work=True), Fault(text="{]")
    )
    assert await raw(api) == (200, "application/json", b"")
    status, _, body = await raw(api)
    assert (status, body[:30]) == (200, b'{"code":"0000","msg":"success"')
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        json.loads(body)
    assert await raw(api) == (200, "text/plain", b"{]")


async def test_null_data(api) -> None:
    """A success may come without its data, though there would be some."""
    api.emulator.add_video("VI1")
    api.emulator.fail("metadata", Fault(body="null"))
    assert await api.metadata("VI1") == {
        "code": "0000",
        "msg": "success",
        "data": None,
        "success": True,
        "failed": False,
    }


async def test_huge_body(api) -> None:
    """A huge body is valid JSON of at least the size asked for."""
    api.emulator.add_video("VI1")
    api.emulator.fail("list", Fault(body="huge", huge_bytes=3_000_000, after_work=True))
    _, _, body = await raw(api)
    assert len(body) > 3_000_000
    assert json.loads(body)["data"]["videos"][0]["video_no"] == "VI1"


async def test_abort_before_the_answer(api) -> None:
    """The connection is cut before anything came."""
    api.emulator.fail("list", Fault(abort="before"))
    with pytest.raises(aiohttp.ClientConnectionError):
        await raw(api)
    assert (await api.page())["code"] == "0000"
    assert [seen.status for seen in api.emulator.requests] == [None, 200]


async def test_abort_in_the_middle(api) -> None:
    """The connection is cut after the headers and half of the body."""
    api.emulator.fail("list", Fault(abort="middle"))
    async with api.request("POST", "list_videos", json={}) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_delay(api) -> None:
    """A delay alone is a slow success; with a code it is a slow failure."""
    loop = asyncio.get_running_loop()
    api.emulator.add_video("VI1")
    api.emulator.fail("list", Fault(delay=0.1), Fault(delay=0.1, code="0429"))
    began = loop.time()
    assert await api.numbers() == ["VI1"]
    assert loop.time() - began >= 0.1
    assert (await api.page())["code"] == "0429"
    assert loop.time() - began >= 0.2


async def test_delay_after_the_work(api) -> None:
    """A delay after the work keeps the real answer, as it was before the delay."""
    api.emulator.add_video("VI1", parse_after=0.05)
    api.emulator.fail("metadata", Fault(delay=0.1, after_work=True))
    assert (await api.metadata("VI1"))["data"]["status"] == "UNPARSE"
    assert (await api.metadata("VI1"))["data"]["status"] == "PARSE"


async def test_headers_alone_keep_the_answer(api) -> None:
    """A fault of headers only adds them to the real answer."""
    api.emulator.fail("list", Fault(headers={"Retry-After": "9", "X-Request-ID": "r1"}))
    async with api.request("POST", "list_videos", json={}) as response:
        assert (await response.json())["code"] == "0000"
        assert response.headers["Retry-After"] == "9"


async def test_times_and_order(api) -> None:
    """Faults are used in their order, each as often as it says; None is for ever."""
    api.emulator.fail(
        "list", Fault(code="A", times=2), Fault(code="B"), Fault(code="C", times=None)
    )
    codes = [(await api.page())["code"] for _ in range(5)]
    assert codes == ["A", "A", "B", "C", "C"]
    assert api.emulator.faults == {"list": ["C"]}
    api.emulator.clear_faults()
    assert (await api.page())["code"] == "0000"


async def test_names(api) -> None:
    """A path's faults go before its interface's, and those before the ones for any."""
    api.emulator.fail("any", Fault(code="ANY", times=2))
    api.emulator.fail("upload", Fault(code="UPLOAD", times=2))
    api.emulator.fail("upload_url", Fault(code="URL"))
    url = "http://127.0.0.1:1/a.mp4"
    assert (await api.upload_url(url))["code"] == "URL"
    assert (await api.upload_url(url))["code"] == "UPLOAD"
    assert (await api.upload())["code"] == "UPLOAD"
    assert (await api.upload())["code"] == "ANY"
    assert (await api.metadata("VI1"))["code"] == "ANY"
    with pytest.raises(ValueError, match="unknown interface"):
        api.emulator.fail("gossip", Fault(code="0429"))


async def test_probability_is_seeded(start) -> None:
    """The same seed brings the same faults."""
    runs = []
    for seed in (1, 1, 2):
        api = await start(seed=seed)
        api.emulator.fail("list", Fault(code="0429", times=None, probability=0.5))
        runs.append([(await api.page())["code"] for _ in range(20)])
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {"0429", "0000"}


@pytest.mark.parametrize("after_work", [False, True])
async def test_work_before_the_fault(start, after_work) -> None:
    """Whether a lost upload exists, and was paid for, is what `after_work` says."""
    api = await start(points=10)
    api.emulator.fail("upload", Fault(abort="before", after_work=after_work))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.upload()
    assert len(api.emulator.videos) == int(after_work)
    assert api.emulator.balance() == 10 - after_work


async def test_lost_delete_is_a_duplicate_afterwards(api) -> None:
    """A delete whose answer was lost is 0409 when it is repeated."""
    api.emulator.add_video("VI1")
    api.emulator.fail("delete", Fault(status=504, after_work=True))
    async with api.request("POST", "delete_videos", json=["VI1"]) as response:
        assert response.status == 504
    assert (await api.delete("VI1"))["code"] == "0409"


async def test_after_work_waits_for_work(api) -> None:
    """A refused request isn't work: its refusal is sent and the fault is kept."""
    api.emulator.fail("list", Fault(code="9999", after_work=True))
    key, api.key = api.key, None
    assert (await api.page())["code"] == "0401"
    api.key = key
    assert (await api.page())["code"] == "9999"
    assert (await api.page())["code"] == "0000"


async def test_faults_in_front_are_not_counted(api) -> None:
    """A fault of the infrastructure uses up neither the limit nor needs a key."""
    api.emulator.set_limit("list", 1, 60.0)
    api.emulator.fail("list", Fault(status=503, times=2))
    assert [(await raw(api))[0] for _ in range(3)] == [503, 503, 200]
    assert (await api.page())["code"] == "0429"


@pytest.mark.parametrize(
    "fields",
    [
        {"body": "yaml"},
        {"abort": "after"},
        {"times": 0},
        {"probability": 1.5},
        {"delay": -1.0},
        {"status": 99},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_impossible_faults(fields) -> None:
    """A fault that could never happen is refused when it is made."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        Fault(**fields)
