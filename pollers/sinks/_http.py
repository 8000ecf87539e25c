"""What the sinks over HTTP share: one bounded POST an event, without redirects.

Whoever writes the URL decides where this process connects to, and what answers there is read and
logged in part.  So a URL must come from the operator.  If it comes from others, give a ``session``
whose connector refuses private addresses: a check of the name alone would be undone by DNS.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from yarl import URL

from pollers.sinks.base import Sink
from resilience import Guard

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

MOST_READ = 64 * 1024
"""Bytes of an answer that are read; a longer one costs its connection."""
MOST_SAID = 200
"""Characters of a refusal that are told."""
_SUCCESS = range(200, 300)


class BadAnswer(Exception):  # noqa: N818  # the receiver's, with what a policy classifies by
    """The receiver did not take it.  Its headers count (``Retry-After``), and are never shown."""

    def __init__(self, status: int, headers: Mapping[str, str], said: str) -> None:
        super().__init__(f"HTTP {status}: {said}" if said else f"HTTP {status}")
        self.status = status
        self.headers = headers


class HttpSink(Sink):
    """Posts to one URL.  The session is made when it is first needed, unless one is given."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        name: str | None,
        guard: Guard | None,
        session: "ClientSession | None",
        headers: Mapping[str, str] | None,
        timeout: float,
    ) -> None:
        self._url = URL(url)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ValueError(f"url={url!r}: expected http://… or https://…")
        if not timeout > 0:
            raise ValueError(f"timeout={timeout!r}: seconds, above 0")
        # neither a password nor a token of the query belongs into a name, which is stored and logged
        self.name = name or f"{prefix}:{self._url.with_user(None).with_query(None)}"
        self.guard = guard
        self._given = session
        self._own: ClientSession | None = None
        self._headers = dict(headers or {})
        self._timeout = timeout

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send one body; returning means that the receiver has it."""
        from aiohttp import ClientTimeout

        async with self._session().post(
            self._url, data=body, headers={**self._headers, **headers}, allow_redirects=False,
            timeout=ClientTimeout(total=self._timeout),
        ) as response:  # fmt: skip
            said = await _read_some(response)
            if response.status not in _SUCCESS:
                text = " ".join(said.decode("utf-8", "replace").split())
                raise BadAnswer(response.status, response.headers, text[:MOST_SAID])

    def _session(self) -> "ClientSession":
        from aiohttp import ClientSession, DummyCookieJar

        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = ClientSession(cookie_jar=DummyCookieJar())
        return self._own

    async def aclose(self) -> None:
        """Close the session, unless it was given."""
        own, self._own = self._own, None
        if own is not None:
            await own.close()


async def _read_some(response: "ClientResponse") -> bytes:
    """The whole answer if it is short, so that its connection can be used again."""
    said = b""
    while len(said) < MOST_READ:
        chunk = await response.content.read(MOST_READ - len(said))
        if not chunk:
            break
        said += chunk
    return said
