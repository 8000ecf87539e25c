"""Writing answers, good ones and spoilt ones.

What a fault's body says is decided in `spoilt`, a plain function; what happens to the connection is
in `send_fault`.  A spoilt answer starts from the request's own answer if the work was done, else
from the fault's code, else from an empty success.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from .faults import Fault
from .surface import JSON, Failure, Payload, Reply, Surface, dump

if TYPE_CHECKING:
    from .provider import ProviderState

_FILE = "application/octet-stream"
_CONTENT_TYPES = {"text": "text/plain", "html": "text/html"}
_MESSAGES = ("msg", "message")
_CHUNK = 256 * 1024


async def send(
    state: "ProviderState",
    request: web.Request,
    surface: Surface,
    reply: Reply,
    headers: dict[str, str],
) -> web.StreamResponse:
    """Send an answer of the API: at once, as a file, or as a stream with its silences."""
    if reply.size is None and surface.content_type == JSON:
        body = surface.encode(reply.payload)
        response = web.Response(status=reply.status, body=body, content_type=JSON)
        response.headers.update(headers)
        return response
    return await _send_pieces(state, request, surface, reply, headers)


async def _send_pieces(
    state: "ProviderState",
    request: web.Request,
    surface: Surface,
    reply: Reply,
    headers: dict[str, str],
) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status)
    response.content_type = _content_type(surface, reply)
    response.content_length = reply.size
    response.headers.update(headers)
    await response.prepare(request)
    for number, piece in enumerate(_pieces(surface, reply)):
        if reply.size is None:
            await state.pause(state.silence(number))
        await response.write(piece)
    await response.write_eof()
    return response


def _content_type(surface: Surface, reply: Reply) -> str:
    return surface.content_type if reply.size is None else _FILE


def _pieces(surface: Surface, reply: Reply) -> Iterator[bytes]:
    """What is written one after the other; a file is zeros, as nobody looks into it."""
    if reply.size is None:
        yield from map(surface.encode, (*reply.before, reply.payload))
    else:
        for start in range(0, reply.size, _CHUNK):
            yield bytes(min(_CHUNK, reply.size - start))


@dataclass(frozen=True, slots=True)
class Spoilt:
    """What a fault makes of an answer; `code` is that of the envelope, if a whole one is sent."""

    status: int
    content_type: str
    body: bytes
    code: str | None = None


async def send_fault(
    request: web.Request, fault: Fault, answer: Spoilt, headers: dict[str, str]
) -> web.StreamResponse:
    """Send a spoilt answer, as far as the fault lets it get."""
    if fault.abort == "before":
        _cut(request)
        return web.Response()  # goes nowhere: the connection is gone
    body = answer.body
    response = web.StreamResponse(status=answer.status)
    response.content_type = answer.content_type
    response.content_length = len(body)
    response.headers.update({**headers, **fault.headers})
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
    fault: Fault, reply: Reply | None, *, surface: Surface, path: str, request_id: str
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
            body = dump(_spring(status, path, request_id))
        case "empty":
            body = b""
        case _:
            return _enveloped(kind, fault, surface, _base(fault, reply, surface, request_id))
    return Spoilt(status, _CONTENT_TYPES.get(kind, JSON), body)


def _enveloped(kind: str, fault: Fault, surface: Surface, base: Reply) -> Spoilt:
    if isinstance(base.payload, dict) and kind == "null":
        base = replace(base, payload=base.payload | {"data": None})
    elif isinstance(base.payload, dict) and kind == "huge":
        base = replace(base, payload=base.payload | {"padding": "x" * fault.huge_bytes})
    if kind == "json":
        return Spoilt(base.status, JSON, dump(base.payload), base.code)
    body = b"".join(_pieces(surface, base))
    whole = kind != "truncated"
    return Spoilt(
        base.status,
        _content_type(surface, base),
        body if whole else body[: len(body) // 2],
        base.code if whole and not fault.abort else None,
    )


def _default_body(fault: Fault, status: int) -> str:
    if fault.text is not None:
        return "text"
    if status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        return "empty"  # RFC 9110 section 6.4.1: these have no content
    bare = fault.code is None and fault.msg is None
    return "spring" if bare and status >= HTTPStatus.BAD_REQUEST else "envelope"


def _base(fault: Fault, reply: Reply | None, surface: Surface, request_id: str) -> Reply:
    if fault.code is not None:
        failed = surface.fail(
            Failure(
                code=fault.code,
                message=fault.msg,
                status=fault.status,
                headers=fault.headers,
                request_id=request_id,
            )
        )
        begun = reply.before if reply else ()  # a stream breaks off in its middle
        return replace(failed, before=begun[: (len(begun) + 1) // 2])
    base = reply or Reply(surface.nothing())
    base = base if fault.status is None else replace(base, status=fault.status)
    return base if fault.msg is None else replace(base, payload=_reworded(base.payload, fault.msg))


def _reworded(payload: Payload | str, msg: str) -> Payload | str:
    """A body with another message; a stream's end has its message in `data`."""
    if isinstance(payload, str):
        return msg
    return payload | {next((name for name in _MESSAGES if name in payload), "data"): msg}


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


def _spring(status: int, path: str, request_id: str) -> dict[str, object]:
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "path": path,
        "status": status,
        "error": _phrase(status),
        "requestId": request_id.removeprefix("req_"),
    }


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
