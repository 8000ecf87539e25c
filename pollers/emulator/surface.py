"""What providers and their surfaces differ in: how each spells an answer, and that a request failed.

Visual Search (v1) and MemOS Cloud answer HTTP 200 and a code in an envelope; Visual Intelligence
(v2) an integer code that is the HTTP status; the Datalake a bare resource, or an error object under
a real status; a stream has its errors in events.  Doors, faults, limits and the log are the same for
all of them; a `Surface` turns what they decide into the surface's own words.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Payload = dict[str, Any]
Code = str | int

JSON = "application/json"
EVENTS = "text/event-stream"


class RefusedError(Exception):
    """A request that is answered with an error code; nothing was done for it.

    `code` is the provider's.  `status` is what the surfaces with a real HTTP status say; None is the
    usual one of the code.
    """

    def __init__(
        self,
        code: Code,
        message: str | None = None,
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is written.

    Attributes:
        payload: The JSON body; of a stream, what its last event says.
        headers: Headers beside the usual ones.
        status: HTTP status.
        refused: Whether nothing was done for the request.
        before: What the events of a stream say before the last one.
        size: Bytes of the file that is sent instead of the payload; None: no file is.
    """

    payload: Payload | str
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    refused: bool = False
    before: tuple[Payload | str, ...] = ()
    size: int | None = None

    @property
    def code(self) -> str | None:
        """The code in the body as text, or None if it has none."""
        if self.size is not None or isinstance(self.payload, str):
            return None
        error = self.payload.get("error") if self.refused else None
        code = (error if isinstance(error, dict) else self.payload).get("code")
        return None if code is None else str(code)


def dump(payload: Any) -> bytes:
    """JSON as the server writes it: compact, not escaped to ASCII; half an emoji is a question mark."""
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="replace")


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

    code: Code
    message: str | None = None
    status: int | None = None
    headers: Mapping[str, str]
    request_id: str


def _own_code(refusal: RefusedError) -> Code:
    return refusal.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The manners of one surface.

    Attributes:
        fail: How it answers a failure; the reply is marked as refused.
        nothing: The body of a success without a result.
        code_for: The code it refuses with; by default the provider's.
        encode: A body, or one event of a stream, as bytes.
        content_type: Of these bytes.
        tells_when: Whether a broken limit is always answered with a Retry-After header.
        tells_request_id: Whether every answer carries `X-Request-ID`.
    """

    fail: Callable[[Failure], Reply]
    nothing: Callable[[], Payload]
    code_for: Callable[[RefusedError], Code] = _own_code
    encode: Callable[[Payload | str], bytes] = dump
    content_type: str = JSON
    tells_when: bool = False
    tells_request_id: bool = False

    def refuse(self, refusal: RefusedError, request_id: str) -> Reply:
        """The answer to a request that a door or an endpoint refused."""
        return self.fail(
            Failure(
                code=self.code_for(refusal),
                message=refusal.message,
                headers=refusal.headers,
                request_id=request_id,
            )
        )

    def headers(self, request_id: str) -> dict[str, str]:
        """Headers of every answer."""
        return {"X-Request-ID": request_id} if self.tells_request_id else {}


def enveloped(failure: Callable[[Code, str | None], Payload]) -> Callable[[Failure], Reply]:
    """How a surface fails whose status stays 200, unless a fault says another."""

    def fail(failed: Failure) -> Reply:
        payload = failure(failed.code, failed.message)
        return Reply(payload, dict(failed.headers), failed.status or HTTPStatus.OK, refused=True)

    return fail
