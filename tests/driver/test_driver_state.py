"""The state of a guard: shown, followed, brought back after a restart."""

import json
from datetime import datetime

import anyio
import pytest
from driver_kit import (
    BUSY,
    DOWN,
    EMPTY,
    LOCKED,
    OK,
    at_rest,
    closed_doors,
    instant,
    make_guard,
    on_trio,
)

from resilience import QuotaError, RetriesExhausted
from resilience._state import MOST_CHANGES
from resilience.testing import Script, run_virtual


async def close(guard, answer, name="read"):
    """A call that closes a door and can't wait for it."""
    with pytest.raises(QuotaError) as caught:
        await guard.options(max_wait=0).call(Script([answer], name=name))
    return caught.value


async def trip(guard, name="read"):
    """Ten failures."""
    for _ in range(10):
        with pytest.raises(RetriesExhausted):
            await guard.options(max_attempts=1).call(Script([DOWN], name=name))


def stored(guard):
    """A snapshot as it comes back from a file."""
    return json.loads(json.dumps(guard.snapshot()))


# -- shown ----------------------------------------------------------------------------------------


def test_closed_door(run):
    """Scope, kind, code, words for people, and when it resumes."""

    async def main():
        guard = make_guard()
        now = anyio.current_time()
        await close(guard, BUSY)
        assert guard.snapshot()["doors"] == [
            {
                "scope": "endpoint:read",
                "state": "closed",
                "recovers": "window",
                "code": "busy",
                "title": "Busy",
                "remedy": "Slow down.",
                "closings": 1,
                "resume_at": instant(now + 1.0).isoformat(),
            }
        ]

    run(main)


def test_breaker(run):
    """Its own scope; nothing recovers it but a sign of life."""

    async def main():
        guard = make_guard()
        await trip(guard)
        now = anyio.current_time()
        assert guard.snapshot()["doors"] == [
            {
                "scope": "breaker:read",
                "state": "closed",
                "recovers": None,
                "code": "down",
                "title": "Down",
                "remedy": "Wait.",
                "closings": 1,
                "resume_at": instant(now + 0.25).isoformat(),
            }
        ]

    run(main)


def test_probing_and_waiting(run):
    """While somebody finds out, the others are counted."""

    async def main():
        guard = make_guard()
        await trip(guard)
        script = Script([OK], delay=1.0, name="read")
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(guard.call, script)
            await anyio.sleep(0.5)
            told = guard.snapshot()
            assert [(d["scope"], d["state"]) for d in told["doors"]] == [
                ("breaker:read", "probing")
            ]
            assert told["waiting"] == 3
        assert guard.snapshot()["waiting"] == 0

    run(main)


def test_paced(run):
    """Open at a pace: units a second, calls under way, and how many may be."""

    async def main():
        guard = make_guard()
        await trip(guard)
        script = Script([OK], delay=0.0, name="read")
        await guard.call(script)
        assert guard.snapshot()["paced"] == [
            {
                "scope": "breaker:read",
                "state": "paced",
                "rate": pytest.approx(9.7),
                "room": None,
                "in_flight": 0,
            }
        ]
        assert guard.snapshot()["doors"] == []

    run(main)


def test_paced_window_says_how_many_may_be_under_way(run):
    """A limit on calls in flight has room for so many."""

    async def main():
        guard = make_guard()
        under_way = 0

        async def read():
            nonlocal under_way
            if under_way == 4:
                return BUSY
            under_way += 1
            await anyio.sleep(1.0)
            under_way -= 1
            return OK

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(guard.call, read)
            told = []
            for _ in range(30):
                await anyio.sleep(0.11)
                told += guard.snapshot()["paced"]
        assert {row["scope"] for row in told} == {"endpoint:read"}
        assert {row["state"] for row in told} == {"paced"}
        assert min(row["room"] for row in told) == 4
        assert 1 <= max(row["in_flight"] for row in told) <= 4
        assert {row["in_flight"] for row in guard.snapshot()["paced"]} <= {0}

    run(main)


def test_budgets(run):
    """Tokens now, who waits for one, and how many ever had to."""

    async def main():
        guard = make_guard(breaker=None)
        script = Script([DOWN], name="read")
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(guard.call, script)
            await anyio.sleep(1.25)
            (row,) = guard.snapshot()["budgets"]
            assert row["endpoint"] == "read"
            assert 0.0 <= row["tokens"] < 1.0
            assert 0 < row["waiting"] <= row["suppressed"]
            group.cancel_scope.cancel()
        assert guard.snapshot()["budgets"][0]["waiting"] == 0

    run(main)


