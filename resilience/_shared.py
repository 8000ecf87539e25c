"""The live state of one account: clocks, doors, and the queue of those who wait before them.

The guard owns no task.  While calls are parked, one of them (the leader) sleeps until the machine's
next wake and pumps; when it leaves, the lead passes on at once.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import anyio
from anyio.lowlevel import RunVar

from resilience import observe
from resilience._attempt import Attempted, release_response
from resilience._core.admission.door import Door
from resilience._core.admission.lane import Lane
from resilience._core.admission.machine import Machine
from resilience._core.admission.model import (
    Go,
    Keys,
    Kind,
    Permit,
    Place,
    Refuse,
    ScopeKey,
    Ticket,
)
from resilience._core.instants import CALENDAR_NAP, Now
from resilience._core.policy.model import ACCOUNT, ENDPOINT, REQUEST, Classification, Verdict
from resilience._core.policy.unlisted import Unlisted
from resilience._hedge import Durations
from resilience._options import INFINITE, Options, seconds
from resilience._waker import Waker, new_waker
from resilience.policies import Policy
from resilience.records import Record

MOST_TOPICS = 1000
"""Things said once that are remembered: a session may talk to any number of hosts."""

_LOOP_TIME = asyncio.BaseEventLoop.time
_RUN: RunVar[object] = RunVar("resilience.run")


class Shared:
    """The live state of one account: what every view and adapter of a guard has in common."""

    def __init__(
        self,
        policy: Policy,
        account: str,
        *,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        observer: observe.Observer = observe.default,
        machine: Machine,
        enforce: bool = True,
    ) -> None:
        self.enforce = enforce
        self.policy = policy
        self.account = account
        self.machine = machine
        self.wall = wall
        self.chance = chance
        self.observer = observer
        self.active = 0
        self._keys: dict[str, Keys] = {}
        self.lanes_by_name: dict[str, Lane] = {}
        self.lane_of_request = lru_cache(MOST_TOPICS)(self._lane_of_request)
        self._wakers: dict[Ticket, Waker] = {}
        self._leader: Ticket | None = None
        self._planned = INFINITE
        self._run: object | None = None
        self.clock: Callable[[], float] = self._first_reading
        self._last = Now(0.0, 0.0)
        self._told: set[str] = set()
        self.sending: set[int] = set()
        """The requests that an adapter is sending, by identity: another one below lets them be."""
        self._durations: dict[str, Durations] = {}
        self._listeners: list[Callable[[Door], None]] = []
        self.unlisted = Unlisted()

    # -- clocks and keys ----------------------------------------------------------------------

    def began(self, reading: float) -> float | None:
        """What ``clock`` read a moment ago; None if that was the clock of an earlier event loop."""
        before = self.clock
        return reading if self._find_clock() == before else None

    def _first_reading(self) -> float:
        return self._find_clock()()

    def _find_clock(self) -> Callable[[], float]:
        """The running loop's clock in its cheapest form, kept for the fast lane."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            found: Callable[[], float] = anyio.current_time
        else:
            # a loop in virtual time has a clock of its own, by class or patched into the instance
            plain = getattr(loop.time, "__func__", None) is _LOOP_TIME
            found = time.monotonic if plain else loop.time
        self.clock = found
        return found

    def now(self) -> Now:
        """Both clocks; notices when the event loop is another one than before."""
        try:
            run: object = asyncio.get_running_loop()
            now = Now(run.time(), self.wall())  # type: ignore[attr-defined]  # it is a loop
        except RuntimeError:
            run, now = _trio_run(), Now(anyio.current_time(), self.wall())
        if run is not self._run:
            self._move(run, now)
        self._last = now
        return now

    def _move(self, run: object, now: Now) -> None:
        if self._run is not None:
            if getattr(self._run, "is_closed", bool)():
                self._bury()
            if self.active:
                msg = (
                    "this guard is at work in another event loop: make one per loop "
                    f"(account {self.account!r}, {self.active} calls under way)"
                )
                raise RuntimeError(msg)
            self.machine.carry(self._last, now)
        self._run = run

    def _bury(self) -> None:
        """The last loop was closed with calls under way; they can't go on, and hold nothing."""
        self.machine.forget_waiting()
        self._wakers.clear()
        self._leader, self._planned = None, INFINITE
        self.active = 0

    def begin(self) -> object:
        """A call on the slow lane begins; gives what ``end`` takes."""
        self.active += 1
        return self._run

    def end(self, run: object) -> None:
        """It is over; one of a buried loop was forgotten before."""
        self.active -= run is self._run

    def keys(self, endpoint: str) -> Keys:
        """The doors that a call of this endpoint must pass."""
        keys = self._keys.get(endpoint)
        if keys is None:
            groups = [g for g, members in self.policy.table.groups.items() if endpoint in members]
            names = [ACCOUNT, *(f"group:{g}" for g in sorted(groups)), f"{ENDPOINT}:{endpoint}"]
            keys = self._keys[endpoint] = Keys(endpoint, tuple(map(ScopeKey, names)))
        return keys

    def lane(self, endpoint: str) -> Lane:
        """The live state of an endpoint."""
        return self.machine.lane(self.keys(endpoint))

    def durations(self, endpoint: str) -> Durations:
        """How long the calls of an endpoint took, for hedging."""
        return self._durations.setdefault(endpoint, Durations())

    def _lane_of_request(self, method: str, path: str) -> Lane:
        return self.lane(self.policy.table.endpoint_of_request(method, path))

    def scope(self, found: Classification, endpoint: str) -> ScopeKey | None:
        """The door that a rejection speaks about; None for this request alone."""
        if found.verdict not in (Verdict.QUOTA, Verdict.FATAL) or found.scope == REQUEST:
            return None
        if found.scope == ACCOUNT:
            return ScopeKey(ACCOUNT)
        group = ScopeKey(f"group:{found.scope}")
        # a group that the endpoint isn't in would close a door that its calls never pass
        return group if group in self.keys(endpoint).scopes else ScopeKey(f"{ENDPOINT}:{endpoint}")

    def ticket(self, options: Options, endpoint: str, deadline: float) -> Ticket:
        """A new call's claim."""
        return Ticket(
            next(self.machine.orders),
            self.keys(endpoint),
            deadline=deadline,
            max_wait=seconds(options.max_wait),
            max_attempts=options.max_attempts,
            cost=options.cost,
            kind=Kind(options.lane),
        )

    def tells(self, failed: bool) -> bool:
        """Whether anybody listens: a record that nobody reads is not built."""
        if self.observer is not observe.default:
            return True
        return observe.LOG.isEnabledFor(logging.INFO if failed else logging.DEBUG)

    def tell(self, record: Record) -> None:
        """Give a record to the observer; one that fails harms no call."""
        try:
            self.observer(record)
        except Exception:  # noqa: BLE001  # the edge to a user's code
            observe.LOG.exception("the observer %r failed on %s", self.observer, record.name)

    def once(self, topic: str) -> bool:
        """True the first time that this topic comes up."""
        if topic in self._told or len(self._told) >= MOST_TOPICS:
            return False
        self._told.add(topic)
        return True

    def saw_unlisted(self, found: Classification, endpoint: str, now: Now) -> None:
        """Count a code that the policy does not list."""
        sighting = self.unlisted.of(str(found.code))
        if sighting is not None:
            sighting.saw(
                [endpoint],
                verdict=found.verdict.value,
                recovers=found.recovers.value if found.recovers else None,
                matched_by=found.matched_by,
                when=(now.wall, now.wall),
            )

    def listen(self, told: Callable[[Door], None]) -> None:
        """Be told of every door that moves."""
        self._listeners.append(told)
        self.machine.moved = self._moved

    def listen_no_more(self, told: Callable[[Door], None]) -> None:
        """Be told no more."""
        if told in self._listeners:
            self._listeners.remove(told)
        if not self._listeners:
            self.machine.moved = None

    def _moved(self, door: Door) -> None:
        for told in self._listeners:
            told(door)

    # -- waiting ------------------------------------------------------------------------------

    async def enter(self, ticket: Ticket, last: "Attempted | None" = None) -> Permit | Refuse:
        """Wait until the machine lets this call send an attempt, or refuses it.

        What the ``last`` attempt brought is discarded before any wait; a refusal on the spot leaves
        it intact for the caller.  All the waiting is in this one frame: whoever waits keeps it.
        """
        match self.machine.ask(ticket, ticket.keys, self.now()):
            case Go(permit):
                return permit
            case Refuse() as refusal:
                return refusal
        try:
            if last is not None:
                await release_response(last)
            while ticket.place is Place.PARKED:
                waker = self._wakers[ticket] = new_waker()
                if self._leader is None or self._leader is ticket:
                    await self._lead(ticket, waker)
                else:
                    self.pump()  # the leader may have to look earlier now
                    await waker
        except BaseException:
            self._gone(ticket)
            self.leave(ticket)  # also gives back a grant that came too late
            raise
        if self._leader is None:
            self.pump()
        if ticket.place is Place.REFUSED and ticket.refusal is not None:
            return ticket.refusal
        assert ticket.permit is not None  # noqa: S101  # a ticket leaves the queue in two ways
        return ticket.permit

    async def _lead(self, ticket: Ticket, waker: Waker) -> None:
        """Decide what can be decided, then sleep until the next decision, or until woken."""
        self._leader = ticket
        self._planned = self._pump()
        if ticket.place is Place.PARKED:
            left = self._planned - anyio.current_time()
            with anyio.move_on_after(max(left, 0.0) if left < INFINITE else CALENDAR_NAP):
                await waker

    def leave(self, held: Ticket | Permit) -> None:
        """A caller is gone: give back what it held, and let others have it."""
        try:
            now = self.now()
        except RuntimeError:  # collected with its loop: there is no clock and nobody to wake
            self.machine.leave(held, self._last)
            return
        self.machine.leave(held, now)
        self.pump()

    @contextmanager
    def holding(self, held: Ticket | Permit) -> Iterator[None]:
        """Whoever is cancelled inside, or fails, leaves nothing behind."""
        try:
            yield
        except BaseException:
            self.leave(held)
            raise

    def _gone(self, ticket: Ticket) -> None:
        """It waits no more, so it can't lead either."""
        self._wakers.pop(ticket, None)
        if self._leader is ticket:
            self._leader, self._planned = None, INFINITE

    def pump(self) -> None:
        """Let the machine decide, wake who is concerned, and see that somebody is watching."""
        if not self.machine.parked:
            return
        wake = self._pump()
        if self._leader is not None:
            if wake < self._planned:
                self._wakers[self._leader].wake()
        elif self._wakers:
            next(iter(self._wakers.values())).wake()  # to lead

    def _pump(self) -> float:
        grants, refusals, wake = self.machine.pump(self.now())
        for ticket in (*grants, *refusals):
            waker = self._wakers.get(ticket)
            if waker is not None:
                waker.wake()
                self._gone(ticket)
        return INFINITE if wake is None else wake


def _trio_run() -> object:
    """Something that is the same as long as a run of trio lasts."""
    run = _RUN.get(None)
    if run is None:
        run = object()
        _RUN.set(run)
    return run
