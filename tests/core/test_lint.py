"""What ``resilience lint`` finds: one broken file per check, with the exact line."""

import tomllib
from functools import cache
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from resilience._core.policy.lint import lint
from resilience._core.policy.positions import Document
from resilience._core.policy.subject import Limits
from resilience._files import catalogs, chain, merged
from resilience._options import Options


@cache
def catalog(name):
    """A catalog and what it extends."""
    return list(chain(name))


def linted(text, **limits):
    """The findings of a file."""
    data = tomllib.loads(text)
    parent = data.pop("extends", None)
    here = Document(source="my.toml", file="my.toml", text=text, data=data)
    documents = [here, *(catalog(parent) if parent else ())]
    return lint(documents, merged(documents), Limits(**limits))


def seen(text, **limits):
    """Line, key, check and severity of each finding, and all its words."""
    found = linted(text, **limits)
    rows = [(one.line, one.key, one.check, one.severity.value) for one in found]
    return rows, " ".join(f"{one.reason} {one.advice}" for one in found)


NAME = 'name = "mine"\n'
WINDOW = 'name = "mine"\n[codes.7]\nscope = "endpoint"\nverdict = "quota"\n'
UPLOAD = """name = "mine"
[[endpoints]]
name = "upload"
match = ["POST */upload"]
repeat = "never"
"""

