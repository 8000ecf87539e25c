"""Callbacks as a handler of aiohttp.web."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from pollers.callbacks._door import MOST_BYTES, SECRET, TOO_LARGE, Answer, Door
from pollers.poller import Poller


def aiohttp_handler(poller: Poller | Callable[[], Poller], *, secret: str | None = None) -> Handler:
    """A handler of aiohttp.web for your own app.

    Mount it with ``app.router.add_post("/hooks/{secret}", aiohttp_handler(poller, secret=…))``.

    Args:
        poller: whose jobs the callbacks are about, or a function that gives it, for apps that make it
            when they start; it must live in the app's event loop.
        secret: what the URL must have as the last part of its path, or as ``?secret=``.  Give the
            provider a URL with it, and nobody else can make you look.  None lets everybody in.

    Raises:
        ValueError: the secret is empty or has a ``/``.
    """
    door = Door(poller, secret=secret)

    async def take_callback(request: web.Request) -> web.Response:
        refusal = door.refusal(request.method, request.path, request.query.getall(SECRET, []))
        return _response(refusal or await _taken(door, request))

    return take_callback


async def _taken(door: Door, request: web.Request) -> Answer:
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MOST_BYTES:
            return TOO_LARGE
    return door.answer(bytes(body))


def _response(answer: Answer) -> web.Response:
    return web.Response(
        body=answer.body, status=answer.status, headers=answer.headers,
        content_type="application/json",
    )  # fmt: skip
