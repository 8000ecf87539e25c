"""Errors: the tree that is drawn is the tree that is, and each travels and explains itself."""

import builtins
import copy
import inspect
import pickle
import re
from datetime import UTC, datetime

import pytest

from resilience import (
    AlreadyDone,
    CircuitOpen,
    DeadlineExceeded,
    FatalError,
    Outcome,
    Policy,
    PolicyError,
    QuotaError,
    Report,
    ResilienceError,
    RetriesExhausted,
    errors,
    report,
)

CLASSES = [
    ResilienceError,
    FatalError,
    AlreadyDone,
    QuotaError,
    RetriesExhausted,
    CircuitOpen,
    DeadlineExceeded,
]
RULE = Policy.load("memories_ai").codes["0402"]


def make(kind: type[ResilienceError], **changes) -> ResilienceError:
    """An error with everything set, and a body that no pickle takes."""
    outcome = Outcome(
        body=lambda: None, status=200, headers={"Retry-After": "5"}, exception=OSError("x"),
        is_json=True, method="POST",
    )  # fmt: skip
    fields = {
        "code": "0402", "rule": RULE, "reason": "exhausted", "attempts": 2, "elapsed": 1.25,
        "outcome": outcome, "resume_at": datetime(2026, 11, 22, 16, 0, tzinfo=UTC), "retry_after": 600.0,
        "endpoint": "chat", "policy": "memories_ai@1",
    }  # fmt: skip
    return kind("Not enough points left", **{**fields, **changes})


@pytest.mark.parametrize("kind", CLASSES)
def test_repr_has_the_code_and_the_provider_s_words(kind):
    """It is what logs of other people and a list of errors show."""
    shown = f"{kind.__name__}(code='0402', message='Not enough points left')"
    assert [repr(make(kind)), str([make(kind)])] == [shown, f"[{shown}]"]
    assert repr(kind()) == f"{kind.__name__}(code=None, message='')"


def test_drawn_tree_is_the_real_one():
    """Every line of the drawing in the docstring is a class with the parent above it."""
    drawn: list[str] = []
    above: list[str] = []
    for branch, name in re.findall(
        r"^ {4}([ │]*(?:[├└]── )?)([A-Z]\w+)", inspect.getdoc(errors), re.MULTILINE
    ):
        depth = len(branch) // 4
        cls = getattr(errors, name, None) or getattr(builtins, name)
        if depth:
            drawn.append(name)
            assert above[depth - 1] == cls.__bases__[0].__name__, name
        above[depth:] = [name]

    assert {cls.__name__ for cls in (*CLASSES, PolicyError)} == set(drawn)
    assert sorted(errors.__all__) == sorted(drawn)


def test_nothing_hides_from_the_base():
    """``except ResilienceError`` catches whatever a call can end with; a policy's mistake is a ValueError."""
    assert all(issubclass(cls, ResilienceError) for cls in CLASSES)
    assert not issubclass(PolicyError, ResilienceError)
    assert issubclass(PolicyError, ValueError)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_round_trip(kind, protocol):
    """All fields survive; of the outcome what is plain, though its body can't be pickled."""
    before = make(kind)
    after = pickle.loads(pickle.dumps(before, protocol))

    assert kind is type(after)
    assert str(before) == str(after)
    for name in ("message", "code", "rule", "reason", "attempts", "elapsed", "resume_at", "retry_after", "endpoint",
                 "policy", "title", "remedy", "args"):  # fmt: skip
        assert getattr(before, name) == getattr(after, name), name
    assert (
        Outcome(status=200, headers={"Retry-After": "5"}, is_json=True, method="POST")
        == after.outcome
    )
    assert before.outcome.body is not None  # and the original keeps it


@pytest.mark.parametrize("kind", CLASSES)
def test_bare_error_pickles_and_prints(kind):
    """Without any field."""
    after = pickle.loads(pickle.dumps(kind()))

    assert kind is type(after)
    assert (
        after.code,
        after.rule,
        after.outcome,
        after.attempts,
        after.remedy,
    ) == (None, None, None, 0, "")
    assert str(after).startswith(kind.__name__)


def test_error_with_its_report_pickles():
    """The report of a call holds its error, and the error its report."""
    before = make(QuotaError)
    before.__dict__["_resilience_report"] = Report(
        classification=None, attempts=2, elapsed=1.0, resume_at=None, endpoint="chat", error=before
    )
    after = pickle.loads(pickle.dumps(before))

    assert report(after).error is after


def test_copy_is_another_error():
    """``copy.copy`` works by the same way."""
    before = make(QuotaError)

    assert str(before) == str(copy.copy(before))


def test_text_has_all_that_a_person_asks():
    """Code, title, the provider's words, attempts, reason, remedy and when it resumes."""
    text = str(make(QuotaError))

    for part in ("0402", RULE.title, "Not enough points left", "2 attempts", "exhausted", "chat", "1.2 s",
                 RULE.remedy, "2026-11-22T16:00:00+00:00"):  # fmt: skip
        assert part in text


def test_text_leaves_out_what_is_not_known():
    """No empty remedy, no ``None``."""
    text = str(FatalError("boom", code="77", attempts=1))

    assert text == '77: "boom" [other, 1 attempt, 0.0 s]'


def test_text_does_not_say_it_twice():
    """A message that is the title stands there once."""
    text = str(make(QuotaError, rule=RULE).__class__(RULE.title, code="0402", rule=RULE))

    assert text.count(RULE.title) == 1


def test_text_has_no_headers_and_no_body():
    """Whatever the outcome holds stays out of logs."""
    error = make(
        QuotaError,
        outcome=Outcome(body={"code": "0402", "key": "sk-secret"}, headers={"X-Key": "sk-secret"}),
    )

    assert "sk-secret" not in str(error)


def test_title_and_remedy_come_from_the_rule():
    """Without a rule they are empty."""
    assert (RULE.title, RULE.remedy) == (make(QuotaError).title, make(QuotaError).remedy)
    assert (QuotaError().title, QuotaError().remedy) == ("", "")
