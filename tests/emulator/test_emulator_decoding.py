"""Real files, really decoded; and the samples themselves."""

import asyncio
import math
import threading
import time
from pathlib import Path
from typing import Any, get_args

import pytest

from pollers.emulator import Settings, Video, samples
from pollers.emulator.decoding import StoppedError, UndecodableError, decode

av = pytest.importorskip("av")


async def ended(api, video_no: str) -> dict[str, Any]:
    """Poll until the video has ended, and return its metadata."""
    async with asyncio.timeout(3):
        while (data := (await api.metadata(video_no))["data"])["status"] == "UNPARSE":
            await asyncio.sleep(0.01)
    return data


@pytest.mark.parametrize("codec", [None, "mpeg4"])
async def test_facts_come_from_the_file(start, tmp_path, codec) -> None:
    """Duration, size and shape of an uploaded video are those of the file."""
    api = await start(decode=True)
    path = samples.write_video(
        tmp_path / "cat.mp4", seconds=2.0, size=(320, 240), fps=10, codec=codec
    )
    data = await ended(api, (await api.upload(path))["data"]["videoNo"])
    assert data["status"] == "PARSE"
    assert (data["duration"], data["size"]) == (2, path.stat().st_size)
    assert (data["fps"], data["width"], data["height"]) == (10, 320, 240)
    assert data["resolution_label"] == "240p"
    assert "cause" not in data


async def test_facts_are_text_in_2025(start, tmp_path) -> None:
    """The dialect of 2025 makes strings of all these numbers."""
    api = await start(decode=True, dialect="2025")
    path = samples.write_video(tmp_path / "cat.mp4", seconds=1.0, fps=10)
    data = await ended(api, (await api.upload(path))["data"]["videoNo"])
    assert (data["duration"], data["fps"], data["width"], data["height"]) == (
        "1",
        "10",
        "160",
        "120",
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "moov atom not found"),
        ("garbage", "Invalid NAL unit size"),
        ("text", "moov atom not found"),
        ("empty", "Invalid data found when processing input"),
    ],
)
async def test_broken_files_fail_with_the_decoders_reason(start, tmp_path, kind, reason) -> None:
    """A broken file ends in the failure status, and the cause is what the decoder said."""
    api = await start(decode=True, failure_word="FAILED")
    for seed in (1, 2):  # FFmpeg's log swallows repeated lines unless it is told not to
        path = samples.write_broken(tmp_path / "broken.mp4", kind=kind, seed=seed)
        data = await ended(api, (await api.upload(path))["data"]["videoNo"])
        assert data["status"] == "FAILED"
        assert reason in data["cause"]


async def test_sound_without_pictures(start, tmp_path) -> None:
    """A file that only has sound is no video."""
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    api = await start(decode=True)
    data = await ended(api, (await api.upload(path))["data"]["videoNo"])
    assert data["status"] == "PARSE_ERROR"
    assert data["cause"].startswith("The file has no video stream")


def test_a_playlist_is_not_followed(tmp_path) -> None:
    """A playlist renamed to .mp4 doesn't make the decoder open the file it names."""
    samples.write_video(tmp_path / "cat.mp4")
    path = tmp_path / "list.mp4"
    path.write_text("ffconcat version 1.0\nfile cat.mp4\n")
    with pytest.raises(UndecodableError):
        decode(path, threading.Event())


def test_a_decode_can_be_stopped(tmp_path) -> None:
    """A decode looks at its flag after every picture."""
    path = samples.write_video(tmp_path / "cat.mp4")
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        decode(path, stop)


async def test_the_decoders_log_is_left_as_it_was(start, tmp_path) -> None:
    """FFmpeg's log, which is one per process, has its old level after a decode."""
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    api = await start(decode=True)
    path = samples.write_broken(tmp_path / "broken.mp4", kind="text")
    await ended(api, (await api.upload(path))["data"]["videoNo"])
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before


