"""Another process that uses a store: ``python store_process.py write|hold|fork|read FILE``."""

# ruff: noqa: D102, D103, T201  # helpers say it by their names

import asyncio
import os
import signal
import sys

from msgspec.structs import replace
from store_words import A, changed, ended, new

from pollers.store.sqlite import SqliteStore


async def write(path: str) -> None:
    """Commit without end, and say which events were acknowledged."""
    store = SqliteStore(path)
    await store.open()
    epoch = await store.acquire(A)

    async def work(name: str) -> None:
        for round_ in range(10**9):
            (job,) = await store.register(A, epoch, [new(name, at=float(round_))], again=True)
            for move in (changed, ended):
                if not job.state.ended:
                    one = move(replace(job, version=job.version))
                    (row,) = await store.commit(
                        A, epoch, [one], blobs={name: b"%d" % one.after.version}
                    )
                    print(row.seq, row.rid, row.version, flush=True)
                    job = one.after

    await asyncio.gather(*(work(f"VI{i}") for i in range(5)))


async def hold(path: str) -> None:
    """Have it open for writing until killed."""
    store = SqliteStore(path)
    await store.open()
    print("open", flush=True)
    signal.pause()


async def fork(path: str) -> None:
    """Have it open for writing until killed; a child of it stays until its input ends."""
    store = SqliteStore(path)
    await store.open()
    if os.fork() == 0:
        print("open", flush=True)
        sys.stdin.read()
        os._exit(0)
    signal.pause()


async def read(path: str) -> None:
    """Say what the head is, for each line that comes in."""
    store = SqliteStore(path, read_only=True)
    await store.open()
    for _ in sys.stdin:
        print(await store.head(), len(await store.jobs()), flush=True)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(
        {"write": write, "hold": hold, "fork": fork, "read": read}[sys.argv[1]](sys.argv[2])
    )
