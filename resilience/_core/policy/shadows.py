"""Checks of ``lint``: rules that nothing ever reaches, and two that say different things of one."""

import builtins
import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from itertools import combinations
from typing import Any

from resilience._core.policy.model import Rule, Verdict
from resilience._core.policy.section import Path, dotted
from resilience._core.policy.subject import Complaint, Subject, error, warning
from resilience._core.policy.table import Envelope, When

SHADOWED = "shadowed"
CONTRADICTION = "contradiction"
ALWAYS = frozenset(("", "^", "$", ".*", ".*?", "^.*", "^.*?", ".*$"))
"""Patterns that are found in every message."""
OTHER_NAMES = {
    "asyncio.TimeoutError": "TimeoutError",
    "concurrent.futures.TimeoutError": "TimeoutError",
    "socket.timeout": "TimeoutError",
    "socket.error": "OSError",
    "select.error": "OSError",
}
"""Since Python 3.11 these are names of another class, and rules go by its own."""
FRESH = "\x00"
"""Stands for whatever a ``*`` may be: no pattern has it, so that only another ``*`` matches it."""
NEVER_ASKED = ("1", "2", "3")
"""Classes of statuses that are left to what the body says."""


# -- conditions -----------------------------------------------------------------------------------


def hidden_whens(subject: Subject) -> Iterator[Complaint]:
    """A condition that can't hold where no earlier one does; a rule that always has a condition."""
    before: dict[Path, list[tuple[Path, When]]] = {}
    for at, when in subject.whens():
        code = at[:2]
        if subject.table.codes[str(code[1])].rule.verdict is Verdict.SUCCESS:
            yield error(
                at, SHADOWED, f"{dotted(code)} is a success, and of a success no condition is asked",
                "Remove the condition, or give the code another verdict",
            )  # fmt: skip
            continue
        earlier = before.setdefault(code, [])
        hiding = next((one for one in earlier if _implies(when, one[1])), None)
        if hiding is not None:
            yield _hidden_when(subject, at, when, *hiding)
        elif when.status is None and when.endpoint is None and _finds_all(when.message, None):
            yield error(
                at, SHADOWED, f"It holds for every answer, so the rule of {dotted(code)} never applies",
                "Narrow the condition, or make it the rule of the code",
            )  # fmt: skip
        earlier.append((at, when))


def _hidden_when(subject: Subject, at: Path, when: When, other: Path, hiding: When) -> Complaint:
    where = f"{dotted(other)} ({subject.place(other)})"
    if _implies(hiding, when) and _differ(when.rule, hiding.rule):
        return error(
            at, CONTRADICTION, f"It asks the same as {where} and says something else",
            "Keep the one that is right",
        )  # fmt: skip
    return error(
        at, SHADOWED, f"It never applies: whenever it holds, so does {where}, which comes first",
        "Put the narrower condition first, or remove this one",
    )  # fmt: skip


def _implies(narrow: When, wide: When) -> bool:
    """Whether ``wide`` holds whenever ``narrow`` does (False also if that can't be told)."""
    return (
        (wide.status is None or wide.status == narrow.status)
        and (wide.endpoint is None or wide.endpoint == narrow.endpoint)
        and _finds_all(wide.message, narrow.message)
    )


def _finds_all(wide: re.Pattern[str] | None, narrow: re.Pattern[str] | None) -> bool:
    if wide is None or _plain(wide) in ALWAYS:
        return True
    if narrow is None:
        return False
    if (wide.pattern, wide.flags) == (narrow.pattern, narrow.flags):
        return True
    wide_words, narrow_words = _words(wide), _words(narrow)
    if not wide_words or not narrow_words:
        return False
    if wide.flags & re.IGNORECASE:
        wide_words = [word.lower() for word in wide_words]
        narrow_words = [word.lower() for word in narrow_words]
    elif narrow.flags & re.IGNORECASE:
        return False
    return all(any(wide in narrow for wide in wide_words) for narrow in narrow_words)


def _plain(pattern: re.Pattern[str]) -> str:
    """Without the flags in front: ``(?i)busy`` is ``busy``."""
    return re.sub(r"^\(\?[a-z]+\)", "", pattern.pattern)


