"""Crowds in virtual time: many callers, one guard, a server that limits, and what that cost."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from resilience import Guard, Policy, retryable
from resilience.testing import Limited, run_virtual, wall

TRIPS = [pytest.param(trip, id=f"trip-{trip}") for trip in (0.0, 0.05, 0.5)]
RATE = 100.0

_PLAIN = {"required": ["/code", "/msg"], "code": "/code", "message": "/msg", "success": ["0000"]}

HINTED = Policy.from_dict(
    {
        "name": "hinted",
        "extends": "memories_ai",
        "envelope": [
            {
                **_PLAIN,
                "required": ["/code", "/msg", "/retry_after"],
                "retry_after": "/retry_after",
            },
            _PLAIN,
        ],
    }
)
"""Memories.ai, if its rejections said how long to wait."""

PATIENT = Policy.load("memories_ai").with_codes(
    {
        "0001": retryable(
            wait={"backoff": "expo", "factor": 0.4, "max_value": 2.0},
            max_attempts=1000,
            certainty="maybe_executed",
        )
    }
)
"""Memories.ai, with as many attempts for a passing fault as the call may have."""


def make_guard(seed: int, *, policy: Policy = HINTED, **settings: Any) -> Guard:
    """A guard in virtual time whose jitter follows the seed; it waits for ever."""
    chance = random.Random(seed).random
    return Guard(policy, chance=chance, wall=wall, **settings).options(max_wait=None)


def phase(seed: int) -> float:
    """Where in its window a server is when the crowd comes."""
    return random.Random(7 * seed + 1).random()


@dataclass(slots=True)
class Crowd:
    """Callers of one guard, and what became of their calls."""

    guard: Guard
    done_at: list[float] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def one(self, call: Callable[[], Awaitable[Any]]) -> None:
        """One call."""
        try:
            await call()
        except Exception as error:
            self.failures.append(error)
        else:
            self.done_at.append(anyio.current_time())

    async def work(
        self,
        server: Limited,
        tasks: int,
        calls: int = 1,
        *,
        call: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        """So many tasks, each with so many calls in a row."""

        async def task() -> None:
            for _ in range(calls):
                await self.one(call or (lambda: self.guard.call(server)))

        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(task)

    @property
    def closings(self) -> int:
        """How often a door was closed."""
        return self.guard._shared.machine.epoch


@dataclass(slots=True, kw_only=True)
class Herd:
    """What a run brought.  ``waste`` is rejected requests per useful one."""

    server: Limited
    end: float
    closings: int
    failures: list[Exception]

    @property
    def waste(self) -> float:
        """Rejected requests per accepted one."""
        return self.server.rejected / self.server.accepted


def stampede(
    server: Limited, tasks: int, calls: int = 1, *, seed: int, policy: Policy = HINTED
) -> Herd:
    """So many tasks at once, each with so many calls in a row, until all are done."""

    async def main() -> Herd:
        crowd = Crowd(make_guard(seed, policy=policy))
        await crowd.work(server, tasks, calls)
        assert server.accepted == tasks * calls
        assert crowd.guard._shared.machine.parked == 0
        return Herd(
            server=server,
            end=anyio.current_time(),
            closings=crowd.closings,
            failures=crowd.failures,
        )

    return run_virtual(main, seed=seed)


def per_second(log: list[tuple[float, bool]], since: float, until: float) -> float:
    """Requests accepted in a second, on average over an interval."""
    return sum(ok and since <= at < until for at, ok in log) / (until - since)
