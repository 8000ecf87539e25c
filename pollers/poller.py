"""The poller: look -> step -> save -> deliver -> sleep, for every source, in one background task.

One loop per source, never a task per job.  A loop sleeps until the next job is due, makes one look
(one request for as many jobs as the API allows), turns what it saw into transitions, commits these
with their events in one transaction, and only then tells anybody.  Events are delivered from the
store, so whatever happens in between, a restart goes on where the last commit was.
"""

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.lowlevel
import msgspec

from pollers._core import schedule
from pollers._core.events import TERMINAL, Event, Terminal, event_of, seq_of
from pollers._core.looks import KIND, PREDICTORS, PRICE
from pollers._core.model import Job, JobKey, NewJob, Shard, State
from pollers._log import log
from pollers._loop import Loop
from pollers._watch import INFINITE, Pace
from pollers.errors import PollerStopped, StoreError
from pollers.sinks.callback import Callback, CallbackSink
from pollers.sources.base import Source
from pollers.store import Store, open_store
from resilience import ResilienceError

T = TypeVar("T")

DRAIN = 5.0
"""Seconds that sinks get for the last events when the poller's block is left."""


class JobHandle:
    """A job as its watcher holds it."""

    __slots__ = ("_poller", "_rid", "key")

    def __init__(self, poller: "Poller", job: Job) -> None:
        self._poller = poller
        self._rid = job.rid
        self.key = job.key

    @property
    def id(self) -> str:
        """The provider's id of the job."""
        return self.key.remote_id

    async def row(self) -> Job:
        """The row as it is now."""
        return await self._poller.row(self._rid, self.key)

    async def result(self) -> Terminal:
        """Wait for the end: ``JobSucceeded | JobFailed | JobExpired | JobCancelled``.

        Cancelling the wait does not touch the job.

        Raises:
            PollerStopped: the poller ended first.
        """
        return await self._poller.result_of(self._rid)

    async def unwatch(self) -> None:
        """Stop watching (``JobCancelled``).  The remote work goes on; an ended job stays as it is."""
        await self._poller.unwatch(self._rid)

    def __repr__(self) -> str:
        return f"<JobHandle {self.key.source} {self.id}>"


