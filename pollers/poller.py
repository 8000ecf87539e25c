"""The poller: look -> step -> save -> deliver -> sleep, for every source, in one background task.

One loop per source, never a task per job.  A loop sleeps until the next job is due, makes one look
(one request for as many jobs as the API allows), turns what it saw into transitions, commits these
with their events in one transaction, and only then tells anybody.  Events are delivered from the
store, so whatever happens in between, a restart goes on where the last commit was.
"""

import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.lowlevel

from pollers import _given as given
from pollers._background import Background
from pollers._core.events import (
    TERMINAL,
    BadCursor,
    Event,
    Parked,
    Terminal,
    event_of,
    seq_of,
)
from pollers._core.looks import PRICE
from pollers._core.model import Job, JobKey, NewJob, Shard, State
from pollers._handle import JobHandle
from pollers._log import log
from pollers._loop import Loop
from pollers._relay import Relay
from pollers._watch import INFINITE, Pace
from pollers.errors import JobPruned, PollerStopped, StoreError
from pollers.sinks.base import Sink
from pollers.sinks.callback import Callback
from pollers.sources.base import Source
from pollers.store import Store, open_store
from resilience import ResilienceError

T = TypeVar("T")

DRAIN = 5.0
"""Seconds that sinks get for the last events when the poller's block is left."""

PATIENCE = 5.0
"""Seconds that callers wait for a poller that nobody has started yet."""

TRANSACTION = 5000
"""Jobs that are registered at once."""

PRUNE_EVERY = 60.0
"""Seconds between two looks for what is old."""


