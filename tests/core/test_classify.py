"""Classification: each line of the precedence list, every kind of body, and that nothing raises."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience import Certainty, Outcome, Policy, Verdict
from resilience._core.policy.classify import classify

POLICY = Policy.from_dict(
    {
        "name": "toy",
        "envelope": [
            {
                "required": ["/error/code"],
                "code": "/error/code",
                "message": "/error/text",
                "retry_after": "/error/wait",
            },
            {
                "required": ["/code", "/msg"],
                "code": "/code",
                "message": "/msg",
                "success": ["0000", "0", "OK"],
                "failed_when": [
                    {"at": "/success", "equals": False},
                    {"at": "/data/state", "equals": "lost", "code": "LOST"},
                ],
            },
            {"required": ["/errors/0/code"], "code": "/errors/0/code"},
        ],
        "endpoints": [{"name": "list"}],
        "codes": {
            "0429": {"aliases": ["429"], "verdict": "quota", "scope": "endpoint", "title": "busy"},
            "0001": {
                "verdict": "fatal",
                "title": "bad",
                "when": [
                    {"message": "(?i)net", "endpoint": "list", "verdict": "quota"},
                    {"message": "(?i)net", "verdict": "retryable", "max_attempts": 3},
                    {"status": 503, "verdict": "retryable", "title": "down"},
                ],
            },
            "LOST": {"verdict": "retryable"},
            "7": {"verdict": "success"},
            "0": {"verdict": "fatal"},
            "403": {"verdict": "quota"},
        },
        "families": {
            "4xxxx": {"verdict": "fatal"},
            "403xx": {"verdict": "quota"},
            "4039x": {"verdict": "retryable"},
        },
        "http": {
            "403": {"verdict": "fatal"},
            "429": {"verdict": "quota"},
            "503": {"verdict": "retryable", "certainty": "not_executed"},
            "5xx": {"verdict": "retryable"},
        },
        "exceptions": {
            "OSError": {"verdict": "retryable"},
            "ConnectionRefusedError": {"verdict": "retryable", "certainty": "not_executed"},
            "FileNotFoundError": {"verdict": "fatal"},
        },
    }
)


def said(code: object, msg: str = "m", **more: object) -> dict[str, object]:
    """A body in the toy provider's main dialect."""
    return {"code": code, "msg": msg, **more}


S, R, Q, F = Verdict.SUCCESS, Verdict.RETRYABLE, Verdict.QUOTA, Verdict.FATAL


def raised_from(error, cause):
    """An exception of an SDK's own, as ``raise error from cause`` makes it."""
    error.__cause__ = cause
    return error


