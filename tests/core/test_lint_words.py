"""What ``resilience lint`` says, word for word: its sentences are all that people get to see."""

import pytest
from test_lint import BROKEN, DOUBTFUL, UPLOAD, WINDOW, linted, seen

from resilience._core.policy.lint import lint
from resilience._core.policy.subject import Limits
from resilience._files import chain, merged

NO_SCOPE = (
    (
        "Without a scope, each call that meets it waits alone, and all others of the endpoint go on "
        "and meet it, too."
    ),
    'Write scope = "endpoint" or "account", or "request" if it is meant so.',
)

SAID = {
    "unknown key": ("unknown key 'hotss' (= ['x']).", "Did you mean 'hosts'?"),
    "unknown key of a rule": ("unknown key 'remdy' (= 'x').", "Did you mean 'remedy'?"),
    "unknown key inline": ("unknown key 'zone' (= 1).", "Known: tz, until."),
    "unknown dotted key": ("unknown key 'rejection' (= 3).", "Did you mean 'rejections'?"),
    "bad value": (
        "'quotta' is not one of success, retryable, quota, fatal.",
        "Did you mean 'quota'?",
    ),
    "no verdict": (
        "None is not one of success, retryable, quota, fatal.",
        "Correct it: like this the file can't be loaded.",
    ),
    "no name": (
        "'' is not the name of a policy.",
        "Correct it: like this the file can't be loaded.",
    ),
    "no table": ("3 is not a table.", "Correct it: like this the file can't be loaded."),
    "wide family": (
        "'account' is not 'request': a family may not speak for more.",
        "Correct it: like this the file can't be loaded.",
    ),
    "wide unknown": (
        "'account' is not 'request': unknown may not speak for more.",
        "Correct it: like this the file can't be loaded.",
    ),
    "alias is a code": (
        "'7' is not free: codes.7 is listed itself.",
        "Correct it: like this the file can't be loaded.",
    ),
    "alias twice": (
        "'9' is not free: codes.7 has it too.",
        "Correct it: like this the file can't be loaded.",
    ),
    "endpoint twice": (
        "'upload' is not free: another endpoint is called so.",
        "Correct it: like this the file can't be loaded.",
    ),
    "when behind a wider one": (
        "It never applies: whenever it holds, so does codes.7.when[0] (line 5), which comes first.",
        "Put the narrower condition first, or remove this one.",
    ),
    "message behind a wider one": (
        "It never applies: whenever it holds, so does codes.7.when[0] (line 5), which comes first.",
        "Put the narrower condition first, or remove this one.",
    ),
    "same question, other answer": (
        "It asks the same as codes.7.when[0] (line 5) and says something else.",
        "Keep the one that is right.",
    ),
    "word behind a shorter one": (
        "It never applies: whenever it holds, so does codes.7.when[0] (line 5), which comes first.",
        "Put the narrower condition first, or remove this one.",
    ),
    "when behind one of the same endpoint": (
        "It never applies: whenever it holds, so does codes.7.when[0] (line 8), which comes first.",
        "Put the narrower condition first, or remove this one.",
    ),
    "when behind one of any endpoint": (
        "It never applies: whenever it holds, so does codes.7.when[0] (line 5), which comes first.",
        "Put the narrower condition first, or remove this one.",
    ),
    "flag twice": (
        "failed_when[0] asks the same and comes first.",
        "Keep the one that is right.",
    ),
    "when that always holds": (
        "It holds for every answer, so the rule of codes.7 never applies.",
        "Narrow the condition, or make it the rule of the code.",
    ),
    "when of a success": (
        "codes.7 is a success, and of a success no condition is asked.",
        "Remove the condition, or give the code another verdict.",
    ),
    "pattern behind a wider one": (
        "'POST */big/upload' never matches: 'POST */upload' of endpoint 'upload' (line 4) comes first and matches all that it does.",
        "Put the endpoint with the narrower path first.",
    ),
    "pattern twice": (
        "'POST */upload' never matches: 'POST */upload' of endpoint 'upload' (line 4) comes first and matches all that it does.",
        "Put the endpoint with the narrower path first.",
    ),
    "function is an endpoint": (
        "'upload' is the name of another endpoint, and that comes first.",
        "Remove it, or rename the endpoint.",
    ),
    "function twice": (
        "'put' is also a function of endpoint 'upload' (line 6).",
        "Keep the one that is right.",
    ),
    "envelope behind a wider one": (
        "No body gets here: all that has what it requires is taken by envelope[0] (line 2).",
        "Put the envelope that requires more first.",
    ),
    "flag with two codes": (
        "failed_when[0] asks the same and comes first.",
        "Keep the one that is right.",
    ),
    "family that is a code": (
        "codes.7 speaks first, and it has no other code.",
        "Remove it, or write an x for each digit that may be any.",
    ),
    "status of a success": (
        "Statuses below 400 are never asked about: there the body speaks.",
        "Remove it; give the code in the body a rule.",
    ),
    "other name of a built-in": (
        "No exception's class is called 'IOError'.",
        "Write 'OSError', which it is another name of.",
    ),
    "other name of a class": (
        "No exception's class is called 'asyncio.TimeoutError'.",
        "Write 'TimeoutError', which it is another name of.",
    ),
    "class without its package": (
        "No exception's class is called 'ClientError'.",
        "Write the package in front, as in 'aiohttp.ClientError'.",
    ),
    "built-in with its module": (
        "No exception's class is called 'builtins.OSError'.",
        "Write 'OSError'.",
    ),
    "long window": (
        "The wait of 61 s is longer than max_wait (60 s), so a call that meets it fails at once instead of waiting.",
        'Shorten it to 60 s, write recovers = "cooldown" if the time is known, or lint with the --max-wait that callers set.',
    ),
    "long window that a condition inherits": (
        "The wait of 61 s is longer than max_wait (60 s), so a call that meets it fails at once instead of waiting.",
        'Shorten it to 60 s, write recovers = "cooldown" if the time is known, or lint with the --max-wait that callers set.',
    ),
    "escalates before the first wait": (
        "The window counts as exhausted within 5 s, which is shorter than its first wait of 10 s.",
        "Let within be several times 10 s.",
    ),
    "slow limit": (
        "One call per 120 s is slower than max_wait (60 s) lets the next one wait.",
        "Correct the rate, or lint with the --max-wait that callers set.",
    ),
    "retryable where nothing is repeated": (
        "It is retryable after work that may have been done, but endpoint 'upload' says repeat = \"never\", so it is never retried.",
        'Write certainty = "not_executed" if the provider promises that nothing was done, else verdict = "fatal".',
    ),
    "one attempt in all": (
        "It is retryable with one attempt in all, the first included, so it is never retried.",
        'Write max_attempts = 2 or more, or verdict = "fatal".',
    ),
    "first rejection is exhausted": (
        "The first rejection already counts as exhausted.",
        'Write recovers = "exhausted", or let more rejections pass.',
    ),
    "fatal escalates": ("Only a quota that recovers by window escalates.", "Leave escalate out."),
    "pattern twice in one endpoint": (
        "'GET */a*' of the same endpoint matches all that 'GET */ab' does.",
        "Remove it.",
    ),
    "two families, equally right": (
        "Some codes are of '4x1' (line 3) as well, which comes first and says something else.",
        "List these codes one by one.",
    ),
    "success and not": (
        "envelope[0].success (line 5) lists it, but here it is fatal, which is what counts.",
        "Take it out of the list.",
    ),
    "window that grows long": (
        "After some rejections in a row the wait grows to 300 s, longer than max_wait (60 s): calls that meet it then fail at once instead of waiting.",
        "Let max_value be 60 s, or lint with the --max-wait that callers set.",
    ),
    "quota of nobody else": NO_SCOPE,
    "balance of nobody else": NO_SCOPE,
    "another kind of answer has no scope yet": NO_SCOPE,
    "exception of nobody else": NO_SCOPE,
    "told once, not for its conditions": NO_SCOPE,
    "method that is none": (
        "GETT is no method of HTTP.",
        "Did you mean 'GET'?",
    ),
}


