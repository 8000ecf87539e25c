"""Redis Streams: entries whose ids are the sequence numbers of the store.

Redis refuses an id that is not larger than all before it, so whatever was added already can't be
added again: https://redis.io/docs/latest/commands/xadd/
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pollers._core.events import Event, place_of
from pollers.sinks.base import Sink, needed
from resilience import Guard

if TYPE_CHECKING:
    from redis.asyncio import Redis

_TIMEOUT = 10.0
_HAS_IT = "equal or smaller than the target stream top item"


class RedisStream(Sink):
    """Adds each event to a stream, once: ``id`` (the event's) and ``event`` (CloudEvents JSON).

    The stream belongs to one store, which is remembered in the key ``<key>:store``: another store's
    numbers would be taken for what is there already, so it is refused.  On asyncio only.

    Args:
        url: ``redis://…``; or a ``redis.asyncio`` client of yours, which is not closed.
        key: the stream's.
        maxlen: about how many entries the stream keeps; None for all.
        name: what its cursor is stored under; by default ``redis:`` and the key.
        guard: by whose schedule it is tried again; see ``Sink``.

    Raises:
        ModuleNotFoundError: the extra ``redis`` is not installed.
    """

    batch = 100
    in_sequence = True

    def __init__(
        self,
        url: "str | Redis",
        key: str,
        *,
        maxlen: int | None = None,
        name: str | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._package = needed("redis.asyncio", extra="redis", sink="RedisStream")
        self._url = url
        self._key = key
        self._maxlen = maxlen
        self.name = name or f"redis:{key}"
        self.guard = guard
        self._redis: Any = None

    async def deliver(self, events: Sequence[Event]) -> None:
        """All of them in one transaction: if some could fail alone, later ones would hide them."""
        try:
            redis = self._redis = self._redis or self._open()
            await self._check_owner(redis, events[0].id.split(":", 1)[0])
            async with redis.pipeline(transaction=True) as pipe:
                for event in events:
                    _, seq = place_of(event.cursor)
                    entry = {"id": event.id, "event": msgspec.json.encode(event.to_cloudevent())}
                    pipe.xadd(self._key, entry, id=f"{seq}-0", maxlen=self._maxlen)
                answers = await pipe.execute(raise_on_error=False)
        except BaseException:
            await self.aclose()
            raise
        for answer in answers:
            if isinstance(answer, Exception) and _HAS_IT not in str(answer):
                raise answer

    async def aclose(self) -> None:
        """Close the connection, unless the client was given."""
        redis, self._redis = self._redis, None
        if redis is not None and redis is not self._url:
            await redis.aclose()

    def _open(self) -> Any:
        if not isinstance(self._url, str):
            return self._url
        # one attempt: when to try again is the guard's to say
        retry = needed("redis.asyncio.retry", extra="redis", sink="RedisStream")
        pause = needed("redis.backoff", extra="redis", sink="RedisStream")
        return self._package.Redis.from_url(
            self._url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT,
            retry=retry.Retry(pause.NoBackoff(), 0),
        )  # fmt: skip

    async def _check_owner(self, redis: Any, store: str) -> None:
        mark = f"{self._key}:store"
        if await redis.setnx(mark, store):
            return
        owner = await redis.get(mark)
        owner = owner.decode() if isinstance(owner, bytes) else owner
        if owner != store:
            raise ValueError(
                f"the Redis stream {self._key!r} belongs to the store {owner}, not to {store}: "
                f"give another key, or delete {self._key!r} and {mark!r}"
            )
