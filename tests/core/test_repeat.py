"""May it be repeated, and whose duplicate is it: the two truth tables."""

from itertools import product

import pytest

from resilience import Certainty, Classification, Rule, Verdict
from resilience._core.policy.model import Endpoint, Repeat
from resilience._core.policy.repeat import is_our_duplicate, may_repeat

NOT, MAYBE, DONE = Certainty.NOT_EXECUTED, Certainty.MAYBE_EXECUTED, Certainty.EXECUTED


@pytest.mark.parametrize(
    ("idempotent", "repeat", "method", "earlier"),
    list(product([None, True, False], [None, *Repeat], [None, "GET", "POST"], [0, 1])),
)
def test_what_was_not_executed_may_always_be_repeated(idempotent, repeat, method, earlier):
    """Whatever anybody says: nothing happened."""
    endpoint = Endpoint(name="e", repeat=repeat)

    assert may_repeat(
        NOT, idempotent=idempotent, endpoint=endpoint, method=method, earlier_maybe=earlier
    )


TABLE = [
    # caller, endpoint, method, maybes before -> allowed
    (True, None, None, 5, True),
    (True, Repeat.NEVER, "POST", 5, True),
    (False, Repeat.SAFE, "GET", 0, False),
    (False, None, "GET", 0, False),
    (None, Repeat.SAFE, "POST", 0, True),
    (None, Repeat.SAFE, "POST", 9, True),
    (None, Repeat.ONCE, "POST", 0, True),
    (None, Repeat.ONCE, "POST", 1, False),
    (None, Repeat.ONCE, "GET", 1, False),
    (None, Repeat.NEVER, "POST", 0, False),
    (None, Repeat.NEVER, "GET", 0, False),
    (None, None, "GET", 0, True),
    (None, None, "GET", 3, True),
    (None, None, "HEAD", 0, True),
    (None, None, "OPTIONS", 0, True),
    (None, None, "POST", 0, False),
    (None, None, "PUT", 0, False),
    (None, None, "DELETE", 0, False),
    (None, None, None, 0, False),
]


@pytest.mark.parametrize(("idempotent", "repeat", "method", "earlier", "allowed"), TABLE)
@pytest.mark.parametrize("certainty", [MAYBE, DONE])
def test_what_may_have_been_executed(certainty, idempotent, repeat, method, earlier, allowed):
    """The caller's word, else the endpoint's, else the method's; nothing known: no."""
    endpoint = Endpoint(name="e", repeat=repeat) if repeat else None

    assert allowed == may_repeat(
        certainty, idempotent=idempotent, endpoint=endpoint, method=method, earlier_maybe=earlier
    )


def test_described_endpoint_without_a_word_leaves_it_to_the_method():
    """Being listed is not a statement about repeating."""
    endpoint = Endpoint(name="e")
    said = {"idempotent": None, "endpoint": endpoint, "earlier_maybe": 0}

    assert may_repeat(MAYBE, method="GET", **said)
    assert not may_repeat(MAYBE, method="POST", **said)


@pytest.mark.parametrize(
    ("duplicate", "earlier", "done", "known"),
    list(product([True, False], [0, 1], [True, False], [True, False])),
)
def test_our_duplicate_needs_three_things(duplicate, earlier, done, known):
    """A duplicate code, an own attempt that may have worked, and an endpoint where that means done."""
    rule = Rule(key="codes.0409", verdict=Verdict.FATAL, duplicate=duplicate)
    found = Classification(
        verdict=rule.verdict, code="0409", message="", rule=rule, matched_by=rule.key
    )
    endpoint = Endpoint(name="delete", duplicate_is_done=done) if known else None

    expected = duplicate and earlier > 0 and known and done
    assert expected == is_our_duplicate(found, endpoint=endpoint, earlier_maybe=earlier)
