"""Many callers, one quota: who waits, who goes, and what a cancellation leaves behind."""

import asyncio

import anyio
import pytest
from driver_kit import (
    BUSY,
    DOWN,
    EMPTY,
    FLOOD,
    LOCKED,
    LOST,
    OK,
    REFUSED,
    at_rest,
    make_guard,
)

from resilience import FatalError, QuotaError
from resilience.testing import Script, run_virtual


class Window:
    """A server that rejects everything before an instant, and says how long that is."""

    def __init__(self, opens: float, *, latency: float = 0.0, code: dict = FLOOD) -> None:
        self.opens = opens
        self.latency = latency
        self.code = code
        self.seen: list[tuple[float, int]] = []

    async def read(self, who: int) -> dict:
        """Answer by the time of day."""
        now = anyio.current_time()
        self.seen.append((now, who))
        if self.latency:
            await anyio.sleep(self.latency)
        return OK if now >= self.opens else {**self.code, "retry_after": self.opens - now}


async def closed_window():
    """A guard whose door is closed for ten seconds, when that began, and the server that closed it."""
    guard = make_guard()
    zero = anyio.current_time()
    server = Window(zero + 10)
    with pytest.raises(QuotaError):
        await guard.options(max_wait=0).call(server.read, -1)
    return guard, zero, server


async def together(guard, server, count, *, gap=0.0):
    """Call ``count`` times at once (or ``gap`` seconds apart); gives (moment, result) of each."""
    ended = {}

    async def one(who):
        ended[who] = await guard.call(server.read, who), anyio.current_time()

    async with anyio.create_task_group() as group:
        for who in range(count):
            group.start_soon(one, who)
            if gap:
                await anyio.sleep(gap)
    return ended


# -- one window -----------------------------------------------------------------------------------


@pytest.mark.parametrize("latency", [0.0, 0.05, 0.5])
def test_a_hundred_callers_share_one_window(run, latency):
    """Everybody waits for the same door, one caller tries it, and nobody fails."""

    async def main():
        guard = make_guard()
        zero = anyio.current_time()
        server = Window(zero + 30, latency=latency)
        ended = await together(guard, server, 100, gap=0.001)
        assert len(ended) == 100
        assert all(result == OK for result, _ in ended.values())
        before = [t for t, _ in server.seen if t < zero + 30]
        after = [t for t, _ in server.seen if t >= zero + 30]
        # before anybody could know, one request per caller of the first round trip
        assert len(before) <= 1 + latency / 0.001
        assert len(after) == 100
        # a hint is counted from the moment it arrives, so the door opens up to a round trip late
        probe = min(after) - zero
        assert probe == pytest.approx(30 + latency)
        assert sorted(after)[1] >= min(after) + latency
        # nothing is known of the limit, so the others start at 10 a second, twice as fast every second
        last = max(moment for _, moment in ended.values()) - zero
        assert probe + 2 * latency + 2.8 <= last <= probe + 2 * latency + 3.1
        at_rest(guard)

    run(main)


def test_oldest_waiter_is_the_probe(run):
    """Whoever asked first tries the door first, in every closing."""

    async def main():
        guard = make_guard()
        zero = anyio.current_time()
        server = Window(zero + 30)
        await together(guard, server, 20, gap=0.1)
        first_after = next(who for t, who in server.seen if t >= zero + 30)
        assert first_after == 0

    run(main)


def test_first_come_first_served():
    """On a loop that keeps its order, the callers leave in the order in which they came."""

    async def main():
        guard = make_guard()
        server = Window(30)
        await together(guard, server, 20, gap=0.1)
        assert [who for t, who in server.seen if t >= 30] == list(range(20))

    run_virtual(main)


