"""Two stores that are told the same show the same: SQLite beside the model, any calls in any order.

Domains are small, so that keys, versions, epochs and times collide all the time.
"""

# ruff: noqa: D102, D103  # helpers say it by their names

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from store_broken import BROKEN
from store_words import (
    IDS,
    SHARDS,
    SINKS,
    cancelled,
    changed,
    ended,
    everything,
    expired,
    new,
    notice,
    renamed,
    submitting,
)

from pollers.store import MemoryStore, Store
from pollers.store.base import StoreError
from pollers.store.sqlite import SqliteStore

STEPS = (changed, ended, ended, expired, cancelled, renamed)
FAST = settings(
    deadline=None, database=None, stateful_step_count=settings.default.stateful_step_count // 2, print_blob=False,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

shards = st.sampled_from([SHARDS[0], SHARDS[0], *SHARDS])
epochs = st.sampled_from([0, 0, 0, 0, 0, -1, 1])
times = st.sampled_from([1.0, 2.0, 3.0])
names = st.lists(st.sampled_from(IDS), max_size=3)
often = st.sampled_from([True, True, False])
moves = st.tuples(st.integers(0, 9), often, st.sampled_from(STEPS), times)
notices = st.lists(st.sampled_from(["stalled", "resumed"]), max_size=2)
blobs = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from([b"", b"1"]), max_size=2)


class Agreement(RuleBasedStateMachine):
    """Drives the model and another store side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.model = MemoryStore()
        self.other = self.make()
        self.seen = []
        self.epochs = dict.fromkeys(SHARDS, 0)
        self.runner.run(self.other.open())

    def make(self) -> Store:
        return SqliteStore(Path(self.folder.name, "jobs.db"), synchronous="OFF")

    def teardown(self) -> None:
        self.runner.run(self.other.aclose())
        self.runner.close()
        self.folder.cleanup()

    def both(self, name, *args, **options):
        """What both answered; they must answer alike."""
        model, other = (
            self.runner.run(outcome(store, name, *args, **options))
            for store in (self.model, self.other)
        )
        assert other == model
        return model

    @initialize(names=names)
    def begin(self, names):
        self.register(SHARDS[0], 0, names, 1.0, again=False)

    @rule(shard=shards)
    def acquire(self, shard):
        self.epochs[shard] = self.both("acquire", shard)

    @rule(shard=shards, epoch=epochs, names=names, at=times, again=st.booleans())
    def register(self, shard, epoch, names, at, again):
        if not self.epochs[shard]:
            self.acquire(shard)
        jobs = [new(name, shard, at=at, data={"at": at}, deadline=at + 1) for name in names]
        answer = self.both("register", shard, self.epochs[shard] + epoch, jobs, again=again)
        if isinstance(answer, list):
            self.seen += answer

    @rule(shard=shards, epoch=epochs, at=times)
    def submit(self, shard, epoch, at):
        """A token is never used again."""
        if not self.epochs[shard]:
            self.acquire(shard)
        job = submitting(f"rp-{len(self.seen)}", shard, at=at)
        answer = self.both("register", shard, self.epochs[shard] + epoch, [job])
        if isinstance(answer, list):
            self.seen += answer

    @rule(
        shard=shards, epoch=epochs, moves=st.lists(moves, max_size=3), notices=notices, blobs=blobs
    )
    def commit(self, shard, epoch, moves, notices, blobs):
        given, newest = [], {job.rid: job for job in self.seen}
        for index, fresh, make, at in moves:
            if self.seen:
                job = self.seen[-1 - index % len(self.seen)]
                given.append(make(newest[job.rid] if fresh else job, at=at))
                newest[job.rid] = given[-1].after if fresh else newest[job.rid]
        told = [notice(name) for name in notices]
        answer = self.both("commit", shard, self.epochs[shard] + epoch, given, told, blobs)
        if isinstance(answer, list):
            self.seen += [one.after for one in given]

    @rule(shard=shards)
    def announce(self, shard):
        self.both("commit", shard, self.epochs[shard], [], [notice()])

    @rule(shard=shards, at=times)
    def end_all(self, shard, at):
        moves = [ended(job, at=at) for job in self.both("load_active", shard)]
        if isinstance(self.both("commit", shard, self.epochs[shard], moves), list):
            self.seen += [one.after for one in moves]

    @rule(sink=st.sampled_from(SINKS), seq=st.integers(-1, 4))
    def ack(self, sink, seq):
        self.both("ack", sink, seq)

    @rule(sink=st.sampled_from(SINKS), index=st.integers(0, 9))
    def deliver(self, sink, index):
        told, parked = self.both("events", 0), self.both("parked")
        if index < len(told):
            self.both("ack", sink, told[-1].seq, {told[index].seq: f"reason {index % 2}"})
        elif parked:
            self.both("unpark", sink, parked[index % len(parked)].row.seq)
        else:
            self.both("ack", sink, self.both("head"))

    @rule(before=st.sampled_from([2.5, 9.0]), limit=st.sampled_from([0, 1, 1, 2, 500]))
    def prune(self, before, limit):
        self.both("prune", before, limit)

    @rule(after=st.integers(-1, 6), limit=st.integers(0, 3))
    def events(self, after, limit):
        self.both("events", after, limit)

    @rule()
    def reopen(self):
        if isinstance(self.other, SqliteStore):
            uuid = self.other.uuid
            self.runner.run(self.other.aclose())
            self.other = self.make()
            self.runner.run(self.other.open())
            assert self.other.uuid == uuid

    @invariant()
    def same(self):
        async def see():
            return await everything(self.other), await everything(self.model)

        other, model = self.runner.run(see())
        assert other == model


async def outcome(store, name, *args, **options):
    """What a call returned, or the kind of its error."""
    try:
        return await getattr(store, name)(*args, **options)
    except StoreError as error:
        return type(error)


def test_sqlite_agrees_with_the_model() -> None:
    """Whatever is done to both, both answer and hold the same, also after reopening."""
    run_state_machine_as_test(Agreement, settings=FAST)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "broken", [cls for cls in BROKEN if not cls.is_rare], ids=lambda cls: cls.__name__
)
def test_broken_store_disagrees(broken) -> None:
    """The machine finds each of them, so its domains are small enough."""

    class Disagreement(Agreement):
        def make(self):
            return broken()

    once = settings(
        FAST, phases=[Phase.generate], max_examples=1000, report_multiple_bugs=False,
        derandomize=True,
    )  # fmt: skip
    with pytest.raises((AssertionError, IndexError, KeyError)):
        run_state_machine_as_test(Disagreement, settings=once)
