"""For people whom the provider can call back: a handler in their own aiohttp app, and few looks.

Run it: ``python examples/callbacks_app.py``.  Half of the callbacks get lost; no end does.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from pollers import Event, JobSucceeded, Poller
from pollers.callbacks import aiohttp_handler
from pollers.emulator import MemoriesEmulator
from pollers.sources import MemoriesVideos


@asynccontextmanager
async def listening(poller: Poller) -> AsyncIterator[str]:
    """Your app; gives the URL to hand to the provider, which must reach it."""
    secret = secrets.token_urlsafe(16)
    app = web.Application()
    app.router.add_post("/hooks/{secret}", aiohttp_handler(poller, secret=secret))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/{secret}"
    finally:
        await runner.cleanup()


async def upload(session: aiohttp.ClientSession, base_url: str, callback: str) -> str:
    form = aiohttp.FormData({"callback": callback})
    form.add_field("file", b"a video", filename="cat.mp4", content_type="video/mp4")
    async with session.post(f"{base_url}/upload", data=form) as response:
        number: str = (await response.json())["data"]["videoNo"]
        return number


async def main(base_url: str, videos: int) -> list[Event]:
    async with aiohttp.ClientSession(headers={"Authorization": "sk-demo"}) as session:
        source = MemoriesVideos(session, base_url=base_url)
        async with Poller(source) as poller, listening(poller) as callback:
            numbers = [await upload(session, base_url, callback) for _ in range(videos)]
            jobs = await poller.watch_many(numbers, deadline=60)
            return [await job.result() for job in jobs]


async def on_this_machine() -> tuple[list[Event], MemoriesEmulator]:
    emulator = MemoriesEmulator(
        decode=False, parse_seconds=0.6, callback_loss=0.5, limits={"upload": None}
    )
    async with emulator:
        ends = await main(emulator.base_url, videos=8)
    lost = sum(called.lost for called in emulator.callbacks)
    parsed = sum(isinstance(end, JobSucceeded) for end in ends)
    print(f"{parsed} of {len(ends)} are parsed, {lost} callbacks were lost")
    return ends, emulator


if __name__ == "__main__":
    asyncio.run(on_this_machine())
