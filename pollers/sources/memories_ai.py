"""Videos of Memories.ai: is it parsed yet?

One ``POST list_videos`` with ``video_nos`` answers for 200 videos at once.  Older deployments ignore
``video_nos`` and send a page of everything: that is noticed by a video nobody asked for, and from
then on the source pages through the list, or asks ``get_metadata`` one by one where that takes fewer
requests.  An unknown video is ``data: null`` or simply absent, never an error.

Wire facts: https://api-tools.memories.ai/visual-search/list-videos (``PARSE`` means *parsed*; fields
come as ``video_no`` or ``videoNo``, numbers as numbers or text, and a missing cause as ``"null"``).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import aiohttp

from pollers._core.model import Sighting
from pollers._core.submit import Intent, Match
from pollers.sources._callbacks import videos_of
from pollers.sources._http import (
    deployment_of,
    guard_for,
    inside,
    number_of,
    object_of,
    whole,
)
from pollers.sources._spacing import Spacing
from pollers.sources._tagged import Page, find_tagged
from pollers.sources.base import Pick, StatusWords
from resilience import FatalError, Guard

BASE_URL = "https://api.memories.ai/serve/api/v1"
BATCH = 200
SPACING = 0.21
"""Seconds: list_videos is limited to 5 requests a second per account, and requests arrive unevenly."""
AT_ONCE = 8
"""Looks under way: enough to keep to that rate where an answer takes a second and a half."""

LEAST_PAGE = 20
"""Videos of a page that any deployment gives: it was the default in 2025."""

WORDS = StatusWords(
    pending=("UNPARSE", "PENDING", "PROCESSING", "UPLOADING"),
    succeeded=("PARSE", "DONE"),
    failed=("PARSE_ERROR", "FAILED", "FAIL", "ERROR"),
)
_FEATURES = ("duration", "size", "fps", "width", "height")


class MemoriesVideos:
    """The parsing of videos of one account.

    Args:
        session: an aiohttp session; its headers carry the key unless ``api_key`` does.
        guard: the account's guard.  By default the one in the session's middlewares, else one made
            from the catalog.
        api_key: sent as ``Authorization`` as it is (no ``Bearer``).
        base_url: the API root.
        unique_id: the namespace of the videos, where the deployment has one.
        folder_id: the folder of the videos, where the deployment has folders.
    """

    provider = "memories_ai"
    kind = "videos"
    batch = BATCH
    spacing = SPACING

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        guard: Guard | None = None,
        api_key: str | None = None,
        base_url: str = BASE_URL,
        unique_id: str | None = None,
        folder_id: int | str | None = None,
    ) -> None:
        self.deployment = deployment_of(base_url, example=BASE_URL)
        self.session = session
        self.guard = guard or guard_for(
            session, self.provider, deployment=self.deployment, api_key=api_key
        )
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": api_key} if api_key else {}
        names = {"unique_id": unique_id, "folder_id": folder_id}
        self._where = {key: value for key, value in names.items() if value is not None}
        self._pages_of_everything: int | None = None
        """None while ``video_nos`` is honoured, else how many pages the whole list has."""
        self._page_size = BATCH
        """Videos of a page of the list; less where so many were refused."""
        self._spaced = Spacing(self.spacing)
        """One look may be many requests here, and all share the documented limit."""

    @property
    def looks_at_once(self) -> int:
        """More than one would not page through the list any sooner."""
        return AT_ONCE if self._pages_of_everything is None else 1

    async def look(self, guard: Guard, pick: Pick) -> Mapping[str, Sighting]:
        """One look at up to 200 videos."""
        asked: list[str] = []
        if self._pages_of_everything is None:
            found = await self._by_numbers(guard, pick, asked)
            if self._pages_of_everything is None:
                return found
        else:
            asked = pick(self.batch)
            found = {}
        return await self._otherwise(guard, asked, found)

    def hinted(self, payload: Any) -> list[str] | None:
        """The videos that a callback names; None if it names none."""
        return videos_of(payload) or None

    async def _by_numbers(self, guard: Guard, pick: Pick, asked: list[str]) -> dict[str, Sighting]:
        async def list_videos() -> aiohttp.ClientResponse | None:
            asked[:] = pick(self.batch)
            if not asked:
                return None
            # no larger than need be: a deployment may refuse large pages, and halves must be taken
            body = {"page": 1, "size": len(asked), "video_nos": asked, **self._where}
            return await self._post("list_videos", body)

        await self._spaced.wait()
        try:
            data = await object_of(await guard.options(endpoint="list").call(list_videos))
        except FatalError as error:
            if len(asked) == 1 and is_unknown(error):
                return {}
            raise
        found = dict(sightings_of(data))
        page, pages = 1, _pages(data)
        while (
            found and not set(asked) <= set(found) and not set(found) - set(asked) and page < pages
        ):
            page += 1  # the server's pages are shorter than our batch
            data = await self._page(guard, page, size=len(asked), video_nos=asked)
            more = dict(sightings_of(data))
            if not more:
                break
            found |= more
        if set(found) - set(asked):
            self._pages_of_everything = _pages(data, self._page_size)
        return {number: seen for number, seen in found.items() if number in asked}

    async def _otherwise(
        self, guard: Guard, asked: list[str], found: dict[str, Sighting]
    ) -> dict[str, Sighting]:
        """Where ``video_nos`` is ignored: whichever way needs fewer requests."""
        left = [number for number in asked if number not in found]
        if len(left) <= (self._pages_of_everything or 0):
            for number in left:
                found.update(await self._metadata(guard, number))
            return found
        page = 1
        while left and page <= (self._pages_of_everything or 1):
            data = await self._whole_page(guard, page)
            self._pages_of_everything = _pages(data)
            found.update(sightings_of(data))
            left = [number for number in left if number not in found]
            page += 1
        return {number: found[number] for number in asked if number in found}

    def submitted_id(self, answer: Any) -> str | None:
        """The number in the answer to an upload, or in its ``data``."""
        number = _either(inside(answer), "videoNo", "video_no")
        return None if number is None else str(number)

    async def find_submitted(self, intent: Intent) -> list[Match]:
        """The videos that have the intent's token as a tag (``tags`` of the upload)."""

        async def page(number: int, tag: str) -> Page:
            data = await self._whole_page(self.guard, number, tag=tag)
            return list(numbered(data)), _pages(data)

        return await find_tagged(page, intent)

    async def _whole_page(self, guard: Guard, page: int, **which: Any) -> Mapping[str, Any]:
        """A page as large as the deployment gives them; how large that is the first one finds out."""
        size = self._page_size
        while True:
            try:
                data = await self._page(guard, page, size=size, **which)
            except FatalError:
                if page > 1 or size <= LEAST_PAGE:
                    raise
                size //= 2
            else:
                self._page_size = size
                return data

    async def _page(self, guard: Guard, page: int, **which: Any) -> Mapping[str, Any]:
        async def list_videos() -> aiohttp.ClientResponse:
            return await self._post("list_videos", {"page": page, **which, **self._where})

        await self._spaced.wait()
        return await object_of(await guard.options(endpoint="list").call(list_videos))

    async def _metadata(self, guard: Guard, number: str) -> dict[str, Sighting]:
        async def get_metadata() -> aiohttp.ClientResponse:
            self._spaced.went()
            return await self.get("get_metadata", video_no=number)

        await self._spaced.wait()
        try:
            data = await object_of(await guard.options(endpoint="list").call(get_metadata))
        except FatalError as error:
            if is_unknown(error):
                return {}
            raise
        return dict(sightings_of({"videos": [data]})) if data else {}

    async def get(self, path: str, **query: str) -> aiohttp.ClientResponse:
        """One GET in the namespace of these videos, for the guard to judge."""
        params = {**query, **{k: str(v) for k, v in self._where.items()}}
        url = f"{self._base_url}/{path}"
        async with self.session.get(url, params=params, headers=self._headers) as response:
            return await whole(response)

    async def _post(self, path: str, body: Mapping[str, Any]) -> aiohttp.ClientResponse:
        url = f"{self._base_url}/{path}"
        self._spaced.went()
        async with self.session.post(url, json=body, headers=self._headers) as response:
            return await whole(response)


