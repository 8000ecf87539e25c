"""``pollers demo``: the main job on real videos, with everything that goes wrong on the way.

An emulated provider on loopback really decodes what is uploaded.  Fifteen videos (three of them
broken) go up through a guarded session, under a tight limit and a balance that runs out.  A second
process, ``pollers watch``, waits for their ends; half-way it is killed (-9) and started again on the
same file.  Nothing may be lost, and the summary proves it from what was really sent and stored.
"""

import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import aiohttp
import anyio
import click
import msgspec
from anyio.streams.text import TextReceiveStream

from pollers._core.events import TERMINAL, Event, event_of
from pollers.cli import OK, SOME_FAILED
from pollers.cli.board import Board, summary
from pollers.emulator import Fault, MemoriesEmulator, Video
from pollers.store.sqlite import SqliteStore
from resilience import CallRecord, Guard, Policy, QuotaError, quota

GOOD = 12
BROKEN: tuple[Literal["truncated", "garbage", "text"], ...] = ("truncated", "garbage", "text")
KEY = "sk-demo"
Upload = Callable[[], Awaitable[Any]]
UPLOADS_PER_SECOND = 3
POINTS = 9
KILL_AFTER = 5
"""Terminal events after which the poller is killed."""


@dataclass(slots=True, kw_only=True)
class Story:
    """Everything that the demo learns on its way."""

    policy: Policy
    calls: list[CallRecord] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)
    """Video number by file name."""
    ended_at: dict[str, float] = field(default_factory=dict)
    """When the provider was done with a video, wall time."""
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The terminal events that ``pollers watch`` printed, by video number."""
    printed: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    started: float = field(default_factory=time.monotonic)


async def demo(*, keep: str | None, plain: bool, seed: int) -> int:
    """Run the whole story; 0 if it ended as it should."""
    with _folder(keep) as folder:
        policy = Policy.load("memories_ai").with_codes(
            {"0402": quota("exhausted", scope="account", probe_every=2.0)}
        )
        story = Story(policy=policy)
        board = Board(plain=plain or not sys.stdout.isatty())
        board.say(f"making {GOOD} real videos and {len(BROKEN)} broken ones in {folder}")
        files = await anyio.to_thread.run_sync(partial(_make_videos, folder, seed))
        chance = random.Random(seed)  # noqa: S311  # a demonstration
        async with MemoriesEmulator(
            limits={"upload": (UPLOADS_PER_SECOND, 1.0), "list": (2, 1.0)},
            keys=[KEY],
            points=POINTS,
            parse_seconds=lambda _: chance.uniform(8.0, 20.0),
            seed=seed,
        ) as emulator:
            emulator.fail("upload", Fault(status=503, body="html", headers={"Retry-After": "1"}))
            board.say(f"the emulated provider listens at {emulator.base_url}")
            with board:
                await _upload_all(emulator, story, board, files)
                await _watch_all(emulator, story, board, folder / "jobs.db")
            _note_ends(emulator, story)
            stored = await _stored(folder / "jobs.db")
            good = _is_as_it_should(story, stored)
            summary(story, emulator.requests, stored, good=good)
        return OK if good else SOME_FAILED


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep:
        Path(keep).mkdir(parents=True, exist_ok=True)
        if any(Path(keep).iterdir()):
            raise click.UsageError(f"--keep {keep}: give a folder that is empty or does not exist")
        yield Path(keep)
        return
    with tempfile.TemporaryDirectory(prefix="pollers-demo-") as name:
        yield Path(name)


def _make_videos(folder: Path, seed: int) -> list[Path]:
    from pollers.emulator.samples import write_broken, write_video

    try:
        good = [
            write_video(folder / f"clip-{n:02}.mp4", seconds=1.0 + n % 4, seed=seed + n)
            for n in range(1, GOOD + 1)
        ]
    except ModuleNotFoundError as error:  # pragma: no cover  # depends on what is installed
        need = "the demo needs real videos: pip install 'resilience-pollers[emulator]'"
        raise click.UsageError(f"{need} ({error})") from None
    bad = [write_broken(folder / f"broken-{kind}.mp4", kind=kind, seed=seed) for kind in BROKEN]
    return [*good[:2], *bad, *good[2:]]


FAULTS = (
    Fault(code="0001", msg="network abnormal, please retry"),
    Fault(body="truncated"),
    Fault(abort="middle"),
    Fault(status=502, body="html"),
)
"""What happens to looks, one every other second, besides the limits."""


async def _make_trouble(emulator: MemoriesEmulator) -> None:
    for fault in FAULTS:
        await anyio.sleep(2.0)
        emulator.fail("list", fault)


# -- uploading ---------------------------------------------------------------------------------


async def _upload_all(
    emulator: MemoriesEmulator, story: Story, board: Board, files: list[Path]
) -> None:
    guard = Guard(story.policy, "demo", observe=partial(_note_call, story))
    middlewares = [guard.aiohttp(hosts=[emulator.host])]
    headers = {"Authorization": KEY}
    async with (
        aiohttp.ClientSession(middlewares=middlewares, headers=headers) as session,
        anyio.create_task_group() as tasks,
    ):
        for path in files:
            board.file(path.name)
            upload = _uploader(emulator, guard, session, path)
            tasks.start_soon(_upload, emulator, story, board, upload, path.name)


def _note_call(story: Story, record: Any) -> None:
    if isinstance(record, CallRecord):
        story.calls.append(record)


def _uploader(
    emulator: MemoriesEmulator, guard: Guard, session: aiohttp.ClientSession, path: Path
) -> Upload:
    content = path.read_bytes()

    @guard
    async def upload() -> Any:
        form = aiohttp.FormData()
        form.add_field("file", content, filename=path.name, content_type="video/mp4")
        async with session.post(f"{emulator.base_url}/upload", data=form) as response:
            return await response.json(content_type=None)

    return upload


async def _upload(
    emulator: MemoriesEmulator, story: Story, board: Board, upload: Upload, name: str
) -> None:
    board.status(name, "uploading")
    while True:
        try:
            body = await upload()
            break
        except QuotaError as error:
            await _pay(emulator, board, error)
    number = body["data"]["videoNo"]
    story.numbers[name] = number
    board.status(name, "UNPARSE", number)


async def _pay(emulator: MemoriesEmulator, board: Board, error: QuotaError) -> None:
    """What a person does about 0402; the first task that meets it tops up, the others wait."""
    if emulator.balance() == 0:
        board.say(f"{error.code} {error.title}  ({error.remedy})  -> topping up 100 points")
        emulator.top_up(100)
    await anyio.sleep((error.retry_after or 0.0) + 0.05)


# -- watching ----------------------------------------------------------------------------------


async def _watch_all(emulator: MemoriesEmulator, story: Story, board: Board, store: Path) -> None:
    """Run ``pollers watch`` until everything ended, killing it once on the way."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_follow, emulator, story, board)
        tasks.start_soon(_make_trouble, emulator)
        while len(story.seen) < len(story.numbers):
            story.printed.clear()
            process = await _start_watch(emulator, story, store)
            try:
                await _read_events(process, story, board)
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                await process.aclose()
            if process.returncode not in (0, 1, -9):
                break
        tasks.cancel_scope.cancel()