@pytest.mark.parametrize(
    ("name", "text"), [(param.id, param.values[0]) for param in (*BROKEN, *DOUBTFUL)]
)
def test_each_finding_says_what_is_wrong_and_what_to_do(name, text):
    """Two sentences."""
    assert [(one.reason, one.advice) for one in linted(text)] == [SAID[name]]


def test_what_hides_inherited_patterns_is_named():
    """All of them, with their endpoints."""
    _, said = seen(
        'extends = "memories_ai"\n[[endpoints]]\nname = "mine"\nmatch = ["* */chat*", "* */search*"]\n'
    )
    assert "'POST */chat_stream' of 'chat', 'POST" in said


def test_a_deadline_is_called_one():
    """Where it allows less than max_wait does; as much is no reason to speak of it."""
    window = WINDOW + "wait = 61\n"
    assert "longer than the deadline (30 s)" in seen(window, deadline=30.0)[1]
    assert "longer than max_wait (60 s)" in seen(window, deadline=60.0)[1]


def test_a_limit_that_is_slow_for_its_calls():
    """The rate of one call counts; the wait for it may be as long as max_wait."""
    assert seen(UPLOAD + "limit = { calls = 2, per = 120.0 }\n")[0] == []
    assert len(seen(UPLOAD + "limit = { calls = 2, per = 121.0 }\n")[0]) == 1


