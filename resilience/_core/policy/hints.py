"""How long did the server ask us to wait?  Every form in use, and none of them trusted blindly.

Sources, first usable one wins:

1. ``retry-after-ms`` (milliseconds; Azure, OpenAI) and ``x-ms-retry-after-ms``
2. ``Retry-After``: seconds or an HTTP date (RFC 9110 §10.2.3); a date is measured against the
   answer's own ``Date`` header, so a wrong clock on either side does no harm
3. a field of the body, where the policy names one
4. for quota answers only: ``RateLimit`` / ``RateLimit-Reset`` (draft-ietf-httpapi-ratelimit-headers)
   and ``X-RateLimit-Reset`` in seconds, epoch seconds or epoch milliseconds.  On any other answer
   these describe a window that nobody has hit.
5. the message: "try again in 20s"

What is malformed or absurd (negative, not a number, over :data:`ABSURD`) is reported in words and
never obeyed: a ``Retry-After`` of two years must not put a program to sleep.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial

from resilience._core.policy.model import Hint

ABSURD = 31 * 86400.0
"""Longest hint believed, in seconds: a monthly quota is the slowest thing that resets."""

EPOCH_SECONDS = 1e9
EPOCH_MILLISECONDS = 1e12

_SPAN = (
    r"(?P<number>\d+(?:\.\d+)?)\s*"
    r"(?P<unit>milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h)(?![a-z])"
)
_ONE_SPAN = re.compile(_SPAN, re.IGNORECASE | re.ASCII)
_IN_TEXT = re.compile(
    r"(?:try again|retry|wait)\D{0,20}?(?<![-.\d])((?:"
    + re.sub(r"\?P<\w+>", "?:", _SPAN)
    + r"\s*)+)",
    re.IGNORECASE | re.ASCII,
)
"""``try again in 20s``, ``retry after 5 minutes``, ``wait 6m30s``; without a unit it says nothing."""

_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
"""Not what ``float`` takes: it also likes ``1_0``, ``1e3``, ``+5`` and digits of other scripts."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class _UnusableError(ValueError):
    pass


def find_hint(
    headers: Mapping[str, str],
    *,
    body_value: object = None,
    message: str = "",
    quota: bool = False,
    wall: float | None = None,
) -> tuple[Hint | None, tuple[str, ...]]:
    """The server's wish in seconds, and what was wrong with the wishes that were not believed.

    Args:
        headers: with lower-case names.
        body_value: what stands at the policy's ``retry_after`` pointer.
        message: the provider's message.
        quota: the answer is a quota rejection.
        wall: now, seconds since the epoch; only used where the answer has no ``Date``.
    """
    problems: list[str] = []
    for source, read in _sources(headers, body_value, message, quota=quota):
        try:
            seconds = read(_server_now(headers, wall))
        except _UnusableError as error:
            problems.append(f"{source}: {error}")
            continue
        if seconds is not None:
            return Hint(seconds=seconds, source=source), tuple(problems)
    return None, tuple(problems)


def _sources(
    headers: Mapping[str, str], body_value: object, message: str, *, quota: bool
) -> Iterator[tuple[str, Callable[[float | None], float | None]]]:
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if name in headers:
            yield name, partial(_milliseconds, headers[name])
    if "retry-after" in headers:
        yield "retry-after", partial(_retry_after, headers["retry-after"])
    if body_value is not None:
        yield "body", partial(_seconds, body_value)
    if quota:
        for name in ("ratelimit", "ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"):
            if name in headers:
                yield name, partial(_reset, headers[name])
    if message:
        yield "message", partial(_in_text, message)


def _server_now(headers: Mapping[str, str], wall: float | None) -> float | None:
    date = _date(headers["date"]) if "date" in headers else None
    return wall if date is None else date


def _date(text: str) -> float | None:
    """An HTTP date in any of its three forms; the one without a zone is UTC too."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _number(value: object) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    msg = f"{_short(value)} is not a number"
    raise _UnusableError(msg)


def _sane(seconds: float, shown: object) -> float:
    if not math.isfinite(seconds) or seconds < 0:
        msg = f"{_short(shown)} is not a time to wait"
        raise _UnusableError(msg)
    if seconds > ABSURD:
        msg = f"{_short(shown)} would be {seconds:.0f} s, over {ABSURD:.0f} s"
        raise _UnusableError(msg)
    return seconds


def _milliseconds(value: str, _now: float | None) -> float:
    return _sane(_number(value) / 1000.0, value)


def _seconds(value: object, _now: float | None) -> float:
    return _sane(_number(value), value)


def _retry_after(value: str, now: float | None) -> float:
    try:
        return _sane(_number(value), value)
    except _UnusableError:
        if not re.match(r"[A-Za-z]", value.strip()):
            raise
    date = _date(value)
    if date is None:
        msg = f"{_short(value)} is neither seconds nor an HTTP date"
        raise _UnusableError(msg)
    if now is None:
        msg = f"{_short(value)} is a date, and the answer has no Date header to measure it by"
        raise _UnusableError(msg)
    return _sane(max(0.0, date - now), value)


def _reset(value: str, now: float | None) -> float | None:
    """``30``, an epoch, ``limit=10, remaining=0, reset=30`` or ``"default";r=0;t=30``."""
    text = value.strip()
    fields: dict[str, str] = dict(re.findall(r"([a-z]+)\s*=\s*\"?([0-9]+)", text.lower()))
    if fields:
        if fields.get("remaining", fields.get("r", "0")).strip("0"):
            return None  # this window still has room: it is not the one we hit
        text = fields.get("reset", fields.get("t", ""))
    number = _number(text or value)
    if number >= EPOCH_MILLISECONDS:
        number /= 1000.0
    if number >= EPOCH_SECONDS:
        if now is None:
            msg = f"{_short(value)} is an epoch, and the answer has no Date header"
            raise _UnusableError(msg)
        number = max(0.0, number - now)
    return _sane(number, value)


def _in_text(message: str, _now: float | None) -> float | None:
    found = _IN_TEXT.search(message[:2000])
    if found is None:
        return None
    return _sane(sum(map(_span, _ONE_SPAN.finditer(found[1]))), found[0].strip())


def _span(found: re.Match[str]) -> float:
    unit = found["unit"].lower()
    return float(found["number"]) * (0.001 if unit.startswith(("ms", "milli")) else _UNITS[unit[0]])


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more than 4300 digits
        text = "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004
