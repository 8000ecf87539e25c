"""What one seed decides: the provider, the disk, the consumers, the users, and every process's end.

Processes follow one another, on one disk, until the last one is left to finish in peace.
"""

# ruff: noqa: D102, D103  # helpers say it by their names

import math
import random
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from sim_order import nap
from sim_process import Killed, Process, StorePort, Trace, seldom
from sim_provider import LAWS, PAPER, Provider
from sim_sinks import ByCursor, ById, BySequence, Moods, SinkPort, named
from sim_submits import STEPS, Orders
from sim_users import Users

from pollers import BadStore, Fenced, Poller, PollerStopped
from pollers._core.model import EventRow
from pollers.sources import CallableSource
from pollers.store import MemoryStore
from pollers.store.sqlite import SqliteStore
from resilience import Guard, ResilienceError
from resilience.testing import EPOCH

CALM_AT = 200.0
"""Loop time from which on nothing goes wrong by chance, and nobody dies."""

LONGEST = 8000.0
"""Seconds that the last process may take."""

GRACE = 25.0
FINAL_GRACE = 30.0


class Memory(MemoryStore):
    """A disk that has whatever was written to it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._uuid = f"{seed:032x}"

    async def crash(self) -> None:
        """The same disk for the next process."""


class File(SqliteStore):
    """A disk with a file on it; each process finds what a crash of the last one left there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "jobs.db", synchronous="OFF")  # a crash is not a power cut

    async def crash(self) -> None:
        folder = self._path.parent.with_name(f"{self._path.parent.name}+")
        folder.mkdir()
        for end in ("", "-wal", "-journal"):
            if (one := Path(f"{self._path}{end}")).exists():
                shutil.copyfile(one, folder / one.name)
        await self.aclose()
        self._path = folder / self._path.name
        await self.open()


@dataclass
class Row:
    """One row of the store: whose it is, who began to watch it and who ended it, and when."""

    name: str
    remote_id: str
    began: Process
    number: int
    """Of the lines of the trace before it."""
    at: float = field(default_factory=anyio.current_time)
    ender: Process | None = None
    ended: float = float("inf")

    def end(self, process: Process) -> None:
        self.ender, self.ended = process, anyio.current_time()


