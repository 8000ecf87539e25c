"""A poller on the emulated MemOS Cloud: both kinds of jobs, one account, exact times."""

from typing import Any

import anyio
import pytest
from memos_world import MemosWorld, memos
from pollers_kit import kinds, make_poller, now, results, since_epoch, stop_of, stored

from pollers import JobExpired, JobFailed, JobSucceeded, PollerResumed, PollerStalled
from pollers.emulator import Fault
from pollers.store import MemoryStore
from resilience.testing import run_virtual


async def add(here: MemosWorld, text: str) -> str:
    """A message; gives the id of its task."""
    body = {"messages": [{"role": "user", "content": text}], "user_id": "u1"}
    headers = {"Authorization": "Token mpg-test"}
    url = f"{here.emulator.base_url}/add/message"
    async with here.session.post(url, json=body, headers=headers) as response:
        return str((await response.json())["data"]["task_id"])


def test_messages_and_files_end_in_one_poller() -> None:
    """Two sources of one shard: each job has one end, of its own kind, and they share one guard."""

    async def main() -> None:
        async with memos(task_seconds=2.5) as here:
            here.emulator.add_file("F1", ends_after=1.2)
            here.emulator.add_file("F2", ends_after=0.0, outcome="failed")
            store = MemoryStore()
            tasks, files = here.tasks(), here.files()
            assert tasks.guard is files.guard is here.guard
            async with make_poller(tasks, files, store=store) as poller:
                task_id = await add(here, "I like cats")
                task = await poller.watch(task_id, kind="tasks", data={"user": 7})
                both = await poller.watch_many(["F1", "F2"], kind="files")
                end, *ends = await results([task, *both])
                assert kinds([end, *ends]) == ["JobSucceeded", "JobSucceeded", "JobFailed"]
                assert (end.job_id, end.status, end.user_data) == (
                    task_id,
                    "completed",
                    {"user": 7},
                )
                assert end.to_cloudevent()["source"] == "/memos_cloud/default/tasks"
                assert ends[0].to_cloudevent()["source"] == "/memos_cloud/default/files"
                with pytest.raises(ValueError, match="fit 2 sources"):
                    await poller.watch("X")
            terminal = [
                one for one in await stored(store) if isinstance(one, JobSucceeded | JobFailed)
            ]
            assert len(terminal) == 3
            assert here.asked_at("get_status") == [0.05, 1.05, 2.05, 3.05]
            assert here.asked("get_knowledgebase_file") == [("F1", "F2"), ("F1",), ("F1",)]

    run_virtual(main)


def test_tasks_are_asked_for_one_by_one_and_spaced() -> None:
    """Each has its own request, a twentieth of a second after the one before."""

    async def main() -> None:
        async with memos(limits={}) as here:
            ids = [here.emulator.add_task(f"T{number}").id for number in range(60)]
            async with make_poller(here.tasks()) as poller:
                await results(await poller.watch_many(ids))
            at = here.asked_at("get_status")
            assert at == pytest.approx([0.05 + 0.05 * number for number in range(60)], abs=0.002)
            assert sorted(here.asked("get_status")) == sorted((one,) for one in ids)

    run_virtual(main)


def test_a_hundred_files_take_five_requests() -> None:
    """Twenty at a time, a tenth of a second apart."""

    async def main() -> None:
        async with memos(limits={}) as here:
            ids = [here.emulator.add_file(f"F{number}").id for number in range(100)]
            async with make_poller(here.files()) as poller:
                await results(await poller.watch_many(ids))
            assert here.asked_at("get_knowledgebase_file") == [0.05, 0.15, 0.25, 0.35, 0.45]

    run_virtual(main)


def test_what_is_not_there_yet_is_waited_for() -> None:
    """50131 and an absent file within the grace are nothing; they end well once they are seen."""

    async def main() -> None:
        async with memos() as here:
            here.emulator.add_task("T1", visible_after=5.0)
            here.emulator.add_file("F1", visible_after=5.0)
            async with make_poller(here.tasks(), here.files(), grace=10.0) as poller:
                jobs = [await poller.watch("T1", kind="tasks")]
                jobs.append(await poller.watch("F1", kind="files"))
                ends = await results(jobs)
            assert kinds(ends) == ["JobSucceeded", "JobSucceeded"]
            assert [since_epoch(one) for one in ends] == [5.05, 5.05]

    run_virtual(main)


