"""Upload videos and watch them in one step; one reply is lost on its way, and nothing else is."""

import asyncio

import aiohttp

from pollers import Intent, JobEvent, Poller, SubmitUncertain
from pollers.emulator import Fault, MemoriesEmulator
from pollers.sources import MemoriesVideos
from resilience import Guard


async def main(base_url: str, files: dict[str, bytes], store: str = ":memory:") -> list[JobEvent]:
    guard = Guard("memories_ai")
    headers = {"Authorization": "sk-demo"}
    middlewares = [guard.aiohttp(hosts=["127.0.0.1"])]
    ends: list[JobEvent] = []
    async with aiohttp.ClientSession(headers=headers, middlewares=middlewares) as session:
        source = MemoriesVideos(session, base_url=base_url)
        async with Poller(source, store=store, min_interval=0.1) as poller:
            for name, content in files.items():

                async def upload(
                    intent: Intent, name: str = name, content: bytes = content
                ) -> aiohttp.ClientResponse:
                    form = aiohttp.FormData({"tags": intent.token})  # it is found again by this
                    form.add_field("file", content, filename=name, content_type="video/mp4")
                    async with session.post(f"{base_url}/upload", data=form) as response:
                        await response.read()
                        return response

                job = await poller.submit(upload, name=name, data={"file": name})
                print(f"{name}: {'the reply was lost' if job.id.startswith('rp-') else job.id}")
                try:
                    ends.append(await job.result())
                except SubmitUncertain as error:
                    print(error.event.remedy)
    for event in ends:
        print(f"{event.user_data['file']} is {event.job_id}: {event.status}")
    return ends


async def on_this_machine() -> tuple[list[JobEvent], int]:
    async with MemoriesEmulator(decode=False, limits={"upload": None}) as emulator:
        emulator.fail("upload", Fault(abort="before", after_work=True))
        ends = await main(emulator.base_url, {"cat.mp4": b"a cat", "dog.mp4": b"a dog"})
        return ends, len(emulator.videos)


if __name__ == "__main__":
    asyncio.run(on_this_machine())