def test_newcomer_does_not_overtake(run):
    """Who comes when the door has just become free waits behind those who were there."""

    async def main():
        guard = make_guard()
        zero = anyio.current_time()
        server = Window(zero + 10, latency=1.0)
        with pytest.raises(QuotaError):
            await guard.options(max_wait=0).call(server.read, -1)
        async with anyio.create_task_group() as group:
            group.start_soon(guard.call, server.read, 0)
            await anyio.sleep(0.5)
            group.start_soon(guard.call, server.read, 1)
            await anyio.sleep_until(zero + 11.5)
            group.start_soon(guard.call, server.read, 2)
        # the hint of 10 s arrived after 1 s; the door opened for one at 11, for all at 12
        assert [who for _, who in server.seen[:2]] == [-1, 0]
        assert [round(t - zero, 2) for t, _ in server.seen] == [0.0, 11.0, 12.0, 12.1]
        at_rest(guard)

    run(main)


def test_endpoint_window_stops_no_other_endpoint(run):
    """A busy read stops reads, and nothing else."""

    async def main():
        guard = make_guard()
        zero = anyio.current_time()
        server = Window(zero + 4, code=BUSY)
        async with anyio.create_task_group() as group:
            group.start_soon(guard.call, server.read, 0)
            group.start_soon(guard.call, server.read, 1)
            await anyio.sleep(1)
            assert await guard.options(max_wait=0).call(Script([OK], name="other_read")) == OK
            assert anyio.current_time() == zero + 1
        at_rest(guard)

    run(main)


def test_group_closes_together(run):
    """A rejection of a group closes the endpoints of the group and no other."""

    async def main():
        guard = make_guard().options(max_wait=0)
        with pytest.raises(QuotaError):
            await guard.call(Script([{"code": "murmur", "msg": ""}], name="chat"))
        with pytest.raises(QuotaError) as caught:
            await guard.call(Script([OK], name="whisper"))
        assert caught.value.attempts == 0
        assert await guard.call(Script([OK], name="read")) == OK

    run(main)


def test_the_impatient_fail_now_the_patient_go_on(run):
    """Each waiter keeps its own max_wait and deadline; who can't make it is told at once."""

    async def main():
        guard = make_guard()
        zero = anyio.current_time()
        server = Window(zero + 20)
        ended = []

        async def one(who, **options):
            try:
                await guard.options(**options).call(server.read, who)
            except QuotaError as error:
                ended.append((who, error.reason, anyio.current_time() - zero))
            else:
                ended.append((who, None, anyio.current_time() - zero))

        async with anyio.create_task_group() as group:
            group.start_soon(one, 0)
            await anyio.sleep(1)
            group.start_soon(lambda: one(1, max_wait=5))
            group.start_soon(lambda: one(2, deadline=5))
            group.start_soon(lambda: one(3, max_wait=25))
        assert sorted(ended) == [
            (0, None, 20.0),
            (1, "max_wait", 1.0),
            (2, "deadline", 1.0),
            (3, None, 20.0),
        ]
        at_rest(guard)

    run(main)


def test_longer_closing_refuses_those_it_is_too_long_for(run):
    """If the probe is rejected for longer than a waiter has, that waiter fails then, not later."""

    async def main():
        guard = make_guard()
        zero = anyio.current_time()
        script = Script([FLOOD, {**FLOOD, "retry_after": 100}], name="read")
        failures = []

        async def one():
            with pytest.raises(QuotaError) as caught:
                await guard.call(script)
            failures.append(
                (anyio.current_time() - zero, caught.value.reason, caught.value.retry_after)
            )

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)
        assert failures == [(10.0, "max_wait", 100.0)] * 5
        assert script.asked_at[-1] == 10.0
        at_rest(guard)

    run(main)


@pytest.mark.parametrize(
    ("step", "kind"),
    [pytest.param(EMPTY, QuotaError, id="empty"), pytest.param(REFUSED, FatalError, id="refused")],
)
def test_waiters_of_an_account_that_runs_empty_fail_at_once(run, step, kind):
    """Those who wait for a window learn at once that the account is exhausted or refused."""

    async def main():
        guard = make_guard()
        zero = anyio.current_time()
        script = Script([FLOOD, step], name="read")
        ended = []

        async def one():
            with pytest.raises(kind):
                await guard.call(script)
            ended.append(anyio.current_time() - zero)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)
                await anyio.sleep(0.1)
        assert ended == [10.0] * 5
        assert script.calls == 2
        at_rest(guard)

    run(main)


