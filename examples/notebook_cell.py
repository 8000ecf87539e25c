"""For notebooks: open it in Jupyter or VS Code, each ``# %%`` is a cell; its loop runs already.

Never ``asyncio.run`` in a cell, just ``await``.  Make the guard in a cell of its own and keep it: it
remembers closed doors, also when the kernel's loop is restarted under it.
"""

# %% once per kernel: the provider and the guard
import aiohttp
from provider import provider

from pollers import Poller
from pollers.sources import MemoriesVideos
from resilience import Guard, QuotaError, raise_for_code

running = provider()  # for the real API: set $MEMORIES_API_KEY before
api = running.__enter__()  # stays open from cell to cell; the last one closes it
guard = Guard("memories_ai")
auth = {"Authorization": api.key}


# %% functions that open their own session: a session, unlike a guard, is bound to its loop
async def count(page: int = 1) -> int:
    middleware = guard.aiohttp(hosts=api.hosts)
    async with (
        aiohttp.ClientSession(middlewares=[middleware], headers=auth) as session,
        session.post(f"{api.base_url}/list_videos", json={"page": page}) as response,
    ):
        raise_for_code(response)
        return len((await response.json())["data"]["videos"])


# %% use it; run this cell as often as you like
try:
    counted = await count()
except QuotaError as error:
    print(error)  # what it was, what to do, and when it goes on

# %% a job watched to its end; a cell that is interrupted keeps what is stored
async with aiohttp.ClientSession(headers=auth) as session:
    source = MemoriesVideos(session, guard=guard, base_url=api.base_url)
    async with Poller(source, store=":memory:", min_interval=0.2) as poller:
        ends = [await job.result() for job in await poller.watch_many(["VI1", "VI2"])]
for event in ends:
    print(event.subject, event.status, event.cause)

# %% what the guard knows
print(guard.snapshot()["doors"])

# %% the end
running.__exit__(None, None, None)
