"""Callbacks as an ASGI 3 app, for FastAPI, Starlette and their like; it needs none of them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from pollers.callbacks._door import MOST_BYTES, SECRET, TOO_LARGE, Answer, Door
from pollers.poller import Poller

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


def asgi_app(poller: Poller | Callable[[], Poller], *, secret: str | None = None) -> Asgi:
    """An app to be mounted in yours.

    Mount it with ``app.mount("/hooks", asgi_app(poller, secret=…))``.

    Args:
        poller: whose jobs the callbacks are about, or a function that gives it, for apps that make it
            when they start; it must live in the app's event loop.
        secret: what the URL must have as the last part of its path, or as ``?secret=``.  Give the
            provider a URL with it, and nobody else can make you look.  None lets everybody in.

    Raises:
        ValueError: the secret is empty or has a ``/``.
    """
    door = Door(poller, secret=secret)

    async def take_callback(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"callbacks come by http, not by {scope['type']}")
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        refusal = door.refusal(scope["method"], scope["path"], query.get(SECRET, []))
        answer = refusal or await _taken(door, receive)
        if answer is not None:
            await _respond(answer, send)

    return take_callback


async def _taken(door: Door, receive: Receive) -> Answer | None:
    """The answer to a whole body; None if whoever sent it has gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            return TOO_LARGE
        if not message.get("more_body", False):
            return door.answer(bytes(body))


async def _respond(answer: Answer, send: Send) -> None:
    headers = {"Content-Type": "application/json", **answer.headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
    await send({"type": "http.response.body", "body": answer.body})
