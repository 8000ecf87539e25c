"""The reads, the delete, and the table of all paths of Visual Search, under `/serve/api/v1`.

A read that finds nothing is a success: `data: null` of get_metadata, an empty list of list_videos.
So are a wrong namespace, another account's video and one that is not visible yet.
"""

from collections.abc import Callable
from typing import Any

from .chat import chat_json, chat_stream
from .exchange import Endpoint, Exchange, table
from .finding import download, search
from .provider import now
from .requests import json_body, json_object
from .scraping import SCRAPERS, get_video_ids_by_task_id
from .state import State
from .surface import RefusedError, Reply
from .uploads import upload_file, upload_url
from .videos import PARSE, Video
from .wire import (
    BAD_PARAMETERS,
    CHAT_STREAM,
    DUPLICATE,
    VISUAL_SEARCH,
    success,
    whole_number,
)

PREFIX = "/serve/api/v1"

_MAX_DELETED = 100
_FAILURE_WORDS = frozenset({"FAIL", "FAILED", "PARSE_ERROR"})


async def list_videos(state: State, exchange: Exchange) -> Reply:
    """POST list_videos: a page of everything, of what was asked for, or of what matches."""
    body = await json_object(exchange.request)
    page = whole_number(body.get("page") or 1, "page")
    size = whole_number(body.get("size") or state.settings.page_size, "size")
    if page < 1 or size < 1:
        raise RefusedError(BAD_PARAMETERS, "page and size start at 1")
    size = min(size, state.settings.max_size)
    exchange.video_nos = _asked(body)
    found, total = _look_up(state, exchange, body, start=(page - 1) * size, size=size)
    return Reply(state.settings.speech.page(found, page=page, size=size, total=total, now=now()))


async def get_metadata(state: State, exchange: Exchange) -> Reply:
    """GET get_metadata: one video, or null."""
    query = exchange.request.query
    video_no = query.get("video_no")
    if not video_no:
        raise RefusedError(BAD_PARAMETERS, "video_no is required")
    exchange.video_nos = (video_no,)
    unique_id = query.get("unique_id") or "default"
    at = now()
    video = state.library.find(video_no, account=exchange.owner, unique_id=unique_id, now=at)
    return Reply(success(state.settings.speech.described(video, at) if video else None))


async def delete_videos(state: State, exchange: Exchange) -> Reply:
    """POST delete_videos: a bare array of numbers; deletes all of them or, refused, none."""
    body = await json_body(exchange.request)
    if not isinstance(body, list) or not all(isinstance(item, str) for item in body):
        raise RefusedError(BAD_PARAMETERS, "the body must be a JSON array of video numbers")
    if not 1 <= len(body) <= _MAX_DELETED:
        raise RefusedError(BAD_PARAMETERS, f"from 1 to {_MAX_DELETED} videos at a time")
    exchange.video_nos = tuple(body)
    owner = exchange.owner
    gone = any(
        state.library.was_deleted(number, account=owner) and number not in state.library.view
        for number in body
    )
    if gone and state.settings.repeated_delete == DUPLICATE:
        raise RefusedError(DUPLICATE)
    unique_id = exchange.request.query.get("unique_id") or "default"
    for video in state.library.find_all(body, account=owner, unique_id=unique_id, now=now()):
        state.library.delete(video)
    return Reply(success(None))


_SCRAPERS = tuple(
    Endpoint(
        method="POST",
        name=name,
        path=f"{PREFIX}/{name}",
        interface="scrape",
        handler=handler,
        surface=VISUAL_SEARCH,
    )
    for name, handler in SCRAPERS.items()
)
_STREAMS = table(PREFIX, [("POST", "chat_stream", "chat", chat_stream)], surface=CHAT_STREAM)
ENDPOINTS = (
    *_SCRAPERS,
    *_STREAMS,
    *table(
        PREFIX,
        (
            ("POST", "upload", "upload", upload_file),
            ("POST", "upload_url", "upload", upload_url),
            ("POST", "list_videos", "list", list_videos),
            ("GET", "get_metadata", "metadata", get_metadata),
            ("POST", "delete_videos", "delete", delete_videos),
            ("POST", "search", "search", search),
            ("POST", "download", "download", download),
            ("POST", "chat", "chat", chat_json),
            ("GET", "get_video_ids_by_task_id", "task", get_video_ids_by_task_id),
        ),
        surface=VISUAL_SEARCH,
    ),
)


def _asked(body: dict[str, Any]) -> tuple[str, ...]:
    """The numbers a list asks for, by `video_nos` or `video_no`; none: it asks for everything."""
    numbers = body.get("video_nos") or []
    if not isinstance(numbers, list) or not all(isinstance(item, str) for item in numbers):
        raise RefusedError(BAD_PARAMETERS, "video_nos must be an array of strings")
    one = body.get("video_no")
    return (*numbers, str(one)) if one else tuple(numbers)


def _look_up(
    state: State, exchange: Exchange, body: dict[str, Any], *, start: int, size: int
) -> tuple[list[Video], int]:
    """The videos of a page, and how many there are on all pages."""
    account, at = exchange.owner, now()
    unique_id = str(body.get("unique_id") or "default")
    numbers: tuple[str, ...] = exchange.video_nos
    if state.settings.ignore_video_nos and body.get("video_nos"):
        numbers = ()
    keep = _filter(state, body, at)
    if not numbers and keep is None:
        return state.library.page(
            account=account, unique_id=unique_id, now=at, start=start, size=size
        )
    if numbers:
        found = state.library.find_all(numbers, account=account, unique_id=unique_id, now=at)
        found = [video for video in found if keep is None or keep(video)]
    else:
        accept = keep or (lambda _: True)
        found = state.library.select(account=account, unique_id=unique_id, now=at, keep=accept)
    return found[start : start + size], len(found)


def _filter(state: State, body: dict[str, Any], at: float) -> Callable[[Video], bool] | None:
    """What the name, status, folder and tag of a list let through; None if there are none."""
    checks: list[Callable[[Video], bool]] = []
    if name := body.get("video_name"):
        exact = state.settings.dialect == "2026"
        checks.append(lambda v: v.name == name if exact else str(name) in v.name)
    if status := body.get("status"):
        checks.append(lambda v: _has_status(state, v, str(status), at))
    if (folder := body.get("folder_id")) is not None:
        folder_id = whole_number(folder, "folder_id")
        checks.append(lambda v: v.folder_id == folder_id)
    if (tag := body.get("tag")) and not state.settings.ignore_tag:
        checks.append(lambda v: tag in v.tags)
    return (lambda video: all(check(video) for check in checks)) if checks else None


def _has_status(state: State, video: Video, asked: str, at: float) -> bool:
    """Any of the API's words for a failure finds the failed ones."""
    if asked in _FAILURE_WORDS:
        return video.failed_at(at)
    if asked == PARSE:
        return video.ended_at(at) and video.good
    return video.status_at(at, state.settings.failure_word) == asked