BROKEN_RULES = [
    pytest.param('name = "m"\n[codes.7]\nverdict = "retryable"\nmax_attempts = 1\ncertainty = "x"\n', "codes.7.certainty", id="code"),
    pytest.param('name = "m"\n[codes.7]\nverdict = "quotta"\nescalate = { within = 9 }\n', "codes.7.verdict", id="its verdict"),
    pytest.param('name = "m"\n[codes.7]\nescalate = { within = 9 }\n', "codes.7.verdict", id="no verdict"),
    pytest.param('name = "m"\n[[endpoints]]\nname = "a"\nmatch = ["*", "POST */b"]\n', "endpoints[0].match[0]", id="pattern"),
    pytest.param('name = "m"\n[[envelope]]\nrequired = 3\n[[envelope]]\nrequired = ["/a"]\n', "envelope[0].required", id="envelope"),
    pytest.param('name = "m"\n[unknown]\nverdict = "retryable"\nmax_attempts = 1\ncertainty = "x"\n', "unknown.certainty", id="unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key"), BROKEN_RULES)
def test_what_cant_be_read_is_not_compared(text, key):
    """One mistake is one finding: what the rest of such a rule means is anybody's guess."""
    assert [row[1] for row in seen(text)[0]] == [key]


def test_what_is_said_about_the_unknown_is_compared():
    """It is a rule like any other."""
    text = 'name = "m"\n[unknown]\nverdict = "retryable"\nmax_attempts = 1\n'
    assert [row[:3] for row in seen(text)[0]] == [(4, "unknown.max_attempts", "never-retried")]


def test_what_a_condition_inherits_is_told_once():
    """Where it was written."""
    text = WINDOW + 'escalate = { rejections = 1 }\n[[codes.7.when]]\nmessage = "x"\ntitle = "t"\n'
    assert [row[:3] for row in seen(text)[0]] == [(5, "codes.7.escalate", "no-effect")]


def test_a_backoff_that_outlasts_the_deadline():
    """Both sentences."""
    text = 'name = "m"\n[codes.7]\nverdict = "retryable"\nwait = 10\n'
    (found,) = linted(text, deadline=30.0)
    assert (found.reason, found.advice) == (
        "The waits between 4 attempts add up to 30 s, which the deadline of 30 s does not leave.",
        "Shorten the waits or lower max_attempts.",
    )


def test_a_condition_that_inherits_does_not_hide_the_next():
    """Each is looked at."""
    text = WINDOW + (
        '[[codes.7.when]]\nmessage = "x"\ntitle = "t"\n[[codes.7.when]]\nmessage = "y"\nwait = 61\n'
    )
    assert [row[1] for row in seen(text)[0]] == ["codes.7.when[1].wait"]


def test_another_file_is_named(tmp_path):
    """By what the user wrote after ``extends``; what it hides of itself is its own mistake."""
    (tmp_path / "base.toml").write_text(
        'name = "b"\n[families]\n"4x1" = { verdict = "fatal" }\n'
        '[[endpoints]]\nname = "a"\nmatch = ["GET */a*"]\n'
        '[[endpoints]]\nname = "b"\nmatch = ["GET */ab"]\n'
    )
    leaf = tmp_path / "leaf.toml"
    leaf.write_text('extends = "base.toml"\n[families]\n"40x" = { verdict = "retryable" }\n')
    documents = list(chain(str(leaf)))
    family, pattern = lint(documents, merged(documents), Limits())

    assert "of '4x1' (line 3 of " in family.reason
    assert (pattern.file, pattern.line) == (str(tmp_path / "base.toml"), 9)
    assert pattern.reason.startswith("'GET */ab' never matches")
