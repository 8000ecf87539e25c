"""The live jobs of one source, a million of them in 200 MB: what a look needs, and not their rows.

Everything that is known of a job stands in columns, at the number of its *slot*: eight bytes for an
instant instead of an object of 32, and nothing for the garbage collector to walk through.  A slot is
used again when its job has ended.  What only a change needs (the user's data, the version, the
deadline as it was given …) stays in the store until there is a change to be written.

A job is found by its row's id.  Ids only grow and are seldom out of order, so they stand in short
sorted arrays with their slots beside them: 12 bytes for each, where a dict takes a hundred.
"""

import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from pollers._core.looks import KIND, PREDICTORS
from pollers._core.model import Job

T = TypeVar("T")

BLOCK = 1024
"""Ids that stand in one array; it is cut in two where twice as many are."""

GROWN = 256
"""Slots by which the columns grow."""

MOST_TOLD = 1000
"""Different things that were told about jobs and are held once each."""

_NOTHING: Mapping[str, Any] = {}
_TEACHES, _ODD, _DATED, _ASKED = 1, 2, 4, 8


class Index:
    """Slots by row id."""

    __slots__ = ("_firsts", "_rids", "_size", "_slots")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._rids: list[array[int]] = []
        self._slots: list[array[int]] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        for rids in self._rids:
            yield from rids

    def find(self, rid: int) -> int | None:
        """The slot of a job."""
        block, place = self._locate(rid)
        return self._slots[block][place] if place >= 0 else None

    def put(self, rid: int, slot: int) -> None:
        """Enter a job that isn't in it."""
        self._size += 1
        if not self._rids or rid > self._rids[-1][-1]:
            self._append(rid, slot)
            return
        block = max(0, bisect_right(self._firsts, rid) - 1)
        rids, slots = self._rids[block], self._slots[block]
        place = bisect_left(rids, rid)
        rids.insert(place, rid)
        slots.insert(place, slot)
        self._firsts[block] = rids[0]
        if len(rids) > 2 * BLOCK:
            self._insert_block(block + 1, rids[BLOCK:], slots[BLOCK:])
            del rids[BLOCK:], slots[BLOCK:]

    def pop(self, rid: int) -> int | None:
        """Forget a job; the slot that it had."""
        block, place = self._locate(rid)
        if place < 0:
            return None
        self._size -= 1
        del self._rids[block][place]
        slot = self._slots[block].pop(place)
        if not self._rids[block]:
            del self._firsts[block], self._rids[block], self._slots[block]
        return slot

    def _append(self, rid: int, slot: int) -> None:
        if self._rids and len(self._rids[-1]) < BLOCK:
            self._rids[-1].append(rid)
            self._slots[-1].append(slot)
        else:
            self._insert_block(len(self._rids), array("q", (rid,)), array("i", (slot,)))

    def _locate(self, rid: int) -> tuple[int, int]:
        """The block and the place in it; a place of -1 for an id that isn't in it."""
        block = bisect_right(self._firsts, rid) - 1
        if block < 0 or rid > self._rids[block][-1]:  # as any job that is new
            return 0, -1
        rids = self._rids[block]
        place = bisect_left(rids, rid)
        return block, place if rids[place] == rid else -1

    def _insert_block(self, at: int, rids: "array[int]", slots: "array[int]") -> None:
        self._firsts.insert(at, rids[0])
        self._rids.insert(at, rids)
        self._slots.insert(at, slots)