async def _start_watch(emulator: MemoriesEmulator, story: Story, store: Path) -> Any:
    command = [
        sys.executable, "-m", "pollers.cli", "watch", "--base-url", emulator.base_url,
        "--account", "demo", "--api-key-env", "POLLERS_DEMO_KEY", "--store", str(store),
        "--deadline", "120", "--output", "jsonl", *story.numbers.values(),
    ]  # fmt: skip
    environment = {**os.environ, "POLLERS_DEMO_KEY": KEY}
    return await anyio.open_process(command, stderr=None, env=environment)


async def _read_events(process: Any, story: Story, board: Board) -> None:
    rest = ""
    async for text in TextReceiveStream(process.stdout):
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            event = msgspec.json.decode(line)
            story.printed[event["subject"]] += 1
            story.seen[event["subject"]] = event
            board.ended(event)
        if not story.kills and len(story.seen) >= KILL_AFTER:
            story.kills += 1
            board.say(
                f"kill -9 of the poller (pid {process.pid}), {len(story.seen)} of "
                f"{len(story.numbers)} ended; starting it again on the same file"
            )
            process.kill()
            return


async def _follow(emulator: MemoriesEmulator, story: Story, board: Board) -> None:
    """Show on the board what the provider knows, which the poller has yet to find out."""
    names = {number: name for name, number in story.numbers.items()}
    while True:
        now = anyio.current_time()
        for number, video in emulator.videos.items():
            if video.ended_at(now) and number not in story.seen:
                board.status(names[number], "done, not seen yet", number)
        await anyio.sleep(0.1)


def _note_ends(emulator: MemoriesEmulator, story: Story) -> None:
    offset = time.time() - anyio.current_time()

    def wall(video: Video) -> float:
        return video.terminal_at + offset

    story.ended_at.update({number: wall(video) for number, video in emulator.videos.items()})


async def _stored(path: Path) -> list[Event]:
    store = SqliteStore(str(path), read_only=True)
    await store.open()
    try:
        rows = await store.events(0, 10_000)
        return [event_of(row, store.uuid) for row in rows]
    finally:
        await store.aclose()


def _is_as_it_should(story: Story, stored: list[Event]) -> bool:
    """Every video has exactly one terminal event, and the broken ones are those that failed."""
    ends = Counter(event.subject for event in stored if isinstance(event, TERMINAL))
    broken = {number for name, number in story.numbers.items() if name.startswith("broken")}
    failed = {
        number for number, event in story.seen.items() if event["type"] == "pollers.job.failed"
    }
    return (
        len(story.numbers) == GOOD + len(BROKEN)
        and ends == Counter(story.numbers.values())
        and set(story.printed.values()) == {1}
        and failed == broken
        and story.kills == 1
    )