def test_what_never_comes_expires_as_missing() -> None:
    """After the grace, and not a failure of the job."""

    async def main() -> None:
        async with memos() as here:
            async with make_poller(here.tasks(), here.files(), grace=10.0) as poller:
                jobs = [await poller.watch("T1", kind="tasks")]
                jobs.append(await poller.watch("F1", kind="files"))
                ends = await results(jobs)
            assert [(type(one), one.reason) for one in ends] == [(JobExpired, "missing")] * 2
            assert [since_epoch(one) for one in ends] == [10.0, 10.0]

    run_virtual(main)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Fault(code=40309, times=2)], id="tokens"),
        pytest.param([Fault(code=50004, times=3)], id="unavailable"),
        pytest.param([Fault(status=500, times=3)], id="http-500"),
        pytest.param([Fault(abort="before", times=2), Fault(abort="middle")], id="dropped"),
        pytest.param([Fault(body="empty"), Fault(body="truncated")], id="no-answer"),
        pytest.param([Fault(delay=100.0)], id="silence"),
        pytest.param([Fault(code=50100)], id="a-bad-batch"),
    ],
)
@pytest.mark.parametrize("kind", ["tasks", "files"])
def test_a_failed_look_is_never_the_jobs_failure(kind: str, faults: list[Fault]) -> None:
    """Whatever the wire brings: the job ends once, well, as soon as the API answers."""

    async def main() -> None:
        async with memos() as here:
            for job_id in ("J1", "J2"):
                here.emulator.add_task(job_id)
                here.emulator.add_file(job_id)
            here.emulator.fail("any", *faults)
            store = MemoryStore()
            source = here.tasks() if kind == "tasks" else here.files()
            async with make_poller(source, store=store) as poller:
                ends = await results(await poller.watch_many(["J1", "J2"]))
            assert kinds(ends) == ["JobSucceeded", "JobSucceeded"]
            assert now() < 60.0
            assert kinds(await stored(store)) == ["JobWatching"] * 2 + ["JobSucceeded"] * 2

    run_virtual(main)


def test_a_refused_key_stalls_both_kinds_until_it_is_mended() -> None:
    """40132 concerns the account: nobody fails, it is told, and it goes on by itself."""

    async def main() -> None:
        async with memos(keys=["another"]) as here:
            here.emulator.add_task("T1")
            here.emulator.add_file("F1")
            store = MemoryStore()
            async with make_poller(here.tasks(), here.files(), store=store) as poller:
                jobs = [await poller.watch("T1", kind="tasks")]
                jobs.append(await poller.watch("F1", kind="files"))
                await anyio.sleep(1.0)
                here.emulator.set_keys(["mpg-test"])
                ends = await results(jobs)
            assert kinds(ends) == ["JobSucceeded", "JobSucceeded"]
            told = await stored(store)
            assert {type(one) for one in told} >= {PollerStalled, PollerResumed}
            stalled = [one for one in told if isinstance(one, PollerStalled)]
            assert {one.code for one in stalled} == {"40132"}
            assert all("key" in one.remedy for one in stalled)
            asked = [seen for seen in here.emulator.requests if seen.code == "40132"]
            assert (
                len(asked) <= 2
            )  # the door is the account's: the other kind doesn't knock as well

    run_virtual(main)


def test_a_refused_account_ends_the_poller_if_that_was_asked_for() -> None:
    """`on_refused="stop"`: everybody who waits learns the code."""

    async def main() -> None:
        async with memos() as here:
            here.emulator.add_task("T1")
            here.emulator.fail("any", Fault(code=40304, times=None))
            async with make_poller(here.tasks(), on_refused="stop") as poller:
                job = await poller.watch("T1")
                stopped = await stop_of(job.result())
            cause: Any = stopped.__cause__
            assert cause.code == "40304"

    run_virtual(main)


def test_looks_leave_room_for_the_users_calls() -> None:
    """Ten messages a second while all their tasks are watched: the documented limit is never met."""

    async def main() -> None:
        async with memos(limits={}, task_seconds=(0.5, 5.0)) as here:
            async with make_poller(here.tasks()) as poller:
                jobs = []
                for number in range(100):
                    jobs.append(await poller.watch(await add(here, f"fact {number}")))
                    await anyio.sleep(0.1)
                ends = await results(jobs)
            assert kinds(ends) == ["JobSucceeded"] * 100
            assert {seen.code for seen in here.emulator.requests} == {"0"}
            in_a_second = max(
                sum(at <= seen.time < at + 1.0 for seen in here.emulator.requests)
                for at in range(int(now()))
            )
            assert in_a_second <= 20 + 10 + 2  # both ends of the second belong to it

    run_virtual(main)