PRECEDENCE = [
    # 1. the when list in file order, then the code's own rule
    pytest.param(said("0001", "net"), 200, None, "list", Q, "codes.0001.when[0]", id="first when"),
    pytest.param(said("0001", "NET"), 200, None, "other", R, "codes.0001.when[1]", id="second when"),
    pytest.param(said("0001", "x"), 503, None, "other", R, "codes.0001.when[2]", id="when by status"),
    pytest.param(said("0001", "net"), 503, None, "other", R, "codes.0001.when[1]", id="when in order"),
    pytest.param(said("0001", "x"), 200, None, "list", F, "codes.0001", id="own rule after when"),
    pytest.param(said("0429"), 503, None, "other", Q, "codes.0429", id="code before status"),
    pytest.param(said("403"), 403, None, "other", Q, "codes.403", id="code before the status of its name"),
    # aliases and spellings
    pytest.param(said("429"), 200, None, "other", Q, "codes.0429", id="alias"),
    pytest.param(said(429), 200, None, "other", Q, "codes.0429", id="alias as a number"),
    pytest.param(said(429.0), 200, None, "other", Q, "codes.0429", id="alias as a float"),
    pytest.param(said(" 0429 "), 200, None, "other", Q, "codes.0429", id="blanks around"),
    pytest.param(said("00429"), 200, None, "other", F, "unknown", id="leading zeros are kept"),
    pytest.param(said("29"), 200, None, "other", F, "unknown", id="no part of a code"),
    # 2. the most specific family
    pytest.param(said("40391"), 200, None, "other", R, "families.4039x", id="most specific family"),
    pytest.param(said("40311"), 200, None, "other", Q, "families.403xx", id="middle family"),
    pytest.param(said("41111"), 200, None, "other", F, "families.4xxxx", id="widest family"),
    pytest.param(said("403111"), 200, None, "other", F, "unknown", id="family of another length"),
    pytest.param(said("403ab"), 200, None, "other", F, "unknown", id="x is a digit"),
    pytest.param(said("40311"), 503, None, "other", Q, "families.403xx", id="family before status"),
    # 3. the status, if it is 400 or more
    pytest.param(said("77"), 503, None, "other", R, "http.503", id="unlisted code, status"),
    pytest.param(said("77"), 599, None, "other", R, "http.5xx", id="unlisted code, class of status"),
    pytest.param(said("77"), 418, None, "other", F, "unknown", id="unlisted code and status"),
    pytest.param(None, 503, None, "other", R, "http.503", id="status alone"),
    pytest.param(b"", 429, None, "other", Q, "http.429", id="status, empty body"),
    pytest.param(b"<html>", 403, None, "other", F, "http.403", id="status, HTML"),
    pytest.param(None, 400, None, "other", F, "unknown", id="unlisted status"),
    # 4. unknown; a non-success code is never success because of its status
    pytest.param(said("77"), 200, None, "other", F, "unknown", id="unlisted under 200"),
    pytest.param(said("77"), 204, None, "other", F, "unknown", id="unlisted under 204"),
    pytest.param(said("0429"), 204, None, "other", Q, "codes.0429", id="listed under 204"),
    pytest.param(said("77"), None, None, "other", F, "unknown", id="unlisted without a status"),
    # success
    pytest.param(said("0000"), 200, None, "other", S, "codes.0000", id="success text"),
    pytest.param(said("OK"), None, None, "other", S, "codes.OK", id="success without a status"),
    pytest.param(said("7"), 200, None, "other", S, "codes.7", id="a listed code may mean success"),
    pytest.param(said("0"), 200, None, "other", F, "codes.0", id="a success text may be listed as failure"),
    pytest.param(said("0000"), 399, None, "other", S, "codes.0000", id="success under a redirect"),
    # a success code under a failed status goes by the status
    pytest.param(said("0000"), 503, None, "other", R, "http.503", id="success code, failed status"),
    pytest.param(said("0000"), 400, None, "other", F, "unknown", id="success code, unlisted failed status"),
    pytest.param(said("7"), 503, None, "other", R, "http.503", id="listed success, failed status"),
    # flags
    pytest.param(said("0000", success=False), 200, None, "other", F, "flag:/success", id="flag without a code"),
    pytest.param(said("0000", success=False), 503, None, "other", R, "http.503", id="flag under a failed status"),
    pytest.param(said("0000", data={"state": "lost"}), 200, None, "other", R, "codes.LOST", id="flag with a code"),
    pytest.param(said("0429", success=False), 200, None, "other", Q, "codes.0429", id="code before flag"),
    pytest.param(said("0000", success=True), 200, None, "other", S, "codes.0000", id="flag says well"),
    pytest.param(said("0000", success=0), 200, None, "other", S, "codes.0000", id="0 is not false"),
    pytest.param(said("0000", success=None), 200, None, "other", S, "codes.0000", id="null is not false"),
    pytest.param(said(None, success=False), 200, None, "other", F, "flag:/success", id="flag, code null"),
    # exceptions
    pytest.param(None, None, ConnectionRefusedError(), "other", R, "exceptions.ConnectionRefusedError", id="exception"),
    pytest.param(None, None, ConnectionResetError(), "other", R, "exceptions.OSError", id="exception by its parent"),
    pytest.param(None, None, FileNotFoundError(), "other", F, "exceptions.FileNotFoundError", id="most specific class"),
    pytest.param(None, None, ValueError(), "other", F, "unknown", id="unlisted exception"),
    pytest.param(None, None, raised_from(RuntimeError(), ConnectionRefusedError()), "other", R, "exceptions.ConnectionRefusedError", id="unlisted exception by its cause"),
    pytest.param(None, None, raised_from(FileNotFoundError(), OSError()), "other", F, "exceptions.FileNotFoundError", id="listed exception before its cause"),
    pytest.param(None, None, raised_from(RuntimeError(), UnicodeError()), "other", F, "unknown", id="unlisted cause"),
    pytest.param(None, 503, raised_from(RuntimeError(), ConnectionRefusedError()), "other", R, "http.503", id="status before cause"),
    pytest.param(said("0429"), None, OSError(), "other", Q, "codes.0429", id="code before exception"),
    pytest.param(said("0000"), None, OSError(), "other", R, "exceptions.OSError", id="exception beats a success code"),
    pytest.param(None, 503, OSError(), "other", R, "http.503", id="status before exception"),
    pytest.param(None, 200, OSError(), "other", R, "exceptions.OSError", id="exception after 200"),
    # nothing speaks
    pytest.param(None, 200, None, "other", S, "success", id="empty 200"),
    pytest.param(b"", 202, None, "other", S, "success", id="empty 202"),
    pytest.param("", 200, None, "other", S, "success", id="empty text"),
    pytest.param(None, 304, None, "other", S, "success", id="redirect"),
    pytest.param(None, None, None, "other", S, "success", id="nothing at all"),
    pytest.param({"data": 1}, 200, None, "other", S, "success", id="no envelope"),
    pytest.param(said(None), 200, None, "other", S, "success", id="code null"),
    pytest.param(said(""), 200, None, "other", S, "success", id="code empty"),
    pytest.param(said(False), 200, None, "other", S, "success", id="code false is no code"),
    pytest.param({"code": "0429"}, 200, None, "other", S, "success", id="required pointer missing"),
    # dialects in order
    pytest.param({"error": {"code": "0429"}, "code": "0000", "msg": ""}, 200, None, "other", Q, "codes.0429", id="first dialect wins"),
    pytest.param({"errors": [{"code": "0429"}]}, 200, None, "other", Q, "codes.0429", id="an index in a pointer"),
    pytest.param({"errors": []}, 200, None, "other", S, "success", id="an index past the end"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "error", "endpoint", "verdict", "matched"), PRECEDENCE)
