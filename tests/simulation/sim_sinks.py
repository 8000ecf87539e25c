"""Who is told: consumers whose effects survive, and the sinks through which a process reaches them.

A consumer's effects and what it remembers with them are one transaction of its own.
"""

# ruff: noqa: D102, D103  # helpers say it by their names

import random
from collections.abc import Sequence
from typing import Any

import anyio
from sim_process import Process, Trace

from pollers import Event, EventRefused
from pollers._core.events import place_of
from pollers._core.model import EventRow
from pollers.sinks import Sink

Name = tuple[str, int]
"""An event by its job's row (or its shard) and its version: what is left of its id without the store."""


def name_of(event: Event) -> Name:
    line, version = event.id.rsplit(":", 1)
    return line.split(":", 1)[1], int(version)


def named(row: EventRow) -> Name:
    """The same of a stored row."""
    shard = row.shard
    line = f"{row.rid}" if row.rid else f"{shard.provider}/{shard.deployment}/{shard.account}"
    return line, row.version


class Consumer:
    """Has an effect for each event; told twice, it would have two."""

    has_lost = False
    """What it had not read was pruned."""

    def __init__(self, name: str, trace: Trace) -> None:
        self.name = name
        self.trace = trace
        self.effects: list[Name] = []
        self.known: set[Name] = set()
        self.versions: dict[str, int] = {}

    def act(self, event: Event) -> None:
        where, version = name = name_of(event)
        if name in self.known:
            self.trace.blame(f"{self.name}: {name} takes effect twice")
        if version != self.versions.get(where, 0) + 1 and not self.has_lost:
            self.trace.blame(f"{self.name}: {name} comes after {self.versions.get(where)}")
        self.versions[where] = max(version, self.versions.get(where, 0))
        self.known.add(name)
        self.effects.append(name)


class ByCursor(Consumer):
    """Keeps the cursor with the effect: the stream of a process."""

    cursor = ""

    def take(self, event: Event, *, after: str) -> bool:
        """False if another process has moved the cursor on: its transaction would fail."""
        if self.cursor != after:
            return False
        if not (self.has_lost and name_of(event) in self.known):
            self.act(event)
        self.cursor = event.cursor
        return True

    def start_over(self) -> None:
        self.cursor, self.has_lost = "", True


class ById(Consumer):
    """Drops the ids that it knows."""

    def take(self, event: Event) -> None:
        if name_of(event) not in self.known:
            self.act(event)


class BySequence(Consumer):
    """Drops what is not behind the last that it took, as a file, a Redis stream or JetStream do."""

    seq = 0

    def take(self, event: Event) -> None:
        seq = place_of(event.cursor)[1]
        if seq > self.seq:
            self.act(event)
            self.seq = seq


class Moods:
    """What goes wrong at a consumer's door, and when."""

    def __init__(self, chance: random.Random, *, calm_at: float) -> None:
        self.chance = chance
        self.calm_at = calm_at
        self.down = (0.0, 0.0)
        if chance.random() < 0.3:
            start = chance.uniform(0.0, calm_at)
            self.down = (start, min(calm_at, start + chance.choice([20.0, 400.0])))
        self.rate = chance.choice([0.0, 0.0, 0.1, 0.3])
        self.delay = chance.choice([0.0, 0.0, 0.1, 2.0])
        self.refuses = {str(rid) for rid in range(20) if chance.random() < 0.05}
        """Jobs, by row, of which it takes nothing, ever."""
        self.calls = 0

    def draw(self, events: Sequence[Event]) -> str | None:
        self.calls += 1
        now = anyio.current_time()
        if any(name_of(event)[0] in self.refuses for event in events):
            return "refuses"
        if self.down[0] <= now < self.down[1]:
            return "down"
        if now < self.calm_at and self.chance.random() < self.rate:
            return self.chance.choice(["down", "takes and fails", "hangs", "refuses"])
        return None


class SinkPort(Sink):
    """A consumer as one process reaches it."""

    def __init__(self, consumer: Any, moods: Moods, process: Process, *, batch: int) -> None:
        self.name = consumer.name
        self.batch = batch
        self.in_sequence = isinstance(consumer, BySequence)
        self._consumer = consumer
        self._moods = moods
        self._process = process
        self._busy = False

    async def deliver(self, events: Sequence[Event]) -> None:
        names = [name_of(event) for event in events]
        self._process.step(self.name, "gives", *names)
        if self._busy or len(events) > self.batch:
            self._process.trace.blame(f"{self.name}: two deliveries at once, or too many events")
        self._busy = True
        try:
            await self._deliver(events)
        finally:
            self._busy = False
        self._process.step(self.name, "took", *names)

    async def _deliver(self, events: Sequence[Event]) -> None:
        wrong = self._moods.draw(events)
        if self._moods.delay:
            await anyio.sleep(self._moods.delay)
        if wrong == "refuses":
            raise EventRefused("not this one")
        if wrong == "down":
            raise ConnectionError("nobody is here")
        if wrong == "hangs":
            await anyio.sleep(200.0)
        for event in events:
            self._process.step(self.name, "takes", name_of(event))
            self._consumer.take(event)
        if wrong == "takes and fails":
            raise ConnectionError("the answer was lost")
