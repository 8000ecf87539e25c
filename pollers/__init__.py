"""A poller for jobs of remote APIs: watches until they end, tells it as events, forgets nothing."""

from pollers._core.events import (
    Event,
    JobCancelled,
    JobChanged,
    JobEvent,
    JobExpired,
    JobFailed,
    JobSubmitting,
    JobSucceeded,
    JobUncertain,
    JobWatching,
    Parked,
    PollerResumed,
    PollerStalled,
)
from pollers._core.model import Child, Job, JobKey, Sighting, State
from pollers._core.submit import Intent, Match
from pollers._handle import JobHandle
from pollers._health import Health, Problem
from pollers.errors import (
    BadCursor,
    BadStore,
    EventRefused,
    Fenced,
    JobPruned,
    PollerStopped,
    StoreBusy,
    StoreError,
    SubmitUncertain,
)
from pollers.observe import (
    DeliveryRecord,
    LookRecord,
    Observer,
    SaveRecord,
    StateRecord,
    to_opentelemetry,
)
from pollers.poller import Poller

__all__ = (
    "BadCursor",
    "BadStore",
    "Child",
    "DeliveryRecord",
    "Event",
    "EventRefused",
    "Fenced",
    "Health",
    "Intent",
    "Job",
    "JobCancelled",
    "JobChanged",
    "JobEvent",
    "JobExpired",
    "JobFailed",
    "JobHandle",
    "JobKey",
    "JobPruned",
    "JobSubmitting",
    "JobSucceeded",
    "JobUncertain",
    "JobWatching",
    "LookRecord",
    "Match",
    "Observer",
    "Parked",
    "Poller",
    "PollerResumed",
    "PollerStalled",
    "PollerStopped",
    "Problem",
    "SaveRecord",
    "Sighting",
    "State",
    "StateRecord",
    "StoreBusy",
    "StoreError",
    "SubmitUncertain",
    "to_opentelemetry",
)
