"""The provider on paper: jobs that live by seeded laws, an account with limits, and faults.

It answers as the APIs do (200 with a code in the body) and watches how it is asked: never faster than
it said, never about what has ended.
"""

# ruff: noqa: D102, D103  # helpers say it by their names

import math
import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from sim_process import Process, Trace

from resilience import Policy

PROBE = 40.0
LOCK = 90.0
EPSILON = 1e-6

PAPER = Policy.from_dict(
    {
        "name": "paper",
        "extends": "http",
        "envelope": [
            {
                "required": ["/code", "/msg"], "code": "/code", "message": "/msg",
                "retry_after": "/retry_after", "success": ["0"],
            }
        ],
        "codes": {
            "busy": {"verdict": "quota", "recovers": "window", "scope": "endpoint", "wait": 2.0},
            "locked": {"verdict": "quota", "recovers": "cooldown", "scope": "account", "wait": LOCK},
            "empty": {
                "verdict": "quota", "recovers": "exhausted", "scope": "account", "probe_every": PROBE,
                "title": "No points", "remedy": "Pay.",
            },
            "refused": {
                "verdict": "fatal", "scope": "account", "probe_every": PROBE, "title": "Refused",
                "remedy": "Mend the key.",
            },
            "bad": {"verdict": "fatal", "title": "Bad"},
            "down": {"verdict": "retryable", "certainty": "not_executed", "wait": 1.0},
        },
    }
)  # fmt: skip

FAULTS = ("down", "bad", "unheard", "reset", "timeout", "hang", "nothing", "late")
STATES = ("empty", "empty", "refused", "refused", "locked", "down", "busy")

LAWS: dict[str, Callable[[random.Random], float]] = {
    "constant": lambda chance: 30.0,  # noqa: ARG005
    "uniform": lambda chance: chance.uniform(1.0, 120.0),
    "lognormal": lambda chance: chance.lognormvariate(3.4, 0.6),
    "heavy": lambda chance: min(600.0, 10.0 * chance.paretovariate(1.0)),
    "two kinds": lambda chance: chance.choice([8.0, 90.0]) * chance.uniform(0.9, 1.1),
    "at once": lambda chance: chance.uniform(0.0, 0.5),
}


@dataclass
class Life:
    """What becomes of one job, in seconds of loop time."""

    visible: float
    end: float
    word: str | None
    """``done``, ``broken``; None if it is deleted at its end."""
    words: list[tuple[float, str]]

    def status(self, now: float) -> str | None:
        if now < self.visible:
            return None
        if now >= self.end:
            return self.word
        return [word for at, word in self.words if at <= now][-1]


@dataclass
class Answer:
    """What one request told a process about one job; ``status`` is None if it was not in the answer."""

    by: Process
    number: int
    """Of the lines of the trace before it was asked: many things happen at one instant."""
    asked: float
    told: float
    status: str | None


@dataclass
class Account:
    """What the provider thinks of one account: what is wrong with it and when, and its limit."""

    states: list[tuple[float, float, str]]
    calls: int
    per: float
    sent: deque[float] = field(default_factory=deque)
    rejected: int = 0

    def state(self, now: float) -> str | None:
        return next((word for start, end, word in self.states if start <= now < end), None)

    def wait(self, now: float) -> float | None:
        """Seconds until one more may come; None if this one may."""
        while self.sent and self.sent[0] <= now - self.per:
            self.sent.popleft()
        if len(self.sent) >= self.calls:
            return self.sent[0] + self.per - now
        self.sent.append(now)
        return None


