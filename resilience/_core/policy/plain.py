"""Quick tests for "this is certainly a success".

A guarded call that goes well must cost no more than a look-up, so before anything is built (an
outcome, a classification) the body is tested here.  True is final; False only means "look closer".
What makes a body need a closer look: no success code, a flag that says "failed", or a key that
belongs to a dialect of higher precedence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, cast

import msgspec

from resilience._core.policy.model import Verdict
from resilience._core.policy.reader import tokens
from resilience._core.policy.table import Envelope, Table

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class PlainSuccess:
    """The tests of one policy."""

    of_dict: Callable[[dict[str, Any]], bool]
    """For decoded bodies."""
    of_bytes: Callable[[bytes], bool]
    """For JSON text, of which only the keys that matter are decoded."""


def _look_closer(_body: Any) -> bool:
    return False


NEVER = PlainSuccess(_look_closer, _look_closer)


def plain_success(table: Table) -> PlainSuccess:
    """The tests for a policy; ones that never say yes where its dialects are too intricate."""
    main = next((e for e in table.envelopes if e.code and len(tokens(e.code)) == 1), None)
    if main is None or main.code is None:
        return NEVER
    flags = [(tokens(at), value) for at, value, _ in main.failed_when]
    if any(len(at) > 2 or not isinstance(value, bool) for at, value in flags):  # noqa: PLR2004
        return NEVER
    key = tokens(main.code)[0]
    before = table.envelopes[: table.envelopes.index(main)]
    others = frozenset(tokens(e.required[0])[0] for e in before if e.required)
    good = _good_codes(table, main)
    # without the other keys it requires, a body may belong to a dialect of lower precedence
    beside = frozenset(tokens(at)[0] for at in main.required) - {key}
    return PlainSuccess(
        of_dict=_dict_test(key, beside, good, others, flags),
        of_bytes=_bytes_test(key, beside, good, others, flags),
    )


def _good_codes(table: Table, main: Envelope) -> frozenset[str | int]:
    """The success codes, as text and as the numbers that some servers send for them."""
    listed = {code: entry.rule.verdict is Verdict.SUCCESS for code, entry in table.codes.items()}
    texts = [code for code in main.success if listed.get(code, True)]
    numbers = [int(code) for code in texts if code.isdecimal() and str(int(code)) == code]
    return frozenset([*texts, *numbers])


def _dict_test(
    key: str,
    beside: frozenset[str],
    good: frozenset[str | int],
    others: frozenset[str],
    flags: list[tuple[list[str], Any]],
) -> Callable[[dict[str, Any]], bool]:
    top = [(at[0], bad) for at, bad in flags if len(at) == 1]
    deep = tuple((at[0], at[1], bad) for at, bad in flags if len(at) > 1)
    # two flags are checked in line: a loop over them would double the price of the whole call
    (flag1, bad1), (flag2, bad2) = [*top, (key, _ABSENT), (key, _ABSENT)][:2]
    more = top[2:]
    first, *rest = beside or [key]
    other, *others_too = others or [_ABSENT]
    intricate = bool(more or deep or rest or others_too)

    def of_dict(body: dict[str, Any]) -> bool:
        get = body.get
        code = get(key)
        try:
            if code not in good or code is False or first not in body:  # False == 0
                return False
        except TypeError:  # a list or an object
            return False
        if get(flag1) is bad1 or get(flag2) is bad2 or other in body:
            return False
        return not intricate or closer(body)

    def closer(body: dict[str, Any]) -> bool:
        for outer, token, bad in deep:
            inner = body.get(outer)
            if type(inner) is dict and inner.get(token) is bad:
                return False
        flagged = any(body.get(token) is bad for token, bad in more)
        return not flagged and all(token in body for token in rest) and others.isdisjoint(body)

    return of_dict


def _bytes_test(
    key: str,
    beside: frozenset[str],
    good: frozenset[str | int],
    others: frozenset[str],
    flags: list[tuple[list[str], Any]],
) -> Callable[[bytes], bool]:
    top = {at[0]: bad for at, bad in flags if len(at) == 1}
    deep = {at[0]: (at[1], bad) for at, bad in flags if len(at) > 1}
    raws = dict.fromkeys([*beside, *deep], msgspec.Raw)
    decode = _decoder({key: str | int} | raws | dict.fromkeys([*top, *others], bool))
    insides = tuple(
        (outer, _decoder({token: bool}), token, bad) for outer, (token, bad) in deep.items()
    )
    of_dict = _dict_test(key, beside, good, others, [([token], bad) for token, bad in top.items()])

    def of_bytes(body: bytes) -> bool:
        try:
            seen = decode(body)
            for outer, inside, token, bad in insides:
                raw = bytes(seen.get(outer, b""))
                if raw.startswith(b"{") and inside(raw).get(token) is bad:
                    return False
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False  # not JSON, or something stands there that we did not expect
        return of_dict(seen)

    return of_bytes


def _decoder(fields: dict[str, Any]) -> Callable[[bytes], dict[str, Any]]:
    """Decodes these keys of an object and skips the rest; a value of another type is an error."""
    kind = TypedDict("Plain", fields, total=False)  # type: ignore[misc]  # made at run time
    return cast("Callable[[bytes], dict[str, Any]]", msgspec.json.Decoder(kind).decode)