class Poller:
    """Watches jobs until they end, and remembers them.

    Args:
        sources: where the state of jobs is asked for.
        store: ``":memory:"``, the path of a SQLite file (one process writes to it), or a ``Store``.
        sinks: functions (sync or async) or ``Sink``s that get every event.
        on_refused: what to do when the API refuses *us* (a refused key, an exhausted quota):
            ``"stall"`` keeps the jobs, tells it once and goes on by itself when it is mended;
            ``"stop"`` ends the poller.
        keep: seconds after its end that a job is kept with its events; None is for ever.  Whatever
            its age, a job stays while a sink, running or not, still has to get one of its events or
            has parked one.
        min_interval, max_interval: seconds between looks at one job.
        look_price: seconds of delay that a look at one job must save on average, or it waits.  A
            quarter of it means half the delay for twice the looks.  How long jobs take is learned;
            with nothing learned yet, intervals are the root of the age (at ``0.25``).
        grace: seconds that a job may be missing from answers before it expires.
        final_grace: seconds after its deadline that a job waits for a last look.
        wall: seconds since the epoch.
        chance: random numbers in ``[0, 1)``.

    Use it as a context manager (a background task; leaving stops it cleanly, on asyncio also from
    another task, as test fixtures do), or call :meth:`run` in a task group of your own.
    """

    def __init__(
        self,
        *sources: Source,
        store: str | os.PathLike[str] | Store = ":memory:",
        sinks: Sequence[Callback | Sink] = (),
        on_refused: str = "stall",
        keep: float | timedelta | None = None,
        min_interval: float = 1.0,
        max_interval: float = 30.0,
        look_price: float = PRICE,
        grace: float = 60.0,
        final_grace: float = 30.0,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not sources:
            raise ValueError("a poller needs at least one source")
        for source in sources:
            if not callable(getattr(source, "look", None)):
                raise TypeError(
                    f"{source!r} is not a source: give MemoriesVideos(session) or "
                    "CallableSource(ask, …), and the ids to 'await poller.watch(id)'"
                )
            if not source.guard.enforce:  # a rejection would look like an answer without the job
                raise ValueError(
                    f"the guard of {source.kind!r} has enforce=False: it only watches, and can't tell "
                    "a request that failed from a job that is missing; give the source another"
                )
        if on_refused not in ("stall", "stop"):
            raise ValueError(f"on_refused={on_refused!r}: 'stall' or 'stop'")
        if not 0 < min_interval <= max_interval:
            raise ValueError(f"min_interval={min_interval!r}: above 0 and at most max_interval")
        self._keep = None if keep is None else given.seconds(keep)
        if self._keep is not None and not self._keep > 0:
            raise ValueError(f"keep={keep!r}: seconds above 0, or None for ever")
        if not 0 < look_price < INFINITE:
            raise ValueError(f"look_price={look_price!r}: expected seconds, above 0")
        self.store = open_store(store)
        self.wall = wall
        self.chance = chance
        self.stops_when_refused = on_refused == "stop"
        self.pace = Pace(
            min_interval=min_interval, max_interval=max_interval, grace=grace,
            final_grace=final_grace, look_price=look_price,
        )  # fmt: skip
        self._loops = [Loop(self, source) for source in sources]
        self._relays = [Relay(self, given.sink(one)) for one in sinks]
        given.refuse_twins("sources", [f"{o.source.kind} of {o.shard}" for o in self._loops])
        given.refuse_twins("sinks", [relay.sink.name for relay in self._relays])
        self._waiting: dict[int, anyio.Event] = {}
        self._head = 0
        self.opened_at = 0
        self._somebody_knows = False
        self._looking: anyio.CancelScope | None = None
        self.news = anyio.Event()
        self._ready = anyio.Event()
        self._begun = False
        self._stopped: PollerStopped | None = None
        self._scope: anyio.CancelScope | None = None
        self._background = Background()

    # -- life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._check_fresh()
        try:
            await self._open()
            await self._background.start(self._run)
        except BaseException:
            self._stop(None)
            with anyio.CancelScope(shield=True):
                await self.store.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self._drain()
        finally:
            self._stop(None)
            try:  # also if the drain was cancelled: what runs must end before its store is closed
                await self._background.ended()
            finally:
                with anyio.CancelScope(shield=True):
                    await self.store.aclose()
        unknown = error is None and not self._somebody_knows
        if unknown and self._stopped is not None and self._stopped.__cause__ is not None:
            raise self._stopped  # it ended by itself, and nobody was waiting to be told

    async def _drain(self) -> None:
        """Stop looking, and give the sinks a moment for what is committed; the rest comes later."""
        if self._stopped is not None:
            return
        await anyio.lowlevel.checkpoint()  # the background task may only just have been started
        if self._looking is not None:
            self._looking.cancel()
        with anyio.move_on_after(DRAIN):
            while any(relay.seq < self._head for relay in self._relays):
                self._progress = anyio.Event()
                await self._progress.wait()

    async def run(self) -> None:
        """The same loop for those who own the task group; runs until cancelled.

        Raises:
            PollerStopped: the API refuses us and ``on_refused="stop"``, or the store failed.
        """
        self._check_fresh()
        try:
            await self._open()
            await self._run()
        except StoreError as error:
            self._stop(error)  # it could not be opened; those who wait for that must know
            raise
        finally:
            self._stop(None)
            with anyio.CancelScope(shield=True):
                await self.store.aclose()
        if self._stopped is not None and self._stopped.__cause__ is not None:
            raise self._stopped

    def _check_fresh(self) -> None:
        if self._ready.is_set():
            raise RuntimeError("a poller runs once: make another one")
        self._begun = True

    async def _started(self) -> None:
        """Wait until the store is open; whoever forgot to start the poller would wait for ever."""
        if not self._begun:
            with anyio.move_on_after(PATIENCE):
                await self._ready.wait()
            if not self._begun:
                raise RuntimeError(
                    "this poller was not started: use it in 'async with Poller(…) as poller:', "
                    "or start 'poller.run()' in a task group"
                )
        await self._ready.wait()

    async def _open(self) -> None:
        await self.store.open()
        epochs: dict[Shard, int] = {}
        for loop in self._loops:  # sources of one shard have one epoch: they would fence each other
            if loop.shard not in epochs:
                epochs[loop.shard] = await self.store.acquire(loop.shard)
            await loop.open(epochs[loop.shard])
        self._head = self.opened_at = await self.store.head()
        for relay in self._relays:
            await relay.open()
        self._progress = anyio.Event()
        self._ready.set()

    async def _run(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                if self._stopped is not None:
                    return
                await self._run_all()
        finally:
            self._stop(None)  # cancelled, perhaps with all tasks: nobody may wait for it any more

    async def _run_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            for relay in self._relays:
                tasks.start_soon(self._guarded, relay.run)
            with anyio.CancelScope() as self._looking:
                async with anyio.create_task_group() as looking:
                    if self._keep is not None:
                        looking.start_soon(self._guarded, self._prune, self._keep)
                    for loop in self._loops:
                        looking.start_soon(self._guarded, loop.load)
                        looking.start_soon(self._guarded, loop.run)

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
            self._stop(error)
        except Exception as error:  # noqa: BLE001  # a source's or a store's bug: nobody may hang on it
            log.exception("pollers.crashed", error=repr(error))
            self._stop(error)

    def _stop(self, error: Exception | None) -> None:
        if self._stopped is None:
            said = f"the poller stopped: {error}" if error else "the poller's block was left"
            self._stopped = PollerStopped(said)
            self._stopped.__cause__ = error
            if error is not None:
                log.error(
                    "pollers.stopped", error=type(error).__name__, code=getattr(error, "code", None)
                )
        for event in self._waiting.values():
            event.set()
        self._ready.set()
        self._tell()
        if self._scope is not None:
            self._scope.cancel()

    @property
    def stopped(self) -> PollerStopped | None:
        """Why it ended; None while it runs."""
        return self._stopped

    # -- watching -----------------------------------------------------------------------------

    async def watch(
        self,
        job_id: str,
        *,
        deadline: float | timedelta | None = 1800.0,
        data: Any = None,
        again: bool = False,
        submitted_at: float | None = None,
        kind: str | None = None,
        account: str | None = None,
        expect: int | None = None,
        settle: float | timedelta | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> JobHandle:
        """Watch a job; returns when that is stored.

        A job that is known is returned as it is (its deadline counts from its first watch); one that
        has ended gives its stored result, unless ``again`` starts a new row.

        Args:
            job_id: the provider's id.
            deadline: seconds from now after which the job expires; None for never.
            data: any JSON value of yours; it comes back in every event.
            again: watch once more what has ended.
            submitted_at: when the work was handed in (seconds since the epoch), if you know.
            kind: of the source, if there are several.
            account: of the source, if there are several.
            expect: for kinds with children (scraper tasks): how many there will be.
            settle: for kinds with children: seconds for which no further child must have come;
                None takes the source's.  Both are stored with the job.
            features: what may foretell how long it takes: ``duration`` and ``size`` (numbers above 0,
                in any unit), ``kind`` (a text: such jobs have nothing to do with others).

        Raises:
            ValueError: no such source, ``data`` is not JSON, the kind has no children, or features
                that nothing is known of.
            PollerStopped: the poller ended.
            RuntimeError: the poller was not started, and isn't for five seconds.
        """
        handles = await self.watch_many(
            [(job_id, data)], deadline=deadline, again=again, submitted_at=submitted_at, kind=kind,
            account=account, expect=expect, settle=settle, features=features,
        )  # fmt: skip
        return handles[0]

    async def watch_many(
        self,
        items: Iterable[str | tuple[str, Any]],
        *,
        deadline: float | timedelta | None = 1800.0,
        again: bool = False,
        submitted_at: float | None = None,
        kind: str | None = None,
        account: str | None = None,
        expect: int | None = None,
        settle: float | timedelta | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> list[JobHandle]:
        """Watch many jobs: ids, or pairs of id and data.  See :meth:`watch`.

        They are stored in transactions of some thousands.  If that is interrupted, call it again:
        those that are known by then stay as they are.
        """
        pairs: list[tuple[str, Any]] = []
        for some in given.parts(items, TRANSACTION):
            pairs += some
            await anyio.lowlevel.checkpoint()
        await self._started()
        self._check_running()
        loop = self._loop_for(kind, account)
        now = self.wall()
        until = None if deadline is None else now + given.seconds(deadline)
        known = {**given.features(loop.source, expect, settle), **given.predictors(features or {})}
        handles: list[JobHandle] = []
        for start in range(0, len(pairs), TRANSACTION):
            new = [
                NewJob(
                    key=loop.key(job_id), created_at=now, deadline=until,
                    submitted_at=submitted_at, data=data, features=known,
                )
                for job_id, data in pairs[start : start + TRANSACTION]
            ]  # fmt: skip
            jobs = await loop.register(new, again=again)
            handles += [JobHandle(self, job) for job in jobs]
        return handles

    async def job(
        self, job_id: str, *, kind: str | None = None, account: str | None = None
    ) -> JobHandle | None:
        """The newest job with this id, or None."""
        await self._started()
        found = await self._read(self.store.find(self._loop_for(kind, account).key(job_id)))
        return JobHandle(self, found) if found else None

    async def jobs(self, *, state: State | str | None = None) -> list[Job]:
        """The rows of all jobs, or of those in one state."""
        await self._started()
        return await self._read(self.store.jobs(state=None if state is None else State(state)))

    async def row(self, rid: int, key: JobKey) -> Job:
        """The row of a job as it is stored."""
        found = await self._read(self.store.rows([rid]))
        if not found:
            raise JobPruned(
                f"{key.source} {key.remote_id} ended and was pruned (keep={self._keep})"
            )
        return found[0]

    async def unwatch(self, rid: int, key: JobKey) -> None:
        """Stop watching one job."""
        self._check_running()
        for loop in self._loops:
            if loop.key(key.remote_id) == key:
                await loop.cancel(rid)

    async def result_of(self, rid: int) -> Terminal:
        """The terminal event of a job, when it comes."""
        while any(rid in loop.watch.jobs for loop in self._loops):
            self._check_running()
            await self._waiting.setdefault(rid, anyio.Event()).wait()
        row = await self._read(self.store.last_event(rid))
        if row is None:
            raise JobPruned(f"the job of row {rid} ended and was pruned (keep={self._keep})")
        event = event_of(row, self.store.uuid)
        if isinstance(event, TERMINAL):
            return event
        await self.news.wait()  # registered a moment ago, and not yet in our hands
        return await self.result_of(rid)

    # -- events -------------------------------------------------------------------------------

    def events(self, *, after: str | None = None) -> AsyncIterator[Event]:
        """Every event in order, and then those to come.

        Args:
            after: None from now on; ``""`` from the start; or the cursor of an event.

        Raises:
            BadCursor: not a cursor of this store, or events behind it were pruned.
            PollerStopped: at the end, when the poller has stopped and all was given.
        """
        return self._stream(after, self._head if self._ready.is_set() else None)

    async def _stream(self, after: str | None, head: int | None) -> AsyncIterator[Event]:
        await self._started()
        if self._scope is None:
            self._check_running()  # it was never opened
        head = self.opened_at if head is None else head
        seq = seq_of(after, self.store.uuid) if after is not None else head
        has_begun = after != ""  # the start is where the store starts now
        while True:
            news = self.news
            rows = await self._read(self.store.events(seq))
            if has_begun and seq < (gone := await self._read(self.store.pruned())):
                raise BadCursor(f"events behind it were pruned, up to number {gone}: start at ''")
            has_begun = True
            for row in rows:
                seq = row.seq
                yield event_of(row, self.store.uuid)
            if not rows:
                self._check_running()
                await news.wait()

    async def parked(self, sink: str | None = None) -> list[Parked]:
        """The events that a sink could not take, or all sinks, in the order of the store.

        Each is tried once more whenever a poller opens this store with that sink, but for the sinks
        that go by sequence numbers (file, Redis, NATS): what they refused is yours to deal with.
        """
        await self._ready.wait()
        return [
            Parked(sink=one.sink, event=event_of(one.row, self.store.uuid), reason=one.reason)
            for one in await self._read(self.store.parked(sink))
        ]

    def progressed(self) -> None:
        """A sink has got on."""
        self._progress.set()

    def committed(self, events: Iterable[Event]) -> None:
        """Tell everybody who waits; called after the commit, never before."""
        for event in events:
            self._head = max(self._head, seq_of(event.cursor, self.store.uuid))
        self._tell()

    def registered(self, head: int) -> None:
        """Jobs were stored, each with its first event."""
        self._head = max(self._head, head)
        self._tell()

    def ended(self, rid: int) -> None:
        """A job has ended: wake those who wait for it."""
        waiter = self._waiting.pop(rid, None)
        if waiter is not None:
            waiter.set()

    def _tell(self) -> None:
        self.news.set()
        self.news = anyio.Event()

    async def _read(self, reading: Awaitable[T]) -> T:
        """What the store says; if it was closed under us, why."""
        try:
            return await reading
        except StoreError:
            self._check_running()
            raise

    def _check_running(self) -> None:
        if self._stopped is not None:
            self._somebody_knows = True
            raise PollerStopped(str(self._stopped)) from self._stopped.__cause__

    def _loop_for(self, kind: str | None, account: str | None) -> Loop:
        fitting = [
            loop
            for loop in self._loops
            if (kind is None or loop.source.kind == kind)
            and (account is None or loop.shard.account == account)
        ]
        if len(fitting) != 1:
            known = ", ".join(f"{o.source.kind} of {o.shard.account}" for o in self._loops)
            raise ValueError(
                f"kind={kind!r}, account={account!r} fit {len(fitting)} sources of: {known}"
            )
        return fitting[0]