class Provider:
    """Everybody's jobs, and when they were asked for by whom."""

    def __init__(self, chance: random.Random, trace: Trace, *, calm_at: float) -> None:
        self.chance = chance
        self.trace = trace
        self.calm_at = calm_at
        self.lives: dict[str, Life] = {}
        self.odd: dict[str, float] = {}
        """Ids that the API refuses to hear of, until when."""
        self.accounts: dict[str, Account] = {}
        self.delay = chance.choice([0.0, 0.05, 0.3, 1.5])
        self.fault_rate = chance.choice([0.0, 0.05, 0.3])
        self.absent_rate = chance.choice([0.0, 0.0, 0.03])
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.spacing = 0.0
        self.at_once = 1
        """Requests of one process and kind that may be under way."""
        self._under_way: defaultdict[Any, list[tuple[int, Sequence[str]]]] = defaultdict(list)
        """By process, account and kind: since which line of the trace, and for which jobs."""
        self.requests = 0
        self.ended: dict[str, tuple[int, float]] = {}
        """By whom a job was ended, and since when that process knows it; later ones know it too."""
        self.watched: dict[str, int] = {}
        """Lines of the trace before a job was last begun to be watched."""
        self._asked_at: dict[tuple[int, str, str], float] = {}
        self._not_before: dict[tuple[int, str], tuple[float, float]] = {}
        """By process and scope: since when, and until when, nobody may ask."""

    def submit(self, name: str, law: str) -> None:
        chance, now = self.chance, anyio.current_time()
        visible = now + chance.choice([0.0, 0.0, chance.uniform(0.0, 15.0)])
        end = visible + LAWS[law](chance)
        word = chance.choices(["done", "broken", None], [8, 2, 1])[0]
        words = [(visible, "running")]
        if chance.random() < 0.3:
            words.append((chance.uniform(visible, end), chance.choice(["queued", "88 %", ""])))
        if chance.random() < 0.1:
            end = math.inf
        self.lives[name] = Life(visible, end, word, words)
        if chance.random() < 0.12:
            self.odd[name] = chance.choice([math.inf, now + 60.0])

    def account(self, name: str) -> None:
        """With some bad days."""
        chance, states = self.chance, []
        for _ in range(chance.choice([0, 0, 1, 2, 4])):
            start = chance.uniform(0.0, self.calm_at)
            end = min(start + chance.choice([5.0, 20.0, 90.0]), self.calm_at)
            states.append((start, end, chance.choice(STATES)))
        calls, per = chance.choice([(1000, 1.0), (5, 1.0), (1, 2.0), (3, 10.0)])
        self.accounts[name] = Account(states, calls, per)

    async def ask(self, process: Process, account: str, kind: str, ids: Sequence[str]) -> Any:
        process.step("ask", kind, *ids)
        self.requests += 1
        source = (process.number, account, kind)
        under_way = self._under_way[source]
        twice = [
            one
            for line, others in under_way
            for one in set(ids).intersection(others)
            if self.watched[one] <= line  # else it is another row's
        ]
        if len(under_way) >= self.at_once or twice:
            self.trace.blame(f"process {process.number} asks for {ids} beside {under_way}")
        under_way.append(this := (len(self.trace.lines), ids))
        try:
            return await self._answer(process, account, kind, ids)
        finally:
            under_way.remove(this)

    async def _answer(self, process: Process, account: str, kind: str, ids: Sequence[str]) -> Any:
        chance = self.chance.random
        asked, number = anyio.current_time(), len(self.trace.lines)
        self.check(process, account, kind, ids, asked)
        body, fault = self.trouble(self.accounts[account], ids, asked)
        await anyio.sleep(self.delay / 2.0 + self.extra(fault))
        here = anyio.current_time()
        seen = {one: self.lives[one].status(here) for one in ids}
        for one in ids:
            if fault == "nothing" or (here < self.calm_at and chance() < self.absent_rate):
                seen[one] = None
        await anyio.sleep(self.delay / 2.0)
        process.step("answers", kind, body or fault, *seen.values())
        told = anyio.current_time()
        if fault in ("reset", "timeout"):
            raise ConnectionResetError("gone") if fault == "reset" else TimeoutError
        if body is not None:
            self.keep_away(process, account, kind, body, told)
            return body
        for one, status in seen.items():
            self.answers[one].append(Answer(process, number, asked, told, status))
        return seen

    def check(
        self, process: Process, account: str, kind: str, ids: Sequence[str], now: float,
        *, endpoint: str | None = None,
    ) -> None:  # fmt: skip
        source = (process.number, account, kind)
        if now < self._asked_at.get(source, -math.inf) + self.spacing - EPSILON:
            self.trace.blame(f"process {process.number} asks before the stated spacing is over")
        self._asked_at[source] = now
        if now > process.leaves_at + EPSILON:
            self.trace.blame(f"process {process.number} is being left, and begins a look")
        for scope in (account, f"{account}/{endpoint or kind}"):
            since, until = self._not_before.get((process.number, scope), (math.inf, -math.inf))
            # it may have been let go before that was said, and have waited for the spacing since,
            # behind others that had been
            if since + self.at_once * self.spacing <= now < until - EPSILON:
                self.trace.blame(f"process {process.number} asks {scope} before it was told to")
        for one in ids:
            number, at = self.ended.get(one, (math.inf, math.inf))
            if process.number > number or (process.number == number and now > at + EPSILON):
                self.trace.blame(f"process {process.number} asks for {one}, which has ended")
        if len(set(ids)) != len(ids):
            self.trace.blame(f"{ids}: a job is in a batch twice")

    def keep_away(
        self, process: Process, account: str, kind: str, body: dict[str, Any], now: float
    ) -> None:
        """What was told by the server holds from each answer; what the policy says, from the first."""
        pause = {"empty": PROBE, "refused": PROBE, "locked": LOCK}.get(body["code"])
        key = process.number, f"{account}/{kind}" if pause is None else account
        _, known = self._not_before.get(key, (now, -math.inf))
        if pause is None:
            self._not_before[key] = (now, max(known, now + body.get("retry_after", 0.0)))
        elif now >= known:
            self._not_before[key] = (now, now + pause)

    def trouble(
        self, account: Account, ids: Sequence[str], now: float
    ) -> tuple[dict[str, Any] | None, str | None]:
        """A body with a code, or something else that is wrong with this request, or nothing."""
        wait = account.wait(now)
        if wait is not None:
            account.rejected += 1
            return {"code": "busy", "msg": "slow", "retry_after": math.ceil(wait * 10) / 10}, None
        code = account.state(now)
        if code is None and any(now < self.odd.get(one, -math.inf) for one in ids):
            code = "bad"
        if code is None and now < self.calm_at and self.chance.random() < self.fault_rate:
            fault = self.chance.choice(FAULTS)
            if fault not in ("down", "bad", "unheard"):
                return None, fault
            code = fault
        return None if code is None else {"code": code, "msg": f"it is {code}"}, None

    def extra(self, fault: str | None) -> float:
        return {"late": self.chance.uniform(1.0, 25.0), "hang": 10_000.0}.get(fault or "", 0.0)