# -- cancellation ---------------------------------------------------------------------------------


def test_leader_cancelled(run):
    """When the caller that watches the clock is cancelled, the next takes over in time."""

    async def main():
        guard, zero, server = await closed_window()
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def leader():
                with scope:
                    await guard.call(server.read, 0)

            group.start_soon(leader)
            await anyio.sleep(1)
            group.start_soon(guard.call, server.read, 1)
            group.start_soon(guard.call, server.read, 2)
            await anyio.sleep(1)
            scope.cancel()
        assert scope.cancelled_caught
        assert [t - zero for t, _ in server.seen] == [0.0, 10.0, 10.0]
        at_rest(guard)

    run(main)


@pytest.mark.parametrize("who_leaves", ["oldest", "youngest", "leader"])
def test_lead_is_handed_on_whoever_leaves(run, who_leaves):
    """Of ten who wait nine are cancelled, one after the other; the last one still goes in time."""

    async def main():
        guard, zero, server = await closed_window()
        scopes = {who: anyio.CancelScope() for who in range(10)}
        orders = {}

        async def one(who):
            with scopes[who]:
                await guard.call(server.read, who)

        async with anyio.create_task_group() as group:
            for who in scopes:
                group.start_soon(one, who)
                await anyio.sleep(0.125)
                orders[max(guard._shared._wakers, key=lambda ticket: ticket.order)] = who
            waiting = list(scopes)
            while len(waiting) > 1:
                leader = orders[guard._shared._leader]
                who = {"oldest": waiting[0], "youngest": waiting[-1], "leader": leader}[who_leaves]
                waiting.remove(who)
                scopes[who].cancel()
                await anyio.sleep(0.125)
                assert orders[guard._shared._leader] in waiting
        assert [(t - zero, who) for t, who in server.seen[1:]] == [(10.0, waiting[0])]
        at_rest(guard)

    run(main)


def test_granted_then_cancelled(run):
    """A caller cancelled at the very moment of its grant gives the grant to the next, at that moment."""

    async def main():
        guard, zero, server = await closed_window()
        scope = anyio.CancelScope()

        async def first():
            with scope:
                await guard.call(server.read, 0)

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await anyio.sleep(0.1)
            group.start_soon(guard.call, server.read, 1)
            await anyio.sleep(0.1)
            ticket = next(iter(guard._shared._wakers))
            await anyio.sleep_until(zero + 10)
            guard._shared.pump()  # as any other call's answer would do
            if ticket.permit is not None:
                scope.cancel()
        assert 1 in [who for _, who in server.seen]
        assert {t - zero for t, who in server.seen if who >= 0} == {10.0}
        at_rest(guard)

    run(main)


def test_cancelled_probe_passes_the_role_on(run):
    """A probe that is cancelled in the middle of its request hands the role to the next at once."""

    async def main():
        guard = make_guard()
        zero = anyio.current_time()
        server = Window(zero + 10, latency=3.0)
        with pytest.raises(QuotaError):
            await guard.options(max_wait=0).call(server.read, -1)
        scope = anyio.CancelScope()

        async def first():
            with scope:
                await guard.call(server.read, 0)

        await anyio.sleep_until(zero + 3)
        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await anyio.sleep(0.1)
            group.start_soon(guard.call, server.read, 1)
            await anyio.sleep_until(zero + 14)
            scope.cancel()
        # the hint arrived after 3 s and said 10, so the door opens at 13
        assert [(t - zero, who) for t, who in server.seen] == [(0.0, -1), (13.0, 0), (14.0, 1)]
        at_rest(guard)

    run(main)


