"""Scraper tasks of Memories.ai: which videos came of it, and are they parsed?

Two stages.  ``GET get_video_ids_by_task_id`` names the videos that a task has downloaded so far, one
task a request and one request a second; it never says how many are to come, nor that the task has
failed.  ``POST list_videos`` says how each video is doing, 200 a request, whichever task it is of.
A look asks for at most one task's videos, and for the videos of as many tasks as fit.  Once the set
of a task is whole (see ``pollers._core.children``), only its videos are asked for.

How a video is doing is what list_videos says.  What the task's own answer says of it counts only for
a video that list_videos doesn't have: one of the public library (``PI-…``) never is in it.

Wire facts: https://api-tools.memories.ai/visual-search/get-video-ids-by-task-id (the videos come as
``video_ids``, or as ``videos`` with ``video_no`` or ``videoNo``; ``data: null`` is an unknown task).
"""

from collections.abc import Mapping
from typing import Any

import aiohttp
import anyio

from pollers._core.children import Family, fold, found, is_whole, listed, still_open
from pollers._core.model import Phase, Sighting
from pollers.sources._callbacks import tasks_of, videos_of
from pollers.sources._http import inside, object_of
from pollers.sources._spacing import Spacing
from pollers.sources.base import Asked, PickJobs, printable
from pollers.sources.memories_ai import (
    BASE_URL,
    BATCH,
    MemoriesVideos,
    is_unknown,
    numbered,
    sightings_of,
)
from resilience import FatalError, Guard

SETTLE = 30.0
GRACE = 60.0
SPACING = 1.05
"""Seconds: the task status is limited to 1 request a second per account, and they arrive unevenly."""

LOOK_VIDEOS = 4 * BATCH
"""Videos that one look asks for: as many list_videos as fit between two requests for a task."""

MOST_FAMILIES = 10_000
"""Tasks whose videos are remembered; what was forgotten is found out again by looking."""


