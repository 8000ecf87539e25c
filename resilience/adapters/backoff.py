"""For those who have ``backoff`` decorators and want to keep them: a policy as their arguments.

::

    rules = Rules("memories_ai", endpoint="list")

    @backoff.on_predicate(rules.wait_gen, rules.predicate, jitter=None)   # errors inside HTTP 200
    @backoff.on_exception(rules.wait_gen, Exception, giveup=rules.giveup, jitter=None)
    async def list_videos(): ...

``jitter=None`` is not optional: the decorators' default draws between 0 and the wait, so that a client
comes back before it may.  The jitter is in ``wait_gen`` already, and never goes below a server's hint.
``max_time`` of a decorator cuts a wait short in the same way; say ``max_wait`` here instead.

Decorators don't share anything: each call learns about a used-up quota by itself and pays a request
for it.  They have no gate, pace, breaker, budget or deadline, and what ``on_predicate`` gives up is
returned, not raised.  All of that is what ``@guard`` is for.

Works with ``backoff`` 2.2 and ``python-backoff`` 3, for sync and async functions.
"""

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from resilience._core.policy.calendar import next_reset
from resilience._core.policy.model import Certainty, Classification, Outcome, Recovers, Verdict
from resilience._core.policy.repeat import may_repeat
from resilience._options import seconds
from resilience.adapters.results import outcome_of_exception, outcome_of_value
from resilience.policies import Policy

__all__ = ("Rules",)


class Rules:
    """A policy's rules in the form that the decorators of ``backoff`` take.

    Args:
        policy: a policy, or the name or path to load one from.
        endpoint: the name of the endpoint, which decides about some codes and about repeats.
        idempotent: whether the call may be repeated after it may have been done; None asks the endpoint.
        max_attempts: attempts that may fail with something retryable, the first included.  A rule may
            allow fewer.  Waiting for a quota costs none.
        max_wait: seconds (or a timedelta) that one call may wait in all; a wait that would go beyond it
            is not begun.  None is for ever.
        chance: random numbers in ``[0, 1)``, one per wait.
        wall: seconds since the epoch.

    Raises:
        PolicyError: the policy can't be loaded.
    """

    __slots__ = (
        "_chance",
        "_endpoint",
        "_idempotent",
        "_max_attempts",
        "_max_wait",
        "_wall",
        "policy",
    )

    def __init__(
        self,
        policy: Policy | str,
        *,
        endpoint: str = "other",
        idempotent: bool | None = None,
        max_attempts: int = 4,
        max_wait: float | timedelta | None = 60.0,
        chance: Callable[[], float] = random.random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy if isinstance(policy, Policy) else Policy.load(policy)
        self._endpoint = endpoint
        self._idempotent = idempotent
        self._max_attempts = max_attempts
        self._max_wait = seconds(max_wait)
        self._chance = chance
        self._wall = wall

    def wait_gen(self) -> Generator[float, Any, None]:
        """A wait generator: gets each failure (a value or an exception) and yields seconds.

        It ends, which tells ``backoff`` to give up, where the failure is final, may not be repeated, or
        has used up its attempts or its time.
        """
        so_far = _Call()
        told = yield 0.0  # both distributions prime it with None, and wait for nothing here
        while True:
            wait = self._wait(self._classified(told), so_far, self._chance())
            if wait is None:
                return
            told = yield wait

    def giveup(self, error: Exception) -> bool:
        """For ``on_exception``: no repetition can help, or none is allowed."""
        return self._wait(self._classified(error), _Call(), 0.0) is None

    def predicate(self, value: Any) -> bool:
        """For ``on_predicate``: this result is a failure that passes by itself.

        A success is False, and so is a final failure: it is returned to the caller as it is.
        """
        found = self._classified(value)
        return found.verdict is not Verdict.SUCCESS and self._wait(found, _Call(), 0.0) is not None

    def _classified(self, told: Any) -> Classification:
        if isinstance(told, BaseException):
            outcome = outcome_of_exception(told)
        else:
            outcome = outcome_of_value(told) or Outcome()
        return self.policy.classify(
            outcome.body,
            status=outcome.status,
            headers=outcome.headers,
            exception=outcome.exception,
            endpoint=self._endpoint,
            method=outcome.method,
            now=self._wall(),
        )

    def _wait(self, found: Classification, so_far: "_Call", draw: float) -> float | None:
        """Seconds to wait before the next attempt; None to give up."""
        rule, turn = found.rule, so_far.turn(found)
        allowed = may_repeat(
            found.certainty,
            idempotent=self._idempotent,
            endpoint=self.policy.endpoints.get(self._endpoint),
            method=None,
            earlier_maybe=so_far.maybe,
        )
        so_far.maybe += found.certainty is not Certainty.NOT_EXECUTED
        if not allowed or not self._passes(found, so_far, turn):
            return None
        wait = rule.wait.delay(turn - 1, draw)
        if rule.wait.until:
            now = self._wall()
            wait = next_reset(rule.wait.until, now) - now
        if found.hint:
            wait = max(wait, found.hint.seconds)
        so_far.waited += wait
        return wait if so_far.waited <= self._max_wait else None

    def _passes(self, found: Classification, so_far: "_Call", turn: int) -> bool:
        """Whether waiting helps, and was not tried too often."""
        if found.verdict is Verdict.RETRYABLE:
            most = min(self._max_attempts, found.rule.max_attempts or self._max_attempts)
            return so_far.failures < most
        if found.recovers not in (Recovers.WINDOW, Recovers.COOLDOWN):
            return False
        escalate = found.rule.escalate  # a window that never opens is a used-up quota
        return escalate is None or (turn < escalate.rejections and so_far.waited < escalate.within)


@dataclass(slots=True)
class _Call:
    """What a call has met so far."""

    waited: float = 0.0
    failures: int = 0
    maybe: int = 0
    turns: dict[str, int] = field(default_factory=dict)

    def turn(self, found: Classification) -> int:
        """How often this rule has spoken in this call, now included."""
        self.failures += found.verdict is Verdict.RETRYABLE
        turn = self.turns[found.rule.key] = self.turns.get(found.rule.key, 0) + 1
        return turn
