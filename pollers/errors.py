"""The errors of the poller, grouped by whose move it is.

    Exception
    ├── PollerStopped      nobody's or yours: the poller ended while somebody was waiting
    └── StoreError         the file's
        ├── BadStore       not ours, of another version, corrupt, or the disk is full
        ├── StoreBusy      another process writes to it
        └── Fenced         another process took over
    ValueError
    └── BadCursor          yours: not a cursor of this store, or what it stands before was pruned
    LookupError
    └── JobPruned          yours: the job ended so long ago that it was deleted
    Exception
    └── EventRefused       a sink's: it can never take this event, so it is parked

A failed *job* is not an error: it is an event, ``JobFailed``.
"""

from pollers._core.events import BadCursor
from pollers.store.base import BadStore, Fenced, StoreBusy, StoreError

__all__ = (
    "BadCursor",
    "BadStore",
    "EventRefused",
    "Fenced",
    "JobPruned",
    "PollerStopped",
    "StoreBusy",
    "StoreError",
)


class EventRefused(Exception):  # noqa: N818
    """Raised by a sink or a callback: it can never take this event, however often it is asked.

    The event is parked for that sink (``Poller.parked``), and the events of other jobs go on.
    """


class JobPruned(LookupError):  # noqa: N818
    """The job ended more than ``keep`` seconds ago, and was deleted with its events."""


class PollerStopped(Exception):  # noqa: N818  # a fixed public name
    """The poller ended while somebody was waiting for it.

    ``__cause__`` is what ended it: a ``ResilienceError`` if the API refused us and
    ``on_refused="stop"``, a ``StoreError``, or nothing if its block was left.
    """
