"""All that a policy file may say, said once; and what is kept of it, field by field."""

import re

import pytest

from resilience import Policy, Recovers, Rule, Verdict
from resilience._core.policy.model import (
    CalendarReset,
    Certainty,
    Endpoint,
    Escalation,
    Repeat,
    Wait,
)
from resilience._core.policy.table import Envelope

WHOLE = {
    "name": "whole",
    "docs": "https://docs.test",
    "hosts": ["api.test", "api.test:8080"],
    "groups": {"talk": ["chat", "list"]},
    "envelope": [
        {
            "required": ["/code", "/msg"],
            "code": "/code",
            "message": "/msg",
            "retry_after": "/wait",
            "success": ["0", "ok"],
            "failed_when": [{"at": "/success", "equals": False, "code": "flag"}, {"at": "/failed"}],
        }
    ],
    "endpoints": [
        {
            "name": "list", "match": ["POST */list", "* */all"], "functions": ["list_all"],
            "repeat": "safe", "duplicate": "done", "limit": {"calls": 5, "per": 2.5},
            "docs": "https://docs.test/list",
        },
        {"name": "chat"},
    ],
    "codes": {
        "1": {
            "verdict": "quota", "recovers": "cooldown", "scope": "talk", "wait": 60, "jitter": "full",
            "max_attempts": 3, "certainty": "maybe_executed", "probe_every": 20.0,
            "escalate": {"rejections": 4, "within": 90.0, "to": "exhausted"}, "duplicate": True,
            "title": "One", "remedy": "Do one.", "docs": "https://docs.test/1", "edition": "second",
            "aliases": ["01"],
            "when": [
                {"message": "(?i)day", "status": 429, "endpoint": "list", "recovers": "exhausted"},
                {"endpoint": "other", "verdict": "fatal"},
            ],
        },
        "2": {"verdict": "quota", "wait": {"until": "midnight", "tz": "Asia/Shanghai"}},
        "3": {"verdict": "retryable", "wait": {"backoff": "constant", "interval": 3}},
    },
    "families": {"4xx": {"verdict": "fatal", "title": "Four"}},
    "http": {"503": {"verdict": "retryable"}, "5xx": {"verdict": "fatal"}},
    "exceptions": {"test.Error": {"verdict": "retryable", "certainty": "not_executed"}},
    "unknown": {"verdict": "retryable", "max_attempts": 2},
}  # fmt: skip
EXPO = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
"""A rule that says nothing about its wait: doubling, at most half a minute."""
ONE = {
    "scope": "talk", "max_attempts": 3, "certainty": Certainty.MAYBE_EXECUTED, "probe_every": 20.0,
    "escalate": Escalation(rejections=4, within=90.0), "duplicate": True, "title": "One",
    "remedy": "Do one.", "docs": "https://docs.test/1", "edition": "second",
}  # fmt: skip


@pytest.fixture
def table():
    """Compiled inside the test."""
    return Policy.from_dict(WHOLE).table


def test_the_table_itself(table):
    """Names, hosts and groups."""
    assert (table.name, table.docs) == ("whole", "https://docs.test")
    assert table.hosts == ("api.test", "api.test:8080")
    assert table.groups == {"talk": frozenset({"chat", "list"})}
    assert re.fullmatch("whole@[0-9a-f]{12}", table.version)


def test_envelopes(table):
    """Pointers, success codes and flags; a flag that says no value means true."""
    assert table.envelopes == (
        Envelope(
            required=("/code", "/msg"), code="/code", message="/msg", retry_after="/wait",
            success=frozenset({"0", "ok"}),
            failed_when=(("/success", False, "flag"), ("/failed", True, None)),
        ),
    )  # fmt: skip


def test_endpoints(table):
    """What is stated, and what goes without saying."""
    assert table.endpoints == {
        "list": Endpoint(
            name="list", match=("POST */list", "* */all"), functions=("list_all",),
            repeat=Repeat.SAFE, duplicate_is_done=True, limit=(5.0, 2.5),
            docs="https://docs.test/list",
        ),
        "chat": Endpoint(
            name="chat", match=(), functions=(), repeat=None, duplicate_is_done=False, limit=None,
            docs="",
        ),
    }  # fmt: skip


