"""Starting, closing, serving, virtual time, and what the package imports."""

import ast
import asyncio
import dataclasses
import gc
import selectors
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

import pollers.emulator
from pollers.emulator import Fault, MemoriesEmulator, Settings, serve
from pollers.emulator.settings import Options


def others() -> set[asyncio.Task]:
    """All tasks but the test's own."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_nothing_outlives_close(start, unlimited) -> None:
    """Closing ends parsing, callbacks, slow requests and their connections at once."""
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(headers={"Authorization": "sk"}) as session:
        emulator = MemoriesEmulator(limits=unlimited, decode=False)
        async with emulator:
            emulator.add_video("VI1", parse_after=60, callback="http://127.0.0.1:1/")
            emulator.fail("list", Fault(delay=float("inf")), Fault(delay=60, abort="before"))
            url = f"{emulator.base_url}/list_videos"
            slow = [asyncio.ensure_future(session.post(url, json={})) for _ in range(2)]
            while emulator.faults:
                await asyncio.sleep(0.005)
            began = loop.time()
        assert loop.time() - began < 0.4
        for result in await asyncio.gather(*slow, return_exceptions=True):
            if isinstance(result, aiohttp.ClientResponse):
                result.release()
    assert others() == set()
    gc.collect()


async def test_close_does_not_wait_for_a_slow_upload(unlimited) -> None:
    """A client that sends half a body and then nothing can't keep the emulator open."""
    loop = asyncio.get_running_loop()
    async with MemoriesEmulator(limits=unlimited, decode=False) as emulator:
        _, writer = await asyncio.open_connection(emulator.host, emulator.port)
        writer.write(
            b"POST /serve/api/v1/upload HTTP/1.1\r\nHost: x\r\nAuthorization: sk\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99\r\n\r\n--b\r\n"
        )
        await asyncio.sleep(0.05)
        began = loop.time()
    assert loop.time() - began < 1.5
    assert others() == set()
    writer.close()


async def test_close_twice_and_start_again() -> None:
    """Closing twice is harmless, starting twice is an error, and a port can be had again."""
    emulator = MemoriesEmulator(decode=False)
    await emulator.start()
    with pytest.raises(RuntimeError, match="already running"):
        await emulator.start()
    port = emulator.port
    assert port != 0
    await emulator.close()
    await emulator.close()
    async with MemoriesEmulator(port=port, decode=False) as again:
        assert again.base_url == f"http://127.0.0.1:{port}/serve/api/v1"
        taken = MemoriesEmulator(port=port, decode=False)
        with pytest.raises(OSError, match="in use"):
            await taken.start()
    assert others() == set()


async def test_serve_runs_until_cancelled() -> None:
    """serve() tells when it listens, answers, and leaves nothing behind when it is cancelled."""
    ready: asyncio.Future[MemoriesEmulator] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(
        serve(port=0, ready=ready.set_result, dialect="2025", decode=False)
    )
    emulator = await ready
    async with aiohttp.ClientSession() as session:
        url = f"{emulator.base_url}/list_videos"
        async with session.post(url, json={}, headers={"Authorization": "sk"}) as response:
            assert (await response.json())["data"]["total_count"] == "0"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert others() == set()


async def test_decoding_that_cannot_be_done(monkeypatch, unlimited) -> None:
    """Without PyAV decode=True is an error at the start, and by default parsing is scripted."""
    monkeypatch.setattr("pollers.emulator.decoding.available", lambda: False)
    with pytest.raises(ImportError, match="PyAV"):
        await MemoriesEmulator(decode=True).start()
    async with MemoriesEmulator(limits=unlimited) as emulator:
        assert emulator.port
    assert others() == set()


async def test_a_broken_script_is_heard_of(start, caplog) -> None:
    """An error in a function of the settings is logged, not lost."""

    def seconds(_) -> float:
        raise ZeroDivisionError

    api = await start(parse_seconds=seconds)
    await api.upload()
    async with asyncio.timeout(1):
        while not caplog.records:
            await asyncio.sleep(0.005)
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


