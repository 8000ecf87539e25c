"""A provider on paper for `CallableSource`, the emulator in virtual time, and both event loops."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import anyio
import pytest
import trio
from trio.testing import MockClock

from pollers import Event, JobHandle, Poller, PollerStopped, Sighting, StoreError
from pollers._core.model import Phase
from pollers.emulator import MemoriesEmulator
from pollers.sources import CallableSource, MemoriesVideos
from pollers.store import MemoryStore
from resilience import Guard, Policy
from resilience.testing import EPOCH, FixedChance, run_virtual, wall

NEVER = float("inf")

PAPER = Policy.from_dict(
    {
        "name": "paper",
        "extends": "http",
        "envelope": [
            {
                "required": ["/code", "/msg"], "code": "/code", "message": "/msg",
                "retry_after": "/retry_after", "success": ["0"],
            }
        ],
        "codes": {
            "busy": {"verdict": "quota", "recovers": "window", "scope": "endpoint", "wait": 2.0},
            "locked": {"verdict": "quota", "recovers": "cooldown", "scope": "account", "wait": 600},
            "empty": {
                "verdict": "quota", "recovers": "exhausted", "scope": "account", "probe_every": 40.0,
                "title": "No points", "remedy": "Pay.",
            },
            "refused": {
                "verdict": "fatal", "scope": "account", "probe_every": 40.0,
                "title": "Refused", "remedy": "Mend the key.",
            },
            "bad": {"verdict": "fatal", "title": "Bad"},
            "down": {"verdict": "retryable", "certainty": "not_executed", "wait": 1.0},
        },
    }
)  # fmt: skip
BUSY = {"code": "busy", "msg": "slow down"}
LOCKED = {"code": "locked", "msg": "ten minutes"}
EMPTY = {"code": "empty", "msg": "no points"}
REFUSED = {"code": "refused", "msg": "who are you?"}
BAD = {"code": "bad", "msg": "wrong"}
DOWN = {"code": "down", "msg": "not now"}


class Provider:
    """Jobs whose status follows from the clock; remembers when it was asked for what.

    ``trouble`` is what goes wrong next: a body with a code, an exception, or None for nothing; an
    item may also be a function that gets the ids asked for and returns one of these.
    """

    def __init__(self, *, delay: float = 0.0) -> None:
        self.lives: dict[str, list[tuple[float, Any]]] = {}
        self.delay = delay
        self.trouble: list[Any] = []
        self.always: Callable[[list[str]], Any] | None = None
        self.asked: list[tuple[float, tuple[str, ...]]] = []
        self.rounded = 3

    def add(self, job_id: str, *, at: float = 0.0, end: Any = "done", visible: float = 0.0) -> str:
        """A job that is pending from ``visible`` on and ends at ``at``."""
        self.lives[job_id] = [(visible, "running"), (at, end)]
        return job_id

    def status(self, job_id: str) -> Any:
        found = None
        for since, status in self.lives.get(job_id, ()):
            if anyio.current_time() >= since:
                found = status
        return found

    @property
    def asked_at(self) -> list[float]:
        return [at for at, _ in self.asked]

    def looks_at(self, job_id: str) -> list[float]:
        return [at for at, ids in self.asked if job_id in ids]

    async def one(self, job_id: str) -> Any:
        wrong = await self._asked([job_id])
        return self.status(job_id) if wrong is None else wrong

    async def many(self, ids: list[str]) -> Any:
        wrong = await self._asked(ids)
        return {one: self.status(one) for one in ids} if wrong is None else wrong

    async def _asked(self, ids: list[str]) -> Any:
        self.asked.append((round(anyio.current_time(), self.rounded), tuple(ids)))
        wrong = self.trouble.pop(0) if self.trouble else None
        if wrong is None and self.always is not None:
            wrong = self.always
        if callable(wrong):
            wrong = wrong(ids)
        if self.delay:
            await anyio.sleep(self.delay)
        if isinstance(wrong, BaseException):
            raise wrong
        return wrong

    def source(self, **settings: Any) -> CallableSource:
        batch = settings.setdefault("batch", 1)
        settings.setdefault("succeeded", ["done"])
        settings.setdefault("failed", ["broken"])
        settings.setdefault("pending", ["running"])
        settings.setdefault("guard", paper_guard())
        return CallableSource(self.one if batch == 1 else self.many, **settings)


def paper_guard(account: str = "default", policy: Policy = PAPER, **settings: Any) -> Guard:
    return Guard(policy, account, **{"wall": wall, "chance": FixedChance(0.0), **settings})


def make_poller(*sources: Any, **settings: Any) -> Poller:
    """A poller that looks every second, on virtual wall time, with draws of 0 (no jitter)."""
    settings.setdefault("min_interval", 1.0)
    settings.setdefault("max_interval", max(1.0, settings["min_interval"]))
    return Poller(*sources, **{"wall": wall, "chance": FixedChance(0.0), **settings})


class SlowStore(MemoryStore):
    """A memory store that takes its time, as a file does, and refuses when it is closed."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.is_open = False
        self.fail_commit: Exception | None = None

    async def open(self) -> None:
        self.is_open = True

    async def aclose(self) -> None:
        self.is_open = False

    async def _wait(self) -> None:
        if not self.is_open:
            raise StoreError("the store is not open")
        if self.seconds:
            await anyio.sleep(self.seconds)

    async def register(self, *args: Any, **settings: Any) -> Any:
        await self._wait()
        done = await super().register(*args, **settings)
        await self._wait()
        return done

    async def commit(self, *args: Any, **settings: Any) -> Any:
        await self._wait()
        if self.fail_commit is not None:
            raise self.fail_commit
        done = await super().commit(*args, **settings)
        await self._wait()
        return done

    async def events(self, *args: Any, **settings: Any) -> Any:
        await self._wait()
        return await super().events(*args, **settings)

    async def last_event(self, rid: int) -> Any:
        await self._wait()
        return await super().last_event(rid)

    async def find(self, key: Any) -> Any:
        await self._wait()
        return await super().find(key)

    async def jobs(self, **settings: Any) -> Any:
        await self._wait()
        return await super().jobs(**settings)