# -- brought back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [BUSY, LOCKED, EMPTY], ids=["window", "cooldown", "exhausted"])
def test_a_door_is_closed_after_a_restart_as_it_was(run, answer):
    """The same code, words and instant, from a file; and the first call after it is the probe."""

    async def main():
        guard = make_guard()
        first = await close(guard, answer)
        told = stored(guard)
        await anyio.sleep(0.5)
        again = make_guard()
        scope = told["doors"][0]["scope"]
        assert again.restore(told) == [scope]
        assert stored(again)["doors"] == told["doors"]
        script = Script([OK], delay=0.25, name="read")
        now = anyio.current_time()
        with pytest.raises(QuotaError) as caught:
            await again.options(max_wait=0).call(script)
        second = caught.value
        assert (script.calls, anyio.current_time()) == (0, now)
        assert (second.resume_at, second.code) == (first.resume_at, first.code)
        assert (second.title, second.remedy) == (first.title, first.remedy)
        await anyio.sleep((first.resume_at - instant(now)).total_seconds())
        async with anyio.create_task_group() as group:
            group.start_soon(again.call, script)
            await anyio.sleep(0.125)
            assert again.snapshot()["doors"][0]["state"] == "probing"
        assert (script.calls, closed_doors(again)) == (1, 0)
        at_rest(again)

    run(main)


def test_a_restart_in_another_loop():
    """Wall time is the bridge: trio's clock has nothing to do with asyncio's."""
    told, resume_at = [], []

    async def before():
        await anyio.sleep(100.0)
        guard = make_guard()
        resume_at.append((await close(guard, LOCKED)).resume_at)
        told.append(stored(guard))

    async def after():
        guard = make_guard()
        guard.restore(told[0])
        script = Script([OK], name="read")
        await guard.options(max_wait=None).call(script)
        assert instant(anyio.current_time()) == resume_at[0]

    run_virtual(before)
    on_trio(after)


def test_breakers_paces_and_budgets_are_not_brought_back(run):
    """They learn in seconds."""

    async def main():
        guard = make_guard()
        await trip(guard)
        again = make_guard()
        assert again.restore(stored(guard)) == []
        assert await again.options(max_wait=0).call(Script([OK], name="read")) == OK

    run(main)


def test_an_instant_that_has_passed_lets_the_probe_go_at_once(run):
    """The program was down for longer than the door was closed."""

    async def main():
        guard = make_guard()
        await close(guard, BUSY)
        told = stored(guard)
        await anyio.sleep(3600.0)
        again = make_guard()
        again.restore(told)
        assert await again.options(max_wait=0).call(Script([OK], name="read")) == OK
        assert closed_doors(again) == 0

    run(main)


def row(**changes):
    """A good row, changed."""
    good = {
        "scope": "account",
        "recovers": "exhausted",
        "code": "empty",
        "resume_at": instant(300.0).isoformat(),
    }
    return {**good, **changes}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"scope": "endpoint:"}, "scope='endpoint:'", id="no name"),
        pytest.param({"scope": "group:nobody"}, "scope='group:nobody'", id="no such group"),
        pytest.param({"scope": None}, "scope=None", id="no scope"),
        pytest.param({"recovers": "capacity"}, "recovers='capacity' of 'account'", id="capacity"),
        pytest.param({"recovers": "soon"}, "recovers='soon' of 'account'", id="recovers"),
        pytest.param(
            {"resume_at": datetime(2024, 1, 1)},
            "resume_at=datetime.datetime(2024, 1, 1, 0, 0) of 'account'",
            id="naive",
        ),
        pytest.param(
            {"resume_at": "2024-01-01T00:00:00"}, "resume_at='2024-01-01T00:00:00'", id="naive text"
        ),
        pytest.param({"resume_at": "tomorrow"}, "resume_at='tomorrow'", id="no time"),
        pytest.param({"resume_at": None}, "resume_at=None", id="nothing"),
        pytest.param({"resume_at": 17}, "resume_at=17", id="number"),
    ],
)
def test_a_bad_row_is_named_and_closes_nothing(run, changes, named):
    """Neither the bad one nor the good one before it."""

    async def main():
        guard = make_guard()
        told = {"account": "default", "doors": [row(scope="endpoint:read"), row(**changes)]}
        with pytest.raises(ValueError) as caught:
            guard.restore(told)
        assert named in str(caught.value)
        assert guard.snapshot()["doors"] == []
        assert await guard.options(max_wait=0).call(Script([OK], name="read")) == OK

    run(main)


@pytest.mark.parametrize("told", [{"account": "other", "doors": [row()]}, {}, {"doors": []}])
def test_a_snapshot_of_another_account_is_refused(run, told):
    """Its doors are not ours."""

    async def main():
        guard = make_guard()
        with pytest.raises(ValueError) as caught:
            guard.restore(told)
        assert str(caught.value) == (
            f"this snapshot is of account {told.get('account')!r}, not of 'default'"
        )
        assert closed_doors(guard) == 0

    run(main)


@pytest.mark.parametrize("told", [None, [], {"account": "default", "doors": {}}, {"doors": [1]}])
def test_what_is_no_snapshot_is_refused(run, told):
    """A file that was cut off or overwritten is a ValueError like any other."""

    async def main():
        guard = make_guard()
        with pytest.raises(ValueError, match="^this is not a snapshot: "):
            guard.restore(told)
        assert closed_doors(guard) == 0

    run(main)


