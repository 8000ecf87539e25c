"""Reading requests: what is missing, empty, too long or of a wrong type has its own code.

SDKs send null for what they don't say, so null is the same as nothing.
"""

import json
from typing import Any

from pollers.emulator.exchange import Exchange
from pollers.emulator.surface import RefusedError

from .wire import BAD_PARAMETERS, EMPTY, EMPTY_LIST, LONG_CONVERSATION, LONG_USER

Body = dict[str, Any]

_LONGEST_ID = 100
_MOST_USERS = 20


async def json_body(exchange: Exchange) -> Body:
    """The JSON object of a request, without its nulls."""
    try:
        body = json.loads(await exchange.request.read())
    except ValueError as exc:
        raise RefusedError(BAD_PARAMETERS, "the body is not JSON") from exc
    if not isinstance(body, dict):
        raise RefusedError(BAD_PARAMETERS, "the body must be a JSON object")
    return {name: value for name, value in body.items() if value is not None}


def text(body: Body, name: str) -> str:
    """A text that must be there."""
    value = body.get(name)
    if not isinstance(value, str):
        raise RefusedError(BAD_PARAMETERS, f"{name} must be a string")
    if not value.strip():
        raise RefusedError(EMPTY, f"{name} cannot be empty")
    return value


def several(body: Body, name: str) -> list[Any]:
    """A list that must be there, with something in it."""
    value = body.get(name)
    if not isinstance(value, list):
        raise RefusedError(BAD_PARAMETERS, f"{name} must be an array")
    if not value:
        raise RefusedError(EMPTY_LIST, f"{name} is empty")
    return value


def texts(body: Body, name: str) -> list[str]:
    """A list of texts that must be there, with something in it."""
    values = several(body, name)
    if not all(isinstance(value, str) for value in values):
        raise RefusedError(BAD_PARAMETERS, f"{name} must be an array of strings")
    return values


def whole(body: Body, name: str, default: int) -> int:
    """A whole number from 1 on."""
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RefusedError(BAD_PARAMETERS, f"{name} must be an integer from 1 on")
    return value


def exactly_one(body: Body, *names: str) -> str:
    """The one of these that was given."""
    given = [name for name in names if name in body]
    if len(given) != 1:
        raise RefusedError(BAD_PARAMETERS, f"give exactly one of {', '.join(names)}")
    return given[0]


def owner(body: Body) -> str:
    """Whose memories are meant: `user_id` or `agent_id`, not both."""
    return next(iter(_named(body, exactly_one(body, "user_id", "agent_id"))))


def owners(body: Body) -> frozenset[str]:
    """Whose memories are written: users (one or up to 20), an agent, or both."""
    found = [_named(body, name) for name in ("user_id", "agent_id") if name in body]
    if not found:
        raise RefusedError(BAD_PARAMETERS, "user_id or agent_id is required")
    return frozenset().union(*found)


def conversation(body: Body) -> str | None:
    """The conversation, if one was named."""
    if "conversation_id" not in body:
        return None
    return _short(text(body, "conversation_id"), LONG_CONVERSATION, "conversation_id")


def _named(body: Body, name: str) -> frozenset[str]:
    value = body[name]
    names = texts(body, name) if isinstance(value, list) else [text(body, name)]
    if len(names) > _MOST_USERS:
        raise RefusedError(BAD_PARAMETERS, f"at most {_MOST_USERS} of {name}")
    return frozenset(f"{name}:{_short(one, LONG_USER, name)}" for one in names)


def _short(value: str, code: int, name: str) -> str:
    if len(value) > _LONGEST_ID:
        raise RefusedError(code, f"{name} must have at most {_LONGEST_ID} characters")
    return value
