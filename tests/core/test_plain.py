"""The quick look: what it calls a success is one, and the usual successes need no closer look."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilience import Policy, Verdict

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
    look = POLICIES[name].plain

    assert plain == look.of_dict(body)
    assert plain == look.of_bytes(json.dumps(body).encode())


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
