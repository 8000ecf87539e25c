"""Guard an aiohttp session: the client code below it stays as it is.

Run it: it talks to an emulated provider on this machine, which rejects the third request of a second.
"""

import asyncio

import aiohttp

from pollers.emulator import MemoriesEmulator
from resilience import Guard, raise_for_code, report


async def main(base_url: str, host: str) -> int:
    guard = Guard("memories_ai")
    # for the real API leave `hosts` out: the policy knows them
    middleware = guard.aiohttp(hosts=[host])
    async with aiohttp.ClientSession(
        middlewares=[middleware], headers={"Authorization": "sk-demo"}
    ) as session:

        async def count(page: int) -> int:
            async with session.post(f"{base_url}/list_videos", json={"page": page}) as response:
                raise_for_code(response)  # nothing for a success
                told = report(response)
                print(f"page {page}: {told.attempts} attempts in {told.elapsed:.2f} s")
                return len((await response.json())["data"]["videos"])

        return sum(await asyncio.gather(*(count(page) for page in range(1, 6))))


async def on_this_machine() -> int:
    async with MemoriesEmulator(limits={"list": (2, 0.5)}) as emulator:
        for number in range(3):
            emulator.add_video(f"VI{number}")
        return await main(emulator.base_url, emulator.host)


if __name__ == "__main__":
    print(asyncio.run(on_this_machine()), "videos")
