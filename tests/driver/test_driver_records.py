"""What is told about calls: one record per attempt and per call, nothing secret, quiet by default."""

import contextlib
import logging
import subprocess
import sys
from dataclasses import asdict

import anyio
import pytest
import structlog
from driver_kit import BAD, BUSY, DOWN, EMPTY, LOST, OK, POLICY, make_guard

from resilience import AttemptRecord, CallRecord, Outcome, ResilienceError, to_structlog
from resilience.testing import Script

SECRET = "sk-mavi-0123456789abcdef"


def told(run, steps, *, name="read", **options):
    """The records of one call."""
    records = []
    guard = make_guard(observe=records.append)

    async def main():
        with contextlib.suppress(ResilienceError):
            await guard.options(**options).call(Script(steps, delay=0.5, name=name))

    run(main)
    return records


def test_one_record_per_attempt_and_one_per_call(run):
    """Every attempt tells what it met and what follows; the call tells how it ended."""
    records = told(run, [DOWN, BUSY, OK], deadline=60)
    common = {
        "endpoint": "read", "account": "default", "policy": POLICY.version, "unlisted": False,
    }  # fmt: skip
    attempt = {**common, "hint_problems": ()}
    assert [asdict(record) for record in records] == [
        {
            **attempt, "code": "down", "verdict": "retryable", "matched_by": "codes.down", "attempt": 1,
            "wait": 1.0, "wait_reason": "backoff", "deadline_left": 59.5, "certainty": "not_executed",
            "recovers": None,
        },
        {
            **attempt, "code": "busy", "verdict": "quota", "matched_by": "codes.busy", "attempt": 2,
            "wait": records[1].wait, "wait_reason": "gate", "deadline_left": 58.0,
            "certainty": "not_executed", "recovers": "window",
        },
        {
            **attempt, "code": records[2].code, "verdict": "success", "matched_by": records[2].matched_by,
            "attempt": 3, "wait": None, "wait_reason": None, "deadline_left": 56.5,
            "certainty": "executed", "recovers": None,
        },
        {
            **common, "code": records[3].code, "verdict": "success",
            "matched_by": records[3].matched_by, "attempts": 3, "waited": 1.0, "elapsed": 3.5,
            "reason": None,
        },
    ]  # fmt: skip
    assert [type(record) for record in records] == [AttemptRecord] * 3 + [CallRecord]


def test_success_is_recorded_if_somebody_listens(run):
    """An observer hears of plain successes too."""
    records = told(run, [OK])
    assert [(type(r), r.verdict) for r in records] == [
        (AttemptRecord, "success"),
        (CallRecord, "success"),
    ]
    assert records[1].elapsed == 0.5


@pytest.mark.parametrize(
    ("steps", "name", "reason", "attempts"),
    [
        pytest.param([BAD], "read", "fatal", 1, id="fatal"),
        pytest.param([DOWN], "read", "attempts", 4, id="attempts"),
        pytest.param([LOST], "write", "not_repeatable", 1, id="not-repeatable"),
        pytest.param([EMPTY], "read", "exhausted", 1, id="exhausted"),
    ],
)
def test_call_record_says_why_it_ended(run, steps, name, reason, attempts):
    """The reason is one word, the same as the error's."""
    records = told(run, steps, name=name)
    assert len(records) == attempts + 1
    assert (records[-1].reason, records[-1].attempts, records[-1].code) == (
        reason,
        attempts,
        steps[0]["code"],
    )
    assert records[-2].wait_reason == reason


def test_refused_call_is_one_record(run):
    """A call that was refused locally made no attempt; its record says whose code closed the door."""
    records = []
    guard = make_guard(observe=records.append).options(on_failure="return")

    async def main():
        await guard.call(Script([EMPTY], name="read"))
        records.clear()
        with pytest.raises(ResilienceError):
            await guard.call(Script([OK], name="read"))

    run(main)
    assert [(type(r), r.attempts, r.code, r.reason) for r in records] == [
        (CallRecord, 0, "empty", "exhausted")
    ]


def test_inner_attempts_are_not_recorded_twice(run):
    """A nested call tells nothing: the outer one speaks for both."""
    records = []
    guard = make_guard(observe=records.append)

    async def main():
        script = Script([DOWN, OK], name="read")

        async def read():
            return await guard.call(script)

        await guard.call(read)

    run(main)
    assert [type(r) for r in records] == [AttemptRecord, AttemptRecord, CallRecord]


