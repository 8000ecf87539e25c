"""Policy files: what is wrong is named by file, key and value, and the near miss is suggested."""

import pytest

from resilience import Policy, PolicyError, Recovers, Verdict
from resilience._core.policy.extends import merge

FATAL = {"verdict": "fatal"}


def code(**fields):
    """A policy with one code."""
    return {"codes": {"1": {"verdict": "quota", **fields}}}


BAD = [
    # data, where, value, expectation or near miss
    pytest.param({"codez": {}}, "codez", "{}", "did you mean 'codes'?", id="top key"),
    pytest.param({"zzz": 1}, "zzz", "1", "known: codes", id="top key that is near nothing"),
    pytest.param({"name": ""}, "name", "''", "the name of a policy", id="no name"),
    pytest.param({"name": 3}, "name", "3", "text", id="name is a number"),
    pytest.param({"hosts": "api"}, "hosts", "'api'", "an array of texts", id="hosts is text"),
    pytest.param({"codes": [1]}, "codes", "[1]", "a table", id="codes is an array"),
    pytest.param({"codes": {"1": "fatal"}}, "codes.1", "'fatal'", "a table", id="code is text"),
    pytest.param({"codes": {429: FATAL}}, "codes", "429", "texts such as '0429'", id="code is a number"),
    pytest.param({"codes": {"1": {}}}, "codes.1.verdict", "None", "one of success", id="no verdict"),
    pytest.param(code(verdict="quotta"), "codes.1.verdict", "'quotta'", "did you mean 'quota'?", id="verdict"),
    pytest.param(code(recovers="exausted"), "codes.1.recovers", "'exausted'", "did you mean 'exhausted'?", id="kind"),
    pytest.param({"codes": {"1": {"verdict": "fatal", "recovers": "window"}}}, "codes.1.recovers", "'window'",
                 "only quota recovers", id="kind of a fatal"),
    pytest.param(code(scope="acount"), "codes.1.scope", "'acount'", "did you mean 'account'?", id="scope"),
    pytest.param(code(certainty="maybe_execute"), "codes.1.certainty", "'maybe_execute'", "did you mean 'maybe_executed'?", id="certainty"),
    pytest.param(code(wait=-1), "codes.1.wait", "-1", "above 0", id="negative wait"),
    pytest.param(code(wait=True), "codes.1.wait", "True", "above 0", id="wait is a boolean"),
    pytest.param(code(wait=float("nan")), "codes.1.wait", "nan", "above 0", id="wait is NaN"),
    pytest.param(code(wait=float("inf")), "codes.1.wait", "inf", "above 0", id="wait is endless"),
    pytest.param(code(wait="1s"), "codes.1.wait", "'1s'", "above 0", id="wait is text"),
    pytest.param(code(wait=object()), "codes.1.wait", "object", "above 0", id="wait is an object"),
    pytest.param(code(wait={"factor": 2}), "codes.1.wait", "{'factor': 2}", "expo", id="wait without a generator"),
    pytest.param(code(wait={"backoff": "exponential"}), "codes.1.wait", "exponential", "no wait generator", id="generator"),
    pytest.param(code(wait={"backoff": "expo", "max": 3}), "codes.1.wait", "'max': 3", "max", id="generator's argument"),
    pytest.param(code(wait={"backoff": "expo", "factor": -1}), "codes.1.wait", "-1", "failed", id="negative schedule"),
    pytest.param(code(wait={"until": "25:00"}), "codes.1.wait.until", "'25:00'", "time of day", id="time of day"),
    pytest.param(code(wait={"until": "10:00+02:00"}), "codes.1.wait.until", "'10:00+02:00'", "time of day", id="offset"),
    pytest.param(code(wait={"until": "midnight", "tz": "Asia/Shangai"}), "codes.1.wait.tz", "'Asia/Shangai'",
                 "known time zone", id="zone"),
    pytest.param(code(wait={"until": "midnight", "zone": "UTC"}), "codes.1.wait.zone", "'UTC'", "unknown key", id="calendar's key"),
    pytest.param(code(jitter="ful"), "codes.1.jitter", "'ful'", "did you mean 'full'?", id="jitter"),
    pytest.param(code(max_attempts=0), "codes.1.max_attempts", "0", "whole number above 0", id="no attempts"),
    pytest.param(code(max_attempts=2.5), "codes.1.max_attempts", "2.5", "whole number above 0", id="half attempts"),
    pytest.param(code(probe_every=0), "codes.1.probe_every", "0", "above 0", id="probe"),
    pytest.param(code(duplicate="yes"), "codes.1.duplicate", "'yes'", "true or false", id="duplicate"),
    pytest.param(code(title=3), "codes.1.title", "3", "text", id="title"),
    pytest.param(code(remdy="x"), "codes.1.remdy", "'x'", "did you mean 'remedy'?", id="rule's key"),
    pytest.param(code(escalate={"rejection": 3}), "codes.1.escalate.rejection", "3", "did you mean 'rejections'?", id="escalate's key"),
    pytest.param(code(escalate={"to": "fatal"}), "codes.1.escalate.to", "'fatal'", "exhausted", id="escalate to"),
    pytest.param(code(aliases="2"), "codes.1.aliases", "'2'", "array of texts", id="aliases is text"),
    pytest.param(code(aliases=["1"]), "codes.1.aliases", "'1'", "listed itself", id="alias of itself"),
    pytest.param({"codes": {"1": {**FATAL, "aliases": ["3"]}, "2": {**FATAL, "aliases": ["3"]}}}, "codes.2.aliases",
                 "'3'", "codes.1 has it too", id="alias twice"),
    pytest.param(code(when={"message": "x"}), "codes.1.when", "message", "[[when]]", id="when is a table"),
    pytest.param(code(when=[{"verdict": "fatal"}]), "codes.1.when[0]", "no condition", "reachable", id="when without a condition"),
    pytest.param(code(when=[{"message": "("}]), "codes.1.when[0].message", "'('", "regular expression", id="pattern"),
    pytest.param(code(when=[{"status": "503"}]), "codes.1.when[0].status", "'503'", "whole number", id="status is text"),
    pytest.param({**code(when=[{"endpoint": "lst"}]), "endpoints": [{"name": "list"}]}, "codes.1.when[0].endpoint", "'lst'",
                 "did you mean 'list'?", id="endpoint of a condition"),
    pytest.param(code(when=[{"message": "x", "aliases": ["2"]}]), "codes.1.when[0].aliases", "['2']", "unknown key", id="alias in a condition"),
    pytest.param({"endpoints": {"list": {}}}, "endpoints", "{'list': {}}", "[[endpoints]]", id="endpoints is a table"),
    pytest.param({"endpoints": [{}]}, "endpoints[0].name", "''", "name of an endpoint", id="endpoint without a name"),
    pytest.param({"endpoints": [{"name": "a"}, {"name": "a"}]}, "endpoints[1].name", "'a'", "free", id="endpoint twice"),
    pytest.param({"endpoints": [{"name": "a", "match": ["/x"]}]}, "endpoints[0].match", "'/x'", "a method and a path", id="match"),
    pytest.param({"endpoints": [{"name": "a", "repeat": "save"}]}, "endpoints[0].repeat", "'save'", "did you mean 'safe'?", id="repeat"),
    pytest.param({"endpoints": [{"name": "a", "duplicate": "ok"}]}, "endpoints[0].duplicate", "'ok'", "done, error", id="endpoint's duplicate"),
    pytest.param({"endpoints": [{"name": "a", "limit": {"calls": 0}}]}, "endpoints[0].limit.calls", "0", "above 0", id="limit"),
    pytest.param({"endpoints": [{"name": "a", "limit": {"cals": 1}}]}, "endpoints[0].limit.cals", "1", "did you mean 'calls'?", id="limit's key"),
    pytest.param({"envelope": [{"required": ["code"]}]}, "envelope[0].required", "'code'", "JSON pointer", id="pointer"),
    pytest.param({"envelope": [{"code": 3}]}, "envelope[0].code", "3", "JSON pointer", id="pointer is a number"),
    pytest.param({"envelope": [{"sucess": ["0"]}]}, "envelope[0].sucess", "['0']", "did you mean 'success'?", id="envelope's key"),
    pytest.param({"envelope": [{"failed_when": [{}]}]}, "envelope[0].failed_when[0].at", "''", "JSON pointer", id="flag without a place"),
    pytest.param({"envelope": [{"failed_when": [{"at": "/a", "equals": [1]}]}]}, "envelope[0].failed_when[0].equals", "[1]", "a text", id="flag equals a list"),
    pytest.param({"envelope": [{"failed_when": [{"at": "/a", "matches": "("}]}]}, "envelope[0].failed_when[0].matches", "'('", "a regular expression", id="flag's pattern"),
    pytest.param({"envelope": [{"failed_when": [{"at": "/a", "matches": "x", "equals": 1}]}]}, "envelope[0].failed_when[0].equals", "1", "unknown key", id="flag with both"),
    pytest.param({"envelope": [{"as_status": {"42": ["A"]}}]}, "envelope[0].as_status.42", "('A',)", "an HTTP status such as 429", id="stands for no status"),
    pytest.param({"groups": {"account": ["a"]}}, "groups.account", "'account'", "free name", id="group's name"),
    pytest.param({"groups": {"g": ["lst"]}, "endpoints": [{"name": "list"}]}, "groups.g", "'lst'", "did you mean 'list'?", id="group's member"),
    pytest.param({"families": {"4xx": {**FATAL, "scope": "account"}}}, "families.4xx.scope", "'account'", "family may not", id="wide family"),
    pytest.param({"families": {"4xx": {**FATAL, "aliases": ["5xx"]}}}, "families.4xx.aliases", "['5xx']", "unknown key", id="family's alias"),
    pytest.param({"http": {"5xx": {**FATAL, "scope": "account"}}}, "http.5xx.scope", "'account'", "family may not", id="wide class of statuses"),
    pytest.param({"http": {"50": FATAL}}, "http", "'50'", "a status such as", id="status"),
    pytest.param({"exceptions": {"OSError": {"verdict": "no"}}}, "exceptions.OSError.verdict", "'no'", "one of", id="exception"),
    pytest.param({"unknown": {"scope": "account"}}, "unknown.scope", "'account'", "unknown may not", id="wide unknown"),
    pytest.param({"extends": 3}, "extends", "3", "name or path", id="extends is a number"),
    pytest.param({"extends": "memory_ai"}, "extends", "'memory_ai'", "did you mean 'memories_ai'?", id="parent"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "where", "value", "words"), BAD)
