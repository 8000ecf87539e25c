"""What an answer is before it is written, whoever gives it: a JSON body in a provider's envelope."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Payload = dict[str, Any]
Code = str | int


class RefusedError(Exception):
    """A request that is answered with an error code; nothing was done for it."""

    def __init__(
        self, code: Code, message: str | None = None, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is written: a JSON body, and headers beside the usual ones.

    Attributes:
        events: What is sent instead of the body if the answer is a stream (`text/event-stream`).
        gap: Seconds before each of them but the first.
    """

    payload: Payload
    headers: dict[str, str] = field(default_factory=dict)
    events: tuple[bytes, ...] | None = None
    gap: float = 0.0

    @property
    def code(self) -> str | None:
        """The code of the envelope as text, or None if the body has none."""
        code = self.payload.get("code")
        return None if code is None else str(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """How a provider wraps what it says.

    Attributes:
        success: Makes the body of a success from its data.
        failure: Makes the body of an error from its code and message (None: the documented one).
        message: Name of the field with the message.
        good: Codes of a success, as text.
    """

    success: Callable[[Any], Payload]
    failure: Callable[[Code, str | None], Payload]
    message: str
    good: frozenset[str]


def dump(payload: Any) -> bytes:
    """JSON as the server writes it: compact, not escaped to ASCII."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
