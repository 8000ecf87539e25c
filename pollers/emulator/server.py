"""The emulator as its users see it, and the coroutine behind `pollers emulate`.

Everything that decides reads the running loop's clock, so the emulator also runs on virtual time.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from operator import itemgetter
from types import TracebackType
from typing import Any, Self, Unpack

from aiohttp import web

from .control import CONTROL, add_control
from .endpoints import ENDPOINTS, PREFIX
from .exchange import Endpoint, answer, begin
from .faults import Fault, interface_of
from .log import Called, Seen
from .parsing import call_back_at_end, call_back_early
from .quotas import DEFAULT_ACCOUNT, Limit
from .replies import send
from .scrapes import Scrape
from .scraping import PUBLIC
from .scraping import begin as begin_scrape
from .settings import Options, Settings
from .state import State, now
from .videos import PARSE, Video
from .wire import BAD_PARAMETERS, Reply, failure

_MAX_BODY = 64 * 1024 * 1024
_SHUTDOWN_SECONDS = 0.5


class MemoriesEmulator:
    """A server that answers as the video API of Memories.ai (v1.2, "Visual Search") does.

    Errors come with HTTP 200 and a code in the body.  Uploaded files are really decoded if PyAV is
    installed; other videos are scripted with `add_video`.  What goes wrong is scripted with `fail`.

        async with MemoriesEmulator(port=0, dialect="2025") as emulator:
            emulator.add_video("VI1", parse_after=2.0)
            emulator.fail("list", Fault(code="0429", times=3))
            await session.post(f"{emulator.base_url}/list_videos", …)

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        settings: The fields of `Settings`.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, **settings: Unpack[Options]
    ) -> None:
        self.host = host
        self.port = port
        self._state = State(Settings(**settings))
        self._runner: web.AppRunner | None = None
        self._asked_port = port
        self.app = self._make_app()

    async def __aenter__(self) -> Self:
        """Start listening."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; every task, thread and file of the emulator is gone then."""
        await self.close()

    async def start(self) -> None:
        """Listen; `port` and `base_url` are real from here on.

        Raises:
            OSError: The port is taken.
            ImportError: `decode=True` without PyAV.
        """
        if self._runner is not None:
            raise RuntimeError("the emulator is already running")
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self.host, self._asked_port).start()
        except BaseException:
            await self.close()
            raise
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening, end all work and remove the uploaded files; may be called twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            await asyncio.sleep(0)  # cancelled connections end in the loop's next round

    @property
    def base_url(self) -> str:
        """Root of the API, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{PREFIX}"

    @property
    def settings(self) -> Settings:
        """What is set now."""
        return self._state.settings

    @property
    def requests(self) -> list[Seen]:
        """Every answered request to the API, in the order of the answers; yours to clear."""
        return self._state.seen

    @property
    def callbacks(self) -> list[Called]:
        """Every callback that was made or lost."""
        return self._state.called

    @property
    def videos(self) -> Mapping[str, Video]:
        """All videos by number, of all accounts, visible or not."""
        return self._state.library.view

    @property
    def scrapes(self) -> Mapping[str, Scrape]:
        """All scraper tasks by id, of all accounts."""
        return self._state.tasks.view

    @property
    def limits(self) -> Mapping[str, Limit]:
        """The limit of each interface that has one."""
        return dict(self._state.windows.limits)

    @property
    def faults(self) -> dict[str, list[str]]:
        """Names of the faults that are still to come, by interface."""
        return self._state.faults.waiting()

    def configure(self, **changes: Unpack[Options]) -> None:
        """Change settings from now on.

        Raises:
            ValueError: A setting that only says what the emulator starts with.
        """
        self._state.settings = self._state.settings.changed(**changes)

    def fail(self, interface: str, *faults: Fault) -> None:
        """Script what goes wrong next.

        Args:
            interface: "upload", "list", "metadata", "delete", "scrape", "task"; a path's name
                ("upload_url", "list_videos", …; "upload_file" for `upload` alone); or "any".
            faults: Used in this order.
        """
        for fault in faults:
            self._state.faults.add(interface, fault)

    def clear_faults(self) -> None:
        """Forget all faults that are still to come."""
        self._state.faults.clear()

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

    def set_keys(
        self, keys: Mapping[str, str] | Iterable[str] | None, *, disabled: Iterable[str] = ()
    ) -> None:
        """Replace all keys.

        Args:
            keys: Account by key, or keys of the default account; None accepts any non-empty key.
            disabled: Keys that are answered 0403.
        """
        self._state.keys.set(keys, disabled)

    def _make_app(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY)
        app.cleanup_ctx.append(self._life)
        app.on_shutdown.append(self._state.release)
        for endpoint in ENDPOINTS:
            app.router.add_route(endpoint.method, endpoint.path, self._handler(endpoint))
        if self.settings.control:
            add_control(app, self)
        app.router.add_route("*", "/{path:.*}", self._unknown)
        return app

    async def _life(self, _: web.Application) -> AsyncIterator[None]:
        self._state.start()
        yield
        await self._state.stop()

    def _handler(
        self, endpoint: Endpoint
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await answer(self._state, endpoint, request)

        return handle

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong path or method as the API does: HTTP 200 and 0001."""
        known = any(endpoint.path == request.path for endpoint in ENDPOINTS)
        message = (
            f"Request method '{request.method}' is not supported"
            if known
            else f"No static resource {request.path.lstrip('/')}."
        )
        reply = Reply(failure(BAD_PARAMETERS, message))
        if not request.path.startswith(f"{CONTROL}/"):
            exchange = begin(self._state, request, "other")
            exchange.record(self._state, code=reply.code, status=int(HTTPStatus.OK))
        return send(reply, {})


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
    async with MemoriesEmulator(host=host, port=port, **settings) as emulator:
        if ready is not None:
            ready(emulator)
        await asyncio.get_running_loop().create_future()
