"""From an accepted upload to a terminal status: fetch, decode, wait, call back.

Parsing takes at least the seconds the settings say, counted from the upload; the real decode runs
inside them.  The status is not set by a timer: as soon as the decode is done, the video is told at
which instant it ends, and the clock does the rest.  Only a callback needs a task that waits.

A callback says "FAIL" where reads say PARSE_ERROR or FAILED, and the early one says "PARSE" of a
video nobody has parsed.  How callbacks go wrong is in `calling`.
"""

import asyncio
from pathlib import Path

import aiohttp
from yarl import URL

from .calling import calls_about, forge_callback, post_callback
from .decoding import Facts, StoppedError, UndecodableError, decode
from .provider import now
from .state import State
from .videos import PARSE, PARSE_ERROR, Video

_FETCH_CHUNK = 256 * 1024
_MAX_URL_BYTES = 1024**3


class _UnreachableError(Exception):
    """The url of an upload gave no file; the text says why."""


async def parse(state: State, video: Video, source: Path | URL) -> None:
    """Parse an uploaded video from its file, or from a URL that is fetched first."""
    started = now()
    path = source if isinstance(source, Path) else state.new_file(".mp4")
    try:
        if isinstance(source, URL):
            video.size = await _fetch(state, source, path)
        if state.engine.decodes:
            _describe(video, await _in_worker(state, path))
    except (UndecodableError, _UnreachableError) as exc:
        video.outcome, video.cause = PARSE_ERROR, str(exc)
    finally:
        path.unlink(missing_ok=True)
    video.terminal_at = max(now(), started + state.settings.seconds_for(video))
    await call_back_at_end(state, video)


async def call_back_early(state: State, video: Video) -> None:
    """Make the callbacks when parsing begins, if the settings want any: true ones and forged ones."""
    calls = calls_about(state, video.video_no)
    if calls.early:
        await _call_back(state, video, PARSE)
    if calls.forged and video.callback is not None:
        nobody = f"{video.video_no}-forged"
        for number, status in ((video.video_no, "FAIL"), (nobody, PARSE)):
            await forge_callback(state, video.callback, {"videoNo": number, "status": status})


async def call_back_at_end(state: State, video: Video) -> None:
    """Wait until the video's parsing ends, then make the callbacks that are left."""
    if video.callback is None:
        return
    await asyncio.sleep(max(0.0, video.terminal_at - now()))
    for _ in range(calls_about(state, video.video_no).at_end):
        if state.library.view.get(video.video_no) is video:  # nobody calls about a deleted one
            await _call_back(state, video, PARSE if video.good else "FAIL")


def _describe(video: Video, facts: Facts) -> None:
    video.duration, video.fps = facts.duration, facts.fps
    video.width, video.height = facts.width, facts.height


async def _in_worker(state: State, path: Path) -> Facts:
    """Decode in one of the worker threads; more videos than workers wait for their turn."""
    engine = state.engine
    try:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(engine.workers, decode, path, engine.halt)
    except StoppedError:
        raise asyncio.CancelledError from None


async def _fetch(state: State, url: URL, path: Path) -> int:
    """Download a file and return its bytes; nothing is sent that could authenticate us."""
    most = min(_MAX_URL_BYTES, state.settings.max_upload_bytes)
    size = 0
    try:
        async with state.engine.client.get(url) as response:
            if not response.ok:
                raise _UnreachableError(f"Download failed: HTTP {response.status}")
            with path.open("wb") as file:
                async for chunk in response.content.iter_chunked(_FETCH_CHUNK):
                    size += len(chunk)
                    if size > most:
                        raise _UnreachableError(f"Download failed: larger than {most} bytes")
                    file.write(chunk)
    except (aiohttp.ClientError, OSError, TimeoutError) as exc:
        raise _UnreachableError(f"Download failed: {str(exc) or type(exc).__name__}") from exc
    return size


async def _call_back(state: State, video: Video, status: str) -> None:
    if video.callback is None:
        return
    payload = {"videoNo": video.video_no, "status": status}
    if state.settings.callback_client_id is not None:
        payload["clientId"] = state.settings.callback_client_id
    await post_callback(state, video.callback, payload)