class World:
    """Everything there is in one simulation."""

    def __init__(self, seed: int, disk: Any = None) -> None:
        self.seed = seed
        chance = self.chance = random.Random(seed)
        self.trace = Trace()
        self.disk = disk or Memory(seed)
        self.provider = Provider(chance, self.trace, calm_at=CALM_AT)
        self.provider.spacing = chance.choice([0.0, 0.0, 0.5, 3.0])
        self.submitted = Orders(self.provider)
        self.batch = chance.choice([1, 3, 10])
        self.provider.at_once = chance.choice([1, 1, 2, 8])
        self.accounts = ["ann", *(["bob"] if chance.random() < 0.2 else [])]
        self.kinds = ["videos", *(["tasks"] if chance.random() < 0.2 else [])]
        for account in self.accounts:
            self.provider.account(account)
        self.consumers = [cls(cls.__name__, self.trace) for cls in (ById, BySequence)]
        self.moods = {one.name: Moods(chance, calm_at=CALM_AT) for one in self.consumers}
        self.reader = ByCursor("stream", self.trace)
        self.sink_batch = chance.choice([1, 1, 4])
        self.keep = seldom(chance, 0.15, chance.choice([10.0, 80.0]))
        self.write_seconds = chance.choice([0.0, 0.0, 0.01, 0.3, 3.0])
        self.full_from = seldom(chance, 0.15, chance.uniform(0.0, CALM_AT), CALM_AT)
        self.full_for = chance.choice([1.0, 60.0])
        self.overlaps = 0.2
        if isinstance(self.disk, File):
            # it takes its time by itself, and what is written meanwhile would confuse the books
            self.write_seconds, self.overlaps, self.keep = 0.0, 0.0, None
        self.jumps = self._jumps()
        self.naps = sorted(
            (chance.uniform(0.0, CALM_AT), chance.choice([20.0, 500.0]))
            for _ in range(seldom(chance, 0.1, 1, 0))
        )
        self.on_refused = chance.choice(["stall", "stall", "stall", "stop"])
        self.plan = self._plan()
        share = chance.choice([0.0, 0.0, 0.3, 1.0])
        self.orders = {name for _, name, *_ in self.plan if chance.random() < share}
        """Jobs that are submitted, not only watched."""
        self.searches = chance.random() < 0.9
        """Whether the source can search for lost replies."""
        self.homes: dict[str, tuple[str, str]] = {name: home for _, name, home, _ in self.plan}
        self.stored: set[str] = set()
        self.deadlines = {
            name: chance.choice([20.0, 60.0, 150.0, 400.0, 1500.0]) for name in self.homes
        }
        self.again: dict[str, int] = {}
        self.unwatched: set[str] = set()
        self.handed_in: dict[str, str] = {}
        """By name: the tokens of intents that are on the disk."""
        self.doubted: dict[str, tuple[Process, int]] = {}
        """Who gave a token up as uncertain, and how many lines the trace had then."""
        self.settled: dict[str, str] = {}
        """By token: the id that a person named."""
        self.told: dict[str, Any] = {}
        self.running = 0
        self.seq = 0
        self.events: list[EventRow] = []
        """All that were ever committed, the pruned ones included."""
        self.gone: set[int] = set()
        self.parked: set[tuple[str, int]] = set()
        self.overlapped = 0
        self.rows: dict[int, Row] = {}

    def _plan(self) -> list[tuple[float, str, tuple[str, str], str]]:
        """When which job is submitted, where, and by which law it lives."""
        chance, law = self.chance, self.chance.choice(sorted(LAWS))
        homes = [(account, kind) for account in self.accounts for kind in self.kinds]
        burst = chance.random() < 0.5
        return [
            (0.0 if burst else chance.uniform(0.0, 100.0), f"j{i}", chance.choice(homes), law)
            for i in range(chance.choice([1, 2, 4, 8, 8]))
        ]

    def _jumps(self) -> list[tuple[float, float]]:
        """When the wall clock jumps, and by how much; laptops sleep, and clocks are set."""
        chance = self.chance
        by = [86_400.0, 4000.0, -1500.0, 600.0, -600.0, 3.0, -3.0]
        count = seldom(chance, 0.2, chance.choice([1, 2]), 0)
        return sorted((chance.uniform(0.0, CALM_AT), chance.choice(by)) for _ in range(count))

    def offset(self, at: float) -> float:
        return sum(by for when, by in self.jumps if when <= at)

    def wall(self) -> float:
        now = anyio.current_time()
        return EPOCH + now + self.offset(now)

    def full(self) -> bool:
        now = anyio.current_time()
        return self.full_from <= now < min(self.full_from + self.full_for, CALM_AT)

    # -- processes ----------------------------------------------------------------------------

    async def live(self) -> None:
        """One process after the other; now and then the next begins before the last has ended."""
        await self.disk.open()
        async with anyio.create_task_group() as sleeper:
            sleeper.start_soon(self._sleep)
            await self._live()

    async def _sleep(self) -> None:
        """The laptop is closed, and opened again: both clocks have jumped."""
        for at, seconds in self.naps:
            await anyio.sleep(at - anyio.current_time())
            self.trace.note("sleeps for", seconds)
            nap()(seconds)

    async def _live(self) -> None:
        chance = self.chance
        async with anyio.create_task_group() as processes:
            number = 0
            while anyio.current_time() < CALM_AT:
                number += 1
                dies_in = seldom(chance, 0.3 if self.orders else 0.0, chance.choice(STEPS))
                process = Process(number, self.trace, dies_at=self._dies_at(), dies_in=dies_in)
                processes.start_soon(self._run, process)
                span = min(chance.expovariate(1 / 60.0), CALM_AT - anyio.current_time())
                with anyio.move_on_after(span):
                    await process.gone.wait()
                if (
                    chance.random() < self.overlaps
                    and process.opened < math.inf
                    and not process.gone.is_set()
                ):
                    process.fenced = True
                    self.overlapped += 1
                    processes.start_soon(self._end, process, chance.uniform(0.0, 30.0))
                    continue
                await self._end(process, 0.0)
                if not self.running:
                    await self.disk.crash()
                await anyio.sleep(chance.choice([0.0, 0.0, 0.1, 20.0]))
        process = Process(number + 1, self.trace)
        with anyio.fail_after(LONGEST):
            await self._run(process, calm=True)

    def _dies_at(self) -> int | None:
        draw = self.chance.random()
        return int(2.0 ** (draw * 16.0)) if draw < 0.7 else None

    async def _end(self, process: Process, after: float) -> None:
        """It dies, or it is left as it should be, cancelled from outside."""
        with anyio.move_on_after(after):
            await process.gone.wait()
        if not process.gone.is_set():
            if self.chance.random() < 0.5:
                process.die()
            else:
                process.cancel()
            await process.gone.wait()

    async def _run(self, process: Process, *, calm: bool = False) -> None:
        self.trace.note(process.number, "begins")
        self.running += 1
        try:
            with process.scope:
                await self._program(process, calm=calm)
        except BaseException as error:
            if not all(self._is_fine(one, process) for one in leaves(error)):
                self.trace.blame(f"process {process.number} ended with {error!r}")
        finally:
            self.running -= 1
            await self._wrote("at the end", process)
            process.left = True
            process.gone.set()
            self.trace.note(process.number, "ends")

    async def _program(self, process: Process, *, calm: bool) -> None:
        """As a block, or with ``run`` in a task group of its own."""
        poller = self._poller(process)
        users = Users(self, process, poller)
        if self.chance.random() < 0.3:
            process.in_block = False
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(poller.run)
                await poller.jobs(state="watching")
                process.opened = anyio.current_time()
                await users.live(calm=calm)
                process.cancel()
            return
        async with poller:
            process.opened = anyio.current_time()
            try:
                await users.live(calm=calm)
            finally:
                process.leaves_at = anyio.current_time()

    def _is_fine(self, error: BaseException, process: Process) -> bool:
        if isinstance(error, Killed):
            return not process.alive
        if isinstance(error, PollerStopped) and error.__cause__ is not None:
            error = error.__cause__
        if isinstance(error, PollerStopped):
            return process.cancelled
        if isinstance(error, Fenced):
            return process.fenced
        if isinstance(error, ResilienceError):
            return self.on_refused == "stop"
        return isinstance(error, BadStore) and self.full_from < CALM_AT

    def _poller(self, process: Process) -> Poller:
        chance = self.chance
        store = StorePort(
            self.disk, process, full=self.full, wrote=self._wrote,
            seconds=lambda: chance.random() * self.write_seconds,
        )  # fmt: skip
        sources = [
            self._source(process, account, kind, guard)
            for account in self.accounts
            for guard in [Guard(PAPER, account, wall=self.wall, chance=chance.random)]
            for kind in self.kinds
        ]
        sinks = [
            SinkPort(one, self.moods[one.name], process, batch=self.sink_batch)
            for one in self.consumers
        ]
        return Poller(
            *sources, store=store, sinks=sinks, on_refused=self.on_refused, keep=self.keep,
            grace=GRACE, final_grace=FINAL_GRACE, min_interval=1.0, max_interval=20.0,
            wall=self.wall, chance=chance.random,
        )  # fmt: skip

    def _source(self, process: Process, account: str, kind: str, guard: Guard) -> CallableSource:
        async def one(job_id: str) -> Any:
            answer = await self.provider.ask(process, account, kind, [job_id])
            return answer if answer.get("code") else answer.get(job_id)

        async def many(ids: list[str]) -> Any:
            return await self.provider.ask(process, account, kind, ids)

        return CallableSource(
            one if self.batch == 1 else many, batch=self.batch, spacing=self.provider.spacing,
            at_once=self.provider.at_once, guard=guard, kind=kind, succeeded=["done"], failed=["broken"],
            pending=["running", "queued"],
            find_submitted=partial(self.submitted.search, process, account, kind)
            if self.searches else None,
        )  # fmt: skip

    async def _wrote(self, name: str, process: Process, until: float | None = None) -> None:
        """After a write that it will know of at ``until``: look at the disk as nobody else can."""
        with anyio.CancelScope(shield=True):
            fresh = await self.disk.events(self.seq, 100_000)
        for row in fresh:
            if row.seq <= self.seq:
                continue  # two writes at once
            self.events.append(row)
            self.seq = row.seq
            if row.rid:
                self._moved(row, process, until or anyio.current_time())
        if name == "prune":
            await self._pruned()

    def _moved(self, row: EventRow, process: Process, until: float) -> None:
        lines, name = len(self.trace.lines), row.data["user_data"]
        over, token = (process.number, until), row.data.get("token")
        # a search that waits for its turn does not learn that it is no longer needed
        found = process.number, until + FINAL_GRACE + 5.0 + sum(seconds for _, seconds in self.naps)
        if row.type in ("submitting", "watching"):
            self.rows[row.rid] = Row(name, row.subject, process, lines)
        match row.type:
            case "submitting":
                self.handed_in[name] = row.subject
                self.submitted.stored.add(row.subject)
            case "watching":
                self.provider.ended.pop(row.subject, None)
                self.provider.watched[row.subject] = lines
                if token is not None:  # it is not searched for any more
                    self.provider.ended[token] = found
            case "uncertain":
                self.doubted[row.subject] = process, lines
                self.provider.ended[row.subject] = found
            case "changed":
                pass
            case _:
                self.rows[row.rid].end(process)
                named = row.subject not in self.submitted.stored
                self.provider.ended[row.subject] = over if named else found

    async def _pruned(self) -> None:
        """What is gone had ended, and everybody had it."""
        left = {row.seq for row in await self.disk.events(0, 100_000)}
        parked = {(one.sink, one.row.seq) for one in await self.disk.parked()}
        for row in self.events:
            if row.seq in left or row.seq in self.gone:
                continue
            self.gone.add(row.seq)
            if row.rid and self.rows[row.rid].ender is None:
                self.trace.blame(f"event {row.seq} of a job that runs was pruned")
            for one in self.consumers:
                if named(row) not in one.known or (one.name, row.seq) in parked:
                    self.trace.blame(f"event {row.seq} was pruned, and {one.name} never had it")

    async def all_are_told(self) -> bool:
        """Whether each consumer had each event, or it is parked for it."""
        self.parked = {(one.sink, one.row.seq) for one in await self.disk.parked()}
        return all(
            named(row) in one.known or (one.name, row.seq) in self.parked
            for row in self.events
            for one in [*self.consumers, self.reader]
            if one is not self.reader or row.seq not in self.gone
        )


def leaves(error: BaseException) -> list[BaseException]:
    """The errors that a group is made of."""
    if isinstance(error, BaseExceptionGroup):
        return [one for inner in error.exceptions for one in leaves(inner)]
    return [error]
