"""The middleware for ``aiohttp.ClientSession`` (aiohttp 3.12 and later).

* **Method and endpoint**: matched on method and path; other hosts pass through untouched.
* **Body**: sent again only if aiohttp can send it twice (bytes, JSON, forms, seekable files); after
  a streamed upload the first failure is final, because aiohttp would send an *empty* body.
* **Answer**: up to 8 MiB of JSON is read and put back, so ``json()``, ``read()`` and ``content`` all
  still work; everything else goes by its status and stays unread.
* **Redirects**: aiohttp runs the middleware for each hop; each hop is one request of its own.
* **Failure**: the last response is handed back, as the client is used to; what there is no response
  for is raised.  A discarded response is released before any wait.
"""

import warnings
from collections.abc import Collection

from aiohttp import ClientConnectorError, ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.payload import AsyncIterablePayload

from resilience._attempt import Attempted, First
from resilience._core.policy.model import Outcome
from resilience._report import remember_success
from resilience.adapters.results import JSON_LIMIT, is_json_type, outcome_of_exception
from resilience.guard import Guard

_CHUNK = 64 * 1024
_ERROR = 400


class Middleware:
    """``aiohttp.ClientSession(middlewares=[guard.aiohttp()])``."""

    __slots__ = ("_is_success", "guard", "hosts")

    def __init__(self, guard: Guard, hosts: Collection[str] | None) -> None:
        self.guard = guard
        self._is_success = guard.policy.plain.of_bytes
        self.hosts = _checked(guard.policy.hosts if hosts is None else hosts)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """One request of the session, with everything the guard does about it."""
        if not self._is_ours(request):
            return await handler(request)
        guard = self.guard
        fast = guard.fast_lane(request.method, request.url.raw_path)
        if fast is None:
            return await self._guarded(request, handler, None)
        lane, epoch, reading = fast
        try:
            response = await handler(request)  # like in ``Guard.call``, a success builds nothing
        except Exception as error:  # noqa: BLE001  # judged, and raised in the end
            tried = Attempted(exception=error, body=outcome_of_exception(error))
        else:
            if self._is_plain_success(response):
                if lane.failing:
                    lane.failing -= 1
                where = request.method, request.url
                remember_success(response, guard.policy, where, guard.since(reading))
                return response
            tried = await _read(response)
        finally:
            lane.in_flight -= 1
        return await self._guarded(request, handler, First(tried, epoch, reading))

    async def _guarded(
        self, request: ClientRequest, handler: ClientHandlerType, first: First | None
    ) -> ClientResponse:
        response: ClientResponse = await self.guard.transport(
            lambda: self._try(request, handler),
            method=request.method,
            path=request.url.raw_path,
            deadline=_session_total(request),
            replayable=lambda tried: _replayable(request, tried),
            first=first,
        )
        return response

    async def _try(self, request: ClientRequest, handler: ClientHandlerType) -> Attempted:
        """One attempt; without an outcome in ``body`` if it certainly is a success."""
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001  # judged, and raised in the end
            return Attempted(exception=error, body=outcome_of_exception(error))
        return (
            Attempted(value=response) if self._is_plain_success(response) else await _read(response)
        )

    def _is_plain_success(self, response: ClientResponse) -> bool:
        body = _in_buffer(response)
        return body is not None and response.status < _ERROR and self._is_success(body)

    def _is_ours(self, request: ClientRequest) -> bool:
        host = request.url.raw_host or ""  # ``host`` would be decoded anew for each request
        ours = host in self.hosts or f"{host}:{request.url.port}" in self.hosts
        if not ours:
            self.guard.tell_unguarded(host)
        return ours


def _checked(hosts: Collection[str]) -> frozenset[str]:
    """A middleware that silently guards nothing is worse than none."""
    if isinstance(hosts, str):
        raise TypeError(f"hosts={hosts!r}: give a list of names, not one text")
    for host in hosts:
        if "/" in host:
            raise ValueError(f"hosts: {host!r} is not 'name' or 'name:port' (no scheme, no path)")
    if not hosts:
        raise ValueError("hosts: the policy names none, so say which servers to guard: hosts=['…']")
    return frozenset(hosts)


async def _read(response: ClientResponse) -> Attempted:
    """What the response brought; a connection that breaks in the body is an exception's outcome."""
    try:
        return Attempted(value=response, body=await outcome_of_response(response))
    except Exception as error:  # noqa: BLE001
        broken = Outcome(status=response.status, headers=response.headers, exception=error)
        return Attempted(exception=error, body=broken)


async def outcome_of_response(response: ClientResponse) -> Outcome:
    """Status, headers and, for JSON of up to 8 MiB, the body, which stays readable."""
    is_json = is_json_type(response.headers.get("content-type", ""))
    try:
        body = await _peek(response) if is_json else None
    except BaseException:
        response.close()  # broken or cancelled: nobody else holds it, so nobody else would
        raise
    return Outcome(
        body=body,
        status=response.status,
        headers=response.headers,
        is_json=is_json,
        method=response.method,
    )


async def _peek(response: ClientResponse) -> bytes | None:
    """The body if it is at most 8 MiB, else None; in both cases nothing is lost for the reader."""
    if response._body is not None:  # noqa: SLF001  # read before: nothing to put back
        return response._body if len(response._body) <= JSON_LIMIT else None  # noqa: SLF001
    if (response.content_length or 0) > JSON_LIMIT:
        return None
    chunks: list[bytes] = []
    size = 0
    while size <= JSON_LIMIT and (chunk := await response.content.read(_CHUNK)):
        chunks.append(chunk)
        size += len(chunk)
    body = b"".join(chunks)
    with warnings.catch_warnings():
        # deprecated for parsers; it is the one way to give a stream back what was read from it
        warnings.simplefilter("ignore", DeprecationWarning)
        response.content.unread_data(body)
    return body if size <= JSON_LIMIT else None


def _in_buffer(response: ClientResponse) -> bytes | None:
    """The whole body if it has arrived already (most have, with their headers); else None.

    Looks into the stream's own buffer, so nothing is taken and nothing has to be put back.  If a
    version of aiohttp names it differently, bodies are read and put back, which is only slower.
    """
    content = response.content
    chunks = getattr(content, "_buffer", None)
    if not content.is_eof() or not chunks or getattr(content, "_buffer_offset", True):
        return None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _replayable(request: ClientRequest, tried: Attempted) -> bool:
    if getattr(getattr(request, "_timer", None), "_cancelled", False):
        return False  # the client's own time for this request is over: nothing more would be sent
    body = request.body
    if isinstance(body, (bytes, bytearray)):
        return True
    if isinstance(body, AsyncIterablePayload) and not isinstance(
        tried.exception, ClientConnectorError
    ):
        return False  # begun, and not every version of aiohttp says "consumed" before its end
    return not getattr(body, "consumed", False)


def _session_total(request: ClientRequest) -> float | None:
    """Seconds of the session's total time-out.  A time-out given per request can't be seen here."""
    session = getattr(request, "session", None) or getattr(request, "_session", None)
    return session.timeout.total if session is not None else None