class Table(Mapping[int, "Watched"]):
    """The live jobs of one source by row id.  Columns are public to those who know slots.

    Args:
        told: names of the features that the source wants to know again (``expect``, ``settle``).
    """

    def __init__(self, told: Iterable[str] = ()) -> None:
        self._of_use = frozenset((KIND, *told))
        self.rid = array("q")
        """0 in a free slot."""
        self.remote_id: list[str] = []
        self.submitted = array("d")
        self.deadline = array("d")
        self.alive_at = array("d")
        self.missing_since = array("d")
        self.at = array("d")
        self.place = array("B")
        self.looks = array("I")
        self.looked_at = array("i")
        self.flags = array("B")
        self.status: list[str | None] = []
        self.told: list[Mapping[str, Any]] = []
        self.predictors = {name: array("d") for name in PREDICTORS}
        self._free = array("i")
        self._index = Index()
        self._known: dict[Any, Mapping[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[int]:
        return iter(self._index)

    def __contains__(self, rid: object) -> bool:
        return isinstance(rid, int) and self._index.find(rid) is not None

    def __getitem__(self, rid: int) -> "Watched":
        slot = self._index.find(rid)
        if slot is None:
            raise KeyError(rid)
        return Watched(self, slot)

    def add(self, job: Job, *, born: float, deadline: float) -> "Watched":
        """Take in a job that was first watched at ``born``; instants are loop time."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        submitted = born - max(0.0, job.created_at - (job.submitted_at or job.created_at))
        self.rid[slot] = job.rid
        self.remote_id[slot] = job.key.remote_id
        self.submitted[slot] = self.alive_at[slot] = submitted
        self.deadline[slot] = deadline
        # never seen: it has been missing since it was first watched, restarts included
        self.missing_since[slot] = born if job.status is None else math.nan
        self.looks[slot] = job.looks
        self.flags[slot] = _TEACHES * (job.status is None) | _DATED * (job.submitted_at is not None)
        self.status[slot] = job.status and sys.intern(job.status)
        self.told[slot] = _NOTHING
        for column in self.predictors.values():
            column[slot] = math.nan
        if job.features:
            self.note(slot, job.features)
        self._index.put(job.rid, slot)
        return Watched(self, slot)

    def pop(self, rid: int) -> bool:
        """Forget a job; whether there was one."""
        slot = self._index.pop(rid)
        if slot is None:
            return False
        self.rid[slot] = 0
        self.remote_id[slot], self.status[slot], self.told[slot] = "", None, _NOTHING
        self.place[slot], self.deadline[slot] = 0, math.inf
        self._free.append(slot)
        return True

    def features(self, slot: int) -> Mapping[str, Any]:
        """What is known about a job: what it was told, and what foretells how long it takes."""
        known = {name: column[slot] for name, column in self.predictors.items()}
        given = {name: value for name, value in known.items() if value == value}  # noqa: PLR0124  # not NaN
        return {**self.told[slot], **given} if given else self.told[slot]

    def note(self, slot: int, features: Mapping[str, Any]) -> None:
        """Take in what was told or seen about a job; what is of no use to looks is left out."""
        rest = {}
        for name, value in features.items():
            if name in self.predictors:
                self.predictors[name][slot] = _number(value)
            elif name in self._of_use:
                rest[name] = value
        if rest and any(self.told[slot].get(name) != value for name, value in rest.items()):
            self.told[slot] = self._held_once({**self.told[slot], **rest})

    def _held_once(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        if len(self._known) > MOST_TOLD:
            self._known.clear()
        return self._known.setdefault(tuple(sorted(told.items())), told)

    def _grow(self) -> None:
        size = len(self.rid)
        columns: list[array[Any]] = [
            self.rid, self.place, self.looks, self.looked_at, self.flags, self.submitted, self.deadline,
            self.alive_at, self.missing_since, self.at, *self.predictors.values(),
        ]  # fmt: skip
        for column in columns:
            column.frombytes(bytes(GROWN * column.itemsize))
        self.remote_id += [""] * GROWN
        self.status += [None] * GROWN
        self.told += [_NOTHING] * GROWN
        self._free.extend(range(size + GROWN - 1, size - 1, -1))


def _number(value: Any) -> float:
    """NaN for what can't foretell anything."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return math.nan
    return float(value) if 0 < value < math.inf else math.nan


class _Column(Generic[T]):
    """An attribute that stands in a column of the table."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, one: "Watched", kind: type["Watched"]) -> T:
        found: T = getattr(one.table, self._name)[one.slot]
        return found

    def __set__(self, one: "Watched", value: T) -> None:
        getattr(one.table, self._name)[one.slot] = value


class _Flag:
    """An attribute that is one bit of the table's flags."""

    def __init__(self, bit: int) -> None:
        self._bit = bit

    def __get__(self, one: "Watched", kind: type["Watched"]) -> bool:
        return bool(one.table.flags[one.slot] & self._bit)

    def __set__(self, one: "Watched", value: bool) -> None:
        flags = one.table.flags
        flags[one.slot] = flags[one.slot] | self._bit if value else flags[one.slot] & ~self._bit


class Watched:
    """One live job, as its slot has it.  Of no use once the job has ended: see ``is_live``."""

    __slots__ = ("rid", "slot", "table")

    submitted = _Column[float]("submitted")
    deadline = _Column[float]("deadline")
    """Infinite if there is none."""
    alive_at = _Column[float]("alive_at")
    """When it was last known to be running."""
    looks = _Column[int]("looks")
    looked_at = _Column[int]("looked_at")
    """The second of its last look, as ``Watch.ages`` counts it."""
    teaches = _Flag(_TEACHES)
    """After a restart it is not known when it was last seen: until then it tells nothing."""
    odd = _Flag(_ODD)
    """The API refuses to look at it; it is asked for alone, or it would spoil every batch."""
    is_dated = _Flag(_DATED)
    """Whether it was said when the work was handed in."""
    asked = _Flag(_ASKED)
    """By this process.  What had ended before may have been announced to nobody."""

    def __init__(self, table: Table, slot: int) -> None:
        self.table = table
        self.slot = slot
        self.rid = table.rid[slot]

    @property
    def remote_id(self) -> str:
        """The provider's id."""
        return self.table.remote_id[self.slot]

    @property
    def is_live(self) -> bool:
        """Whether the slot still is this job's."""
        return self.table.rid[self.slot] == self.rid

    @property
    def missing_since(self) -> float | None:
        """Since when answers don't have it; None if the last one did."""
        since = self.table.missing_since[self.slot]
        return None if math.isnan(since) else since

    @missing_since.setter
    def missing_since(self, since: float | None) -> None:
        self.table.missing_since[self.slot] = math.nan if since is None else since

    @property
    def status(self) -> str | None:
        """The provider's status text, as it is stored."""
        return self.table.status[self.slot]

    @status.setter
    def status(self, status: str | None) -> None:
        self.table.status[self.slot] = status and sys.intern(status)

    @property
    def features(self) -> Mapping[str, Any]:
        """What it was told, and what foretells how long it takes."""
        return self.table.features(self.slot)

    def note(self, features: Mapping[str, Any]) -> None:
        """Take in what was seen of it."""
        self.table.note(self.slot, features)
