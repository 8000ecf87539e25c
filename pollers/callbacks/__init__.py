"""Callbacks from providers: a handler for your own aiohttp app, and an ASGI app for any other.

A callback only triggers a look.  It isn't signed, and may be early, doubled, forged or lost, so what
it says of a job is not believed.  Where callbacks work, polling backs off by itself to a safety net;
where they stop, it takes over by itself (``pollers._core.callbacks``).

They are answered at once, before the look.  A provider must not try for ever because of us: whatever
is JSON is answered 200.

===== ===========================================================================================
200   a look is due for those jobs that are watched; also for payloads that no source knows
400   the body is not JSON
404   the secret is missing or wrong
405   another method than POST
413   more than 1 MiB
503   the poller has stopped
===== ===========================================================================================
"""

from pollers.callbacks._aiohttp import aiohttp_handler
from pollers.callbacks._asgi import asgi_app

__all__ = ("aiohttp_handler", "asgi_app")
