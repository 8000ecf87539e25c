"""What a poller runs: the loops of its sources, the relays of its sinks, and the store of both.

Its life goes one way: made, begun, open (the store, the shards, the places of the sinks), running,
draining (nobody looks any more, sinks get what is committed), stopped, closed.  From each of these it
may go to *stopped* at once, and then everybody who waits for it is woken.  ``Poller`` is its face.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from pollers import _given as given
from pollers import _snapshot
from pollers._core.model import JobKey, Shard
from pollers._core.stalls import Stalls
from pollers._log import crash, log
from pollers._loop import Loop
from pollers._news import News
from pollers._relay import Relay
from pollers._telling import Telling
from pollers._watch import Pace
from pollers.errors import PollerStopped, StoreError
from pollers.observe import Observer, StateRecord
from pollers.sinks.base import Sink
from pollers.sinks.callback import Callback
from pollers.sources.base import Source
from pollers.store import Store, open_store
from resilience import ResilienceError

T = TypeVar("T")

CLOSING_PART = 0.2
"""Of the time to stop in, the part that is kept for sinks to give back what they hold."""

PATIENCE = 5.0
"""Seconds that callers wait for a poller that nobody has started yet."""

TELL_EVERY = 10.0
"""Seconds between two snapshots for whoever observes."""

PRUNE_EVERY = 60.0
"""Seconds between two looks for what is old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a ``Poller`` was told, checked."""

    pace: Pace
    stops_when_refused: bool
    keep: float | None
    """Seconds."""
    wall: Callable[[], float]
    chance: Callable[[], float]


class Engine:
    """What a poller runs."""

    def __init__(
        self,
        sources: Sequence[Source],
        sinks: Sequence[Callback | Sink],
        store: str | os.PathLike[str] | Store,
        settings: Settings,
        observer: Observer | None,
    ) -> None:
        self.settings = settings
        self.pace, self.wall, self.chance = settings.pace, settings.wall, settings.chance
        self.store = open_store(store)
        self.telling = Telling(observer)
        self.news = News()
        self.stalls: dict[Shard, Stalls] = {}
        self.loops = [Loop(self, source) for source in sources]
        self.relays = [Relay(self, given.sink(one)) for one in sinks]
        given.refuse_twins("sources", [f"{o.source.kind} of {o.shard}" for o in self.loops])
        given.refuse_twins("sinks", [relay.sink.name for relay in self.relays])
        self.opened_at = 0
        """The last event that was there before this run."""
        self.close_by: float | None = None
        """Loop time by which sinks must have given back what they hold; None if it doesn't matter."""
        self.stopped: PollerStopped | None = None
        """Why it ended; None while it runs."""
        self._stopped_at: float | None = None
        self._somebody_knows = False
        self.is_draining = False
        self._begun = False
        self._ready = anyio.Event()
        self._still = anyio.Event()
        """No look and no commit of one is under way any more."""
        self._ended = anyio.Event()
        self._closing = anyio.Lock()
        self._scope: anyio.CancelScope | None = None
        self._looking: anyio.CancelScope | None = None

    # -- its beginning ------------------------------------------------------------------------

    def begin(self) -> None:
        """Somebody starts it."""
        if self._ready.is_set():
            raise RuntimeError("a poller runs once: make another one")
        self._begun = True

    async def open(self) -> None:
        """Open the store, and own the shards in it."""
        await self.store.open()
        epochs: dict[Shard, int] = {}
        for loop in self.loops:  # sources of one shard have one epoch: they would fence each other
            if loop.shard not in epochs:
                epochs[loop.shard] = await self.store.acquire(loop.shard)
            await loop.ledger.open(epochs[loop.shard])
        self.news.head = self.opened_at = await self.store.head()
        for relay in self.relays:
            await relay.open()
        log.info("pollers.opened", sources=len(self.loops), sinks=len(self.relays))
        self._ready.set()

    @property
    def is_ready(self) -> bool:
        """Whether it is open, or was stopped."""
        return self._ready.is_set()

    @property
    def was_open(self) -> bool:
        """Whether it has run."""
        return self._scope is not None

    async def ready(self) -> None:
        """Wait until the store is open."""
        await self._ready.wait()

    async def started(self) -> None:
        """The same; whoever forgot to start the poller would wait for ever."""
        if not self._begun:
            with anyio.move_on_after(PATIENCE):
                await self._ready.wait()
            if not self._begun:
                raise RuntimeError(
                    "this poller was not started: use it in 'async with Poller(…) as poller:', "
                    "or start 'poller.run()' in a task group"
                )
        await self._ready.wait()

    async def running(self) -> None:
        """Wait until it has started; raise if it has ended."""
        await self.started()
        self.check_running()

    # -- its life -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Until it is stopped, or cancelled; it raises nothing of its own."""
        try:
            with anyio.CancelScope() as self._scope:
                if self.stopped is not None:
                    return
                await self._run_all()
        finally:
            self.stop(None)  # cancelled, perhaps with all tasks: nobody may wait for it any more
            self._ended.set()

    async def _run_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            for relay in self.relays:
                tasks.start_soon(self._guarded, relay.run)
            with anyio.CancelScope() as self._looking:
                if self.is_draining:  # stopped before it had begun
                    self._looking.cancel()
                async with anyio.create_task_group() as looking:

                    def begin(task: Callable[..., Any], *args: Any) -> None:
                        looking.start_soon(self._guarded, task, *args)

                    if self.telling.heard:
                        begin(self._tell_state)
                    if self.settings.keep is not None:
                        begin(self._prune, self.settings.keep)
                    for loop in self.loops:
                        begin(loop.ledger.load)
                        begin(loop.run, begin)
            self._still.set()

    async def _tell_state(self) -> None:
        while True:
            self.telling.tell(StateRecord(snapshot=_snapshot.snapshot(self.inside())))
            await anyio.sleep(TELL_EVERY)

    async def _prune(self, keep: float) -> None:
        """Delete what is old and done with, little by little: commits go in between."""
        while True:
            while await self.store.prune(self.wall() - keep):
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(min(keep, PRUNE_EVERY))

    async def _guarded(self, task: Callable[..., Any], *args: Any) -> None:
        """A task that can't go on ends the poller, and everybody who waits for it learns why."""
        try:
            await task(*args)
        except (StoreError, ResilienceError) as error:
            self.stop(error)
        except Exception as error:  # noqa: BLE001  # a source's or a store's bug: nobody may hang on it
            log.error("pollers.crashed", **crash(error))
            self.stop(error)

    # -- its end ------------------------------------------------------------------------------

    async def drain(self, within: float) -> None:
        """Stop looking, and give the sinks a moment for what is committed; the rest comes later."""
        if self.stopped is not None:
            return
        until = anyio.current_time() + within
        self.close_by = until if self.close_by is None else min(until, self.close_by)
        self.is_draining = True
        if self._looking is not None:
            self._looking.cancel()
        with anyio.move_on_after(within * (1 - CLOSING_PART)):
            await self._still.wait()
            while self.stopped is None and any(r.marked < self.news.head for r in self.relays):
                delivered = self.news.delivered
                await delivered.wait()
        for relay in self.relays:
            if relay.seq < self.news.head:
                left = self.news.head - relay.seq
                log.info("pollers.undelivered", sink=relay.sink.name, events=left)

    def stop(self, error: Exception | None) -> None:
        """It has ended, because of this error or because it was to; a second time changes nothing."""
        if self.stopped is None:
            said = f"the poller stopped: {error}" if error else "the poller's block was left"
            self.stopped = PollerStopped(said)
            self.stopped.__cause__ = error
            self._stopped_at = self.wall()
            if error is not None:
                log.error(
                    "pollers.stopped", error=type(error).__name__, code=getattr(error, "code", None)
                )
        self._ready.set()
        self._still.set()
        self.news.tell_over()
        if self._scope is not None:
            self._scope.cancel()

    async def stop_from_outside(self, within: float) -> None:
        """Drain and stop, in whatever task; returns when everything is in the store."""
        if not self._begun:
            self._begun = True  # and over
            self.stop(None)
            return
        try:
            await self.drain(within)
        finally:
            self.stop(None)
        await self._ended.wait()
        await self.close()

    async def close(self) -> None:
        """Close the store; nothing may run any more."""
        with anyio.CancelScope(shield=True):
            async with self._closing:
                await self.store.aclose()
        self._ended.set()

    def raise_failure(self) -> None:
        """It ended by itself: say why."""
        if self.stopped is not None and self.stopped.__cause__ is not None:
            raise self.stopped

    def raise_unknown_failure(self) -> None:
        """The same, if nobody who waited was told."""
        if not self._somebody_knows:
            self.raise_failure()

    def check_running(self) -> None:
        """Raise why it doesn't."""
        if self.stopped is not None:
            self._somebody_knows = True
            raise PollerStopped(str(self.stopped)) from self.stopped.__cause__

    # -- looking in ---------------------------------------------------------------------------

    async def read(self, reading: Awaitable[T]) -> T:
        """What the store says; if it was closed under us, why."""
        try:
            return await reading
        except StoreError:
            self.check_running()
            raise

    def holds(self, rid: int) -> bool:
        """Whether something may still happen to this job by itself."""
        return any(loop.ledger.holds(rid) for loop in self.loops)

    async def cancel(self, rid: int, key: JobKey) -> None:
        """Stop watching one job."""
        self.check_running()
        for loop in self.loops:
            if loop.ledger.key(key.remote_id) == key:
                await loop.ledger.cancel(rid)

    def fitting(self, kind: str | None, account: str | None) -> list[Loop]:
        """The loops of the sources that are meant, one at least."""
        fitting = [
            loop
            for loop in self.loops
            if (kind is None or loop.source.kind == kind)
            and (account is None or loop.shard.account == account)
        ]
        if not fitting:
            raise self._misfit(0, kind, account)
        return fitting

    def loop_for(self, kind: str | None, account: str | None) -> Loop:
        """The loop of the source that is meant."""
        fitting = self.fitting(kind, account)
        if len(fitting) != 1:
            raise self._misfit(len(fitting), kind, account)
        return fitting[0]

    def _misfit(self, count: int, kind: str | None, account: str | None) -> ValueError:
        known = ", ".join(f"{o.source.kind} of {o.shard.account}" for o in self.loops)
        return ValueError(f"kind={kind!r}, account={account!r} fit {count} sources of: {known}")

    def inside(self) -> _snapshot.Inside:
        """Its parts, at this moment."""
        return _snapshot.Inside(
            ready=self.is_ready, stopped=self.stopped, stopped_at=self._stopped_at,
            loops=self.loops, relays=self.relays, head=self.news.head, now=anyio.current_time(),
            wall=self.wall(),
        )  # fmt: skip
