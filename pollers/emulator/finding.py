"""Search and download of Visual Search.

A search finds the videos that are parsed, and nothing (a success) before.  A download that goes
well is a file; one that doesn't is JSON, also under HTTP 200, so that only the Content-Type tells.
The file has the size of the video and is zeros: uploads are not kept.
"""

from .exchange import Exchange
from .provider import now
from .requests import json_object
from .state import State
from .surface import RefusedError, Reply
from .wire import BAD_PARAMETERS, success, whole_number


async def search(state: State, exchange: Exchange) -> Reply:
    """POST search: a moment of each parsed video, best first."""
    body = await json_object(exchange.request)
    if not body.get("search_param"):
        raise RefusedError(BAD_PARAMETERS, "search_param is required")
    top, at = whole_number(body.get("top_k") or 10, "top_k"), now()
    videos = state.library.select(
        account=exchange.owner,
        unique_id=str(body.get("unique_id") or "default"),
        now=at,
        keep=lambda video: video.good and video.ended_at(at),
    )
    found = [
        {
            "videoNo": video.video_no,
            "videoName": video.name,
            "startTime": "0",
            "endTime": str(round(video.duration)),
            "score": 0.61,
        }
        for video in videos[:top]
    ]
    if state.settings.dialect == "2025":
        message = "Search completed successfully"
        return Reply({"code": "SUCCESS", "msg": message, "data": found})
    return Reply(success(found))


async def download(state: State, exchange: Exchange) -> Reply:
    """POST download: the file, or JSON."""
    body = await json_object(exchange.request)
    video_no = str(body.get("video_no") or "")
    exchange.video_nos = (video_no,)
    unique_id, at = str(body.get("unique_id") or "default"), now()
    video = state.library.find(video_no, account=exchange.owner, unique_id=unique_id, now=at)
    if video is None:
        raise RefusedError(BAD_PARAMETERS, "video not found")
    if not video.ended_at(at):
        raise RefusedError(BAD_PARAMETERS, "video is not ready")
    return Reply(success(None), size=video.size)