def sightings_of(data: Mapping[str, Any]) -> Iterator[tuple[str, Sighting]]:
    """What an answer's ``videos`` tell, by number; those without a status tell nothing."""
    for number, video in numbered(data):
        status = _either(video, "status", "videoStatus", "video_status")
        if status is None:
            continue
        features = {name: n for name in _FEATURES if (n := number_of(video.get(name))) is not None}
        seen = WORDS.sighting(number, status, cause=video.get("cause"), features=features)
        yield number, seen


def numbered(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """An answer's ``videos`` with their numbers."""
    for video in _videos(data):
        number = _either(video, "video_no", "videoNo")
        if number is not None:
            yield str(number), video


def is_unknown(error: FatalError) -> bool:
    """Right after an upload, some deployments call what is not visible yet an error."""
    return error.code == "0001" and "not found" in error.message.casefold()


def _videos(data: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    videos = data.get("videos")
    return [one for one in videos if isinstance(one, Mapping)] if isinstance(videos, list) else []


def _pages(data: Mapping[str, Any], size: float | None = None) -> int:
    """How many pages there are, of this size or of that of the answer."""
    total = number_of(data.get("total_count", data.get("totalCount"))) or 0
    size = size or number_of(data.get("page_size", data.get("pageSize"))) or BATCH
    return max(1, -(-int(total) // max(1, int(size))))


def _either(video: Mapping[str, Any], *names: str) -> Any:
    return next((video[name] for name in names if video.get(name) is not None), None)
