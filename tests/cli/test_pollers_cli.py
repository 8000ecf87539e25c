"""The program ``pollers`` as a person runs it: real processes, an emulated provider on loopback."""

import asyncio
import inspect
import json
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from pollers import Poller
from pollers.cli.commands import cli
from pollers.emulator import Fault, MemoriesEmulator
from pollers.emulator.faults import INTERFACES

pytestmark = pytest.mark.slow

TERMINAL = {f"pollers.job.{word}" for word in ("succeeded", "failed", "expired", "cancelled")}


@pytest.fixture
async def emulator():
    async with MemoriesEmulator(keys=["sk-test"]) as running:
        yield running


class Ran:
    """What a process said and how it ended."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out.decode()
        self.err = err.decode()

    @property
    def events(self):
        return [json.loads(line) for line in self.out.splitlines()]


def start(*words, key="sk-test", **pipes):
    env = {**os.environ, "MEMORIES_API_KEY": key, "PYTHONUNBUFFERED": "1"}
    if not key:
        del env["MEMORIES_API_KEY"]
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE} | pipes
    return asyncio.create_subprocess_exec(
        sys.executable, "-m", "pollers.cli", *words, env=env, **pipes
    )


async def run(*words, key="sk-test", timeout=30):
    process = await start(*words, key=key)
    out, err = await asyncio.wait_for(process.communicate(), timeout)
    return Ran(process.returncode, out, err)


def watch_words(emulator, store, *ids, **options):
    given = {
        "base-url": emulator.base_url,
        "store": str(store),
        "output": "jsonl",
        "min-interval": "0.1",
    }
    given |= {key.replace("_", "-"): str(value) for key, value in options.items()}
    return ["watch", *(word for key, value in given.items() for word in (f"--{key}", value)), *ids]


async def test_watch_prints_the_terminal_event_of_each_id_and_exits_0(emulator, tmp_path):
    """All succeed: one CloudEvent a line on stdout, nothing else there, exit code 0."""
    for number in ("VI1", "VI2"):
        emulator.add_video(number, parse_after=0.2, duration=12.0)
    ran = await run(*watch_words(emulator, tmp_path / "j.db", "VI1", "VI2", "VI1"))
    assert ran.code == 0, ran.err
    assert sorted(event["subject"] for event in ran.events) == ["VI1", "VI2"]
    event = ran.events[0]
    assert event["specversion"] == "1.0"
    assert event["type"] == "pollers.job.succeeded"
    assert event["source"] == "/memories_ai/default/videos"
    assert {"status", "cause", "elapsed", "looks", "user_data"} <= set(event["data"])
    assert event["data"]["status"] == "PARSE"


async def test_watch_exits_1_when_a_job_failed_and_tells_the_cause(emulator, tmp_path):
    """A failed video is exit code 1, with the provider's cause in the event."""
    emulator.add_video("VI1", parse_after=0, outcome="PARSE_ERROR", cause="unsupported codec")
    emulator.add_video("VI2", parse_after=0)
    ran = await run(*watch_words(emulator, tmp_path / "j.db", "VI1", "VI2"))
    assert ran.code == 1
    failed = next(e for e in ran.events if e["subject"] == "VI1")
    assert (failed["type"], failed["data"]["cause"]) == ("pollers.job.failed", "unsupported codec")


async def test_watch_again_prints_the_stored_event_with_the_same_id(emulator, tmp_path):
    """A second run prints what is stored, asks nobody, and keeps the event id."""
    emulator.add_video("VI1", parse_after=0)
    first = await run(*watch_words(emulator, tmp_path / "j.db", "VI1"))
    asked = len(emulator.requests)
    second = await run(*watch_words(emulator, tmp_path / "j.db", "VI1"))
    assert second.code == 0
    assert second.events == first.events
    assert len(emulator.requests) == asked


async def test_an_expired_job_is_exit_1(emulator, tmp_path):
    """A video that is not parsed at its deadline expires."""
    emulator.add_video("VI1", parse_after=None)
    ran = await run(*watch_words(emulator, tmp_path / "j.db", "VI1", deadline=0.5))
    assert ran.code == 1
    assert [(e["type"], e["data"]["reason"]) for e in ran.events] == [
        ("pollers.job.expired", "deadline")
    ]


