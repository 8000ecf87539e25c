"""The errors of the poller, grouped by whose move it is.

    Exception
    ├── PollerStopped      nobody's or yours: the poller ended while somebody was waiting
    ├── SubmitUncertain    yours: the reply to a submit was lost; say what became of it
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

from pollers._core.events import BadCursor, JobUncertain
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
    "SubmitUncertain",
)


class EventRefused(Exception):  # noqa: N818
    """Raised by a sink or a callback: it can never take this event, however often it is asked.

    The event is parked for that sink (``Poller.parked``), and the events of other jobs go on.
    """


class JobPruned(LookupError):  # noqa: N818
    """The job ended more than ``keep`` seconds ago, and was deleted with its events."""


class SubmitUncertain(Exception):  # noqa: N818
    """The reply to a submit was lost, and nobody can tell by itself what became of it.

    The work may have been done, and billed, once; it is not submitted again.  ``event`` says why and
    what to do: ``poller.settle(event.rid, remote_id=…)``, or ``unwatch`` and submit again.
    """

    def __init__(self, event: JobUncertain) -> None:
        super().__init__(f"{event.subject}: {event.cause}. {event.remedy}")
        self.event = event


class PollerStopped(Exception):  # noqa: N818  # a fixed public name
    """The poller ended while somebody was waiting for it.

    ``__cause__`` is what ended it: a ``ResilienceError`` if the API refused us and
    ``on_refused="stop"``, a ``StoreError``, or nothing if its block was left.
    """
