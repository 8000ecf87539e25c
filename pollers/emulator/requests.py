"""Reading the JSON body of a request."""

import json
from typing import Any

from aiohttp import web

from .surface import RefusedError
from .wire import BAD_PARAMETERS


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body, which must be a JSON object."""
    return as_object(await request.read())


def as_object(text: bytes | str) -> dict[str, Any]:
    """A JSON object from its text."""
    try:
        body = json.loads(text)
    except ValueError as exc:
        raise RefusedError(BAD_PARAMETERS, "the body is not JSON") from exc
    if not isinstance(body, dict):
        raise RefusedError(BAD_PARAMETERS, "the body must be a JSON object")
    return body
