"""Reading the JSON body of a request."""

import json
from typing import Any

from aiohttp import web

from .surface import RefusedError
from .wire import BAD_PARAMETERS


async def json_body(request: web.Request) -> Any:
    """The body as JSON; an empty one is an empty object."""
    return _parsed(await request.read())


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body, which must be a JSON object."""
    return as_object(await request.read())


def as_object(text: bytes | str) -> dict[str, Any]:
    """A JSON object from its text."""
    body = _parsed(text)
    if not isinstance(body, dict):
        raise RefusedError(BAD_PARAMETERS, "the body must be a JSON object")
    return body


def _parsed(text: bytes | str) -> Any:
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError as exc:
        raise RefusedError(BAD_PARAMETERS, "the body is not JSON") from exc
