"""Programs that are killed: ``python sinks_crash.py steps|chance KIND FOLDER PLACE [ROUNDS]``.

Each round forks a child that runs a poller with one sink on a store on disk, and is killed with -9:
at its n-th step, or at a random instant.  Another child then goes on to the end.  What took effect
must be the events of the store, each once, in order; the result of every round is printed.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pollers import Poller
from pollers.sinks import JetStream, JsonLines, RedisStream, json_lines
from pollers.sources import CallableSource
from pollers.store.sqlite import SqliteStore
from resilience import Guard

JOBS = [f"VI{i}" for i in range(6)]


class Steps:
    """Counts steps, and kills this process at one of them."""

    def __init__(self, fatal: int) -> None:
        self.left = fatal

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, *names: str) -> None:
        """A step before and one behind each call."""
        for name in names:
            setattr(owner, name, self._wrapped(getattr(owner, name)))

    def _wrapped(self, function: Any) -> Any:
        async def later(*args: Any, **settings: Any) -> Any:
            self.step()
            answer = await function(*args, **settings)
            self.step()
            return answer

        def now(*args: Any) -> Any:
            self.step()
            answer = function(*args)
            self.step()
            return answer

        return later if asyncio.iscoroutinefunction(function) else now

    def torn(self, fd: int, data: bytes) -> int:
        """A write that may get half of it to the disk."""
        self.step()
        half = os.write(fd, data[: len(data) // 2])
        self.step()
        return half + os.write(fd, data[half:])


class Os:
    """The module ``os`` as the file sink sees it."""

    def __init__(self, steps: Steps) -> None:
        self.write = steps.torn

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def instrument(kind: str, steps: Steps) -> None:
    steps.around(SqliteStore, "ack", "commit", "register")
    if kind == "file":
        json_lines.os = Os(steps)  # type: ignore[assignment]
        steps.around(json_lines.os, "fsync", "ftruncate")
    elif kind == "redis":
        from redis.asyncio.client import Pipeline

        steps.around(Pipeline, "execute")
    else:
        from nats.js import JetStreamContext

        steps.around(JetStreamContext, "publish", "get_last_msg")


def sink(kind: str, folder: Path, place: str) -> Any:
    if kind == "file":
        one: Any = JsonLines(folder / "events.jsonl")
    elif kind == "redis":
        one = RedisStream(place, f"{folder}")
    else:
        one = JetStream(place, *stream(folder))
    one.batch = 4
    return one


def stream(folder: Path) -> tuple[str, str]:
    name = str(folder).replace("/", "_").replace(".", "_")
    return name, f"events.{name}"


async def work(kind: str, folder: Path, place: str) -> None:
    """Watch six jobs to their ends, at two looks."""

    async def look(ids: list[str]) -> dict[str, str]:
        return {one: "done" if int(one[2:]) < 3 or looked else "running" for one in ids}

    looked: list[str] = []
    source = CallableSource(
        look, batch=4, succeeded=["done"], failed=[], pending=["running"], guard=Guard("http", "a")
    )
    async with Poller(
        source, store=str(folder / "jobs.db"), sinks=[sink(kind, folder, place)], min_interval=0.01,
        max_interval=0.01,
    ) as poller:  # fmt: skip
        handles = await poller.watch_many(JOBS)
        await asyncio.sleep(0.02)
        looked.append("")
        for handle in handles:
            await handle.result()


async def effects(kind: str, folder: Path, place: str) -> list[str]:
    """The ids that took effect."""
    if kind == "file":
        lines = (folder / "events.jsonl").read_bytes().split(b"\n")[:-1]
        return [json.loads(line)["id"] for line in lines]
    if kind == "redis":
        import redis.asyncio

        async with redis.asyncio.Redis.from_url(place) as client:
            return [entry[b"id"].decode() for _, entry in await client.xrange(f"{folder}")]
    import nats

    client = await nats.connect(place)
    js, (name, _) = client.jetstream(), stream(folder)
    last = (await js.stream_info(name)).state.last_seq
    found = [json.loads((await js.get_msg(name, seq)).data)["id"] for seq in range(1, last + 1)]
    await client.close()
    return found


async def prepare(kind: str, folder: Path, place: str) -> None:
    if kind == "nats":
        import nats

        client = await nats.connect(place)
        name, subject = stream(folder)
        await client.jetstream().add_stream(name=name, subjects=[subject])
        await client.close()


async def told(folder: Path) -> list[str]:
    store = SqliteStore(folder / "jobs.db")
    await store.open()
    rows = await store.events(0)
    await store.aclose()
    return [f"{store.uuid}:{row.rid}:{row.version}" for row in rows]


def forked(main: Callable[[], None]) -> int:
    """Run it in a child; the signal that killed it, or 0."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] & 0x7F
    try:
        main()
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def round_(
    kind: str, folder: Path, place: str, *, at: int = 0, after: float = 0.0
) -> dict[str, Any]:
    folder.mkdir()

    def run(kill: bool) -> None:
        if kill and after:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, after)
        if kill and at:
            instrument(kind, Steps(at))
        asyncio.run(work(kind, folder, place))

    forked(lambda: asyncio.run(prepare(kind, folder, place)))
    killed = forked(lambda: run(True))
    if killed:
        forked(lambda: run(False))
    found, expected = asyncio.run(both(kind, folder, place))
    return {
        "killed": killed == signal.SIGKILL,
        "lost": len(set(expected) - set(found)),
        "doubled": len(found) - len(set(found)),
        "in_order": found == expected,
        "events": len(expected),
    }


async def both(kind: str, folder: Path, place: str) -> tuple[list[str], list[str]]:
    return await effects(kind, folder, place), await told(folder)


def main(how: str, kind: str, folder: str, place: str, rounds: str = "10000") -> None:
    chance = random.Random(5)
    begun = time.monotonic()
    for number in range(1, int(rounds) + 1):
        where = Path(folder, f"{how}{number}")
        if how == "steps":
            result = round_(kind, where, place, at=number)
        else:
            result = round_(kind, where, place, after=chance.uniform(0.001, 0.12))
        print(json.dumps(result | {"at": round(time.monotonic() - begun, 1)}), flush=True)
        if how == "steps" and not result["killed"]:
            break  # it came to its end before that step


if __name__ == "__main__":
    main(*sys.argv[1:])
