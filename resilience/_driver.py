"""The only loop that attempts and waits.  It asks the machine, obeys, and owns cancellation.

    enter -> attempt -> judge -> answer --Return/Raise--> out
      ^                            |
      +---- discard, sleep <-- Again

Cancellation passes through every await untouched, and what the call held goes back to the machine.
(Waiting in the queue is in ``_shared``, because those who wait have it in common.)
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Self

import anyio

from resilience import observe
from resilience._attempt import PLAIN_SUCCESS, Attempted, Finished, release_response
from resilience._core.admission.model import (
    Admission,
    Again,
    Answer,
    Go,
    Judgement,
    Park,
    Permit,
    Raise,
    Reason,
    Refuse,
    Return,
)
from resilience._core.instants import Instant, Now
from resilience._core.policy.calendar import next_reset
from resilience._core.policy.classify import ATTEMPT_TIMEOUT_RULE
from resilience._core.policy.model import Certainty, Classification, Verdict
from resilience._core.policy.repeat import is_our_duplicate, may_repeat
from resilience._core.policy.table import OTHER
from resilience._options import INFINITE, Options, seconds
from resilience._shared import Shared
from resilience.errors import ResilienceError
from resilience.records import AttemptRecord, CallRecord, ShadowRecord


class Call:
    """One guarded call on the slow lane: everything that its attempts have in common.

    It is under way inside ``with``.  To wait for its first attempt it needs no more than its ticket,
    so whoever wants to hold little meanwhile enters the queue first and gives ``run`` what came of it.
    """

    __slots__ = (
        "_described", "_run", "endpoint", "maybe", "method", "not_done", "options", "shared", "started",
        "ticket",
    )  # fmt: skip

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
        self.not_done = 0
        """Attempts that were judged, and surely did nothing."""
        self._described = shared.policy.endpoints.get(endpoint)
        self._run: object = None

    def __enter__(self) -> Self:
        self._run = self.shared.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.shared.end(self._run)

    async def run(
        self,
        attempt: Callable[[], Awaitable[Attempted]],
        *,
        replayable: Callable[[Attempted], bool],
        entered: Permit | Refuse | None = None,
        first: Attempted | None = None,
        epoch: int = 0,
    ) -> Finished:
        """Attempt until the machine says that it is over; once, if the guard only watches.

        Args:
            attempt: makes one attempt and judges it; raises nothing but cancellation.
            replayable: whether the request can be sent once more after this attempt.
            entered: what ``Shared.enter`` gave, if that was asked before.
            first: an attempt that was already made (on the fast lane).
            epoch: what dates ``first``.
        """
        if not self.shared.enforce:
            return await self._watch(attempt, replayable, first, epoch)
        permit: Permit | None = None
        if first is not None:
            permit = Permit(self.ticket, epoch, sent_at=self.started)
            self.ticket.sent = 1
            self.ticket.order = next(self.shared.machine.early)
            if self.shared.now().loop >= self.ticket.deadline:
                with self.shared.holding(permit):
                    await release_response(first)
                return self._overdue(permit)
        while True:
            if permit is None:
                entered = entered or await self.shared.enter(self.ticket, first)
                if isinstance(entered, Refuse):
                    return self._refused(entered, first)
                permit, entered = entered, None
                if first is not None:
                    with self.shared.holding(permit):
                        await release_response(first)
                first = await self._attempt(attempt, permit)
                if first is None:
                    return self._overdue(permit)
            assert first is not None  # noqa: S101
            answer = self._answer(permit, first, replayable)
            if not isinstance(answer, Again):
                return self._over(first, answer)
            permit = None
            await self._pause(answer, first)

    async def _watch(
        self,
        attempt: Callable[[], Awaitable[Attempted]],
        replayable: Callable[[Attempted], bool],
        first: Attempted | None,
        epoch: int,
    ) -> Finished:
        """Attempt once, whatever the machine says, and tell what it would have done."""
        machine = self.shared.machine
        before: Admission = Park()
        if first is None:
            now = self.shared.now()
            before = machine.ask(self.ticket, self.ticket.keys, now)
            permit = machine.overrule(self.ticket, before, now)
            self.ticket.sent += 1
            with self.shared.holding(permit):
                first = await attempt()
        else:
            permit = Permit(self.ticket, epoch, sent_at=self.started)
            before = Go(permit)
            self.ticket.sent = 1
        now = self.shared.now()
        found, answer = self._judged(permit, first, replayable, now)
        machine.leave(self.ticket, now)  # a retry that it would have paid for
        self._record_shadow(found, before, answer)
        return self._ended(first, None, None, None)

    # -- one attempt --------------------------------------------------------------------------

    async def _attempt(
        self, attempt: Callable[[], Awaitable[Attempted]], permit: Permit
    ) -> Attempted | None:
        """What it brought; None if the call's own deadline cut it."""
        self.ticket.sent += 1
        timeout = seconds(self.options.attempt_timeout)
        limit = min(self.ticket.deadline, anyio.current_time() + timeout)
        with self.shared.holding(permit):
            if limit == INFINITE:
                return await attempt()
            with anyio.CancelScope(deadline=limit) as scope:
                return await attempt()
        assert scope.cancelled_caught  # noqa: S101  # the only way to get here
        if anyio.current_time() >= self.ticket.deadline:
            return None
        return timed_out(timeout)

    def _overdue(self, permit: Permit) -> Finished:
        now = self.shared.now()
        self._record_attempt(_TIMED_OUT, Raise(Reason.DEADLINE), now)
        self.shared.leave(permit)
        return self._finished(None, Reason.DEADLINE, None, None)

    # -- judging ------------------------------------------------------------------------------

    def _answer(
        self, permit: Permit, tried: Attempted, replayable: Callable[[Attempted], bool]
    ) -> Answer:
        now = self.shared.now()
        found, answer = self._judged(permit, tried, replayable, now)
        if isinstance(answer, Raise) and answer.reason is Reason.NOT_REPEATABLE:
            self._tell_not_repeatable(found)
        self._record_attempt(found, answer, now)
        self.shared.pump()
        return answer

    def _judged(
        self, permit: Permit, tried: Attempted, replayable: Callable[[Attempted], bool], now: Now
    ) -> tuple[Classification | None, Answer]:
        shared, found = self.shared, tried.found
        if tried.request is not None:
            self._learn_request(*tried.request)
        if found is None or found.verdict is Verdict.SUCCESS:
            judgement = Judgement(verdict=Verdict.SUCCESS, rule=PLAIN_SUCCESS.rule)
        elif is_our_duplicate(found, endpoint=self._described, earlier_maybe=self.maybe):
            found = tried.found = replace(found, verdict=Verdict.SUCCESS)
            judgement = Judgement(verdict=Verdict.SUCCESS, rule=found.rule)
        else:
            spent = tried.spent and not self.options.idempotent
            self._count(tried, found)
            judgement = self._judgement(found, now, can_be_sent=replayable(tried) and not spent)
            if found.unlisted:
                shared.saw_unlisted(found, self.endpoint, now)
        return found, shared.machine.answer(permit, judgement, now, shared.chance())

    def _count(self, tried: Attempted, found: Classification) -> None:
        error = tried.exception
        nested = error.certainty if isinstance(error, ResilienceError) else found.certainty
        self.not_done += nested is Certainty.NOT_EXECUTED and not tried.spent

    def _certainty(self, reason: Reason | None) -> Certainty:
        """Of the whole call: it surely did nothing if each of its attempts surely did nothing."""
        if reason is None:
            return Certainty.EXECUTED
        is_sure = self.not_done == self.ticket.sent
        return Certainty.NOT_EXECUTED if is_sure else Certainty.MAYBE_EXECUTED

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
            with self.shared.holding(self.ticket):
                await release_response(last)  # before any wait: it may hold a connection
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
        finished = self._ended(last, reason, resume_at, because)
        self._record_call(finished)
        return finished

    def _ended(
        self,
        last: Attempted | None,
        reason: Reason | None,
        resume_at: Instant | None,
        because: Classification | None,
    ) -> Finished:
        now = self.shared.now()
        return Finished(
            last=last,
            reason=reason,
            resume_at=resume_at,
            because=because,
            attempts=self.ticket.sent,
            waited=self.ticket.waited,
            started=self.started,
            ended=now,
            endpoint=self.endpoint,
            certainty=self._certainty(reason),
        )

    def _record_attempt(self, found: Classification | None, answer: Answer, now: Now) -> None:
        found = found or PLAIN_SUCCESS
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
                unlisted=found.unlisted,
            )
        )

    def _record_shadow(
        self, found: Classification | None, before: Admission, answer: Answer
    ) -> None:
        found = found or PLAIN_SUCCESS
        if not self.shared.tells(found.verdict is not Verdict.SUCCESS):
            return
        again = answer if isinstance(answer, Again) else None
        self.shared.tell(
            ShadowRecord(
                endpoint=self.endpoint,
                account=self.shared.account,
                policy=self.shared.policy.version,
                code=found.code,
                verdict=found.verdict.value,
                matched_by=found.matched_by,
                before=_BEFORE[type(before)],
                before_reason=before.reason.value if isinstance(before, Refuse) else None,
                after=_AFTER[type(answer)],
                after_reason=again.wait_reason
                if again
                else (answer.reason.value if isinstance(answer, Raise) else None),
                wait=again.expected if again else None,
                certainty=found.certainty.value,
                recovers=found.recovers.value if found.recovers else None,
                unlisted=found.unlisted,
            )
        )

    def _record_call(self, finished: Finished) -> None:
        if not self.shared.tells(finished.reason is not None):
            return
        found = finished.found
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
                unlisted=found is not None and found.unlisted,
            )
        )


def timed_out(limit: float) -> Attempted:
    """An attempt that did not answer within so many seconds; nobody knows what became of it."""
    return Attempted(exception=TimeoutError(f"no answer in {limit:g} s"), found=_TIMED_OUT)


_TIMED_OUT = Classification(
    verdict=Verdict.RETRYABLE,
    code="TimeoutError",
    message="",
    rule=ATTEMPT_TIMEOUT_RULE,
    matched_by=ATTEMPT_TIMEOUT_RULE.key,
)


_BEFORE: dict[type, str] = {Go: "go", Park: "wait", Refuse: "refuse"}
_AFTER: dict[type, str] = {Return: "return", Again: "retry", Raise: "raise"}
