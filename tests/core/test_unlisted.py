"""Which codes count as unlisted, and the bounded table of them."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience import Policy
from resilience._core.policy.unlisted import MOST_CODES, MOST_ENDPOINTS, Sighting, Unlisted

POLICY = Policy.from_dict(
    {
        "name": "paper",
        "extends": "http",
        "envelope": [
            {
                "required": ["/code"], "code": "/code", "success": ["0"],
                "failed_when": [{"at": "/ok", "equals": False, "code": "flagged"}, {"at": "/up", "equals": False}],
            }
        ],
        "codes": {"1": {"verdict": "fatal", "aliases": ["01"]}},
        "families": {"4xx": {"verdict": "retryable"}},
    }
)  # fmt: skip

ANSWERS = [
    # body, status, exception, the unlisted code
    pytest.param({"code": "7"}, 200, None, "7", id="unknown"),
    pytest.param({"code": 7}, None, None, "7", id="a number"),
    pytest.param({"code": "404"}, 200, None, "404", id="family"),
    pytest.param({"code": "7"}, 503, None, "7", id="judged by its status"),
    pytest.param({"code": "503"}, 503, None, "503", id="the same as its status"),
    pytest.param({"code": "0", "ok": False}, 200, None, "flagged", id="code of a flag"),
    pytest.param({"code": "1"}, 200, None, None, id="listed"),
    pytest.param({"code": "01"}, 200, None, None, id="alias"),
    pytest.param({"code": "0"}, 200, None, None, id="success"),
    pytest.param({"code": "0"}, 503, None, None, id="success under a status"),
    pytest.param({"code": "0", "up": False}, 200, None, None, id="flag without a code"),
    pytest.param({"else": 1}, 503, None, None, id="status alone"),
    pytest.param(None, None, KeyError("x"), None, id="exception"),
    pytest.param(None, 200, None, None, id="empty"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "exception", "code"), ANSWERS)
def test_unlisted_is_a_code_of_the_provider_without_a_rule(body, status, exception, code):
    """Neither a status nor the name of an exception is a code, although both are shown as one."""
    found = POLICY.classify(body, status=status, exception=exception)

    assert (found.code if found.unlisted else None) == code


def saw(sighting, endpoint="e", at=None, **other):
    """One more."""
    told = {"verdict": "fatal", "recovers": None, "matched_by": "unknown", **other}
    sighting.saw([endpoint], when=(at, at), **told)


def test_a_sighting_tells_how_often_where_and_when():
    """The first and the last instant, whatever the order, and what it was taken for last."""
    seen = Sighting(code="7")
    saw(seen, "list", 20.0)
    saw(seen, "chat", 10.0)
    saw(seen, "list", verdict="quota", recovers="window", matched_by="families.x")

    assert (seen.count, list(seen.endpoints)) == (3, ["list", "chat"])
    assert (seen.first_seen, seen.last_seen) == (10.0, 20.0)
    assert (seen.verdict, seen.recovers, seen.matched_by) == ("quota", "window", "families.x")


def test_what_is_held_is_bounded():
    """200 codes with 20 endpoints each; what comes beyond is one number."""
    table = Unlisted()
    for number in range(MOST_CODES + 5):
        sighting = table.of(str(number))
        assert (sighting is None) == (number >= MOST_CODES)
    seen = table.of("0")
    for number in range(MOST_ENDPOINTS + 5):
        saw(seen, str(number))

    assert (len(table.sightings), table.overflow) == (200, 5)
    assert len(seen.endpoints) == 20
    assert seen.count == 25


def test_the_stanza_is_what_a_person_would_write():
    """The code as a key, the verdict that was applied, and a place for the provider's words."""
    seen = Sighting(code="40399", verdict="quota", recovers="window")

    assert seen.stanza == (
        "[codes.40399]\n"
        'verdict = "quota"\n'
        'recovers = "window"\n'
        'title = "TODO: what the provider\'s documents say about it"\n'
    )


@given(st.text(min_size=1) | st.text(st.sampled_from('."\\\n\x7f[]= é😀#'), min_size=1))
def test_a_stanza_is_toml_for_any_code(code):
    """Anybody may send anything as a code, and pasting it must not break a policy."""
    made = Policy.from_dict(
        {"name": "p", **tomllib.loads(Sighting(code=code, verdict="fatal").stanza)}
    )

    assert set(made.codes) == {code}


def test_a_code_that_cant_be_written_is_still_toml():
    """Half a surrogate pair, as broken servers send it."""
    assert tomllib.loads(Sighting(code="\ud800", verdict="fatal").stanza)["codes"] == {
        "?": {"verdict": "fatal", "title": "TODO: what the provider's documents say about it"}
    }


def test_a_sighting_knows_its_code():
    """The one that it was made for."""
    assert Unlisted().of("E-1_a").code == "E-1_a"


@pytest.mark.parametrize(
    ("code", "key"),
    [("E-1_a", "E-1_a"), ("40.1", '"40.1"'), ("é", '"é"'), ("\x7f", '"\\u007f"')],
)
def test_only_what_has_to_be_is_quoted(code, key):
    """Letters of both cases, digits, dashes and underscores stand bare; text is not escaped."""
    assert Sighting(code=code, verdict="fatal").stanza.splitlines()[0] == f"[codes.{key}]"
