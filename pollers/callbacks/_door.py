"""What both ways in have in common: from a request to its answer, without I/O."""

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pollers._log import log
from pollers.poller import Poller

MOST_BYTES = 1 << 20
"""Of a body.  Callbacks of Memories.ai have a hundred."""

SECRET = "secret"  # noqa: S105  # the name
"""The query's field for it, where it isn't the last part of the path."""

MOST_SHOWN = 20
"""Names of fields that a log line repeats of an unknown payload; a stranger chose them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to say to whoever sent it.

    ``code`` is in the body because one service of Memories.ai reads it: 0 is delivered.
    """

    status: int
    said: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """JSON."""
        return msgspec.json.encode({"code": 0 if self.status == _TAKEN else -1, "msg": self.said})


_TAKEN = 200
TAKEN = Answer(_TAKEN, "ok")
NOT_JSON = Answer(400, "the body is not JSON")
NOT_FOUND = Answer(404, "not found")
ONLY_POST = Answer(405, "only POST", {"Allow": "POST"})
TOO_LARGE = Answer(413, "the body is too large")
STOPPED = Answer(503, "the poller has stopped")


class Door:
    """Lets callbacks in to one poller.

    Args:
        poller: whose jobs they are about, or a function that gives it when a callback comes.
        secret: what the URL must have as the last part of its path or as ``?secret=``; None lets
            everybody in.

    Raises:
        ValueError: the secret is empty, as when a variable isn't set, or can't be in a path.
    """

    def __init__(self, poller: Poller | Callable[[], Poller], *, secret: str | None) -> None:
        if secret is not None and (not secret or "/" in secret):
            raise ValueError("secret: expected a text without '/' that is not empty, or None")
        self._poller: Callable[[], Poller] = (
            (lambda: poller) if isinstance(poller, Poller) else poller
        )
        self._secret = None if secret is None else secret.encode()
        self._told = False
        self.unknown = 0
        """Payloads that no source knew."""

    def refusal(self, method: str, path: str, secrets: Iterable[str]) -> Answer | None:
        """Why a request isn't even read, None if it is; ``secrets`` are those of its query."""
        if not self._is_admitted(path, secrets):
            return NOT_FOUND
        if method != "POST":
            return ONLY_POST
        return STOPPED if self._poller().stopped else None

    def answer(self, body: bytes) -> Answer:
        """Take a callback in."""
        if len(body) > MOST_BYTES:
            return TOO_LARGE
        try:
            payload = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            return NOT_JSON
        poller = self._poller()
        if poller.stopped:
            return STOPPED  # while the body came
        if poller.take_callback(payload) is None:
            self._count_unknown(payload)
        return TAKEN

    def _is_admitted(self, path: str, secrets: Iterable[str]) -> bool:
        if self._secret is None:
            return True
        offered = (path.rpartition("/")[2], *secrets)
        return any(
            hmac.compare_digest(one.encode("utf-8", "replace"), self._secret) for one in offered
        )

    def _count_unknown(self, payload: Any) -> None:
        self.unknown += 1
        if self._told:
            return
        self._told = True
        fields = sorted(payload)[:MOST_SHOWN] if isinstance(payload, dict) else None
        log.warning("pollers.unknown_callback", type=type(payload).__name__, fields=fields)
