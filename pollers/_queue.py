"""Who is asked for next: the jobs that are in no look's hand, and how a look takes its hand of them.

Several looks may be under way.  A job is in the hand of one of them, or it is here; so it never is in
two.
"""

import math
from collections import deque
from collections.abc import Callable

from pollers._core.table import Table, Watched
from pollers._core.turns import Turns, Value

SET_ASIDE = 10
"""Batches of dear jobs that a look sets aside at most, lest a million at once stop the loop."""

Dear = Callable[[Watched], bool]


class Hand:
    """The jobs of one look, from when they are picked until it is known what came of it."""

    __slots__ = ("asked_at", "costly", "half", "picked", "room")

    def __init__(self) -> None:
        self.picked: list[Watched] = []
        self.asked_at = math.inf
        """When they were picked; not yet, if infinite."""
        self.room = 0
        """How many it could have had."""
        self.costly: Watched | None = None
        """The one of them that costs a request of its own."""
        self.half: list[int] = []
        """Their row ids, if they are the half of a batch that was refused."""

    def lay_down(self) -> list[Watched]:
        """Those that it had; who has ended meanwhile is left out."""
        picked, self.picked, self.half = self.picked, [], []
        return [one for one in picked if one.is_live]


class Queue:
    """The jobs of one source that may be asked for.

    Args:
        value: what looks are worth.
        jobs: all that are watched.
        price: what a look must be worth.
        batch: jobs that share one request.
    """

    def __init__(self, value: Value, jobs: Table, *, price: float, batch: int) -> None:
        self._jobs = jobs
        self._batch = batch
        self.turns = Turns(value, jobs, price=price, batch=batch, place=1)
        self._dear = Turns(value, jobs, price=price, batch=1, place=3)
        """Of those that cost a request each and had to be left behind by a look that was due."""
        self._halves: deque[list[int]] = deque()
        """Of batches that were refused as a whole; they go first, one at a time."""

    def add(self, slot: int, at: float) -> None:
        """Queue a job that is due then."""
        self.turns.add(slot, at)

    def hasten(self, slot: int, at: float) -> None:
        """Let a job be due sooner, whatever it is worth; not one that is in a hand."""
        self.turns.hasten(slot, at)

    def is_ahead(self, slot: int, now: float) -> bool:
        """Whether a job is not due yet."""
        return self.turns.is_ahead(slot, now) or self._dear.is_ahead(slot, now)

    def due(self, now: float) -> int:
        """How many are due, counted up to about ``turns.MOST_COUNTED``."""
        return self.turns.due(now) + self._dear.due(now)

    def next_at(self) -> float:
        """When the next one is due."""
        return 0.0 if self._halves else min(self.turns.next_at(), self._dear.next_at())

    def pick(self, hand: Hand, count: int, now: float, dear: Dear | None) -> None:
        """Take so many: those that are due, then those that are next, which cost nothing.

        Where more are due than a request takes, the looks go first that are worth most.
        A job that does cost a request of its own (``dear``) is taken if it is due, and one at most.
        """
        self._put_back(hand)
        hand.asked_at = now
        hand.picked = self._picked_again(hand) or self._picked_soonest(hand, count, now, dear)

    def split(self, hand: Hand) -> bool:
        """The API refused this batch: ask for its halves.  False if it was a single job."""
        rids = [one.rid for one in hand.picked]
        if len(rids) < 2:  # noqa: PLR2004
            return False
        hand.lay_down()
        half = len(rids) // 2
        self._halves.extendleft((rids[half:], rids[:half]))
        return True

    def _put_back(self, hand: Hand) -> None:
        """A look may pick twice: its first request was rejected by a quota, and it goes once more."""
        if hand.half:  # its jobs are in no other order
            self._halves.appendleft(hand.half)
            hand.lay_down()
        for one in hand.lay_down():
            is_costly = hand.costly is not None and one.rid == hand.costly.rid
            turns = self._dear if is_costly else self.turns
            turns.add(one.slot, self._jobs.at[one.slot])

    def _picked_again(self, hand: Hand) -> list[Watched]:
        while self._halves:
            hand.half = self._halves.popleft()
            batch = [self._jobs[rid] for rid in hand.half if rid in self._jobs]
            if batch:
                return batch
        hand.half = []
        return []

    def _picked_soonest(
        self, hand: Hand, count: int, now: float, dear: Dear | None
    ) -> list[Watched]:
        most = min(count, self._batch)
        first = hand.costly = self._next_dear(now, dear)
        picked = [] if first is None else [first]
        left: list[Watched] = []
        set_aside = 0
        for slot in self.turns.in_order(now, most) if len(picked) < most else ():
            one = Watched(self._jobs, slot)
            is_first = not (left or set_aside) and picked in ([], [first])
            if one.odd and is_first and self._jobs.at[slot] <= now:
                picked = [one]  # alone
                break
            if one.odd:
                left.append(one)
            elif dear is None or not dear(one):
                picked.append(one)
            elif hand.costly is None and self._jobs.at[slot] <= now:
                hand.costly = one
                picked.append(one)
            else:
                self._dear.add(slot, self._jobs.at[slot])
                set_aside += 1
            if len(picked) == most or set_aside == SET_ASIDE * self._batch:
                break
        for one in left:
            self.turns.add(one.slot, self._jobs.at[one.slot])
        self.turns.went([one.slot for one in picked], len(self._jobs), now)
        if first is not None and first not in picked:
            self._dear.add(first.slot, self._jobs.at[first.slot])
            hand.costly = None
        return picked

    def _next_dear(self, now: float, dear: Dear | None) -> Watched | None:
        """The one of those set aside whose turn it is; who isn't dear any more joins the others."""
        while (due := self._dear.next_at()) <= now and due < math.inf:
            slot = next(self._dear.in_order(now, 1))
            self._dear.went([slot], len(self._dear), now)
            one = Watched(self._jobs, slot)
            if dear is not None and dear(one):
                return one
            self.turns.add(slot, self._jobs.at[slot])
        return None
