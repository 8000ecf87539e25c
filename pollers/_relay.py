"""The relay of one sink: reads the stored events behind the sink's cursor and has them delivered.

The rules, all of them:

* A failure is the sink's or the moment's: the same event is tried again, by the schedule of the
  sink's guard, for ever.  A sink that is down loses nothing, and gets everything in order later.
* An event is *parked* if the sink says that it can never take it.  Also if it failed ``PATIENCE``
  times, the next event of another job is taken, and it fails once more: then the sink is not down.
  (Not for sinks that go by sequence numbers: these could not take it behind a later one.)
* What comes later of the same job is parked behind it, so that nothing overtakes it; other jobs go
  on.  Notices of one shard count as one job.
* What is parked is tried once more, in order, whenever a poller opens, until the sink takes it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import anyio

from pollers._core.events import Event, event_of
from pollers._core.model import EventRow, Shard
from pollers._log import fit_to_tell, log
from pollers.observe import DeliveryRecord
from pollers.sinks.base import POLICY, Sink
from resilience import CallSettings, FatalError, Guard, ResilienceError

if TYPE_CHECKING:
    from pollers._engine import Engine

PATIENCE = 10
"""Attempts for one event before somebody else's is tried."""

PAUSE = 1.0
"""Least seconds between two rounds of attempts."""

PAGE = 500
"""Rows that are read at once."""

MARK_EVERY = 0.05
"""Seconds after which it is stored how far a sink has got, at the end of a page and before it waits:
so a commit for each event does not hold up a fast sink, and a crash has few delivered once more."""

CLOSING = 5.0
"""Seconds that a sink gets to give back what it holds."""

BEHIND = "an earlier event of the same job is parked"

_ONCE: CallSettings = {"max_attempts": 1, "max_wait": None, "idempotent": True}
_PATIENTLY: CallSettings = {**_ONCE, "max_attempts": PATIENCE}


