"""From the mapping of a policy file to a compiled :class:`Table`, checking everything on the way."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec

from resilience._core.policy import keys
from resilience._core.policy import section as read
from resilience._core.policy.extends import BEHAVIOUR
from resilience._core.policy.model import (
    ACCOUNT,
    ENDPOINT,
    REQUEST,
    CalendarReset,
    Certainty,
    Endpoint,
    Escalation,
    Recovers,
    Repeat,
    Rule,
    Verdict,
    Wait,
)
from resilience._core.policy.schedule import BadScheduleError, generators, unroll
from resilience._core.policy.section import Report, Section, refuse
from resilience._core.policy.table import OTHER, CodeRules, Envelope, Table, When

TOP_KEYS = keys.names(keys.TOP)
RULE_KEYS = keys.names(keys.RULE)
CONDITION_KEYS = keys.names(keys.CONDITION)
ENVELOPE_KEYS = keys.names(keys.ENVELOPE)
ENDPOINT_KEYS = keys.names(keys.ENDPOINT)

JITTER = {"full": 0.0, "equal": 0.5, "none": 1.0}
"""Lower end of the draw that scales a delay."""

_VERSION_DIGITS = 12
_NO_TEXTS: tuple[str, ...] = ()


def build(data: Mapping[str, Any], *, source: str, report: Report = refuse) -> Table:
    """Compile a policy.

    ``report`` gets what is wrong.  If it returns, the rest is compiled as if that key were not there,
    so that everything that is wrong can be told at once.

    Raises:
        PolicyError: naming the file, the key and the value (unless ``report`` does otherwise).
    """
    top = Section(data, source=source, report=report)
    top.only(TOP_KEYS)
    name = top.take("name", "", read.text)
    if not name:
        report(top.error("name", name, "the name of a policy"))
    top.take("extends", "", read.text)
    docs = top.take("docs", "", read.text)
    groups = _groups(top.table("groups"))
    endpoints = _endpoints(top.tables("endpoints"))
    scopes = (REQUEST, ENDPOINT, ACCOUNT, *groups)
    for group, members in groups.items():
        for member in members - set(endpoints):
            report(top.error(("groups", group), member, "the name of an endpoint",
                             read.suggestion(member, endpoints)))  # fmt: skip
    http = _rules(top.table("http"), docs, scopes, narrow=lambda key: "x" in key)
    for status in http:
        if not re.fullmatch("[1-5][0-9x]{2}", status):
            report(top.error(("http", status), status,
                             "a status such as '503', or a class such as '5xx'"))  # fmt: skip
    table = Table(
        name=name,
        docs=docs,
        hosts=top.take("hosts", _NO_TEXTS, read.texts),
        groups=groups,
        envelopes=tuple(_envelope(item) for item in top.tables("envelope")),
        endpoints=endpoints,
        codes=_codes(top.table("codes"), docs, scopes, endpoints),
        families=_by_precision(_rules(top.table("families"), docs, scopes, narrow=lambda _: True)),
        http={key: rule for key, rule in http.items() if "x" not in key},
        http_families=_by_precision({key: rule for key, rule in http.items() if "x" in key}),
        exceptions=_rules(top.table("exceptions"), docs, scopes),
        unknown=_unknown(top.table("unknown"), docs, scopes),
        version=f"{name}@{_digest(data)}",
    )
    top.done(TOP_KEYS)
    return table


def _digest(data: Mapping[str, Any]) -> str:
    plain = msgspec.json.encode(data, order="deterministic")
    return hashlib.sha256(plain).hexdigest()[:_VERSION_DIGITS]


def _groups(table: Section) -> dict[str, frozenset[str]]:
    groups = {name: frozenset(table.take(name, _NO_TEXTS, read.texts)) for name in table.keys()}  # noqa: SIM118
    for name in groups:
        if name in (REQUEST, ENDPOINT, ACCOUNT):
            table.report(table.error(name, name, "a free name: it is a scope of its own"))
    return groups


def _endpoints(items: Iterable[Section]) -> dict[str, Endpoint]:
    endpoints: dict[str, Endpoint] = {}
    for item in items:
        endpoint = _endpoint(item)
        if endpoint.name not in endpoints:
            endpoints[endpoint.name] = endpoint
        elif endpoint.name:
            item.report(item.error("name", endpoint.name, "free: another endpoint is called so",
                                   check="contradiction"))  # fmt: skip
    return endpoints


def _endpoint(item: Section) -> Endpoint:
    name = item.take("name", "", read.text)
    if not name:
        item.report(item.error("name", name, "the name of an endpoint"))
    match = item.take("match", _NO_TEXTS, read.texts)
    for number, pattern in enumerate(match):
        if not re.fullmatch(r"(\*|[A-Z]+) \S+", pattern):
            item.report(item.error(("match", number), pattern,
                                   "a method and a path, such as 'POST */list_videos'"))  # fmt: skip
    repeat = item.take("repeat", None, lambda s, k, v: Repeat(read.one_of(*Repeat)(s, k, v)))
    duplicate = item.take("duplicate", "error", read.one_of("done", "error"))
    limit = item.take("limit", None, _limit)
    functions = item.take("functions", _NO_TEXTS, read.texts)
    docs = item.take("docs", "", read.text)
    item.done(ENDPOINT_KEYS)
    return Endpoint(
        name=name, match=match, functions=functions, repeat=repeat,
        duplicate_is_done=duplicate == "done", limit=limit, docs=docs,
    )  # fmt: skip


def _limit(item: Section, key: str, value: Any) -> tuple[float, float]:
    table = item.inside(key, value)
    limit = table.take("calls", 1.0, read.positive), table.take("per", 1.0, read.positive)
    table.done(keys.names(keys.LIMIT))
    return limit


def _envelope(item: Section) -> Envelope:
    def flag(entry: Section) -> tuple[str, Any, str | None]:
        at = entry.take("at", "", read.pointer)
        value: Any = entry.take("matches", None, _pattern)
        if value is None:
            value = entry.take("equals", cast("Any", True), read.scalar)
        code = entry.take("code", None, read.text)
        entry.done(keys.names(keys.FAILED_WHEN))
        if not at:
            entry.report(entry.error("at", at, "a JSON pointer such as '/success'"))
        return at, value, code

    envelope = Envelope(
        required=item.take("required", _NO_TEXTS, _pointers),
        code=item.take("code", None, read.pointer),
        message=item.take("message", None, read.pointer),
        retry_after=item.take("retry_after", None, read.pointer),
        success=frozenset(item.take("success", _NO_TEXTS, read.texts)),
        failed_when=tuple(flag(entry) for entry in item.tables("failed_when")),
        as_status=_as_status(item.table("as_status")),
    )
    item.done(ENVELOPE_KEYS)
    return envelope


def _as_status(table: Section) -> dict[str, int]:
    stands: dict[str, int] = {}
    for status in table.keys():  # noqa: SIM118
        codes = table.take(status, _NO_TEXTS, read.texts)
        if not re.fullmatch("[1-5][0-9]{2}", status):
            raise table.error(status, codes, "an HTTP status such as 429, as the key")
        stands.update(dict.fromkeys(codes, int(status)))
    return stands


def _pointers(item: Section, key: str, value: Any) -> tuple[str, ...]:
    return tuple(read.pointer(item, key, one) for one in read.texts(item, key, value))


def _codes(
    table: Section, docs: str, scopes: tuple[str, ...], endpoints: Mapping[str, Endpoint]
) -> dict[str, CodeRules]:
    codes: dict[str, CodeRules] = {}
    aliases: dict[str, tuple[str, int]] = {}
    for code in table.keys():  # noqa: SIM118
        item = table.table(code)
        others = item.take("aliases", _NO_TEXTS, read.texts)
        conditions = list(item.tables("when"))
        fields = _fields(item, scopes)
        item.done(RULE_KEYS)
        rule = _rule(item, fields, docs)
        codes[code] = CodeRules(
            rule=rule,
            when=tuple(_when(one, fields, docs, scopes, endpoints) for one in conditions),
        )
        for number, other in enumerate(others):
            if other in aliases:
                item.report(item.error(("aliases", number), other,
                                       f"free: codes.{aliases[other][0]} has it too",
                                       check="contradiction"))  # fmt: skip
            aliases.setdefault(other, (code, number))
    for other, (code, number) in aliases.items():
        if other in codes:
            table.report(table.error((code, "aliases", number), other,
                                     f"free: codes.{other} is listed itself",
                                     check="contradiction"))  # fmt: skip
    return {other: codes[code] for other, (code, _) in aliases.items()} | codes


def _when(
    item: Section,
    base: Mapping[str, Any],
    docs: str,
    scopes: tuple[str, ...],
    endpoints: Mapping[str, Endpoint],
) -> When:
    asks = not set(CONDITION_KEYS).isdisjoint(item.keys())
    message = item.take("message", None, _pattern)
    status = item.take("status", None, read.count)
    endpoint = item.take("endpoint", None, read.text)
    if endpoint is not None and endpoint not in (*endpoints, OTHER):
        item.report(item.error("endpoint", endpoint, "the name of an endpoint",
                               read.suggestion(endpoint, endpoints)))  # fmt: skip
    fields = _fields(item, scopes)
    item.done({*RULE_KEYS, *CONDITION_KEYS} - {"aliases", "when"})
    if not asks:
        item.report(item.error("", "no condition", "reachable: give message, status or endpoint"))
    kept = dict(base)
    if "verdict" in fields and fields["verdict"] != base.get("verdict"):
        # another kind of answer: how the first kind waits and what it blocks says nothing about it
        for key in BEHAVIOUR:
            kept.pop(key, None)
    return When(
        rule=_rule(item, kept | fields, docs), message=message, status=status, endpoint=endpoint
    )


def _pattern(item: Section, key: str, value: Any) -> re.Pattern[str]:
    try:
        return re.compile(read.text(item, key, value))
    except re.error as error:
        raise item.error(key, value, f"a regular expression ({error})") from None


def _rules(
    table: Section, docs: str, scopes: tuple[str, ...], narrow: Any = lambda _: False
) -> dict[str, Rule]:
    rules = {}
    for key in table.keys():  # noqa: SIM118
        item = table.table(key)
        fields = _fields(item, scopes)
        item.done(set(RULE_KEYS) - {"aliases", "when", "duplicate"})
        if narrow(key) and fields.get("scope", REQUEST) != REQUEST:
            item.report(item.error("scope", fields["scope"],
                                   "'request': a family may not speak for more",
                                   check="wide-scope"))  # fmt: skip
        rules[key] = _rule(item, fields, docs)
    return rules


def _unknown(item: Section, docs: str, scopes: tuple[str, ...]) -> Rule:
    fields = {
        "verdict": Verdict.FATAL,
        "title": "Nothing in the policy speaks about this",
        "certainty": Certainty.MAYBE_EXECUTED,  # who doesn't know the code can't know that, either
    }
    fields |= _fields(item, scopes)
    item.done(set(RULE_KEYS) - {"aliases", "when", "duplicate"})
    if fields.get("scope", REQUEST) != REQUEST:
        item.report(item.error("scope", fields["scope"],
                               "'request': unknown may not speak for more",
                               check="wide-scope"))  # fmt: skip
    return _rule(item, fields, docs)


def _fields(item: Section, scopes: tuple[str, ...]) -> dict[str, Any]:
    """The fields that this table states, converted; nothing for those it leaves out."""
    readers: dict[str, Any] = {
        "verdict": lambda s, k, v: Verdict(read.one_of(*Verdict)(s, k, v)),
        "recovers": lambda s, k, v: Recovers(read.one_of(*Recovers)(s, k, v)),
        "scope": read.one_of(*scopes),
        "wait": _wait,
        "jitter": read.one_of(*JITTER),
        "max_attempts": read.count,
        "certainty": lambda s, k, v: Certainty(read.one_of(*Certainty)(s, k, v)),
        "probe_every": read.positive,
        "escalate": _escalation,
        "duplicate": read.boolean,
        "title": read.text,
        "remedy": read.text,
        "docs": read.text,
        "edition": read.text,
    }
    absent = object()
    taken = {key: item.take(key, absent, reader) for key, reader in readers.items()}
    return {key: value for key, value in taken.items() if value is not absent}


def _rule(item: Section, fields: Mapping[str, Any], docs: str) -> Rule:
    if "verdict" not in fields:
        item.report(item.error("verdict", None, f"one of {', '.join(Verdict)}"))
        return Rule(key=item.path, verdict=Verdict.FATAL)
    verdict: Verdict = fields["verdict"]
    quota = verdict is Verdict.QUOTA
    if "recovers" in fields and not quota:
        item.report(item.error("recovers", fields["recovers"].value,
                               f"for verdict {verdict.value!r}: only quota recovers"))  # fmt: skip
    wait, given_low = fields.get(
        "wait", (Wait(schedule=unroll("expo", {"factor": 1.0, "max_value": 30.0})), None)
    )
    if "jitter" in fields:
        low = JITTER[fields["jitter"]]
    elif given_low is not None:
        low = given_low
    else:
        # a quota's wait is shared by everybody in its scope: knocking early is one wasted call,
        # so it is spread over its upper half only
        low = JITTER["equal"] if quota else JITTER["full"]
    certainty = Certainty.MAYBE_EXECUTED if verdict is Verdict.RETRYABLE else Certainty.NOT_EXECUTED
    plain = {
        key: fields[key]
        for key in ("scope", "max_attempts", "probe_every", "escalate", "duplicate", "title",
                    "remedy", "edition", "recovers")
        if key in fields
    }  # fmt: skip
    return Rule(
        key=item.path,
        verdict=verdict,
        wait=Wait(schedule=wait.schedule, low=low, until=wait.until),
        certainty=fields.get("certainty", certainty),
        docs=fields.get("docs", docs),
        **plain,
    )


def _wait(item: Section, key: str, value: Any) -> tuple[Wait, float | None]:
    """Seconds, a generator of ``backoff``, or a calendar; and the draw that goes with it."""
    if not isinstance(value, Mapping):
        return Wait(schedule=(read.positive(item, key, value),)), JITTER["none"]
    if "until" in value:
        return Wait(schedule=(1.0,), until=_calendar(item, key, value)), JITTER["none"]
    arguments = dict(value)
    name = arguments.pop("backoff", None)
    if not isinstance(name, str):
        raise item.error(
            key, value, f"seconds, {{ until = … }} or {{ backoff = {'|'.join(generators())}, … }}"
        )
    try:
        return Wait(schedule=unroll(name, arguments)), None
    except BadScheduleError as error:
        # a known name is not what is wrong
        near = "" if name in generators() else read.suggestion(name, generators())
        raise item.error(key, value, f"a schedule: {error}", near) from None


def _calendar(item: Section, key: str, value: Mapping[str, Any]) -> CalendarReset:
    table = item.inside(key, value)
    until = table.take("until", "", read.text)
    zone = table.take("tz", "UTC", read.text)
    table.done(keys.names(keys.CALENDAR))
    clock = "00:00" if until == "midnight" else until
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?", clock):
        raise table.error("until", until, "a time of day such as '00:00', or 'midnight'")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise table.error("tz", zone, "a known time zone such as 'Asia/Shanghai'") from None
    return CalendarReset(time=clock, tz=zone)


def _escalation(item: Section, key: str, value: Any) -> Escalation:
    table = item.inside(key, value)
    table.take("to", "exhausted", read.one_of("exhausted"))
    escalation = Escalation(
        rejections=table.take("rejections", 1_000_000, read.count),
        within=table.take("within", float("inf"), read.positive),
    )
    table.done(keys.names(keys.ESCALATE))
    return escalation


def _by_precision(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return dict(sorted(rules.items(), key=lambda item: item[0].count("x")))
