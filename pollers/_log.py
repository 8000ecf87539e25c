"""Log lines of the poller: the standard logger ``pollers``, rendered by structlog, quiet by default."""

import logging
from typing import Any

import structlog

_STANDARD = logging.getLogger("pollers")
_STANDARD.addHandler(logging.NullHandler())

log: Any = structlog.wrap_logger(
    _STANDARD,
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)
