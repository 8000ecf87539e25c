"""What the callbacks of Memories.ai speak of.  Anybody may have sent them: no shape is certain.

Two kinds come to one URL: ``{"videoNo": …, "status": …}`` of an upload (until 2025 with a
``clientId``), or of a video of a scraper task; and ``{"taskId": …, "status": …}`` of the task itself.
Statuses are not read: "PARSE" is also said of videos that nobody has parsed yet.  Ids are found as
well where other answers of this API have them: under ``data``, which may be a text that holds JSON,
in snake case, in lists.

Wire facts: https://memories.ai/docs/API/Upload/ (no signature; no second try is documented).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

_VIDEO = ("videoNo", "video_no")
_VIDEOS = ("videoNos", "video_nos", "videoIds", "video_ids", "videos")
_TASK = ("taskId", "task_id")
_HUGE = 10**30
"""No id has as many digits, and Python refuses to write out thousands."""


def videos_of(payload: Any) -> list[str]:
    """The numbers of the videos that a callback names, each once."""
    return list(dict.fromkeys(_named(payload, _VIDEO, _VIDEOS)))


def tasks_of(payload: Any) -> list[str]:
    """The ids of the scraper tasks that a callback names, each once."""
    return list(dict.fromkeys(_named(payload, _TASK, ())))


def _named(payload: Any, one: tuple[str, ...], many: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(payload, Mapping):
        return
    for part in (payload, _inner(payload.get("data"))):
        for value in (part.get(name) for name in one):
            yield from _texts(value)
        for values in (part.get(name) for name in many):
            for value in values if isinstance(values, list) else ():
                if isinstance(value, Mapping):
                    yield from (text for name in one for text in _texts(value.get(name)))
                else:
                    yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < _HUGE:
        yield str(value)


def _inner(data: Any) -> Mapping[str, Any]:
    if isinstance(data, str):
        try:
            data = msgspec.json.decode(data)
        except (ValueError, RecursionError):  # a text that is none of ours
            return {}
    return data if isinstance(data, Mapping) else {}