async def test_not_running() -> None:
    """What needs a running emulator says so."""
    emulator = MemoriesEmulator(decode=False)
    with pytest.raises(RuntimeError, match="not running"):
        emulator.add_video("VI1", callback="http://127.0.0.1:1/")
    with pytest.raises(ValueError, match="can't be changed"):
        emulator.configure(seed=3)


@pytest.mark.parametrize(
    "fields",
    [
        {"dialect": "1999"},
        {"wrong_key_code": "0403"},
        {"repeated_delete": "maybe"},
        {"limits": {"gossip": (1, 1.0)}},
        {"chat_end": "silence"},
        {"limits": {"list": (-1, 1.0)}},
        {"callback_loss": 1.1},
        {"callback_early": -0.1},
        {"callback_doubled": 2},
        {"callback_forged": float("nan")},
    ],
    ids=str,
)
def test_bad_settings(fields) -> None:
    """A setting nobody could mean is refused when the emulator is made."""
    with pytest.raises(ValueError, match=r"must be|unknown|needs"):
        MemoriesEmulator(**fields)


def test_options_are_the_settings() -> None:
    """The keyword arguments and the fields of Settings are the same, with the same types."""
    fields = {field.name: field.type for field in dataclasses.fields(Settings)}
    assert Options.__annotations__ == fields


def test_public_names_are_sorted() -> None:
    """The front door lists its names in order, and has them all."""
    assert list(pollers.emulator.__all__) == sorted(pollers.emulator.__all__)
    assert all(hasattr(pollers.emulator, name) for name in pollers.emulator.__all__)


def test_the_room_stands_alone() -> None:
    """No module imports anything of the project from outside its own folder."""
    for path in Path(pollers.emulator.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, path
            elif isinstance(node, ast.ImportFrom | ast.Import):
                names = [alias.name for alias in node.names]
                modules = [getattr(node, "module", None), *names]
                roots = {
                    name.split(".")[0]
                    for name in modules
                    if name and not name.startswith("pollers.emulator.")  # of its own folder
                }
                assert not roots & {"pollers", "resilience"}, path


def test_pyav_is_optional() -> None:
    """The package is imported where PyAV isn't installed."""
    script = (
        "import sys; sys.modules['av'] = None\n"
        "import pollers.emulator, pollers.emulator.samples, pollers.emulator.decoding\n"
        "print([m for m in sys.modules if m.startswith('av.')])"
    )
    root = Path(pollers.emulator.__file__).parents[2]
    done = subprocess.run(  # noqa: S603 our own interpreter
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


class JumpingSelector(selectors.DefaultSelector):
    """Jumps over waiting times: nothing ready means that the clock may move on."""

    now = 0.0

    def select(self, timeout: float | None = None):
        """Return what is ready; if nothing is, say that the time is over."""
        ready = super().select(0.002 if timeout else 0)
        if not ready and timeout:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock is its selector's."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that were jumped over so far."""
        return self._jumping.now


def test_virtual_time() -> None:
    """Under a loop with its own clock, an hour of parsing and limits takes no time."""

    async def main() -> list[str]:
        async with MemoriesEmulator(decode=False) as emulator, aiohttp.ClientSession() as session:
            emulator.add_video("VI1", parse_after=3600)
            emulator.set_limit("metadata", 1, 60.0)
            emulator.fail("metadata", Fault(delay=100.0))
            url, seen = f"{emulator.base_url}/get_metadata?video_no=VI1", []
            for wait in (0, 10, 3590):
                await asyncio.sleep(wait)
                async with session.get(url, headers={"Authorization": "sk"}) as response:
                    body = await response.json()
                    seen.append(body["data"]["status"] if body["code"] == "0000" else body["code"])
            return seen

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(main()) == ["UNPARSE", "0429", "PARSE"]
