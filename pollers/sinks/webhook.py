"""A signed webhook: Standard Webhooks headers around a CloudEvent.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from pollers._core.events import Event
from pollers.sinks._http import HttpSink
from pollers.sinks.base import needed
from resilience import Guard

if TYPE_CHECKING:
    from aiohttp import ClientSession


class Webhook(HttpSink):
    """Posts each event as CloudEvents JSON, signed; any 2xx takes it.

    ``webhook-id`` is the event's id, so that a receiver knows what it has had.  400, 413, 415 and 422
    park the event; after anything else, redirects included, it is asked again.  On asyncio only.
    The URL must be the operator's: it is not checked for private addresses (see ``sinks/_http.py``).

    Args:
        url: where to.
        secret: the shared secret, ``whsec_`` and base64.
        name: what its cursor is stored under; by default ``webhook:`` and the URL without its query.
        guard: whose policy and schedule deliveries go by; see ``Sink``.
        session: used instead of one of its own, and not closed.
        headers: sent along.
        timeout: seconds for one request, its answer included.
        wall: seconds since the epoch, for the signature.

    Raises:
        ValueError: not a URL, or not a secret.
        ModuleNotFoundError: the extra ``webhook`` is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str,
        name: str | None = None,
        guard: Guard | None = None,
        session: "ClientSession | None" = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            url, prefix="webhook", name=name, guard=guard, session=session, headers=headers,
            timeout=timeout,
        )  # fmt: skip
        signing = needed("standardwebhooks", extra="webhook", sink="Webhook")
        try:
            self._signer = signing.Webhook(secret)
        except Exception:  # noqa: BLE001  # base64's or the package's; neither may show the secret
            raise ValueError("secret: expected 'whsec_' and base64, and not empty") from None
        self._wall = wall

    async def deliver(self, events: Sequence[Event]) -> None:
        """One request an event; each attempt is signed anew, with its own time."""
        for event in events:
            body = msgspec.json.encode(event.to_cloudevent())
            at = datetime.fromtimestamp(int(self._wall()), UTC)
            headers = {
                "content-type": "application/cloudevents+json",
                "webhook-id": event.id,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": self._signer.sign(event.id, at, body.decode()),
            }
            await self.post(body, headers)
