"""What an httpx response says, looked up without taking anything from its reader.

For httpx and its successor httpx2, which are the same to us but ask for classes of their own.
"""

import sys
from collections import deque
from collections.abc import AsyncIterator
from functools import cache
from types import AsyncGeneratorType, ModuleType
from typing import Any

import anyio

from resilience._core.policy.events import FirstEvent
from resilience._core.policy.model import Outcome
from resilience._report import report
from resilience.adapters.ahead import Ahead
from resilience.adapters.results import EVENT_WAIT, JSON_LIMIT, is_event_stream, is_json_type


class Replayed:
    """A response's stream that was looked into; whoever reads it gets all of it.

    The consumer goes on where the look ended, be it in the middle of a read.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._rest: AsyncIterator[bytes] = aiter(stream)
        self._pieces: deque[bytes] = deque()
        self._ahead: Ahead | None = None
        self._closed = False
        self.was_read = False
        """Whether all of it is here, and nothing of the connection is."""

    async def take(self, *, gently: bool = False) -> bytes | None:
        """Look at the next piece; None at the end, which frees the connection.

        Cancelling it closes the stream, as always in httpx; if taken ``gently`` nothing is lost.
        """
        if gently:
            self._ahead = self._ahead or Ahead(self._rest.__anext__)
            await self._ahead.wait()
        try:
            piece = await self._next()
        except StopAsyncIteration:
            await self.aclose()
            self.was_read = True
            return None
        self._pieces.append(piece)
        return piece

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return self._pieces.popleft() if self._pieces else await self._next()

    async def _next(self) -> bytes:
        ahead, self._ahead = self._ahead, None
        piece: bytes = await (ahead.result() if ahead else self._rest.__anext__())
        return piece

    async def aclose(self) -> None:
        """Close the stream, and end the read that is under way."""
        if self._closed:
            return
        self._closed = True
        if self._ahead is not None:
            await self._ahead.cancel()
        try:
            if isinstance(self._rest, AsyncGeneratorType) and not self._rest.ag_running:
                await self._rest.aclose()  # or it would be closed whenever it is collected
        finally:
            await self._stream.aclose()


async def outcome_of_response(response: Any) -> Outcome:
    """Status, headers and what the body says, if it is JSON or events; it stays readable."""
    kind = response.headers.get("content-type", "")
    is_json = is_json_type(kind)
    body = None
    try:
        if is_json:
            body = await _whole(response)
        elif is_event_stream(kind):
            body = await _first_event(response)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await response.aclose()  # broken or cancelled: nobody else holds it
        raise
    return Outcome(
        body=body, status=response.status_code, headers=response.headers, is_json=is_json
    )


async def _whole(response: Any) -> bytes | None:
    """The body if it is at most 8 MiB, else None; in both cases nothing is lost for the reader."""
    if _is_long(response.headers.get("content-length", "")):
        return None
    stream, decoder = _opened(response)
    if stream is None:
        body = getattr(response, "_content", None)
        return body if isinstance(body, bytes) and len(body) <= JSON_LIMIT else None
    parts: list[bytes] = []
    size = 0
    while size <= JSON_LIMIT:
        piece = await stream.take()
        parts.append(_decoded(decoder, piece))
        size += len(parts[-1])
        if piece is None:
            return b"".join(parts)
    return None


async def _first_event(response: Any) -> bytes | None:
    """What the first event says; None if none comes in time.  A read that is given up goes on."""
    seen = FirstEvent()
    if report(response) is not None:
        return None  # an adapter below has looked already; a quiet stream is not held twice
    stream, decoder = _opened(response)
    if stream is None:
        seen.feed(getattr(response, "_content", None) or b"")
        seen.end()
        return seen.data
    with anyio.move_on_after(EVENT_WAIT):
        while not seen.over:
            piece = await stream.take(gently=True)
            seen.feed(_decoded(decoder, piece))
            if piece is None:
                seen.end()
    return seen.data


def _opened(response: Any) -> tuple[Replayed | None, Any]:
    """The stream to look into, put in the place of the response's own, and what decodes its pieces.

    No stream if it was read or closed already, or can't be awaited.
    """
    library = library_of(response, "Response")
    if library is None or response.is_stream_consumed or response.is_closed:
        return None, None
    if not isinstance(response.stream, library.AsyncByteStream):
        return None, None
    decoder = None
    if "content-encoding" in response.headers:  # the client decodes anew, with a decoder of its own
        bare = library.Response(200, headers=response.headers, stream=library.ByteStream(b""))
        decoder = bare._get_content_decoder()  # noqa: SLF001
    response.stream = own_class(Replayed, library, "AsyncByteStream")(response.stream)
    return response.stream, decoder


def _decoded(decoder: Any, piece: bytes | None) -> bytes:
    if decoder is None:
        return piece or b""
    decoded = decoder.flush() if piece is None else decoder.decode(piece)
    return decoded if isinstance(decoded, bytes) else b"".join(decoded)  # httpx2 gives several


def _is_long(content_length: str) -> bool:
    return content_length.isdecimal() and int(content_length) > JSON_LIMIT


@cache
def own_class(ours: type, library: ModuleType, theirs: str) -> Any:
    """Our class as a child of the library's: it asks for its own."""
    return type(ours.__name__, (ours, getattr(library, theirs)), {"__module__": ours.__module__})


def library_of(thing: object, name: str) -> ModuleType | None:
    """Whether httpx or httpx2 has made this; neither is imported for it."""
    for room in ("httpx", "httpx2"):
        library = sys.modules.get(room)
        if library is not None and isinstance(thing, getattr(library, name, ())):
            return library
    return None
