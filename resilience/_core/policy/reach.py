"""Checks of ``lint``: waits that no call waits out, retries that never happen, quotas nobody shares."""

from collections.abc import Iterator
from http import HTTPMethod

from resilience._core.policy.model import REQUEST, Certainty, Recovers, Repeat, Rule, Verdict
from resilience._core.policy.section import Path, suggestion
from resilience._core.policy.subject import Complaint, Subject, error, warning

TIMING = ("escalate", "max_attempts", "recovers", "verdict", "wait")
WAITS = "long-wait"
NEVER = "never-retried"
METHODS = [method.value for method in HTTPMethod]


def long_waits(subject: Subject) -> Iterator[Complaint]:
    """A wait longer than what a call may spend on it: it fails at once, waiting was never an option.

    A cool-down is not meant: it is as long as it is, and ``resume_at`` tells.
    """
    for path, rule in subject.rules():
        if set(TIMING).isdisjoint(subject.stated(path)):
            continue  # a condition that inherits its wait
        at = (*path, "wait")
        if rule.verdict is Verdict.RETRYABLE:
            yield from _long_backoff(subject, at, rule)
        elif rule.verdict is Verdict.QUOTA and rule.recovers in (None, Recovers.WINDOW):
            yield from _long_window(subject, at, rule)


def _long_window(subject: Subject, at: Path, rule: Rule) -> Iterator[Complaint]:
    allowed, name = _allowed(subject)
    first, longest = rule.wait.schedule[0], max(rule.wait.schedule)
    if rule.wait.until is None and first > allowed:
        yield error(
            at,
            WAITS,
            f"The wait of {first:g} s is longer than {name} ({allowed:g} s), so a call that "
            "meets it fails at once instead of waiting",
            f'Shorten it to {allowed:g} s, write recovers = "cooldown" if the time is known, or lint '
            "with the --max-wait that callers set",
        )  # fmt: skip
    elif rule.wait.until is None and longest > allowed:
        yield warning(
            at,
            WAITS,
            f"After some rejections in a row the wait grows to {longest:g} s, longer than {name} "
            f"({allowed:g} s): calls that meet it then fail at once instead of waiting",
            f"Let max_value be {allowed:g} s, or lint with the --max-wait that callers set",
        )  # fmt: skip


def _long_backoff(subject: Subject, at: Path, rule: Rule) -> Iterator[Complaint]:
    attempts = min(rule.max_attempts or subject.limits.attempts, subject.limits.attempts)
    steps = [rule.wait.schedule[min(n, len(rule.wait.schedule) - 1)] for n in range(attempts - 1)]
    deadline = subject.limits.deadline
    if deadline is not None and sum(steps) >= deadline:
        yield error(
            at,
            WAITS,
            f"The waits between {attempts} attempts add up to {sum(steps):g} s, which the deadline of "
            f"{deadline:g} s does not leave",
            "Shorten the waits or lower max_attempts",
        )


def _allowed(subject: Subject) -> tuple[float, str]:
    limits = subject.limits
    if limits.deadline is not None and limits.deadline < limits.max_wait:
        return limits.deadline, "the deadline"
    return limits.max_wait, "max_wait"


def slow_limits(subject: Subject) -> Iterator[Complaint]:
    """A rate so low that whoever comes second can't wait for its turn."""
    allowed, name = _allowed(subject)
    for path, item in subject.endpoints():
        endpoint = subject.table.endpoints[item["name"]]
        at = (*path, "limit")
        if endpoint.limit is None:
            continue
        calls, per = endpoint.limit
        if per / calls > allowed:
            yield error(
                at, WAITS,
                f"One call per {per / calls:g} s is slower than {name} ({allowed:g} s) lets the next "
                "one wait",
                "Correct the rate, or lint with the --max-wait that callers set",
            )  # fmt: skip


