"""What Visual Intelligence knows of an account: assets, and tasks that work on posts.

As with videos, no timer drives a status: it is a comparison of an instant with the clock.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pollers.emulator.videos import PARSE, PARSE_ERROR, Video

_FIRST_ASSET = 657929111888723968
_PENDING_SHARE = 0.25


@dataclass(slots=True, kw_only=True)
class Task:
    """A piece of background work.

    Attributes:
        task_id: Its id, 32 hexadecimal digits.
        started_at: When it was made, seconds on the loop's clock.
        ends_at: When it ends, seconds on the loop's clock; `inf`: never.
        error: Why it fails; None: it doesn't.
        result: What `data` is when it is completed.
        account: Whose it is.
    """

    task_id: str
    started_at: float
    ends_at: float
    error: str | None = None
    result: dict[str, Any]
    account: str

    def status_at(self, now: float) -> Literal["pending", "processing", "completed", "failed"]:
        """The status text at that instant; the first quarter of the time it is pending."""
        if now >= self.ends_at:
            return "completed" if self.error is None else "failed"
        if math.isinf(self.ends_at):
            return "pending" if now == self.started_at else "processing"
        begins = self.started_at + _PENDING_SHARE * (self.ends_at - self.started_at)
        return "pending" if now < begins else "processing"


class Assets:
    """The assets and tasks of all accounts.

    Args:
        clock: Now, in seconds on the loop's clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._assets: dict[str, Video] = {}
        self._tasks: dict[str, Task] = {}
        self._made = 0

    def add_asset(
        self,
        asset_id: str | None = None,
        *,
        error: str | None = None,
        duration: float = 10.0,
        size: int = 1_000_000,
        name: str | None = None,
        account: str = "default",
    ) -> Video:
        """Register an asset that is ready, or one that has failed.

        Args:
            asset_id: Its id, `re_…`; made up if None, replaced if known.
            error: Why it failed; None: it didn't.
            duration: Seconds.
            size: Bytes.
            name: Its file's name; the id if None.
            account: Whose it is.
        """
        number = asset_id or self._next_asset()
        video = Video(
            video_no=number,
            name=name or number,
            account=account,
            terminal_at=-math.inf,
            outcome=PARSE if error is None else PARSE_ERROR,
            cause=error,
            duration=duration,
            size=size,
        )
        self._assets[number] = video
        return video

    def receive(self, *, name: str, size: int, account: str) -> Video:
        """Register an upload that is still to be looked at."""
        video = Video(video_no=self._next_asset(), name=name, account=account, size=size)
        self._assets[video.video_no] = video
        return video

    def asset(self, asset_id: str, *, account: str) -> Video | None:
        """The asset, if it is this account's."""
        video = self._assets.get(asset_id)
        return video if video is not None and video.account == account else None

    def delete(self, asset: Video) -> None:
        """Take an asset away."""
        self._assets.pop(asset.video_no, None)

    def add_task(
        self,
        task_id: str | None = None,
        *,
        ends_after: float | None = 0.0,
        error: str | None = None,
        result: dict[str, Any] | None = None,
        account: str = "default",
    ) -> Task:
        """Register a task.

        Args:
            task_id: Its id; made up if None, replaced if known.
            ends_after: Seconds from now until it ends; None: never.
            error: Why it fails; None: it doesn't.
            result: What `data` is when it is completed.
            account: Whose it is.
        """
        self._made += 1
        now = self._clock()
        task = Task(
            task_id=task_id or f"{self._made:032x}",
            started_at=now,
            ends_at=math.inf if ends_after is None else now + ends_after,
            error=error,
            result=result or {},
            account=account,
        )
        self._tasks[task.task_id] = task
        return task

    def task(self, task_id: str, *, account: str) -> Task | None:
        """The task, if it is this account's."""
        task = self._tasks.get(task_id)
        return task if task is not None and task.account == account else None

    def _next_asset(self) -> str:
        self._made += 1
        return f"re_{_FIRST_ASSET + self._made}"