async def stored(store: MemoryStore) -> list[Event]:
    """Every event in the outbox."""
    from pollers._core.events import event_of

    return [event_of(row, store.uuid) for row in await MemoryStore.events(store, 0, 1_000_000)]


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def now() -> float:
    return round(anyio.current_time(), 3)


def since_epoch(event: Event) -> float:
    """Virtual time at which an event was noticed."""
    return round(event.time.timestamp() - EPOCH, 3)


async def results(handles: list[JobHandle]) -> list[Event]:
    return [await handle.result() for handle in handles]


async def stop_of(awaitable: Awaitable[Any]) -> PollerStopped:
    """The PollerStopped that something raises."""
    with pytest.raises(PollerStopped) as caught:
        await awaitable
    return caught.value


async def take(stream: AsyncIterator[Event], count: int) -> list[Event]:
    """The next events of a stream."""
    taken: list[Event] = []
    async for event in stream:
        taken.append(event)
        if len(taken) == count:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return taken


# -- one look of a source ----------------------------------------------------------------------


def picker(*ids: str) -> Any:
    """Gives these ids, whatever is due."""
    return lambda count: list(ids[:count])


async def look(source: Any, *ids: str, **options: Any) -> dict[str, Sighting]:
    """One look at these jobs: one attempt that waits for nothing."""
    options = {"max_attempts": 1, "max_wait": 0.0, **options}
    return dict(await source.look(source.guard.options(**options), picker(*ids)))


def phases(seen: dict[str, Sighting]) -> dict[str, Phase]:
    return {number: one.phase for number, one in seen.items()}


# -- the emulator -----------------------------------------------------------------------------

UNLIMITED: Mapping[str, None] = dict.fromkeys(
    ("upload", "list", "metadata", "delete", "task", "scrape")
)
KEY = "sk-test"


class World:
    """An emulator, a session with the guard's middleware, and a source."""

    def __init__(
        self, emulator: MemoriesEmulator, session: aiohttp.ClientSession, guard: Guard
    ) -> None:
        self.emulator = emulator
        self.session = session
        self.guard = guard

    def source(self, **settings: Any) -> MemoriesVideos:
        settings = {"api_key": KEY, "base_url": self.emulator.base_url, **settings}
        return MemoriesVideos(self.session, **settings)

    def asked(self, interface: str = "list") -> list[tuple[str, ...]]:
        return [seen.video_nos for seen in self.emulator.requests if seen.interface == interface]

    def asked_at(self, *interfaces: str) -> list[float]:
        wanted = interfaces or ("list",)
        return [round(s.time, 3) for s in self.emulator.requests if s.interface in wanted]


@asynccontextmanager
async def world(*, middleware: bool = True, **settings: Any) -> AsyncIterator[World]:
    """By default without limits; ``limits={}`` brings the documented ones."""
    settings = {"limits": UNLIMITED, "decode": False, "parse_seconds": 0.0} | settings
    guard = Guard("memories_ai", wall=wall, chance=FixedChance(1.0))
    used = [guard.aiohttp(hosts=["127.0.0.1"])] if middleware else []
    async with MemoriesEmulator(**settings) as emulator:
        async with aiohttp.ClientSession(middlewares=used) as session:
            yield World(emulator, session, guard)


# -- both loops -------------------------------------------------------------------------------


def on_trio(main: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(main, clock=MockClock(autojump_threshold=0))


BACKENDS = [
    pytest.param(run_virtual, id="asyncio"),
    pytest.param(partial(run_virtual, seed=1), id="asyncio-shuffled"),
    pytest.param(on_trio, id="trio"),
]


@pytest.fixture(params=BACKENDS)
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Runs an async function in virtual time, on each loop."""
    return request.param