def early_escalations(subject: Subject) -> Iterator[Complaint]:
    """A window that counts as exhausted before anybody has waited for it once."""
    for path, rule in subject.rules():
        escalate, at = rule.escalate, (*path, "escalate")
        if escalate is None or "escalate" not in subject.stated(path):
            continue
        first = rule.wait.schedule[0]
        if rule.verdict is not Verdict.QUOTA or rule.recovers not in (None, Recovers.WINDOW):
            yield warning(
                at, "no-effect", "Only a quota that recovers by window escalates",
                "Leave escalate out",
            )  # fmt: skip
        elif escalate.within < first:
            yield error(
                at, WAITS,
                f"The window counts as exhausted within {escalate.within:g} s, which is shorter than "
                f"its first wait of {first:g} s",
                f"Let within be several times {first:g} s",
            )  # fmt: skip
        elif escalate.rejections == 1:
            yield warning(
                at, "no-effect", "The first rejection already counts as exhausted",
                'Write recovers = "exhausted", or let more rejections pass',
            )  # fmt: skip


def retries_that_never_happen(subject: Subject) -> Iterator[Complaint]:
    """Retryable, where no second attempt is ever made."""
    for path, rule in subject.rules():
        stated = not set(TIMING).isdisjoint(subject.stated(path))
        if stated and rule.verdict is Verdict.RETRYABLE and rule.max_attempts == 1:
            yield error(
                (*path, "max_attempts"), NEVER,
                "It is retryable with one attempt in all, the first included, so it is never retried",
                'Write max_attempts = 2 or more, or verdict = "fatal"',
            )  # fmt: skip
    for path, when in subject.whens():
        endpoint = subject.table.endpoints.get(when.endpoint or "")
        uncertain = when.rule.certainty is not Certainty.NOT_EXECUTED
        if (
            endpoint is not None
            and endpoint.repeat is Repeat.NEVER
            and when.rule.verdict is Verdict.RETRYABLE
            and uncertain
        ):
            yield error(
                path, NEVER,
                f"It is retryable after work that may have been done, but endpoint {endpoint.name!r} "
                'says repeat = "never", so it is never retried',
                'Write certainty = "not_executed" if the provider promises that nothing was done, '
                'else verdict = "fatal"',
            )  # fmt: skip


def unshared_quotas(subject: Subject) -> Iterator[Complaint]:
    """A quota that doesn't say whom it concerns: by default nobody waits together with its call."""
    for path, rule in subject.rules():
        stated = subject.stated(path)
        unsaid = "verdict" in stated and "scope" not in stated  # a condition may inherit both
        if unsaid and _may_be_wide(path) and rule.scope == REQUEST and _comes_back(rule):
            yield warning(
                (*path, "verdict"), "no-scope",
                "Without a scope, each call that meets it waits alone, and all others of the "
                "endpoint go on and meet it, too",
                'Write scope = "endpoint" or "account", or "request" if it is meant so',
            )  # fmt: skip


def _may_be_wide(path: Path) -> bool:
    """A family, a class of statuses and ``unknown`` may not speak for more than the request."""
    return path[0] in {"codes", "exceptions"} or (path[0] == "http" and "x" not in str(path[1]))


def _comes_back(rule: Rule) -> bool:
    return rule.verdict is Verdict.QUOTA and rule.recovers is not Recovers.CAPACITY


def unknown_methods(subject: Subject) -> Iterator[Complaint]:
    """A pattern with a method that no client sends."""
    for path, item in subject.endpoints():
        for number, pattern in enumerate(subject.table.endpoints[item["name"]].match):
            at, method = (*path, "match", number), pattern.partition(" ")[0]
            if subject.is_sound(at) and method not in ("*", *METHODS):
                near = suggestion(method, METHODS).strip(" ()")
                yield warning(
                    at, "unknown-method", f"{method} is no method of HTTP",
                    near[:1].upper() + near[1:] or f"Write one of {', '.join(METHODS)}, or *",
                )  # fmt: skip
