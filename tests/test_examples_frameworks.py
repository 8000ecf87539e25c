"""The examples for frameworks, each driven by the framework's own test client, lifespan included."""

import ast
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from types import FunctionType

import pytest
import trio
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer
from examples_kit import EXAMPLES, as_the_real_api, load
from starlette.testclient import TestClient

from pollers import StoreBusy
from pollers.emulator import Fault, MemoriesEmulator


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    """Never the real API."""
    monkeypatch.delenv("MEMORIES_API_KEY", raising=False)


def told(stream):
    """The events of a stream: their ids and what they say."""
    return [
        (found[1], json.loads(found[2]))
        for found in re.finditer(r"id: (.*)\ndata: (.*)\n\n", stream.text)
    ]


def test_fastapi_follows_a_job_to_its_end():
    """Watch, follow as server-sent events, break off, and go on behind the last one."""
    with TestClient(load("fastapi_app").app) as client:
        assert client.get("/videos/VI2/events").status_code == 404
        watched = client.put("/videos/VI2")
        assert (watched.status_code, watched.json()) == (202, {"id": "VI2", "state": "watching"})
        events = told(client.get("/videos/VI2/events"))
        assert events[0][1]["type"] == "pollers.job.watching"
        assert events[-1][1]["type"] == "pollers.job.failed"
        assert events[-1][1]["data"]["cause"] == "unknown codec"
        again = client.get("/videos/VI2/events", headers={"Last-Event-ID": events[0][0]})
        assert told(again) == events[1:]


def test_fastapi_serves_one_test_client_after_another():
    """The guard of the module is older than every loop, and at home in each."""
    module = load("fastapi_app")
    for _ in range(2):
        with TestClient(module.app) as client:
            numbers = {video["video_no"] for video in client.get("/videos").json()}
            assert numbers == {"VI1", "VI2"}


@pytest.mark.parametrize(
    ("settings", "fault", "status", "code"),
    [
        pytest.param({"keys": ["sk-good"]}, None, 502, "9009", id="refused-key"),
        pytest.param({}, Fault(code="0402"), 503, "0402", id="no-points"),
    ],
)
def test_fastapi_answers_with_code_remedy_and_retry_after(
    monkeypatch, settings, fault, status, code
):
    """An error of the provider, HTTP 200 there, is a status with everything a caller needs."""
    emulator = MemoriesEmulator(**settings)
    if fault:
        emulator.fail("list", fault)
    with (
        as_the_real_api(emulator, monkeypatch, key="sk-bad"),
        TestClient(load("fastapi_app").app) as client,
    ):
        response = client.get("/videos")
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert response.json()["remedy"]
        assert 1 <= int(response.headers["Retry-After"]) <= 24 * 3600
        asked = len(emulator.requests)
        assert client.get("/videos").status_code == status  # told locally
        assert len(emulator.requests) == asked


def test_fastapi_a_second_worker_on_the_store(monkeypatch, tmp_path):
    """Its start fails, with the reason and what to do."""
    monkeypatch.setenv("STORE", str(tmp_path / "jobs.db"))
    with (
        TestClient(load("fastapi_app").app),
        pytest.raises(StoreBusy, match="give each process a store of its own"),
        TestClient(load("fastapi_app").app),
    ):
        pass