SCENES = {
    "window": [FLOOD, FLOOD, OK],
    "endpoint-window-and-back-off": [BUSY, DOWN, BUSY, LOST, OK],
    "cooldown": [LOCKED, OK],
    "exception": [ConnectionRefusedError("no"), BUSY, OK],
}


async def scene(steps, cancel_at, victim, *, checkpoints=0):
    """Four callers; one is cancelled.  Nothing may be left over, and nobody else may notice."""
    guard = make_guard().options(max_wait=None, attempt_timeout=50, idempotent=True)
    server = Script(steps, delay=0.25, name="read")
    scope = anyio.CancelScope()
    results = {}

    async def one(who):
        with scope if who == victim else anyio.CancelScope():
            results[who] = await guard.call(server)

    zero = anyio.current_time()
    async with anyio.create_task_group() as group:
        for who in range(4):
            group.start_soon(one, who)
        await anyio.sleep_until(zero + cancel_at)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        finished = victim in results
        scope.cancel()
    assert scope.cancelled_caught is (victim not in results)  # never swallowed, never an error
    assert not (finished and scope.cancelled_caught)
    assert {who: r for who, r in results.items() if who != victim} == {
        who: OK for who in range(4) if who != victim
    }
    at_rest(guard)
    assert await guard.call(server) == OK
    at_rest(guard)


@pytest.mark.parametrize("name", SCENES)
def test_cancellation_at_every_instant(run, name):
    """Cancelled at any quarter of a second, a call ends cancelled and gives everything back."""
    last = 600.5 if name == "cooldown" else 24.0
    instants = {n * 0.25 for n in range(9)} | {
        9.75,
        10.0,
        10.25,
        10.5,
        last - 0.5,
        last - 0.25,
        last,
    }
    for at in sorted(instants):
        for victim in (0, 1, 3):
            run(lambda at=at, victim=victim: scene(SCENES[name], at, victim))


@pytest.mark.parametrize("name", ["window", "endpoint-window-and-back-off"])
@pytest.mark.parametrize("instant", [0.0, 0.25, 1.25, 10.25])
def test_cancellation_at_every_step(run, name, instant):
    """Cancelled between any two steps of the event loop, it is the same."""
    for checkpoints in range(12):
        for victim in (0, 2):
            run(lambda c=checkpoints, v=victim: scene(SCENES[name], instant, v, checkpoints=c))


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
@pytest.mark.parametrize("at", [0.0, 0.1, 0.25, 0.5, 1.25, 10.25, 10.3])
def test_cancelled_task_ends_cancelled(seed, at):
    """task.cancel() ends an asyncio task as cancelled, whatever the call was doing."""

    async def main():
        guard = make_guard()
        server = Script([BUSY, DOWN, FLOOD, FLOOD, OK], delay=0.25, name="read")
        task = asyncio.create_task(guard.call(server))
        other = asyncio.create_task(guard.call(server))
        await asyncio.sleep(at)
        task.cancel("enough")
        done, _ = await asyncio.wait([task])
        assert task.cancelled()
        assert await other == OK
        at_rest(guard)

    run_virtual(main, seed=seed)


def test_predicates_never_see_a_cancellation(run):
    """Neither read= nor the observer is told of a cancelled call."""
    seen = []
    guard = make_guard(read=lambda value: seen.append(value), observe=seen.append)

    async def main():
        with anyio.move_on_after(1):
            await guard.call(Script([OK], delay=5, name="read"))
        assert seen == []
        at_rest(guard)

    run(main)


def test_a_function_that_swallows_its_cancellation_is_not_repeated(run):
    """If the function itself turns a cancellation into an answer, that answer is the last."""
    guard = make_guard()
    calls = []

    async def read():
        calls.append(1)
        try:
            await anyio.sleep(10)
        except anyio.get_cancelled_exc_class():
            raise
        return OK

    async def main():
        with anyio.move_on_after(1) as scope:
            await guard.call(read)
        assert (scope.cancelled_caught, calls) == (True, [1])
        at_rest(guard)

    run(main)
