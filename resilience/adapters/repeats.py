"""SDKs that repeat by themselves: how they say so, and how they are told to let it be.

Two layers that both retry multiply.  Therefore a request that says that it is a repeat gets one
attempt (its first one was tried to the end before), and a response that the guard has given up on
says that it is not worth another.

* SDKs made by Stainless (openai, anthropic, …) send ``x-stainless-retry-count`` from 0 on, and obey
  the response header ``x-should-retry``.
* AWS SDKs send ``amz-sdk-request: attempt=2; max=5``, from 1 on
  (https://sdk.amazonaws.com, "Retry behavior").
"""

import re
from collections.abc import Mapping

LET_IT_BE = ("x-should-retry", "false")
"""The header of a response that an SDK shall not repeat."""

_AWS_ATTEMPT = re.compile(r"\battempt=(\d+)")


def is_repeat(headers: Mapping[str, str]) -> bool:
    """Whether an SDK says that it made this request before.  ``headers`` looks up in any case."""
    count = headers.get("x-stainless-retry-count")
    if count is not None and count.isdecimal() and int(count) > 0:
        return True
    said = headers.get("amz-sdk-request")
    attempt = _AWS_ATTEMPT.search(said) if said else None
    return attempt is not None and int(attempt[1]) > 1
