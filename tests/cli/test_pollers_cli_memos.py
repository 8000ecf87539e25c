"""``pollers … --provider memos_cloud`` as a person runs it, with an API that has a bad day."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter

import aiohttp
import pytest

from pollers.emulator import Fault, MemosEmulator

pytestmark = pytest.mark.slow

KEY = "mpg-test"


@pytest.fixture
async def emulator():
    async with MemosEmulator(keys=[KEY]) as running:
        yield running


def start(*words, key=KEY, name="MEMOS_API_KEY"):
    env = {**os.environ, name: key, "PYTHONUNBUFFERED": "1"}
    return asyncio.create_subprocess_exec(
        sys.executable, "-m", "pollers.cli", *words, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def run(*words, timeout=30, **settings):
    """Exit code, events and stderr of a program."""
    process = await start(*words, **settings)
    out, err = await asyncio.wait_for(process.communicate(), timeout)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


def watch_words(emulator, tmp_path, *ids, **options):
    given = {
        "provider": "memos_cloud", "base-url": emulator.base_url,
        "store": str(tmp_path / "j.db"), "output": "jsonl", "min-interval": "0.1",
        **{key.replace("_", "-"): str(value) for key, value in options.items()},
    }  # fmt: skip
    return ["watch", *(word for key, value in given.items() for word in (f"--{key}", value)), *ids]


BAD_DAY = [
    Fault(code=40309),
    Fault(code=50004),
    Fault(status=500),
    Fault(abort="before"),
]


@pytest.mark.parametrize("kind", ["tasks", "files"])
@pytest.mark.timeout(120)
async def test_on_a_bad_day_every_job_ends_exactly_once(emulator, tmp_path, kind):
    """40309, 50004, HTTP 500, a dropped connection: one terminal event for each job."""
    add = emulator.add_task if kind == "tasks" else emulator.add_file
    ids = [f"J{number}" for number in range(20)]
    for number, job_id in enumerate(ids[:-1]):
        add(job_id, ends_after=number * 0.1, outcome="failed" if number == 3 else "completed")
    add(ids[-1], ends_after=None)
    watching = asyncio.create_task(
        run(*watch_words(emulator, tmp_path, *ids, kind=kind), timeout=90)
    )
    for fault in BAD_DAY:
        emulator.fail("any", fault)
        while emulator.faults or emulator.requests[-1].code != "0":
            await asyncio.sleep(0.02)
    add(ids[-1])
    code, events, err = await watching
    assert code == 1, err  # one is meant to fail
    assert Counter(event["subject"] for event in events) == Counter(ids)
    failed = [event["subject"] for event in events if event["type"] == "pollers.job.failed"]
    assert failed == ["J3"]
    assert {event["type"] for event in events} == {"pollers.job.failed", "pollers.job.succeeded"}
    assert {event["source"] for event in events} == {f"/memos_cloud/default/{kind}"}
    met = Counter(seen.fault for seen in emulator.requests if seen.fault)
    assert met == Counter(fault.name for fault in BAD_DAY)
    code, stored, _ = await run("events", "--store", str(tmp_path / "j.db"), "--output", "jsonl")
    ends = [one for one in stored if one["type"] in {event["type"] for event in events}]
    assert (code, Counter(one["subject"] for one in ends)) == (0, Counter(ids))


async def test_all_went_well_is_exit_0_and_tasks_are_the_default(emulator, tmp_path):
    """Messages that were added over HTTP are watched by their task ids."""
    emulator.configure(task_seconds=0.3)
    ids = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Token {KEY}"}) as session:
        for text in ("I like cats", "I like dogs"):
            body = {"messages": [{"role": "user", "content": text}], "user_id": "u1"}
            async with session.post(f"{emulator.base_url}/add/message", json=body) as response:
                ids.append((await response.json())["data"]["task_id"])
    code, events, err = await run(*watch_words(emulator, tmp_path, *ids))
    assert code == 0, err
    assert sorted(event["subject"] for event in events) == sorted(ids)
    assert {event["data"]["status"] for event in events} == {"completed"}


async def test_one_store_holds_tasks_and_files_of_the_same_id(emulator, tmp_path):
    """They are two jobs; a second run prints what is stored and asks nobody."""
    emulator.add_task("J1")
    emulator.add_file("J1", outcome="failed")
    first = [
        await run(*watch_words(emulator, tmp_path, "J1", kind=one)) for one in ("tasks", "files")
    ]
    assert [code for code, _, _ in first] == [0, 1]
    asked = len(emulator.requests)
    again = [
        await run(*watch_words(emulator, tmp_path, "J1", kind=one)) for one in ("tasks", "files")
    ]
    assert [events for _, events, _ in again] == [events for _, events, _ in first]
    assert len(emulator.requests) == asked
    process = await start("jobs", "--store", str(tmp_path / "j.db"))
    out, _ = await process.communicate()
    assert b"tasks" in out
    assert b"files" in out


async def test_a_task_that_nobody_knows_expires_as_missing(emulator, tmp_path):
    """50131 for the whole grace: exit 1, reason missing."""
    code, events, _ = await run(*watch_words(emulator, tmp_path, "T404", grace=0.5))
    assert code == 1
    assert [(e["type"], e["data"]["reason"]) for e in events] == [
        ("pollers.job.expired", "missing")
    ]
    assert {seen.code for seen in emulator.requests} == {"50131"}


@pytest.mark.parametrize("kind", ["tasks", "files"])
async def test_a_refused_key_is_exit_3_with_code_and_remedy(emulator, tmp_path, kind):
    """Nothing on stdout; the code, and what to do, on stderr; never the key."""
    code, events, err = await run(
        *watch_words(emulator, tmp_path, "J1", kind=kind), key="mpg-wrong"
    )
    assert (code, events) == (3, [])
    assert "40132" in err
    assert "what to do" in err
    assert "mpg-wrong" not in err


async def test_the_key_may_be_named_and_have_its_scheme(emulator, tmp_path):
    """--api-key-env takes another variable, and `Token …` as it stands in the docs."""
    emulator.add_task("T1")
    words = watch_words(emulator, tmp_path, "T1", api_key_env="MY_KEY")
    code, _, err = await run(*words, name="MY_KEY", key=f"Token {KEY}")
    assert code == 0, err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            ["watch", "--provider", "memos_cloud", "--kind", "videos", "X"],
            "--kind videos: memos_cloud has tasks and files",
            id="videos of memos",
        ),
        pytest.param(
            ["watch", "--kind", "tasks", "X"], "--kind tasks: memories_ai has", id="tasks of memories"
        ),
        pytest.param(
            ["watch", "--kind", "odd", "X"], "tasks", id="no such kind"
        ),
        pytest.param(["watch", "--provider", "odd", "X"], "memos_cloud", id="no such provider"),
        pytest.param(
            ["watch", "--provider", "memos_cloud", "--api-key-env", "NOBODYS", "X"], "$NOBODYS",
            id="no key",
        ),
        pytest.param(
            ["emulate", "--provider", "memos_cloud", "--points", "3"], "--points", id="points"
        ),
        pytest.param(
            ["emulate", "--provider", "memos_cloud", "--limit", "list=3/1"], "calls, tokens",
            id="a limit of memories",
        ),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_exit_2_in_words(words, said, tmp_path, monkeypatch):
    """The message names what there is."""
    monkeypatch.chdir(tmp_path)
    process = await start(*words)
    out, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, out) == (2, b"")
    assert said in err.decode()
    assert b"Traceback" not in err


async def test_without_a_key_its_name_is_told(tmp_path):
    """Exit 2, with the variable of this provider."""
    words = ["watch", "--provider", "memos_cloud", "--store", str(tmp_path / "j.db"), "X"]
    code, _, err = await run(*words, key="")
    assert code == 2
    assert "$MEMOS_API_KEY" in err


async def test_emulate_serves_memos_until_ctrl_c(tmp_path):
    """Its address is told; messages take the time that was said, and limits hold."""
    process = await start(
        "emulate", "--provider", "memos_cloud", "--port", "0", "--parse-seconds", "0.2",
        "--limit", "tokens=5/60", "--key", KEY,
    )  # fmt: skip
    line = (await asyncio.wait_for(process.stderr.readline(), 10)).decode()
    assert line.startswith("memos_cloud is emulated at http://127.0.0.1:")
    base_url = next(word for word in line.split() if word.startswith("http"))
    async with aiohttp.ClientSession(headers={"Authorization": f"Token {KEY}"}) as session:
        body = {"messages": [{"role": "user", "content": "I like black cats"}], "user_id": "u1"}
        async with session.post(f"{base_url}/add/message", json=body) as response:
            task_id = (await response.json())["data"]["task_id"]
        async with session.post(f"{base_url}/add/message", json=body) as response:
            assert (await response.json())["code"] == 40309
    code, events, err = await run(
        "watch", "--provider", "memos_cloud", "--base-url", base_url, "--output", "jsonl",
        "--store", str(tmp_path / "j.db"), "--min-interval", "0.1", task_id,
    )  # fmt: skip
    assert code == 0, err
    assert [event["subject"] for event in events] == [task_id]
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 130
