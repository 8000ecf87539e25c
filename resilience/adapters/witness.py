"""The answer that a sync client had in its hands when it raised something else.

A client that turns an error body into an exception of its own loses the provider's code; many sync
ones do (they validate every body as if it were a success).  An async client has our middleware below
it, which saw the answer.  A sync one has nothing of ours below it, but its exception's traceback
still holds the frames, and one of them holds the response.  It is read, never kept, and it only
speaks where the exception itself says nothing: see ``_judging.judge``.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from resilience._context import CONTEXT, Frame
from resilience.adapters.results import outcome_of_httpx
from resilience.policies import Policy

_CHAIN = 5
"""Exceptions looked at: the one raised, and those that it was made from."""


def note_response(policy: Policy, error: BaseException) -> None:
    """Tell the guarded call around us what the response behind an exception says, if there is one."""
    call = CONTEXT.get()
    if not isinstance(call, Frame) or _brought_no_answer(policy, error):
        return
    response = response_behind(error)
    if response is None:
        return
    request = _attribute(response, "request")
    method = str(_attribute(request, "method") or "").upper()
    path = urlsplit(str(_attribute(request, "url") or "")).path
    endpoint = policy.table.endpoint_of_request(method, path)
    outcome = outcome_of_httpx(response)
    call.last = policy.classify(
        outcome.body,
        status=outcome.status,
        headers=outcome.headers,
        endpoint=endpoint,
        method=method or None,
    )
    if method:
        call.request = (endpoint, method)


def _brought_no_answer(policy: Policy, error: BaseException) -> bool:
    """A connection failed: a response in a frame is then one of before, of a client's own retries.

    Exceptions that policies list are those of connections, or say that an answer made no sense
    (``ValueError``: not JSON), and only the latter has an answer to look for.  A client may have made
    an exception of its own from either; one with a response has its answer with it.
    """
    return any(
        not isinstance(link, ValueError)
        and policy.table.rule_for_exception(link) is not None
        and (link is error or _attribute(link, "response") is None)
        for link in _links(error)
    )


def response_behind(error: BaseException) -> Any:
    """The response (of requests, httpx or their like) nearest to where an exception was raised.

    None if there are several in one place.
    """
    for link in _links(error):
        for holders in ([_attribute(link, "response")], *_locals_of(link)):
            found = {id(holder): holder for holder in holders if _is_response(holder)}
            if found:  # of several, nothing tells which one it was about
                return found.popitem()[1] if len(found) == 1 else None
    return None


def _links(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was made from."""
    link: BaseException | None = error
    for _ in range(_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _locals_of(error: BaseException) -> Iterator[list[Any]]:
    """The local variables of every frame on the exception's way, from the innermost outwards."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        yield list(frame.f_locals.values())


def _is_response(holder: Any) -> bool:
    own = _attribute(holder, "__dict__")  # what it has of its own: a mock has everything
    if type(own) is not dict or not isinstance(own.get("status_code"), int):
        return False
    return "headers" in own and isinstance(own.get("_content"), bytes)


def _attribute(holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001  # somebody's property
        return None
