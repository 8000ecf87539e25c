"""A poller for jobs of remote APIs: watches until they end, tells it as events, forgets nothing."""

from pollers._core.events import (
    Event,
    JobCancelled,
    JobChanged,
    JobEvent,
    JobExpired,
    JobFailed,
    JobSucceeded,
    JobWatching,
    PollerResumed,
    PollerStalled,
)
from pollers._core.model import Child, Job, JobKey, Sighting, State
from pollers.errors import BadCursor, BadStore, Fenced, PollerStopped, StoreBusy, StoreError
from pollers.poller import JobHandle, Poller

__all__ = (
    "BadCursor",
    "BadStore",
    "Child",
    "Event",
    "Fenced",
    "Job",
    "JobCancelled",
    "JobChanged",
    "JobEvent",
    "JobExpired",
    "JobFailed",
    "JobHandle",
    "JobKey",
    "JobSucceeded",
    "JobWatching",
    "Poller",
    "PollerResumed",
    "PollerStalled",
    "PollerStopped",
    "Sighting",
    "State",
    "StoreBusy",
    "StoreError",
)