def test_bad_policy_is_explained(data, where, value, words):
    """File, key, value, and what was expected, in one line."""
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict({"name": "mine", **data}, source="my.toml")
    message = str(caught.value)

    assert message.startswith(f"my.toml: {where}")
    assert value in message
    assert words in message
    assert "\n" not in message


def test_long_value_is_shortened():
    """A whole file pasted into a field doesn't fill the screen."""
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict({"name": "mine", "hosts": "x" * 10_000})

    assert len(str(caught.value)) < 200


def test_endpoints_without_a_name_are_all_kept():
    """They can't be merged by it, and what is wrong with them is said later."""
    base = {"endpoints": [{"match": ["a"]}, 3, {"name": ["x"]}]}
    change = {"endpoints": [{"repeat": "safe"}, 4, {"name": ["x"], "repeat": "once"}]}

    assert merge(base, change) == {"endpoints": change["endpoints"] + base["endpoints"]}


def test_tables_merge_key_by_key():
    """What the child doesn't mention stays; arrays and values are replaced."""
    base = {
        "codes": {"1": {"verdict": "fatal", "title": "t"}, "2": {"a": 1}},
        "hosts": ["a"],
        "docs": "d",
    }
    change = {"codes": {"1": {"verdict": "quota"}, "3": {}}, "hosts": ["b"]}

    assert merge(base, change) == {
        "codes": {"1": {"verdict": "quota", "title": "t"}, "2": {"a": 1}, "3": {}},
        "hosts": ["b"],
        "docs": "d",
    }
    assert base["codes"]["1"] == {"verdict": "fatal", "title": "t"}  # and the parent is untouched


