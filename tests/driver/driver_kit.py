"""A small provider on paper, and both event loops in virtual time."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from resilience import Guard, Policy
from resilience.testing import EPOCH, FixedChance, run_virtual

OK = {"code": "0", "msg": "ok"}
BUSY = {"code": "busy", "msg": "slow down"}
"""A window of this endpoint: 1, 2, 4, 8 s."""
FLOOD = {"code": "flood", "msg": "slow down, all of you"}
"""A window of the whole account: 10 s."""
LOCKED = {"code": "locked", "msg": "locked for ten minutes"}
"""A cool-down of the account: 600 s."""
EMPTY = {"code": "empty", "msg": "no points"}
"""Exhausted account, a probe every 300 s."""
FULL = {"code": "full", "msg": "no space"}
DOWN = {"code": "down", "msg": "not now"}
"""Retryable, not executed: 1, 2, 4, 8 s."""
LOST = {"code": "lost", "msg": "who knows"}
"""Retryable, maybe executed: 1, 2, 4, 8 s."""
QUICK = {"code": "quick", "msg": "again"}
"""Retryable, not executed, two attempts, a second between."""
BAD = {"code": "bad", "msg": "wrong"}
REFUSED = {"code": "refused", "msg": "who are you?"}
"""Fatal for the account, a probe every 300 s."""
DUPLICATE = {"code": "dup", "msg": "seen before"}

TABLE: dict[str, Any] = {
    "name": "paper",
    "extends": "http",
    "hosts": ["paper.test"],
    "groups": {"talk": ["chat", "whisper"]},
    "envelope": [
        {
            "required": ["/code", "/msg"],
            "code": "/code",
            "message": "/msg",
            "retry_after": "/retry_after",
            "success": ["0"],
        }
    ],
    "endpoints": [
        {"name": "read", "match": ["POST */read"], "repeat": "safe"},
        {"name": "other_read", "match": ["POST */other_read"], "repeat": "safe"},
        {"name": "write", "match": ["POST */write"], "repeat": "never"},
        {"name": "merge", "match": ["POST */merge"], "repeat": "once"},
        {"name": "remove", "match": ["POST */remove"], "repeat": "safe", "duplicate": "done"},
        {"name": "add", "match": ["POST */add"], "repeat": "once"},
        {"name": "chat", "match": ["POST */chat"]},
        {"name": "whisper", "match": ["POST */whisper"]},
    ],
    "codes": {
        "busy": {
            "verdict": "quota", "recovers": "window", "scope": "endpoint",
            "wait": {"backoff": "expo", "factor": 1.0, "max_value": 8.0},
            "title": "Busy", "remedy": "Slow down.",
        },
        "flood": {"verdict": "quota", "recovers": "window", "scope": "account", "wait": 10},
        "murmur": {"verdict": "quota", "recovers": "window", "scope": "talk", "wait": 10},
        "locked": {"verdict": "quota", "recovers": "cooldown", "scope": "account", "wait": 600},
        "empty": {"verdict": "quota", "recovers": "exhausted", "scope": "account", "probe_every": 300.0},
        "full": {"verdict": "quota", "recovers": "capacity"},
        "down": {
            "verdict": "retryable", "certainty": "not_executed",
            "wait": {"backoff": "expo", "factor": 1.0, "max_value": 8.0},
            "title": "Down", "remedy": "Wait.",
        },
        "lost": {
            "verdict": "retryable", "certainty": "maybe_executed",
            "wait": {"backoff": "expo", "factor": 1.0, "max_value": 8.0},
        },
        "quick": {"verdict": "retryable", "certainty": "not_executed", "wait": 1, "max_attempts": 2},
        "bad": {"verdict": "fatal", "title": "Bad", "remedy": "Mend the request."},
        "refused": {"verdict": "fatal", "scope": "account", "probe_every": 300.0},
        "dup": {"verdict": "fatal", "duplicate": True},
    },
}  # fmt: skip

POLICY = Policy.from_dict(TABLE)


def clock_wall() -> float:
    """Wall time that goes with the virtual clock of either loop."""
    return EPOCH + anyio.current_time()


def make_guard(**settings: Any) -> Guard:
    """A guard in virtual time without jitter."""
    settings.setdefault("wall", clock_wall)
    settings.setdefault("chance", FixedChance(1.0))
    return Guard(settings.pop("policy", POLICY), **settings)


def instant(seconds: float) -> datetime:
    """Virtual seconds as an aware datetime."""
    return datetime.fromtimestamp(EPOCH + seconds, UTC)


def on_trio(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run an async function in virtual time on trio."""
    return trio.run(main, clock=MockClock(autojump_threshold=0))


BACKENDS = [
    pytest.param(run_virtual, id="asyncio"),
    pytest.param(partial(run_virtual, seed=1), id="asyncio-shuffled-1"),
    pytest.param(partial(run_virtual, seed=2), id="asyncio-shuffled-2"),
    pytest.param(on_trio, id="trio"),
]


@pytest.fixture(params=BACKENDS)
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Runs an async function in virtual time, on each loop."""
    return request.param


def closed_doors(guard: Guard) -> int:
    """How many doors are closed."""
    return sum(not gate.open for gate in guard._shared.machine.gates.values())


def at_rest(guard: Guard) -> None:
    """Nobody waits, nobody probes, nothing is under way: what has to hold after any call."""
    shared = guard._shared
    assert shared.machine.parked == 0
    assert shared.active == 0
    assert shared._wakers == {}
    assert shared._leader is None
    assert [gate.key for gate in shared.machine.gates.values() if gate.probe] == []
    assert {lane.in_flight for lane in shared.machine.lanes.values()} <= {0}
    assert {g.pace.in_flight for g in shared.machine.gates.values() if g.pace is not None} <= {0}
