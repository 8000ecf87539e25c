"""The only loop that waits.  It asks the machine, obeys, and owns cancellation and time-outs.

    enter -> attempt -> judge -> answer --Return/Raise--> out
      ^                            |
      +---- discard, sleep <-- Again

The guard owns no task.  While calls are parked, one of them (the leader) sleeps until the machine's
next wake and pumps; when it leaves, the lead passes on at once.  Cancellation passes through every
await untouched, and what the call held goes back to the machine.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any, Literal, TypedDict

import anyio
from anyio.lowlevel import RunVar

from resilience import observe
from resilience._core.admission.machine import Machine
from resilience._core.admission.model import (
    Again,
    Answer,
    Go,
    Judgement,
    Keys,
    Park,
    Permit,
    Place,
    Raise,
    Reason,
    Refuse,
    Return,
    ScopeKey,
    Ticket,
)
from resilience._core.instants import CALENDAR_NAP, Instant, Now
from resilience._core.policy.calendar import next_reset
from resilience._core.policy.classify import ATTEMPT_TIMEOUT_RULE
from resilience._core.policy.model import (
    ACCOUNT,
    ENDPOINT,
    REQUEST,
    Certainty,
    Classification,
    Verdict,
)
from resilience._core.policy.repeat import is_our_duplicate, may_repeat
from resilience._core.policy.table import OTHER
from resilience.policies import Policy
from resilience.records import AttemptRecord, CallRecord, Record

INFINITE = float("inf")


class CallSettings(TypedDict, total=False):
    """What ``Guard.options`` and ``Guard.using`` take.  Times are seconds or timedelta."""

    max_attempts: int
    """Attempts in all, the first included (4)."""
    attempt_timeout: float | timedelta | None
    """For one attempt (None: no limit)."""
    deadline: float | timedelta | None
    """For the call, waits included (None)."""
    max_wait: float | timedelta | None
    """What the call may spend waiting for quotas and doors (60); None is for ever."""
    idempotent: bool | None
    """May it be repeated after it may have been done?  None asks the endpoint, then the method."""
    endpoint: str | None
    """The endpoint's name, instead of finding it by path or function name."""
    on_failure: Literal["raise", "return"]
    """``return`` gives the last result even if it failed."""
    cost: float
    """Units that the call takes of a quota (1).  Kept for pacing; it has no effect yet."""
    stream: bool
    """The result is a stream.  Kept for streaming calls; it has no effect yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``CallSettings`` with their defaults, checked."""

    max_attempts: int = 4
    attempt_timeout: float | timedelta | None = None
    deadline: float | timedelta | None = None
    max_wait: float | timedelta | None = 60.0
    idempotent: bool | None = None
    endpoint: str | None = None
    cost: float = 1.0
    on_failure: str = "raise"
    stream: bool = False

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            msg = f"max_attempts={self.max_attempts!r}: at least 1, the first attempt included"
            raise ValueError(msg)
        if self.on_failure not in ("raise", "return"):
            msg = f"on_failure={self.on_failure!r}: 'raise' or 'return'"
            raise ValueError(msg)
        for name in ("attempt_timeout", "deadline", "max_wait"):
            value = getattr(self, name)
            if value is not None and not seconds(value) >= 0:
                msg = f"{name}={value!r}: seconds (or a timedelta) of at least 0, or None"
                raise ValueError(msg)

    def changed(self, changes: dict[str, Any]) -> "Options":
        """A copy with some settings replaced."""
        return replace(self, **changes) if changes else self


def seconds(value: float | timedelta | None) -> float:
    """Seconds of a time setting; None is for ever."""
    if value is None:
        return INFINITE
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


