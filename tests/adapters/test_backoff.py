"""A policy in the decorators of ``backoff``: real decorators, virtual time, exact instants.

The suite runs on both distributions (``make test`` and ``make test-fork``).
"""

import asyncio

import backoff
import httpx
import pytest

from resilience import PolicyError
from resilience.adapters.backoff import Rules
from resilience.testing import FixedChance, run_virtual, wall

OK = {"code": 0, "message": "ok", "data": {}}


def said(code, message="words"):
    """As MemOS says it, under HTTP 200."""
    return {"code": code, "message": message, "data": None}


class SDKError(Exception):
    """What a client makes of an error's body."""

    def __init__(self, code, message="words", headers=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers or {}


def make_rules(policy="memos_cloud", endpoint="search_memory", **settings):
    """Without jitter, in virtual time."""
    settings.setdefault("chance", FixedChance(1.0))
    return Rules(policy, endpoint=endpoint, wall=wall, **settings)


def play(rules, steps, how):
    """Call a function that plays these steps under a decorator; gives its end and its instants."""
    asked = []

    async def main():
        left = list(steps)

        async def function():
            asked.append(asyncio.get_running_loop().time())
            step = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(step, Exception):
                raise step
            return step

        return await how(rules, function)()

    try:
        end = run_virtual(main)
    except Exception as error:
        end = error
    return end, asked


def on_exception(rules, function):
    """As the docstring shows it."""
    decorate = backoff.on_exception(rules.wait_gen, Exception, giveup=rules.giveup, jitter=None)
    return decorate(function)


def wait_gen_alone(rules, function):
    """The wait generator gives up by itself where ``giveup`` is left out."""
    return backoff.on_exception(rules.wait_gen, Exception, jitter=None)(function)


def on_predicate(rules, function):
    """For errors inside HTTP 200."""
    return backoff.on_predicate(rules.wait_gen, rules.predicate, jitter=None)(function)


WAYS = [
    pytest.param(on_exception, SDKError, id="on_exception"),
    pytest.param(wait_gen_alone, SDKError, id="wait_gen-alone"),
    pytest.param(on_predicate, said, id="on_predicate"),
]
# code, endpoint, when it is asked if it never gets better
ENDS = [
    pytest.param(50004, "search_memory", [0.0, 1.0, 3.0, 7.0], id="four-attempts"),
    pytest.param(50000, "search_memory", [0.0, 2.0, 6.0], id="three-by-its-rule"),
    pytest.param(40300, "search_memory", [0.0, 60.0], id="a-minute-then-exhausted"),
    pytest.param(40309, "search_memory", [0.0, 2.0, 6.0, 14.0, 30.0], id="window-until-max_wait"),
    pytest.param(40132, "search_memory", [0.0], id="refused-key"),
    pytest.param(40304, "search_memory", [0.0], id="exhausted"),
    pytest.param(50105, "add_knowledgebase_file", [0.0], id="capacity"),
    pytest.param(40112, "console", [0.0], id="cooldown-beyond-max_wait"),
    pytest.param(40113, "console", [0.0, 60.0], id="cooldown-within-max_wait"),
    pytest.param(40114, "console", [0.0], id="midnight"),
    pytest.param(50000, "create_knowledgebase", [0.0], id="not-repeatable"),
    pytest.param(50000, "add_message", [0.0, 2.0], id="repeatable-once"),
    pytest.param(59999, "search_memory", [0.0], id="unknown"),
]


@pytest.mark.parametrize(("how", "step"), WAYS)
@pytest.mark.parametrize(("code", "endpoint", "times"), ENDS)
def test_each_code_waits_and_ends_as_its_rule_says(how, step, code, endpoint, times):
    """Per-code waits, attempts and ends; what comes out is the SDK's own exception or body."""
    last = step(code)
    end, asked = play(make_rules(endpoint=endpoint), [last], how)
    assert asked == times
    assert end is last


@pytest.mark.parametrize(("how", "step"), WAYS)
def test_codes_are_counted_apart(how, step):
    """Each rule has its own schedule within a call: a window, an outage, a window."""
    end, asked = play(make_rules(), [step(40309), step(50004), step(40309), OK], how)
    assert (end, asked) == (OK, [0.0, 2.0, 3.0, 7.0])


@pytest.mark.parametrize(("how", "step"), WAYS)
def test_calls_are_counted_apart(how, step):
    """A second call of the same function begins anew."""
    rules = make_rules()
    for _ in range(2):
        _, asked = play(rules, [step(50004)], how)
        assert asked == [0.0, 1.0, 3.0, 7.0]


@pytest.mark.parametrize(
    ("settings", "code", "times"),
    [
        pytest.param({"max_attempts": 2}, 50004, [0.0, 1.0], id="fewer-attempts"),
        pytest.param({"max_attempts": 9}, 50000, [0.0, 2.0, 6.0], id="the-rule-is-stricter"),
        pytest.param({"max_wait": 3.0}, 50004, [0.0, 1.0, 3.0], id="less-time"),
        pytest.param({"max_wait": None}, 40112, [0.0, 600.0, 1200.0], id="for-ever"),
        pytest.param({"chance": FixedChance(0.5)}, 50004, [0.0, 0.5, 1.5, 3.5], id="jitter-inside"),
        pytest.param(
            {"idempotent": True, "endpoint": "create_knowledgebase"}, 50000, [0.0, 2.0, 6.0],
            id="said-to-be-idempotent",
        ),
        pytest.param({"idempotent": False}, 50000, [0.0], id="said-not-to-be"),
    ],
)  # fmt: skip
def test_settings(settings, code, times):
    """Attempts, time, chance and idempotency are the caller's to say."""
    steps = [said(code), said(code), OK] if code == 40112 else [said(code)]
    _, asked = play(make_rules(**settings), steps, on_predicate)
    assert asked == times


def response(status, seconds):
    """An httpx error that carries its response, as ``raise_for_status`` raises it."""
    request = httpx.Request("GET", "http://paper.test/read")
    answer = httpx.Response(status, headers={"Retry-After": str(seconds)}, request=request)
    return httpx.HTTPStatusError("no", request=request, response=answer)


@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_hint_is_a_floor(draw):
    """Retry-After is waited for in full, whatever the jitter."""
    rules = make_rules("http", "other", chance=FixedChance(draw))
    end, asked = play(rules, [response(429, 7), response(503, 11), OK], on_exception)
    assert (end, asked) == (OK, [0.0, 7.0, 18.0])


def test_hint_beyond_max_wait_gives_up_now():
    """An hour is not waited for, and not knocked at early."""
    late = response(429, 3600)
    assert play(make_rules("http", "other"), [late], on_exception) == (late, [0.0])


def test_hint_on_the_sdks_exception():
    """Headers on an exception of the SDK count as well."""
    busy = SDKError(40309, headers={"retry-after": "5"})
    assert play(make_rules(), [busy, OK], on_exception) == (OK, [0.0, 5.0])


def test_responses_as_results():
    """A function may return an httpx response: status, body and hint are read."""
    busy = httpx.Response(200, json=said(40309), headers={"Retry-After": "4"})
    down = httpx.Response(503)
    fine = httpx.Response(200, json=OK)
    end, asked = play(make_rules(), [busy, down, fine], on_predicate)
    assert (end, asked) == (fine, [0.0, 4.0, 5.0])


def test_result_that_says_nothing_is_a_success():
    """None, a list or a text is handed through."""
    for value in (None, [1], "text"):
        assert play(make_rules(), [value], on_predicate) == (value, [0.0])


def test_decorators_own_limit_holds_too():
    """``max_tries`` of the decorator counts on, also for waits that cost us nothing."""
    rules = make_rules()
    asked = []

    @backoff.on_predicate(rules.wait_gen, rules.predicate, jitter=None, max_tries=2)
    async def search():
        asked.append(asyncio.get_running_loop().time())
        return said(40309)

    assert run_virtual(search) == said(40309)
    assert asked == [0.0, 2.0]


def test_both_decorators_at_once():
    """An SDK that raises for some codes and returns others: one under the other."""
    rules = make_rules()

    def both(rules, function):
        return on_predicate(rules, on_exception(rules, function))

    end, asked = play(rules, [said(40309), SDKError(50004), OK], both)
    assert (end, asked) == (OK, [0.0, 2.0, 3.0])


def test_sync_functions(monkeypatch):
    """The same rules under the decorators' sync form."""
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    rules = make_rules(chance=FixedChance(1.0))
    rules._wall = lambda: 0.0
    left = [said(40309), said(50004), OK]

    @backoff.on_predicate(rules.wait_gen, rules.predicate, jitter=None)
    def search():
        return left.pop(0)

    assert search() == OK
    assert slept == [2.0, 1.0]


def test_cancellation_passes():
    """Nothing of ours sees it."""
    rules = make_rules()

    async def main():
        @backoff.on_predicate(rules.wait_gen, rules.predicate, jitter=None)
        async def search():
            return said(40309)

        task = asyncio.create_task(search())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() == 1.0

    run_virtual(main)


def test_policy_is_loaded_by_name():
    """A wrong name is told when the rules are made, not in the middle of a call."""
    assert Rules("memories_ai").policy.name == "memories_ai"
    with pytest.raises(PolicyError, match="memories_ai"):
        Rules("memories_ia")