def test_precedence(body, status, error, endpoint, verdict, matched):
    """The first part of the policy that speaks about an outcome decides."""
    found = POLICY.classify(body, status=status, exception=error, endpoint=endpoint)

    assert (verdict, matched) == (found.verdict, found.matched_by)


@pytest.mark.parametrize(
    ("body", "status", "error", "endpoint", "verdict", "matched"),
    [param for param in PRECEDENCE if isinstance(param.values[0], dict)],
)
@pytest.mark.parametrize("form", ["bytes", "text", "object"])
def test_decoded_and_raw_bodies_mean_the_same(
    body, status, error, endpoint, verdict, matched, form
):
    """JSON bytes, JSON text and an object with attributes are judged like the mapping."""
    if form == "object":
        shaped = type("Model", (), body)()
    else:
        shaped = json.dumps(body) if form == "text" else json.dumps(body).encode()
    found = POLICY.classify(shaped, status=status, exception=error, endpoint=endpoint)

    assert (verdict, matched) == (found.verdict, found.matched_by)


BODIES = [
    pytest.param(b'{"code":"0429","msg":"m","data":{"x', R, "truncated", id="cut in the middle"),
    pytest.param(b'{"code":"0000","msg":"m"', R, "truncated", id="cut before the last brace"),
    pytest.param(b"[1, 2", R, "truncated", id="cut list"),
    pytest.param(b'"abc', R, "truncated", id="cut text"),
    pytest.param(b"<html>busy</html>", R, "truncated", id="HTML under 200"),
    pytest.param(b'{"code":"0000","msg":"m"}{', R, "truncated", id="something after the end"),
    pytest.param(b"[" * 200_000, R, "truncated", id="very deep"),
    pytest.param(b'{"a":' * 200_000, R, "truncated", id="very deep objects"),
    pytest.param(b"[1, 2]", S, "success", id="list"),
    pytest.param(b"3", S, "success", id="number"),
    pytest.param(b'"0429"', S, "success", id="text"),
    pytest.param(b"null", S, "success", id="null"),
    pytest.param(b' \n{"msg":"m","code":"0429"}\n', Q, "codes.0429", id="blanks around"),
    pytest.param(b'\xef\xbb\xbf{"code":"0429","msg":"m"}', Q, "codes.0429", id="BOM"),
    pytest.param('{"code":"0429","msg":"m"}'.encode("utf-16"), Q, "codes.0429", id="UTF-16"),
    pytest.param(b'{"code":"0429","msg":"m","data":NaN}', Q, "codes.0429", id="NaN beside"),
    pytest.param(b'{"code":NaN,"msg":"m"}', F, "unknown", id="NaN as the code"),
    pytest.param(b'{"code":1e999,"msg":"m"}', F, "unknown", id="infinite code"),
    pytest.param(b'{"code":' + b"9" * 5000 + b',"msg":"m"}', F, "unknown", id="code of 5000 digits"),
    pytest.param(b'{"code":"\xff","msg":"m"}', F, "unknown", id="code that is not UTF-8"),
    pytest.param(b'{"code":"0429","msg":"\xff"}', Q, "codes.0429", id="message that is not UTF-8"),
    pytest.param(b'{"code":"0429","msg":"\\ud800"}', Q, "codes.0429", id="half a surrogate"),
    pytest.param('{"code":"0429","msg":"\ud800"}', Q, "codes.0429", id="half a surrogate in text"),
    pytest.param({"code": 10**5000, "msg": ""}, F, "unknown", id="decoded code of 5000 digits"),
    pytest.param({"code": ["0429"], "msg": ""}, S, "success", id="a list is no code"),
    pytest.param({"code": {"0429": 1}, "msg": ""}, S, "success", id="an object is no code"),
    pytest.param(bytearray(b'{"code":"0429","msg":"m"}'), Q, "codes.0429", id="bytearray"),
    pytest.param(memoryview(b'{"code":"0429","msg":"m"}'), Q, "codes.0429", id="memoryview"),
    pytest.param(memoryview(b'{"code":"0429"'), R, "truncated", id="cut memoryview"),
    pytest.param(b'{"errors":[{"code":"0429"}]}', Q, "codes.0429", id="index in raw JSON"),
    pytest.param(b'{"code":"0000","msg":"m","code":"0429"}', Q, "codes.0429", id="the last of two keys"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "verdict", "matched"), BODIES)