async def test_a_video_that_nobody_knows_expires_as_missing(emulator, tmp_path):
    """Absent from every answer for the whole grace: expired, reason missing."""
    ran = await run(*watch_words(emulator, tmp_path / "j.db", "VI404", grace=0.5))
    assert ran.code == 1
    assert [(e["type"], e["data"]["reason"]) for e in ran.events] == [
        ("pollers.job.expired", "missing")
    ]


async def test_a_refused_key_is_exit_3_with_code_and_remedy(emulator, tmp_path):
    """The API refuses us: 3, and what to do is on stderr, nothing on stdout."""
    emulator.add_video("VI1", parse_after=0)
    ran = await run(*watch_words(emulator, tmp_path / "j.db", "VI1"), key="sk-wrong")
    assert ran.code == 3
    assert ran.out == ""
    assert "9009" in ran.err or "0401" in ran.err
    assert "what to do" in ran.err
    assert "sk-wrong" not in ran.err


async def test_a_mended_key_goes_on_by_itself_when_stalled(emulator, tmp_path):
    """With --on-refused stall nothing ends, and the job is found once the account answers."""
    emulator.add_video("VI1", parse_after=0)
    emulator.fail("list", Fault(code="0402", msg="no points", headers={"Retry-After": "1"}))
    ran = await run(*watch_words(emulator, tmp_path / "j.db", "VI1", on_refused="stall"))
    assert ran.code == 0, ran.err
    events = (await run("events", "--store", str(tmp_path / "j.db"), "--output", "jsonl")).events
    kinds = [event["type"] for event in events]
    assert kinds == [
        "pollers.job.watching",
        "pollers.stalled",
        "pollers.job.succeeded",
        "pollers.resumed",
    ]
    assert events[1]["data"]["code"] == "0402"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["watch"], "Missing argument", id="no ids"),
        pytest.param(["watch", ""], "an id is empty", id="empty id"),
        pytest.param(["emulate", "--limit", "foo=1/2"], "foo", id="bad interface"),
        pytest.param(["emulate", "--port", "99999"], "99999", id="bad port"),
        pytest.param(["watch", "--base-url", "nonsense", "VI1"], "base_url", id="bad url"),
        pytest.param(["watch", "--deadline", "0", "VI1"], "deadline", id="bad deadline"),
        pytest.param(["watch", "--policy", "nowhere.toml", "VI1"], "nowhere.toml", id="bad policy"),
        pytest.param(["watch", "--api-key-env", "NO_SUCH_KEY", "VI1"], "NO_SUCH_KEY", id="no key"),
        pytest.param(["events", "--store", "nowhere.db"], "nowhere.db", id="no store"),
        pytest.param(["jobs", "--state", "odd"], "odd", id="bad state"),
        pytest.param(["emulate", "--limit", "list=fast"], "list=fast", id="bad limit"),
    ],
)
async def test_bad_usage_is_exit_2_in_words(words, said, tmp_path, monkeypatch):
    """A mistake on the command line is named on stderr, without a traceback."""
    monkeypatch.chdir(tmp_path)
    ran = await run(*words)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


async def test_ctrl_c_is_130_and_keeps_the_store(emulator, tmp_path):
    """Interrupted in the middle: 130, no traceback, and the next run goes on."""
    emulator.add_video("VI1", parse_after=1.5)
    store = tmp_path / "j.db"
    process = await start(*watch_words(emulator, store, "VI1"))
    while not any(seen.interface == "list" for seen in emulator.requests):
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 130
    assert b"Traceback" not in err
    ran = await run(*watch_words(emulator, store, "VI1"))
    assert (ran.code, len(ran.events)) == (0, 1)


async def test_two_writers_on_one_store_are_refused(emulator, tmp_path):
    """The second ``watch`` on a file says who has it, and exits 2."""
    emulator.add_video("VI1", parse_after=None)
    store = tmp_path / "j.db"
    process = await start(*watch_words(emulator, store, "VI1"))
    while not emulator.requests:
        await asyncio.sleep(0.05)
    ran = await run(*watch_words(emulator, store, "VI2"))
    assert ran.code == 2
    assert str(store) in ran.err
    assert str(process.pid) in ran.err
    emulator.add_video("VI1")  # parsed: the first one ends
    await process.communicate()


