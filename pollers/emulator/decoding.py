"""Real decoding: open a file with PyAV, decode every picture, and say what it is or what is wrong.

PyAV is imported when the first video is decoded, so that the emulator can be used without it.
Everything here runs in a worker thread and touches nothing but the file.  The decoder's own words
are in FFmpeg's log ("moov atom not found"); PyAV keeps that log off by default, so it is on only
while something is being decoded, at the level of errors, and caught per thread.
"""

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# A playlist renamed to .mp4 must not make FFmpeg open other files or addresses.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm",
}


class UndecodableError(Exception):
    """The file is no video that can be decoded; the text is the decoder's reason."""


class StoppedError(Exception):
    """The emulator was closed while a video was being decoded."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decoded file turned out to be; duration in seconds."""

    duration: float
    fps: float
    width: int
    height: int
    frames: int


def available() -> bool:
    """Whether PyAV is installed; doesn't import it."""
    return importlib.util.find_spec("av") is not None


def decode(path: Path, stop: threading.Event) -> Facts:
    """Decode a whole file.

    Raises:
        UndecodableError: It can't be opened, has no pictures, or breaks while it is decoded.
        StoppedError: `stop` was set before the end.
    """
    import av

    with _ffmpeg_log() as lines:
        try:
            return _decode(path, stop)
        except av.error.FFmpegError as exc:
            reason = _join(exc.strerror or type(exc).__name__, lines)
            raise UndecodableError(reason) from exc
        except UndecodableError as exc:
            raise UndecodableError(_join(str(exc), lines)) from exc


def _decode(path: Path, stop: threading.Event) -> Facts:
    import av

    with av.open(str(path), options=_OPTIONS) as container:
        if not container.streams.video:
            raise UndecodableError("The file has no video stream")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # the workers are the concurrency
        frames = 0
        for _ in container.decode(stream):
            frames += 1
            if stop.is_set():
                raise StoppedError
        if not frames:
            raise UndecodableError("No picture could be decoded")
        fps = float(stream.average_rate or 0.0)
        return Facts(
            duration=(container.duration or 0) / av.time_base or (frames / fps if fps else 0.0),
            fps=fps,
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            frames=frames,
        )


def _join(reason: str, lines: list[tuple[int, str, str]]) -> str:
    said = [line for line in dict.fromkeys(text.strip() for _, _, text in lines) if line]
    return f"{reason}: {said[0]}" if said else reason


_log_lock = threading.Lock()
_log_users = 0
_log_before: tuple[int | None, bool] = (None, True)


@contextmanager
def _ffmpeg_log() -> Iterator[list[tuple[int, str, str]]]:
    """Catch this thread's error lines; FFmpeg's level is one per process, so users are counted."""
    import av.logging

    global _log_users, _log_before  # noqa: PLW0603 these switches are global in PyAV too
    with _log_lock:
        if _log_users == 0:
            _log_before = av.logging.get_level(), av.logging.get_skip_repeated()
            av.logging.set_level(av.logging.ERROR)
            av.logging.set_skip_repeated(False)  # else a second broken file has no reason
        _log_users += 1
    try:
        with av.logging.Capture() as lines:
            yield lines
    finally:
        with _log_lock:
            _log_users -= 1
            if _log_users == 0:
                av.logging.set_level(_log_before[0])
                av.logging.set_skip_repeated(_log_before[1])
