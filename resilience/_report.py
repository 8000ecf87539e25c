"""How a call ended, for its caller: the error that fits, and a report on what it got."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from resilience._attempt import PLAIN_SUCCESS, Finished
from resilience._core.admission.model import Reason
from resilience._core.policy.model import Classification, Outcome, Rule, Verdict
from resilience.errors import (
    AlreadyDone,
    CircuitOpen,
    DeadlineExceeded,
    FatalError,
    QuotaError,
    ResilienceError,
    RetriesExhausted,
    at,
)
from resilience.policies import Policy

_REPORT = "_resilience_report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happened to a call, for those who only see its last response or exception.

    Times are seconds; ``resume_at`` is aware UTC or None.
    """

    classification: Classification | None
    """Of what it ended with; None if it was refused before any attempt was made."""
    attempts: int
    elapsed: float
    resume_at: datetime | None
    endpoint: str
    error: ResilienceError | None
    """What ``raise_for_code`` raises; None for success."""


def error_of(finished: Finished, policy: Policy) -> ResilienceError | None:
    """The error that fits the end of a call; None for success."""
    if finished.reason is None:
        return None
    now = finished.ended
    because = finished.because
    last = finished.last
    resume = finished.resume_at
    kind = _error_class(finished.reason, because)
    return kind(
        because.message if because else "",
        code=because.code if because else None,
        rule=because.rule if because else None,
        reason=finished.reason.value,
        attempts=finished.attempts,
        elapsed=now.loop - finished.started,
        outcome=last.body if last and isinstance(last.body, Outcome) else None,
        resume_at=at(resume.wall_time(now)) if resume else None,
        retry_after=max(0.0, resume.left(now)) if resume else None,
        endpoint=finished.endpoint,
        policy=policy.version,
        certainty=finished.certainty,
    )


def attach(finished: Finished, error: ResilienceError | None, *, on_results: bool = False) -> None:
    """Put a report on the response and the exceptions that a call ended in."""
    told = Report(
        classification=finished.found,
        attempts=finished.attempts,
        elapsed=finished.ended.loop - finished.started,
        resume_at=error.resume_at if error else None,
        endpoint=finished.endpoint,
        error=error,
    )
    last = finished.last
    # a result of the user's own is written to only if failures are returned: how else would they know
    for holder in (last.value if last else None, last.exception if last else None, error):
        if on_results or isinstance(holder, BaseException) or is_response(holder):
            _note(holder, told)


def remember_success(
    holder: object, policy: Policy, where: "str | tuple[str, Any]", elapsed: float
) -> None:
    """Note a success of the fast lane, so that ``report`` can tell of it if somebody asks.

    ``where`` is the endpoint, or the method and the URL to find it by: nobody may ever ask.
    """
    _note(holder, (policy, where, elapsed))


def is_response(holder: object) -> bool:
    """Whether this is an answer of an HTTP client; other objects are the user's, and left alone."""
    return hasattr(holder, "headers") and (
        hasattr(holder, "status") or hasattr(holder, "status_code")
    )


def _note(holder: object, told: Any) -> None:
    # past a model's own __setattr__, which may refuse or validate; what has no place for it goes
    # without a report
    try:  # noqa: SIM105  # suppress() costs more than all the rest
        object.__setattr__(holder, _REPORT, told)
    except (AttributeError, TypeError):
        pass


def report(response_or_exception: object) -> Report | None:
    """What happened to the call that ended in this response or exception; None if no guard saw it.

    An SDK's own error is known by its ``response``, or by the exception that it was raised from.
    """
    told = getattr(response_or_exception, _REPORT, None)
    if told is None and isinstance(response_or_exception, BaseException):
        response = getattr(response_or_exception, "response", None)
        told = getattr(response, _REPORT, None)
        told = told or getattr(response_or_exception.__cause__, _REPORT, None)
    if not isinstance(told, tuple):
        return cast("Report | None", told)  # only we write there
    policy, where, elapsed = told
    if isinstance(where, tuple):
        method, url = where
        where = policy.table.endpoint_of_request(method, url.path)
    return Report(
        classification=PLAIN_SUCCESS,
        attempts=1,
        elapsed=elapsed,
        resume_at=None,
        endpoint=where,
        error=None,
    )


def raise_for_code(response: object) -> None:
    """Raise what the guard knows about this response; nothing for a success.

    Raises:
        ResilienceError: the call failed; the same error that ``guard.call`` would have raised.
        LookupError: no guard saw this response, so there is nothing to know.
    """
    told = report(response)
    if told is None:
        msg = (
            f"no guard saw this {type(response).__name__}: is its host in the policy's hosts? "
            "(for a test server or a proxy, give the adapter hosts=['127.0.0.1'])"
        )
        raise LookupError(msg)
    if told.error is not None:
        raise told.error


def _error_class(reason: Reason, because: Classification | None) -> type[ResilienceError]:
    if reason is Reason.CIRCUIT:
        return CircuitOpen
    if because is None:
        return DeadlineExceeded if reason is Reason.DEADLINE else QuotaError
    if because.verdict is Verdict.FATAL:
        return AlreadyDone if because.rule.duplicate else FatalError
    if because.verdict is Verdict.QUOTA:
        return QuotaError
    return DeadlineExceeded if reason is Reason.DEADLINE else RetriesExhausted


def classification_of(error: ResilienceError, seen: Classification | None) -> Classification:
    """An inner guard's error speaks for itself; what it was made from knows the hint too."""
    if seen is not None and seen.rule is error.rule:
        return seen
    rule = error.rule or Rule(key="unknown", verdict=Verdict.FATAL)
    return Classification(
        verdict=rule.verdict, code=error.code, message=error.message, rule=rule, matched_by=rule.key
    )
