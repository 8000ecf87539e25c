"""The account's tokens a minute on MemOS Cloud, met by a crowd whose calls say what they cost.

400,000 input tokens a minute, answered 40309; the emulator counts a fixed window and charges nothing
for what it rejects.  A message here is its number of tokens, so that no megabytes have to travel.
"""

import asyncio
import random
from typing import Any

import aiohttp
import pytest
from wire_kit import UNLIMITED

from pollers.emulator import MemosEmulator
from resilience import Guard, QuotaError
from resilience.testing import run_virtual, wall

MINUTE = 60.0
TOKENS = 400_000


class Crowd:
    """Callers of one guard that add messages of so many tokens, all at once."""

    def __init__(self, way: str, *, hints: bool, seed: int) -> None:
        self.way = way
        self.chance = random.Random(seed)
        self.emulator = MemosEmulator(
            limits={"calls": None}, retry_after=hints, tokens_of=int, keys=["mpg-1", "mpg-2"]
        )
        self.guard = Guard("memos_cloud", wall=wall, chance=self.chance.random)
        self.codes: list[int] = []

    async def add(self, session: aiohttp.ClientSession, number: int, tokens: int) -> None:
        """Add one message; the keys take turns, and share the account's tokens."""
        body = {"messages": [{"role": "user", "content": str(tokens)}], "user_id": f"u{number}"}
        headers = {"Authorization": f"Token mpg-{1 + number % 2}"}
        url = f"{self.emulator.base_url}/add/message"

        async def add_message() -> Any:
            async with session.post(url, json=body, headers=headers) as response:
                await response.read()
                return response  # with its headers: they may say when to come back

        if self.way == "session":
            with self.guard.using(cost=tokens, max_wait=None):
                answer = await add_message()
        else:
            answer = await self.guard.options(cost=tokens, max_wait=None).call(add_message)
        self.codes.append((await answer.json())["code"])

    async def run(self, costs: list[int]) -> float:
        """Until all are done; gives the time that it took."""
        used = [self.guard.aiohttp(hosts=["127.0.0.1"])] if self.way == "session" else []
        async with self.emulator:
            async with aiohttp.ClientSession(middlewares=used, timeout=UNLIMITED) as session:
                calls = (self.add(session, number, cost) for number, cost in enumerate(costs))
                await asyncio.gather(*calls)
        return asyncio.get_running_loop().time()

    def rejected(self, since: float = 0.0) -> int:
        """Requests that were turned away from some instant on."""
        return sum(s.code == "40309" and s.time >= since for s in self.emulator.requests)


@pytest.mark.parametrize("way", ["session", "call"])
@pytest.mark.parametrize("hints", [True, False], ids=["hints", "no-hints"])
@pytest.mark.parametrize(
    ("calls", "least", "most"),
    [pytest.param(60, 10_000, 30_000, id="large"), pytest.param(300, 100, 8_000, id="small")],
)
def test_a_crowd_shares_the_tokens_of_a_minute(way, hints, calls, least, most):
    """All are added; the last minute is the least possible one, or one later if nobody says when."""
    crowd = Crowd(way, hints=hints, seed=calls)
    costs = [crowd.chance.randint(least, most) for _ in range(calls)]
    took = run_virtual(lambda: crowd.run(costs))
    assert crowd.codes == [0] * calls
    assert sum(seen.tokens for seen in crowd.emulator.requests) == sum(costs)
    assert crowd.rejected() <= (0.25 if hints else 0.45) * calls
    assert crowd.rejected(since=MINUTE) <= 0.15 * calls
    full = sum(costs) // TOKENS
    assert MINUTE * full <= took <= MINUTE * full + (1.5 if hints else 2 * MINUTE)


def test_no_minute_has_more_than_the_account_may_use():
    """What was accepted in any of the server's minutes is within the limit, whoever asked."""
    crowd = Crowd("session", hints=True, seed=3)
    costs = [crowd.chance.randint(1_000, 20_000) for _ in range(100)]
    run_virtual(lambda: crowd.run(costs))
    accepted = [seen for seen in crowd.emulator.requests if seen.code == "0"]
    by_minute: dict[int, int] = {}
    for seen in accepted:
        minute = int(seen.time // MINUTE)
        by_minute[minute] = by_minute.get(minute, 0) + seen.tokens
    assert set(by_minute) == {0, 1, 2}
    assert all(tokens <= TOKENS for tokens in by_minute.values())
    assert {seen.account for seen in accepted} == {"default"}


def test_who_cannot_wait_is_told_when_it_goes_on():
    """With a full minute and a bound on waiting: an error at once, with code, remedy and instant."""

    async def main() -> None:
        crowd = Crowd("call", hints=True, seed=0)
        async with crowd.emulator, aiohttp.ClientSession() as session:
            for number in range(10):
                await crowd.add(session, number, 40_000)
            url = f"{crowd.emulator.base_url}/search/memory"

            async def search_memory() -> Any:
                body = {"query": "7", "user_id": "u1"}
                headers = {"Authorization": "Token mpg-1"}
                async with session.post(url, json=body, headers=headers) as response:
                    await response.read()
                    return response

            with pytest.raises(QuotaError) as caught:
                await crowd.guard.options(cost=7, max_wait=5.0).call(search_memory)
            error = caught.value
            assert (error.code, error.message) == (
                "40309",
                "Token usage exceeds the per-time-window limit",
            )
            assert "Lower the concurrency" in error.remedy
            assert error.resume_at is not None
            assert error.resume_at.timestamp() == pytest.approx(wall() + MINUTE, abs=1.0)
            assert asyncio.get_running_loop().time() < 1.0

    run_virtual(main)
