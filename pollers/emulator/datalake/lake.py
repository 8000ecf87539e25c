"""What the Datalake knows: videos, each with the operation that indexes it.

No timer drives a status: it is a comparison of an instant with the clock, as everywhere here.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from pollers.emulator.videos import PARSE, PARSE_ERROR, Video

DEFAULT_COLLECTION = "col_default"

_STAGES = ("preprocess", "index", "derive")

Stage = Literal["pending", "running", "done"]


@dataclass(slots=True, kw_only=True)
class Ingest:
    """A video and its operation.

    Attributes:
        video: Whose `terminal_at` is when the operation is done.
        operation: Id of the operation.
        collection_id: Where the video is.
        started_at: When it was sent, seconds on the loop's clock.
        partial: What of the derived is missing although the video is ready: the operation's
            `error`, beside `done: true`.
    """

    video: Video
    operation: str
    collection_id: str = DEFAULT_COLLECTION
    started_at: float
    partial: str | None = None

    def status_at(self, now: float) -> Literal["processing", "ready", "failed"]:
        """The video's status at that instant."""
        if not self.video.ended_at(now):
            return "processing"
        return "ready" if self.video.good else "failed"

    def error_at(self, now: float) -> dict[str, str] | None:
        """What the operation complains of at that instant, if anything."""
        if self.video.failed_at(now):
            cause = self.video.cause or "The video could not be indexed"
            return {"code": "ingest_failed", "message": cause}
        if self.video.ended_at(now) and self.partial is not None:
            return {"code": "partial_failure", "message": self.partial}
        return None

    def percent_at(self, now: float) -> int:
        """How far it is, for people to look at; below 100 until it is done."""
        if self.video.ended_at(now):
            return 100
        span = self.video.terminal_at - self.started_at
        return 0 if math.isinf(span) or span <= 0 else int(100 * (now - self.started_at) / span)

    def progress_at(self, now: float) -> dict[str, Stage | int]:
        """Each stage, and the percentage."""
        percent = self.percent_at(now)
        reached = percent * len(_STAGES) // 100
        stages: dict[str, Stage | int] = {}
        for number, stage in enumerate(_STAGES):
            running: Stage = "running" if number == reached else "pending"
            stages[stage] = "done" if number < reached else running
        return stages | {"percent": percent}


class Lake:
    """The videos of all accounts, and which idempotency key made which.

    Args:
        clock: Now, in seconds on the loop's clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ingests: dict[str, Ingest] = {}
        self._operations: dict[str, Ingest] = {}
        self._keys: dict[tuple[str, str], Ingest] = {}
        self._made = 0

    def add(
        self,
        video_id: str | None = None,
        *,
        ready_after: float | None = 0.0,
        error: str | None = None,
        partial: str | None = None,
        duration: float = 10.0,
        name: str = "video",
        account: str = "default",
        collection_id: str = DEFAULT_COLLECTION,
        key: str | None = None,
    ) -> Ingest:
        """Register a video that is indexed by script.

        Args:
            video_id: Its id; made up if None, replaced if known.
            ready_after: Seconds from now until its operation is done; None: never.
            error: Why it fails; None: it doesn't.
            partial: What its operation complains of although the video is ready.
            duration: Seconds.
            name: Its title.
            account: Whose it is.
            collection_id: Where it is.
            key: The idempotency key it was sent with.
        """
        self._made += 1
        now = self._clock()
        video = Video(
            video_no=video_id or f"vid_{self._made}",
            name=name,
            account=account,
            terminal_at=math.inf if ready_after is None else now + ready_after,
            outcome=PARSE if error is None else PARSE_ERROR,
            cause=error,
            duration=duration,
        )
        ingest = Ingest(
            video=video,
            operation=f"op_{self._made}",
            collection_id=collection_id,
            started_at=now,
            partial=partial,
        )
        self._ingests[video.video_no] = self._operations[ingest.operation] = ingest
        if key is not None:
            self._keys[account, key] = ingest
        return ingest

    def made_by(self, key: str | None, *, account: str) -> Ingest | None:
        """What this account sent with that idempotency key before."""
        return None if key is None else self._keys.get((account, key))

    def get(self, video_id: str, *, account: str) -> Ingest | None:
        """The video, if it is this account's."""
        return _owned(self._ingests.get(video_id), account)

    def operation(self, name: str, *, account: str) -> Ingest | None:
        """The operation, if it is this account's."""
        return _owned(self._operations.get(name), account)

    def of(self, account: str, collection_id: str | None) -> Iterator[Ingest]:
        """An account's videos, newest first, of one collection or of all."""
        for ingest in reversed(self._ingests.values()):
            if ingest.video.account == account and collection_id in {None, ingest.collection_id}:
                yield ingest


def _owned(ingest: Ingest | None, account: str) -> Ingest | None:
    return ingest if ingest is not None and ingest.video.account == account else None
