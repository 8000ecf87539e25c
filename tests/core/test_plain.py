"""The quick look: what it calls a success is one, and the usual successes need no closer look."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilience import Policy, Verdict
from resilience._core.policy.plain import plain_success

POLICIES = {name: Policy.load(name) for name in ("memories_ai", "memos_cloud", "http")}

PLAIN = [
    ("memories_ai", {"code": "0000", "msg": "m"}, True),
    (
        "memories_ai",
        {"code": "0000", "msg": "m", "data": {"videos": []}, "success": True, "failed": False},
        True,
    ),
    ("memories_ai", {"code": "SUCCESS", "msg": "m"}, True),
    ("memories_ai", {"code": 200, "msg": "m"}, True),
    ("memories_ai", {"code": 0, "msg": "m", "success": True, "failed": False}, True),
    ("memories_ai", {"code": "0000", "msg": "m", "success": False}, False),
    ("memories_ai", {"code": "0000", "msg": "m", "failed": True}, False),
    ("memories_ai", {"code": "0429", "msg": "m"}, False),
    ("memories_ai", {"code": False, "msg": "m"}, False),
    ("memories_ai", {"code": ["0000"], "msg": "m"}, False),
    ("memories_ai", {"code": "SUCCESS", "data": "Error"}, False),
    ("memories_ai", {"msg": "m"}, False),
    ("memories_ai", {}, False),
    ("memos_cloud", {"code": 0, "message": "ok", "data": {"success": True}}, True),
    ("memos_cloud", {"code": 0, "message": "ok", "data": None}, True),
    ("memos_cloud", {"code": 0, "message": "ok", "data": [1]}, True),
    ("memos_cloud", {"code": 0, "message": "ok", "data": {"success": False}}, False),
    ("memos_cloud", {"code": 40300, "message": "ok"}, False),
    ("http", {"code": 0}, False),
]


@pytest.mark.parametrize(("name", "body", "plain"), PLAIN, ids=range(len(PLAIN)))
def test_quick_look(name, body, plain):
    """The usual successes are recognised, decoded and as text; everything else is looked at closer."""
    look = plain_success(POLICIES[name].table)

    assert plain == look.of_dict(body)
    assert plain == look.of_bytes(json.dumps(body).encode())


INTRICATE = Policy.from_dict(
    {
        "name": "paper",
        "envelope": [
            {"required": ["/error/code"], "code": "/error/code", "success": ["fine"]},
            {"required": ["/fault", "/why"], "code": "/fault/code"},
            {
                "required": ["/code", "/msg", "/data"],
                "code": "/code",
                "message": "/msg",
                "success": ["0", "1", "2", "ok", "07"],
                "failed_when": [
                    {"at": "/success", "equals": False},
                    {"at": "/failed", "equals": True},
                    {"at": "/partial", "equals": True},
                    {"at": "/late", "equals": True},
                    {"at": "/data/ok", "equals": False},
                ],
            },
        ],
        "codes": {
            "1": {"verdict": "fatal"},
            "2": {"verdict": "success"},
        },
    }
)
WELL = {"code": "0", "msg": "m", "data": {"x": 1}}


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        pytest.param({}, True, id="nothing else"),
        pytest.param({"code": 0}, True, id="as a number"),
        pytest.param({"code": "ok"}, True, id="a word"),
        pytest.param({"code": 7}, False, id="a number that was written otherwise"),
        pytest.param({"code": "2"}, True, id="listed as a success"),
        pytest.param({"code": "1"}, False, id="listed as something else"),
        pytest.param({"code": False}, False, id="no code"),
        pytest.param({"code": None}, False, id="null"),
        pytest.param({"code": ["0"]}, False, id="a list"),
        pytest.param({"msg": ...}, False, id="without a message"),
        pytest.param({"data": ...}, False, id="without data"),
        pytest.param({"data": [1]}, True, id="data of another shape"),
        pytest.param({"data": {"ok": False}}, False, id="a flag inside"),
        pytest.param({"data": {"ok": True}}, True, id="a flag inside that says well"),
        pytest.param({"success": False}, False, id="the first flag"),
        pytest.param({"failed": True}, False, id="the second flag"),
        pytest.param({"partial": True}, False, id="the third flag"),
        pytest.param({"late": True}, False, id="the fourth flag"),
        pytest.param(
            {"success": True, "failed": False, "partial": False, "late": False}, True, id="flags"
        ),
        pytest.param({"error": True}, False, id="a key of the first dialect"),
        pytest.param({"fault": True}, False, id="a key of the second dialect"),
        pytest.param({"why": True}, True, id="a key that alone makes no dialect"),
    ],
)
def test_quick_look_of_an_intricate_policy(changes, plain):
    """Five flags, three required keys, two dialects that come first."""
    body = {key: value for key, value in (WELL | changes).items() if value is not ...}
    look = plain_success(INTRICATE.table)

    assert look.of_dict(body) is plain
    assert look.of_bytes(json.dumps(body).encode()) is plain


@pytest.mark.parametrize(
    "failed_when",
    [
        pytest.param([{"at": "/data/deep/ok", "equals": False}], id="three steps deep"),
        pytest.param([{"at": "/state", "equals": "bad"}], id="not true or false"),
    ],
)
def test_too_intricate_a_policy_has_no_quick_look(failed_when):
    """Everything is looked at closer."""
    envelope = {"required": ["/code"], "code": "/code", "success": ["0"]}
    for more in ({"failed_when": failed_when}, {"code": "/at/code"}):
        policy = Policy.from_dict({"name": "paper", "envelope": [envelope | more]})
        look = plain_success(policy.table)

        assert (look.of_dict({"code": "0"}), look.of_bytes(b'{"code": "0"}')) == (False, False)


SCALARS = st.sampled_from(
    ["0000", "0", "200", "SUCCESS", "0429", "Error", "user don't login", "errored", 0, 200, 16, 1, 0.0,
     True, False, None, "x"]
)  # fmt: skip
INNER = st.dictionaries(st.sampled_from(["success", "code", "message", "request_id"]), SCALARS)
BODIES = st.dictionaries(
    st.sampled_from(["code", "msg", "message", "data", "success", "failed", "error", "status", "task_id",
                     "operation", "done", "choices"]),
    SCALARS | INNER | st.just([]),
)  # fmt: skip


@given(name=st.sampled_from(list(POLICIES)), body=BODIES)
@example(name="memories_ai", body={"code": "SUCCESS", "data": "Error"})
@example(name="memories_ai", body={"code": "0000", "data": "user don't login"})
@example(
    name="memories_ai",
    body={"code": "0000", "msg": "", "error": {"code": "x", "message": "m", "request_id": "r"}},
)
def test_quick_look_is_never_wrong(name, body):
    """Only what classification calls a success is said to be certainly one."""
    policy = POLICIES[name]
    verdict = policy.classify(body, status=200).verdict
    quick = [
        policy.plain.of_dict(body),
        policy.plain.of_bytes(json.dumps(body).encode()),
    ]

    assert verdict is Verdict.SUCCESS or not any(quick)


@given(st.binary(max_size=60), st.sampled_from(list(POLICIES)))
def test_quick_look_takes_any_bytes(body, name):
    """It never raises; what is no JSON is looked at closer."""
    assert POLICIES[name].plain.of_bytes(body) in (True, False)


@pytest.mark.parametrize("end", range(1, 40))
def test_quick_look_does_not_trust_a_cut_body(end):
    """A success whose end is missing is no success."""
    body = b'{"code":"0000","msg":"m","data":{"a":1}}'

    assert POLICIES["memories_ai"].plain.of_bytes(body)
    assert not POLICIES["memories_ai"].plain.of_bytes(body[:-end])


@pytest.mark.parametrize("left", ["msg", "data"])
def test_everything_that_is_required_must_be_there(left):
    """However many keys that are."""
    envelope = {"required": ["/code", "/msg", "/data"], "code": "/code", "success": ["0"]}
    plain = plain_success(Policy.from_dict({"name": "p", "envelope": [envelope]}).table)
    body = {"code": "0", "msg": "", "data": 1}
    assert plain.of_dict(body)
    assert not plain.of_dict({key: value for key, value in body.items() if key != left})
