"""For a plain script: watch some videos, end with an exit code, and go on after Ctrl-C.

Run it: ``python examples/plain_script.py VI1 VI2``.  A script has nobody to mend a refused key while
it waits, so it says ``on_refused="stop"``; what is in the ``$STORE`` file is not asked for again.
"""

import asyncio
import os
import sys

import aiohttp
from provider import provider

from pollers import JobExpired, JobFailed, JobSucceeded, Poller, PollerStopped
from pollers.sources import MemoriesVideos

STORE = os.environ.get("STORE", ":memory:")


async def main(numbers: list[str]) -> int:
    with provider() as api:
        async with aiohttp.ClientSession(headers={"Authorization": api.key}) as session:
            source = MemoriesVideos(session, base_url=api.base_url)
            async with Poller(source, store=STORE, on_refused="stop", min_interval=0.2) as poller:
                try:
                    jobs = await poller.watch_many(numbers, deadline=1800)
                    ends = [await job.result() for job in jobs]
                except PollerStopped as stopped:
                    print(stopped.__cause__, file=sys.stderr)  # the code, and what to do
                    return 3
    for event in ends:
        match event:
            case JobSucceeded():
                print(f"{event.job_id} is parsed")
            case JobFailed() | JobExpired():
                print(f"{event.job_id}: {event.cause or event.status or 'never seen'}")
    return 0 if all(isinstance(event, JobSucceeded) for event in ends) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:] or ["VI1", "VI2"])))
