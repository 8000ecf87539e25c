"""What is submitted: the provider makes it or doesn't, replies get lost, and we ask what became of it.

A request that was sent is carried out whatever becomes of the process that sent it.
"""

# ruff: noqa: D102, D103  # helpers say it by their names

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import anyio
from sim_process import Process
from sim_provider import Provider

from pollers import Intent

DEEDS = ("reply", "reply", "reply", "lose", "lose", "vanish", "twice", "odd", "hang")
"""``lose``: it is made, and the reply lost; ``twice``: somebody on the way has sent it two times."""

STEPS = ("orders", "replies", "searches", "finds", "refused", "decides")

NO_WAY = ("bad", "unheard")
"""A search that is refused so will be refused again: nobody can be found by it."""


@dataclass
class Search:
    """What one search told a process."""

    by: Process
    number: int
    """Of the lines of the trace when it was told."""
    asked: float
    found: tuple[str, ...]


class Orders:
    """The provider's, by the token of the intent."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.stored: set[str] = set()
        """Tokens whose intent is on the disk."""
        self.made: dict[str, list[str]] = defaultdict(list)
        """What was made, and billed."""
        self.replied: dict[str, str] = {}
        """The id that a reply had, when it came."""
        self.called: dict[str, tuple[Process, float]] = {}
        """By whom it was submitted, and until when that call was under way."""
        self.searches: dict[str, list[Search]] = defaultdict(list)
        self.names: dict[str, str] = {}
        """By the user's name for it, what was made first."""

    async def take(
        self, process: Process, account: str, kind: str, law: str, intent: Intent
    ) -> Any:
        """The call that submits."""
        token = intent.token
        process.step("orders", kind, token)
        if token not in self.stored:
            process.trace.blame(f"{token} is submitted, and its intent is not stored")
        if token in self.called:
            process.trace.blame(f"{token} is submitted twice")
        self.called[token] = process, math.inf
        try:
            return await self._take(process, account, law, intent)
        finally:
            self.called[token] = process, anyio.current_time()

    async def _take(self, process: Process, account: str, law: str, intent: Intent) -> Any:
        chance, token, now = self.provider.chance, intent.token, anyio.current_time()
        refusal, _ = self.provider.trouble(self.provider.accounts[account], [], now)
        deed = chance.choice(DEEDS) if now < self.provider.calm_at else "reply"
        if refusal is None and deed != "vanish":
            self._make(intent, law, 2 if deed == "twice" else 1)
        await anyio.sleep(chance.choice([0.0, 0.1, 5.0]))
        process.step("replies", token, refusal or deed, *self.made[token])
        if deed == "hang":
            await anyio.sleep(10_000.0)
        if deed in ("lose", "vanish", "twice"):
            raise chance.choice([TimeoutError, ConnectionResetError])
        if refusal is not None or deed == "odd":
            return refusal or ["what?"]
        self.replied[token] = self.made[token][0]
        return {"id": self.replied[token]}

    def _make(self, intent: Intent, law: str, count: int) -> None:
        """All of them can be seen from the same instant on."""
        lives = self.provider.lives
        for _ in range(count):
            number = f"v{len(lives)}"
            self.provider.submit(number, law)
            self.made[intent.token].append(number)
        first, *others = self.made[intent.token]
        for other in others:
            lives[other] = lives[first]
        self.names[intent.data] = first

    async def search(self, process: Process, account: str, kind: str, intent: Intent) -> Any:
        """Which have the token."""
        provider, token = self.provider, intent.token
        process.step("searches", kind, token)
        asked = anyio.current_time()
        caller, until = self.called.get(token, (None, 0.0))
        if caller is process and asked < until:
            process.trace.blame(f"{token} is searched for, and its call is under way")
        provider.check(process, account, kind, [token], asked, endpoint=f"{kind}_submitted")
        body, fault = provider.trouble(provider.accounts[account], [], asked)
        await anyio.sleep(provider.delay / 2.0 + provider.extra(fault))
        now = anyio.current_time()
        found = [one for one in self.made[token] if provider.lives[one].visible <= now]
        await anyio.sleep(provider.delay / 2.0)
        process.step("finds", token, body or fault, *found)
        if fault in ("reset", "timeout"):
            raise ConnectionResetError("gone") if fault == "reset" else TimeoutError
        if body is not None:
            provider.keep_away(process, account, f"{kind}_submitted", body, anyio.current_time())
            found = []
        if body is None or body["code"] in NO_WAY:
            number = len(process.trace.lines)
            self.searches[token].append(Search(process, number, asked, tuple(found)))
        return body or found