def test_strange_bodies(body, verdict, matched):
    """Whatever a server or a proxy puts under HTTP 200 gets a sensible verdict."""
    found = POLICY.classify(body, status=200)

    assert (verdict, matched) == (found.verdict, found.matched_by)


def test_truncated_answer_may_have_been_executed():
    """The server had begun to answer: only an idempotent call may be repeated."""
    found = POLICY.classify(b'{"code":', status=200)

    assert found.certainty == Certainty.MAYBE_EXECUTED


@pytest.mark.parametrize("name", ["retry-after", "Retry-After", "RETRY-AFTER"])
def test_headers_are_found_in_any_case(name):
    """HTTP/1 servers shout, HTTP/2 whispers."""
    found = POLICY.classify(said("0429"), status=200, headers={name: "7"})

    assert found.hint is not None
    assert (found.hint.seconds, found.hint.source) == (7.0, "retry-after")


def test_bad_hint_is_told_and_not_obeyed():
    """The classification carries what was wrong, for the records."""
    found = POLICY.classify(said("0429"), status=200, headers={"Retry-After": "63072000"})

    assert found.hint is None
    assert "63072000" in found.problems[0]


def test_success_has_no_hint():
    """A rate-limit header beside a success is nobody's business here."""
    assert POLICY.classify(said("0000"), status=200, headers={"Retry-After": "7"}).hint is None


def test_code_in_a_record_is_short():
    """Codes end up in records, so no server can make them endless."""
    found = POLICY.classify({"code": "x" * 10_000, "msg": ""}, status=200)

    assert found.code is not None
    assert len(found.code) == 100


