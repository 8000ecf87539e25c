"""Rules as JSON, and in words.

The JSON keys are a promise to scripts; the words are free to become better.
"""

import textwrap
from collections.abc import Mapping
from typing import Any

from resilience._core.policy.model import (
    REQUEST,
    Certainty,
    Classification,
    Recovers,
    Rule,
    Verdict,
)
from resilience._core.policy.table import When
from resilience.policies import Policy

DEFAULT_ATTEMPTS = 4
SHOWN = 4
"""Delays of a schedule that are spelled out."""
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
_JITTER = {0.0: "full", 0.5: "equal", 1.0: "none"}
_DONE = {
    Certainty.NOT_EXECUTED: "the server did not do the work, so repeating can't do it twice",
    Certainty.MAYBE_EXECUTED: "the work may have been done: repeated only where that is safe",
    Certainty.EXECUTED: "the work was done",
}
_DOES: dict[str, str] = {
    "success": "The guard hands the answer to the caller.",
    "retryable": "The guard waits a little and tries again; if it keeps failing, the caller gets "
    "RetriesExhausted.",
    "fatal": "The guard does not try again: the caller gets {} at once.",
    "latched": "The guard does not try again: the caller gets {} at once, and everybody else "
    "behind the same door is refused without a request being sent, until a probe succeeds.",
    "window": "The guard holds everybody in front of the same door, lets one call through to see, "
    "and then all.",
    "alone": "The guard waits and tries again, as long as max_wait and the deadline allow it.",
    "cooldown": "The guard waits out the lock if max_wait allows it; if not, the caller gets "
    "QuotaError with resume_at at once.",
    "exhausted": "The guard does not try again: the caller gets QuotaError at once, and so does "
    "everybody else behind the same door without a request being sent, until a probe succeeds.",
    "capacity": "The guard does not try again, because waiting frees nothing: the caller gets "
    "QuotaError at once.",
}


# -- for scripts ----------------------------------------------------------------------------------


def explained(policy: Policy, found: Classification) -> dict[str, Any]:
    """``resilience explain --output json``: these keys, always."""
    return {
        "code": found.code,
        "verdict": found.verdict.value,
        "recovers": found.recovers.value if found.recovers else None,
        "scope": found.scope,
        "wait": wait_value(found.rule),
        "max_attempts": found.rule.max_attempts,
        "certainty": found.certainty.value,
        "title": found.title,
        "remedy": found.remedy,
        "matched_by": found.matched_by,
        "when": [condition(when, found) for when in conditions(policy, found)],
        "policy": policy.version,
    }


def listed(policy: Policy) -> list[dict[str, Any]]:
    """``resilience codes --output json``: one object per code, aliases right after their code."""
    rows = [_row(code, rule) for code, rule in rules(policy).items()]
    order = {row["code"]: n for n, row in enumerate(rows)}
    return sorted(rows, key=lambda row: (order[row["alias_of"] or row["code"]], order[row["code"]]))


def rules(policy: Policy) -> Mapping[str, Rule]:
    """The codes of a policy; for one without codes of its own, the HTTP statuses."""
    return policy.codes or {**policy.table.http, **policy.table.http_families}


def _row(code: str, rule: Rule) -> dict[str, Any]:
    own = rule.key.split(".", 1)[-1]
    return {
        "code": code,
        "alias_of": None if own == code else own,
        "verdict": rule.verdict.value,
        "recovers": recovers(rule),
        "scope": rule.scope,
        "wait": wait_value(rule),
        "max_attempts": rule.max_attempts,
        "certainty": rule.certainty.value,
        "title": rule.title,
        "remedy": rule.remedy,
        "docs": rule.docs,
        "edition": rule.edition,
    }


def recovers(rule: Rule) -> str | None:
    """How a quota comes back; None for anything else."""
    if rule.verdict is not Verdict.QUOTA:
        return None
    return (rule.recovers or Recovers.WINDOW).value