def test_another_verdict_does_not_inherit_behaviour():
    """Only words: the wait and the scope of a quota would make no sense for a fatal code."""
    base = {"verdict": "quota", "recovers": "window", "scope": "account", "wait": 3, "title": "t"}

    assert merge(base, {"verdict": "fatal"}) == {"verdict": "fatal", "title": "t"}
    assert {**base, "wait": 5} == merge(base, {"verdict": "quota", "wait": 5})


def test_endpoints_merge_by_name():
    """Changed ones keep what isn't said, and are matched before those that are inherited."""
    base = {"endpoints": [{"name": "a", "match": ["GET /a"]}, {"name": "b", "repeat": "safe"}]}
    change = {"endpoints": [{"name": "b", "match": ["GET /b"]}, {"name": "c"}]}

    assert merge(base, change)["endpoints"] == [
        {"name": "b", "repeat": "safe", "match": ["GET /b"]},
        {"name": "c"},
        {"name": "a", "match": ["GET /a"]},
    ]


def test_families_are_tried_from_the_most_specific():
    """Whatever their order in the file."""
    families = {"4xxxx": FATAL, "4031x": FATAL, "40xxx": FATAL, "403xx": FATAL}
    policy = Policy.from_dict({"name": "x", "families": families})

    assert list(policy.table.families) == ["4031x", "403xx", "40xxx", "4xxxx"]


CONDITION = {"message": "busy", "verdict": "retryable"}


