"""Runs what documents show: code, files and commands, in order, and compares the output they show.

* ``python`` runs in one namespace a document, and may await; what comes after it as ``text`` is its output.
* A block with a ``title`` is a file of that name.
* ``console`` has commands behind ``$`` and their output below; a ``…`` in any output stands for anything.
  A command that ends in ``&`` runs until the document ends; what would install or build is looked up only.
* Blocks inside an HTML comment are run too: readers don't see them.
"""

import ast
import contextlib
import fnmatch
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import anyio.to_thread
from aiohttp import web

from pollers.emulator import MemoriesEmulator

ROOT = Path(__file__).parent.parent
VIDEO = "VI568102998803353600"
PORT = "8080"
"""The port that documents name; a free one is taken instead."""

_FENCE = re.compile(
    r"^( *)```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL
)
_OWN_LOOP = ("run_virtual(", "asyncio.run(", "anyio.run(", "trio.run(")
_MARK = "@@ next @@"


@dataclass
class Block:
    """One fenced block."""

    language: str
    title: str | None
    text: str


def blocks(document):
    """The blocks of a document, hidden ones too, in order."""
    found = []
    for indent, language, title, text in _FENCE.findall(document):
        lines = (line.removeprefix(indent) for line in text.splitlines())
        found.append(Block(language, title or None, "\n".join(lines) + "\n"))
    return found


# -- code -------------------------------------------------------------------------------------


async def run_python(code, namespace, source):
    """Execute a block whose top level may await; gives what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if any(word in code for word in _OWN_LOOP):
            compiled = compile(code, source, "exec")
            await anyio.to_thread.run_sync(lambda: exec(compiled, namespace))
        else:
            compiled = compile(code, source, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = FunctionType(compiled, namespace)()
            if result is not None:
                await result
    return printed.getvalue()


# -- commands ---------------------------------------------------------------------------------


def commands(text):
    """Pairs of command and expected output."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(output)) for command, output in found]


def environment():
    """Our programs first, and no colours."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "100"}


def look_up(command):
    """True if it would install or build; what it names has to be there."""
    program, *words = command.split()
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert set(words) <= {*targets}, command
        return True
    if program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        extras = re.search(r"resilience-pollers(?:\[(.*?)\])?", command)
        asked = set((extras[1] or "").split(",")) - {""}
        assert asked <= {*project["optional-dependencies"]}, command
        return True
    return False


@dataclass
class Shell:
    """Commands in a folder; those in the background end with it."""

    cwd: Path

    def __post_init__(self):
        self.running = []

    def run(self, text):
        """Run the commands of a block; their output must be what stands below them."""
        pairs = [pair for pair in commands(text) if not look_up(pair[0])]
        foreground = [pair for pair in pairs if not pair[0].endswith("&")]
        for command, expected in pairs:
            if command.endswith("&"):
                assert_like(self._begin(command.removesuffix("&")), expected, command)
        script = "\n".join(f"{c}; s=$?; echo '{_MARK}'; (exit $s)" for c, _ in foreground)
        ran = subprocess.run(
            ["bash", "-c", script], cwd=self.cwd, env=environment(), text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=50,
        )  # fmt: skip
        for (command, expected), output in zip(
            foreground, ran.stdout.split(f"{_MARK}\n"), strict=False
        ):
            assert_like(output, expected, command)

    def _begin(self, command):
        log = self.cwd / f"background-{len(self.running)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.cwd, env=environment(), stdout=out,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.running.append(process)
        until = time.monotonic() + 20
        while "http" not in log.read_text() and time.monotonic() < until:
            time.sleep(0.05)
        return log.read_text()

    def close(self):
        """End what is in the background."""
        for process in self.running:
            process.terminate()
            process.wait()


def assert_like(output, expected, source):
    """Line by line, ``…`` standing for anything; what shows no output may print what it likes."""
    if not expected.strip():
        return
    pattern = "\n".join(line.rstrip() for line in expected.strip().splitlines())
    pattern = re.sub(r"([\[\]?*])", lambda found: f"[{found[1]}]", pattern).replace("…", "*")
    plain = "\n".join(line.rstrip() for line in output.strip().splitlines())
    assert fnmatch.fnmatchcase(plain, pattern), f"{source}\n{plain}\n--- is not ---\n{expected}"


# -- documents --------------------------------------------------------------------------------


async def fake_api(stack, *replies):
    """An API of somebody else on this machine: bodies, or pairs of status and body, the last for ever.

    Gives its address.
    """
    left = list(replies)

    async def answer(_request):
        reply = left.pop(0) if len(left) > 1 else left[0]
        status, body = reply if isinstance(reply, tuple) else (200, reply)
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


def free_port():
    """A port that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


async def run_document(document, cwd, source):
    """Run all of it in a folder, with an emulator that it may use; gives the namespace."""
    document = document.replace(PORT, free_port())
    async with contextlib.AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(MemoriesEmulator())
        emulator.add_video(VIDEO)
        shell = Shell(cwd)
        stack.callback(shell.close)
        namespace = {
            "__name__": "snippet",
            "emulator": emulator,
            "base_url": emulator.base_url,
            "host": emulator.host,
            "fake_api": lambda *replies: fake_api(stack, *replies),
        }
        printed = ""
        for block in blocks(document):
            if block.title:
                (cwd / block.title).write_text(block.text, "utf-8")
            elif block.language == "python":
                printed = await run_python(block.text, namespace, source)
            elif block.language == "console":
                await anyio.to_thread.run_sync(shell.run, block.text)
            elif block.language == "text":
                assert_like(printed, block.text, source)
    return namespace
