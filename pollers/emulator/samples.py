"""Small real videos, and files that look like videos and are none.

The pictures are a diagonal ramp that moves, with its speed and colour taken from the seed, so that
the encoder has motion to find.  Planes are filled from bytes; numpy isn't needed.  PyAV is.
"""

import random
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.video.plane import VideoPlane

BrokenKind = Literal["truncated", "garbage", "text", "empty"]

_RAMP = bytes(range(256))
_HEADER = 8
_LONG_HEADER = 16


def write_video(
    path: str | Path,
    *,
    seconds: float = 1.0,
    size: tuple[int, int] = (160, 120),
    fps: int = 15,
    seed: int = 0,
    codec: str | None = None,
) -> Path:
    """Write a short MP4 with moving pictures.

    Args:
        path: Where to write it; replaced if it exists.
        seconds: Duration; at least one picture is written.
        size: Width and height in pixels, both even.
        fps: Pictures a second.
        seed: Equal seeds give equal pictures.
        codec: An encoder of FFmpeg; by default H.264, or MPEG-4 where x264 is missing.

    Returns:
        The path.
    """
    import av

    if codec is None:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    fast = {"preset": "ultrafast"} if codec == "libx264" else {}
    with av.open(str(path), "w", format="mp4") as container:
        stream = cast("VideoStream", container.add_stream(codec, rate=fps, options=fast))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(max(1, round(seconds * fps))):
            frame = _picture(size, number, _chance(seed))
            frame.pts = number
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(path)


def write_broken(path: str | Path, *, kind: BrokenKind, seed: int = 0) -> Path:
    """Write a file that ends in a failed parsing.

    Args:
        path: Where to write it; replaced if it exists.
        kind: "truncated" (an MP4 cut before its index), "garbage" (a sound header and index over
            random bytes, so that it opens and fails in decoding), "text", or "empty".
        seed: Equal seeds give equal files.

    Returns:
        The path.

    Raises:
        ValueError: There is no such kind.
    """
    target = Path(path)
    if kind == "text":
        target.write_text("This is a letter, and it was renamed to a video.\n" * 40)
    elif kind == "empty":
        target.write_bytes(b"")
    elif kind == "truncated":
        write_video(target, seconds=0.5, seed=seed)
        start, end = _payload(target.read_bytes())
        target.write_bytes(target.read_bytes()[: (start + end) // 2])
    elif kind == "garbage":
        write_video(target, seconds=0.5, seed=seed)
        content = bytearray(target.read_bytes())
        start, end = _payload(content)
        content[start:end] = _chance(seed).randbytes(end - start)
        target.write_bytes(content)
    else:
        raise ValueError(f"kind must be one of {get_args(BrokenKind)}, not {kind!r}")
    return target


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 repeatable pictures, no secrets


def _picture(size: tuple[int, int], number: int, chance: random.Random) -> "VideoFrame":
    import av

    frame = av.VideoFrame(*size, "yuv420p")
    for plane in frame.planes:
        speed, slope = chance.randint(1, 7), chance.randint(1, 3)
        _fill(plane, offset=chance.randrange(256) + number * speed, slope=slope)
    return frame


def _fill(plane: "VideoPlane", *, offset: int, slope: int) -> None:
    """Fill a plane with the ramp, each row `slope` further than the one above."""
    width = plane.line_size
    ramp = _RAMP * (width // len(_RAMP) + 2)
    starts = ((offset + row * slope) % len(_RAMP) for row in range(plane.height))
    plane.update(b"".join(ramp[start : start + width] for start in starts))


def _payload(content: bytes | bytearray) -> tuple[int, int]:
    """Where the pictures of an MP4 are: the inside of its box "mdat" (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + _HEADER <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        header = _HEADER
        if length == 1:
            length, header = int.from_bytes(content[at + 8 : at + 16], "big"), _LONG_HEADER
        if content[at + 4 : at + 8] == b"mdat":
            return at + header, at + length
        at += max(length, header)
    raise ValueError("there is no mdat box")
