"""Watch videos until they are parsed, with a callback, and take the events again from the start."""

import asyncio

import aiohttp

from pollers import Event, JobFailed, JobSucceeded, Poller
from pollers.emulator import MemoriesEmulator
from pollers.sources import MemoriesVideos


async def main(base_url: str, numbers: list[str], store: str = ":memory:") -> list[Event]:
    def tell(event: Event) -> None:
        print(f"  {type(event).__name__:<14} {event.subject}")

    async with aiohttp.ClientSession(headers={"Authorization": "sk-demo"}) as session:
        source = MemoriesVideos(session, base_url=base_url)
        async with Poller(source, store=store, sinks=[tell], min_interval=0.1) as poller:
            jobs = await poller.watch_many(numbers, deadline=60)
            ends = [await job.result() for job in jobs]
    for event in ends:
        match event:
            case JobSucceeded():
                print(f"{event.job_id} is parsed after {event.elapsed:.1f} s")
            case JobFailed():
                print(f"{event.job_id} can't be parsed: {event.cause}")
    return ends


async def on_this_machine() -> list[Event]:
    async with MemoriesEmulator() as emulator:
        emulator.add_video("VI1", parse_after=0.3)
        emulator.add_video("VI2", parse_after=0.1, outcome="PARSE_ERROR", cause="unknown codec")
        return await main(emulator.base_url, ["VI1", "VI2"])


if __name__ == "__main__":
    asyncio.run(on_this_machine())
