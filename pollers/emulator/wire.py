"""What goes over the wire: codes, envelopes, and the two dialects of a video.

The API mixes its spellings.  An upload answers `videoNo`, every read answers `video_no`, a request
sends `video_no`, a callback carries `videoNo`.  In the documents of 2025 numbers are strings and
the cause of a video that did not fail is the *string* "null"; in those of 2026 numbers are
integers and the cause is left out.  Errors come with HTTP 200 and a code in the body, and the
answer to a broken rate limit is shorter than all the others.

Times in a body are milliseconds since 1970; durations are whole seconds; sizes are bytes.
"""

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from .surface import EVENTS, Code, Payload, RefusedError, Surface, dump, enveloped
from .videos import Video

SUCCESS = "0000"
BAD_PARAMETERS = "0001"
UNAUTHORIZED = "0401"
NO_POINTS = "0402"
DISABLED = "0403"
DUPLICATE = "0409"
TOO_MANY = "0429"
NO_PERMISSION = "9009"

MESSAGES = {
    SUCCESS: "success",
    BAD_PARAMETERS: "One or more parameters are incorrect",
    "0003": "One or more parameters are incorrect",
    UNAUTHORIZED: "Authorization invalid",
    NO_POINTS: "Not enough points",
    DISABLED: "Developer account disabled",
    DUPLICATE: "Duplicate requests are not allowed",
    TOO_MANY: "Request has exceeded the limit.",
    NO_PERMISSION: "Permission denied, check API key validness",
}

_STATUSES: dict[Code, int] = {
    BAD_PARAMETERS: 400,
    UNAUTHORIZED: 401,
    NO_PERMISSION: 401,
    NO_POINTS: 402,
    DISABLED: 403,
    DUPLICATE: 409,
    TOO_MANY: 429,
}

Dialect = Literal["2025", "2026"]
TaskListing = Literal["video_ids", "video_no", "videoNo"]


def success(data: Any, *, flags: bool = True) -> Payload:
    """The envelope of a success; `flags=False` leaves out success and failed, as old answers do."""
    payload = {"code": SUCCESS, "msg": "success", "data": data}
    return payload | {"success": True, "failed": False} if flags else payload


def failure(code: Code, message: str | None = None) -> Payload:
    """The envelope of an error; the one for a broken rate limit has neither data nor flags."""
    if message is None:
        message = MESSAGES.get(str(code), "error")
    payload: Payload = {"code": code, "msg": message}
    if str(code) == TOO_MANY:
        return payload
    return payload | {"data": None, "success": False, "failed": True}


def event(payload: Payload | str) -> bytes:
    """One event of a chat's stream, with no space after the colon, as documented."""
    return b"data:" + dump(payload) + b"\n\n"


def status_of(refusal: RefusedError) -> int:
    """What a refusal says on a surface with a real HTTP status."""
    return refusal.status or _STATUSES.get(refusal.code, HTTPStatus.BAD_REQUEST)


VISUAL_SEARCH = Surface(fail=enveloped(failure), nothing=lambda: success(None))
"""v1: HTTP 200 whatever the code."""

CHAT_STREAM = Surface(
    fail=enveloped(failure),
    nothing=lambda: {"code": "SUCCESS", "data": "Done"},
    encode=event,
    content_type=EVENTS,
)
"""v1's streams: an error is an event, the first if the stream hasn't begun."""


@dataclass(frozen=True, slots=True)
class Speech:
    """How this deployment spells a video: the dialect, and its word for "failed"."""

    dialect: Dialect
    failure_word: str
    task_listing: TaskListing | None = None

    def number(self, value: float) -> int | str:
        """A whole number in this dialect's type."""
        return str(int(value)) if self.dialect == "2025" else int(value)

    def uploaded(self, video: Video) -> Payload:
        """The reply to an upload: camel case, and `uploadTime` a string in both dialects."""
        data = {
            "videoNo": video.video_no,
            "videoName": video.name,
            "videoStatus": "UNPARSE",
            "uploadTime": str(video.created_ms),
        }
        return success(data, flags=self.dialect == "2026")

    def listed(self, video: Video, now: float) -> Payload:
        """One entry of list_videos; `now` is on the loop's clock."""
        entry: Payload = {
            "duration": self.number(round(video.duration)),
            "size": self.number(video.size),
            "status": video.status_at(now, self.failure_word),
            "video_no": video.video_no,
            "video_name": video.name,
            "create_time": self.number(video.created_ms),
        }
        if video.tags and self.dialect == "2026":
            entry["tags"] = list(video.tags)
        failed = video.failed_at(now)
        if failed or self.dialect == "2025":
            entry["cause"] = (video.cause or "Video parsing failed") if failed else "null"
        return entry

    def described(self, video: Video, now: float) -> Payload:
        """The data of get_metadata: a list entry, and the picture's shape once it is known."""
        entry = self.listed(video, now)
        if video.width and video.ended_at(now):
            fps = int(video.fps) if video.fps.is_integer() else round(video.fps, 3)
            entry |= {
                "resolution_label": f"{min(video.width, video.height)}p",
                "fps": str(fps) if self.dialect == "2025" else fps,
                "width": self.number(video.width),
                "height": self.number(video.height),
            }
        return entry

    def task(self, task_id: str, videos: list[Video], now: float) -> Payload:
        """The reply about a scraper task: what was downloaded so far, and nothing about the task.

        The page of 2025 has bare `video_ids`; clients got `videos`, spelt in either way.
        """
        key = self.task_listing or ("video_ids" if self.dialect == "2025" else "video_no")
        if key == "video_ids":
            numbers = [video.video_no for video in videos]
            return success({"taskId": task_id, "video_ids": numbers})
        entries = [self.described(video, now) for video in videos]
        return success({"videos": [{key: one.pop("video_no"), **one} for one in entries]})

    def page(self, videos: list[Video], *, page: int, size: int, total: int, now: float) -> Payload:
        """The reply to list_videos; in 2025 only `total_count` is a string, as documented."""
        return success(
            {
                "videos": [self.listed(video, now) for video in videos],
                "current_page": page,
                "page_size": size,
                "total_count": self.number(total),
            }
        )


_LARGEST = 2**31 - 1
"""Of the server's ``int``."""


def whole_number(value: Any, name: str) -> int:
    """An integer from a JSON integer or a string of digits, as the server's parser takes both."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) else math.nan
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not number.is_integer() or abs(number) > _LARGEST:
        raise RefusedError(BAD_PARAMETERS, f"{name} must be an integer")
    return int(number)