@pytest.mark.slow
def test_fastapi_under_uvicorn_with_two_workers(tmp_path):
    """The same with real processes: one starts, the other says why it can't."""
    ran = subprocess.run(
        [
            sys.executable, "-m", "uvicorn", "--app-dir", EXAMPLES, "fastapi_app:app",
            "--workers", "2", "--port", "0",
        ],
        env={**os.environ, "STORE": str(tmp_path / "jobs.db")},
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert ran.stderr.count("Application startup complete") == 1
    assert "writes to it; give each process a store of its own, or let one" in ran.stderr


def test_starlette_waits_for_a_job_and_shows_closed_doors(monkeypatch):
    """A route gives the end of a job; ``/health`` is 503 with the remedy while a door is closed."""
    with TestClient(load("starlette_app").app) as client:
        event = client.get("/videos/VI1/parsed").json()
        assert (event["type"], event["data"]["status"]) == ("pollers.job.succeeded", "PARSE")
        assert client.get("/health").json() == {"waiting": 0, "closed": []}
    emulator = MemoriesEmulator(keys=["sk-good"])
    with as_the_real_api(emulator, monkeypatch, key="sk-bad"):
        module = load("starlette_app")
        with TestClient(module.app) as client:
            client.portal.call(client.app_state["poller"].watch, "VI1")
            while not emulator.requests:
                client.portal.call(asyncio.sleep, 0.01)
            client.portal.call(asyncio.sleep, 0.05)
            health = client.get("/health")
            assert health.status_code == 503
            [door] = health.json()["closed"]
            assert (door["scope"], door["code"]) == ("account", "9009")
            assert "Check that the API key is valid" in door["remedy"]


async def test_aiohttp_app_in_its_cleanup_ctx(monkeypatch):
    """Session and poller live as long as the app; a refused key is 503 with the remedy."""
    async with AiohttpClient(TestServer(load("aiohttp_app").make_app())) as client:
        videos = await (await client.get("/videos")).json()
        assert {video["video_no"] for video in videos} == {"VI1", "VI2"}
        state = {"state": "watching"}
        while state["state"] == "watching":
            state = await (await client.get("/videos/VI2")).json()
            await asyncio.sleep(0.02)
        assert state == {"id": "VI2", "state": "failed", "cause": "unknown codec"}
    with as_the_real_api(MemoriesEmulator(keys=["sk-good"]), monkeypatch, key="sk-bad"):
        async with AiohttpClient(TestServer(load("aiohttp_app").make_app())) as client:
            refused = await client.get("/videos")
            assert (refused.status, (await refused.json())["code"]) == (503, "9009")


def test_plain_script_ends_with_a_code(monkeypatch, capsys):
    """1 if a video failed, 0 if none did, and 3 with code and remedy if the key is refused."""
    module = load("plain_script")
    assert [asyncio.run(module.main(numbers)) for numbers in (["VI1", "VI2"], ["VI1"])] == [1, 0]
    assert "VI1 is parsed\nVI2: unknown codec\n" in capsys.readouterr().out
    with as_the_real_api(MemoriesEmulator(keys=["sk-good"]), monkeypatch, key="sk-bad"):
        assert asyncio.run(module.main(["VI1"])) == 3
    assert "9009 Permission denied" in (said := capsys.readouterr().err)
    assert "what to do: Check that the API key is valid" in said


def test_trio_with_httpx_and_a_poller():
    """Guard, transport and poller all run on trio."""
    assert trio.run(load("trio_httpx").main) == {"VI1": "PARSE", "VI2": "unknown codec"}


def cells():
    """The cells of the notebook, the docstring's left out."""
    text = (EXAMPLES / "notebook_cell.py").read_text("utf-8")
    return re.split(r"^# %%.*\n", text, flags=re.MULTILINE)[1:]


async def run_cell(code, namespace):
    """As a kernel does it: in a loop that runs already."""
    compiled = compile(code, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = FunctionType(compiled, namespace)()
    if result is not None:
        await result


def test_notebook_cells_and_a_restarted_loop(capsys, monkeypatch):
    """All cells in one loop; then the kernel's loop is another one, and the same guard goes on."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    namespace = {"__name__": "__main__"}
    first, functions, use, watch, doors, end = cells()

    async def run(*codes):
        for code in codes:
            await run_cell(code, namespace)

    asyncio.run(run(first, functions, use, watch, doors))
    assert namespace["counted"] == 2
    guard = namespace["guard"]
    asyncio.run(run(use, watch, doors))
    assert namespace["guard"] is guard
    assert [event.status for event in namespace["ends"]] == ["PARSE", "PARSE_ERROR"]
    asyncio.run(run(end))
    assert "VI2 PARSE_ERROR unknown codec" in capsys.readouterr().out


async def get(client, path):
    """A page's status, and what it says."""
    response = await client.get(path)
    return response.status, await response.json()


async def test_healthz_of_a_poller_that_is_well(monkeypatch, tmp_path):
    """Alive and healthy; the status has the job, its guard and the sink."""
    monkeypatch.setenv("STORE", str(tmp_path / "jobs.db"))
    async with AiohttpClient(TestServer(load("healthz").make_app())) as client:
        assert await get(client, "/livez") == (200, {"alive": True})
        assert await get(client, "/healthz") == (200, {"ok": True, "alive": True, "problems": []})
        watched = await client.put("/videos/VI1")
        assert (watched.status, await watched.json()) == (202, {"id": "VI1", "state": "watching"})
        _, status = await get(client, "/status")
        while not status["sources"][0]["ended"]:
            await asyncio.sleep(0.05)
            _, status = await get(client, "/status")
        assert status["sources"][0]["ended"] == {"succeeded": 1}
        assert status["accounts"][0]["account"] == "team-a"
        assert [one["sink"] for one in status["sinks"]] == ["callback:healthz.tell"]


async def test_healthz_of_a_poller_whose_key_is_refused(monkeypatch, tmp_path):
    """Not healthy, with the remedy, but alive: a restart would mend nothing."""
    monkeypatch.setenv("STORE", str(tmp_path / "jobs.db"))
    with as_the_real_api(MemoriesEmulator(keys=["sk-good"]), monkeypatch, key="sk-bad"):
        async with AiohttpClient(TestServer(load("healthz").make_app())) as client:
            await client.put("/videos/VI1")
            status, health = await get(client, "/healthz")
            while status == 200:
                await asyncio.sleep(0.05)
                status, health = await get(client, "/healthz")
            [problem] = health["problems"]
            assert (status, problem["code"], problem["about"]) == (503, "stalled", "team-a")
            assert "Check that the API key is valid" in problem["text"]
            assert "sk-bad" not in json.dumps(health)
            assert (await client.get("/livez")).status == 200


@pytest.mark.slow
def test_healthz_is_stopped_by_term(tmp_path):
    """A supervisor's TERM: the app ends within its five seconds, and the job is in the file."""
    import signal
    import time
    import urllib.request

    import anyio

    from pollers.store.sqlite import SqliteStore

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = (
        f"from aiohttp import web; import healthz; web.run_app(healthz.make_app(), port={port})"
    )
    store = tmp_path / "jobs.db"
    running = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "STORE": str(store), "PYTHONPATH": str(EXAMPLES)},
    )  # fmt: skip
    try:
        assert "Running on" in running.stdout.readline()
        url = f"http://127.0.0.1:{port}/videos/VI-nobody-knows"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5).close()
        began = time.monotonic()
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
        assert time.monotonic() - began < 6.0
    finally:
        running.kill()
        running.stdout.close()
        running.wait()

    async def jobs():
        reader = SqliteStore(store, read_only=True)
        await reader.open()
        try:
            return [(job.key.remote_id, str(job.state)) for job in await reader.jobs()]
        finally:
            await reader.aclose()

    assert anyio.run(jobs) == [("VI-nobody-knows", "watching")]
