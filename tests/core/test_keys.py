"""Every key that a policy file may have is described, and every described key may be there."""

import tomllib

import pytest

from resilience._core.policy import keys
from resilience._core.policy.build import build
from resilience._core.policy.section import PolicyError, Section

RULE = 'name = "x"\n[[endpoints]]\nname = "render"\n[codes.E]\nverdict = "quota"\n'
PLACES = {
    "TOP": "{0}",
    "ENVELOPE": 'name = "x"\n[[envelope]]\n{0}',
    "FAILED_WHEN": 'name = "x"\n[[envelope]]\n[[envelope.failed_when]]\nat = "/ok"\n{0}',
    "ENDPOINT": 'name = "x"\n[[endpoints]]\nname = "one"\n{0}',
    "LIMIT": 'name = "x"\n[[endpoints]]\nname = "one"\n[endpoints.limit]\n{0}',
    "RULE": RULE + "{0}",
    "CONDITION": RULE + '[[codes.E.when]]\nverdict = "fatal"\n{0}',
    "WAIT": RULE + "[codes.E.wait]\n{0}",
    "CALENDAR": RULE + '[codes.E.wait]\nuntil = "midnight"\n{0}',
    "ESCALATE": RULE + "[codes.E.escalate]\n{0}",
}
"""Where a key of each table stands in a file."""


def placed(table, name, value):
    """A file with one more key; a key that the place has already is given the new value."""
    text = PLACES[table]
    head, _, last = text.rpartition("\n[")
    kept = "\n".join(line for line in last.splitlines() if not line.startswith(f"{name} = "))
    data = f"{head}\n[{kept}" if head else kept
    if table == "TOP" and name != "name":
        data = 'name = "x"\n' + data
    return tomllib.loads(data.format(f"{name} = {value}"))


def described():
    """Every table and key."""
    return [
        pytest.param(table, key, id=f"{table.lower()}.{key.name}")
        for table in PLACES
        for key in getattr(keys, table)
    ]


@pytest.mark.parametrize(("table", "key"), described())
def test_a_described_key_is_accepted(table, key):
    """Its example can stand in a file; a misspelt one can't."""
    assert build(placed(table, key.name, key.example), source="x.toml").name in ("x", "renderfarm")
    if table != "WAIT":  # there the words are those of the generator
        with pytest.raises(PolicyError, match=f"unknown key '{key.name}_'"):
            build(placed(table, f"{key.name}_", key.example), source="x.toml")


@pytest.mark.parametrize(("table", "key"), described())
def test_a_description_says_something(table, key):
    """What it takes, what holds without it, and a sentence."""
    assert key.takes
    assert key.does.endswith(".")
    assert key.default or key.name in ("name", "at", "verdict", "backoff", "until")


def test_every_key_that_the_builder_takes_is_described(monkeypatch):
    """Whatever is asked of a table of the file is in the description of that kind of table."""
    asked = set()

    def spy(method):
        def asking(section, key, *args):
            asked.add((kind(section.at), key))
            return method(section, key, *args)

        return asking

    for name in ("take", "table", "tables"):
        monkeypatch.setattr(Section, name, spy(getattr(Section, name)))
    for table in PLACES:
        for key in getattr(keys, table):
            build(placed(table, key.name, key.example), source="x.toml")

    known = {
        (kind, key.name) for kind, tables in KINDS.items() for table in tables for key in table
    }
    assert {pair for pair in asked if pair[0] in KINDS} - known == set()
    elsewhere = {("wait", "backoff"), ("when", "aliases"), ("when", "when")}
    assert known - asked == elsewhere


KINDS = {
    "top": [keys.TOP],
    "envelope": [keys.ENVELOPE],
    "failed_when": [keys.FAILED_WHEN],
    "endpoints": [keys.ENDPOINT],
    "limit": [keys.LIMIT],
    "rule": [keys.RULE],
    "when": [keys.CONDITION, keys.RULE],
    "wait": [keys.WAIT, keys.CALENDAR],
    "escalate": [keys.ESCALATE],
}


def kind(at):
    """What kind of table stands there; None for those whose keys are names of the user's."""
    match at:
        case ():
            return "top"
        case ("codes" | "families" | "http" | "exceptions", _) | ("unknown",):
            return "rule"
        case (*_, "wait" | "limit" | "escalate" as last):
            return last
        case (*_, "envelope" | "failed_when" | "endpoints" | "when" as last, int()):
            return last
    return None
