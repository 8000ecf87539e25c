"""What is logged: named, with the fields one filters by, and nothing that is secret."""

import ast
import logging
from pathlib import Path
from typing import Any

import anyio
import pytest
from pollers_kit import (
    BAD,
    DOWN,
    EMPTY,
    NEVER,
    Provider,
    make_poller,
    paper_guard,
    stop_of,
)
from submit_kit import Shop

import pollers
from pollers import EventRefused
from pollers._log import MOST_SAID, crash, fit_to_tell
from pollers.sinks import CallbackSink

KEY = "sk-3141592653"


def calls() -> list[tuple[str, ast.Call]]:
    """Every call of the log in the package, with its place."""
    found = []
    for path in Path(pollers.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = ast.unparse(node.func)
            if called.startswith("log.") or (called == "tell" and path.name == "_loop.py"):
                found.append((f"{path.name}:{node.lineno}", node))
    return found


def test_every_line_has_a_name_and_its_fields() -> None:
    """``pollers.<what>``; of a source its kind and account, of a sink its name."""
    assert len(calls()) >= 12
    for where, call in calls():
        name = ast.literal_eval(call.args[0])
        assert name.startswith("pollers."), where
        fields = {keyword.arg for keyword in call.keywords}
        if "kind" in fields:
            assert "account" in fields, where
        assert fields & {"kind", "sink"} or name in (
            "pollers.opened", "pollers.stopped", "pollers.crashed", "pollers.observer_failed",
            "pollers.unknown_callback",
        ), where  # fmt: skip


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"GET https://x/y?key={KEY}&page=1 failed", "GET https://x/y?… failed"),
        (f"ftp://me:{KEY}@host/a", "ftp://…@host/a"),
        (f"redis://:{KEY}@host:6379", "redis://…@host:6379"),
        (f"header Authorization: Bearer {KEY}", "header Authorization: Bearer …"),
        (f"{{'Authorization': '{KEY}', 'x': 1}}", "{'Authorization': '…', 'x': 1}"),
        (f"authorization={KEY}", "authorization=…"),
        ("is this right? a = b", "is this right? a = b"),
        ("\ud83d alone", "? alone"),
        ("x" * 2000, "x" * MOST_SAID),
    ],
)
def test_what_is_fit_to_tell(said: str, told: str) -> None:
    """Queries, passwords in URLs and authorizations are cut out, whatever is around them."""
    assert fit_to_tell(said) == told


def test_a_crash_says_what_and_where() -> None:
    """The class, the place, and what came before; no message's secrets and no values."""

    def fails(secret: str) -> None:
        try:
            raise OSError(f"no route to https://x/?key={secret}")
        except OSError as error:
            raise ValueError(f"https://me:{secret}@x") from error

    try:
        fails(KEY)
    except ValueError as error:
        facts = crash(error)
    assert facts["error"] == "ValueError: https://…@x"
    assert facts["because"] == "OSError: no route to https://x/?…"
    assert facts["trace"].endswith(" fails")
    assert __file__ in facts["trace"]
    assert KEY not in repr(facts)


def test_a_bug_in_a_source_is_logged_without_its_url(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With the place where it happened, on one line."""

    async def main() -> None:
        provider = Provider()

        class Mine(type(provider.source())):  # type: ignore[misc]
            async def look(self, guard: Any, pick: Any) -> Any:
                raise KeyError(f"https://api/x?token={KEY}")

        async with make_poller(
            Mine(provider.one, succeeded=["done"], failed=[], guard=paper_guard())
        ) as poller:
            await stop_of((await poller.watch("a")).result())

    run(main)
    [line] = [one.getMessage() for one in caplog.records if "crashed" in one.getMessage()]
    assert "KeyError" in line and Path(__file__).name in line and " look" in line
    assert KEY not in caplog.text
    assert "Traceback" not in caplog.text


def test_a_sink_s_trouble_is_logged_without_its_password(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """When it fails, and when an event is parked."""
    raised: list[Exception] = [
        RuntimeError(f"redis://:{KEY}@host is down"),
        EventRefused(f"https://hook/?key={KEY} says no"),
    ]

    def sink(_: Any) -> None:
        raise raised.pop(0) if len(raised) > 1 else raised[0]

    async def main() -> None:
        provider = Provider()
        async with make_poller(
            provider.source(), sinks=[CallbackSink(sink, name="mine")]
        ) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(5.0)
            [parked, *_] = await poller.parked()
            assert KEY not in parked.reason

    run(main)
    told = [one.getMessage() for one in caplog.records]
    assert any("pollers.sink_failed" in one and "sink='mine'" in one for one in told)
    assert any("pollers.event_parked" in one and "says no" in one for one in told)
    assert KEY not in caplog.text


def test_the_life_of_a_poller_in_its_log(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Opened, a look that failed, stalled, resumed, and what was left undelivered."""

    async def hang(_: Any) -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        provider = Provider()
        provider.trouble = [DOWN, EMPTY, None]
        source = provider.source(guard=paper_guard("ann"))
        async with make_poller(source, sinks=[CallbackSink(hang, name="mine")]) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(100.0)

    with caplog.at_level(logging.INFO, logger="pollers"):
        run(main)
    lines = [one.getMessage() for one in caplog.records if one.name == "pollers"]
    names = [line.split("'")[1].removeprefix("pollers.") for line in lines]
    assert names == ["opened", "look_failed", "look_failed", "stalled", "resumed", "undelivered"]
    assert lines[0] == "event='pollers.opened' sources=1 sinks=1"
    assert all("kind='jobs' account='ann'" in line for line in lines[1:5])
    assert lines[4].endswith("stalled_for=40.0")
    assert lines[5] == "event='pollers.undelivered' sink='mine' events=4"


def test_a_search_that_fails_is_a_line_of_its_own(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Once loudly for each submit or row of failures; with when the next search is."""
    shop = Shop()
    shop.search_trouble = [BAD, BAD, DOWN, DOWN]

    async def main() -> None:
        async with shop.poller() as poller:
            await (await poller.submit(shop.lose)).result()

    with caplog.at_level(logging.INFO, logger="pollers"):
        run(main)
    told = [
        (one.levelname, one.getMessage().split("what='search' ")[1])
        for one in caplog.records
        if "look_failed" in one.getMessage()
    ]
    assert told == [
        ("WARNING", "code='bad' title='Bad' reason='fatal' retry_in=1.0"),
        ("INFO", "code='bad' title='Bad' reason='fatal' retry_in=2.0"),
        ("WARNING", "code='down' title='' reason='attempts' retry_in=0.5"),
        ("INFO", "code='down' title='' reason='attempts' retry_in=0.5"),
    ]


def test_a_refusal_is_told_loudly_once(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """That the account is stalled says more than that a look failed."""

    async def main() -> None:
        provider = Provider()
        provider.trouble = [EMPTY]
        async with make_poller(provider.source()) as poller:
            await poller.watch(provider.add("a", at=NEVER))
            await anyio.sleep(100.0)

    run(main)
    [line] = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert "pollers.stalled" in line
