"""The videos the emulator knows, and how their status follows from the clock.

No task drives a status.  A video carries the instant at which it becomes visible and the instant at
which its parsing ends, and its status is a comparison with the time of the request.  So a hundred
thousand scripted videos cost memory and nothing else, and a question about some of them costs only
as much as their number.  All instants are seconds on the event loop's clock.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

PARSE = "PARSE"
PARSE_ERROR = "PARSE_ERROR"

_SUCCESSES = frozenset({PARSE, "DONE"})  # the list page of August 2025 says DONE

_FIRST_NUMBER = 568102998803353600


@dataclass(slots=True, kw_only=True)
class Video:
    """One video of an account.

    Attributes:
        outcome: How parsing ends: "PARSE" or "DONE", "PARSE_ERROR" (said in the deployment's own
            word for a failure), or any other text, which is reported as it is and is a failure.
        terminal_at: When parsing ends, seconds on the loop's clock; `inf` while nobody knows.
        visible_at: From when on reads know the video, seconds on the loop's clock.
        duration: Seconds.
        size: Bytes.
        created_ms: Milliseconds since 1970.
    """

    video_no: str
    name: str
    account: str = "default"
    unique_id: str = "default"
    folder_id: int = -1
    tags: tuple[str, ...] = ()
    created_ms: int = 0
    sequence: int = 0
    visible_at: float = -math.inf
    terminal_at: float = math.inf
    outcome: str = PARSE
    pending: str = "UNPARSE"
    cause: str | None = None
    duration: float = 0.0
    size: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    callback: str | None = None

    @property
    def good(self) -> bool:
        """Whether parsing goes well."""
        return self.outcome in _SUCCESSES

    def ended_at(self, now: float) -> bool:
        """Whether parsing is over, one way or the other."""
        return now >= self.terminal_at

    def failed_at(self, now: float) -> bool:
        """Whether parsing is over and went wrong."""
        return now >= self.terminal_at and not self.good

    def status_at(self, now: float, failure_word: str) -> str:
        """The status text a read reports at that instant."""
        if now < self.terminal_at:
            return self.pending
        return failure_word if self.outcome == PARSE_ERROR else self.outcome


class Library:
    """All videos of all accounts, newest first when they are listed."""

    def __init__(self) -> None:
        self._videos: dict[str, Video] = {}
        self._shelves: dict[tuple[str, str], dict[str, Video]] = {}
        self._deleted: set[tuple[str, str]] = set()
        self._all_visible_at = -math.inf
        self._made = 0
        self.view: Mapping[str, Video] = MappingProxyType(self._videos)

    def next_number(self) -> str:
        """A video number that was never given before."""
        while True:
            number = f"VI{_FIRST_NUMBER + self._made}"
            self._made += 1
            if number not in self._videos:
                return number

    def add(self, video: Video) -> None:
        """Put a video on its shelf; one with the same number is replaced."""
        old = self._videos.get(video.video_no)
        if old is not None:
            self._take_off(old)
        self._made += 1
        video.sequence = self._made
        video.created_ms = video.created_ms or time.time_ns() // 1_000_000
        self._videos[video.video_no] = video
        self._shelves.setdefault((video.account, video.unique_id), {})[video.video_no] = video
        self._all_visible_at = max(self._all_visible_at, video.visible_at)

    def find(self, video_no: str, *, account: str, unique_id: str, now: float) -> Video | None:
        """The video, if this account may see it in this namespace at this instant."""
        video = self._videos.get(video_no)
        if video is None or (video.account, video.unique_id) != (account, unique_id):
            return None
        return video if now >= video.visible_at else None

    def find_all(
        self, video_nos: Iterable[str], *, account: str, unique_id: str, now: float
    ) -> list[Video]:
        """Those of the asked that are known, newest first; costs as much as was asked."""
        asked = dict.fromkeys(video_nos)
        found = (self.find(n, account=account, unique_id=unique_id, now=now) for n in asked)
        return sorted((v for v in found if v is not None), key=lambda v: -v.sequence)

    def page(
        self, *, account: str, unique_id: str, now: float, start: int, size: int
    ) -> tuple[list[Video], int]:
        """A slice of everything and the number of everything, newest first."""
        shelf = self._shelves.get((account, unique_id), {})
        if now >= self._all_visible_at:
            return list(islice(reversed(shelf.values()), start, start + size)), len(shelf)
        shown = self.select(account=account, unique_id=unique_id, now=now, keep=lambda _: True)
        return shown[start : start + size], len(shown)

    def select(
        self, *, account: str, unique_id: str, now: float, keep: Callable[[Video], bool]
    ) -> list[Video]:
        """All visible videos that `keep` accepts, newest first; looks at every one."""
        shelf = self._shelves.get((account, unique_id), {})
        return [v for v in reversed(shelf.values()) if now >= v.visible_at and keep(v)]

    def was_deleted(self, video_no: str, *, account: str) -> bool:
        """Whether this account had such a video and deleted it."""
        return (account, video_no) in self._deleted

    def delete(self, video: Video) -> None:
        """Take the video away and remember that it was there."""
        if self._videos.get(video.video_no) is video:
            del self._videos[video.video_no]
            self._take_off(video)
            self._deleted.add((video.account, video.video_no))

    def _take_off(self, video: Video) -> None:
        self._shelves[video.account, video.unique_id].pop(video.video_no, None)
