"""What every emulator is to its users: a server with scripted faults, keys, limits and a log.

A provider adds its settings, its endpoints and what can be scripted of its own.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from aiohttp import web

from .control import CONTROL, Act, add_control
from .exchange import Endpoint, answer, begin, refuse
from .faults import Fault
from .log import Called, Seen
from .provider import ProviderState
from .quotas import Limit
from .surface import Code, RefusedError, Surface

S = TypeVar("S", bound=ProviderState)

_MAX_BODY = 64 * 1024 * 1024
_SHUTDOWN_SECONDS = 0.5


class Emulator(ABC, Generic[S]):
    """A server that answers as a provider does.

    Args:
        state: All that decides its answers.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
    """

    surfaces: ClassVar[Mapping[str, Surface]]
    """Every surface by the path of its root; the first is that of `base_url`."""

    endpoints: tuple[Endpoint[S], ...]

    unknown: ClassVar[Code]
    """Code of the answer to a wrong path or method."""

    acts: ClassVar[Mapping[str, Act]]
    """What the control interface can do beside reading."""

    def __init__(self, state: S, *, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._state = state
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

    async def run(self, ready: Callable[[Self], object] | None = None) -> None:
        """Listen until cancelled; `ready` is called once with the emulator when it does."""
        async with self:
            if ready is not None:
                ready(self)
            await asyncio.get_running_loop().create_future()

    @property
    def base_url(self) -> str:
        """Root of the API, without a slash at its end."""
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        """Roots of all surfaces."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return [f"http://{host}:{self.port}{root}" for root in self.surfaces]

    @property
    def requests(self) -> list[Seen]:
        """Every answered request to the API, in the order of the answers; yours to clear."""
        return self._state.seen

    @property
    def callbacks(self) -> list[Called]:
        """Every callback that was made or lost."""
        return self._state.called

    @property
    def limits(self) -> Mapping[str, Limit]:
        """The limit of each interface that has one."""
        return dict(self._state.windows.limits)

    @property
    def faults(self) -> dict[str, list[str]]:
        """Names of the faults that are still to come, by interface."""
        return self._state.faults.waiting()

    def fail(self, interface: str, *faults: Fault) -> None:
        """Script what goes wrong next.

        Args:
            interface: One of the API's (Memories.ai: "upload", "list", "metadata", "delete", "task",
                "scrape", "search", "chat", "download", of its other surfaces "v2_upload", "vlm",
                "datalake_read", …; MemOS Cloud: "add_message", "get_status", …); a path's name
                ("upload_url", "chat_stream", …; "upload_file" for `upload` alone); or "any".
            faults: Used in this order.
        """
        for fault in faults:
            self._state.faults.add(interface, fault)

    def clear_faults(self) -> None:
        """Forget all faults that are still to come."""
        self._state.faults.clear()

    def set_keys(
        self, keys: Mapping[str, str] | Iterable[str] | None, *, disabled: Iterable[str] = ()
    ) -> None:
        """Replace all keys.

        Args:
            keys: Account by key, or keys of the default account; None accepts any non-empty key.
            disabled: Keys that are refused as disabled.
        """
        self._state.keys.set(keys, disabled)

    @abstractmethod
    def set_limit(self, interface: str, calls: int | None, per: float = 1.0) -> None:
        """Allow so much in `per` seconds by account; None: as much as you like."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What the control interface tells of the things that the provider has."""

    def _make_app(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY)
        app.cleanup_ctx.append(self._life)
        app.on_shutdown.append(self._state.release)
        for endpoint in self.endpoints:
            app.router.add_route(endpoint.method, endpoint.path, self._handler(endpoint))
        if self._state.settings.control:
            add_control(app, self)
        app.router.add_route("*", "/{path:.*}", self._lost)
        return app

    async def _life(self, _: web.Application) -> AsyncIterator[None]:
        self._state.start()
        yield
        await self._state.stop()

    def _handler(
        self, endpoint: Endpoint[S]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await answer(self._state, endpoint, request)

        return handle

    async def _lost(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong path or method as its surface does, or else the first."""
        roots = (
            manners for root, manners in self.surfaces.items() if request.path.startswith(root)
        )
        surface = next(roots, next(iter(self.surfaces.values())))
        known = any(re.fullmatch(_pattern(e.path), request.path) for e in self.endpoints)
        message = (
            f"Request method '{request.method}' is not supported"
            if known
            else f"No static resource {request.path.lstrip('/')}."
        )
        status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
        refusal = RefusedError(self.unknown, message, status=status)
        exchange = begin(self._state, request, "other", surface)
        return await refuse(
            self._state, exchange, refusal, log=not request.path.startswith(f"{CONTROL}/")
        )


def _pattern(path: str) -> str:
    """A path of the table as a regular expression."""
    return re.sub(r"\{\w+(?::([^}]+))?\}", lambda found: f"(?:{found[1] or '[^/]+'})", path)
