"""Looking into a guard, and opening a door by hand."""

import anyio
import pytest
from driver_kit import BUSY, EMPTY, OK, make_guard

from resilience import QuotaError
from resilience.testing import Script


def test_snapshot_names_the_closed_doors_and_why(run):
    """Nothing while all is well; then scope, code, remedy and when it resumes."""

    async def main():
        guard = make_guard()
        assert guard.snapshot()["doors"] == []
        with pytest.raises(QuotaError) as caught:
            await guard.call(Script([EMPTY], name="read"))
        told = guard.snapshot()
        (door,) = told["doors"]
        assert (told["account"], told["waiting"]) == (guard.account, 0)
        assert (door["scope"], door["state"], door["recovers"]) == (
            "account",
            "closed",
            "exhausted",
        )
        assert (door["code"], door["resume_at"]) == (
            "empty", caught.value.resume_at.isoformat(),
        )  # fmt: skip

    run(main)


def test_reset_lets_everybody_in_at_once(run):
    """Somebody topped up: no probe is waited for, and a late rejection of before closes nothing."""

    async def main():
        guard = make_guard()
        script = Script([EMPTY, OK], name="read")
        with pytest.raises(QuotaError):
            await guard.call(script)
        assert guard.reset("endpoint:read") == []
        assert guard.reset() == ["account"]
        assert await guard.call(script) == OK
        assert guard.reset() == []

    run(main)


def test_reset_wakes_those_who_wait(run):
    """A window that is known to be open again does not hold anybody."""

    async def main():
        guard = make_guard()
        ends = []

        async def read():
            await guard.call(script)
            ends.append(anyio.current_time() - start)

        script = Script([BUSY, OK], name="read")
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(read)
            await anyio.sleep(0.25)
            assert guard.snapshot()["waiting"] >= 1
            assert guard.reset("endpoint:read") == ["endpoint:read"]
        assert max(ends) == pytest.approx(0.25)

    run(main)