async def test_a_dozen_at_the_same_time(start, tmp_path) -> None:
    """Sound and broken videos uploaded together each get their own verdict and reason."""
    api = await start(decode=True)
    paths = [samples.write_video(tmp_path / f"{n}.mp4", seed=n) for n in range(6)]
    kinds = ["truncated", "garbage"] * 3
    paths += [samples.write_broken(tmp_path / f"b{n}.mp4", kind=k) for n, k in enumerate(kinds)]
    bodies = await asyncio.gather(*(api.upload(path) for path in paths))
    results = [await ended(api, body["data"]["videoNo"]) for body in bodies]
    assert [result["status"] for result in results] == ["PARSE"] * 6 + ["PARSE_ERROR"] * 6
    reasons = [result["cause"] for result in results[6:]]
    assert all("moov atom not found" in reason for reason in reasons[::2])
    assert all("NAL" in reason for reason in reasons[1::2])


async def test_parse_seconds_may_be_a_function(start, tmp_path) -> None:
    """The time of parsing is counted from the upload, by a function that knows the duration."""
    asked = []

    def seconds(video) -> float:
        asked.append(video.duration)
        return 0.3

    api = await start(decode=True, parse_seconds=seconds)
    path = samples.write_video(tmp_path / "cat.mp4", seconds=1.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await ended(api, (await api.upload(path))["data"]["videoNo"])
    assert 0.3 <= loop.time() - began < 1.0
    assert asked == [1.0]


async def test_default_parse_time_grows_with_the_duration(start, unlimited) -> None:
    """If nothing is said, longer videos take longer."""
    settings = Settings(limits=unlimited)
    short = settings.seconds_for(Video(video_no="VI1", name="", duration=1.0))
    long = settings.seconds_for(Video(video_no="VI2", name="", duration=100.0))
    assert 0.0 < short < long < math.inf


async def test_files_are_removed(start, tmp_path) -> None:
    """A file is gone when it is parsed, and the directory when the emulator is closed."""
    api = await start(decode=True)
    directory = Path(api.emulator._state.engine.directory.name)
    path = samples.write_video(tmp_path / "cat.mp4")
    await ended(api, (await api.upload(path))["data"]["videoNo"])
    assert list(directory.iterdir()) == []
    await api.upload(path)
    await api.emulator.close()
    assert not directory.exists()


async def test_close_stops_a_decode(start, tmp_path) -> None:
    """Closing ends a long decode at its next picture, and its thread with it."""
    api = await start(decode=True)
    path = samples.write_video(tmp_path / "long.mp4", seconds=60, size=(320, 240), fps=15)
    await api.upload(path)
    await asyncio.sleep(0.05)
    began, halt = time.perf_counter(), api.emulator._state.engine.halt
    await api.emulator.close()
    assert halt.is_set()
    assert time.perf_counter() - began < 0.5
    assert not [t for t in threading.enumerate() if t.name.startswith("emulator-decode")]


def test_samples_are_quick(tmp_path) -> None:
    """A dozen videos are made in less than four seconds."""
    began = time.perf_counter()
    for number in range(12):
        samples.write_video(tmp_path / f"{number}.mp4", seconds=2, size=(320, 240), seed=number)
    assert time.perf_counter() - began < 4.0


def test_samples_are_repeatable(tmp_path) -> None:
    """Equal seeds make equal files, other seeds other ones, and the pictures move."""
    first, same, other = (
        samples.write_video(tmp_path / f"{n}.mp4", seed=seed).read_bytes()
        for n, seed in enumerate((1, 1, 2))
    )
    assert first == same != other
    with av.open(str(tmp_path / "0.mp4")) as container:
        pictures = [bytes(frame.planes[0]) for frame in container.decode(video=0)]
    assert len(pictures) == 15
    assert len(set(pictures)) == 15


def test_broken_kinds(tmp_path) -> None:
    """Every documented kind is written, and an unknown one is an error."""
    for kind in get_args(samples.BrokenKind):
        assert samples.write_broken(tmp_path / f"{kind}.mp4", kind=kind).exists()
    with pytest.raises(ValueError, match="kind must be one of"):
        samples.write_broken(tmp_path / "x.mp4", kind="odd")