class MemoriesScrapes:
    """The scraper tasks of one account.

    ``poller.watch(task_id, expect=5)`` says how many videos will come; else a task has them all when
    none has come for ``settle`` seconds.  It succeeded if one of them is parsed at least, failed if
    none can be; ``event.children`` has each.

    Args:
        session: an aiohttp session; its headers carry the key unless ``api_key`` does.
        guard: the account's guard.  By default the one in the session's middlewares, else one made
            from the catalog.
        api_key: sent as ``Authorization`` as it is (no ``Bearer``).
        base_url: the API root.
        unique_id: the namespace of the tasks and their videos, where the deployment has one.
        folder_id: the folder of the videos, where the deployment has folders.
        settle: seconds for which no further video must have come, where ``watch`` wasn't told.
        grace: seconds that a video may be missing from every answer before it isn't waited for.
    """

    provider = "memories_ai"
    kind = "scrapes"
    batch = BATCH
    spacing = SPACING
    watch_options = ("expect", "settle")

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        guard: Guard | None = None,
        api_key: str | None = None,
        base_url: str = BASE_URL,
        unique_id: str | None = None,
        folder_id: int | str | None = None,
        settle: float = SETTLE,
        grace: float = GRACE,
    ) -> None:
        if not settle >= 0 or not grace >= 0:
            raise ValueError(f"settle={settle!r}, grace={grace!r}: expected seconds, 0 or more")
        self._videos = MemoriesVideos(
            session, guard=guard, api_key=api_key, base_url=base_url, unique_id=unique_id,
            folder_id=folder_id,
        )  # fmt: skip
        self.guard = self._videos.guard
        self.deployment = self._videos.deployment
        self._settle = settle
        self._grace = grace
        self._families: dict[str, Family] = {}
        self._task_of: dict[str, str] = {}
        """By the number of each video in a family."""
        self._spaced = Spacing(self.spacing)
        """Requests for a task."""

    def submitted_id(self, answer: Any) -> str | None:
        """The task in the answer to a scraper request; the API has no way to find one without it."""
        task_id = inside(answer).get("taskId", inside(answer).get("task_id"))
        return None if task_id is None else str(task_id)

    async def look(self, guard: Guard, pick: PickJobs) -> Mapping[str, Sighting]:
        """One look at many tasks, whose videos are known, and at one whose are not.

        The jobs are picked once for all of its requests, so a pick is as old as the guard lets a
        look wait.
        """
        jobs = [pick.job(task_id) for task_id in self._picked(pick)]
        said: dict[str, Sighting] = {}
        for job in jobs:
            if self._is_dear(job):
                said |= await self._list(guard, job)
        families = {
            job.remote_id: self._families[job.remote_id]
            for job in jobs
            if job.remote_id in self._families
        }
        wanted = [number for family in families.values() for number in still_open(family)]
        looked_up = await self._look_up(guard, list(dict.fromkeys(wanted)))
        now = anyio.current_time()
        for family in families.values():
            found(family, looked_up, said, now=now)
        seen = [self._sighting(job, now) for job in jobs if job.remote_id in families]
        self._remember(families, seen)
        return {one.remote_id: one for one in seen}

    def hinted(self, payload: Any) -> list[str] | None:
        """The tasks that a callback names, or of which it names a video; None if it names neither."""
        tasks, videos = tasks_of(payload), videos_of(payload)
        if not tasks and not videos:
            return None
        of_videos = (self._task_of[number] for number in videos if number in self._task_of)
        return list(dict.fromkeys((*tasks, *of_videos)))

    def _picked(self, pick: PickJobs) -> list[str]:
        """The tasks to look at: as many as have no more videos than a look asks for."""
        task_ids = pick(self.batch, dear=self._is_dear)
        videos = 0
        for count, task_id in enumerate(task_ids):
            family = self._family(pick.job(task_id))
            videos += len(still_open(family)) if family else 0
            if count and videos > LOOK_VIDEOS:
                return pick(count, dear=self._is_dear)
        return task_ids

    def _is_dear(self, job: Asked) -> bool:
        """Whether the task itself must be asked: it isn't whole, or only it knows of a video."""
        family = self._family(job)
        if family is None or not is_whole(family, **self._told(job)):
            return True
        return any(number in family.absent for number in still_open(family))

    def _family(self, job: Asked) -> Family | None:
        """What is known of its videos; what an earlier row of the task had may be out of date."""
        family = self._families.get(job.remote_id)
        if family is not None and family.rid != job.rid:
            self._forget(job.remote_id)
            return None
        return family

    def _forget(self, task_id: str) -> None:
        family = self._families.pop(task_id, None)
        for number in family.ids if family else ():
            if self._task_of.get(number) == task_id:
                del self._task_of[number]

    def _told(self, job: Asked) -> dict[str, Any]:
        """What its watcher said about this task, else what holds for all."""
        return {
            "expect": job.features.get("expect"),
            "settle": job.features.get("settle", self._settle),
        }

    async def _list(self, guard: Guard, job: Asked) -> dict[str, Sighting]:
        """Ask for the videos of one task; what the answer says about each is returned."""
        task_id, asked = job.remote_id, 0.0

        async def get_video_ids() -> aiohttp.ClientResponse:
            nonlocal asked
            asked = anyio.current_time()
            self._spaced.went()
            return await self._videos.get("get_video_ids_by_task_id", task_id=task_id)

        await self._spaced.wait()
        try:
            data = await object_of(await guard.options(endpoint="task").call(get_video_ids))
        except FatalError as error:
            if not is_unknown(error):
                raise
            data = {}
        if not data:
            self._forget(task_id)
            return {}
        family = self._families.setdefault(task_id, Family(rid=job.rid))
        numbers = _numbers(data)
        for number in set(family.ids).difference(numbers):
            self._task_of.pop(number, None)
        self._task_of.update(dict.fromkeys(numbers, task_id))
        listed(family, numbers, asked=asked, now=anyio.current_time())
        return dict(sightings_of(data))

    async def _look_up(self, guard: Guard, numbers: list[str]) -> dict[str, Sighting]:
        """How these videos are doing, by list_videos."""
        seen: dict[str, Sighting] = {}
        for start in range(0, len(numbers), BATCH):
            seen.update(await self._look_up_batch(guard, numbers[start : start + BATCH]))
        return seen

    async def _look_up_batch(self, guard: Guard, numbers: list[str]) -> Mapping[str, Sighting]:
        try:
            return await self._videos.look(guard, lambda count: numbers[:count])
        except FatalError:
            if len(numbers) == 1:
                raise
        # So many may be too many; or one of them isn't visible yet, which some deployments call an
        # error and don't say of which: the source of videos finds that out where there is only one.
        half = len(numbers) // 2
        first = await self._look_up_batch(guard, numbers[:half])
        return {**first, **await self._look_up_batch(guard, numbers[half:])}

    def _sighting(self, job: Asked, now: float) -> Sighting:
        family = self._families[job.remote_id]
        return fold(
            job.remote_id, family, word="parsed", now=now, grace=self._grace, **self._told(job)
        )

    def _remember(self, families: Mapping[str, Family], seen: list[Sighting]) -> None:
        """Keep what the next look needs, and of too many tasks those that were seen last."""
        for one in seen:
            if one.phase in (Phase.PENDING, Phase.MISSING):
                del self._families[one.remote_id]
                self._families[one.remote_id] = families[one.remote_id]
            else:
                self._forget(one.remote_id)
        while len(self._families) > MOST_FAMILIES:
            self._forget(next(iter(self._families)))


def _numbers(data: Mapping[str, Any]) -> list[str]:
    bare = data.get("video_ids")
    found_bare = [one for one in bare if one is not None] if isinstance(bare, list) else []
    return [printable(one) for one in (*found_bare, *(number for number, _ in numbered(data)))]