def test_five_megabytes_do_not_become_objects():
    """The code is found in front of, and behind, data that is never built."""
    rows = b",".join(b'{"id":%d,"name":"video %d"}' % (n, n) for n in range(150_000))
    body = b'{"data":[' + rows + b'],"code":"0429","msg":"m"}'
    assert len(body) > 4_500_000
    tracemalloc.start()
    try:
        found = POLICY.classify(body, status=200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found.matched_by == "codes.0429"
    assert peak < 1.5 * len(body)  # as objects it is more than ten times that


def test_what_is_not_needed_is_not_even_decoded():
    """A number that Python refuses to build does no harm where nobody looks."""
    body = b'{"code":"0429","msg":"m","data":{"n":' + b"1" * 10_000 + b"}}"

    assert POLICY.classify(body, status=200).matched_by == "codes.0429"


class Hostile:
    """Every attribute raises, and so does asking for the class."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    @property
    def __class__(self):
        raise RuntimeError

    code = property(lambda _: 1 / 0)


class HostileMapping(dict):
    """``get`` raises."""

    def get(self, *_):
        """Raise."""
        raise RuntimeError


class HostileError(Exception):
    """Can't be printed."""

    def __str__(self):
        raise RuntimeError


def test_hostile_objects_do_not_break_it():
    """Somebody's model may have properties that raise; that is no answer, and no crash."""
    bodies = [Hostile(), HostileMapping(code="0429", msg=""), {"error": Hostile()}, said(Hostile())]

    assert [POLICY.classify(body, status=200).verdict for body in bodies] == [S] * 4


@pytest.mark.parametrize("cause", [json.JSONDecodeError("no", "", 0), KeyError("data")])
def test_a_cause_that_is_an_answer_without_sense(cause):
    """What an SDK makes of such an answer is its own business, even where the policy lists it."""
    policy = Policy.load("http")
    assert policy.classify(exception=raised_from(RuntimeError(), cause)).matched_by == "unknown"


def test_exception_that_cannot_be_printed():
    """Its name stands for it."""
    found = POLICY.classify(exception=HostileError())

    assert (found.code, found.message) == ("HostileError", "HostileError")


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["0000", "0429", "0001", 429, "net", "try again in 5s", False, "lost"])
)  # fmt: skip
KEYS = st.sampled_from(
    ["code", "msg", "success", "data", "state", "error", "text", "wait", "errors"]
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5)
)
NAMES = st.sampled_from(["Retry-After", "retry-after-ms", "RateLimit", "X-RateLimit-Reset", "Date"])
VALUES = st.text(max_size=12) | st.sampled_from(
    ["5", "-1", "nan", "1e9", "r=0;t=3", "Wed, 21 Oct 2015 07:28:00 GMT",
     "Wed, 21 Oct 2015 07:28:00 +9999999999999999999", "9" * 5000, "r=" + "9" * 5000]
)  # fmt: skip
POLICIES = [POLICY, *map(Policy.load, ["memories_ai", "memos_cloud", "http"])]


@given(
    policy=st.sampled_from(POLICIES),
    tree=TREES,
    raw=st.booleans(),
    cut=st.integers(0, 60) | st.none(),
    status=st.none() | st.integers(100, 600),
    headers=st.dictionaries(NAMES, VALUES, max_size=4),
    error=st.sampled_from([None, OSError("x"), ValueError("try again in 3s"), HostileError()]),
)
def test_never_raises(policy, tree, raw, cut, status, headers, error):
    """Any body, any status, any headers: a classification, and hints that make sense."""
    body = json.dumps(tree).encode()[:cut] if raw else tree
    found = policy.classify(body, status=status, headers=headers, exception=error, now=1e9)

    assert found.verdict in Verdict
    assert found.rule.verdict == found.verdict
    assert found.hint is None or 0 <= found.hint.seconds <= 31 * 86400
    if status is not None and status >= 400:
        assert found.verdict is not S


@given(st.binary(max_size=200), st.sampled_from(POLICIES))
def test_never_raises_on_any_bytes(body, policy):
    """Not even for what isn't text."""
    assert policy.classify(body, status=200).verdict in Verdict


@given(code=st.text("0123456789x", min_size=1, max_size=6), status=st.integers(200, 599))
def test_listed_failure_is_never_success(code, status):
    """Under no status does a body with a code outside of the success set pass."""
    body = said(code)
    listed = POLICY.codes.get(code)
    good = listed.verdict is S if listed else code in {"0000", "OK"}

    found = POLICY.classify(body, status=status)
    assert (good and status < 400) == (found.verdict is S)


@given(tree=st.dictionaries(KEYS, TREES, max_size=6))
def test_raw_and_decoded_agree(tree):
    """Reading slices of the text finds what reading the decoded body finds."""
    text = json.dumps(tree)
    raw = POLICY.classify(text.encode(), status=200)
    decoded = POLICY.classify(json.loads(text), status=200)

    assert (decoded.verdict, decoded.code, decoded.message, decoded.hint) == (
        raw.verdict, raw.code, raw.message, raw.hint,
    )  # fmt: skip


def test_explain_says_what_classify_does():
    """The command line's answer for a code is the guard's answer for that code."""
    for policy in POLICIES[1:3]:
        key = "msg" if policy.name == "memories_ai" else "message"
        for code in [*policy.codes, "nobody", "40399", "0503"]:
            for status in (200, 400, 503):
                expected = policy.classify({"code": code, key: "", "data": None}, status=status)
                actual = policy.explain(code, status=status)
                assert expected.verdict == actual.verdict, (code, status)
                if expected.verdict is not S:
                    assert expected.matched_by == actual.matched_by