def test_a_code_that_is_no_longer_listed_still_closes_its_door(run):
    """The policy was changed in between: the door stays closed, without words."""

    async def main():
        guard = make_guard()
        guard.restore({"account": "default", "doors": [row(code="gone")]})
        (door,) = guard.snapshot()["doors"]
        assert (door["code"], door["title"], door["state"]) == ("gone", "", "closed")
        assert door["resume_at"] == "2023-11-14T22:18:20+00:00"

    run(main)


# -- followed -------------------------------------------------------------------------------------


def follow(group, changes, seen):
    """Read in a task of its own."""

    async def read():
        async for change in changes:
            seen.append((change["scope"], change["state"]))

    group.start_soon(read)


def test_a_breaker_is_seen_closing_probing_paced_and_open(run):
    """In this order, as it happens; ten calm seconds later it is wide open."""

    async def main():
        guard = make_guard()
        seen = []
        async with anyio.create_task_group() as group:
            with guard.subscribe() as changes:
                follow(group, changes, seen)
                await trip(guard)
                await guard.call(Script([OK], name="read"))
                await anyio.sleep(10.0)
                await guard.call(Script([OK], name="read"))
        states = ["closed", "probing", "paced", "open"]
        assert seen == [("breaker:read", state) for state in states]

    run(main)


def test_a_change_says_what_a_snapshot_says(run):
    """The row of the door at that moment; plain data for a wide open one."""

    async def main():
        guard = make_guard()
        with guard.subscribe() as changes:
            await close(guard, LOCKED)
            assert await anext(changes) == guard.snapshot()["doors"][0]
            guard.reset()
            assert await anext(changes) == {"scope": "account", "state": "open"}

    run(main)


def test_two_subscribers_see_the_same(run):
    """Each from its own beginning."""

    async def main():
        guard = make_guard()
        first, second = guard.subscribe(), None
        await close(guard, LOCKED)
        second = guard.subscribe()
        guard.reset()
        first.close()
        await close(guard, EMPTY)
        second.close()
        told = [[change["state"] async for change in one] for one in (first, second)]
        assert told == [["closed", "open"], ["open", "closed"]]
        assert guard._shared.machine.moved is None

    run(main)


def test_two_readers_of_one_subscription_share_it(run):
    """Each change goes to one of them, and both end with it."""

    async def main():
        guard = make_guard()
        seen = []
        changes = guard.subscribe()
        async with anyio.create_task_group() as group:
            follow(group, changes, seen)
            follow(group, changes, seen)
            await anyio.sleep(1.0)
            await close(guard, LOCKED)
            await anyio.sleep(1.0)
            changes.close()
        assert [state for _, state in seen] == ["closed"]

    run(main)


def test_closing_ends_the_iteration(run):
    """One who waits for the next change goes on; what has happened can still be read."""

    async def main():
        guard = make_guard()
        seen = []
        changes = guard.subscribe()
        async with anyio.create_task_group() as group:
            follow(group, changes, seen)
            await anyio.sleep(1.0)
            changes.close()
            changes.close()
        await close(guard, LOCKED)
        assert seen == []
        with pytest.raises(StopAsyncIteration):
            await anext(changes)

    run(main)


def test_a_cancelled_reader_may_go_on(run):
    """Nothing that happened meanwhile is lost."""

    async def main():
        guard = make_guard()
        with guard.subscribe() as changes:
            with anyio.move_on_after(1.0):
                await anext(changes)
            await close(guard, LOCKED)
            assert (await anext(changes))["state"] == "closed"

    run(main)


def test_a_slow_reader_loses_the_oldest(run):
    """And can tell how many."""

    async def main():
        guard = make_guard()
        with guard.subscribe() as changes:
            for _ in range(MOST_CHANGES // 2 + 5):
                await close(guard, EMPTY)
                guard.reset()
            assert changes.dropped == 10
        kept = [change["state"] async for change in changes]
        assert kept == ["closed", "open"] * (MOST_CHANGES // 2)

    run(main)


# -- stepped in -----------------------------------------------------------------------------------


def test_reset_of_a_breaker_by_its_scope(run):
    """Those who wait go on at once; another breaker stays closed."""

    async def main():
        guard = make_guard()
        await trip(guard)
        await trip(guard, "other_read")
        ends = []

        async def call():
            await guard.call(Script([OK], name="read"))
            ends.append(anyio.current_time() - zero)

        zero = anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(call)
            await anyio.sleep(0.125)
            assert guard.reset("breaker:read") == ["breaker:read"]
        assert ends == [0.125] * 3
        assert [door["scope"] for door in guard.snapshot()["doors"]] == ["breaker:other_read"]
        at_rest(guard)

    run(main)
