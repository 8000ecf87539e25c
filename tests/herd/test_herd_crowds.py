"""Who goes at once, who is told at once that it makes no sense to wait, and who shares with whom."""

from datetime import UTC, datetime

import anyio
import pytest
from herd_kit import PATIENT, Crowd, make_guard

from resilience import CircuitOpen, DeadlineExceeded, QuotaError
from resilience.testing import EPOCH, Capacity, FixedWindow, InFlight, run_virtual


def instant(seconds: float) -> datetime:
    """Virtual seconds as an aware datetime."""
    return datetime.fromtimestamp(EPOCH + seconds, UTC)


# -- nobody is rejected ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("max_wait", [None, 0], ids=["patient", "impatient"])
def test_a_thousand_minutes_side_by_side(max_wait, seed):
    """Where nothing limits, a thousand calls of a minute each are under way within a second."""
    server = InFlight(10**9, work=60.0, name="search")

    async def main():
        crowd = Crowd(make_guard(seed).options(max_wait=max_wait))
        await crowd.work(server, 1000)
        assert crowd.failures == []
        assert crowd.closings == 0
        return anyio.current_time()

    assert run_virtual(main, seed=seed) <= 61.0
    assert len(server.log) == 1000
    assert max(at for at, _ in server.log) <= 1.0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ten_at_once(seed):
    """A burst of ten is no herd: all of it goes at once."""
    server = InFlight(10**9, work=1.0, name="search")

    async def main():
        await Crowd(make_guard(seed)).work(server, 10)

    run_virtual(main, seed=seed)
    assert server.log == [(0.0, True)] * 10


# -- told at once ---------------------------------------------------------------------------------


async def closed(server, guard) -> None:
    """Use up a window and learn of it."""
    await guard.call(server)
    with pytest.raises(QuotaError):
        await guard.options(max_wait=0).call(server)


def test_impatient_before_a_closed_door():
    """Who can't wait learns at once, without a request, when it would make sense."""
    server = FixedWindow(1, per=10.0, hint="exact", name="search")

    async def main():
        guard = make_guard(1)
        await closed(server, guard)
        await anyio.sleep(3)
        with pytest.raises(QuotaError) as caught:
            await guard.options(max_wait=0).call(server)
        assert anyio.current_time() == 3.0
        assert caught.value.reason == "max_wait"
        assert caught.value.attempts == 0
        assert caught.value.resume_at == instant(10)
        assert caught.value.retry_after == pytest.approx(7.0)

    run_virtual(main)
    assert len(server.log) == 2


def test_one_too_many_in_line():
    """With room for five in the line, the sixth fails at once and the five are served."""
    server = FixedWindow(1, per=10.0, hint="exact", name="search")

    async def main():
        guard = make_guard(1, most_waiting=5)
        await closed(server, guard)
        crowd = Crowd(guard)
        async with anyio.create_task_group() as group:
            group.start_soon(crowd.work, server, 5)
            await anyio.sleep(1)
            with pytest.raises(QuotaError) as caught:
                await guard.call(server)
            assert anyio.current_time() == 1.0
            assert caught.value.reason == "crowd"
            assert caught.value.attempts == 0
        assert crowd.failures == []
        assert len(crowd.done_at) == 5

    run_virtual(main)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_deadline_behind_a_long_queue(seed):
    """A queue that surely takes longer than a call may is not joined."""
    server = FixedWindow(5, trip=0.05, name="search")

    async def main():
        guard = make_guard(seed)
        crowd = Crowd(guard)
        async with anyio.create_task_group() as group:
            group.start_soon(crowd.work, server, 200)
            await anyio.sleep(15)
            waiting = guard._shared.machine.parked
            assert waiting >= 100
            # the door may be closed at that instant, or open at a pace
            with pytest.raises((QuotaError, DeadlineExceeded)) as caught:
                await guard.options(deadline=3).call(server)
            assert anyio.current_time() == 15.0
            assert caught.value.reason == "deadline"
            assert caught.value.attempts == 0
            group.cancel_scope.cancel()

    run_virtual(main, seed=seed)


def test_impatient_before_an_open_circuit():
    """An endpoint that is left alone says so, with what failed and when it will be tried."""
    server = Capacity(1000, outages=((0.0, 60.0),), name="search")

    async def main():
        guard = make_guard(1, policy=PATIENT).options(idempotent=True)
        failing = guard.options(max_attempts=1)
        await Crowd(failing).work(server, 30)
        asked = len(server.log)
        with pytest.raises(CircuitOpen) as caught:
            await guard.options(max_wait=0).call(server)
        assert len(server.log) == asked
        assert caught.value.code == "0001"
        assert caught.value.attempts == 0
        now = instant(anyio.current_time())
        assert 0 < (caught.value.resume_at - now).total_seconds() <= 1.5

    run_virtual(main)


# -- two lanes ------------------------------------------------------------------------------------


def lanes(names: list[str], *, trip: float, seed: int) -> dict[str, int]:
    """Calls done in the first 20 s, by lane, at ten a second."""
    server = FixedWindow(10, trip=trip, name="search")
    counts = {}

    async def main():
        guard = make_guard(seed)
        crowds = {name: Crowd(guard.options(lane=name)) for name in names}
        with anyio.move_on_after(20):
            async with anyio.create_task_group() as group:
                for crowd in crowds.values():
                    group.start_soon(crowd.work, server, 40, 1_000_000)
        for name, crowd in crowds.items():
            assert crowd.failures == []
            counts[name] = len(crowd.done_at)

    run_virtual(main, seed=seed)
    return counts


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("trip", [0.0, 0.05])
def test_lanes_take_turns(trip, seed):
    """Calls and looks that wait for one quota get half of it each, whoever has more waiting."""
    counts = lanes(["calls", "looks"], trip=trip, seed=seed)
    assert counts["calls"] / counts["looks"] == pytest.approx(1.0, abs=0.2)
    assert sum(counts.values()) >= 0.75 * 200


@pytest.mark.parametrize("lane", ["calls", "looks"])
def test_lane_alone(lane):
    """A lane that is alone gets everything."""
    together = lanes(["calls", "looks"], trip=0.05, seed=1)
    alone = lanes([lane], trip=0.05, seed=1)
    assert alone[lane] >= 0.75 * 200
    assert alone[lane] >= 0.9 * sum(together.values())


def test_who_was_sent_before_anybody_waited_keeps_its_place():
    """Rejected, it is still older than those who came while it was under way."""
    server = FixedWindow(3, trip=0.1)
    came, ended = [], []

    async def main():
        guard = make_guard(0)

        async def one(who):
            came.append(who)
            await guard.call(server)
            ended.append(who)

        async with anyio.create_task_group() as group:
            for who in range(30):
                group.start_soon(one, who)

    run_virtual(main)
    assert (set(ended[:10]), ended[10:]) == (set(came[:10]), came[10:])


def test_a_wave_after_a_long_silence_begins_with_a_ramp():
    """What was learned is old news by then, and nothing is known again."""
    server = FixedWindow(100, trip=0.05)
    rejected = []

    async def main():
        crowd = Crowd(make_guard(0))
        for _ in range(3):
            before = server.rejected
            await crowd.work(server, 300)
            rejected.append(server.rejected - before)
            await anyio.sleep(700)
        assert crowd.failures == []

    run_virtual(main)
    assert max(rejected) <= 100