async def test_events_and_jobs_read_while_a_poller_writes(emulator, tmp_path):
    """Readers are always allowed; --after goes on behind a cursor, and --follow sees the end."""
    emulator.add_video("VI1", parse_after=None)
    store = str(tmp_path / "j.db")
    process = await start(*watch_words(emulator, store, "VI1"))
    while not emulator.requests:
        await asyncio.sleep(0.05)
    follower = await start("events", "--store", store, "--follow", "--output", "jsonl")
    listed = await run("jobs", "--store", store, "--output", "jsonl")
    assert json.loads(listed.out)["id"] == "VI1"
    emulator.add_video("VI1")  # parsed
    await process.communicate()
    lines = [json.loads(await asyncio.wait_for(follower.stdout.readline(), 10)) for _ in range(3)]
    follower.send_signal(signal.SIGINT)
    await follower.communicate()
    assert follower.returncode == 130
    assert [line["type"].rsplit(".", 1)[-1] for line in lines] == [
        "watching",
        "changed",
        "succeeded",
    ]
    rest = await run("events", "--store", store, "--after", lines[1]["cursor"], "--output", "jsonl")
    assert rest.events == lines[2:]
    table = await run("jobs", "--store", store)
    assert "VI1" in table.out
    assert "succeeded" in table.out


async def test_jobs_in_a_pipe_are_not_cut(emulator, tmp_path):
    """However long an id is, whoever greps for it finds it; 1 is singular."""
    long = "VI" + "1" * 120
    emulator.add_video(long, outcome="PARSE_ERROR", cause="why " * 60)
    store = str(tmp_path / "j.db")
    process = await start(*watch_words(emulator, store, long))
    await process.communicate()
    table = await run("jobs", "--store", store)
    (row,) = [line for line in table.out.splitlines() if long in line]
    assert ("why " * 60).strip() in row
    told = await run("events", "--store", store)
    assert ", 1 look  cause" in told.out


async def test_jobs_prints_a_providers_brackets_as_they_are(emulator, tmp_path):
    """A cause is text, whatever it looks like to whom prints the table."""
    emulator.add_video("VI1", outcome="PARSE_ERROR", cause="[a] [/b]")
    store = str(tmp_path / "j.db")
    process = await start(*watch_words(emulator, store, "VI1"))
    await process.communicate()
    table = await run("jobs", "--store", store)
    assert table.code == 0, table.err
    assert "[a] [/b]" in table.out


async def test_emulate_serves_until_ctrl_c(tmp_path):
    """``pollers emulate`` tells its address, can be scripted, and ends cleanly."""
    process = await start("emulate", "--port", "0", "--control", "--parse-seconds", "0.1")
    line = (await asyncio.wait_for(process.stderr.readline(), 10)).decode()
    base_url = next(word for word in line.split() if word.startswith("http"))
    ran = await run(
        "watch", "--base-url", base_url, "--store", str(tmp_path / "j.db"), "--grace", "0.2", "VI1"
    )
    assert ran.code == 1
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 130


async def test_emulate_serves_every_surface_on_one_port():
    """What it tells are the roots of all surfaces; each answers in its own way."""
    process = await start("emulate", "--port", "0", "--limit", "datalake_search=0/7")
    said = [(await asyncio.wait_for(process.stderr.readline(), 10)).decode() for _ in range(2)]
    v1, v2, lake = [word for line in said for word in line.split() if word.startswith("http")]
    found = []
    async with aiohttp.ClientSession(headers={"Authorization": "sk-test"}) as session:
        for method, url in (
            ("GET", f"{v1}/get_metadata?video_no=VI1"),
            ("GET", f"{v2}/re_1/metadata"),
            ("GET", f"{lake}/videos/vid_1"),
            ("POST", f"{lake}/search"),
        ):
            async with session.request(method, url) as response:
                body = await response.json()
                found.append((response.status, body.get("code") or body["error"]["code"]))
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 10)
    assert found == [(200, "0000"), (400, 400), (404, "not_found"), (429, "rate_limited")]


async def test_emulate_help_tells_paths_and_interfaces():
    """Every root and every interface that a limit may be for is named."""
    ran = await run("emulate", "--help")
    said = ran.out.replace(",", " ").replace(".", " ").split()
    assert ran.code == 0
    assert {"/serve/api/v1", "/serve/api/v2", "/serve/datalake/v1", *INTERFACES} <= set(said)


