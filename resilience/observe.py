"""Where records go.  By default to the standard logger ``resilience``, rendered by structlog.

Quiet by default: the logger has a ``NullHandler``, attempts that will be repeated are INFO, calls
that failed WARNING, successes that took more than one attempt DEBUG.  A success at the first attempt
is told to an observer of your own only: telling the default one would cost more than the call.  To
see records::

    logging.basicConfig(level=logging.INFO)                   # or, with your own structlog set-up:
    guard = Guard(policy, observe=to_structlog(structlog.get_logger()))
"""

import logging
from collections.abc import Callable
from typing import Any

import structlog

from resilience.records import AttemptRecord, Record, ShadowRecord, fields

Observer = Callable[[Record], None]

LOG = logging.getLogger("resilience")
LOG.addHandler(logging.NullHandler())


def to_structlog(logger: Any) -> Observer:
    """An observer that writes every record to a structlog logger.

    Args:
        logger: anything with ``debug``, ``info`` and ``warning``, as ``structlog.get_logger()``.
    """

    def observe(record: Record) -> None:
        write = getattr(logger, logging.getLevelName(level(record)).lower())
        write(record.name, **fields(record))

    return observe


def level(record: Record) -> int:
    """The logging level of a record."""
    if isinstance(record, AttemptRecord | ShadowRecord):
        return logging.DEBUG if record.verdict == "success" else logging.INFO
    return logging.DEBUG if record.reason is None else logging.WARNING


_RENDERED = structlog.wrap_logger(
    LOG,
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)

default: Observer = to_structlog(_RENDERED)
"""Writes to the standard logger ``resilience``."""
