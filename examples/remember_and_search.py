"""Add messages to MemOS Cloud, wait until they are processed, and search what is remembered.

Run it: it talks to an emulated MemOS Cloud on this machine, which is unavailable at first.
"""

import asyncio

import aiohttp

from pollers import JobSucceeded, Poller
from pollers.emulator import Fault, MemosEmulator
from pollers.sources import MemosTasks
from resilience import Guard, raise_for_code


async def main(base_url: str, host: str) -> list[str]:
    guard = Guard("memos_cloud")
    middleware = guard.aiohttp(hosts=[host])  # for the real API leave `hosts` out
    headers = {"Authorization": "Token mpg-demo"}
    async with aiohttp.ClientSession(middlewares=[middleware], headers=headers) as session:

        async def ask(path: str, **body: object) -> dict:
            async with session.post(
                f"{base_url}/{path}", json={"user_id": "ann", **body}
            ) as answer:
                raise_for_code(answer)  # nothing for a success
                return (await answer.json())["data"]

        async with Poller(MemosTasks(session, base_url=base_url), min_interval=0.1) as poller:
            for text in ("I like black cats", "My train leaves at nine"):
                message = {"role": "user", "content": text}
                added = await ask("add/message", messages=[message], conversation_id="c1")
                job = await poller.watch(added["task_id"], deadline=60, data=text)
                match await job.result():
                    case JobSucceeded() as event:
                        print(f"{event.user_data!r} is remembered after {event.elapsed:.1f} s")
                    case other:
                        print(f"{other.job_id} ended as {other.status}")
        found = await ask("search/memory", query="which cats")
        return [memory["memory_value"] for memory in found["memory_detail_list"]]


async def on_this_machine() -> list[str]:
    async with MemosEmulator(task_seconds=0.3) as emulator:
        emulator.fail("add_message", Fault(code=50004))
        return await main(emulator.base_url, emulator.host)


if __name__ == "__main__":
    print("found:", *asyncio.run(on_this_machine()))