def wait_value(rule: Rule) -> float | dict[str, Any] | None:
    """Seconds, a schedule, a calendar, how often to look again; None where nothing waits."""
    if rule.wait.until is not None and rule.verdict is Verdict.QUOTA:
        calendar = {"until": rule.wait.until.time, "tz": rule.wait.until.tz}
        return {**calendar, "probe_every": rule.probe_every}
    if shuts(rule):
        return {"probe_every": rule.probe_every}
    if not waits(rule):
        return None
    steps = schedule(rule)
    if len(steps) == 1 and rule.wait.low == 1.0:
        return steps[0]
    return {"schedule": steps, "jitter": _JITTER.get(rule.wait.low, rule.wait.low)}


def schedule(rule: Rule) -> list[float]:
    """The delays, without the repetitions of the last one."""
    steps = list(rule.wait.schedule)
    while len(steps) > 1 and steps[-1] == steps[-2]:
        steps.pop()
    return steps


def waits(rule: Rule) -> bool:
    """Whether a call that met this rule goes on after a while."""
    if rule.verdict is Verdict.QUOTA:
        return rule.recovers not in (Recovers.CAPACITY, Recovers.EXHAUSTED)
    return rule.verdict is Verdict.RETRYABLE


def shuts(rule: Rule) -> bool:
    """Whether it latches a door: only a probe now and then goes through."""
    exhausted = rule.verdict is Verdict.QUOTA and rule.recovers is Recovers.EXHAUSTED
    return exhausted or (rule.verdict is Verdict.FATAL and rule.scope != REQUEST)


def conditions(policy: Policy, found: Classification) -> tuple[When, ...]:
    """The ``when`` list of the code, if it has one."""
    entry = policy.table.codes.get(found.code or "")
    return entry.when if entry else ()


def condition(when: When, found: Classification) -> dict[str, Any]:
    """One condition: what is asked, and what the code means then."""
    asked: Mapping[str, Any] = {
        "message": when.message.pattern if when.message else None,
        "status": when.status,
        "endpoint": when.endpoint,
    }
    rule = when.rule
    return {
        **{key: value for key, value in asked.items() if value is not None},
        "verdict": rule.verdict.value,
        "recovers": recovers(rule),
        "scope": rule.scope,
        "wait": wait_value(rule),
        "max_attempts": rule.max_attempts,
        "certainty": rule.certainty.value,
        "title": rule.title,
        "remedy": rule.remedy,
        "holds": found.matched_by == rule.key,
    }


# -- for people -----------------------------------------------------------------------------------


def headline(found: Classification) -> tuple[str, str]:
    """The verdict, and what it is about."""
    kind = f" ({found.recovers.value})" if found.recovers else ""
    about = " ".join(part for part in (found.code, found.title) if part)
    return f"{found.verdict.value.upper()}{kind}", about


def paragraphs(policy: Policy, found: Classification) -> list[tuple[str, str]]:
    """Label and text, in the order in which a person asks."""
    rule = found.rule
    rows = [
        ("", does(rule)),
        ("how long", how_long(rule)),
        ("who waits", who_waits(policy, rule)),
        ("attempts", attempts(rule)),
        ("work", _DONE[found.certainty] if found.verdict is not Verdict.SUCCESS else ""),
        ("what to do", rule.remedy),
        ("docs", f"{rule.docs}{f'  [{rule.edition}]' if rule.edition else ''}"),
        ("matched by", f"{found.matched_by} in {policy.version}"),
    ]
    rows += [("unless", _unless(when, found)) for when in conditions(policy, found)]
    return [(label, text) for label, text in rows if text]


def _unless(when: When, found: Classification) -> str:
    asked = []
    if when.message:
        asked.append(f"the message matches {when.message.pattern!r}")
    if when.status:
        asked.append(f"the HTTP status is {when.status}")
    if when.endpoint:
        asked.append(f"the endpoint is {when.endpoint!r}")
    rule = when.rule
    kind = f" ({recovers(rule)})" if recovers(rule) else ""
    extra = ", a duplicate" if rule.duplicate else ""
    mark = "  <- this one" if found.matched_by == rule.key else ""
    return f"{' and '.join(asked)}: {rule.verdict.value}{kind}{extra}, {rule.key}{mark}"