class ClientError(Exception):
    """Carries everything that exceptions of SDKs carry."""

    def __init__(self) -> None:
        super().__init__(f"https://api.test/read?key={SECRET} failed with {SECRET}")
        self.status = 503
        self.headers = {"retry-after": SECRET, "authorization": SECRET}
        self.body = {"code": "down", "msg": SECRET, "retry_after": SECRET, "data": SECRET}


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(
            {"code": "down", "msg": SECRET, "retry_after": SECRET, "data": SECRET}, id="body"
        ),
        pytest.param({"code": "bad", "msg": f"no such key {SECRET}"}, id="message"),
        pytest.param(
            lambda: Outcome(
                status=503,
                headers={"Authorization": SECRET, "Retry-After": SECRET},
                body=f'{{"data":"{SECRET}',
            ),
            id="headers",
        ),
        pytest.param(ConnectionResetError(f"https://api.test/?key={SECRET}"), id="exception"),
        pytest.param(ClientError(), id="sdk-error"),
    ],
)
@pytest.mark.parametrize("name", ["read", "write"])
def test_no_secret_in_records_or_logs(run, caplog, step, name):
    """Arguments, headers, bodies, queries and messages are in no record and on no log line."""
    caplog.set_level(logging.DEBUG)
    records, lines = [], []
    structlogger = structlog.wrap_logger(None, processors=[lambda _l, _n, event: lines.append(event) or {}],
                                         wrapper_class=Recorder)  # fmt: skip

    async def main():
        for observe in (records.append, to_structlog(structlogger), None):
            guard = make_guard(**({"observe": observe} if observe else {}))
            for options in ({}, {"max_wait": 0}, {"deadline": 3}):
                with pytest.raises(ResilienceError):
                    await guard.options(**options).call(
                        Script([step], name=name), SECRET, headers={"x-api-key": SECRET}
                    )

    run(main)
    assert records
    assert SECRET not in repr(records)
    assert SECRET not in repr(lines)
    assert SECRET not in caplog.text
    assert "resilience.call" in caplog.text


class Recorder(structlog.BoundLoggerBase):
    """A structlog logger that hands its events to the one processor."""

    def debug(self, event, **fields):
        """Pass an event on."""
        self._processors[0](None, "", {"event": event, **fields})

    info = warning = debug


def test_malformed_hint_is_reported_by_its_name(run):
    """That a Retry-After could not be believed is recorded, without what stood in it."""
    records = told(run, [lambda: Outcome(status=503, headers={"Retry-After": SECRET}), OK])
    assert records[0].hint_problems == ("retry-after",)


def test_quiet_by_default():
    """A program that configured neither logging nor structlog sees nothing on stdout and stderr."""
    program = (
        "import asyncio\n"
        "from resilience import Guard, ResilienceError, retryable\n"
        "async def main():\n"
        "    guard = Guard('memories_ai')\n"
        "    async def upload(): return {'code': '0001', 'msg': 'network'}\n"
        "    try: await guard.call(upload)\n"
        "    except ResilienceError as error: assert error.reason == 'not_repeatable'\n"
        "    else: raise SystemExit(3)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_levels_of_the_default_logger(run, caplog):
    """Repeated attempts are INFO, failed calls WARNING, and successes stay below."""
    caplog.set_level(logging.INFO, logger="resilience")
    guard = make_guard()

    async def main():
        await guard.call(Script([DOWN, OK], name="read"))
        with pytest.raises(ResilienceError):
            await guard.call(Script([BAD], name="read"))

    run(main)
    levels = [(r.levelname, "resilience.call" in r.getMessage()) for r in caplog.records]
    assert levels == [("INFO", False), ("INFO", False), ("WARNING", True)]


def test_observer_that_raises_harms_no_call(run, caplog):
    """An observer's exception is logged with its name, and the call goes on as if nothing was."""

    def observe(_record):
        raise RuntimeError("observer")

    async def main():
        guard = make_guard(observe=observe)
        script = Script([OK], name="read")
        assert await guard.call(script) == OK
        assert script.calls == 1
        assert guard._shared.active == 0
        await anyio.sleep(0)

    run(main)
    assert "the observer" in caplog.text
    assert "resilience.call" in caplog.text
