"""What the program of each process does with its poller: watch, wait, read, change its mind."""

# ruff: noqa: D102, D103  # helpers say it by their names

import math
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from sim_process import Process, pause
from sim_sinks import name_of

from pollers import BadCursor, JobHandle, JobPruned, Poller, SubmitUncertain
from pollers._core.events import TERMINAL
from resilience import ResilienceError

if TYPE_CHECKING:
    from sim_world import World

UNCERTAIN = "uncertain"


class Users:
    """Of one process."""

    def __init__(self, world: "World", process: Process, poller: Poller) -> None:
        self.world = world
        self.chance = world.chance
        self.process = process
        self.poller = poller
        self.held: dict[str, JobHandle | None] = {}

    async def live(self, *, calm: bool) -> None:
        """All that they do, until somebody ends the process."""
        self.is_calm = calm
        async with anyio.create_task_group() as users:
            users.start_soon(self.read)
            for at, name, home, law in self.world.plan:
                care = self.order if name in self.world.orders else self.care
                users.start_soon(care, at, name, home, law)
                if hasattr(self.poller, "hint"):
                    users.start_soon(self.call_back, at, name)
            if not calm:
                users.start_soon(self.look_around)
                await anyio.sleep_forever()
            await self.finish()
            users.cancel_scope.cancel()

    async def care(self, at: float, name: str, home: tuple[str, str], law: str) -> None:
        """Watch a job that is not stored yet, and wait for it; or wait for one that is."""
        world, chance = self.world, self.chance
        await anyio.sleep(max(0.0, at - anyio.current_time()))
        if name not in world.provider.lives:
            world.provider.submit(name, law)
        handle = None
        if name in world.stored and chance.random() < 0.5:
            handle = await self.find(name)
        if handle is None:
            handle = await self.watch(name)
        self.held[name] = handle
        if not self.is_calm and chance.random() < 0.15:
            await anyio.sleep(self.spell(name))
            world.unwatched.add(name)
            await handle.unwatch()
        while True:
            with anyio.move_on_after(chance.choice([5.0, 1000.0])):  # changes nothing for the job
                if await self.result(handle) is None:
                    return
                if self.is_calm or world.again.get(name, 0) >= 2 or chance.random() < 0.7:
                    return
                world.again[name] = world.again.get(name, 0) + 1
                handle = await self.watch(name, again=True)

    async def order(self, at: float, name: str, home: tuple[str, str], law: str) -> None:
        """Hand in what was not handed in yet, and wait for what becomes of it; decide if nobody can."""
        world, chance = self.world, self.chance
        await anyio.sleep(max(0.0, at - anyio.current_time()))
        while name not in world.handed_in:
            with anyio.move_on_after(chance.choice([60.0, 1000.0, 3.0])):
                await self.submit(name, home, law)
        handle = await self.row_of(name)
        if handle is None:
            self.held[name] = None
            if world.keep is None:
                world.trace.blame(f"{name} was handed in, and there is no row of it")
            return
        if not self.is_calm and chance.random() < 0.1:
            await anyio.sleep(chance.uniform(0.0, 40.0))
            world.unwatched.add(name)
            await handle.unwatch()
        while await self.result(handle) is UNCERTAIN and chance.random() < 0.6:
            await self.decide(name, handle)
        self.held[name] = handle

    async def submit(self, name: str, home: tuple[str, str], law: str) -> None:
        """Once; whether it was refused, or nobody knows, is in the store."""
        world, (account, kind) = self.world, home
        try:
            await self.poller.submit(
                partial(world.submitted.take, self.process, account, kind, law), data=name,
                deadline=world.deadlines[name], account=account, kind=kind,
            )  # fmt: skip
        except (ResilienceError, TypeError, OSError) as error:
            self.process.step("refused", name, error)

    async def row_of(self, name: str) -> JobHandle | None:
        """As a program finds what it has handed in: by the data; its id may change meanwhile."""
        while keys := [row.key for row in await self.poller.jobs() if row.data == name]:
            found = keys[0].remote_id, keys[0].kind, keys[0].account
            handle = await self.poller.job(found[0], kind=found[1], account=found[2])
            if handle is not None:
                return handle
        return None

    async def decide(self, name: str, handle: JobHandle) -> None:
        """Somebody has looked at the provider: it is there, or not."""
        world, token = self.world, self.world.handed_in[name]
        await anyio.sleep(self.chance.choice([0.0, 10.0]))
        made = world.submitted.made[token]
        self.process.step("decides", name, *made)
        if not made:
            world.unwatched.add(name)
            await handle.unwatch()
            return
        chosen = world.settled.setdefault(token, self.chance.choice(made))
        with suppress(LookupError):  # somebody did so already
            await self.poller.settle(handle, remote_id=chosen)

    def spell(self, name: str) -> float:
        """How long somebody has patience with a job; often it ends just then."""
        end = self.world.provider.lives[name].end + self.chance.uniform(-2.0, 2.0)
        left = min(200.0, max(0.0, end - anyio.current_time()))
        return self.chance.choice([self.chance.uniform(0.0, 40.0), left])

    async def watch(self, name: str, **options: Any) -> JobHandle:
        world, chance = self.world, self.chance
        account, kind = world.homes[name]
        life = world.provider.lives[name]
        if chance.random() < 0.3:
            options["submitted_at"] = world.wall() - chance.choice([0.0, 5.0, 3600.0, -60.0])
        if chance.random() < 0.3:
            options["features"] = {"duration": max(1.0, min(life.end - life.visible, 1e6))}
        handle = await self.poller.watch(
            name, deadline=world.deadlines[name], data=name, account=account, kind=kind, **options
        )
        world.stored.add(name)
        return handle

    async def call_back(self, at: float, name: str) -> None:
        """The provider tells of a job's end: early or late, once, twice, or not at all; or of nothing."""
        chance, now = self.chance, anyio.current_time
        await anyio.sleep(max(0.0, at + 1.0 - now()))
        name = self.world.submitted.names.get(name, name)
        life = self.world.provider.lives.get(name)
        if life is None or life.end == math.inf:
            return
        await anyio.sleep(max(0.0, life.end + chance.choice([-4.0, 0.0, 0.2, 15.0]) - now()))
        for one in chance.choice([[], [name], [name, name], [name, "forged"]]):
            self.process.step("hint", one)
            self.poller.hint([one])
            await pause(chance.choice([0.0, 0.5]))

    async def find(self, name: str) -> JobHandle | None:
        account, kind = self.world.homes[name]
        return await self.poller.job(name, account=account, kind=kind)

    async def result(self, handle: JobHandle) -> Any:
        """The end of a job; whoever asks again, in whatever process, is told the same."""
        try:
            event = await handle.result()
        except JobPruned:
            if self.world.keep is None:
                self.world.trace.blame(f"{handle}: pruned, and keep=None")
            return None
        except SubmitUncertain:
            return UNCERTAIN
        line, _ = name = name_of(event)
        self.process.step("result", *name, type(event).__name__)
        known = self.world.told.setdefault(line, event)
        if known != event or not isinstance(event, TERMINAL):
            self.world.trace.blame(f"{handle}: {event} is not {known}")
        return event

    async def read(self) -> None:
        """The stream, from where the consumer is."""
        consumer = self.world.reader
        while True:
            cursor = consumer.cursor
            try:
                async with aclosing(self.poller.events(after=cursor)) as stream:
                    async for event in stream:
                        self.process.step("stream", *name_of(event))
                        if not consumer.take(event, after=cursor):
                            break
                        cursor = event.cursor
                        await pause(self.chance.choice([0.0, 0.0, 0.0, 1.0]))
            except BadCursor:
                if self.world.keep is None:
                    self.world.trace.blame("the cursor of an event is bad, and keep=None")
                consumer.start_over()

    async def look_around(self) -> None:
        """What it shows agrees with itself."""
        while True:
            await anyio.sleep(self.chance.uniform(1.0, 60.0))
            for job in await self.poller.jobs(state="watching"):
                if job.ended_at is not None or job.state.ended:
                    self.world.trace.blame(f"a running job that has ended: {job}")
            await self.poller.parked()

    async def finish(self) -> None:
        """Wait until every job has ended and every event is where it belongs."""
        while len(self.held) < len(self.world.plan):
            await anyio.sleep(1.0)
        for handle in self.held.values():
            if handle is not None:
                await self.result(handle)
        while not await self.world.all_are_told():
            await anyio.sleep(5.0)
