"""Scrape two posts into the library, watch the task to its end, and see what came of each."""

import asyncio

import aiohttp

from pollers import Event, Poller
from pollers.emulator import MemoriesEmulator
from pollers.sources import MemoriesScrapes
from resilience import Guard

POSTS = ["https://www.tiktok.com/@cat/video/71", "https://www.tiktok.com/@cat/video/72"]


async def main(base_url: str, urls: list[str], store: str = ":memory:") -> Event:
    guard = Guard("memories_ai")
    async with aiohttp.ClientSession(
        middlewares=[guard.aiohttp(hosts=["127.0.0.1"])], headers={"Authorization": "sk-demo"}
    ) as session:
        async with session.post(f"{base_url}/scraper_url", json={"video_urls": urls}) as response:
            task_id = (await response.json())["data"]["taskId"]
        source = MemoriesScrapes(session, base_url=base_url)  # with the guard of the session
        async with Poller(source, store=store) as poller:
            job = await poller.watch(task_id, expect=len(urls), deadline=600)
            event = await job.result()
    print(f"{type(event).__name__}: {event.status}")
    for child in event.children:
        print(f"  {child.id}  {child.state}  {child.cause or ''}")
    return event


async def on_this_machine() -> Event:
    async with MemoriesEmulator(scrape_seconds=0.2, parse_seconds=0.3) as emulator:
        return await main(emulator.base_url, POSTS)


if __name__ == "__main__":
    asyncio.run(on_this_machine())
