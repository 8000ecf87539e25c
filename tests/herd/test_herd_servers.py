"""The servers themselves: exact at every boundary, or nothing measured with them means anything."""

import anyio
import pytest

from resilience.testing import (
    Capacity,
    FixedWindow,
    InFlight,
    SlidingWindow,
    TokenBucket,
    run_virtual,
)


def asked(server, *moments):
    """Ask at each moment, without waiting for answers; gives what came back and when, in order."""
    answers = {}

    async def one(order):
        answers[order] = await server(), anyio.current_time()

    async def main():
        async with anyio.create_task_group() as group:
            for order, moment in enumerate(moments):
                await anyio.sleep_until(moment)
                group.start_soon(one, order)

    run_virtual(main)
    return [answers[order] for order in range(len(moments))]


def codes(answers):
    """The codes alone."""
    return [answer["code"] for answer, _ in answers]


OK, BUSY = "0000", "0429"


def test_fixed_window_turns_at_its_edge():
    """A window is full until its last instant, and the next is empty at its first."""
    server = FixedWindow(2, per=1.0, hint="exact")
    answers = asked(server, 0.0, 0.5, 0.75, 1.0, 1.0, 1.0)
    assert codes(answers) == [OK, OK, BUSY, OK, OK, BUSY]
    assert [a["retry_after"] for a, _ in answers if a["code"] == BUSY] == [0.25, 1.0]
    assert (server.accepted, server.rejected) == (4, 2)


def test_fixed_window_has_a_phase():
    """Windows turn at the phase, also before it."""
    server = FixedWindow(1, per=1.0, phase=0.25)
    assert codes(asked(server, 0.0, 0.2, 0.25, 1.2, 1.25)) == [OK, BUSY, OK, BUSY, OK]


def test_fixed_window_counts_costs():
    """What is left is used by who fits; a rejection takes nothing."""

    async def main():
        server = FixedWindow(10, per=60.0)
        return [(await server(cost=cost))["code"] for cost in (6, 5, 4, 1)]

    assert run_virtual(main) == [OK, BUSY, OK, BUSY]


def test_fixed_window_can_change():
    """A new limit counts from the next request on."""

    async def main():
        server = FixedWindow(1)
        first = [(await server())["code"] for _ in range(2)]
        server.units = 3
        return first + [(await server())["code"] for _ in range(3)]

    assert run_virtual(main) == [OK, BUSY, OK, OK, BUSY]


def test_sliding_window_has_no_edges():
    """A unit comes back exactly ``per`` after it was taken."""
    server = SlidingWindow(2, per=1.0, hint="exact")
    answers = asked(server, 0.0, 0.5, 0.75, 1.0, 1.25, 1.5)
    assert codes(answers) == [OK, OK, BUSY, OK, BUSY, OK]
    assert [a["retry_after"] for a, _ in answers if a["code"] == BUSY] == [0.25, 0.25]


def test_token_bucket_fills_as_time_passes():
    """A burst is there at once, then a unit every tenth of a second, and no more than fits."""
    server = TokenBucket(10, burst=2, hint="exact")
    moments = [0.0, 0.0, 0.0, 0.05, 0.1, 0.1, 10.0, 10.0, 10.0]
    answers = asked(server, *moments)
    assert codes(answers) == [OK, OK, BUSY, BUSY, OK, BUSY, OK, OK, BUSY]
    assert answers[2][0]["retry_after"] == pytest.approx(0.1)
    assert answers[3][0]["retry_after"] == pytest.approx(0.05)


def test_slots_come_back_when_the_work_is_done():
    """A slot is free at the very instant at which its call ends, not when the answer arrives."""
    server = InFlight(2, work=1.0, trip=0.5)
    answers = asked(server, 0.0, 0.0, 0.9, 1.1)
    assert codes(answers) == [OK, OK, BUSY, OK]
    assert [at for _, at in answers] == pytest.approx([1.5, 1.5, 1.4, 2.6])
    assert server.busy == 0


def test_capacity_is_shed_and_outages_end():
    """What exceeds a twentieth of a second's capacity is shed, and an outage ends on time."""
    server = Capacity(40, outages=((1.0, 2.0),))
    moments = [0.0, 0.0, 0.0, 0.05, 0.999, 1.0, 1.999, 2.0]
    down = "0001"
    assert codes(asked(server, *moments)) == [OK, OK, down, OK, OK, down, down, OK]


@pytest.mark.parametrize("trip", [0.0, 0.05, 0.5])
def test_trip(trip):
    """A request is judged half a trip after it was sent, and an exact hint knows of the way back."""
    server = FixedWindow(1, per=10.0, trip=trip, work=2.0, hint="exact")
    (_, first), (rejection, second) = asked(server, 0.0, 1.0)
    assert [at for at, _ in server.log] == [trip / 2, 1.0 + trip / 2]
    assert first == pytest.approx(trip + 2.0)
    assert second == pytest.approx(1.0 + trip)
    assert second + rejection["retry_after"] == pytest.approx(10.0)


def test_hint_as_told():
    """Without a hint the rejection is the body alone; a number is told as it is."""

    async def main():
        plain, told = FixedWindow(0), FixedWindow(0, hint=3)
        return await plain(), await told()

    plain, told = run_virtual(main)
    assert "retry_after" not in plain
    assert told["retry_after"] == 3.0
