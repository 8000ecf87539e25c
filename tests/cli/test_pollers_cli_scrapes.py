"""``pollers watch --kind scrapes`` as a person runs it, with faults on."""

import asyncio

import pytest
from test_pollers_cli import TERMINAL, run, start, watch_words

from pollers.emulator import Fault, MemoriesEmulator

pytestmark = pytest.mark.slow


@pytest.fixture
async def emulator():
    async with MemoriesEmulator(keys=["sk-test"]) as running:
        yield running


def words(emulator, store, *ids, **options):
    return watch_words(emulator, store, *ids, kind="scrapes", **options)


GROWING = [
    {"video_no": "VI1", "parse_after": 0.5},
    {"video_no": "VI2", "appears_after": 0.4, "parse_after": 0.9, "outcome": "PARSE_ERROR",
     "cause": "no video stream"},
]  # fmt: skip
CHILDREN = [
    {"id": "VI1", "state": "succeeded", "status": "PARSE", "cause": None},
    {"id": "VI2", "state": "failed", "status": "PARSE_ERROR", "cause": "no video stream"},
]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(code="0429"), Fault(status=503), Fault(abort="before", times=2),
        Fault(abort="middle"), Fault(body="truncated"), Fault(code="0001", msg="network abnormal"),
    ],
    ids=lambda fault: fault.name,
)  # fmt: skip
async def test_a_task_ends_through_rejections_outages_and_cut_connections(
    emulator, tmp_path, fault
):
    """On both requests: one event on stdout with each child in it, exit 0."""
    emulator.add_scrape("T1", videos=GROWING)
    for interface in ("task", "list"):
        emulator.fail(interface, fault)
    ran = await run(*words(emulator, tmp_path / "j.db", "T1", expect=2), timeout=60)
    assert ran.code == 0, ran.err
    (event,) = ran.events
    assert (event["type"], event["subject"]) == ("pollers.job.succeeded", "T1")
    assert event["source"] == "/memories_ai/default/scrapes"
    assert event["data"]["status"] == "1 of 2 parsed, 1 failed"
    assert event["data"]["children"] == CHILDREN
    assert emulator.faults == {}
    met = {seen.interface for seen in emulator.requests if seen.fault}
    assert met == {"task", "list"}


async def test_events_show_each_child_to_people_and_to_programs(emulator, tmp_path):
    """Under the line of the end, a line a video; in jsonl, in `data`; nowhere before the end."""
    emulator.add_scrape("T1", videos=GROWING)
    store = str(tmp_path / "j.db")
    ran = await run(*words(emulator, store, "T1", expect=2, output="text"))
    assert ran.code == 0, ran.err
    assert "watching 1 scrape in" in ran.err
    shown = ran.out.splitlines()
    assert [line.split() for line in shown[1:]] == [
        ["VI1", "succeeded", "PARSE"],
        ["VI2", "failed", "PARSE_ERROR", "cause:", "no", "video", "stream"],
    ]
    assert "succeeded" in shown[0]
    assert "1 of 2 parsed, 1 failed  after" in shown[0]
    listed = await run("events", "--store", store)
    assert listed.out.splitlines()[-3:] == shown
    events = (await run("events", "--store", store, "--output", "jsonl")).events
    assert events[-1]["data"]["children"] == CHILDREN
    assert all("children" not in event["data"] for event in events[:-1])


async def test_a_task_without_an_expectation_settles(emulator, tmp_path):
    """--settle says after how long without a further video a task is whole."""
    emulator.add_scrape("T1", videos=[{"video_no": "VI1"}])
    ran = await run(*words(emulator, tmp_path / "j.db", "T1", settle=1.5))
    assert ran.code == 0, ran.err
    (event,) = ran.events
    assert event["data"]["status"] == "1 of 1 parsed"
    assert 1.5 <= event["data"]["elapsed"] < 6.0


async def test_a_task_of_bad_videos_is_exit_1(emulator, tmp_path):
    """All failed, one stays empty, one is unknown: each says so in its own event."""
    emulator.add_scrape("T1", videos=[{"outcome": "PARSE_ERROR", "cause": "no video stream"}])
    emulator.add_scrape("T2")
    options = {"expect": 1, "deadline": 6.0, "grace": 0.5}
    ran = await run(*words(emulator, tmp_path / "j.db", "T1", "T2", "T3", **options))
    assert ran.code == 1
    ends = {event["subject"]: event for event in ran.events}
    assert (ends["T1"]["type"], ends["T1"]["data"]["cause"]) == (
        "pollers.job.failed", "no video stream",
    )  # fmt: skip
    assert ends["T2"]["data"]["reason"] == "deadline"
    assert ends["T3"]["data"]["reason"] == "missing"


@pytest.mark.timeout(60)
async def test_kills_between_the_stages_lose_nothing(emulator, tmp_path):
    """kill -9 before, between and after the stages: what was expected is known, one terminal event."""
    videos = [{"appears_after": n * 0.5, "parse_after": 4.0 + n * 0.5} for n in range(6)]
    emulator.add_scrape("T1", videos=videos)
    store = tmp_path / "j.db"
    for seconds in (1.2, 1.6, 2.0):
        process = await start(*words(emulator, store, "T1", expect=6), stderr=None)
        await asyncio.sleep(seconds)
        process.kill()
        await process.communicate()
    # the task is known by now; what is said again is not what counts
    ran = await run(*words(emulator, store, "T1", expect=99, settle=9999), timeout=40)
    assert ran.code == 0, ran.err
    stored = (await run("events", "--store", str(store), "--output", "jsonl")).events
    assert [event["type"] for event in stored if event["type"] in TERMINAL] == [
        "pollers.job.succeeded"
    ]
    assert stored[-1] == ran.events[0]
    assert len(stored[-1]["data"]["children"]) == 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(["--expect", "3", "VI1"], "no children", id="expect of a video"),
        pytest.param(["--kind", "scrapes", "--expect", "0", "T1"], "--expect", id="expect nothing"),
        pytest.param(["--kind", "scrapes", "--settle", "inf", "T1"], "settle=inf", id="for ever"),
    ],
)
async def test_bad_usage_is_exit_2_in_words(given, said, tmp_path):
    """What makes no sense for a kind is said, without a traceback."""
    ran = await run("watch", "--store", str(tmp_path / "j.db"), *given)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
