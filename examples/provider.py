"""What the other examples talk to: Memories.ai if ``$MEMORIES_API_KEY`` is set, else an emulator.

``$MEMORIES_BASE_URL`` names another deployment.  The emulator runs in a thread with a loop of its
own, as far away as a real server: so it serves any framework, on trio too, and outlives their loops.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from anyio.from_thread import start_blocking_portal

from pollers.emulator import MemoriesEmulator
from pollers.sources.memories_ai import BASE_URL


@dataclass(frozen=True)
class Api:
    base_url: str
    key: str

    @property
    def hosts(self) -> list[str]:
        """What to guard; for the real API you can leave ``hosts`` out, the policy knows it."""
        return [urlsplit(self.base_url).hostname or ""]


@asynccontextmanager
async def emulated() -> AsyncIterator[Api]:
    async with MemoriesEmulator(keys=["sk-demo"], limits={"list": (5, 1.0)}) as emulator:
        emulator.add_video("VI1", parse_after=0.3)
        emulator.add_video("VI2", parse_after=0.1, outcome="PARSE_ERROR", cause="unknown codec")
        yield Api(emulator.base_url, "sk-demo")


@contextmanager
def provider() -> Iterator[Api]:
    key = os.environ.get("MEMORIES_API_KEY")
    if key:
        yield Api(os.environ.get("MEMORIES_BASE_URL", BASE_URL), key)
        return
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(emulated()) as api,
    ):
        yield api