def test_a_code_and_its_alias(table):
    """Every field of a rule."""
    assert table.codes["1"].rule == Rule(
        key="codes.1", verdict=Verdict.QUOTA, recovers=Recovers.COOLDOWN,
        wait=Wait(schedule=(60.0,), low=0.0, until=None), **ONE,
    )  # fmt: skip
    assert table.codes["01"] is table.codes["1"]
    assert sorted(table.codes) == ["01", "1", "2", "3"]


def test_conditions_of_a_code(table):
    """The first inherits all, the second only what is not behaviour."""
    first, second = table.codes["1"].when
    assert (first.message.pattern, first.status, first.endpoint) == ("(?i)day", 429, "list")
    assert first.rule == Rule(
        key="codes.1.when[0]", verdict=Verdict.QUOTA, recovers=Recovers.EXHAUSTED,
        wait=Wait(schedule=(60.0,), low=0.0, until=None), **ONE,
    )  # fmt: skip
    assert (second.message, second.status, second.endpoint) == (None, None, "other")
    rule = second.rule
    assert (rule.key, rule.verdict, rule.recovers) == ("codes.1.when[1]", Verdict.FATAL, None)
    assert (rule.scope, rule.max_attempts, rule.escalate) == ("request", None, None)
    assert (rule.certainty, rule.probe_every, rule.duplicate) == (
        Certainty.NOT_EXECUTED,
        20.0,
        True,
    )
    assert (rule.wait.schedule[:7], rule.wait.low) == (EXPO, 0.0)
    assert (rule.title, rule.remedy, rule.docs, rule.edition) == (
        "One", "Do one.", "https://docs.test/1", "second",
    )  # fmt: skip


def test_waits(table):
    """A calendar's, a generator's, and the one of a rule that says nothing."""
    calendar, constant = table.codes["2"].rule.wait, table.codes["3"].rule.wait
    assert calendar == Wait(
        schedule=(1.0,), low=1.0, until=CalendarReset(time="00:00", tz="Asia/Shanghai")
    )
    assert (set(constant.schedule), constant.low, constant.until) == ({3.0}, 0.0, None)
    assert table.http["503"].wait.schedule[:7] == EXPO


def test_rules_elsewhere(table):
    """Each knows where it stands; the policy's page stands for those without one."""
    rules = {
        rule.key: (rule.verdict.value, rule.certainty.value, rule.title, rule.docs, rule.max_attempts)
        for rule in (
            *table.families.values(), *table.http.values(), *table.http_families.values(),
            *table.exceptions.values(), table.unknown,
        )
    }  # fmt: skip
    page = "https://docs.test"
    assert rules == {
        "families.4xx": ("fatal", "not_executed", "Four", page, None),
        "http.503": ("retryable", "maybe_executed", "", page, None),
        "http.5xx": ("fatal", "not_executed", "", page, None),
        "exceptions.test.Error": ("retryable", "not_executed", "", page, None),
        "unknown": (
            "retryable", "maybe_executed", "Nothing in the policy speaks about this", page, 2,
        ),
    }  # fmt: skip
    assert (list(table.http), list(table.http_families)) == (["503"], ["5xx"])
    assert list(table.families) == ["4xx"]


def test_a_policy_that_says_nothing():
    """Its name is all that it needs."""
    table = Policy.from_dict({"name": "empty"}).table
    assert (table.docs, table.hosts, table.groups, table.envelopes) == ("", (), {}, ())
    assert (table.endpoints, table.codes, table.families) == ({}, {}, {})
    assert (table.http, table.http_families, table.exceptions) == ({}, {}, {})
    assert table.unknown == Rule(
        key="unknown", verdict=Verdict.FATAL, title="Nothing in the policy speaks about this",
        wait=table.unknown.wait, certainty=Certainty.MAYBE_EXECUTED,
    )  # fmt: skip
    assert (table.unknown.wait.schedule[:7], table.unknown.wait.low) == (EXPO, 0.0)
