"""The words of the poller, as values.

* A **job** is one remote piece of work, known by its key ``(provider, deployment, account, kind,
  remote id)``.  ``account`` is a name, never an API key; ``deployment`` comes from the base URL, so
  that a file used with the emulator never resumes against the real API.
* A **shard** ``(provider, deployment, account)`` is what one process owns at a time.
* A **sighting** is what one look found out about one job.
* A **transition** is one change of a row together with its one event.

States and moves::

    SUBMITTING -> WATCHING (it has its id) | UNCERTAIN | FAILED (refused) | CANCELLED
    UNCERTAIN  -> WATCHING (somebody told its id) | CANCELLED
    WATCHING   -> WATCHING (its status text changed) | SUCCEEDED | FAILED | EXPIRED | CANCELLED

A job that is SUBMITTING or UNCERTAIN has no remote id yet; its token stands in the place of it.

What is made for every row is a ``Struct``, which is cheap to make, and the garbage collector does not
walk through it: nothing that it holds refers to it.

All instants here are wall time: seconds since the epoch, UTC (see ``resilience._core.instants`` for
the other kind).  Spans are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

RECORD_VERSION = 1
"""Carried by every stored record, so that an old one can always be read."""


class State(StrEnum):
    """Where a job stands with us."""

    SUBMITTING = "submitting"
    WATCHING = "watching"
    UNCERTAIN = "uncertain"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing can happen any more."""
        return self in ENDED


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.EXPIRED, State.CANCELLED})

NAMELESS = frozenset({State.SUBMITTING, State.UNCERTAIN})
"""A job that has no remote id yet; its token stands in the place of it."""

MOVES: Mapping[State, frozenset[State]] = {
    State.SUBMITTING: frozenset({State.WATCHING, State.UNCERTAIN, State.FAILED, State.CANCELLED}),
    State.UNCERTAIN: frozenset({State.WATCHING, State.CANCELLED}),
    State.WATCHING: ENDED | {State.WATCHING},
}
"""What may follow what.  A pair that is not in here is a mistake of ours, never the provider's."""


class Phase(StrEnum):
    """What a provider's status text means."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    MISSING = "missing"
    """Not in the answer.  That is not a failure: it may not be visible yet."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of ownership.  ``bucket`` is 0 until an account is so large that it must be split."""

    provider: str
    deployment: str
    account: str
    bucket: int = 0


class JobKey(Struct, frozen=True, gc=False):
    """What makes a job the same job."""

    provider: str
    deployment: str
    account: str
    kind: str
    remote_id: str

    @property
    def shard(self) -> Shard:
        """Who owns it."""
        return Shard(self.provider, self.deployment, self.account)

    @property
    def source(self) -> str:
        """The CloudEvents source: ``/memories_ai/<account>/videos``."""
        return f"/{self.provider}/{self.account}/{self.kind}"


class Job(Struct, frozen=True, kw_only=True, gc=False):
    """One row.  ``rid`` is never reused; ``version`` counts its transitions from 1."""

    rid: int
    version: int
    key: JobKey
    state: State
    status: str | None = None
    """The provider's own status text, as it was last seen."""
    cause: str | None = None
    reason: str | None = None
    """Why it expired (``deadline`` or ``missing``), or is uncertain (``several``, ``none`` …)."""
    created_at: float
    """First watched at."""
    submitted_at: float | None = None
    deadline: float | None = None
    ended_at: float | None = None
    looks: int = 0
    """Looks up to the last transition."""
    data: Any = None
    """The user's own, any JSON value."""
    features: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """What is known about it besides, as JSON: what the provider tells that may predict the duration
    (``duration``, ``size`` …), what the source was told when it was watched (``expect``, ``settle``),
    and ``children`` once it has ended."""


class NewJob(Struct, frozen=True, kw_only=True, gc=False):
    """A job to be registered: one to be watched, or one that is about to be submitted."""

    key: JobKey
    state: State = State.WATCHING
    created_at: float
    deadline: float | None = None
    submitted_at: float | None = None
    data: Any = None
    features: Mapping[str, Any] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One of the things that a job is made of: a video of a scraper task.

    Attributes:
        id: The provider's id.
        state: ``pending``, ``succeeded``, ``failed`` or ``missing``.
        status: The provider's own status text, or None if it was never seen.
        cause: The provider's reason for a failure, or None.
    """

    id: str
    state: str
    status: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one look found out about one job."""

    remote_id: str
    phase: Phase
    status: str | None = None
    cause: str | None = None
    known: bool = True
    """False if nobody has told us what this status text means; it counts as pending."""
    features: Mapping[str, Any] = field(default_factory=dict)
    children: tuple["Sighting", ...] = ()


class Transition(Struct, frozen=True, kw_only=True, gc=False):
    """One change of one row, with the one event that tells of it.

    The store applies it only if the row still has ``after.version - 1``.  One of the type
    ``watching`` also gives the row its remote id.
    """

    after: Job
    type: str
    """The event's type without its prefix: ``succeeded``."""
    at: float
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened to a whole shard: ``stalled`` or ``resumed``."""

    type: str
    at: float
    data: Mapping[str, Any]


class EventRow(Struct, frozen=True, kw_only=True, gc=False):
    """One row of the outbox.

    ``seq`` grows in commit order.  ``rid`` is 0 for a notice, whose ``version`` counts the notices
    of its shard.
    """

    seq: int
    rid: int
    version: int
    shard: Shard
    kind: str
    subject: str
    type: str
    at: float
    data: Mapping[str, Any]

    @property
    def line(self) -> int | Shard:
        """What it must stay in order with: the events of its job, or the notices of its shard."""
        return self.rid or self.shard


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedRow:
    """A row of the outbox that a sink could not take, and why."""

    sink: str
    row: EventRow
    reason: str