class Poller:
    """Watches jobs until they end, and remembers them.

    Args:
        sources: where the state of jobs is asked for.
        store: ``":memory:"``, the path of a SQLite file, or a ``Store``.
        sinks: functions (sync or async) or ``CallbackSink``s that get every event.
        on_refused: what to do when the API refuses *us* (a refused key, an exhausted quota):
            ``"stall"`` keeps the jobs, tells it once and goes on by itself when it is mended;
            ``"stop"`` ends the poller.
        min_interval, max_interval: seconds between looks at one job.
        look_price: seconds of delay that a look at one job must save on average, or it waits.  A
            quarter of it means half the delay for twice the looks.  How long jobs take is learned;
            with nothing learned yet, intervals are the root of the age (at ``0.25``).
        grace: seconds that a job may be missing from answers before it expires.
        final_grace: seconds after its deadline that a job waits for a last look.
        wall: seconds since the epoch.
        chance: random numbers in ``[0, 1)``.

    Use it as a context manager (a background task; leaving stops it cleanly), or call :meth:`run` in
    a task group of your own.
    """

    def __init__(
        self,
        *sources: Source,
        store: str | Store = ":memory:",
        sinks: Sequence[Callback | CallbackSink] = (),
        on_refused: str = "stall",
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
        if on_refused not in ("stall", "stop"):
            raise ValueError(f"on_refused={on_refused!r}: 'stall' or 'stop'")
        if not 0 < min_interval <= max_interval:
            raise ValueError(f"min_interval={min_interval!r}: above 0 and at most max_interval")
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
        for sink in sinks:
            if not isinstance(sink, CallbackSink) and not callable(sink):
                raise TypeError(f"sinks: {sink!r} is neither a function nor a CallbackSink")
        self._sinks = [s if isinstance(s, CallbackSink) else CallbackSink(s) for s in sinks]
        _refuse_twins("sources", [f"{o.source.kind} of {o.shard}" for o in self._loops])
        _refuse_twins("sinks", [sink.name for sink in self._sinks])
        self._waiting: dict[int, anyio.Event] = {}
        self._head = 0
        self._opened_at = 0
        self._delivered_to: dict[str, int] = {}
        self._somebody_knows = False
        self._looking: anyio.CancelScope | None = None
        self._news = anyio.Event()
        self._ready = anyio.Event()
        self._stopped: PollerStopped | None = None
        self._scope: anyio.CancelScope | None = None
        self._exit = AsyncExitStack()

    # -- life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._check_fresh()
        tasks = await self._exit.enter_async_context(anyio.create_task_group())
        try:
            await self._open()
        except BaseException:
            self._stop(None)
            await self._exit.aclose()
            with anyio.CancelScope(shield=True):
                await self.store.aclose()
            raise
        tasks.start_soon(self._run)
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
            self._stop(None)
            # without the block's own exception: a task group would wrap it into an exception group
            await self._exit.__aexit__(None, None, None)
        finally:
            self._stop(None)
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
            while any(seq < self._head for seq in self._delivered_to.values()):
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

    async def _open(self) -> None:
        await self.store.open()
        epochs: dict[Shard, int] = {}
        for loop in self._loops:  # sources of one shard have one epoch: they would fence each other
            if loop.shard not in epochs:
                epochs[loop.shard] = await self.store.acquire(loop.shard)
            await loop.open(epochs[loop.shard])
        self._head = self._opened_at = await self.store.head()
        self._delivered_to = {sink.name: -1 for sink in self._sinks}
        self._progress = anyio.Event()
        self._ready.set()

    async def _run(self) -> None:
        with anyio.CancelScope() as self._scope:
            if self._stopped is not None:
                return
            async with anyio.create_task_group() as tasks:
                for sink in self._sinks:
                    tasks.start_soon(self._guarded, self._relay, sink)
                with anyio.CancelScope() as self._looking:
                    async with anyio.create_task_group() as looking:
                        for loop in self._loops:
                            looking.start_soon(self._guarded, loop.run)

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
        """Watch many jobs in one transaction: ids, or pairs of id and data.  See :meth:`watch`."""
        if isinstance(items, str):
            raise TypeError(f"watch_many({items!r}): give a list of ids, not one text")
        await self._ready.wait()
        self._check_running()
        loop = self._loop_for(kind, account)
        now = self.wall()
        until = None if deadline is None else now + _seconds(deadline)
        known = {**_features(loop.source, expect, settle), **_predictors(features or {})}
        new = [
            NewJob(
                key=loop.key(*_named(job_id)), created_at=now, deadline=until,
                submitted_at=submitted_at, data=_json_value(data), features=known,
            )
            for job_id, data in (item if isinstance(item, tuple) else (item, None) for item in items)
        ]  # fmt: skip
        return [JobHandle(self, job) for job in await loop.register(new, again=again)]

    async def job(
        self, job_id: str, *, kind: str | None = None, account: str | None = None
    ) -> JobHandle | None:
        """The newest job with this id, or None."""
        await self._ready.wait()
        found = await self._read(self.store.find(self._loop_for(kind, account).key(job_id)))
        return JobHandle(self, found) if found else None

    async def jobs(self, *, state: State | str | None = None) -> list[Job]:
        """The rows of all jobs, or of those in one state."""
        await self._ready.wait()
        return await self._read(self.store.jobs(state=None if state is None else State(state)))

    async def row(self, rid: int, key: JobKey) -> Job:
        """The row of a job that this poller watches, or the stored one."""
        for loop in self._loops:
            if rid in loop.watch.jobs:
                return loop.watch.jobs[rid].job
        found = await self._read(self.store.find(key))
        if found is None or found.rid != rid:  # a newer row of the same key
            rows = await self._read(self.store.jobs(shard=key.shard))
            found = next(job for job in rows if job.rid == rid)
        return found

    async def unwatch(self, rid: int) -> None:
        """Stop watching one job."""
        self._check_running()
        for loop in self._loops:
            if rid in loop.watch.jobs:
                await loop.cancel(rid)

    async def result_of(self, rid: int) -> Terminal:
        """The terminal event of a job, when it comes."""
        while any(rid in loop.watch.jobs for loop in self._loops):
            self._check_running()
            await self._waiting.setdefault(rid, anyio.Event()).wait()
        row = await self._read(self.store.last_event(rid))
        assert row is not None  # noqa: S101  # it was registered with its first event
        event = event_of(row, self.store.uuid)
        if isinstance(event, TERMINAL):
            return event
        await self._news.wait()  # registered a moment ago, and not yet in our hands
        return await self.result_of(rid)

    # -- events -------------------------------------------------------------------------------

    def events(self, *, after: str | None = None) -> AsyncIterator[Event]:
        """Every event in order, and then those to come.

        Args:
            after: None from now on; ``""`` from the start; or the cursor of an event.

        Raises:
            BadCursor: not a cursor of this store.
            PollerStopped: at the end, when the poller has stopped and all was given.
        """
        return self._stream(after, self._head if self._ready.is_set() else None)

    async def _stream(self, after: str | None, head: int | None) -> AsyncIterator[Event]:
        await self._ready.wait()
        if self._scope is None:
            self._check_running()  # it was never opened
        head = self._opened_at if head is None else head
        seq = seq_of(after, self.store.uuid) if after is not None else head
        while True:
            news = self._news
            rows = await self._read(self.store.events(seq))
            for row in rows:
                seq = row.seq
                yield event_of(row, self.store.uuid)
            if not rows:
                self._check_running()
                await news.wait()

    async def _relay(self, sink: CallbackSink) -> None:
        """Deliver every event to one sink, from its cursor on; a failing sink is asked again."""
        seq = await self.store.acked(sink.name)
        if seq is None:
            seq = self._opened_at  # a new sink starts now: the past was never promised to it
            await self.store.ack(sink.name, seq)
        self._delivered_to[sink.name] = seq
        self._progress.set()
        failures = 0
        while True:
            news = self._news
            rows = await self.store.events(seq, 100)
            for row in rows:
                while not await self._delivered(sink, event_of(row, self.store.uuid)):
                    failures += 1
                    await anyio.sleep(
                        schedule.after_failure(
                            failures, hint=None, longest=30.0, draw=self.chance()
                        )
                    )
                failures, seq = 0, row.seq
                self._delivered_to[sink.name] = seq
                self._progress.set()
                await self.store.ack(sink.name, seq)
            if not rows:
                await news.wait()

    async def _delivered(self, sink: CallbackSink, event: Event) -> bool:
        try:
            await sink.deliver(event)
        except Exception as error:  # noqa: BLE001  # the edge to a user's code: it delays only itself
            log.error("pollers.sink_failed", sink=sink.name, event_id=event.id, error=repr(error))
            return False
        return True

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
        self._news.set()
        self._news = anyio.Event()

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


def _refuse_twins(what: str, names: Iterable[str]) -> None:
    """Two of one name would share jobs or a cursor, and lose what belongs to the other."""
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise ValueError(f"two {what} are the same: {', '.join(twins)}; give them different names")


def _named(job_id: str) -> tuple[str]:
    if not isinstance(job_id, str) or not job_id:
        raise ValueError(f"{job_id!r} is not a job's id: expected a text that is not empty")
    return (job_id,)


def _json_value(data: Any) -> Any:
    try:
        return msgspec.json.decode(msgspec.json.encode(data))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"data={data!r} is not a JSON value: {error}") from None


