"""Starting scraper tasks, reading which videos they have so far, and their callbacks.

A task that is posted downloads one video each `scrape_seconds`, and each is parsed like an upload
from then on.  Nothing is fetched: the address only gives the name.  An address under `.invalid`
(RFC 6761, 6.4) is one where nothing is found: its video never comes, and no answer ever says so.

Videos of the `…_public` paths have numbers that begin with `PI-` and belong to the public library:
no account's list_videos has them, only the answer about their task.

A task's callback says `SUCCEEDED` once everything is downloaded and indexing has begun, which is
long before anything is parsed.  In the documents of 2026 the same URL also gets a callback for each
video, which looks like that of an upload.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from yarl import URL

from .calling import calls_about, forge_callback, post_callback
from .exchange import Exchange, Handler
from .parsing import call_back_at_end, call_back_early
from .provider import now
from .requests import json_object
from .scrapes import Scrape
from .state import State
from .surface import RefusedError, Reply
from .uploads import http_url
from .videos import Video
from .wire import BAD_PARAMETERS, success, whole_number

PUBLIC = "(public library)"
"""The account that owns public videos; nobody has a key of it."""

_MAX_URLS = 50
_DEFAULT_COUNT = 10
_NOWHERE = "invalid"


async def scrape_urls(state: State, exchange: Exchange, *, public: bool) -> Reply:
    """POST scraper_url, scraper_url_public: up to fifty posts of one platform."""
    body = await json_object(exchange.request)
    urls = [http_url(text, "video_urls") for text in _texts(body, "video_urls", "tiktok_post_urls")]
    if len(urls) > _MAX_URLS:
        raise RefusedError(BAD_PARAMETERS, f"at most {_MAX_URLS} video_urls")
    if len({_platform(url) for url in urls}) > 1:
        raise RefusedError(BAD_PARAMETERS, "all video_urls must be of one platform")
    found = [url for url in urls if _platform(url) != _NOWHERE]
    names = [PurePosixPath(url.path).name or "video" for url in found]
    return _begin(state, exchange, body, names, public=public)


async def scrape_creator(state: State, exchange: Exchange, *, public: bool) -> Reply:
    """POST scraper, scraper_public: the newest posts of a creator, given by the creator's URL."""
    body = await json_object(exchange.request)
    url = http_url(str(body.get("username") or ""), "username")
    name = PurePosixPath(url.path).name or "creator"
    count = 0 if _platform(url) == _NOWHERE else _count(body)
    names = [f"{name}-{number}" for number in range(count)]
    return _begin(state, exchange, body, names, public=public)


async def scrape_tags(state: State, exchange: Exchange, *, public: bool) -> Reply:
    """POST scraper_tag, scraper_tag_public: posts with hashtags."""
    body = await json_object(exchange.request)
    tags = _texts(body, "hash_tags")
    names = [f"{tags[number % len(tags)]}-{number}" for number in range(_count(body))]
    return _begin(state, exchange, body, names, public=public)


SCRAPERS: Mapping[str, Handler[State]] = {
    f"{name}{end}": partial(handler, public=bool(end))
    for name, handler in (
        ("scraper_url", scrape_urls), ("scraper", scrape_creator), ("scraper_tag", scrape_tags),
    )
    for end in ("", "_public")
}  # fmt: skip


async def get_video_ids_by_task_id(state: State, exchange: Exchange) -> Reply:
    """GET get_video_ids_by_task_id: what a task has downloaded so far; null of an unknown one."""
    query = exchange.request.query
    task_id = query.get("task_id")
    if not task_id:
        raise RefusedError(BAD_PARAMETERS, "task_id is required")
    exchange.ids = (task_id,)
    unique_id = query.get("unique_id") or "default"
    at = now()
    scrape = state.tasks.find(task_id, account=exchange.owner, unique_id=unique_id, now=at)
    if scrape is None:
        return Reply(success(None))
    return Reply(state.settings.speech.task(task_id, scrape.videos_at(at), at))


def begin(state: State, scrape: Scrape) -> None:
    """Keep a task, and make its callbacks when their time comes."""
    state.tasks.add(scrape)
    if scrape.callback is None:
        return
    state.spawn(_call_back(state, scrape, scrape.callback))
    if state.settings.dialect == "2026":
        for appears_at, video in scrape.videos:
            state.spawn(_call_back_about(state, appears_at, video))


def _begin(
    state: State,
    exchange: Exchange,
    body: Mapping[str, Any],
    names: Sequence[str],
    *,
    public: bool,
) -> Reply:
    callback = body.get("callback_url") or body.get("callback")
    unique_id = str(body.get("unique_id") or "default")
    pace, at = state.settings.scrape_seconds, now()
    videos = []
    for number, name in enumerate(names, 1):
        made = state.library.next_number()
        video = Video(
            video_no=f"PI-{made.removeprefix('VI')}" if public else made,
            name=name,
            account=PUBLIC if public else exchange.owner,
            unique_id=unique_id,
            tags=("api",),
            visible_at=at + number * pace + state.settings.visibility_delay,
            duration=10.0,
            callback=callback,
        )
        video.terminal_at = at + number * pace + state.settings.seconds_for(video)
        state.library.add(video)
        videos.append((at + number * pace, video))
    scrape = Scrape(
        task_id=state.tasks.next_id(),
        account=exchange.owner,
        unique_id=unique_id,
        videos=videos,
        known_at=at + state.settings.visibility_delay,
        fails_at=at + pace,
        callback=callback,
    )
    begin(state, scrape)
    exchange.ids = (scrape.task_id,)
    return Reply(success({"taskId": scrape.task_id}))


async def _call_back(state: State, scrape: Scrape, target: str) -> None:
    """Tell that the scraping is over; early is while it has only begun, and always well."""
    calls = calls_about(state, scrape.task_id)
    if calls.early:
        await post_callback(state, target, {"taskId": scrape.task_id, "status": "SUCCEEDED"})
    if calls.forged:
        await forge_callback(state, target, {"taskId": scrape.task_id, "status": "FAILED"})
    if math.isinf(scrape.finished_at):
        return
    await asyncio.sleep(max(0.0, scrape.finished_at - now()))
    status = "SUCCEEDED" if scrape.videos else "FAILED"
    for _ in range(calls.at_end):
        await post_callback(state, target, {"taskId": scrape.task_id, "status": status})


async def _call_back_about(state: State, appears_at: float, video: Video) -> None:
    """The callbacks of one video, as if it had been uploaded when it appeared."""
    await asyncio.sleep(max(0.0, appears_at - now()))
    await call_back_early(state, video)
    if not math.isinf(video.terminal_at):
        await call_back_at_end(state, video)


def _texts(body: Mapping[str, Any], *names: str) -> list[str]:
    """A list of texts that is not empty, under the first of these names that has one."""
    texts = next((body[name] for name in names if body.get(name)), None)
    if not isinstance(texts, list) or not all(isinstance(one, str) and one for one in texts):
        raise RefusedError(BAD_PARAMETERS, f"{names[0]} must be an array of strings")
    return texts


def _count(body: Mapping[str, Any]) -> int:
    count = whole_number(body.get("scraper_cnt") or _DEFAULT_COUNT, "scraper_cnt")
    if count < 1:
        raise RefusedError(BAD_PARAMETERS, "scraper_cnt starts at 1")
    return count


def _platform(url: URL) -> str:
    """The site that an address belongs to: `m.youtube.com` and `www.youtube.com` are one."""
    *_, site, end = f".{url.host}".split(".")
    return end if end == _NOWHERE else f"{site}.{end}"
