"""A process that submits and is killed: ``python submit_crash.py FOLDER steps|chance [ROUNDS]``.

Each round forks a child that submits three jobs on a store on disk, to a provider that is a file: a
line is a job that was made and billed.  The child is killed with -9 at its n-th step (before and
behind each commit, and each line), or at a random instant.  Another child goes on: it submits
nothing, and waits until every intent is decided.  The result of every round is printed.
"""

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pollers import Intent, Poller
from pollers.sources import CallableSource
from pollers.store.sqlite import SqliteStore
from resilience import Guard

GRACE = 0.15


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
        async def stepping(*args: Any, **settings: Any) -> Any:
            self.step()
            answer = await function(*args, **settings)
            self.step()
            return answer

        return stepping


class FileProvider:
    """Jobs are lines of a file, written through to the disk: a number and the token."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "made"

    def made(self) -> dict[str, str]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return dict(line.split() for line in lines)

    async def make(self, token: str) -> str:
        number = f"J{len(self.made()) + 1}"
        with self.path.open("a") as file:
            file.write(f"{number} {token}\n")
            file.flush()
            os.fsync(file.fileno())
        return number

    async def upload(self, intent: Intent) -> str:
        return await self.make(intent.token)

    async def find(self, intent: Intent) -> list[str]:
        return [number for number, token in self.made().items() if token == intent.token]

    async def ask(self, ids: list[str]) -> dict[str, str]:
        return dict.fromkeys(self.made(), "done")


def poller(folder: Path) -> Poller:
    provider = FileProvider(folder)
    source = CallableSource(
        provider.ask, batch=9, succeeded=["done"], failed=[], find_submitted=provider.find,
        guard=Guard("http", "a"),
    )  # fmt: skip
    return Poller(
        source, store=folder / "jobs.db", grace=GRACE, min_interval=0.01, max_interval=0.01
    )


async def work(folder: Path) -> None:
    """Submit three jobs, two at once, and wait for their ends."""
    provider = FileProvider(folder)
    async with poller(folder) as one:
        first = await one.submit(provider.upload)
        others = await asyncio.gather(*(one.submit(provider.upload) for _ in range(2)))
        for job in (first, *others):
            await job.result()


async def go_on(folder: Path) -> None:
    """Wait until nothing is left to be decided."""
    async with poller(folder) as one:
        while await one.jobs(state="submitting") or await one.jobs(state="watching"):
            await asyncio.sleep(0.01)


async def found(folder: Path) -> dict[str, Any]:
    """What is true in the end."""
    store = SqliteStore(folder / "jobs.db", read_only=True)
    await store.open()
    jobs, events = await store.jobs(), await store.events(0)
    await store.aclose()
    made = FileProvider(folder).made()
    tokens = {event.rid: event.subject for event in events if event.type == "submitting"}
    state_of = {tokens[job.rid]: job.state.value for job in jobs}
    ended = Counter(event.rid for event in events if event.type in ("succeeded", "uncertain"))
    return {
        "intents": len(jobs),
        "made": len(made),
        "twice": len(made) - len(set(made.values())),
        "lost": [token for token in made.values() if state_of.get(token) != "succeeded"],
        "invented": [
            token for token, state in state_of.items()
            if token not in made.values() and state != "uncertain"
        ],
        "ends": sorted(ended.values()),
    }  # fmt: skip


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


def round_(folder: Path, *, at: int = 0, after: float = 0.0) -> dict[str, Any]:
    folder.mkdir()

    def run() -> None:
        if after:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, after)
        else:
            steps = Steps(at)
            steps.around(SqliteStore, "register", "commit")
            steps.around(FileProvider, "make")
        asyncio.run(work(folder))

    killed = forked(run)
    if not (folder / "jobs.db").exists():
        return {"killed": True, "intents": 0}
    forked(lambda: asyncio.run(go_on(folder)))
    return {"killed": killed == signal.SIGKILL, **asyncio.run(found(folder))}


def main(folder: str, how: str, rounds: str = "1000") -> None:
    chance = random.Random(7)
    for number in range(1, int(rounds) + 1):
        where = Path(folder, f"{how}{number}")
        if how == "steps":
            result = round_(where, at=number)
        else:
            result = round_(where, after=chance.uniform(0.002, 0.06))
        print(json.dumps(result), flush=True)
        if how == "steps" and not result["killed"]:
            break  # it came to its end before that step


if __name__ == "__main__":
    main(*sys.argv[1:])