def _words(pattern: re.Pattern[str]) -> list[str]:
    """The words of a pattern such as ``network|timed out``; none if it is anything more."""
    if pattern.flags & re.VERBOSE:
        return []  # its spaces are none
    plain = _plain(pattern)
    return plain.split("|") if re.fullmatch(r"[\w ,'-]+(\|[\w ,'-]+)*", plain) else []


def _differ(one: Rule, other: Rule) -> bool:
    """Whether two rules do different things, whatever they are called."""
    return _behaviour(one) != _behaviour(other)


def _behaviour(rule: Rule) -> tuple[Any, ...]:
    return (
        rule.verdict, rule.recovers, rule.scope, rule.wait, rule.max_attempts, rule.certainty,
        rule.escalate, rule.duplicate,
    )  # fmt: skip


# -- endpoints ------------------------------------------------------------------------------------


def hidden_endpoints(subject: Subject) -> Iterator[Complaint]:
    """A pattern that an earlier one covers."""
    earlier: list[tuple[Path, str, str]] = []
    inherited: dict[Path, list[str]] = {}
    for at, name, pattern in _patterns(subject):
        hiding = next((one for one in earlier if _covers(one[2], pattern)), None)
        if hiding is None:
            earlier.append((at, name, pattern))
        elif hiding[1] == name:
            yield warning(
                at, SHADOWED, f"{hiding[2]!r} of the same endpoint matches all that {pattern!r} does",
                "Remove it",
            )  # fmt: skip
        elif subject.positions.where(at)[0] is not subject.positions.where(hiding[0])[0]:
            inherited.setdefault(hiding[0], []).append(f"{pattern!r} of {name!r}")
        else:
            yield error(
                at, SHADOWED,
                f"{pattern!r} never matches: {hiding[2]!r} of endpoint {hiding[1]!r} "
                f"({subject.place(hiding[0])}) comes first and matches all that it does",
                "Put the endpoint with the narrower path first",
            )  # fmt: skip
    for at, patterns in inherited.items():
        yield warning(
            at, SHADOWED, f"It comes before what the file extends, and hides {', '.join(patterns)}",
            "Narrow the pattern, unless these calls are meant to be of another endpoint now",
        )  # fmt: skip


def _patterns(subject: Subject) -> Iterator[tuple[Path, str, str]]:
    for path, item in subject.endpoints():
        for number, pattern in enumerate(subject.table.endpoints[item["name"]].match):
            if subject.is_sound((*path, "match", number)):
                yield (*path, "match", number), item["name"], pattern


def _covers(wide: str, narrow: str) -> bool:
    """Whether a glob matches all that another does (False also if that can't be told)."""
    if wide == narrow:
        return True
    if any(mark in wide + narrow for mark in "?["):
        return False
    return re.match(translate(wide), narrow.replace("*", FRESH)) is not None


def hidden_functions(subject: Subject) -> Iterator[Complaint]:
    """A function's name that stands for another endpoint."""
    endpoints = subject.table.endpoints
    seen: dict[str, tuple[Path, str]] = {}
    for path, item in subject.endpoints():
        for number, function in enumerate(endpoints[item["name"]].functions):
            at, own = (*path, "functions", number), item["name"]
            if function in endpoints and function != own:
                yield error(
                    at, SHADOWED, f"{function!r} is the name of another endpoint, and that comes first",
                    "Remove it, or rename the endpoint",
                )  # fmt: skip
            elif function in seen and seen[function][1] != own:
                other, name = seen[function]
                yield error(
                    at, CONTRADICTION,
                    f"{function!r} is also a function of endpoint {name!r} ({subject.place(other)})",
                    "Keep the one that is right",
                )  # fmt: skip
            seen.setdefault(function, (at, own))


# -- envelopes ------------------------------------------------------------------------------------


def hidden_envelopes(subject: Subject) -> Iterator[Complaint]:
    """A dialect whose bodies are all taken for an earlier one's."""
    envelopes = list(_envelopes(subject))
    for number, (at, envelope) in enumerate(envelopes):
        for other, earlier in envelopes[:number]:
            if all(
                any(_within(mine, its) for mine in envelope.required) for its in earlier.required
            ):
                yield error(
                    at, SHADOWED,
                    f"No body gets here: all that has what it requires is taken by {dotted(other)} "
                    f"({subject.place(other)})",
                    "Put the envelope that requires more first",
                )  # fmt: skip
                break