@dataclass(slots=True)
class Attempted:
    """What one attempt brought.  ``found`` is None for a success that needed no closer look."""

    value: Any = None
    exception: Exception | None = None
    found: Classification | None = None
    body: Any = None
    request: tuple[str, str] | None = None
    """Endpoint and method, as an adapter below a call saw them; the call itself can't know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a call ended.  ``reason`` is None for success."""

    last: Attempted | None
    reason: Reason | None
    resume_at: Instant | None
    because: Classification | None
    attempts: int
    waited: float
    started: float
    ended: Now
    endpoint: str


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
    ) -> None:
        self.policy = policy
        self.account = account
        self.machine = Machine()
        self.wall = wall
        self.chance = chance
        self.observer = observer
        self.active = 0
        self._orders = count()
        self._keys: dict[str, Keys] = {}
        self._events: dict[Ticket, anyio.Event] = {}
        self._leader: Ticket | None = None
        self._planned = INFINITE
        self._run: object | None = None
        self.clock: Callable[[], float] = self._first_reading
        self._last = Now(0.0, 0.0)
        self._told: set[str] = set()

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
            plain = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
            found = time.monotonic if plain else loop.time
        if found != self.clock:
            self.clock = found
        return found

    def now(self) -> Now:
        """Both clocks; notices when the event loop is another one than before."""
        now = Now(anyio.current_time(), self.wall())
        run = _RUN.get(None)
        if run is None:
            run = object()
            _RUN.set(run)
        if run is not self._run:
            self._move(run, now)
        self._last = now
        return now

    def _move(self, run: object, now: Now) -> None:
        if self._run is not None:
            if self.active:
                msg = (
                    "this guard is at work in another event loop: make one per loop "
                    f"(account {self.account!r}, {self.active} calls under way)"
                )
                raise RuntimeError(msg)
            self.machine.carry(self._last, now)
        self._run = run

    def keys(self, endpoint: str) -> Keys:
        """The doors that a call of this endpoint must pass."""
        keys = self._keys.get(endpoint)
        if keys is None:
            groups = [g for g, members in self.policy.table.groups.items() if endpoint in members]
            names = [ACCOUNT, *(f"group:{g}" for g in sorted(groups)), f"{ENDPOINT}:{endpoint}"]
            keys = self._keys[endpoint] = Keys(endpoint, tuple(map(ScopeKey, names)))
        return keys

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
            next(self._orders),
            self.keys(endpoint),
            deadline=deadline,
            max_wait=seconds(options.max_wait),
            max_attempts=options.max_attempts,
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
        fresh = topic not in self._told
        self._told.add(topic)
        return fresh

    # -- waiting ------------------------------------------------------------------------------

    async def enter(self, ticket: Ticket, last: "Attempted | None" = None) -> Permit | Refuse:
        """Wait until the machine lets this call send an attempt, or refuses it.

        What the ``last`` attempt brought is discarded before any wait; a refusal on the spot leaves
        it intact for the caller.
        """
        match self.machine.ask(ticket, ticket.keys, self.now()):
            case Go(permit):
                return permit
            case Refuse() as refusal:
                return refusal
            case Park():
                if last is not None:
                    release_response(last)
                await self._wait(ticket)
        if ticket.place is Place.REFUSED and ticket.refusal is not None:
            return ticket.refusal
        assert ticket.permit is not None  # noqa: S101  # a ticket leaves the queue in two ways
        return ticket.permit

    async def _wait(self, ticket: Ticket) -> None:
        try:
            self._events[ticket] = anyio.Event()
            self.pump()
            while ticket.place is Place.PARKED:
                event = self._events[ticket] = anyio.Event()
                if self._leader is None or self._leader is ticket:
                    self._leader = ticket
                    self._planned = self._pump()
                    if ticket.place is Place.PARKED:
                        await self._sleep(event)
                else:
                    await event.wait()
        except BaseException:
            self.machine.leave(ticket, self.now())  # also gives back a grant that came too late
            raise
        finally:
            del self._events[ticket]
            if self._leader is ticket:
                self._leader = None
                self._planned = INFINITE
            self.pump()

    async def _sleep(self, event: anyio.Event) -> None:
        left = self._planned - anyio.current_time()
        with anyio.move_on_after(max(left, 0.0) if left < INFINITE else CALENDAR_NAP):
            await event.wait()

    def pump(self) -> None:
        """Let the machine decide, wake who is concerned, and see that somebody is watching."""
        if not self.machine.parked and not self._events:
            return
        wake = self._pump()
        leader = self._leader
        if leader is None:
            leader = next((t for t in self._events if t.place is Place.PARKED), None)
        elif wake >= self._planned:
            return
        if leader is not None:
            self._events[leader].set()

    def _pump(self) -> float:
        grants, refusals, wake = self.machine.pump(self.now())
        for ticket in (*grants, *refusals):
            self._events[ticket].set()
        return INFINITE if wake is None else wake


