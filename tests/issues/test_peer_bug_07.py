"""A result of before the trip decides the half-open state.

A slow call that went while all was well comes back while a probe is under way: its success closes the
breaker over a server that is down, or its failure opens it again over one that is up.
"""

import anyio
import pytest
from driver_kit import DOWN, OK, at_rest, make_guard

from resilience import RetriesExhausted
from resilience.testing import Script


@pytest.mark.parametrize("late", [OK, DOWN], ids=["success", "failure"])
def test_a_late_result_does_not_decide_for_the_probe(run, late):
    """It went before the trip and came in the middle of the probe: the breaker waits on."""

    async def main():
        guard = make_guard()
        slow = Script([late], delay=1.0, name="read")

        async def early():
            try:
                await guard.options(max_attempts=1).call(slow)
            except RetriesExhausted:
                assert late is DOWN

        zero = anyio.current_time()
        probe = Script([OK], delay=2.0, name="read")
        ends = []

        async def waiting():
            await guard.call(probe)
            ends.append(anyio.current_time() - zero)

        async with anyio.create_task_group() as group:
            group.start_soon(early)
            await anyio.sleep(0.5)
            for _ in range(10):
                with pytest.raises(RetriesExhausted):
                    await guard.options(max_attempts=1).call(Script([DOWN], name="read"))
            group.start_soon(waiting)
            group.start_soon(waiting)
            await anyio.sleep(0.45)
            before = guard.snapshot()["doors"]
            assert [door["state"] for door in before] == ["probing"]
            await anyio.sleep(0.1)  # at 1 s the late result has come
            assert guard.snapshot()["doors"] == before
            assert probe.calls == 1
        assert ends == pytest.approx([2.75, 4.75])  # the probe left at 0.75
        at_rest(guard)

    run(main)


def test_late_failures_do_not_open_what_was_proven_alive(run):
    """Fifty that went before the trip fail after the probe's success: nobody waits again."""

    async def main():
        guard = make_guard()

        async def early():
            with pytest.raises(RetriesExhausted):
                await guard.options(max_attempts=1).call(Script([DOWN], delay=3.0, name="read"))

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(early)
            await anyio.sleep(1.0)
            for _ in range(10):
                with pytest.raises(RetriesExhausted):
                    await guard.options(max_attempts=1).call(Script([DOWN], name="read"))
            await guard.call(Script([OK], name="read"))
        assert guard.snapshot()["doors"] == []
        assert guard._shared.machine.lanes["read"].failing == 0
        at_rest(guard)

    run(main)
