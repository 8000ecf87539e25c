"""From an outcome to a classification.

Precedence, first that speaks:

1. a code's ``when`` list in file order, then its own rule
2. the most specific family (``403xx`` before ``40xxx``)
3. the HTTP status, if it is 400 or more
4. ``unknown``

A body that carries a non-success code is never success because of its status, and a success code
under a status of 400 or more is classified by the status.  Without a code: flags, then status or
exception; an empty 2xx is success; JSON that ends in the middle is retryable, and the work may have
been done.  Nothing in here raises.
"""

from collections.abc import Mapping
from typing import Any

from resilience._core.policy.hints import find_hint
from resilience._core.policy.model import Certainty, Classification, Outcome, Rule, Verdict
from resilience._core.policy.reader import UnreadableError
from resilience._core.policy.table import Envelope, Table

CLIENT_ERROR = 400

SUCCESS_RULE = Rule(key="success", verdict=Verdict.SUCCESS, certainty=Certainty.EXECUTED)
TRUNCATED_RULE = Rule(
    key="truncated",
    verdict=Verdict.RETRYABLE,
    certainty=Certainty.MAYBE_EXECUTED,
    title="The answer ended in the middle",
    remedy="The work may have been done: look before you repeat a call that is not idempotent.",
)
ATTEMPT_TIMEOUT_RULE = Rule(
    key="attempt_timeout",
    verdict=Verdict.RETRYABLE,
    certainty=Certainty.MAYBE_EXECUTED,
    title="No answer within attempt_timeout",
    remedy="Raise attempt_timeout, or find out why the server is slow.",
)


def classify(
    table: Table, outcome: Outcome, *, endpoint: str = "other", wall: float | None = None
) -> Classification:
    """Judge one outcome.  ``wall`` is now in seconds since the epoch (for dates in hints)."""
    found, cut = _read(table, outcome)
    envelope = table.envelope_of(found)
    code = envelope.code_in(found) if envelope else None
    message = envelope.message_in(found) if envelope else ""
    flag, flag_code = envelope.failed_flag(found) if envelope else (None, None)
    rule, matched_by, shown = _judge(
        table, outcome, envelope, code=code, flag=flag, flag_code=flag_code,
        message=message, endpoint=endpoint, cut=cut,
    )  # fmt: skip
    if rule.verdict is Verdict.SUCCESS:
        return Classification(
            verdict=rule.verdict, code=shown, message=message, rule=rule,
            matched_by=matched_by, status=outcome.status,
        )  # fmt: skip
    hint, problems = find_hint(
        _plain_headers(outcome.headers),
        body_value=found.get(envelope.retry_after) if envelope and envelope.retry_after else None,
        message=message,
        quota=rule.verdict is Verdict.QUOTA,
        wall=wall,
    )
    return Classification(
        verdict=rule.verdict,
        code=shown,
        message=message or _said(outcome),
        rule=rule,
        matched_by=matched_by,
        hint=hint,
        problems=problems,
        status=outcome.status,
        # what is shown may also be a status or an exception's name
        unlisted=shown is not None and shown in (code, flag_code) and shown not in table.codes,
    )


def _plain_headers(headers: Any) -> dict[str, str]:
    """Lower-case names and text values; what some SDK calls headers may hold anything."""
    try:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        return {
            name.lower(): str(value)
            for name, value in pairs
            if isinstance(name, str) and isinstance(value, (str, int, float))
        }
    except (TypeError, ValueError, AttributeError):
        return {}


def _read(table: Table, outcome: Outcome) -> tuple[dict[str, Any], bool]:
    """The values that the policy's pointers find, and whether the JSON was cut off."""
    if outcome.body is None:
        return {}, False
    try:
        return table.reader.read(outcome.body), False
    except UnreadableError:
        return {}, outcome.is_json and bool(outcome.body)


def _judge(  # noqa: PLR0911  # the precedence list, one return per line of it
    table: Table,
    outcome: Outcome,
    envelope: Envelope | None,
    *,
    code: str | None,
    flag: str | None,
    flag_code: str | None,
    message: str,
    endpoint: str,
    cut: bool,
) -> tuple[Rule, str, str | None]:
    status = outcome.status if isinstance(outcome.status, int) else None
    failed = status is not None and status >= CLIENT_ERROR
    if code is not None and envelope is not None and _is_success(table, envelope, code):
        if not failed and flag is None and outcome.exception is None:
            return SUCCESS_RULE, f"codes.{code}", code
        code = None  # it contradicts itself: the flag or the status is the one to believe
    code = code if code is not None else flag_code
    if code is not None:
        rule = table.rule_for_code(code, message=message, status=status, endpoint=endpoint)
        if rule is not None:
            return rule, rule.key, code
        if not failed:
            return table.unknown, "unknown", code
    if failed and status is not None:
        rule = table.rule_for_status(status) or table.unknown
        return rule, rule.key, code or str(status)
    if flag is not None:
        return table.unknown, f"flag:{flag}", code
    if outcome.exception is not None:
        error = outcome.exception
        rule = table.rule_for_exception(error) or table.rule_for_cause(error) or table.unknown
        return rule, rule.key, type(error).__name__
    if cut:
        return TRUNCATED_RULE, "truncated", None
    return SUCCESS_RULE, "success", None


def _is_success(table: Table, envelope: Envelope, code: str) -> bool:
    listed = table.codes.get(code)  # a policy may give even 0000 another meaning
    return listed.rule.verdict is Verdict.SUCCESS if listed else code in envelope.success


def _said(outcome: Outcome) -> str:
    if outcome.exception is None:
        return ""
    try:
        return str(outcome.exception)
    except Exception:  # noqa: BLE001  # somebody's __str__
        return type(outcome.exception).__name__
