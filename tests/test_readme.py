"""Every Python block of the README is executed, in order, in one namespace, against the emulator."""

import ast
import re
from pathlib import Path
from types import FunctionType

import aiohttp

from pollers.emulator import MemoriesEmulator

README = Path(__file__).parent.parent / "README.md"
VIDEO = "VI568102998803353600"


def blocks():
    return re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_readme_keeps_its_size():
    """80 to 150 lines: long enough to start, short enough to read."""
    assert 80 <= len(README.read_text("utf-8").splitlines()) <= 150


async def run(code, namespace):
    """Execute a block whose top level may await."""
    compiled = compile(code, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = FunctionType(compiled, namespace)()
    if result is not None:
        await result


async def test_every_snippet_runs(tmp_path, monkeypatch, capsys):
    """What the README shows works as it stands; only the address is the emulator's."""
    monkeypatch.chdir(tmp_path)
    async with MemoriesEmulator() as emulator:
        emulator.add_video(VIDEO, parse_after=0)
        namespace = {"__name__": "readme", "base_url": emulator.base_url}
        async with aiohttp.ClientSession(headers={"Authorization": "sk"}) as namespace["session"]:
            for code in blocks():
                if "run_virtual" in code:
                    import anyio.to_thread

                    await anyio.to_thread.run_sync(lambda code=code: exec(code, namespace))
                else:
                    await run(code, namespace)
                if "async def main(" in code:
                    await namespace["main"](emulator.base_url, "sk")
        assert namespace["body"]["data"]["videos"][0]["video_no"] == VIDEO
    printed = capsys.readouterr().out
    assert "PARSE" in printed
    assert "quota window codes.0429" in printed