BROKEN = [
    # file, line, key, check, words
    pytest.param(NAME + '\nhotss = ["x"]\n', 3, "hotss", "unknown-key", "Did you mean 'hosts'?", id="unknown key"),
    pytest.param(WINDOW + 'remdy = "x"\n', 5, "codes.7.remdy", "unknown-key", "Did you mean 'remedy'?", id="unknown key of a rule"),
    pytest.param(WINDOW + 'wait = { until = "midnight", zone = 1 }\n', 5, "codes.7.wait.zone", "unknown-key", "Known: tz, until.", id="unknown key inline"),
    pytest.param(WINDOW + "escalate.rejection = 3\n", 5, "codes.7.escalate.rejection", "unknown-key", "rejections", id="unknown dotted key"),
    pytest.param(NAME + '[codes.7]\nverdict = "quotta"\n', 3, "codes.7.verdict", "bad-value", "Did you mean 'quota'?", id="bad value"),
    pytest.param(NAME + "[codes.7]\n", 2, "codes.7.verdict", "bad-value", "one of success", id="no verdict"),
    pytest.param('docs = ""\n', 1, "name", "bad-value", "the name of a policy", id="no name"),
    pytest.param(NAME + "codes = 3\n", 2, "codes", "bad-value", "a table", id="no table"),
    pytest.param(NAME + '[families]\n"4xx" = { verdict = "fatal", scope = "account" }\n', 3, "families.4xx.scope", "wide-scope", "a family may not speak for more", id="wide family"),
    pytest.param(NAME + '[unknown]\n\nscope = "account"\n', 4, "unknown.scope", "wide-scope", "unknown may not speak for more", id="wide unknown"),
    pytest.param(WINDOW + '[codes.8]\nverdict = "fatal"\naliases = [\n  "9",\n  "7",\n]\n', 9, "codes.8.aliases[1]", "contradiction", "codes.7 is listed itself", id="alias is a code"),
    pytest.param(WINDOW + 'aliases = ["9"]\n[codes.8]\nverdict = "fatal"\naliases = ["9"]\n', 8, "codes.8.aliases[0]", "contradiction", "codes.7 has it too", id="alias twice"),
    pytest.param(UPLOAD + '[[endpoints]]\nname = "upload"\n', 7, "endpoints[1].name", "contradiction", "another endpoint", id="endpoint twice"),
    pytest.param(WINDOW + '[[codes.7.when]]\nstatus = 503\nverdict = "fatal"\n[[codes.7.when]]\nmessage = "x"\nstatus = 503\ntitle = "t"\n',
                 8, "codes.7.when[1]", "shadowed", "codes.7.when[0] (line 5), which comes first", id="when behind a wider one"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "(?i)network|busy"\nverdict = "fatal"\n[[codes.7.when]]\nmessage = "Busy now|network down"\ntitle = "t"\n',
                 8, "codes.7.when[1]", "shadowed", "never applies", id="message behind a wider one"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "x"\nverdict = "fatal"\n[[codes.7.when]]\nmessage = "x"\nverdict = "retryable"\n',
                 8, "codes.7.when[1]", "contradiction", "asks the same as codes.7.when[0]", id="same question, other answer"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "busy"\ntitle = "t"\n[[codes.7.when]]\nmessage = "too busy"\ntitle = "u"\n',
                 8, "codes.7.when[1]", "shadowed", "never applies", id="word behind a shorter one"),
    pytest.param(UPLOAD + '[codes.7]\nverdict = "fatal"\n[[codes.7.when]]\nendpoint = "upload"\ntitle = "t"\n[[codes.7.when]]\nendpoint = "upload"\nstatus = 5\ntitle = "u"\n',
                 11, "codes.7.when[1]", "shadowed", "never applies", id="when behind one of the same endpoint"),
    pytest.param(WINDOW + '[[codes.7.when]]\nstatus = 5\ntitle = "t"\n[[codes.7.when]]\nendpoint = "other"\nstatus = 5\ntitle = "u"\n',
                 8, "codes.7.when[1]", "shadowed", "never applies", id="when behind one of any endpoint"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "(?i).*"\nverdict = "fatal"\n', 5, "codes.7.when[0]", "shadowed", "the rule of codes.7 never applies", id="when that always holds"),
    pytest.param(NAME + '[codes.7]\nverdict = "success"\n[[codes.7.when]]\nmessage = "x"\nverdict = "fatal"\n', 4, "codes.7.when[0]", "shadowed", "of a success no condition is asked", id="when of a success"),
    pytest.param(UPLOAD + '[[endpoints]]\nname = "big"\nmatch = [\n  "POST */x",\n  "POST */big/upload",\n]\n', 10, "endpoints[1].match[1]", "shadowed",
                 "'POST */upload' of endpoint 'upload' (line 4)", id="pattern behind a wider one"),
    pytest.param(UPLOAD + '[[endpoints]]\nname = "any"\nmatch = ["POST */upload"]\n', 8, "endpoints[1].match[0]", "shadowed", "never matches", id="pattern twice"),
    pytest.param(UPLOAD + '[[endpoints]]\nname = "any"\nfunctions = ["upload"]\n', 8, "endpoints[1].functions[0]", "shadowed", "the name of another endpoint", id="function is an endpoint"),
    pytest.param(UPLOAD + 'functions = ["put"]\n[[endpoints]]\nname = "any"\nfunctions = ["put"]\n', 9, "endpoints[1].functions[0]", "contradiction", "endpoint 'upload' (line 6)", id="function twice"),
    pytest.param(NAME + '[[envelope]]\nrequired = ["/error"]\n[[envelope]]\nrequired = ["/error/code"]\n', 4, "envelope[1]", "shadowed", "envelope[0] (line 2)", id="envelope behind a wider one"),
    pytest.param(NAME + '[[envelope]]\nrequired = ["/a"]\nfailed_when = [{ at = "/b", code = "1" }, { at = "/b", code = "2" }]\n',
                 4, "envelope[0].failed_when[1]", "contradiction", "failed_when[0] asks the same", id="flag with two codes"),
    pytest.param(NAME + '[[envelope]]\nrequired = ["/a"]\nfailed_when = [{ at = "/b", code = "1" }, { at = "/b", code = "1" }]\n',
                 4, "envelope[0].failed_when[1]", "shadowed", "failed_when[0] asks the same", id="flag twice"),
    pytest.param(WINDOW + '[families.7]\nverdict = "fatal"\n', 5, "families.7", "shadowed", "codes.7 speaks first", id="family that is a code"),
    pytest.param(NAME + '[http.200]\nverdict = "fatal"\n', 2, "http.200", "shadowed", "below 400", id="status of a success"),
    pytest.param(NAME + '[exceptions.IOError]\nverdict = "fatal"\n', 2, "exceptions.IOError", "shadowed", "Write 'OSError'", id="other name of a built-in"),
    pytest.param(NAME + '[exceptions."asyncio.TimeoutError"]\nverdict = "fatal"\n', 2, "exceptions.asyncio.TimeoutError", "shadowed", "Write 'TimeoutError'", id="other name of a class"),
    pytest.param(NAME + '[exceptions.ClientError]\nverdict = "fatal"\n', 2, "exceptions.ClientError", "shadowed", "Write the package in front", id="class without its package"),
    pytest.param(NAME + '[exceptions."builtins.OSError"]\nverdict = "fatal"\n', 2, "exceptions.builtins.OSError", "shadowed", "Write 'OSError'", id="built-in with its module"),
    pytest.param(WINDOW + "wait = 61\n", 5, "codes.7.wait", "long-wait", "longer than max_wait (60 s)", id="long window"),
    pytest.param(WINDOW + 'wait = 61\n[[codes.7.when]]\nmessage = "x"\ntitle = "t"\n', 5, "codes.7.wait", "long-wait", "longer than max_wait", id="long window that a condition inherits"),
    pytest.param(WINDOW + '[codes.7.escalate]\nwithin = 5\n[codes.7.wait]\nbackoff = "constant"\ninterval = 10\n', 5, "codes.7.escalate", "long-wait",
                 "within 5 s, which is shorter than its first wait of 10 s", id="escalates before the first wait"),
    pytest.param(UPLOAD + "limit = { calls = 1, per = 120.0 }\n", 6, "endpoints[0].limit", "long-wait", "One call per 120 s", id="slow limit"),
    pytest.param(UPLOAD + '[codes.7]\nverdict = "fatal"\n[[codes.7.when]]\nendpoint = "upload"\nverdict = "retryable"\n', 8, "codes.7.when[0]", "never-retried",
                 "endpoint 'upload' says repeat = \"never\"", id="retryable where nothing is repeated"),
    pytest.param(NAME + '[codes.7]\nverdict = "retryable"\nmax_attempts = 1\n', 4, "codes.7.max_attempts", "never-retried", "never retried", id="one attempt in all"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "check", "words"), BROKEN)
def test_a_mistake_is_found_where_it_was_written(text, line, key, check, words):
    """One mistake, one error, on its line, with the reason and what to do."""
    rows, said = seen(text)

    assert rows == [(line, key, check, "error")]
    assert words in said


DOUBTFUL = [
    pytest.param(WINDOW + "wait = 1\nescalate = { rejections = 1 }\n", 6, "codes.7.escalate", "no-effect", id="first rejection is exhausted"),
    pytest.param(NAME + '[codes.7]\nverdict = "fatal"\nescalate = { within = 9 }\n', 4, "codes.7.escalate", "no-effect", id="fatal escalates"),
    pytest.param(NAME + '[[endpoints]]\nname = "a"\nmatch = ["GET */a*", "GET */ab"]\n', 4, "endpoints[0].match[1]", "shadowed", id="pattern twice in one endpoint"),
    pytest.param(NAME + '[families]\n"4x1" = { verdict = "fatal" }\n"40x" = { verdict = "retryable" }\n', 4, "families.40x", "contradiction", id="two families, equally right"),
    pytest.param(NAME + '[[envelope]]\ncode = "/c"\nrequired = ["/c"]\nsuccess = ["7"]\n[codes.7]\nverdict = "fatal"\n', 6, "codes.7", "contradiction", id="success and not"),
    pytest.param(WINDOW + 'wait = { backoff = "expo", max_value = 300 }\n', 5, "codes.7.wait", "long-wait", id="window that grows long"),
    pytest.param(NAME + '[codes.7]\nverdict = "quota"\n', 3, "codes.7.verdict", "no-scope", id="quota of nobody else"),
    pytest.param(NAME + '[exceptions.OSError]\nverdict = "quota"\n', 3, "exceptions.OSError.verdict", "no-scope", id="exception of nobody else"),
    pytest.param(NAME + '[codes.7]\nverdict = "quota"\n[[codes.7.when]]\nmessage = "x"\nwait = 3\n', 3, "codes.7.verdict", "no-scope", id="told once, not for its conditions"),
    pytest.param(NAME + '[http.429]\nverdict = "quota"\nrecovers = "exhausted"\n', 3, "http.429.verdict", "no-scope", id="balance of nobody else"),
    pytest.param(NAME + '[codes.7]\nverdict = "fatal"\nscope = "account"\n[[codes.7.when]]\nmessage = "x"\nverdict = "quota"\n', 7, "codes.7.when[0].verdict", "no-scope", id="another kind of answer has no scope yet"),
    pytest.param(NAME + '[[endpoints]]\nname = "a"\nmatch = [\n "* */c",\n "GETT */a"]\n', 6, "endpoints[0].match[1]", "unknown-method", id="method that is none"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "check"), DOUBTFUL)
def test_what_may_be_meant_is_a_warning(text, line, key, check):
    """It works, and probably not as meant."""
    rows, _ = seen(text)

    assert rows == [(line, key, check, "warning")]


FINE = [
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "(?x)too busy"\ntitle = "t"\n[[codes.7.when]]\nmessage = "too busy now"\nverdict = "fatal"\n', id="spaces that are none"),
    pytest.param(WINDOW + "wait = 60\n", id="wait as long as max_wait"),
    pytest.param(NAME + '[codes.4x]\nverdict = "fatal"\n[families.4x]\nverdict = "fatal"\n', id="a family of more than the code of its name"),
    pytest.param(UPLOAD + '[codes.7]\nverdict = "fatal"\n[[codes.7.when]]\nendpoint = "upload"\ntitle = "t"\n[[codes.7.when]]\nendpoint = "other"\ntitle = "u"\n', id="two endpoints"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "a.c"\ntitle = "t"\n[[codes.7.when]]\nmessage = "xa.cx"\ntitle = "u"\n', id="a pattern is not its letters"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "busy"\ntitle = "t"\n[[codes.7.when]]\nmessage = "bu.y"\ntitle = "u"\n', id="only one of the two is words"),
    pytest.param(NAME + '[http.503]\nverdict = "retryable"\nwait = 90\n', id="a back-off is waited out, however long"),
    pytest.param(WINDOW + 'recovers = "cooldown"\nwait = 600\n', id="a cool-down is as long as it is"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "x"\nstatus = 503\ntitle = "t"\n[[codes.7.when]]\nstatus = 503\ntitle = "u"\n', id="narrow before wide"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "busy"\ntitle = "t"\n[[codes.7.when]]\nmessage = "(?i)busy"\ntitle = "u"\n', id="case decides"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "a.c"\ntitle = "t"\n[[codes.7.when]]\nmessage = "abc"\ntitle = "u"\n', id="more than words is not guessed at"),
    pytest.param(UPLOAD + '[[endpoints]]\nname = "any"\nmatch = ["POST *", "GET */upload"]\n', id="narrow path before wide"),
    pytest.param(UPLOAD + '[codes.7]\nverdict = "fatal"\n[[codes.7.when]]\nendpoint = "upload"\nverdict = "retryable"\ncertainty = "not_executed"\n', id="nothing was done, so never is no matter"),
    pytest.param(UPLOAD + '[codes.7]\nverdict = "retryable"\n', id="retryable on other endpoints"),
    pytest.param(WINDOW + '[[codes.7.when]]\nstatus = 503\ntitle = "t"\n[[codes.7.when]]\nmessage = "x"\ntitle = "u"\n', id="two questions"),
    pytest.param(WINDOW + "wait = 10\nescalate = { within = 10 }\n", id="escalates after the first wait"),
    pytest.param('extends = "memories_ai"\n[codes.0000]\nverdict = "fatal"\n', id="a success that the user's file takes back"),
    pytest.param(NAME + '[families]\n"4xx" = { verdict = "fatal" }\n"40x" = { verdict = "retryable" }\n', id="the narrower family counts"),
    pytest.param(NAME + '[[envelope]]\nrequired = ["/error/code"]\n[[envelope]]\nrequired = ["/error"]\n[[envelope]]\nrequired = ["/errors"]\n', id="strict envelope first"),
    pytest.param(NAME + '[families]\n"4x1" = { verdict = "fatal" }\n"40x" = { verdict = "fatal", title = "t" }\n', id="two families that agree"),
    pytest.param(NAME + '[codes.7]\nverdict = "quota"\nscope = "request"\n', id="quota that is said to be of one request"),
    pytest.param(NAME + '[codes.7]\nverdict = "quota"\nrecovers = "capacity"\n', id="what is full holds up nobody else"),
    pytest.param(NAME + '[http]\n"4xx" = { verdict = "quota" }\n[families]\n7 = { verdict = "quota" }\n', id="who may not speak for more"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "x"\nwait = 3\n', id="a condition inherits the scope"),
    pytest.param(WINDOW + '[[codes.7.when]]\nmessage = "x"\nverdict = "quota"\nwait = 3\n', id="a condition of the same kind inherits the scope"),
]  # fmt: skip


@pytest.mark.parametrize("text", FINE)
def test_what_makes_sense_is_left_alone(text):
    """The neighbours of the mistakes above."""
    assert seen(text)[0] == []


def test_advice_suggests_only_what_is_near():
    """A method by its name; a generator whose argument is wrong is not suggested itself."""
    method = NAME + '[[endpoints]]\nname = "a"\nmatch = ["{} */a"]\n'
    argument = WINDOW + 'wait = { backoff = "expo", factr = 2 }\n'

    assert [one.advice for one in linted(method.format("GETT"))] == ["Did you mean 'GET'?"]
    assert linted(method.format("BOOK"))[0].advice.startswith("Write one of CONNECT, DELETE, GET,")
    assert "Did you mean" not in linted(argument)[0].advice
    assert "'expo'" in linted(argument.replace('"expo"', '"exp"'))[0].advice


def test_everything_is_told_at_once():
    """Mistakes of every kind in one file, in the order of its lines; none hides another."""
    text = """hotss = []
[codes.1]
verdict = "quotta"
wait = 700
[codes.2]
verdct = "quota"
verdict = "quota"
wait = 700
aliases = ["1"]
[[codes.2.when]]
message = "("
[[codes.2.when]]
status = "5"
message = "x"
[[codes.2.when]]
endpoint = "lst"
[[endpoints]]
name = "list"
repeat = "nver"
match = ["POST */a", "a"]
limit = { calls = 1, per = 61 }
[unknown]
scope = "account"
"""
    assert [row[:3] for row in seen(text)[0]] == [
        (1, "hotss", "unknown-key"),
        (1, "name", "bad-value"),
        (3, "codes.1.verdict", "bad-value"),
        (6, "codes.2.verdct", "unknown-key"),
        (7, "codes.2.verdict", "no-scope"),
        (8, "codes.2.wait", "long-wait"),
        (9, "codes.2.aliases[0]", "contradiction"),
        (11, "codes.2.when[0].message", "bad-value"),
        (13, "codes.2.when[1].status", "bad-value"),
        (16, "codes.2.when[2].endpoint", "bad-value"),
        (19, "endpoints[0].repeat", "bad-value"),
        (20, "endpoints[0].match[1]", "bad-value"),
        (21, "endpoints[0].limit", "long-wait"),
        (23, "unknown.scope", "wide-scope"),
    ]


def test_callers_say_what_they_allow():
    """A longer max_wait allows longer waits; a deadline has to leave room for all attempts."""
    window = WINDOW + "wait = 90\n"
    backoff = NAME + '[codes.7]\nverdict = "retryable"\nwait = 10\n'

    assert seen(window, max_wait=90.0)[0] == []
    assert [row[0] for row in seen(window, max_wait=90.0, deadline=60.0)[0]] == [5]
    assert seen(backoff, deadline=31.0)[0] == []
    rows, said = seen(backoff, deadline=30.0)
    assert rows == [(4, "codes.7.wait", "long-wait", "error")]
    assert "4 attempts add up to 30 s" in said
    assert seen(backoff + "max_attempts = 3\n", deadline=30.0)[0] == []


def test_the_defaults_are_those_of_a_guard():
    """What lint takes for granted is what a call without options gets."""
    assert (Limits().max_wait, Limits().deadline, Limits().attempts) == (
        Options().max_wait, Options().deadline, Options().max_attempts,
    )  # fmt: skip


def test_a_finding_points_to_the_file_that_wrote_the_value(tmp_path):
    """Through two levels of extends, arrays that were replaced and endpoints that moved."""
    (tmp_path / "base.toml").write_text(
        'name = "base"\n[codes.1]\nverdict = "quota"\nwait = 70\n'
        '[[codes.2.when]]\nmessage = "a"\nfoo = 1\n[codes.2]\nverdict = "fatal"\n'
        '[[endpoints]]\nname = "a"\nrepeet = 1\n[[endpoints]]\nname = "b"\nfunctins = 1\n'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/mid.toml").write_text(
        'extends = "../base.toml"\n\n[[endpoints]]\nname = "b"\nlimt = 1\n[codes.1]\ntitel = "t"\n'
    )
    (tmp_path / "leaf.toml").write_text(
        'extends = "sub/mid.toml"\n[[codes.2.when]]\nmesage = "b"\nstatus = 5\n'
    )
    documents = list(chain(str(tmp_path / "leaf.toml")))
    found = lint(documents, merged(documents), Limits())

    assert [(one.file, one.line, one.key.split(".")[-1]) for one in found] == [
        (str(tmp_path / "leaf.toml"), 3, "mesage"),
        (str(tmp_path / "sub/mid.toml"), 5, "limt"),
        (str(tmp_path / "sub/mid.toml"), 7, "titel"),
        (str(tmp_path / "base.toml"), 3, "verdict"),
        (str(tmp_path / "base.toml"), 4, "wait"),
        (str(tmp_path / "base.toml"), 12, "repeet"),
        (str(tmp_path / "base.toml"), 15, "functins"),
    ]


def test_an_array_that_was_replaced_is_not_pointed_to(tmp_path):
    """The condition of the user's file inherits the wait; the one that it replaced had its own."""
    (tmp_path / "base.toml").write_text(
        'name = "base"\n[codes.1]\nverdict = "retryable"\ncertainty = "not_executed"\nwait = 90\n'
        '[[codes.1.when]]\nmessage = "a"\nwait = 5\n'
    )
    (tmp_path / "leaf.toml").write_text(
        'extends = "base.toml"\n\n[[codes.1.when]]\nstatus = 5\nmax_attempts = 3\n'
    )
    documents = list(chain(str(tmp_path / "leaf.toml")))
    found = lint(documents, merged(documents), Limits(deadline=60.0))

    assert [(Path(one.file).name, one.line, one.key) for one in found] == [
        ("leaf.toml", 3, "codes.1.when[0].wait"),
        ("base.toml", 5, "codes.1.wait"),
    ]


def test_patterns_that_hide_inherited_ones_are_one_warning():
    """The user's word counts, but hiding a catalog's endpoint is often an accident."""
    rows, said = seen(
        'extends = "memories_ai"\n[[endpoints]]\nname = "mine"\nmatch = ["* */chat*"]\n'
    )

    assert rows == [(4, "endpoints[0].match[0]", "shadowed", "warning")]
    assert "'POST */chat_stream' of 'chat'" in said


@pytest.mark.parametrize("name", [*catalogs(), "examples/renderfarm.toml"])
def test_what_ships_is_clean(name):
    """The catalogs and the example of a policy of one's own."""
    documents = list(chain(name))

    assert lint(documents, merged(documents), Limits()) == []


# -- anything -------------------------------------------------------------------------------------

WORDS = [
    "codes", "endpoints", "envelope", "exceptions", "families", "groups", "hosts", "http", "name",
    "unknown", "extends", "verdict", "when", "aliases", "wait", "escalate", "scope", "max_attempts",
    "recovers", "match", "functions", "limit", "repeat", "required", "failed_when", "success", "at",
    "equals", "message", "status", "endpoint", "backoff", "until", "calls", "per", "within",
    "1", "40x", "4xx", "200", "OSError", "list", "²xx", "",
]  # fmt: skip
LEAVES = st.sampled_from(
    ["fatal", "quota", "retryable", "success", "window", "account", "request", "list", "never", "safe",
     "POST */a", "* *", "GET */[a", "/code", "(", "x|y", ".*", "expo", "constant", "midnight", "1", "40x", "http",
     0, 1, -1, 600, 2**70, 1.5, float("nan"), float("inf"), True, [], {}]
)  # fmt: skip
KEYS = st.sampled_from(WORDS)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
RULE = st.dictionaries(
    st.sampled_from(["verdict", "when", "aliases", "wait", "scope", "escalate", "recovers", "max_attempts"]),
    ANYTHING, max_size=4,
)  # fmt: skip
RULES = st.dictionaries(KEYS, RULE | ANYTHING, max_size=4)
ENDPOINT = st.dictionaries(
    st.sampled_from(["name", "match", "functions", "limit", "repeat"]), ANYTHING
)
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "extends": st.sampled_from(["http", "memories_ai"]), "name": ANYTHING, "groups": ANYTHING,
        "codes": RULES | ANYTHING, "http": RULES, "families": RULES, "exceptions": RULES,
        "unknown": RULE | ANYTHING, "endpoints": st.lists(ENDPOINT, max_size=3) | ANYTHING,
        "envelope": st.lists(st.dictionaries(KEYS, ANYTHING), max_size=3) | ANYTHING,
    },
)  # fmt: skip


@given(POLICIES | st.dictionaries(KEYS, ANYTHING, max_size=5).filter(lambda d: "extends" not in d))
def test_any_toml_gives_findings_and_no_error(data):
    """However wrong a file is, lint says so, and every finding is on one of its lines."""
    text = tomli_w.dumps(data)
    for one in linted(text):
        assert one.reason
        assert one.advice
        assert one.file != "my.toml" or 1 <= one.line <= text.count("\n") + 1