def test_explain_knows_statuses_and_exceptions():
    """``explain 503`` and ``explain TimeoutError`` are fair questions too."""
    http = Policy.load("http")

    assert http.explain(503).matched_by == "http.503"
    assert http.explain("TimeoutError").matched_by == "exceptions.TimeoutError"
    assert http.explain("0503").matched_by == "unknown"
    assert http.explain("weird").matched_by == "unknown"


def edge_policy(**envelope):
    """One dialect, made inside the test."""
    plain = {"required": ["/code"], "code": "/code", "message": "/msg", "success": ["0"]}
    return Policy.from_dict(
        {
            "name": "edge",
            "envelope": [plain | envelope],
            "codes": {"slow": {"verdict": "quota"}, "bad": {"verdict": "retryable"}},
        }
    )


def test_a_window_in_a_header_counts_for_a_quota_alone():
    """On any other answer it describes a window that nobody has hit."""
    headers = {"X-RateLimit-Reset": "30"}
    policy = edge_policy()
    slow, bad = (policy.classify({"code": c}, status=200, headers=headers) for c in ("slow", "bad"))
    assert slow.hint is not None
    assert (slow.hint.seconds, bad.hint) == (30.0, None)


@pytest.mark.parametrize("value", [None, 5, True, ["m"], {"m": 1}])
def test_a_message_that_is_no_text_is_none(value):
    """Whatever stands there is not shown to people."""
    assert edge_policy().classify({"code": "bad", "msg": value}).message == ""


def test_a_flag_may_be_null():
    """But what is not there is not null."""
    policy = edge_policy(failed_when=[{"at": "/result", "equals": None}])
    verdicts = [
        policy.classify(body).verdict for body in ({"code": "0"}, {"code": "0", "result": None})
    ]
    assert verdicts == [Verdict.SUCCESS, Verdict.FATAL]


def test_a_flag_of_one_is_not_true():
    """JSON has both, and Python takes them for equal."""
    policy = edge_policy(failed_when=[{"at": "/failed", "equals": True}])
    verdicts = [policy.classify({"code": "0", "failed": failed}).verdict for failed in (1, True)]
    assert verdicts == [Verdict.SUCCESS, Verdict.FATAL]


def test_a_date_is_measured_by_the_clock_that_was_given():
    """Where the answer has no Date of its own."""
    headers = {"Retry-After": "Wed, 15 Nov 2023 00:00:30 GMT"}
    found = POLICY.classify(said("0429"), status=200, headers=headers, now=1_700_006_400.0)
    assert (found.hint.seconds, found.problems) == (30.0, ())
    assert POLICY.classify(said("0429"), status=200, headers=headers).hint is None


def test_what_was_seen_is_told():
    """The status beside the code, of failures and of successes, and the provider's own words."""
    failed = POLICY.classify({"code": "0429", "msg": "words"}, status=418)
    well = POLICY.classify({"code": "0000", "msg": "success"}, status=201)
    assert (failed.status, failed.message) == (418, "words")
    assert (well.status, well.message) == (201, "success")


def test_headers_that_are_no_text_are_left_out():
    """Some SDK's may hold anything; the others count."""
    headers = {"x-object": object(), 7: "seven", "Retry-After": 7}
    assert POLICY.classify(said("0429"), status=200, headers=headers).hint.seconds == 7.0


def test_a_status_that_is_no_number_says_nothing():
    """Not even that it failed."""
    assert POLICY.classify(said("0000"), status="500").verdict is Verdict.SUCCESS


def test_without_an_endpoint_it_is_any_other():
    """A condition may ask for just that."""
    rule = {"verdict": "fatal", "when": [{"endpoint": "other", "verdict": "retryable"}]}
    policy = Policy.from_dict({"name": "p", "envelope": [{"code": "/c"}], "codes": {"7": rule}})
    found = classify(policy.table, Outcome(body={"c": "7"}))
    assert found.verdict is Verdict.RETRYABLE


def test_a_message_may_say_how_long():
    """Where nothing else does."""
    found = POLICY.classify({"code": "0429", "msg": "busy, try again in 20s"}, status=200)
    assert (found.hint.seconds, found.hint.source) == (20.0, "message")
