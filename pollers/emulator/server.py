"""The emulator as its users see it, and the coroutine behind `pollers emulate`.

Everything that decides reads the running loop's clock, so the emulator also runs on virtual time.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any, ClassVar, Unpack

from .base import Emulator
from .control import ACTS
from .datalake.endpoints import DATALAKE_ENDPOINTS
from .datalake.lake import Lake
from .datalake.wire import DATALAKE
from .datalake.wire import PREFIX as DATALAKE_PREFIX
from .endpoints import ENDPOINTS, PREFIX
from .faults import interface_of
from .parsing import call_back_at_end, call_back_early
from .provider import now
from .quotas import DEFAULT_ACCOUNT, Limit
from .scrapes import Scrape
from .scraping import PUBLIC
from .scraping import begin as begin_scrape
from .settings import Options, Settings
from .state import State
from .surface import Surface
from .v2.assets import Assets
from .v2.endpoints import V2_ENDPOINTS
from .v2.wire import PREFIX as V2_PREFIX
from .v2.wire import VISUAL_INTELLIGENCE
from .videos import PARSE, Video
from .wire import BAD_PARAMETERS, VISUAL_SEARCH


class MemoriesEmulator(Emulator[State]):
    """A server that answers as the video API of Memories.ai does, all surfaces on one port.

    `base_url` is Visual Search (v1.2), where errors come with HTTP 200 and a code in the body;
    `v2_url` is Visual Intelligence and `datalake_url` the Video Datalake, where the status is real.
    Uploaded files are really decoded if PyAV is installed; other videos are scripted with
    `add_video`, `add_scrape`, `assets.add_asset` and `lake.add`.  What goes wrong is scripted with
    `fail`.

        async with MemoriesEmulator(port=0, dialect="2025") as emulator:
            emulator.add_video("VI1", parse_after=2.0)
            emulator.fail("list", Fault(code="0429", times=3))
            await session.post(f"{emulator.base_url}/list_videos", …)

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        settings: The fields of `Settings`.
    """

    surfaces: ClassVar[Mapping[str, Surface]] = MappingProxyType(
        {PREFIX: VISUAL_SEARCH, V2_PREFIX: VISUAL_INTELLIGENCE, DATALAKE_PREFIX: DATALAKE}
    )
    endpoints = (*ENDPOINTS, *V2_ENDPOINTS, *DATALAKE_ENDPOINTS)
    unknown = BAD_PARAMETERS
    acts = ACTS

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, **settings: Unpack[Options]
    ) -> None:
        super().__init__(State(Settings(**settings)), host=host, port=port)

    def describe(self) -> dict[str, Any]:
        """Videos, how many of them are parsed or failed, and scraper tasks."""
        at = now()
        return {
            "videos": len(self.videos),
            "ended": sum(video.ended_at(at) for video in self.videos.values()),
            "scrapes": len(self.scrapes),
            "dialect": self.settings.dialect,
        }

    @property
    def v2_url(self) -> str:
        """Root of Visual Intelligence (v2)."""
        return self.urls[1]

    @property
    def datalake_url(self) -> str:
        """Root of the Video Datalake."""
        return self.urls[2]

    @property
    def settings(self) -> Settings:
        """What is set now."""
        return self._state.settings

    @property
    def videos(self) -> Mapping[str, Video]:
        """All videos by number, of all accounts, visible or not."""
        return self._state.library.view

    @property
    def scrapes(self) -> Mapping[str, Scrape]:
        """All scraper tasks by id, of all accounts."""
        return self._state.tasks.view

    @property
    def assets(self) -> Assets:
        """Assets and tasks of Visual Intelligence: `add_asset`, `add_task`."""
        return self._state.assets

    @property
    def lake(self) -> Lake:
        """Videos and operations of the Datalake: `add`."""
        return self._state.lake

    def configure(self, **changes: Unpack[Options]) -> None:
        """Change settings from now on.

        Raises:
            ValueError: A setting that only says what the emulator starts with.
        """
        self._state.settings = self._state.settings.changed(**changes)

    def add_video(
        self,
        video_no: str | None = None,
        *,
        parse_after: float | None = 0.0,
        outcome: str = PARSE,
        cause: str | None = None,
        duration: float = 10.0,
        visible_after: float = 0.0,
        pending: str = "UNPARSE",
        name: str | None = None,
        size: int = 1_000_000,
        account: str = DEFAULT_ACCOUNT,
        unique_id: str = "default",
        folder_id: int = -1,
        tags: Sequence[str] = (),
        callback: str | None = None,
    ) -> Video:
        """Register a video that is parsed by script; costs no task, unless it has a callback.

        Args:
            video_no: Its number; made up if None, replaced if known.
            parse_after: Seconds from now until its status is terminal; None or `inf`: never.
            outcome: "PARSE" or "DONE", "PARSE_ERROR" (said in the deployment's word for a
                failure), or any other text, which is reported as it is and is a failure.
            cause: Why it failed.
            duration: Seconds.
            visible_after: Seconds from now until reads know it.
            pending: Status until then.
            name: Its name; the number if None.
            size: Bytes.
            account: Whose it is.
            unique_id: Its namespace.
            folder_id: Its folder; -1 is the default one.
            tags: Its tags.
            callback: URL of the callback when it ends.
        """
        at = now()
        number = video_no or self._state.library.next_number()
        video = Video(
            video_no=number,
            name=name or number,
            account=account,
            unique_id=unique_id,
            folder_id=folder_id,
            tags=tuple(tags),
            visible_at=at + visible_after,
            terminal_at=math.inf if parse_after is None else at + parse_after,
            outcome=outcome,
            pending=pending,
            cause=cause,
            duration=duration,
            size=size,
            callback=callback,
        )
        self._state.library.add(video)
        if callback is not None and video.terminal_at != math.inf:
            self._state.spawn(call_back_early(self._state, video))
            self._state.spawn(call_back_at_end(self._state, video))
        return video

    def add_scrape(
        self,
        task_id: str | None = None,
        *,
        videos: Iterable[Mapping[str, Any]] = (),
        known_after: float = 0.0,
        fails_after: float | None = None,
        account: str = DEFAULT_ACCOUNT,
        unique_id: str = "default",
        public: bool = False,
        callback: str | None = None,
    ) -> Scrape:
        """Register a scraper task whose videos come and are parsed by script.

        Args:
            task_id: Its id; made up if None, replaced if known.
            videos: For each video `appears_after` (seconds from now until the task's list has it;
                0) and what `add_video` takes; `parse_after` and `visible_after`, in seconds from
                now too, are as late as the appearance if they aren't given.
            known_after: Seconds from now until reads know the task.
            fails_after: Seconds from now until a task without videos gives up, which only a
                callback tells; None: never.
            account: Whose it is.
            unique_id: Its namespace, and its videos'.
            public: Whether its videos are in the public library, which list_videos doesn't show.
            callback: URL of its callbacks.
        """
        at = now()
        children = []
        for video in videos:
            fields = dict(video)
            appears = fields.pop("appears_after", 0.0)
            fields = {"parse_after": appears, "visible_after": appears} | fields
            owner = PUBLIC if public else account
            made = self.add_video(**fields, account=owner, unique_id=unique_id)
            made.callback = callback
            children.append((at + appears, made))
        scrape = Scrape(
            task_id=task_id or self._state.tasks.next_id(),
            account=account,
            unique_id=unique_id,
            videos=sorted(children, key=itemgetter(0)),
            known_at=at + known_after,
            fails_at=math.inf if fails_after is None else at + fails_after,
            callback=callback,
        )
        begin_scrape(self._state, scrape)
        return scrape

    def set_limit(self, interface: str, calls: int | None, per: float = 1.0) -> None:
        """Allow `calls` requests in `per` seconds by account; None: as many as you like."""
        limit = None if calls is None else Limit(calls, per)
        self._state.windows.set(interface_of(interface), limit)

    def top_up(self, points: float, *, account: str = DEFAULT_ACCOUNT) -> float:
        """Add points to an account and return its balance; counting begins if it hadn't."""
        self._state.points.top_up(account, points)
        return self._state.points.balance(account) or 0.0

    def balance(self, account: str = DEFAULT_ACCOUNT) -> float | None:
        """The points of an account; None if points are not counted."""
        return self._state.points.balance(account)


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int,
    ready: Callable[[MemoriesEmulator], object] | None = None,
    **settings: Unpack[Options],
) -> None:
    """Run an emulator until cancelled; what `pollers emulate` calls.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        ready: Called once with the emulator when it listens, to print its `base_url`.
        settings: The fields of `Settings`.

    Raises:
        OSError: The port is taken.
    """
    await MemoriesEmulator(host=host, port=port, **settings).run(ready)