class Call:
    """One guarded call on the slow lane: everything that its attempts have in common."""

    def __init__(
        self,
        shared: Shared,
        options: Options,
        *,
        endpoint: str,
        method: str | None = None,
        started: float | None = None,
        deadline: float | None = None,
    ) -> None:
        now = shared.now()
        self.shared = shared
        self.options = options
        self.endpoint = endpoint
        self.method = method
        self.started = now.loop if started is None else started
        left = min(seconds(options.deadline), INFINITE if deadline is None else deadline)
        self.ticket = shared.ticket(options, endpoint, self.started + left)
        self.maybe = 0
        self._described = shared.policy.endpoints.get(endpoint)

    async def run(
        self,
        attempt: Callable[[], Awaitable[Attempted]],
        *,
        replayable: Callable[[Attempted], bool] = lambda _: True,
        first: Attempted | None = None,
        epoch: int = 0,
    ) -> Finished:
        """Attempt until the machine says that it is over.

        Args:
            attempt: makes one attempt and judges it; raises nothing but cancellation.
            replayable: whether the request can be sent once more after this attempt.
            first: an attempt that was already made (on the fast lane).
            epoch: what dates ``first``.
        """
        self.shared.active += 1
        try:
            permit: Permit | None = None
            if first is not None:
                permit = Permit(self.ticket, epoch)
                self.ticket.sent = 1
            while True:
                if permit is None:
                    entered = await self.shared.enter(self.ticket, first)
                    if isinstance(entered, Refuse):
                        return self._refused(entered, first)
                    permit = entered
                    if first is not None:
                        release_response(first)
                    first = await self._attempt(attempt, permit)
                    if first is None:
                        return self._overdue(permit)
                assert first is not None  # noqa: S101
                answer = self._answer(permit, first, replayable)
                if not isinstance(answer, Again):
                    return self._over(first, answer)
                await self._pause(answer, first)
                permit = None
        finally:
            self.shared.active -= 1

    # -- one attempt --------------------------------------------------------------------------

    async def _attempt(
        self, attempt: Callable[[], Awaitable[Attempted]], permit: Permit
    ) -> Attempted | None:
        """What it brought; None if the call's own deadline cut it."""
        self.ticket.sent += 1
        timeout = seconds(self.options.attempt_timeout)
        limit = min(self.ticket.deadline, anyio.current_time() + timeout)
        try:
            if limit == INFINITE:
                return await attempt()
            with anyio.CancelScope(deadline=limit) as scope:
                return await attempt()
        except BaseException:
            self._give_back(permit)
            raise
        assert scope.cancelled_caught  # noqa: S101  # the only way to get here
        if anyio.current_time() >= self.ticket.deadline:
            return None
        return Attempted(exception=TimeoutError(f"no answer in {timeout:g} s"), found=_timed_out())

    def _give_back(self, permit: Permit) -> None:
        self.shared.machine.leave(permit, self.shared.now())
        self.shared.pump()

    def _overdue(self, permit: Permit) -> Finished:
        self._give_back(permit)
        return self._finished(None, Reason.DEADLINE, None, None)

    # -- judging ------------------------------------------------------------------------------

    def _answer(
        self, permit: Permit, tried: Attempted, replayable: Callable[[Attempted], bool]
    ) -> Answer:
        shared, found = self.shared, tried.found
        if tried.request is not None:
            self._learn_request(*tried.request)
        now = shared.now()
        if found is None or found.verdict is Verdict.SUCCESS:
            judgement = Judgement(verdict=Verdict.SUCCESS, rule=_SUCCESS.rule)
        elif is_our_duplicate(found, endpoint=self._described, earlier_maybe=self.maybe):
            found = tried.found = replace(found, verdict=Verdict.SUCCESS)
            judgement = Judgement(verdict=Verdict.SUCCESS, rule=found.rule)
        else:
            judgement = self._judgement(found, now, can_be_sent=replayable(tried))
        answer = shared.machine.answer(permit, judgement, now, shared.chance())
        if isinstance(answer, Raise) and answer.reason is Reason.NOT_REPEATABLE:
            self._tell_not_repeatable(found)
        self._record_attempt(found, answer, now)
        shared.pump()
        return answer

    def _learn_request(self, endpoint: str, method: str) -> None:
        """An adapter below saw what a function's name did not tell: where it went, and how."""
        self.method = self.method or method
        if self.endpoint == OTHER != endpoint:
            self.endpoint = endpoint
            self.ticket.keys = self.shared.keys(endpoint)
            self._described = self.shared.policy.endpoints.get(endpoint)

    def _judgement(self, found: Classification, now: Now, *, can_be_sent: bool) -> Judgement:
        repeatable = may_repeat(
            found.certainty,
            idempotent=self.options.idempotent,
            endpoint=self._described,
            method=self.method,
            earlier_maybe=self.maybe,
        )
        self.maybe += found.certainty is not Certainty.NOT_EXECUTED
        until = found.rule.wait.until
        return Judgement(
            verdict=found.verdict,
            rule=found.rule,
            recovers=found.recovers,
            scope=self.shared.scope(found, self.endpoint),
            hint=found.hint.seconds if found.hint else None,
            repeatable=repeatable and can_be_sent,
            resets_at=next_reset(until, now.wall) if until else None,
            because=found,
        )

    def _tell_not_repeatable(self, found: Classification | None) -> None:
        if found is not None and self.shared.once(f"not repeatable: {self.endpoint}"):
            observe.LOG.warning(
                "%s on endpoint %r was not retried: the work may have been done, and nothing says "
                "that it may be done twice (idempotent=True, or repeat = 'safe' in the policy)",
                found.code,
                self.endpoint,
            )

    async def _pause(self, again: Again, last: Attempted) -> None:
        left = again.not_before - anyio.current_time()
        if left > 0:
            release_response(last)  # before any wait: it may hold a connection
            await anyio.sleep(left)

    # -- the end ------------------------------------------------------------------------------

    def _over(self, last: Attempted, answer: Answer) -> Finished:
        if isinstance(answer, Return):
            return self._finished(last, None, None, last.found)
        assert isinstance(answer, Raise)  # noqa: S101
        return self._finished(last, answer.reason, answer.resume_at, last.found)

    def _refused(self, refusal: Refuse, last: Attempted | None) -> Finished:
        return self._finished(last, refusal.reason, refusal.resume_at, refusal.because)

    def _finished(
        self,
        last: Attempted | None,
        reason: Reason | None,
        resume_at: Instant | None,
        because: Classification | None,
    ) -> Finished:
        now = self.shared.now()
        finished = Finished(
            last=last,
            reason=reason,
            resume_at=resume_at,
            because=because,
            attempts=self.ticket.sent,
            waited=self.ticket.waited,
            started=self.started,
            ended=now,
            endpoint=self.endpoint,
        )
        self._record_call(finished)
        return finished

    def _record_attempt(self, found: Classification | None, answer: Answer, now: Now) -> None:
        found = found or _SUCCESS
        if not self.shared.tells(found.verdict is not Verdict.SUCCESS):
            return
        again = answer if isinstance(answer, Again) else None
        left = self.ticket.deadline - now.loop
        reason = answer.reason.value if isinstance(answer, Raise) else None
        self.shared.tell(
            AttemptRecord(
                endpoint=self.endpoint,
                account=self.shared.account,
                policy=self.shared.policy.version,
                code=found.code,
                verdict=found.verdict.value,
                matched_by=found.matched_by,
                attempt=self.ticket.sent,
                wait=again.expected if again else None,
                wait_reason=again.wait_reason if again else reason,
                deadline_left=left if left < INFINITE else None,
                certainty=found.certainty.value,
                recovers=found.recovers.value if found.recovers else None,
                hint_problems=tuple(p.partition(":")[0] for p in found.problems),
            )
        )

    def _record_call(self, finished: Finished) -> None:
        if not self.shared.tells(finished.reason is not None):
            return
        found = finished.because or (finished.last.found if finished.last else None)
        if found is None and finished.reason is None:
            found = _SUCCESS
        self.shared.tell(
            CallRecord(
                endpoint=self.endpoint,
                account=self.shared.account,
                policy=self.shared.policy.version,
                code=found.code if found else None,
                verdict=found.verdict.value if found else None,
                matched_by=found.matched_by if found else None,
                attempts=finished.attempts,
                waited=finished.waited,
                elapsed=finished.ended.loop - finished.started,
                reason=finished.reason.value if finished.reason else None,
            )
        )


def release_response(tried: Attempted) -> None:
    """A failed result that is a response may hold a connection until it is released."""
    if getattr(tried.value, "connection", None) is not None and hasattr(tried.value, "release"):
        tried.value.release()
        tried.value = None


def _timed_out() -> Classification:
    return Classification(
        verdict=Verdict.RETRYABLE,
        code="TimeoutError",
        message="",
        rule=ATTEMPT_TIMEOUT_RULE,
        matched_by="attempt_timeout",
    )


_SUCCESS = Policy.from_dict({"name": "none"}).classify(status=200)
