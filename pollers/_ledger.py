"""The rows of one source: what the store has of them, and what is held of those that are live.

Both say the same at any time.  So whoever reads or writes rows goes one after another, and what is
written is stored first, then changed in what is held, then told: in another order a crash could lose
it.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from pollers._core.looks import Looks
from pollers._core.model import Job, JobKey, NewJob, Notice, Shard, State, Transition
from pollers._core.stalls import Stalls
from pollers._core.step import Step
from pollers._core.tally import Tally
from pollers._log import log
from pollers._submitting import Submits
from pollers._watch import INFINITE, Watch
from pollers.observe import SaveRecord
from pollers.sources.base import Source

if TYPE_CHECKING:
    from pollers._engine import Engine

KEPT_EVERY = 30.0
"""Seconds between two writings of what was learned; it goes along with a commit."""

PAGE = 1000
"""Rows that are read at once: the loop is not held up, and commits go in between."""

SLACK = 0.05
"""Seconds: jobs that are registered together share their first look."""


class Ledger:
    """The rows of one source.

    Args:
        engine: what they are part of.
        source: whose they are.
        nudge: is called when something may be due sooner than was thought.
    """

    def __init__(self, engine: "Engine", source: Source, nudge: Callable[[], None]) -> None:
        self.engine = engine
        self.source = source
        self.nudge = nudge
        self.shard = Shard(source.provider, source.deployment, source.guard.account)
        self.about = {
            "provider": self.shard.provider, "account": self.shard.account, "kind": source.kind,
        }  # fmt: skip
        told = getattr(source, "watch_options", ())
        self.watch = Watch(engine.pace, source.batch, engine.chance, told)
        self.submits = Submits(self)
        self.tally = Tally()
        self.stalls = engine.stalls.setdefault(self.shard, Stalls())
        self._epoch = 0
        self._loaded: int | None = 0
        """Up to this row everything that an earlier run left is taken up; None: all of it is."""
        self._committing = anyio.Lock()
        self._keep_at = 0.0

    # -- what it is of ------------------------------------------------------------------------

    def key(self, job_id: str) -> JobKey:
        """The key of a job of this source."""
        return JobKey(
            self.shard.provider, self.shard.deployment, self.shard.account, self.source.kind, job_id
        )

    @property
    def idle(self) -> bool:
        """Whether it has nothing to look at, and nothing to look for."""
        return not self.watch.jobs and self.submits.next_at() == INFINITE

    def holds(self, rid: int) -> bool:
        """Whether something may still happen to this job by itself."""
        return rid in self.watch.jobs or self.submits.holds(rid)

    # -- what an earlier run left -------------------------------------------------------------

    async def open(self, epoch: int) -> None:
        """As the owner of the shard, take up what an earlier run left; ``load`` brings the rest."""
        self._epoch = epoch
        kept = await self.engine.store.blobs(self.shard)
        self.watch.looks = Looks.load(kept.get(self._blob))
        self.watch.callbacks.load(kept.get(self._callbacks_blob))
        await self._load_page()

    @property
    def loading(self) -> bool:
        """Whether jobs of an earlier run are still to be taken up."""
        return self._loaded is not None

    async def load(self) -> None:
        """Take up the rest, while the first are looked at already."""
        while self._loaded is not None:
            await self._load_page()

    async def _load_page(self) -> None:
        # nobody may end a job between its reading and its being watched: it would come back
        async with self._committing:
            rows = await self.engine.store.load_active(
                self.shard, kind=self.source.kind, after=self._loaded or 0, limit=PAGE
            )
            self._add(rows)
        self._loaded = rows[-1].rid if len(rows) == PAGE else None

    async def take_up(self, rid: int) -> None:
        """Take up one job now, if an earlier run left it and its page was not read yet."""
        if self._loaded is None:
            return
        async with self._committing:
            rows = await self.engine.store.rows([rid])
            self._add(
                job for job in rows
                if not job.state.ended and job.key == self.key(job.key.remote_id)
            )  # fmt: skip

    # -- what is new --------------------------------------------------------------------------

    async def register(self, new: Sequence[NewJob], *, again: bool) -> list[Job]:
        """Store jobs and begin to watch those that have not ended."""
        # what is stored must also be watched; and a row that ends meanwhile must not come back
        async with self._committing:
            with anyio.CancelScope(shield=True):
                jobs = await self._register(new, again=again)
        return jobs

    async def _register(self, new: Sequence[NewJob], *, again: bool) -> list[Job]:
        with self._writing() as events:
            jobs = await self.engine.store.register(self.shard, self._epoch, new, again=again)
            if self.engine.telling.heard:
                events.update(self._stored_now(new, jobs).values())
        live = [job for job in jobs if not job.state.ended]
        for start in range(0, len(live), PAGE):
            self._add(live[start : start + PAGE])
            await anyio.lowlevel.checkpoint()  # others have something to do too
        self.engine.news.tell_stored(await self.engine.store.head())
        return jobs

    def _stored_now(self, new: Sequence[NewJob], jobs: Sequence[Job]) -> dict[int, str]:
        """The rows that a registration made, not those that were known, with their events."""
        return {
            job.rid: str(job.state)
            for given, job in zip(new, jobs, strict=True)
            if (job.version, job.created_at) == (1, given.created_at) and not self.holds(job.rid)
        }

    def _add(self, jobs: Iterable[Job]) -> None:
        now, wall = anyio.current_time(), self.engine.wall()
        if self.idle:
            self.tally.due_since = None  # whatever was due before is gone
        for job in jobs:
            if job.state is State.WATCHING:
                self.watch.add(job, now=now, wall=wall, first_look=now + SLACK)
            else:
                self.submits.add(job)
        self.nudge()

    # -- what changes -------------------------------------------------------------------------

    async def cancel(self, rid: int) -> None:
        """Stop watching one job."""
        await self.commit([self.watch.unwatched(rid, wall=self.engine.wall())])

    async def change(self, decide: Callable[[], Awaitable[Transition | None]]) -> None:
        """Decide and save in one go: nobody else registers or saves anything in between."""
        async with self._committing:
            move = await decide()
            if move is not None:
                await self._save([move])

    async def commit(self, steps: Sequence[Step], notices: Sequence[Notice] = ()) -> None:
        """Save what is still true of it; one commit at a time, or two would race for a version."""
        if not steps and not notices:
            return
        async with self._committing:
            transitions = await self._taken(steps)
            if transitions or notices:
                await self._save(transitions, notices)

    async def _taken(self, steps: Sequence[Step]) -> list[Transition]:
        """What the steps make of the rows; a job may have ended while the look was under way."""
        store, jobs = self.engine.store, self.watch.jobs
        rows = {job.rid: job for job in await store.rows([rid for rid, _ in steps])}
        live = {rid: job for rid, job in rows.items() if not job.state.ended}
        if any(rid in jobs and rid not in live for rid, _ in steps):
            await store.commit(self.shard, self._epoch, [])  # Fenced: somebody else has ended it
        taken = (step(live[rid]) for rid, step in steps if rid in live)
        return [one for one in taken if one is not None]

    async def _save(
        self, transitions: Sequence[Transition], notices: Sequence[Notice] = ()
    ) -> None:
        """Save, then change what we hold, then tell: in this order, or a crash could lose it."""
        store = self.engine.store
        with anyio.CancelScope(shield=True):  # what is stored must be what we hold
            with self._writing() as events:
                rows = await store.commit(
                    self.shard, self._epoch, transitions, notices, self._learned(transitions)
                )
                events.update(row.type for row in rows)
            self.tally.saved(transitions)
            for one in transitions:
                self._apply(one.after)
            self.engine.news.tell_stored(max((row.seq for row in rows), default=0))
            if relief := self.resumed(self.stalls.over(anyio.current_time())):
                await self._save([], relief)  # that was the last job of those that are held up

    def resumed(self, stalled_for: float | None) -> list[Notice]:
        """What is told of an account that was stalled for so long; nothing if it was not, or is."""
        if stalled_for is None:
            return []
        data = {"stalled_for": round(stalled_for, 6)}
        log.info("pollers.resumed", kind=self.source.kind, account=self.shard.account, **data)
        return [Notice(type="resumed", at=self.engine.wall(), data=data)]

    @contextmanager
    def _writing(self) -> Iterator[Counter[str]]:
        """While the store writes; whoever asked it to says which events it has stored."""
        events: Counter[str] = Counter()
        telling = self.engine.telling
        with telling.doing("save", self.about):
            self.tally.writes(anyio.current_time())
            try:
                yield events
            finally:
                self.tally.wrote(anyio.current_time())
            if telling.heard:
                took = self.tally.wrote_for
                telling.tell(SaveRecord(**self.about, events=dict(events), elapsed=took))

    @property
    def _blob(self) -> str:
        """What was learned about how long jobs take, in the store."""
        return f"looks/{self.source.kind}"

    @property
    def _callbacks_blob(self) -> str:
        """What was learned about how many callbacks are lost."""
        return f"callbacks/{self.source.kind}"

    def _learned(self, transitions: Sequence[Transition]) -> dict[str, bytes]:
        """What is to be remembered besides: now and then, and when the last job ends."""
        ended = sum(one.after.state.ended for one in transitions)
        now = anyio.current_time()
        if not ended or (now < self._keep_at and ended < len(self.watch.jobs)):
            return {}
        self._keep_at = now + KEPT_EVERY
        learned = {self._blob: self.watch.looks.dump()}
        if self.watch.callbacks.has_begun:
            learned[self._callbacks_blob] = self.watch.callbacks.loss.dump()
        return learned

    def _apply(self, job: Job) -> None:
        self.submits.changed(job)
        if job.state.ended:
            self.watch.remove(job.rid)
        elif job.rid in self.watch.jobs:
            self.watch.jobs[job.rid].status = job.status
        else:
            self._add([job])
        if job.state.ended or job.state is State.UNCERTAIN:
            self.engine.news.tell_ended(job.rid)
