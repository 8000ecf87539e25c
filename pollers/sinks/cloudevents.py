"""CloudEvents over HTTP.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import msgspec

from pollers._core.events import Event
from pollers.sinks._http import HttpSink
from resilience import Guard

if TYPE_CHECKING:
    from aiohttp import ClientSession

Mode = Literal["binary", "structured"]

_PLAIN = "".join(chr(i) for i in range(0x21, 0x7F) if chr(i) not in '"%')
"""What stands in a header as it is (section 3.1.3.2); everything else is percent-encoded."""


class CloudEventsHttp(HttpSink):
    """Posts each event as a CloudEvent; any 2xx takes it.

    What parks an event, and what is to be said about the URL, is as with ``Webhook``.  On asyncio only.

    Args:
        url: where to.
        mode: ``binary`` has the attributes in headers and the data as the body; ``structured`` has all
            of it in a JSON body.
        name: what its cursor is stored under; by default ``cloudevents:`` and the URL without its
            query.
        guard: whose policy and schedule deliveries go by; see ``Sink``.
        session: used instead of one of its own, and not closed.
        headers: sent along, such as ``Authorization``.
        timeout: seconds for one request, its answer included.

    Raises:
        ValueError: not a URL, or no such mode.
    """

    def __init__(
        self,
        url: str,
        *,
        mode: Mode = "binary",
        name: str | None = None,
        guard: Guard | None = None,
        session: "ClientSession | None" = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        super().__init__(
            url, prefix="cloudevents", name=name, guard=guard, session=session, headers=headers,
            timeout=timeout,
        )  # fmt: skip
        if mode not in ("binary", "structured"):
            raise ValueError(f"mode={mode!r}: 'binary' or 'structured'")
        self._mode = mode

    async def deliver(self, events: Sequence[Event]) -> None:
        """One request an event."""
        for event in events:
            told = event.to_cloudevent()
            if self._mode == "structured":
                headers = {"content-type": "application/cloudevents+json"}
                await self.post(msgspec.json.encode(told), headers)
            else:
                data, kind = told.pop("data"), told.pop("datacontenttype")
                headers = {f"ce-{name}": quote(value, safe=_PLAIN) for name, value in told.items()}
                await self.post(msgspec.json.encode(data), {"content-type": kind, **headers})
