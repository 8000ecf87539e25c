"""What an attempt brought, judged; and what a call's end is to its caller.

A client may hide the provider's code (it returns ``body["data"]``, or raises an error of its own), but
an adapter below it has seen it: its finding is the better witness.
"""

from collections.abc import Callable
from typing import Any

from resilience._attempt import Attempted, Finished, release_response
from resilience._context import Frame, has_failed
from resilience._core.admission.model import Reason
from resilience._core.policy.classify import classify
from resilience._core.policy.model import Certainty, Classification, Outcome, Verdict
from resilience._options import Options
from resilience._report import attach, classification_of, error_of
from resilience._shared import Shared
from resilience.adapters.results import outcome_of_exception, outcome_of_result
from resilience.errors import ResilienceError
from resilience.policies import Policy


def classified(shared: Shared, outcome: Outcome, endpoint: str) -> Classification:
    """What the policy makes of it now."""
    return classify(shared.policy.table, outcome, endpoint=endpoint, wall=shared.wall())


async def judge(
    shared: Shared, read: Callable[[Any], Any] | None, tried: Attempted, frame: Frame, endpoint: str
) -> None:
    """Fill in ``found``: what came back, or what an adapter below saw and the client hid."""
    seen, tried.spent = frame.last, frame.spent
    if isinstance(tried.exception, ResilienceError):
        tried.found = classification_of(tried.exception, seen)
        return
    if tried.exception is not None:
        outcome: Outcome | None = outcome_of_exception(tried.exception)
    else:
        known = read(tried.value) if read and not isinstance(tried.value, Outcome) else None
        try:
            outcome = await outcome_of_result(tried.value if known is None else known)
        except Exception as error:  # noqa: BLE001  # the connection broke in the body
            tried.value, tried.exception = None, error
            outcome = outcome_of_exception(error)
    tried.body = outcome
    tried.request = frame.request
    found = classified(shared, outcome, endpoint) if outcome else None
    # a client that trips over an error page raises something of its own: what the adapter saw
    # (the status, the code, the hint) is the better witness
    silent = found is None or found.matched_by.startswith(("success", "unknown", "exceptions."))
    same = found is not None and seen is not None and found.rule is seen.rule
    if seen is not None and seen.verdict is not Verdict.SUCCESS and (silent or same):
        found = seen  # it had the headers too
    if found is not None and found.verdict is Verdict.SUCCESS:
        found = None
    tried.found = found


def single(shared: Shared, tried: Attempted, endpoint: str) -> Finished:
    """One attempt inside another call: never waits, never repeats."""
    now = shared.now()
    reason = Reason.ATTEMPTS if has_failed(tried.found) else None
    certainty = tried.found.certainty if tried.found else Certainty.EXECUTED
    return Finished(
        last=tried, reason=reason, resume_at=None, because=tried.found, attempts=1, waited=0.0,
        started=now.loop, ended=now, endpoint=endpoint, certainty=certainty,
    )  # fmt: skip


async def hand_out(finished: Finished, policy: Policy, options: Options) -> Any:
    """What ``call`` gives to its caller."""
    last = finished.last
    error = error_of(finished, policy)
    attach(finished, error, on_results=options.on_failure == "return")
    if error is None:
        if last is not None and last.exception is not None:
            raise last.exception  # only watched
        return last.value if last else None
    if options.on_failure == "return" and last is not None and last.value is not None:
        return last.value
    if last is not None:
        await release_response(last)  # nobody else can
    raise error from (last.exception if last else None)


def hand_back(finished: Finished, policy: Policy) -> Any:
    """What an adapter gives to its client."""
    last = finished.last
    error = error_of(finished, policy)
    attach(finished, error)
    if last is not None and last.value is not None:
        return last.value
    if last is not None and last.exception is not None and finished.reason != Reason.DEADLINE:
        raise last.exception
    if error is None:
        msg = "a transport brought neither a response nor an exception"
        raise RuntimeError(msg)
    raise error from (last.exception if last else None)
