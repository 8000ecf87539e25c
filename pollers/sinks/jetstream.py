"""NATS JetStream: each message is published behind the one before it, or not at all.

The server compares the last sequence number of the subject with the one that we expect, so neither
a lost acknowledgement nor a crash can double a message.  Its window for duplicates, which is finite,
is not needed.  https://docs.nats.io/nats-concepts/jetstream/headers
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from pollers._core.events import BadCursor, Event, place_of
from pollers.errors import EventRefused
from pollers.sinks.base import Sink, needed
from resilience import Guard

if TYPE_CHECKING:
    from nats.aio.client import Client

_TIMEOUT = 10.0
_TOO_LARGE = 10054
"""JSStreamMessageExceedsMaximumErr."""


class JetStream(Sink):
    """Publishes each event to a subject of a stream, once, as CloudEvents JSON.

    The stream must exist, and nobody else may publish to the subject.  If its last message was removed
    (by age, say) and the process crashed before that, one batch may come twice.  An event that is
    larger than the server or the stream allows is parked.  On asyncio only.

    Args:
        servers: ``nats://…``; or a connected client of yours, which is not closed.
        stream: the stream's name.
        subject: one of the stream's subjects, without wildcards.
        name: what its cursor is stored under; by default ``nats:`` and the subject.
        guard: by whose schedule it is tried again; see ``Sink``.

    Raises:
        ModuleNotFoundError: the extra ``nats`` is not installed.
    """

    batch = 100
    in_sequence = True

    def __init__(
        self,
        servers: "str | Client",
        stream: str,
        subject: str,
        *,
        name: str | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._package = needed("nats", extra="nats", sink="JetStream")
        self._errors = needed("nats.errors", extra="nats", sink="JetStream")
        self._refusals = needed("nats.js.errors", extra="nats", sink="JetStream")
        self._servers = servers
        self._stream = stream
        self._subject = subject
        self.name = name or f"nats:{subject}"
        self.guard = guard
        self._client: Any = None
        self._last: tuple[str, int] | None = None
        """The store and the sequence number of the last message's event; None if not looked at."""
        self._expected = 0
        """The sequence number that the last message has in the stream."""

    async def deliver(self, events: Sequence[Event]) -> None:
        """One after the other, each acknowledged."""
        try:
            if self._client is None:
                self._client = await self._connect()
            if self._last is None:
                await self._look()
            for event in events:
                await self._publish(event)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close the connection, unless the client was given; look at the stream again next time."""
        client, self._client, self._last = self._client, None, None
        if client is not None and client is not self._servers:
            with anyio.CancelScope(shield=True), suppress(Exception):
                await client.close()

    async def _connect(self) -> Any:
        if not isinstance(self._servers, str):
            return self._servers
        # one attempt: when to try again is the guard's to say
        return await self._package.connect(
            self._servers, allow_reconnect=False, connect_timeout=_TIMEOUT, error_cb=_quiet
        )

    async def _look(self) -> None:
        js = self._client.jetstream(timeout=_TIMEOUT)
        try:
            message = await js.get_last_msg(self._stream, self._subject)
        except self._refusals.NotFoundError:
            await js.stream_info(self._stream)  # it says if the stream is what is missing
            self._last, self._expected = ("", 0), 0
            return
        self._last, self._expected = _place(message.data), message.seq

    async def _publish(self, event: Event) -> None:
        place = store, seq = place_of(event.cursor)
        assert self._last is not None  # noqa: S101  # looked at in ``deliver``
        if store == self._last[0] and seq <= self._last[1]:
            return
        headers = {
            "Content-Type": "application/cloudevents+json",
            "Nats-Expected-Last-Subject-Sequence": str(self._expected),
        }
        body = msgspec.json.encode(event.to_cloudevent())
        js = self._client.jetstream(timeout=_TIMEOUT)
        try:
            ack = await js.publish(self._subject, body, stream=self._stream, headers=headers)
        except self._errors.MaxPayloadError as wrong:
            raise EventRefused(f"{len(body)} bytes: {wrong}") from wrong
        except self._refusals.APIError as wrong:
            if wrong.err_code == _TOO_LARGE:
                raise EventRefused(f"{len(body)} bytes: {wrong.description}") from wrong
            raise
        self._last, self._expected = place, ack.seq


def _place(body: bytes | None) -> tuple[str, int]:
    """Where the store was with this message; nowhere if it is not one of ours."""
    try:
        return place_of(msgspec.json.decode(body or b"")["cursor"])
    except (msgspec.MsgspecError, BadCursor, KeyError, TypeError, ValueError):
        return ("", 0)


async def _quiet(_error: Exception) -> None:
    """What goes wrong is raised where it is asked for."""