class Relay:
    """One sink's.  ``seq``: up to there everything is delivered or parked."""

    def __init__(self, engine: "Engine", sink: Sink) -> None:
        self.sink = sink
        self.seq = 0
        self.late_since: float | None = None
        """Wall time of the oldest event that is still to be delivered; None if there is none."""
        self.parked = 0
        """Events of this sink that are parked."""
        self.left_parked = 0
        """Those of earlier runs among them, if it is not asked for them again."""
        self.trouble: str | None = None
        """Why the last delivery failed; None if it did not."""
        self._engine = engine
        self._store = engine.store
        self._guard = sink.guard or Guard(
            POLICY, account=sink.name, wall=engine.wall, chance=engine.chance
        )
        self.marked = 0
        """How far it has got, as the store knows it."""
        self._marked_at = 0.0
        self._blocked: set[int | Shard] = set()
        """The lines that have something parked."""
        self._ahead: set[int] = set()
        """Taken before their turn, to find out whether the sink takes anything."""
        self._asked: set[int] = set()
        """Tried before their turn, whatever came of it."""

    async def open(self) -> None:
        """Find the sink's place, before any event of this run is stored."""
        seq = await self._store.acked(self.sink.name)
        if seq is None:  # a new sink starts now: the past was never promised to it
            seq = self._engine.opened_at
            await self._store.ack(self.sink.name, seq)
        self.seq = self.marked = seq

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            self.late_since = self._engine.wall()  # until it is known better
            await self._try_parked()
            while True:
                stored = self._engine.news.stored
                rows = await self._store.events(self.seq, PAGE)
                self.late_since = None
                for start in range(0, len(rows), self.sink.batch):
                    self.late_since = rows[start].at
                    await self._deliver(rows[start : start + self.sink.batch])
                await self._mark()
                if not rows:
                    await stored.wait()
        finally:
            by = self._engine.close_by
            left = CLOSING if by is None else max(0.0, min(CLOSING, by - anyio.current_time()))
            with anyio.move_on_after(left, shield=True):
                await self.sink.aclose()

    async def _try_parked(self) -> None:
        is_down = self.sink.in_sequence
        parked = await self._store.parked(self.sink.name)
        self.parked = len(parked)
        self.left_parked = self.parked if self.sink.in_sequence else 0
        for one in parked:
            line = one.row.line
            if not is_down and line not in self._blocked:
                error = await self._give([one.row], _ONCE)
                if error is None:
                    await self._store.unpark(self.sink.name, one.row.seq)
                    self.parked -= 1
                    continue
                is_down = not _is_of_the_event(error)
            self._blocked.add(line)

    async def _deliver(self, rows: Sequence[EventRow]) -> None:
        """See to it that each of these is delivered or parked, and remember that."""
        fresh = [r for r in rows if r.line not in self._blocked and r.seq not in self._ahead]
        parked: dict[int, str] = {}
        if len(fresh) > 1 and await self._give(fresh, _ONCE) is not None:
            for row in rows:
                await self._deliver([row])  # one of them may be to blame
            return
        if len(fresh) == 1:
            refusal = await self._deliver_one(fresh[0])
            if refusal is not None:
                parked[fresh[0].seq] = refusal
                self._blocked.add(fresh[0].line)
        for row in rows:
            if row.line in self._blocked and row.seq not in self._ahead:
                parked.setdefault(row.seq, BEHIND)
        self.seq = rows[-1].seq
        if parked or anyio.current_time() >= self._marked_at + MARK_EVERY:
            await self._mark(parked)
        self._ahead.difference_update(row.seq for row in rows)
        self.parked += len(parked)

    async def _mark(self, parked: Mapping[int, str] | None = None) -> None:
        """Store how far it has got."""
        if self.marked < self.seq:
            await self._store.ack(self.sink.name, self.seq, parked or {})
            self.marked, self._marked_at = self.seq, anyio.current_time()
            self._engine.news.tell_delivered()

    async def _deliver_one(self, row: EventRow) -> str | None:
        """None when it is taken; else why it is to be parked."""
        while (error := await self._give([row], _PATIENTLY)) is not None:
            proven = _is_of_the_event(error)
            if not proven and await self._takes_another(row):
                error = await self._give([row], _ONCE)
                if error is None:
                    break
                proven = True
            if proven:
                reason = fit_to_tell(error.__cause__ or error.message or error)
                log.error(
                    "pollers.event_parked", sink=self.sink.name, subject=row.subject,
                    event_id=event_of(row, self._store.uuid).id, reason=reason,
                )  # fmt: skip
                return reason
            await anyio.sleep(max(error.retry_after or 0.0, PAUSE))
        return None

    async def _takes_another(self, row: EventRow) -> bool:
        """Whether the sink answers to the next event of another job: then it is not down."""
        other = None if self.sink.in_sequence else await self._next_beside(row)
        if other is None:
            return False
        error = await self._give([other], _ONCE)
        if error is None:
            self._ahead.add(other.seq)
        return error is None or _is_of_the_event(error)

    async def _next_beside(self, row: EventRow) -> EventRow | None:
        """Another job's next event; each is asked for once before any is again.

        Several may be to blame: if the first of them were asked each time, they would hide the others.
        """
        heads: set[int | Shard] = {row.line, *self._blocked}
        seq = row.seq
        while rows := await self._store.events(seq, PAGE):
            for other in rows:
                if other.line in heads or other.seq in self._ahead:
                    continue
                if other.seq not in self._asked:
                    self._asked.add(other.seq)
                    return other
                heads.add(other.line)
            seq = rows[-1].seq
        self._asked.clear()
        return None

    async def _give(
        self, rows: Sequence[EventRow], settings: CallSettings
    ) -> ResilienceError | None:
        """Ask the sink to take these; how it failed in the end."""
        events = [event_of(row, self._store.uuid) for row in rows]
        try:
            with self._guard.using(**settings):  # not a view: a block around the poller would win
                await self._guard.call(self._attempt, events)
        except ResilienceError as error:
            return error
        return None

    async def _attempt(self, events: Sequence[Event]) -> None:
        with self._engine.telling.doing("deliver", {"sink": self.sink.name}):
            await self._deliver_to_sink(events)

    async def _deliver_to_sink(self, events: Sequence[Event]) -> None:
        began = anyio.current_time()
        try:
            await self.sink.deliver(events)
        except Exception as error:
            self.trouble = fit_to_tell(f"{type(error).__name__}: {error}")
            self._tell(len(events), began, type(error).__name__)
            log.error(
                "pollers.sink_failed", sink=self.sink.name, event_id=events[0].id,
                events=len(events), error=self.trouble,
            )  # fmt: skip
            await self._mark()
            raise
        self.trouble = None
        self._tell(len(events), began)

    def _tell(self, events: int, began: float, error: str | None = None) -> None:
        took = anyio.current_time() - began
        self._engine.telling.tell(
            DeliveryRecord(sink=self.sink.name, events=events, elapsed=took, error=error)
        )


def _is_of_the_event(error: ResilienceError) -> bool:
    """It says that the event can't be taken, not that we can't: a refused key is no event's fault."""
    about_us = error.rule is not None and error.rule.scope != "request"
    return isinstance(error, FatalError) and not about_us
