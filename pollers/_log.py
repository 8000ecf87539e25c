"""Log lines of the poller: the standard logger ``pollers``, rendered by structlog.

It has no ``NullHandler``: a poller works in the background, and where nobody has set up logging, Python
shows its warnings on stderr.  Else a program with a refused key would only seem to hang.
"""

import logging
from typing import Any

import structlog

log: Any = structlog.wrap_logger(
    logging.getLogger("pollers"),
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)
