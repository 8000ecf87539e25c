"""What a guarded function returned, as an outcome.

A mapping is a body; an object with ``.code`` is a body whose attributes stand for keys; an aiohttp
or httpx response is an answer with status and headers.  Anything else says nothing: success.
"""

from collections.abc import Mapping
from typing import Any

from resilience._core.policy.model import Outcome

JSON_LIMIT = 8 * 1024 * 1024
"""Bytes of a body that are read to find a code.  Longer ones go by their status."""

EVENT_WAIT = 5.0
"""Seconds that an event stream may take for its first event.  A quieter one goes by its status."""


async def outcome_of_result(value: Any) -> Outcome | None:
    """The outcome that a returned value stands for; None if it says nothing."""
    if _is_aiohttp(value):
        from resilience.adapters.aiohttp import outcome_of_response

        return await outcome_of_response(value)
    if _is_httpx(value):
        from resilience.adapters import replayed

        return await replayed.outcome_of_response(value)
    return outcome_of_value(value)


def outcome_of_value(value: Any) -> Outcome | None:
    """The same without waiting: a response whose body was not read yet goes by its status."""
    if isinstance(value, Outcome):
        return value
    if isinstance(value, Mapping):
        return Outcome(body=value)
    if _is_aiohttp(value):
        return Outcome(status=value.status, headers=value.headers, method=value.method)
    if _is_httpx(value):
        return outcome_of_httpx(value)
    code = getattr(value, "code", None)
    return Outcome(body=value) if isinstance(code, (str, int)) else None


def _is_aiohttp(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "aiohttp" and hasattr(value, "status")


def _is_httpx(value: Any) -> bool:
    return hasattr(value, "status_code") and hasattr(value, "headers")


def outcome_of_httpx(response: Any) -> Outcome:
    """A response of httpx or requests; its body counts if it was read already."""
    kind = response.headers.get("content-type", "")
    body = getattr(response, "_content", None)
    is_json = is_json_type(kind)
    readable = is_json and isinstance(body, bytes) and len(body) <= JSON_LIMIT
    return Outcome(
        body=body if readable else None,
        status=response.status_code,
        headers=response.headers,
        is_json=is_json,
    )


def outcome_of_exception(error: BaseException) -> Outcome:
    """What an exception carries: SDKs put ``status``, ``headers`` and ``body`` on theirs."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and "ResponseMetadata" in response:
        return _outcome_of_parsed(response, error)
    status = _first_int(error, "status", "status_code") or _first_int(
        response, "status_code", "status"
    )
    headers = getattr(error, "headers", None) or getattr(response, "headers", None) or {}
    body = getattr(error, "body", None)
    if body is None and isinstance(response, Mapping):
        body = response
    if not isinstance(body, (Mapping, str, bytes)):
        read = outcome_of_httpx(response).body if hasattr(response, "_content") else None
        body = read or (error if _has_own_code(error) else _refused_by_model(error))
    return Outcome(
        body=body,
        status=status,
        headers=headers if isinstance(headers, Mapping) else {},
        exception=error,
    )


def _outcome_of_parsed(response: Mapping[str, Any], error: BaseException) -> Outcome:
    """Botocore's errors carry what was parsed, and where it came in."""
    told = response["ResponseMetadata"]
    told = told if isinstance(told, Mapping) else {}
    status, headers = told.get("HTTPStatusCode"), told.get("HTTPHeaders")
    return Outcome(
        body=response,
        status=status if isinstance(status, int) else None,
        headers=headers if isinstance(headers, Mapping) else {},
        exception=error,
    )


def _refused_by_model(error: BaseException) -> Mapping[str, Any] | None:
    """The body that a pydantic model refused: an error's body lacks the fields of a success.

    Pydantic keeps a whole object only where it misses a field.  ``Model(**body)`` with a field of the
    wrong type (``data: null``) keeps no more than that field, and the code is lost.
    """
    if type(error).__module__.partition(".")[0] not in ("pydantic", "pydantic_core"):
        return None
    for detail in error.errors() if hasattr(error, "errors") else ():
        refused = detail.get("input")
        if detail.get("type") == "missing" and len(detail["loc"]) == 1:
            return refused if isinstance(refused, Mapping) else None
    return None


def is_json_type(content_type: str) -> bool:
    """``application/json`` and ``application/…+json``, with or without parameters."""
    kind = _kind(content_type)
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def is_event_stream(content_type: str) -> bool:
    """``text/event-stream``, with or without parameters."""
    return _kind(content_type) == "text/event-stream"


def _kind(content_type: str) -> str:
    return content_type.split(";", 1)[0].strip().lower()


def _has_own_code(error: BaseException) -> bool:
    # aiohttp's ClientResponseError.code is the HTTP status under an old name
    return not hasattr(error, "status") and isinstance(getattr(error, "code", None), (str, int))


def _first_int(holder: Any, *names: str) -> int | None:
    for name in names:
        value = getattr(holder, name, None)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
