"""The scraper tasks the emulator knows, and which of their videos are there at an instant.

As with a video's status, no task drives this: a scraper task carries the instant at which each of
its videos appears in its list, and the list is a comparison with the time of the request.  Nothing
in it says how many are still to come or that the task has failed; a bad address is a list that stays
empty.  All instants are seconds on the event loop's clock.
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from .videos import Video


@dataclass(slots=True, kw_only=True)
class Scrape:
    """One scraper task of an account.

    Attributes:
        videos: Its videos and when each is downloaded, in that order.
        known_at: From when on reads know the task, seconds on the loop's clock.
        fails_at: When a task without videos gives up, which only a callback tells.
        callback: URL of the callbacks.
    """

    task_id: str
    account: str = "default"
    unique_id: str = "default"
    videos: Sequence[tuple[float, Video]] = field(default=())
    known_at: float = -math.inf
    fails_at: float = math.inf
    callback: str | None = None

    def videos_at(self, now: float) -> list[Video]:
        """What is downloaded at that instant."""
        return [video for appears_at, video in self.videos if now >= appears_at]

    @property
    def finished_at(self) -> float:
        """When the scraping is over: the last video is there, or there will be none."""
        return max((appears_at for appears_at, _ in self.videos), default=self.fails_at)


class Tasks:
    """All scraper tasks of all accounts."""

    def __init__(self) -> None:
        self._tasks: dict[str, Scrape] = {}
        self.view: Mapping[str, Scrape] = MappingProxyType(self._tasks)

    def next_id(self) -> str:
        """A task id that was never given before."""
        return str(uuid.uuid4())

    def add(self, scrape: Scrape) -> None:
        """Keep a task; one with the same id is replaced."""
        self._tasks[scrape.task_id] = scrape

    def find(self, task_id: str, *, account: str, unique_id: str, now: float) -> Scrape | None:
        """The task, if this account may see it in this namespace at this instant."""
        scrape = self._tasks.get(task_id)
        if scrape is None or (scrape.account, scrape.unique_id) != (account, unique_id):
            return None
        return scrape if now >= scrape.known_at else None
