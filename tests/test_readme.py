"""Every Python block of the README is executed, in order, in one namespace, against the emulator."""

import aiohttp
from snippets_kit import ROOT, VIDEO, blocks, run_python

from pollers.emulator import MemoriesEmulator

README = ROOT / "README.md"


def python_blocks():
    return [one for one in blocks(README.read_text("utf-8")) if one.language == "python"]


def test_the_readme_keeps_its_size():
    """80 to 150 lines: long enough to start, short enough to read."""
    assert 80 <= len(README.read_text("utf-8").splitlines()) <= 150


async def test_every_snippet_runs(tmp_path, monkeypatch):
    """What the README shows works as it stands; only the address is the emulator's."""
    monkeypatch.chdir(tmp_path)
    printed = ""
    async with MemoriesEmulator() as emulator:
        emulator.add_video(VIDEO, parse_after=0)
        namespace = {"__name__": "readme", "base_url": emulator.base_url}
        async with aiohttp.ClientSession(headers={"Authorization": "sk"}) as namespace["session"]:
            for block in python_blocks():
                printed += await run_python(block.text, namespace, str(README))
                if "async def main(" in block.text:
                    ending = f"await main({emulator.base_url!r}, 'sk')"
                    printed += await run_python(ending, namespace, str(README))
        assert namespace["body"]["data"]["videos"][0]["video_no"] == VIDEO
    assert "PARSE" in printed
    assert "quota window codes.0429" in printed
