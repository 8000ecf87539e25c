"""May this attempt be repeated?  And what does a duplicate mean?

A call that may have been executed is repeated only if the caller says that it is idempotent, else
if its endpoint is safe, else if its method is (RFC 9110 §9.2.1).  Most reads of the APIs at hand
are POSTs, which is why the endpoint comes before the method.
"""

from resilience._core.policy.model import Certainty, Classification, Endpoint, Repeat

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def may_repeat(
    certainty: Certainty,
    *,
    idempotent: bool | None,
    endpoint: Endpoint | None,
    method: str | None,
    earlier_maybe: int,
) -> bool:
    """Whether sending it again can do no harm, as far as anybody said.

    ``earlier_maybe`` counts attempts of this call, before this one, that may have been executed.
    """
    if certainty is Certainty.NOT_EXECUTED:
        return True
    if idempotent is not None:
        return idempotent
    match endpoint.repeat if endpoint else None:
        case Repeat.SAFE:
            return True
        case Repeat.ONCE:
            return earlier_maybe == 0
        case Repeat.NEVER:
            return False
        case None:
            return method in SAFE_METHODS


def is_our_duplicate(
    found: Classification, *, endpoint: Endpoint | None, earlier_maybe: int
) -> bool:
    """The duplicate that is rejected is our own earlier attempt, whose answer was lost."""
    return bool(
        found.rule.duplicate
        and earlier_maybe
        and endpoint is not None
        and endpoint.duplicate_is_done
    )
