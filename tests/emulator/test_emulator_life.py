"""Starting, closing, serving, virtual time, and what the package imports."""

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
        {"limits": {"chat": (1, 1.0)}},
        {"limits": {"list": (-1, 1.0)}},
    ],
    ids=lambda fields: str(fields),
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


def test_imports() -> None:
    """The package needs neither PyAV nor any other room of the project."""
    script = (
        "import sys; sys.modules['av'] = None\n"
        "import pollers.emulator, pollers.emulator.samples\n"
        "ours = [m for m in sys.modules if m.split('.')[0] == 'resilience'"
        " or (m.startswith('pollers.') and not m.startswith('pollers.emulator'))]\n"
        "print(ours if not hasattr(sys.modules['pollers'], '__all__') else [])"
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
