"""The backoff table: a wait generator of the ``backoff`` package, unrolled once.

``backoff`` is the package that users know, so policies speak its names (``expo``, ``fibo``,
``constant`` and their arguments).  It is archived, and its maintained fork ``python-backoff``
installs the same import name; both share the wait-generator protocol and nothing else is used.
The protocol is a small trap: the first ``next()`` only primes the generator (2.2.1 yields None
there, 3.0 yields 0), and the delays come after it.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import backoff

STEPS = 32
"""Delays kept; the last one repeats.  2**32 s is longer than anybody waits."""

MAX_DELAY = 366 * 86400.0
"""A delay beyond this is a mistake in the file (and 2**n would overflow soon after)."""


class BadScheduleError(ValueError):
    """The generator does not exist, refused its arguments, or yields no delay."""


def unroll(name: str, arguments: Mapping[str, Any]) -> tuple[float, ...]:
    """Turn ``backoff.<name>(**arguments)`` into a table of seconds.

    Raises:
        BadScheduleError: naming the generator and what was wrong with it.
    """
    factory: Callable[..., Generator[Any, Any, None]] | None = getattr(backoff, name, None)
    if factory is None or name not in generators():
        known = ", ".join(generators())
        msg = f"the backoff package has no wait generator {name!r} that needs no answer ({known})"
        raise BadScheduleError(msg)
    try:
        steps = factory(**arguments)
        next(steps)  # primes; what it yields differs between the two distributions
        table = tuple(_delays(steps))
    except (TypeError, ValueError, OverflowError, StopIteration) as error:
        msg = f"backoff.{name}({_shown(arguments)}) failed: {error}"
        raise BadScheduleError(msg) from error
    if not table:
        msg = f"backoff.{name}({_shown(arguments)}) yields no delay"
        raise BadScheduleError(msg)
    return table


def generators() -> tuple[str, ...]:
    """Names that can stand in a policy: those whose delays do not depend on the answer."""
    return tuple(n for n in ("constant", "decay", "expo", "fibo") if hasattr(backoff, n))


def _delays(steps: Iterator[Any]) -> Iterator[float]:
    for n, step in enumerate(itertools.islice(steps, STEPS)):
        yield _seconds(step)
        if step >= MAX_DELAY:  # the next step may overflow in one distribution and not in the other
            yield from [MAX_DELAY] * (STEPS - n - 1)
            return


def _seconds(step: Any) -> float:
    seconds = float(step)
    if not seconds >= 0:
        msg = f"a delay of {seconds} s"
        raise ValueError(msg)
    return min(seconds, MAX_DELAY)


def _shown(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())