def _envelopes(subject: Subject) -> Iterator[tuple[Path, Envelope]]:
    for number, envelope in enumerate(subject.table.envelopes):
        if subject.is_sound(("envelope", number)):
            yield ("envelope", number), envelope


def _within(inner: str, outer: str) -> bool:
    """What has ``/error/code`` has ``/error`` too."""
    return inner == outer or inner.startswith(f"{outer}/")


def double_flags(subject: Subject) -> Iterator[Complaint]:
    """One flag that stands for two codes."""
    for path, envelope in _envelopes(subject):
        seen: dict[tuple[str, type, Any], int] = {}
        for number, (pointer, value, code) in enumerate(envelope.failed_when):
            first = seen.setdefault((pointer, type(value), value), number)
            if first != number:
                same = envelope.failed_when[first][2] == code
                yield error(
                    (*path, "failed_when", number), SHADOWED if same else CONTRADICTION,
                    f"failed_when[{first}] asks the same and comes first",
                    "Keep the one that is right",
                )  # fmt: skip


def codes_called_success(subject: Subject) -> Iterator[Complaint]:
    """A code that an envelope of the same file calls a success, and ``codes`` something else."""
    for path, entry in subject.codes():
        for at, envelope in _envelopes(subject):
            document, line = subject.positions.where((*at, "success"))
            same_file = subject.positions.where(path)[0] is document
            if (
                entry.rule.verdict is not Verdict.SUCCESS
                and path[-1] in envelope.success
                and same_file
            ):
                yield warning(
                    path, CONTRADICTION,
                    f"{dotted(at)}.success (line {line}) lists it, but here it is "
                    f"{entry.rule.verdict.value}, which is what counts",
                    "Take it out of the list",
                )  # fmt: skip
                break


# -- families, statuses, exceptions ---------------------------------------------------------------


def hidden_families(subject: Subject) -> Iterator[Complaint]:
    """A family or status that nothing reaches, and two families that are equally right."""
    table = subject.table
    for family in table.families:
        if "x" not in family and family in table.codes:
            yield error(
                ("families", family), SHADOWED, f"codes.{family} speaks first, and it has no other code",
                "Remove it, or write an x for each digit that may be any",
            )  # fmt: skip
    for status in (*table.http, *table.http_families):
        if status[:1] in NEVER_ASKED:
            yield error(
                ("http", status), SHADOWED,
                "Statuses below 400 are never asked about: there the body speaks",
                "Remove it; give the code in the body a rule",
            )  # fmt: skip
    yield from _rivals(subject, "families", table.families)
    yield from _rivals(subject, "http", table.http_families)


def _rivals(subject: Subject, part: str, families: Mapping[str, Rule]) -> Iterator[Complaint]:
    for one, other in combinations(families, 2):
        overlap = len(one) == len(other) and all(
            a == b or ({a, b} <= {*"0123456789x"} and "x" in {a, b})
            for a, b in zip(one, other, strict=True)
        )
        if (
            overlap
            and one.count("x") == other.count("x")
            and _differ(families[one], families[other])
        ):
            yield warning(
                (part, other), CONTRADICTION,
                f"Some codes are of {one!r} ({subject.place((part, one))}) as well, which comes first "
                "and says something else",
                "List these codes one by one",
            )  # fmt: skip


def hidden_exceptions(subject: Subject) -> Iterator[Complaint]:
    """A name that no class has: rules go by the class's own name, not by what it is imported as."""
    for name in subject.table.exceptions:
        advice = ""
        if name in OTHER_NAMES:
            advice = f"Write {OTHER_NAMES[name]!r}, which it is another name of"
        elif name.startswith("builtins."):
            advice = f"Write {name.removeprefix('builtins.')!r}"
        elif "." not in name:
            cls = getattr(builtins, name, None)
            if not isinstance(cls, type):
                advice = "Write the package in front, as in 'aiohttp.ClientError'"
            elif cls.__qualname__ != name:
                advice = f"Write {cls.__qualname__!r}, which it is another name of"
        if advice:
            yield error(
                ("exceptions", name), SHADOWED, f"No exception's class is called {name!r}", advice
            )
