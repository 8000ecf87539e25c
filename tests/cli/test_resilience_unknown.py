"""``resilience codes --unknown``: what logs of every form tell about codes that no policy lists."""

import io
import json
import logging
import sys
import tomllib
from datetime import datetime
from functools import partial

import anyio
import pytest
import structlog

from resilience import Guard, Policy, ResilienceError, observe, to_structlog
from resilience.cli import main
from resilience.testing import EPOCH, run_virtual

ROW = [
    "policy",
    "code",
    "count",
    "endpoints",
    "verdict",
    "matched_by",
    "first_seen",
    "last_seen",
    "stanza",
]
RECORD = {
    "event": "resilience.attempt", "endpoint": "list", "account": "default", "policy": "memories_ai@0123456789ab",
    "code": "7777", "verdict": "fatal", "matched_by": "unknown", "unlisted": True,
}  # fmt: skip


@pytest.fixture
def codes(monkeypatch, capsys, tmp_path):
    """Run the program on a log; gives (exit code, stdout, stderr)."""
    monkeypatch.delenv("RESILIENCE_POLICY", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(log, *arguments):
        (tmp_path / "app.log").write_text(log)
        monkeypatch.setattr(
            sys, "argv", ["resilience", "codes", *arguments, "--unknown", "app.log"]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def told(run, log, *arguments):
    """The rows of the JSON, and how many lines were skipped."""
    code, out, err = run(log, *arguments, "--output", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found) == ["unknown", "skipped"]
    return found["unknown"], found["skipped"]


def line(**changes):
    """One JSON line."""
    return json.dumps({**RECORD, "timestamp": "2026-03-01T10:00:00Z", **changes}) + "\n"


async def calls(guard):
    """Two unknown codes, one of them twice; a listed one, a status and a success."""

    async def answer(code):
        return {"code": code, "msg": "secret"}

    for code in ("7777", "a.b", "7777", "0003", "0000"):
        await anyio.sleep(1)
        try:
            await guard.options(endpoint="list").call(answer, code)
        except ResilienceError:
            pass


SEEN = [("memories_ai", "7777", 2, ["list"], "fatal", "unknown"), ("memories_ai", "a.b", 1, ["list"], "fatal", "unknown")]  # fmt: skip


def heads(rows):
    """All but instants and TOML."""
    return [
        (
            row["policy"],
            row["code"],
            row["count"],
            row["endpoints"],
            row["verdict"],
            row["matched_by"],
        )
        for row in rows
    ]


def test_json_lines_of_structlog(codes):
    """As ``to_structlog`` and ``JSONRenderer`` write them; attempts and calls are not added up."""
    written = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.WriteLogger(written),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
    )
    run_virtual(partial(calls, Guard("memories_ai", observe=to_structlog(logger))))
    rows, skipped = told(codes, written.getvalue())

    assert heads(rows) == SEEN
    assert skipped == 0
    first, last = (datetime.fromisoformat(rows[0][key]) for key in ("first_seen", "last_seen"))
    assert first.tzinfo is not None
    assert first <= last


FORMATS = [
    pytest.param(logging.BASIC_FORMAT, False, id="basicConfig"),
    pytest.param("%(asctime)s %(levelname)s %(name)s: %(message)s", True, id="with a time"),
    pytest.param('{"time": "%(asctime)s", "message": "%(message)s"}', True, id="in JSON"),
]


@pytest.mark.parametrize(("form", "timed"), FORMATS)
def test_text_of_the_standard_logger(codes, form, timed):
    """Whatever stands before the record, and in a line of JSON too."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter(form))
    observe.LOG.addHandler(handler)
    before = observe.LOG.level
    observe.LOG.setLevel(logging.INFO)
    try:
        run_virtual(partial(calls, Guard("memories_ai")))
    finally:
        observe.LOG.removeHandler(handler)
        observe.LOG.setLevel(before)
    rows, skipped = told(codes, written.getvalue())

    assert heads(rows) == SEEN
    assert skipped == 0
    assert [row["first_seen"] is not None for row in rows] == [timed, timed]


def snapshots(*, indent):
    """Three dumps of one guard, as it went on, and one of the guard after a restart."""
    dumps = []

    async def live(rounds):
        guard = Guard("memories_ai", wall=lambda: EPOCH + anyio.current_time())
        for _ in range(rounds):
            await calls(guard)
            dumps.append(json.dumps(guard.snapshot(), indent=indent))

    run_virtual(partial(live, 3))

    async def later():
        await anyio.sleep(1000)
        await live(1)

    run_virtual(later)
    return "\n".join(dumps) + "\n"


@pytest.mark.parametrize("indent", [None, 2])
def test_dumped_snapshots(codes, indent):
    """A later snapshot of a guard tells all of the earlier; another guard's is added."""
    rows, skipped = told(codes, snapshots(indent=indent))

    assert [(row["code"], row["count"]) for row in rows] == [("7777", 8), ("a.b", 4)]
    assert skipped == 0


def test_rows_have_exactly_the_promised_keys(codes):
    """The first and the last instant in UTC, whatever the order and the offset."""
    log = line(timestamp="2026-03-01T12:00:00+02:00") + line(
        timestamp="2026-03-01T09:30:00.5Z", endpoint="chat"
    )
    rows, _ = told(codes, log)

    assert [list(row) for row in rows] == [ROW]
    assert rows == [
        {
            "policy": "memories_ai", "code": "7777", "count": 2, "endpoints": ["list", "chat"],
            "verdict": "fatal", "matched_by": "unknown",
            "first_seen": "2026-03-01T09:30:00.500000+00:00", "last_seen": "2026-03-01T10:00:00+00:00",
            "stanza": '[codes.7777]\nverdict = "fatal"\n'
            "title = \"TODO: what the provider's documents say about it\"\n",
        }
    ]  # fmt: skip


def test_what_is_printed_can_be_pasted(codes):
    """Counts and instants are comments, the rest is TOML; what was skipped goes to stderr."""
    log = line() + line(code="x.y", verdict="quota", recovers="window") + "Traceback:\n\n" + line()
    code, out, err = codes(log)

    assert code == 0
    assert out == (
        "# 7777 of memories_ai: 2 times, first 2026-03-01T10:00:00+00:00, last 2026-03-01T10:00:00+00:00\n"
        "# taken for fatal by unknown, endpoints: list\n"
        "[codes.7777]\n"
        'verdict = "fatal"\n'
        'title = "TODO: what the provider\'s documents say about it"\n'
        "\n"
        '# "x.y" of memories_ai: once, first 2026-03-01T10:00:00+00:00, last 2026-03-01T10:00:00+00:00\n'
        "# taken for quota by unknown, endpoints: list\n"
        '[codes."x.y"]\n'
        'verdict = "quota"\n'
        'recovers = "window"\n'
        'title = "TODO: what the provider\'s documents say about it"\n'
        "\n"
    )
    assert err == "resilience: 2 unknown codes; skipped: 1 other line\n"
    assert set(Policy.from_dict({"name": "p", **tomllib.loads(out)}).codes) == {"7777", "x.y"}


def test_a_code_that_is_listed_by_now_is_not_shown(codes, tmp_path):
    """Paste, correct, and the list is empty; success codes and aliases are listed too."""
    log = line() + line(code="0003") + line(code="429") + line(code="SUCCESS")
    (tmp_path / "my.toml").write_text('extends = "memories_ai"\n[codes.7777]\nverdict = "fatal"\n')

    assert [row["code"] for row in told(codes, log)[0]] == ["0003", "429", "7777", "SUCCESS"]
    assert [row["code"] for row in told(codes, log, "memories_ai")[0]] == ["7777"]
    assert told(codes, log, "my.toml")[0] == []
    envelope = '[[envelope]]\nrequired = ["/code"]\ncode = "/code"\nsuccess = ["7777"]\n'
    (tmp_path / "my.toml").write_text(f'extends = "memories_ai"\n{envelope}')
    assert told(codes, log, "my.toml")[0] == []


def test_a_policy_sees_only_its_own_codes(codes):
    """The same number means something else to another provider."""
    log = line() + line(policy="memos_cloud@0123456789ab") * 2

    assert [(row["policy"], row["count"]) for row in told(codes, log)[0]] == [
        ("memos_cloud", 2), ("memories_ai", 1),
    ]  # fmt: skip
    assert [row["count"] for row in told(codes, log, "memories_ai")[0]] == [1]


def test_failed_calls_are_enough(codes):
    """A log of warnings has no attempts."""
    log = line(event="resilience.call") * 2 + line(
        event="resilience.call", code="0003", unlisted=False
    )

    assert [(row["code"], row["count"]) for row in told(codes, log)[0]] == [("7777", 2)]


def test_the_same_outcome_is_not_counted_three_times(codes):
    """Attempt, call and snapshot tell of it; where they differ, the largest is right."""
    snapshot = {"account": "a", "policy": "memories_ai@0", "unknown": [
        {"code": "7777", "count": 3, "endpoints": ["chat"], "verdict": "fatal", "matched_by": "unknown",
         "first_seen": "2026-03-01 09:00:00+00:00", "last_seen": "2026-03-01 10:00:00+00:00"},
    ]}  # fmt: skip
    log = line() * 2 + line(event="resilience.call") + json.dumps(snapshot) + "\n"
    (row,), _ = told(codes, log)

    assert (row["count"], row["first_seen"]) == (3, "2026-03-01T09:00:00+00:00")
    assert sorted(row["endpoints"]) == ["chat", "list"]


OTHERS = [
    pytest.param(line(unlisted=False), 0, id="listed"),
    pytest.param(line(code=None), 0, id="no code"),
    pytest.param(line(event="resilience.other"), 1, id="another event"),
    pytest.param(line(event="started"), 1, id="another program"),
    pytest.param("[1, 2]\n", 1, id="an array"),
    pytest.param("{}\n", 1, id="nothing in it"),
    pytest.param('{"unknown": 3, "policy": "x"}\n', 1, id="no snapshot"),
    pytest.param('{"unknown": [3, {}], "policy": "x"}\n', 0, id="a snapshot of something else"),
    pytest.param("{\n  half of\n", 2, id="a document without an end"),
    pytest.param("{\n  half of\n}\n", 3, id="a document that is none"),
    pytest.param("event='resilience.attempt' code=\n", 0, id="cut off"),
    pytest.param("\n\n", 0, id="empty lines"),
    pytest.param("", 0, id="nothing"),
]


@pytest.mark.parametrize(("log", "skipped"), OTHERS)
def test_lines_of_something_else_are_skipped_and_counted(codes, log, skipped):
    """A log has everything in it."""
    assert told(codes, log) == ([], skipped)


def test_records_from_before_the_mark_are_judged_by_who_spoke(codes):
    """A family or ``unknown``; a rule or a status says nothing about the code."""
    old = {key: value for key, value in RECORD.items() if key != "unlisted"}
    log = "".join(
        json.dumps({**old, "code": matched_by, "matched_by": matched_by}) + "\n"
        for matched_by in ("unknown", "families.77xx", "codes.1", "http.503")
    )

    assert [row["code"] for row in told(codes, log)[0]] == ["families.77xx", "unknown"]


def test_from_stdin(monkeypatch, capsys):
    """``tail -f`` is a file, too."""
    monkeypatch.setattr(sys, "argv", ["resilience", "codes", "--unknown", "-"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line().encode())))
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 0
    assert "[codes.7777]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["codes"], ["codes", "--unknown", "gone.log"], ["codes", "gone", "--unknown", "-"]],
)
def test_bad_usage_is_2(monkeypatch, capsys, tmp_path, arguments):
    """Neither a policy nor a log, or one that is not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["resilience", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("resilience: ")
