"""How Visual Intelligence speaks: an integer code that is also the HTTP status.

The model's own failures are the exception: HTTP 200 with `status: "errored"` and no code, which a
fault scripts with `Fault(code="errored")`.
"""

from typing import Any

from pollers.emulator.surface import Failure, Payload, Reply, Surface
from pollers.emulator.wire import status_of, whole_number

PREFIX = "/serve/api/v2"
ERRORED = "errored"
EXCEEDED = "Request has exceeded the limit."
"""What v2 says about a real limit *and* about an id it doesn't know, both with 400."""

_MESSAGES = {
    400: "Invalid request parameters",
    401: "Unauthorized",
    402: "Insufficient balance or credits",
    403: "Forbidden",
    405: "Method not allowed",
    409: "Request conflict or duplicate request",
    415: "Unsupported media type",
    429: "Rate limit exceeded",
    500: "Internal server error",
}
_STATUSES = range(200, 600)


def good(data: Any) -> Payload:
    """The envelope of a success."""
    return {"code": 200, "msg": "success", "data": data, "failed": False, "success": True}


def errored(message: str) -> Payload:
    """What the VLM answers, under HTTP 200, when its model failed."""
    return {"status": ERRORED, "error": {"message": message}}


def _fail(failed: Failure) -> Reply:
    headers = dict(failed.headers)
    if failed.code == ERRORED:
        message = failed.message or "The model could not read the video"
        return Reply(errored(message), headers, failed.status or 200, refused=True)
    status = failed.status or _http_status(failed.code)
    message = failed.message or _MESSAGES.get(status, "error")
    return Reply({"code": failed.code, "msg": message, "data": None}, headers, status, refused=True)


def _http_status(code: str | int) -> int:
    """The HTTP status is the code, where it can be one."""
    number = whole_number(code, "code") if str(code).isdecimal() else 0
    return number if number in _STATUSES else 200


VISUAL_INTELLIGENCE = Surface(fail=_fail, code_for=status_of, nothing=lambda: good(None))
