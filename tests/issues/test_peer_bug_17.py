"""A rule that can never be reached, or two rules for one code, and nobody says so.

Tables that were merged from several files shadow each other silently.  Here one code has one rule: a
second claim is an error that names both places; conditions are asked in file order, and what differs
in a file that extends another wins key by key.
"""

import pytest

from resilience import Policy, PolicyError

FATAL = {"verdict": "fatal"}
RETRY = {"verdict": "retryable", "certainty": "not_executed", "wait": 1}
BASE = {
    "name": "paper",
    "envelope": [{"required": ["/code"], "code": "/code", "message": "/msg", "success": ["0"]}],
}


def policy(codes, **more):
    """A policy with these codes."""
    return Policy.from_dict({**BASE, "codes": codes, **more})


def verdict(table, code, message="", **more):
    """What a body with this code means, and which rule said so."""
    found = table.classify({"code": code, "msg": message}, **more)
    return found.verdict.value, found.matched_by


@pytest.mark.parametrize(
    ("codes", "named"),
    [
        pytest.param(
            {"1": {**FATAL, "aliases": ["3"]}, "2": {**RETRY, "aliases": ["3"]}},
            ["codes.2.aliases", "'3'", "codes.1 has it too"],
            id="alias of two codes",
        ),
        pytest.param(
            {"1": {**FATAL, "aliases": ["2"]}, "2": RETRY},
            ["codes.1.aliases", "'2'", "codes.2 is listed itself"],
            id="alias that is a code",
        ),
        pytest.param(
            {"1": {**FATAL, "when": [{**RETRY}]}},
            ["codes.1.when[0]", "no condition"],
            id="condition that always holds",
        ),
        pytest.param(
            {"1": {**FATAL, "when": [{"endpoint": "nowhere", **RETRY}]}},
            ["codes.1.when[0].endpoint", "'nowhere'"],
            id="condition that never holds",
        ),
    ],
)
def test_two_rules_for_one_code_are_an_error(codes, named):
    """The message names the place, the value and the other claim."""
    with pytest.raises(PolicyError) as caught:
        policy(codes)
    assert [text for text in named if text not in str(caught.value)] == []


def test_a_shadowed_condition_is_not_asked():
    """The first that holds wins, in file order; the code's own rule is the last."""
    table = policy(
        {
            "1": {
                **FATAL,
                "when": [
                    {"message": "busy", **RETRY},
                    {"message": "very busy", "verdict": "quota", "recovers": "capacity"},
                ],
            }
        }
    )
    assert verdict(table, "1", "very busy")[0] == "retryable"
    assert verdict(table, "1", "else")[0] == "fatal"


def test_a_listed_code_wins_over_its_family_and_its_status():
    """Contradictions between tables have an order: code, family, status, unknown."""
    table = policy(
        {"4031": RETRY},
        families={"403x": FATAL, "40xx": RETRY},
        http={"503": RETRY, "400": FATAL},
    )
    assert verdict(table, "4031", status=400) == ("retryable", "codes.4031")
    assert verdict(table, "4032", status=503) == ("fatal", "families.403x")
    assert verdict(table, "4099", status=400) == ("retryable", "families.40xx")
    assert verdict(table, "9", status=503) == ("retryable", "http.503")
    assert verdict(table, "9")[0] == "fatal"


def test_what_a_file_changes_wins_over_what_it_extends():
    """Key by key: the rest of the rule stays, and no second rule for the code comes to be."""
    table = Policy.from_dict(
        {"name": "mine", "extends": "http", "http": {"503": {"verdict": "fatal"}}}
    )
    assert table.classify(status=503).verdict.value == "fatal"
    assert table.classify(status=502).verdict.value == "retryable"
