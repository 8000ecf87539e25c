"""Whose instant comes next, of very many: a calendar of days, and a heap of the day that has begun.

A heap of pairs takes 136 bytes for each job.  Here what lies ahead is a number of four bytes on the
page of its day, and only a page that is opened becomes a heap; of a page with very many, a part at a
time.  So adding and taking cost a few steps each, however many there are.

Nothing is ever looked for and removed: an entry whose job has another instant by now, or has ended,
is passed over when its day comes.
"""

import heapq
from array import array
from collections.abc import Callable, Sequence
from itertools import chain

DAY = 1.0
"""Seconds on one page."""

PART = 4096
"""Entries that are opened at once; those of one page beyond that come in no order."""


class Calendar:
    """Slots by instant.

    Args:
        instant: of a slot; NaN if it has no business here any more.
        rids: what is in each slot, never the same number twice: ties go by it.
    """

    __slots__ = ("_days", "_instant", "_near", "_order", "_rids", "_size", "_today")

    def __init__(self, instant: Callable[[int], float], rids: Sequence[int]) -> None:
        self._instant = instant
        self._rids = rids
        self._near: list[tuple[float, int, int]] = []
        self._today = float("-inf")
        """The last page that was opened; what is added for it or for an earlier one is near."""
        self._days: dict[int, array[int]] = {}
        self._order: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        """Entries, also those that are good for nothing any more."""
        return self._size

    def add(self, slot: int, at: float) -> None:
        """Enter a slot at its instant."""
        self._size += 1
        if at // DAY > self._today:
            self._file(slot, at)
            return
        heapq.heappush(self._near, (at, self._rids[slot], slot))
        if len(self._near) > 2 * PART:  # a page was opened long before its day, and now they come
            near, self._near, self._today = self._near, [], float("-inf")
            for when, _, entered in near:
                self._file(entered, when)

    def first(self) -> float:
        """The next instant; infinite if there is none."""
        while True:
            while self._near:
                at, rid, slot = self._near[0]
                if self._rids[slot] == rid and self._instant(slot) == at:
                    return at
                heapq.heappop(self._near)
                self._size -= 1
            if not self._order:
                return float("inf")
            self._open(self._order[0])

    def due(self, until: float, most: int) -> int:
        """How many come by an instant, counted up to so many."""
        near = [slot for at, rid, slot in self._near if at <= until and self._rids[slot] == rid]
        pages = (page for day, page in self._days.items() if day * DAY <= until)
        found: set[int] = set()
        for slot in chain(near, *pages):
            if len(found) >= most:
                break
            if self._instant(slot) <= until:
                found.add(slot)
        return len(found)

    def take(self) -> int:
        """The slot whose instant is next, of which there is one."""
        self.first()
        self._size -= 1
        return heapq.heappop(self._near)[2]

    def _file(self, slot: int, at: float) -> None:
        day = int(at // DAY)
        page = self._days.get(day)
        if page is None:
            page = self._days[day] = array("i")
            heapq.heappush(self._order, day)
        page.append(slot)

    def _open(self, day: int) -> None:
        page = self._days[day]
        if day != self._today:
            page.reverse()  # first come, first served, and the end of an array is cheap to take off
            self._today = day
        part = page[-PART:]
        del page[-PART:]
        if not page:
            del self._days[day]
            heapq.heappop(self._order)
        # it may stand here twice: it was to come here, then elsewhere, and then here again
        near = {
            (at, self._rids[slot], slot)
            for slot in part
            if (at := self._instant(slot)) // DAY == day
        }
        self._size += len(near) - len(part)
        self._near = list(near)
        heapq.heapify(self._near)
