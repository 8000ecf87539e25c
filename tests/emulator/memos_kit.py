"""MemOS Cloud in virtual time, and a client that speaks plain HTTP to it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from pollers.emulator import MemosEmulator
from resilience.testing import run_virtual

UNLIMITED = {"calls": None, "tokens": None}
MESSAGE = {"role": "user", "content": "I like black cats"}


class Memos:
    """Calls of the API, each returning the JSON body."""

    def __init__(self, emulator: MemosEmulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session
        self.authorization: str | None = "Token mpg-test"

    def request(self, path: str, *, method: str = "POST", **options: Any) -> Any:
        """Send a request; to be awaited or entered."""
        headers = {} if self.authorization is None else {"Authorization": self.authorization}
        url = f"{self.emulator.base_url}/{path}"
        return self.session.request(method, url, headers=headers, **options)

    async def raw(self, path: str, **body: Any) -> tuple[int, str, bytes]:
        """Status, content type and bytes of an answer."""
        async with self.request(path, json=body) as response:
            return response.status, response.content_type, await response.read()

    async def body(self, path: str, **body: Any) -> Any:
        """A request that must be answered with HTTP 200 and JSON."""
        async with self.request(path, json=body) as response:
            assert response.status == 200
            return await response.json()

    async def code(self, path: str, **body: Any) -> int:
        """The code of an answer."""
        return (await self.body(path, **body))["code"]

    async def data(self, path: str, **body: Any) -> Any:
        """The data of an answer that must be a success."""
        answer = await self.body(path, **body)
        assert (answer["code"], answer["message"]) == (0, "ok"), answer
        return answer["data"]

    async def add(self, *texts: str, user_id: Any = "u1", **more: Any) -> Any:
        """POST add/message with these texts of a user."""
        messages = [{"role": "user", "content": text} for text in texts]
        return await self.data("add/message", messages=messages, user_id=user_id, **more)

    async def status(self, task_id: str) -> str:
        """The status of a task."""
        return (await self.data("get/status", task_id=task_id))["status"]

    async def found(self, query: str, user_id: str = "u1", **more: Any) -> list[str]:
        """The texts that a search finds, in its order."""
        data = await self.data("search/memory", query=query, user_id=user_id, **more)
        return [memory["memory_value"] for memory in data["memory_detail_list"]]


def now() -> float:
    """Virtual seconds."""
    return round(asyncio.get_running_loop().time(), 6)


def play(story: Callable[[Memos], Awaitable[Any]], **settings: Any) -> Any:
    """Play a story against an emulator without limits (unless asked for) in virtual time."""

    async def main() -> Any:
        async with MemosEmulator(**{"limits": UNLIMITED, **settings}) as emulator:
            async with aiohttp.ClientSession() as session:
                return await story(Memos(emulator, session))

    return run_virtual(main)
