"""Log lines of the poller: the standard logger ``pollers``, rendered by structlog.

It has no ``NullHandler``: a poller works in the background, and where nobody has set up logging, Python
shows its warnings on stderr.  Else a program with a refused key would only seem to hang.

A line is ``pollers.<what>``; what is about a source has ``kind`` and ``account``, what is about a sink
has ``sink``.  No line holds what a URL's query held, a password in a URL, or an ``Authorization``.
"""

import logging
import re
import traceback
from typing import Any

import structlog

MOST_SAID = 500
"""Characters of an error that are repeated."""

PLACES = 8
"""Calls, the innermost, that a crash is told with."""

_SECRETS = (
    (re.compile(r"\?[^\s'\"]*=[^\s'\"]*"), "?…"),
    (re.compile(r"://[^\s/@'\"]+@"), "://…@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s'\",]+"), r"\1 …"),
    (re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?)(?!bearer|basic)[^\s'\",]+"), r"\1…"),
)

log: Any = structlog.wrap_logger(
    logging.getLogger("pollers"),
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)


def fit_to_tell(said: object) -> str:
    """What an event or a log line may say: whoever gets it must not get a key out of it."""
    text = str(said)
    for secret, shown in _SECRETS:
        text = secret.sub(shown, text)
    return text.encode("utf-8", "replace").decode("utf-8")[:MOST_SAID]  # no half emoji


def crash(error: BaseException) -> dict[str, Any]:
    """A bug as fields of a log line: what, where, and what came before; no values of variables.

    Python's own rendering repeats each exception's text as it is, and a client's text has its URL.
    """
    calls = traceback.extract_tb(error.__traceback__)[-PLACES:]
    facts: dict[str, Any] = {
        "error": f"{type(error).__name__}: {fit_to_tell(error)}",
        "trace": " > ".join(f"{call.filename}:{call.lineno} {call.name}" for call in calls),
    }
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        facts["because"] = f"{type(before).__name__}: {fit_to_tell(before)}"
    return facts
