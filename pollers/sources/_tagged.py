"""Which videos of Memories.ai carry a tag, whatever a deployment makes of the question.

====================  =====================================  ==========================================
``tag`` in the list   answers have ``tags``                  answers have none (the pages of 2025)
====================  =====================================  ==========================================
is obeyed             the videos that have it                all that is answered, once a tag that
                                                             nobody has brings nothing
is ignored            the same, from all pages               those with the name, since the intent:
                                                             a guess, the last resort
====================  =====================================  ==========================================

Wire facts: https://api-tools.memories.ai/visual-search/list-videos (``tag`` in the question, ``tags``
and ``create_time`` in milliseconds in the answer).  That the newest come first is not promised.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pollers._core.submit import Intent, Match
from pollers.sources._http import number_of

SLACK = 120.0
"""Seconds that the provider's clock may be behind ours."""

Video = tuple[str, Mapping[str, Any]]
Page = tuple[Sequence[Video], int]
"""Videos with their numbers, and how many pages there are."""


async def find_tagged(pages: Callable[[int, str], Awaitable[Page]], intent: Intent) -> list[Match]:
    """The videos that have the intent's token as a tag.

    Args:
        pages: gives a page (from 1) of the list of videos with a tag.
        intent: what was submitted.
    """
    since = intent.created_at - SLACK
    first, count = await pages(1, intent.token)
    if not first:
        return []
    if any("tags" in video for _, video in first):
        videos = await _recent(pages, intent.token, first, count, since)
        return [Match(number) for number, video in videos if intent.token in _tags(video)]
    nobody, _ = await pages(1, f"{intent.token}-nobody")
    videos = await _recent(pages, intent.token, first, count, since)
    if not nobody:
        return [Match(number) for number, _ in videos]
    return [
        Match(number, sure=False)
        for number, video in videos
        if intent.name and _is_named(video, intent.name) and (_made_at(video) or 0.0) >= since
    ]


async def _recent(
    pages: Callable[[int, str], Awaitable[Page]],
    tag: str,
    first: Sequence[Video],
    count: int,
    since: float,
) -> list[Video]:
    """All pages, up to one that ends before an instant if the newest do come first."""
    videos, page = list(first), list(first)
    for number in range(2, count + 1):
        times = [_made_at(video) or 0.0 for _, video in page]
        if times == sorted(times, reverse=True) and times[-1] < since:
            break
        more, count_now = await pages(number, tag)
        page = list(more)
        if not page or number > count_now:
            break
        videos += page
    return list(dict(videos).items())


def _tags(video: Mapping[str, Any]) -> list[str]:
    tags = video.get("tags")
    if isinstance(tags, str):
        tags = tags.split(",")
    return [str(tag).strip() for tag in tags] if isinstance(tags, list) else []


def _is_named(video: Mapping[str, Any], name: str) -> bool:
    """The file's extension is not part of a video's name."""
    return video.get("video_name", video.get("videoName")) in (name, PurePosixPath(name).stem)


def _made_at(video: Mapping[str, Any]) -> float | None:
    made = number_of(video.get("create_time", video.get("createTime")))
    return None if made is None else made / 1000.0
