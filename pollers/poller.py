"""The poller: look -> step -> save -> deliver -> sleep, for every source, in one background task.

One loop per source, never a task per job.  A loop sleeps until the next job is due, makes one look
(one request for as many jobs as the API allows), turns what it saw into transitions, commits these
with their events in one transaction, and only then tells anybody.  Events are delivered from the
store, so whatever happens in between, a restart goes on where the last commit was.
"""

import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel

from pollers import _given as given
from pollers import _health, _snapshot
from pollers._background import Background
from pollers._core.events import BadCursor, Event, Parked, event_of, seq_of
from pollers._core.looks import PRICE
from pollers._core.model import NAMELESS, Job, NewJob, State
from pollers._engine import Engine, Settings
from pollers._handle import JobHandle
from pollers._health import Health
from pollers._submitting import Upload, new_token
from pollers.errors import PollerStopped, StoreError
from pollers.observe import Observer
from pollers.sinks.base import Sink
from pollers.sinks.callback import Callback
from pollers.sources.base import Source, hinted_by
from pollers.store import Store

STOP_WITHIN = 5.0
"""Seconds that stopping may take: most of them for the last events to be delivered."""

TRANSACTION = 5000
"""Jobs that are registered at once."""


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
        min_interval, max_interval: seconds between looks at one job.  While callbacks announce ends
            (:meth:`hint`), the longest grows with their share: to ten times, if hardly any is lost.
        look_price: seconds of delay that a look at one job must save on average, or it waits.  A
            quarter of it means half the delay for twice the looks.  How long jobs take is learned;
            with nothing learned yet, intervals are the root of the age (at ``0.25``).
        stop_within: seconds that leaving the block or :meth:`stop` may take.
        grace: seconds that a job may be missing from answers before it expires; and for which a
            submit whose reply was lost is searched for.
        final_grace: seconds after its deadline that a job waits for a last look, if the API gives
            none just then (an outage, a quota); after that it expires without.
        observe: gets records of looks, searches, saves and deliveries, and the state now and then.
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
        stop_within: float | timedelta = STOP_WITHIN,
        grace: float = 60.0,
        final_grace: float = 30.0,
        observe: Observer | None = None,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        given.sources(sources)
        self._stop_within = given.span("stop_within", stop_within)
        pace = given.pace(
            min_interval=min_interval, max_interval=max_interval, grace=grace,
            final_grace=final_grace, look_price=look_price,
        )  # fmt: skip
        settings = Settings(
            pace=pace, stops_when_refused=given.stops_when_refused(on_refused),
            keep=given.keep(keep), wall=wall, chance=chance,
        )  # fmt: skip
        self._engine = Engine(sources, sinks, store, settings, observe)
        self._background = Background()

    # -- life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._engine.begin()
        try:
            await self._engine.open()
            await self._background.start(self._engine.run)
        except BaseException:
            self._engine.stop(None)
            await self._engine.close()
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
                await self._engine.drain(self._stop_within)
        finally:
            self._engine.stop(None)
            try:  # also if the drain was cancelled: what runs must end before its store is closed
                await self._background.ended()
            finally:
                await self._engine.close()
        if error is None:  # it may have ended by itself, with nobody waiting to be told
            self._engine.raise_unknown_failure()

    async def stop(self, *, within: float | timedelta | None = None) -> None:
        """Stop from any task: look no more, finish what is being stored, deliver, close the store.

        Whoever waits for the poller gets ``PollerStopped``, :meth:`run` returns, and the rest of an
        ``async with`` block may go on.  A request under way is cancelled, and what a sink has not taken
        in time is delivered by the next run: when this returns, everything is in the store.

        Args:
            within: seconds; None for the poller's ``stop_within``.  Only a store that hangs in a
                commit makes it longer: that must not be cut off.
        """
        seconds = self._stop_within if within is None else given.span("within", within)
        await self._engine.stop_from_outside(seconds)

    async def run(self) -> None:
        """The same loop for those who own the task group; runs until cancelled.

        Raises:
            PollerStopped: the API refuses us and ``on_refused="stop"``, or the store failed.
        """
        engine = self._engine
        engine.begin()
        try:
            await engine.open()
            await engine.run()
        except StoreError as error:
            engine.stop(error)  # it could not be opened; those who wait for that must know
            raise
        finally:
            engine.stop(None)
            await engine.close()
        engine.raise_failure()

    @property
    def stopped(self) -> PollerStopped | None:
        """Why it ended; None while it runs."""
        return self._engine.stopped

    # -- looking in -----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """What it is doing, as plain data that ``json.dumps`` takes; call it inside the event loop.

        It asks nobody, and takes a few milliseconds however many jobs there are.  Rates are
        those of about the last minute, quantiles those of about the last quarter of an hour; times
        are seconds, instants texts in ISO 8601.

        ``{"at", "state", "sources", "accounts", "sinks", "store"}``, with ``state`` ``not_started``,
        ``running`` or ``stopped``.

        ``sources``, one for each:

        * ``provider``, ``deployment``, ``account``, ``kind``: which it is.
        * ``jobs``: live jobs by state; too few while ``loading``: those of an earlier run are still
          being taken up.  ``ended``: those that ended since the poller was made, by how.
        * ``due``: jobs whose look is due, counted up to 1,000.
        * ``oldest_look``: since the job that was left alone longest was looked at, or taken up by
          this poller; right to a second.
        * ``delay``: how long ends went unnoticed: ``count`` (of the ends that count still), ``mean``,
          ``p50``, ``p90``, ``p99``; None without any.  When a job ended is not known, but that it was
          between the last look that saw it running (or its submission) and the one that found it.  Half
          of that is taken, and the time until the answer came.  Ends that were there before the first
          look don't count.
        * ``looks_per_second``: jobs that were looked at.  ``requests_per_second``: looks that were
          sent, each one request for most kinds.
        * ``batch``: jobs that one request can ask for.  ``batch_fill``: the part of what a request
          could have asked for (all live jobs, or a batch) that it did ask for; None without requests.
        * ``looked_at``: when a look or a search last succeeded.  ``failures``: those that failed since,
          in a row, and ``trouble``: why the last one did.
        * ``stalled``: whether the API refuses its account.
        * ``learned``: how many ends count of those that taught it how long jobs take.
        * ``callbacks``: ``heard`` since the poller was made, by job; of these ``strange`` ones, about
          jobs that nobody watched (or forged); ``lost``, the share of ends that none announces, None
          before the first; ``trusted``, whether polling backs off because of them.

        ``accounts``, each of one or more sources: ``stalled_since`` and ``stalled_by`` (one for each
        code: ``code``, ``message``, ``title``, ``remedy``, ``resume_at``), and ``guards``, as
        ``Guard.snapshot`` gives them.

        ``sinks``: ``sink``, ``behind`` (events, about), ``behind_seconds`` (the age of the oldest of
        them), ``parked`` (events) and ``trouble`` (why the last delivery failed).

        ``store``: ``events`` (the last one's number), ``writing_for`` (how long the write that is
        under way has taken) and ``last_write`` (how long the last took).
        """
        return _snapshot.snapshot(self._engine.inside())

    def health(
        self,
        *,
        stuck: float = _health.STUCK,
        slow: float = _health.SLOW,
        late: float = _health.LATE,
    ) -> Health:
        """Is it making progress?  For a ``/healthz``; call it inside the event loop.

        Args:
            stuck: seconds for which looks may be due without one that succeeds.
            slow: seconds that the store may take to write.
            late: seconds that an event may wait for a sink.
        """
        return _health.health(self._engine.inside(), stuck=stuck, slow=slow, late=late)

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
            deadline: seconds from now after which the job expires, by the look that is due then; if
                none is possible, ``final_grace`` later.  0: the first look decides.  None for never.
            data: any JSON value of yours; it comes back in every event, as it was.  What JSON would
                change (a set, a tuple, a date) is refused.
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
            ValueError: no such source, ``data`` is not JSON, a deadline below 0, ``submitted_at`` no
                number, the kind has no children, or features that nothing is known of.
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
        await self._engine.running()
        loop = self._engine.loop_for(kind, account)
        now = self._engine.wall()
        until = given.until(deadline, now=now)
        since = given.instant("submitted_at", submitted_at)
        known = {**given.features(loop.source, expect, settle), **given.predictors(features or {})}
        handles: list[JobHandle] = []
        for start in range(0, len(pairs), TRANSACTION):
            new = [
                NewJob(
                    key=loop.ledger.key(job_id), created_at=now, deadline=until,
                    submitted_at=since, data=data, features=known,
                )
                for job_id, data in pairs[start : start + TRANSACTION]
            ]  # fmt: skip
            jobs = await loop.ledger.register(new, again=again)
            handles += [
                loop.submits.handle(job.rid) or JobHandle(self._engine, job) for job in jobs
            ]
        return handles

    async def submit(
        self,
        upload: Upload,
        *,
        name: str | None = None,
        deadline: float | timedelta | None = 1800.0,
        data: Any = None,
        kind: str | None = None,
        account: str | None = None,
        expect: int | None = None,
        settle: float | timedelta | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> JobHandle:
        """Submit a job and watch it, and don't lose it in between; returns when its id is stored.

        The intent is stored, then ``upload`` is called, once.  If its reply is lost (a timeout, a
        broken connection, a cancellation, the end of the process), the source searches for the job by
        the intent's token, for ``grace`` seconds; nothing is ever submitted a second time.

        Args:
            upload: an async function of one :class:`Intent`.  It makes the call that submits, once,
                with the token in it, through your own client or guard; and returns the id, or the
                provider's answer (a mapping, a response) from which the source reads it.
            name: what the provider will call it: the last resort of a search.
            deadline: seconds from the moment at which the id is known; None for never.
            data: as for :meth:`watch`, like all that follow.
            kind: of the source.
            account: of the source.
            expect: for kinds with children.
            settle: for kinds with children.
            features: what may foretell how long it takes.

        Returns:
            A handle.  If the reply was lost, its ``id`` is the token until the job is found, and
            ``result()`` waits for that.

        Raises:
            ResilienceError: as ``upload`` raised it, if it proves that nothing was done; the job is
                FAILED.  (So is another exception that a guard has seen.)
            TypeError: ``upload`` is no async function, or what it returned has no id.
            ValueError, RuntimeError: as for :meth:`watch`.
            PollerStopped: the poller ended, perhaps during the call; the next one goes on.
        """
        given.upload(upload)
        await self._engine.running()
        if self._engine.is_draining:  # the id could hardly be stored any more
            raise PollerStopped("the poller is being stopped")
        loop = self._engine.loop_for(kind, account)
        now = self._engine.wall()
        new = NewJob(
            key=loop.ledger.key(new_token()), state=State.SUBMITTING, created_at=now,
            deadline=given.until(deadline, now=now),
            data=given.json_value(data),
            features={
                **given.features(loop.source, expect, settle), **given.predictors(features or {}),
                **given.name(name),
            },
        )  # fmt: skip
        return await loop.submits.submit(upload, new)

    async def settle(self, job: JobHandle | int, *, remote_id: str) -> JobHandle:
        """Say what became of a submit whose reply was lost: it is the provider's job with this id.

        Args:
            job: the handle, or the ``rid`` of the row.
            remote_id: the provider's id.

        Raises:
            LookupError: there is no such job, or it has its id.
        """
        given.named(remote_id)
        await self._engine.running()
        rid = job if isinstance(job, int) else job.rid
        for loop in self._engine.loops:
            await loop.ledger.take_up(rid)
            handle = await loop.submits.name(rid, remote_id, at_once=False)
            if handle is not None:
                return handle
        raise LookupError(f"no job with the rid {rid} waits for its id")

    async def job(
        self, job_id: str, *, kind: str | None = None, account: str | None = None
    ) -> JobHandle | None:
        """The newest job with this id, or None."""
        await self._engine.started()
        loop = self._engine.loop_for(kind, account)
        found = await self._engine.read(self._engine.store.find(loop.ledger.key(job_id)))
        if found is None:
            return None
        if found.state in NAMELESS:
            await self._engine.read(loop.ledger.take_up(found.rid))
        return loop.submits.handle(found.rid) or JobHandle(self._engine, found)

    async def jobs(self, *, state: State | str | None = None) -> list[Job]:
        """The rows of all jobs, or of those in one state (``"watching"``, ``State.FAILED`` …)."""
        wanted = given.state(state)
        await self._engine.started()
        return await self._engine.read(self._engine.store.jobs(state=wanted))

    # -- callbacks ----------------------------------------------------------------------------

    def hint(
        self, ids: Iterable[str], *, kind: str | None = None, account: str | None = None
    ) -> int:
        """Something says that these jobs have changed: they are due at once; nothing is waited for.

        For a callback that came your own way (a queue).  Nothing is believed: the look decides.  A job
        is looked at once in ``min_interval`` for it at most; one that goes on is looked at more often
        for half a minute, as hints may be early; ids that nobody watches yet are kept for a minute.
        Call it in the event loop of the poller.

        Args:
            ids: the provider's ids.
            kind: of the sources meant; all by default.
            account: of the sources meant; all by default.

        Returns:
            How many of them are watched.

        Raises:
            PollerStopped: the poller ended.
            ValueError: no such source.
            TypeError: one text instead of a list of ids.
        """
        if isinstance(ids, str):
            raise TypeError(f"hint({ids!r}): give a list of ids, not one text")
        self._engine.check_running()
        named = list(ids)
        return sum(loop.hint(named) for loop in self._engine.fitting(kind, account))

    def take_callback(self, payload: Any) -> int | None:
        """Look at the jobs that a provider's callback speaks of, as :meth:`hint` does.

        Args:
            payload: its body, decoded from JSON; any value.

        Returns:
            How many of these jobs are watched; None if no source knows such a payload.

        Raises:
            PollerStopped: the poller ended.
        """
        self._engine.check_running()
        watched = None
        for loop in self._engine.loops:
            names = hinted_by(loop.source, payload)
            if names is not None:
                watched = (watched or 0) + loop.hint(names)
        return watched

    # -- events -------------------------------------------------------------------------------

    def events(self, *, after: str | None = None) -> AsyncIterator[Event]:
        """Every event in order, and then those to come.

        Args:
            after: None from now on; ``""`` from the start; or the cursor of an event.

        Raises:
            BadCursor: not a cursor of this store, or events behind it were pruned.
            PollerStopped: at the end, when the poller has stopped and all was given.
        """
        return self._stream(after, self._engine.news.head if self._engine.is_ready else None)

    async def _stream(self, after: str | None, head: int | None) -> AsyncIterator[Event]:
        engine = self._engine
        await engine.started()
        if not engine.was_open:
            engine.check_running()
        head = engine.opened_at if head is None else head
        seq = seq_of(after, engine.store.uuid) if after is not None else head
        has_begun = after != ""  # the start is where the store starts now
        while True:
            stored = engine.news.stored
            rows = await engine.read(engine.store.events(seq))
            if has_begun and seq < (gone := await engine.read(engine.store.pruned())):
                raise BadCursor(f"events behind it were pruned, up to number {gone}: start at ''")
            has_begun = True
            for row in rows:
                seq = row.seq
                yield event_of(row, engine.store.uuid)
            if not rows:
                engine.check_running()
                await stored.wait()

    async def parked(self, sink: str | None = None) -> list[Parked]:
        """The events that a sink could not take, or all sinks, in the order of the store.

        Each is tried once more whenever a poller opens this store with that sink, but for the sinks
        that go by sequence numbers (file, Redis, NATS): what they refused is yours to deal with.
        """
        engine = self._engine
        await engine.ready()
        return [
            Parked(sink=one.sink, event=event_of(one.row, engine.store.uuid), reason=one.reason)
            for one in await engine.read(engine.store.parked(sink))
        ]
