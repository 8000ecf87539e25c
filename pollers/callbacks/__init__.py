"""Callbacks from providers: a handler for your own aiohttp app, and an ASGI app for any other.

A callback only triggers a look.  It isn't signed, and may be early, doubled, forged or lost, so what
it says of a job is not believed.  Where callbacks work, polling backs off by itself to a safety net;
where they stop, it takes over by itself (``pollers._core.callbacks``).

They are answered at once, before the look.  A provider must not try for ever because of us, so any JSON
is answered 200, also what no source knows (it is logged once).  400 is not JSON, 404 a missing or wrong
secret, 405 another method than POST, 413 more than 1 MiB, 503 a poller that has stopped.
"""

from pollers.callbacks._aiohttp import aiohttp_handler
from pollers.callbacks._asgi import asgi_app

__all__ = ("aiohttp_handler", "asgi_app")