def test_condition_of_another_verdict_inherits_words_only():
    """How a quota waits and what it blocks says nothing about a passing fault."""
    base = {"verdict": "quota", "recovers": "exhausted", "scope": "account", "wait": 60,
            "max_attempts": 9, "escalate": {"rejections": 2}, "title": "t", "remedy": "r"}  # fmt: skip
    policy = Policy.from_dict({"name": "x", "codes": {"1": {**base, "when": [CONDITION]}}})
    rule = policy.table.codes["1"].when[0].rule

    assert (rule.title, rule.remedy) == ("t", "r")
    assert (
        rule.scope,
        rule.recovers,
        rule.max_attempts,
        rule.escalate,
    ) == ("request", None, None, None)
    assert rule.wait.schedule[:2] == (1.0, 2.0)


def test_condition_of_the_same_verdict_inherits_behaviour():
    """Only what it says is different."""
    base = {"verdict": "quota", "scope": "account", "wait": 60}
    when = {"message": "day", "recovers": "exhausted"}
    policy = Policy.from_dict({"name": "x", "codes": {"1": {**base, "when": [when]}}})
    rule = policy.table.codes["1"].when[0].rule

    assert (
        rule.verdict, rule.recovers, rule.scope, rule.wait.schedule,
    ) == (Verdict.QUOTA, Recovers.EXHAUSTED, "account", (60.0,))  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "low"),
    [
        ({"verdict": "retryable"}, 0.0),
        ({"verdict": "retryable", "wait": {"backoff": "expo"}}, 0.0),
        ({"verdict": "quota"}, 0.5),
        ({"verdict": "quota", "wait": {"backoff": "fibo"}}, 0.5),
        ({"verdict": "quota", "wait": 600}, 1.0),
        ({"verdict": "retryable", "wait": 600}, 1.0),
        ({"verdict": "retryable", "wait": 600, "jitter": "full"}, 0.0),
        ({"verdict": "quota", "jitter": "none"}, 1.0),
    ],
)
def test_default_jitter(fields, low):
    """A number of seconds is exact, a schedule is spread, a quota's over its upper half."""
    assert low == Policy.from_dict({"name": "x", "codes": {"1": fields}}).codes["1"].wait.low


def test_a_limit_without_calls_is_of_one():
    """``limit = { per = 60 }``."""
    policy = Policy.from_dict({"name": "p", "endpoints": [{"name": "a", "limit": {"per": 60.0}}]})
    assert policy.endpoints["a"].limit == (1.0, 60.0)


EXPO = {"backoff": "expo", "factor": 1.0, "max_value": 32.0}


@pytest.mark.parametrize(
    ("change", "wait"),
    [
        pytest.param({"max_value": 8.0}, {**EXPO, "max_value": 8.0}, id="an argument"),
        pytest.param(
            {"backoff": "constant", "interval": 5},
            {"backoff": "constant", "interval": 5},
            id="a schedule",
        ),
        pytest.param(
            {"until": "midnight", "tz": "UTC"}, {"until": "midnight", "tz": "UTC"}, id="a reset"
        ),
        pytest.param(5, 5, id="seconds"),
    ],
)
def test_a_new_schedule_takes_nothing_from_the_old_one(change, wait):
    """Another generator has other arguments; one argument alone is of the generator that is there."""
    rule = {"verdict": "quota", "title": "Busy", "wait": EXPO}
    assert merge(rule, {"wait": change}) == {**rule, "wait": wait}


def test_a_code_may_be_called_like_a_key_of_a_schedule():
    """``until`` and ``backoff`` are words of a wait alone."""
    base = {"codes": {"until": {"verdict": "fatal"}, "backoff": {"verdict": "fatal"}}}
    change = {"codes": {"until": {"title": "t"}}}
    assert merge(base, change)["codes"] == {
        "until": {"verdict": "fatal", "title": "t"},
        "backoff": {"verdict": "fatal"},
    }


def test_a_function_may_be_called_like_an_endpoint():
    """One without patterns too."""
    table = Policy.from_dict({"name": "p", "endpoints": [{"name": "a"}]}).table
    assert (table.endpoint_of_function("a"), table.endpoint_of_function("b")) == ("a", "other")


def test_a_window_may_escalate_by_time_alone():
    """However often it closed."""
    rule = {"verdict": "quota", "scope": "account", "escalate": {"within": 9}}
    made = Policy.from_dict({"name": "p", "codes": {"7": rule}}).codes["7"].escalate
    assert (made.within, made.rejections) == (9.0, 1_000_000)


def test_codes_may_stand_for_a_status():
    """Then the status's rule is theirs."""
    envelope = {"code": "/c", "as_status": {"429": ["busy", "full"]}}
    policy = Policy.from_dict({"name": "p", "extends": "http", "envelope": [envelope]})
    assert policy.table.envelopes[0].as_status == {"busy": 429, "full": 429}
    assert policy.classify({"c": "full"}).matched_by == "http.429"