def does(rule: Rule) -> str:
    """What the guard will do about it, in one sentence."""
    if rule.verdict is Verdict.FATAL:
        error = "AlreadyDone" if rule.duplicate else "FatalError"
        return _DOES["latched" if shuts(rule) else "fatal"].format(error)
    if rule.verdict is not Verdict.QUOTA:
        return _DOES[rule.verdict]
    kind = rule.recovers or Recovers.WINDOW
    return _DOES["alone" if kind is Recovers.WINDOW and rule.scope == REQUEST else kind]


def how_long(rule: Rule) -> str:
    """The wait in words."""
    if rule.wait.until is not None and rule.verdict is Verdict.QUOTA:
        look = f"; looks every {span(rule.probe_every)}" if shuts(rule) else ""
        return f"until the next {rule.wait.until.time} in {rule.wait.until.tz}{look}"
    if shuts(rule):
        return f"until a probe succeeds: one call per {span(rule.probe_every)} is let through"
    if not waits(rule):
        return ""
    steps = [span(step) for step in schedule(rule)]
    if len(steps) > SHOWN:
        text = f"{', '.join(steps[:SHOWN])} … up to {steps[-1]}"
    else:
        text = ", then ".join(part for part in (", ".join(steps[:-1]), steps[-1]) if part)
    spread = {0.0: ", each times a random number below 1", 0.5: ", spread over the upper half"}
    text += spread.get(rule.wait.low, "") + "; longer if the server says so"
    if rule.escalate is not None:
        text += f"; exhausted after {rule.escalate.rejections} rejections in a row"
        if rule.escalate.within != float("inf"):
            text += f" or {span(rule.escalate.within)}"
    return text


def who_waits(policy: Policy, rule: Rule) -> str:
    """Who else is concerned."""
    if rule.verdict in (Verdict.SUCCESS, Verdict.RETRYABLE):
        return ""
    match rule.scope:
        case "request":
            return "nobody else: it is about this request alone"
        case "endpoint":
            return "every call of the same endpoint"
        case "account":
            return "every call of the account"
    members = ", ".join(sorted(policy.table.groups.get(rule.scope, ())))
    return f"every call of the group {rule.scope!r} ({members})"


def attempts(rule: Rule) -> str:
    """What it costs."""
    if rule.verdict is Verdict.QUOTA and waits(rule):
        return "waiting for a quota costs none"
    if rule.verdict is Verdict.RETRYABLE:
        if rule.max_attempts is None:
            return f"as many as the caller allows ({DEFAULT_ATTEMPTS} by default)"
        return f"at most {rule.max_attempts}, the first included"
    return ""


def span(seconds: float) -> str:
    """``10 min``, ``1 h``, ``0.4 s``."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit or seconds == unit:
            return f"{seconds / unit:.4g} {name}"
    return f"{seconds:.4g} s"


def short_wait(rule: Rule) -> str:
    """The wait in a table's cell."""
    if rule.wait.until is not None and rule.verdict is Verdict.QUOTA:
        return f"until {rule.wait.until.time} {rule.wait.until.tz}"
    if shuts(rule):
        return f"probe/{span(rule.probe_every)}"
    if not waits(rule):
        return "-"
    steps = schedule(rule)
    if len(steps) == 1:
        return span(steps[0])
    return f"{span(steps[0])}..{span(steps[-1])}"


def filled(label: str, text: str, *, width: int, margin: int) -> str:
    """A labelled paragraph with a hanging indent."""
    start = f"  {label:<{margin - 2}}" if label else "  "
    below = " " * margin if label else "  "
    return textwrap.fill(
        text, width=width, initial_indent=start, subsequent_indent=below,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
