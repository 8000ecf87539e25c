"""Chat of Visual Search: one JSON answer, or a stream of events.

A stream is HTTP 200 and `text/event-stream` whatever happens.  It goes wrong in two ways: an error
envelope is its only event (a door, a scripted code) or, scripted with `after_work`, comes in its
middle; or it ends with something else than "Done" (`"Video is not parsed:"`, `"Error"`).  Where an
answer in JSON would say the latter is not documented; here it is 0001 with the same text.
"""

from typing import Any

from .exchange import Exchange
from .provider import now
from .requests import json_object
from .state import State
from .surface import Payload, RefusedError, Reply
from .videos import Video
from .wire import BAD_PARAMETERS, success

DONE = "Done"

_NO_VIDEOS = "No videos found for the provided video numbers."
_NOT_PARSED = "Video is not parsed:"
_FIRST_SESSION = 630309515755999232


async def chat_json(state: State, exchange: Exchange) -> Reply:
    """POST chat: everything at once."""
    videos, session, wrong = await _asked(state, exchange)
    if wrong is not None:
        raise RefusedError(BAD_PARAMETERS, wrong)
    thinking = {"title": _THOUGHT, "content": f"There are {len(videos)} videos to look at."}
    data = {
        "role": "ASSISTANT",
        "content": "".join(_words(videos)),
        "thinkings": [thinking],
        "session_id": session,
    }
    return Reply(success(data))


async def chat_stream(state: State, exchange: Exchange) -> Reply:
    """POST chat_stream: thinking, references, the answer piece by piece, and an end."""
    videos, session, wrong = await _asked(state, exchange)
    end = DONE if wrong is None else wrong
    before = () if wrong is not None else tuple(_events(videos, session))
    last: Payload | str = end
    if state.settings.chat_end == "envelope":
        last = {"code": "SUCCESS", "data": end}
    return Reply(last, before=before, refused=wrong is not None)


_THOUGHT = "Based on selected videos, fetch detailed information"


async def _asked(state: State, exchange: Exchange) -> tuple[list[Video], str, str | None]:
    """The videos and the session of a question, and what is wrong with the videos, if anything."""
    body = await json_object(exchange.request)
    numbers = body.get("video_nos")
    if not isinstance(numbers, list) or not numbers or not body.get("prompt"):
        raise RefusedError(BAD_PARAMETERS, "video_nos and prompt are required")
    exchange.video_nos = tuple(map(str, numbers))
    unique_id, at = str(body.get("unique_id") or "default"), now()
    found = state.library.find_all(
        exchange.video_nos, account=exchange.owner, unique_id=unique_id, now=at
    )
    session = str(body.get("session_id") or _FIRST_SESSION + exchange.number)
    if not found:
        return [], session, _NO_VIDEOS
    unparsed = [video.video_no for video in found if not (video.good and video.ended_at(at))]
    return found, session, _NOT_PARSED + ",".join(unparsed) if unparsed else None


def _words(videos: list[Video]) -> list[str]:
    """The answer, in the pieces in which it is streamed."""
    names = ", ".join(video.name for video in videos)
    return ["This is about ", names, "."]


def _events(videos: list[Video], session: str) -> list[Payload]:
    thinking = {
        "type": "thinking",
        "title": _THOUGHT,
        "content": f"There are {len(videos)} videos to look at.",
        "sessionId": session,
    }
    reference = {
        "type": "ref",
        "sessionId": session,
        "ref": [_reference(video) for video in videos],
    }
    contents = [
        {"type": "content", "role": "assistant", "content": piece, "sessionId": session}
        for piece in _words(videos)
    ]
    return [thinking, reference, *contents]


def _reference(video: Video) -> dict[str, Any]:
    shown = {
        "duration": str(round(video.duration)),
        "video_no": video.video_no,
        "video_name": video.name,
    }
    frame = {"videoNo": video.video_no, "startTime": 0, "type": "keyframe"}
    return {"video": shown, "refItems": [frame]}
