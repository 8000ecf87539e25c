"""Codes that no rule lists: counted by the guard, shown in its snapshot, marked in its records."""

import contextlib
import json
import tomllib

import anyio
from driver_kit import BAD, DOWN, OK, instant, make_guard

from resilience import Guard, Policy, ResilienceError
from resilience.testing import Script

SECRET = "sk-mavi-0123456789abcdef"
NEW = {"code": "new", "msg": f"no such key {SECRET}"}


async def ask(guard, *steps, name="read"):
    """One call, however it ends."""
    with contextlib.suppress(ResilienceError):
        await guard.call(Script(list(steps), name=name))


def test_unlisted_codes_are_in_the_snapshot(run):
    """How often, where, what it was taken for, first and last seen in UTC, and TOML to paste."""
    guard = make_guard()

    async def main():
        began = anyio.current_time()
        await anyio.sleep(5)
        await ask(guard, NEW)
        await anyio.sleep(10)
        await ask(guard, NEW, name="chat")
        await ask(guard, BAD)
        await ask(guard, OK)
        return began, guard.snapshot()

    began, told = run(main)
    assert told["unknown"] == [
        {
            "code": "new",
            "count": 2,
            "endpoints": ["read", "chat"],
            "verdict": "fatal",
            "recovers": None,
            "matched_by": "unknown",
            "first_seen": instant(began + 5).isoformat(),
            "last_seen": instant(began + 15).isoformat(),
            "stanza": '[codes.new]\nverdict = "fatal"\n'
            'title = "TODO: what the provider\'s documents say about it"\n',
        }
    ]
    assert told["unknown_overflow"] == 0
    assert SECRET not in json.dumps(told)


def test_pasted_stanza_changes_nothing_but_the_listing(run):
    """The code goes on as before, and is no longer unknown."""
    guard = make_guard()

    async def main():
        await ask(guard, NEW)
        (row,) = guard.snapshot()["unknown"]
        pasted = tomllib.loads(row["stanza"])["codes"]
        listed = make_guard(policy=guard.policy.with_codes(pasted))
        await ask(listed, NEW)
        assert listed.snapshot()["unknown"] == []
        assert listed.policy.classify(NEW).verdict == guard.policy.classify(NEW).verdict

    run(main)


def test_every_outcome_counts_once(run):
    """Each attempt of a call, and a call inside a call of the same account only once."""
    policy = Policy.from_dict({
        "name": "paper",
        "envelope": [{"required": ["/code"], "code": "/code", "success": ["0"]}],
        "families": {"9xx": {"verdict": "retryable", "certainty": "not_executed"}},
    })  # fmt: skip
    guard = make_guard(policy=policy)

    async def main():
        retried = Script([{"code": "999"}, {"code": "999"}, {"code": "0"}], name="read")

        async def inner():
            return await guard.call(retried)

        await guard.call(inner)
        (row,) = guard.snapshot()["unknown"]
        assert (row["code"], row["count"], row["matched_by"]) == ("999", 2, "families.9xx")
        assert row["verdict"] == "retryable"

    run(main)


def test_views_share_the_count_and_a_watching_guard_counts_too(run):
    """One account, one table; shadow mode is where unknown codes are looked for first."""
    guard, shadow = make_guard(), make_guard(enforce=False)

    async def main():
        await ask(guard.options(max_attempts=1), NEW)
        await ask(shadow, NEW)
        assert [row["count"] for row in guard.snapshot()["unknown"]] == [1]
        assert [row["count"] for row in shadow.snapshot()["unknown"]] == [1]

    run(main)


def test_the_table_is_bounded(run):
    """A server that sends a new code each time fills 200 rows and then a number."""
    guard = make_guard(breaker=None)

    async def main():
        for number in range(203):
            await ask(guard, {"code": f"new-{number}", "msg": ""})
        told = guard.snapshot()
        assert len(told["unknown"]) == 200
        assert told["unknown_overflow"] == 3

    run(main)


def test_records_say_that_a_code_is_unlisted(run):
    """Attempts, calls and shadow records; not those of listed codes, statuses and exceptions."""
    records = []

    def broken():
        raise KeyError("x")

    async def main():
        for enforce in (True, False):
            guard = make_guard(observe=records.append, enforce=enforce).options(max_attempts=1)
            for step in (NEW, BAD, DOWN, OK):
                await ask(guard, step)
            with contextlib.suppress(KeyError):
                await ask(guard, broken)

    run(main)
    assert [(type(r).__name__, r.code) for r in records if r.unlisted] == [
        ("AttemptRecord", "new"),
        ("CallRecord", "new"),
        ("ShadowRecord", "new"),
    ]


def test_a_restored_guard_starts_counting_anew(run):
    """Counts are of this guard; a snapshot's are in the snapshot."""

    async def main():
        guard = make_guard()
        await ask(guard, NEW)
        again = Guard(guard.policy)
        again.restore(json.loads(json.dumps(guard.snapshot())))
        assert again.snapshot()["unknown"] == []

    run(main)
