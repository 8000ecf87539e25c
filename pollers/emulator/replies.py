"""Writing answers, good ones and spoilt ones.

What a fault's body says is decided in `spoilt`, a plain function; what happens to the connection is
in `send_fault`.  A spoilt answer starts from the request's own answer if the work was done, else
from the fault's code, else from an empty success.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import web

from .envelope import Envelope, Reply, dump
from .faults import Fault

EVENT_STREAM = "text/event-stream"
_JSON = "application/json"
_CONTENT_TYPES = {"text": "text/plain", "html": "text/html"}
_CHUNK = 256 * 1024


def send(reply: Reply, headers: dict[str, str]) -> web.Response:
    """The answer of the API: HTTP 200 whatever the code."""
    response = web.Response(body=dump(reply.payload), content_type=_JSON)
    response.headers.update(headers)
    return response


async def send_events(
    request: web.Request,
    reply: Reply,
    headers: dict[str, str],
    pause: Callable[[float], Awaitable[None]],
) -> web.StreamResponse:
    """A streamed answer: its events one by one, with the reply's gap between them."""
    response = web.StreamResponse(headers={"Cache-Control": "no-cache"})
    response.content_type = EVENT_STREAM
    response.headers.update(headers)
    await response.prepare(request)
    for number, event in enumerate(reply.events or ()):
        await pause(reply.gap if number else 0.0)
        await response.write(event)
    await response.write_eof()
    return response


@dataclass(frozen=True, slots=True)
class Spoilt:
    """What a fault makes of an answer; `code` is that of the envelope, if a whole one is sent."""

    content_type: str
    body: bytes
    code: str | None = None


async def send_fault(request: web.Request, fault: Fault, answer: Spoilt) -> web.StreamResponse:
    """Send a spoilt answer, as far as the fault lets it get."""
    if fault.abort == "before":
        _cut(request)
        return web.Response()  # goes nowhere: the connection is gone
    body = answer.body
    response = web.StreamResponse(status=fault.status or HTTPStatus.OK)
    response.content_type = answer.content_type
    response.content_length = len(body)
    response.headers.update(fault.headers)
    await response.prepare(request)
    end = len(body) // 2 if fault.abort == "middle" else len(body)
    for start in range(0, end, _CHUNK):
        await response.write(body[start : min(start + _CHUNK, end)])
    if fault.abort == "middle":
        _cut(request)
    else:
        await response.write_eof()
    return response


def spoilt(
    fault: Fault, reply: Reply | None, envelope: Envelope, *, path: str, number: int
) -> Spoilt:
    """The body a fault asks for; `reply` is the request's own answer if the work was done."""
    status = fault.status or int(HTTPStatus.OK)
    kind = fault.body or _default_body(fault, status)
    match kind:
        case "text":
            body = (fault.text or "").encode()
        case "html":
            body = _html(status).encode()
        case "spring":
            body = dump(_spring(status, path, number))
        case "empty":
            body = b""
        case _:
            return _enveloped(kind, fault, _base(fault, reply, envelope))
    return Spoilt(_CONTENT_TYPES.get(kind, _JSON), body)


def _enveloped(kind: str, fault: Fault, base: dict[str, object]) -> Spoilt:
    if kind == "null":
        base["data"] = None
    elif kind == "huge":
        base["padding"] = "x" * fault.huge_bytes
    body = dump(base)
    if kind == "truncated":
        return Spoilt(_JSON, body[: len(body) // 2])
    return Spoilt(_JSON, body, None if fault.abort else str(base["code"]))


def _default_body(fault: Fault, status: int) -> str:
    if fault.text is not None:
        return "text"
    if status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        return "empty"  # RFC 9110 section 6.4.1: these have no content
    bare = fault.code is None and fault.msg is None
    return "spring" if bare and status >= HTTPStatus.BAD_REQUEST else "envelope"


def _base(fault: Fault, reply: Reply | None, envelope: Envelope) -> dict[str, object]:
    if fault.code is not None:
        return envelope.failure(fault.code, fault.msg)
    payload = dict(reply.payload) if reply else envelope.success(None)
    return payload if fault.msg is None else payload | {envelope.message: fault.msg}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _html(status: int) -> str:
    title = f"{status} {_phrase(status)}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )


def _spring(status: int, path: str, number: int) -> dict[str, object]:
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "path": path,
        "status": status,
        "error": _phrase(status),
        "requestId": f"{number:08x}-{number}",
    }


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
