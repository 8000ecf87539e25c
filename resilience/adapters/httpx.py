"""The transport for ``httpx.AsyncClient``, and for that of its successor ``httpx2``.

* **Client**: ``guard.install(client)`` wraps the transports that it has, so proxies, TLS, limits and
  mounts stay; ``AsyncClient(transport=guard.httpx(inner))`` does the same for one transport.
* **Settings**: ``extensions={"resilience": {"endpoint": "upload", "idempotent": True}}`` gives those
  of one request; they beat ``guard.using``, which beats ``guard.options``.
* **Body**: sent again only if httpx can send it twice (bytes, JSON, forms, seekable files); after a
  streamed upload the first failure is final, unless no connection was made at all.
* **Answer**: up to 8 MiB of JSON is read, and can still be read in every way of the client (it
  decodes ``content-encoding`` itself, from the bytes as they came); everything else goes by its
  status and stays unread.
* **Stream**: the first event of ``text/event-stream`` is a body too, if it comes within 5 s and
  64 KiB; the caller gets the stream from its beginning, and nothing is repeated after that.
* **Redirects**: each hop is one request of its own.
* **Failure**: the last response is handed back, as the client is used to, with the header
  ``x-should-retry: false``, which SDKs made by Stainless obey; what there is no response for is
  raised.  A discarded response is closed before any wait.
"""

from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any, Self

from resilience._attempt import Attempted
from resilience.adapters.adapter import ERROR, Adapter, read_with
from resilience.adapters.repeats import LET_IT_BE
from resilience.adapters.replayed import library_of, outcome_of_response, own_class
from resilience.guard import Guard

SETTINGS = "resilience"
"""The key of ``extensions`` with the settings of one request."""

_PORTS = {"http": 80, "https": 443}
_NOTHING_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout")


class Transport(Adapter[Any, Any]):
    """Wraps ``inner``, an async transport of httpx or httpx2.  Made by :func:`wrapped`."""

    __slots__ = ("inner", "library")

    def __init__(
        self, guard: Guard, hosts: Collection[str] | None, inner: Any, library: ModuleType
    ) -> None:
        super().__init__(guard, hosts)
        self.inner = inner
        self.library = library

    async def handle_async_request(self, request: Any) -> Any:
        """One request of the client, with everything the guard does about it."""
        url = request.url
        if not self._is_ours(url.host, url.port or _PORTS.get(url.scheme)):
            return await self.inner.handle_async_request(request)
        return await self._send(request, self.inner.handle_async_request)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self.inner.aclose()

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.inner.__aexit__(*raised)

    async def _read(self, response: Any) -> Attempted:
        tried = await read_with(outcome_of_response, response, response.status_code)
        body = tried.body.body
        if type(body) is bytes and response.status_code < ERROR and self._is_success(body):
            tried.body = None
        return tried

    def _path(self, request: Any) -> str:
        path: str = request.url.path
        return path

    def _settings(self, request: Any) -> Mapping[str, Any] | None:
        settings = request.extensions.get(SETTINGS)
        if settings is not None and not isinstance(settings, Mapping):
            raise TypeError(f"extensions[{SETTINGS!r}]: {settings!r} is not a dict of settings")
        return settings

    def _replayable(self, request: Any, tried: Attempted) -> bool:
        stream = request.stream
        if isinstance(stream, self.library.ByteStream):
            return True
        if fields := getattr(stream, "fields", None):  # multipart, which goes back to the start
            return all(_is_repeatable(getattr(field, "file", b"")) for field in fields)
        unsent = tuple(getattr(self.library, name) for name in _NOTHING_SENT)
        begun = getattr(stream, "_is_stream_consumed", False)
        return isinstance(tried.exception, unsent) and not begun

    def _give_up(self, response: Any) -> None:
        name, value = LET_IT_BE
        response.headers[name] = value


def wrapped(guard: Guard, hosts: Collection[str] | None, inner: Any) -> Any:
    """The transport with the guard around it; one that is there already takes the new settings.

    Raises:
        TypeError: not an async transport.
    """
    if inner is None:
        try:
            import httpx
        except ModuleNotFoundError as missing:
            hint = "guard.httpx() needs: pip install 'resilience-pollers[httpx]'"
            raise ModuleNotFoundError(f"{hint} ({missing})", name=missing.name) from None

        inner = httpx.AsyncHTTPTransport()
    library = library_of(inner, "AsyncBaseTransport")
    if library is None:
        raise TypeError(f"{inner!r} is not an httpx.AsyncBaseTransport, e.g. AsyncHTTPTransport()")
    layer = inner
    while isinstance(layer, Transport):
        if layer.guard._shared is guard._shared:  # noqa: SLF001  # or attempts would multiply
            layer.use(guard, hosts)
            return inner
        layer = layer.inner
    return own_class(Transport, library, "AsyncBaseTransport")(guard, hosts, inner, library)


def install(guard: Guard, hosts: Collection[str] | None, client: Any) -> None:
    """Wrap every transport of a client in place.

    Raises:
        TypeError: not an ``httpx.AsyncClient``; says which way is the right one.
    """
    if library_of(client, "AsyncClient") is None:
        raise TypeError(
            f"guard.install takes an httpx.AsyncClient, not {client!r}{_instead(client)}"
        )
    client._transport = wrapped(guard, hosts, client._transport)  # noqa: SLF001
    client._mounts = {  # noqa: SLF001
        # None means "no proxy here": the client falls back to its own transport, which is wrapped
        pattern: None if transport is None else wrapped(guard, hosts, transport)
        for pattern, transport in client._mounts.items()  # noqa: SLF001
    }


def _instead(client: Any) -> str:
    if library_of(client, "Client") is not None:
        return ": a sync client can't be awaited, so use AsyncClient"
    if type(client).__module__.startswith("aiohttp"):
        return ": give an aiohttp.ClientSession the middleware, middlewares=[guard.aiohttp()]"
    return ": for an SDK, give it http_client=guard.install(AsyncClient()), or guard its functions"


def _is_repeatable(file: Any) -> bool:
    """Text and bytes, or a file that httpx can take back to its beginning."""
    if isinstance(file, (str, bytes)):
        return True
    seekable = getattr(file, "seekable", None)
    return bool(seekable()) if seekable else hasattr(file, "seek")
