"""A half-open breaker lets everybody through at once (a stampede of probes).

Many breakers only remember "half-open" and count afterwards: a hundred callers who waited are a hundred
probes, which is the very load that brought the server down.
"""

import anyio
from driver_kit import DOWN, OK, at_rest, make_guard

from resilience import RetriesExhausted
from resilience.testing import Script


async def opened(script):
    """A guard whose breaker has just opened."""
    guard = make_guard()
    for _ in range(10):
        try:
            await guard.options(max_attempts=1).call(script)
        except RetriesExhausted:
            pass
    return guard


def test_a_hundred_callers_are_one_probe(run):
    """Exactly one request until its verdict; nobody fails, and nobody overtakes the verdict."""

    async def main():
        script = Script([DOWN] * 10 + [OK], name="read")
        guard = await opened(script)
        script.delay = 2.0
        results = []

        async def call():
            results.append(await guard.options(max_wait=None).call(script))

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(call)
            await anyio.sleep(2.2)  # the probe left at 0.25 and takes two seconds
            assert (script.calls, guard.snapshot()["waiting"]) == (11, 99)
        assert results == [OK] * 100
        verdict = script.asked_at[10] + 2.0
        assert min(script.asked_at[11:]) >= verdict
        at_rest(guard)

    run(main)


def test_after_a_failed_probe_it_is_one_again(run):
    """Each half-open time sees one request, however many wait; they are twice as far apart."""

    async def main():
        script = Script([DOWN] * 13 + [OK], name="read")
        guard = await opened(script)
        start = anyio.current_time()
        results = []

        async def call():
            results.append(await guard.call(script))

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(call)
        assert results == [OK] * 100
        probes = script.asked_at[10:14]
        assert [at - script.asked_at[9] for at in probes] == [0.25, 0.75, 1.75, 3.25]
        assert anyio.current_time() - start < 13.5  # the others, ten a second and ever faster
        at_rest(guard)

    run(main)