def _features(
    source: Source, expect: int | None, settle: float | timedelta | None
) -> dict[str, Any]:
    """What the source of these jobs is to know about each of them."""
    if expect is not None and (isinstance(expect, bool) or expect < 1):
        raise ValueError(f"expect={expect!r}: how many there will be, at least 1")
    span = None if settle is None else _seconds(settle)
    if span is not None and not 0.0 <= span < INFINITE:
        raise ValueError(f"settle={settle!r}: expected seconds, 0 or more")
    given = {k: v for k, v in {"expect": expect, "settle": span}.items() if v is not None}
    for name, value in given.items():
        if name not in getattr(source, "watch_options", ()):
            raise ValueError(f"{name}={value!r}: jobs of kind {source.kind!r} have no children")
    return given


def _predictors(features: Mapping[str, Any]) -> dict[str, Any]:
    """What the watcher of these jobs says about how long they take."""
    for name, value in features.items():
        if name == KIND:
            if not isinstance(value, str) or not value:
                raise ValueError(f"features: {name}={value!r}: expected a text that is not empty")
        elif name not in PREDICTORS:
            known = ", ".join((*PREDICTORS, KIND))
            raise ValueError(f"features: {name}={value!r}: expected one of {known}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not (
            0 < value < INFINITE
        ):  # fmt: skip
            raise ValueError(f"features: {name}={value!r}: expected a number above 0")
    return dict(features)


def _seconds(span: float | timedelta) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else float(span)
