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
from typing import TYPE_CHECKING, Any

import structlog

from resilience.records import AttemptRecord, Record, ShadowRecord, fields

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

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


def to_opentelemetry(
    meter_provider: "MeterProvider | None" = None, tracer_provider: "TracerProvider | None" = None
) -> Observer:
    """An observer that makes OpenTelemetry metrics and spans; share one between guards.

    Metrics: ``resilience.attempts``, ``resilience.call.duration``, ``resilience.call.wait``,
    ``resilience.call.rejections``, ``resilience.shadow.calls``, with the policy, account, endpoint,
    verdict and code, and ``error.type`` (why a call ended) where it failed.  A span for each call,
    told when it is over; an attempt that failed is an event of the span that the caller is in.

    Args:
        meter_provider: None takes the global one, as for ``tracer_provider``.
        tracer_provider: where spans go.

    Raises:
        ModuleNotFoundError: the extra ``otel`` is not installed.
    """
    try:
        from resilience._opentelemetry import Telemetry
    except ModuleNotFoundError as missing:
        said = f"to_opentelemetry needs: pip install 'resilience-pollers[otel]' (no {missing.name})"
        raise ModuleNotFoundError(said, name=missing.name) from None
    return Telemetry(meter_provider, tracer_provider)


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
