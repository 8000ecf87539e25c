"""For trio users: httpx, a guard and a poller, all on trio.

Run it: ``pip install trio``, then ``python examples/trio_httpx.py``.  ``MemoriesVideos`` is for aiohttp,
which needs asyncio; with httpx a source is one function and a table of words.
"""

from typing import Any

import httpx
import trio
from provider import provider

from pollers import JobFailed, Poller
from pollers.sources import CallableSource
from resilience import Guard, raise_for_code


async def main() -> dict[str, str | None]:
    guard = Guard("memories_ai")
    ends: dict[str, str | None] = {}
    with provider() as api:
        auth = {"Authorization": api.key}
        async with httpx.AsyncClient(base_url=api.base_url, headers=auth) as client:
            guard.install(client, hosts=api.hosts)

            async def states(numbers: list[str]) -> dict[str, Any]:
                response = await client.post("list_videos", json={"video_nos": numbers})
                raise_for_code(response)
                return {video["video_no"]: video for video in response.json()["data"]["videos"]}

            source = CallableSource(
                states, batch=200, spacing=0.21, guard=guard, provider="memories_ai",
                kind="videos", pending=["UNPARSE"], succeeded=["PARSE"], failed=["PARSE_ERROR"],
            )  # fmt: skip

            async with Poller(source, min_interval=0.1) as poller, trio.open_nursery() as nursery:

                async def wait(number: str) -> None:
                    job = await poller.watch(number, deadline=60)
                    event = await job.result()
                    ends[number] = event.cause if isinstance(event, JobFailed) else event.status

                for number in ("VI1", "VI2"):
                    nursery.start_soon(wait, number)
    return ends


if __name__ == "__main__":
    print(trio.run(main))
