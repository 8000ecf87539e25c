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
from typing import TYPE_CHECKING

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from resilience._core.policy.model import Outcome
from resilience._driver import Attempted
from resilience.adapters.results import JSON_LIMIT, is_json_type, outcome_of_exception

if TYPE_CHECKING:
    from resilience.guard import Guard

_CHUNK = 64 * 1024


class Middleware:
    """``aiohttp.ClientSession(middlewares=[guard.aiohttp()])``."""

    __slots__ = ("guard", "hosts")

    def __init__(self, guard: "Guard", hosts: Collection[str] | None) -> None:
        self.guard = guard
        self.hosts = frozenset(guard.policy.hosts if hosts is None else hosts)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """One request of the session, with everything the guard does about it."""
        if not self._is_ours(request):
            return await handler(request)

        async def attempt() -> Attempted:
            try:
                response = await handler(request)
            except Exception as error:  # noqa: BLE001  # judged, and raised in the end
                return Attempted(exception=error, body=outcome_of_exception(error))
            try:
                return Attempted(value=response, body=await outcome_of_response(response))
            except Exception as error:  # noqa: BLE001  # the connection broke in the body
                response.close()
                broken = Outcome(status=response.status, headers=response.headers, exception=error)
                return Attempted(exception=error, body=broken)

        response: ClientResponse = await self.guard.transport(
            attempt,
            method=request.method,
            path=request.url.path,
            deadline=_session_total(request),
            replayable=lambda: _replayable(request),
        )
        return response

    def _is_ours(self, request: ClientRequest) -> bool:
        host = request.url.host or ""
        return host in self.hosts or f"{host}:{request.url.port}" in self.hosts


async def outcome_of_response(response: ClientResponse) -> Outcome:
    """Status, headers and, for JSON of up to 8 MiB, the body, which stays readable."""
    is_json = is_json_type(response.headers.get("content-type", ""))
    body = await _peek(response) if is_json else None
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


def _replayable(request: ClientRequest) -> bool:
    body = request.body
    if isinstance(body, (bytes, bytearray)):
        return True
    return not getattr(body, "consumed", False)


def _session_total(request: ClientRequest) -> float | None:
    """Seconds of the session's total time-out.  A time-out given per request can't be seen here."""
    session = getattr(request, "session", None) or getattr(request, "_session", None)
    return session.timeout.total if session is not None else None
