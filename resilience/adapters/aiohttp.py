"""The middleware for ``aiohttp.ClientSession`` (aiohttp 3.12 and later).

* **Method and endpoint**: matched on method and path; other hosts pass through untouched.
* **Body**: sent again only if aiohttp can send it twice (bytes, JSON, forms, seekable files); after
  a streamed upload the first failure is final, because aiohttp would send an *empty* body.
* **Answer**: up to 8 MiB of JSON is read and put back, so ``json()``, ``read()`` and ``content`` all
  still work; everything else goes by its status and stays unread.
* **Stream**: the first event of ``text/event-stream`` is a body too, if it comes within 5 s and
  64 KiB; the caller gets the stream from its beginning, and nothing is repeated after that.
* **Redirects**: aiohttp runs the middleware for each hop; each hop is one request of its own.
* **Failure**: the last response is handed back, as the client is used to; what there is no response
  for is raised.  A discarded response is released before any wait.
"""

import warnings

import anyio
from aiohttp import ClientConnectorError, ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.payload import AsyncIterablePayload

from resilience._attempt import Attempted
from resilience._core.policy.events import FirstEvent
from resilience._core.policy.model import Outcome
from resilience._report import report
from resilience.adapters.adapter import ERROR, Adapter, read_with
from resilience.adapters.results import EVENT_WAIT, JSON_LIMIT, is_event_stream, is_json_type

_CHUNK = 64 * 1024


class Middleware(Adapter[ClientRequest, ClientResponse]):
    """``aiohttp.ClientSession(middlewares=[guard.aiohttp()])``."""

    __slots__ = ()

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """One request of the session, with everything the guard does about it."""
        # ``host`` would be decoded anew for each request
        if not self._is_ours(request.url.raw_host or "", request.url.port):
            return await handler(request)
        response: ClientResponse = await self._send(request, handler)
        return response

    def _is_plain(self, response: ClientResponse) -> bool:
        body = _in_buffer(response)
        return body is not None and response.status < ERROR and self._is_success(body)

    async def _read(self, response: ClientResponse) -> Attempted:
        return await read_with(outcome_of_response, response, response.status)

    def _path(self, request: ClientRequest) -> str:
        return request.url.raw_path

    def _replayable(self, request: ClientRequest, tried: Attempted) -> bool:
        return _replayable(request, tried)

    def _deadline(self, request: ClientRequest) -> float | None:
        return _session_total(request)


async def outcome_of_response(response: ClientResponse) -> Outcome:
    """Status, headers and what the body says, if it is JSON or events; it stays readable."""
    kind = response.headers.get("content-type", "")
    is_json = is_json_type(kind)
    body = None
    try:
        if is_json:
            body = await _peek(response)
        elif is_event_stream(kind):
            body = await _first_event(response)
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
    _put_back(response, body)
    return body if size <= JSON_LIMIT else None


async def _first_event(response: ClientResponse) -> bytes | None:
    """What the first event says; None if none comes in time.  A read that is given up loses nothing."""
    seen = FirstEvent()
    if report(response) is not None:
        return None  # the middleware has looked already; a quiet stream is not held twice
    if response._body is not None:  # noqa: SLF001
        seen.feed(response._body)  # noqa: SLF001
        seen.end()
        return seen.data
    pieces: list[bytes] = []
    with anyio.move_on_after(EVENT_WAIT):
        while not seen.over:
            if piece := await response.content.readany():
                pieces.append(piece)
                seen.feed(piece)
            else:
                seen.end()
    _put_back(response, b"".join(pieces))
    return seen.data


def _put_back(response: ClientResponse, body: bytes) -> None:
    with warnings.catch_warnings():
        # deprecated for parsers; it is the one way to give a stream back what was read from it
        warnings.simplefilter("ignore", DeprecationWarning)
        response.content.unread_data(body)


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
