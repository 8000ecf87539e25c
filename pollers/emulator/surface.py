"""What the surfaces of the API differ in: how each says that a request failed.

One server, three manners.  Visual Search (v1) answers HTTP 200 and a text code; Visual Intelligence
(v2) an integer code that is the HTTP status; the Datalake a bare resource, or an error object under
a real status.  Doors, faults, limits and the log are the same for all of them; a `Surface` turns
what they decide into the surface's own words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from .wire import (
    BAD_PARAMETERS,
    DISABLED,
    DUPLICATE,
    NO_PERMISSION,
    NO_POINTS,
    TOO_MANY,
    UNAUTHORIZED,
    Payload,
    RefusedError,
    Reply,
    dump,
    failure,
    success,
)

JSON = "application/json"
EVENTS = "text/event-stream"

_STATUSES = {
    BAD_PARAMETERS: 400,
    UNAUTHORIZED: 401,
    NO_PERMISSION: 401,
    NO_POINTS: 402,
    DISABLED: 403,
    DUPLICATE: 409,
    TOO_MANY: 429,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is known about a failure before a surface puts it into words.

    Attributes:
        code: The surface's own code.
        message: What to say; None is what the surface documents for the code.
        status: HTTP status; None is the surface's usual one for the code.
        headers: What the answer will carry; a surface may repeat a part of it in the body.
        request_id: Of the request that failed.
    """

    code: str | int
    message: str | None = None
    status: int | None = None
    headers: Mapping[str, str]
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The manners of one surface.

    Attributes:
        fail: How it answers a failure; the reply is marked as refused.
        code_for: The code it refuses with, from the Code page's code and an HTTP status.
        nothing: The body of a success without a result.
        encode: A body, or one event of a stream, as bytes.
        content_type: Of these bytes.
        tells_when: Whether a broken limit is always answered with a Retry-After header.
        tells_request_id: Whether every answer carries `X-Request-ID`.
    """

    fail: Callable[[Failure], Reply]
    code_for: Callable[[str, int], str | int]
    nothing: Callable[[], Payload]
    encode: Callable[[Payload | str], bytes] = dump
    content_type: str = JSON
    tells_when: bool = False
    tells_request_id: bool = False

    def refuse(self, refusal: RefusedError, request_id: str) -> Reply:
        """The answer to a request that a door or an endpoint refused."""
        status = refusal.status or _STATUSES.get(refusal.code, HTTPStatus.BAD_REQUEST)
        return self.fail(
            Failure(
                code=self.code_for(refusal.code, status),
                message=refusal.message,
                headers=refusal.headers,
                request_id=request_id,
            )
        )

    def headers(self, request_id: str) -> dict[str, str]:
        """Headers of every answer."""
        return {"X-Request-ID": request_id} if self.tells_request_id else {}


def _fail(failed: Failure) -> Reply:
    """Visual Search keeps the status 200, unless a fault says another."""
    payload = failure(failed.code, failed.message)
    return Reply(payload, dict(failed.headers), failed.status or HTTPStatus.OK, refused=True)


def event(payload: Payload | str) -> bytes:
    """One event of a chat's stream, with no space after the colon, as documented."""
    return b"data:" + dump(payload) + b"\n\n"


def _code_page(code: str, _: int) -> str:
    return code


VISUAL_SEARCH = Surface(fail=_fail, code_for=_code_page, nothing=lambda: success(None))
"""v1: HTTP 200 whatever the code."""

CHAT_STREAM = Surface(
    fail=_fail,
    code_for=_code_page,
    nothing=lambda: {"code": "SUCCESS", "data": "Done"},
    encode=event,
    content_type=EVENTS,
)
"""v1's streams: an error is the first event."""