@pytest.mark.timeout(120)
async def test_twenty_kills_lose_nothing_and_double_nothing(emulator, tmp_path):
    """kill -9 of ``pollers watch`` at twenty random instants: each job has one terminal event."""
    chance = random.Random(20)
    ids = [f"VI{number}" for number in range(40)]
    for number, video in enumerate(ids):
        outcome = "PARSE_ERROR" if number % 7 == 0 else "PARSE"
        emulator.add_video(video, parse_after=number * 0.4, outcome=outcome)
    store: Path = tmp_path / "j.db"
    for _ in range(20):
        process = await start(*watch_words(emulator, store, *ids), stderr=None)
        await asyncio.sleep(chance.uniform(0.1, 1.2))
        if process.returncode is None:
            process.kill()
        await process.communicate()
    last = await run(*watch_words(emulator, store, *ids), timeout=60)
    assert last.code == 1, last.err  # some are meant to fail
    assert Counter(event["subject"] for event in last.events) == Counter(ids)
    stored = (await run("events", "--store", str(store), "--output", "jsonl")).events
    ends = Counter(event["subject"] for event in stored if event["type"] in TERMINAL)
    assert ends == Counter(ids)
    assert len({event["id"] for event in stored}) == len(stored)
    by_id = {event["id"]: event for event in stored}
    assert all(by_id[event["id"]] == event for event in last.events)


@pytest.mark.timeout(120)
async def test_the_demo_ends_well_and_leaves_nothing_behind(tmp_path, monkeypatch):
    """``pollers demo`` exits 0, proves that nothing was lost, and cleans up."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ran = await run("demo", "--plain", timeout=100)
    assert ran.code == 0, ran.out + ran.err
    assert "nothing was lost" in ran.out
    assert "kill -9" in ran.out
    assert list(tmp_path.iterdir()) == []


async def test_term_cleans_up_like_ctrl_c(tmp_path, monkeypatch):
    """A supervisor's TERM leaves no temporary folder behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = await start("emulate", "--port", "0")
    await asyncio.wait_for(process.stderr.readline(), 10)
    process.terminate()
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 143
    assert list(tmp_path.iterdir()) == []


async def test_term_ends_a_watch_in_time(emulator, tmp_path):
    """As Ctrl-C does, while a job is running: quickly, without a traceback, and the job is stored."""
    emulator.add_video("VI1", parse_after=3600)
    store = tmp_path / "j.db"
    process = await start(*watch_words(emulator, store, "VI1", output="text"))
    line = await asyncio.wait_for(process.stderr.readline(), 10)
    assert b"watching 1 video" in line
    process.terminate()
    _, err = await asyncio.wait_for(process.communicate(), 5)
    assert (process.returncode, err) == (143, b"")
    [job] = (await run("jobs", "--store", str(store), "--output", "jsonl")).out.splitlines()
    assert json.loads(job)["state"] == "watching"


async def test_a_reader_that_has_enough_is_no_traceback(emulator, tmp_path):
    """``pollers watch … | head -1`` ends quietly."""
    ids = [f"VI{number}" for number in range(30)]
    for number in ids:
        emulator.add_video(number, parse_after=0)
    words = " ".join(watch_words(emulator, tmp_path / "j.db", *ids))
    env = {**os.environ, "MEMORIES_API_KEY": "sk-test", "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m pollers.cli {words} | head -1",
        env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert len(out.splitlines()) == 1
    assert b"Traceback" not in err


async def test_what_fails_while_watching_is_told(tmp_path):
    """A server that is not there is not half an hour of silence."""
    process = await start(
        "watch", "--base-url", "http://127.0.0.1:9/", "--store", str(tmp_path / "j.db"), "VI1"
    )
    line = b""
    while b"look_failed" not in line:
        line = await asyncio.wait_for(process.stderr.readline(), 10)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert b"ClientConnectorError" in line


def test_the_help_tells_the_final_grace():
    """A deadline of 5 s may end after 35; whoever waits for it can read why."""
    (deadline,) = (one for one in cli.commands["watch"].params if one.name == "deadline")
    grace = inspect.signature(Poller).parameters["final_grace"].default
    assert f"if the API gives none for {grace:g} s more" in deadline.help
