"""How the Datalake speaks: bare resources, and errors as an object under a real HTTP status.

Only `quota_exceeded` and `video_not_ready` are codes that clients name; the others here are made
up, and who reads them goes by the status.  What `Retry-After` says is repeated in the body, and
every answer carries `X-Request-ID`.
"""

from pollers.emulator.surface import Failure, RefusedError, Reply, Surface
from pollers.emulator.wire import status_of

PREFIX = "/serve/datalake/v1"
NOT_READY = "video_not_ready"

_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    402: "quota_exceeded",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "file_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    500: "internal_error",
    503: "unavailable",
}
_STATUSES = {code: status for status, code in _CODES.items()} | {NOT_READY: 409}
_MESSAGES = {
    NOT_READY: "The video is still being indexed",
    "quota_exceeded": "The balance is used up",
    "rate_limited": "Too many requests",
    "unauthorized": "The API key is missing or wrong",
}


def _fail(failed: Failure) -> Reply:
    code, hint = str(failed.code), failed.headers.get("Retry-After")
    error = {
        "code": code,
        "message": failed.message or _MESSAGES.get(code, code.replace("_", " ")),
        "request_id": failed.request_id,
        "retry_after": int(hint) if hint is not None and hint.isdecimal() else None,
    }
    status = failed.status or _STATUSES.get(code, 400)
    return Reply({"error": error}, dict(failed.headers), status, refused=True)


def _code_for(refusal: RefusedError) -> str:
    code = str(refusal.code)
    return _CODES.get(status_of(refusal), "error") if code.isdecimal() else code


DATALAKE = Surface(
    fail=_fail,
    code_for=_code_for,
    nothing=dict,
    tells_when=True,
    tells_request_id=True,
)
