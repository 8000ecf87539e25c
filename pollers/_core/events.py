"""What happened to jobs: frozen classes, and the same as CloudEvents 1.0.

An event is stored in the transaction of the change that it tells of.  Its id
``<store uuid>:<rid>:<version>`` is the same after any retry or restart, so whoever remembers ids (or
keeps the cursor together with the effect) acts on it once.  Delivery is at least once and in order
per job.
"""

import base64
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pollers._core.model import Child, EventRow

TYPE_PREFIX = {"stalled": "pollers", "resumed": "pollers"}
_JOB_PREFIX = "pollers.job"


class BadCursor(ValueError):  # noqa: N818
    """The cursor is not one of this store's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        id: stable over retries and restarts.
        cursor: opaque; ``events(after=cursor)`` goes on behind this event.
        time: when it was noticed (aware, UTC).
        source: ``/memories_ai/<account>/videos``.
        subject: the job's id, or the scope of a notice.
    """

    id: str
    cursor: str
    time: datetime
    source: str
    subject: str

    def data(self) -> dict[str, Any]:
        """The CloudEvents ``data``."""
        skip = ("id", "cursor", "time", "source", "subject")
        return {name: getattr(self, name) for name in _fields(type(self)) if name not in skip}

    def to_cloudevent(self) -> dict[str, Any]:
        """CloudEvents 1.0 JSON, structured mode, as a dict; ``cursor`` is an extension attribute."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": _TYPE_OF[type(self)],
            "subject": self.subject,
            "time": self.time.isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "cursor": self.cursor,
            "data": self.data(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """An event that a sink could not take; it stays in the store.

    Attributes:
        sink: the sink's name.
        event: the event.
        reason: why, in the words of whoever refused it; or that it stands behind one that was.
    """

    sink: str
    event: Event
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent(Event):
    """Something that happened to a job.

    Attributes:
        status: the provider's own status text, or None if it was never seen.
        cause: the provider's reason, or None.
        elapsed: seconds since the job was first watched.
        looks: how often we looked.
        user_data: what was given to ``watch(data=…)``.
        children: in the event of its end, what a job was made of (the videos of a scraper task);
            empty for other kinds, and not in ``data()`` then.
    """

    status: str | None
    cause: str | None
    elapsed: float
    looks: int
    user_data: Any
    children: tuple[Child, ...] = ()

    @property
    def job_id(self) -> str:
        """The provider's id of the job."""
        return self.subject

    def data(self) -> dict[str, Any]:
        """The CloudEvents ``data``."""
        facts = Event.data(self)
        children = [asdict(child) for child in facts.pop("children")]
        return facts | {"children": children} if children else facts


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSubmitting(JobEvent):
    """It is about to be submitted; ``subject`` is the token that the request carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUncertain(JobEvent):
    """The reply to a submit was lost, and nobody can tell by itself what became of it.

    The work may have been done, and billed, once.  It is not submitted again: see ``remedy``.

    Attributes:
        reason: ``several`` of the provider's jobs have the token, ``none`` has it, or the source has
            ``no_search``.
        candidates: ids of the provider that may be the one.
        remedy: what a person should do.
    """

    reason: str
    candidates: tuple[str, ...] = ()
    remedy: str = ""

    def data(self) -> dict[str, Any]:
        """The CloudEvents ``data``."""
        return JobEvent.data(self) | {"candidates": list(self.candidates)}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWatching(JobEvent):
    """It is being watched.

    Attributes:
        token: of a job that was submitted, what stood for its id until now; None for others, and
            not in ``data()`` then.
    """

    token: str | None = None

    def data(self) -> dict[str, Any]:
        """The CloudEvents ``data``."""
        facts = JobEvent.data(self)
        return facts if self.token else {k: v for k, v in facts.items() if k != "token"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChanged(JobEvent):
    """Its status text changed, and it goes on."""

    previous: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSucceeded(JobEvent):
    """It ended well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(JobEvent):
    """The provider says that it failed, or refused the submit; ``cause`` is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobExpired(JobEvent):
    """Its time was over (``reason="deadline"``) or the provider does not know it (``"missing"``).

    ``cause`` is None, or why the last look failed if looks did not work at the end.
    """

    reason: str = "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCancelled(JobEvent):
    """We stopped watching; the remote work goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollerStalled(Event):
    """The API refuses us; the jobs are kept, and we look again by ourselves.

    Attributes:
        code: the provider's code.
        message: its words.
        title: what the policy calls it.
        remedy: what a person should do.
        resume_at: ISO time of the next probe, or None.
    """

    code: str | None
    message: str
    title: str
    remedy: str
    resume_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PollerResumed(Event):
    """It answers again; or all jobs that waited for it have ended, so that nobody is held up.

    Then the next job's look finds out, and ``PollerStalled`` comes again if it is refused.

    Attributes:
        stalled_for: seconds.
    """

    stalled_for: float


TERMINAL = (JobSucceeded, JobFailed, JobExpired, JobCancelled)
Terminal = JobSucceeded | JobFailed | JobExpired | JobCancelled

_CLASSES: dict[str, type[Event]] = {
    "submitting": JobSubmitting,
    "uncertain": JobUncertain,
    "watching": JobWatching,
    "changed": JobChanged,
    "succeeded": JobSucceeded,
    "failed": JobFailed,
    "expired": JobExpired,
    "cancelled": JobCancelled,
    "stalled": PollerStalled,
    "resumed": PollerResumed,
}
_TYPE_OF = {cls: f"{TYPE_PREFIX.get(name, _JOB_PREFIX)}.{name}" for name, cls in _CLASSES.items()}


def event_of(row: EventRow, store: str) -> Event:
    """The event that a row of the outbox stands for; ``store`` is the store's uuid."""
    cls = _CLASSES[row.type]
    known = set(_fields(cls))
    shard = row.shard
    # a notice has no row: its shard's name has slashes in it, so that it can't be taken for one
    where = f"{row.rid}" if row.rid else "/".join(
        quote(part, safe=":") for part in (shard.provider, shard.deployment, shard.account)
    )  # fmt: skip
    return cls(
        id=f"{store}:{where}:{row.version}",
        cursor=cursor_of(row.seq, store),
        time=datetime.fromtimestamp(row.at, UTC),
        source="".join(f"/{quote(part, safe='')}" for part in _source(row)),
        subject=row.subject,
        **{key: _value(key, value) for key, value in row.data.items() if key in known},
    )


def _value(key: str, value: Any) -> Any:
    if key == "candidates":
        return tuple(value)
    if key != "children":
        return value
    known = set(_fields(Child))
    return tuple(Child(**{k: v for k, v in one.items() if k in known}) for one in value)


def _source(row: EventRow) -> tuple[str, ...]:
    account = row.shard.provider, row.shard.account
    return (*account, row.kind) if row.kind else account


def cursor_of(seq: int, store: str) -> str:
    """An opaque cursor behind the event with this sequence number."""
    plain = f"{store[:8]}.{seq}".encode()
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def seq_of(cursor: str, store: str) -> int:
    """The sequence number that a cursor stands behind; ``""`` is the start.

    Raises:
        BadCursor: it is not a cursor, or it belongs to another store.
    """
    if not cursor:
        return 0
    owner, number = place_of(cursor)
    if owner != store[:8]:
        msg = f"the cursor {cursor!r} belongs to another store"
        raise BadCursor(msg)
    if number < 0 or cursor_of(number, store) != cursor:
        # base64 and int() are lenient: a cursor that was cut or touched must not mean another place
        msg = f"{cursor!r} is not a cursor as an event had it"
        raise BadCursor(msg)
    return number


def place_of(cursor: str) -> tuple[str, int]:
    """The store (the first 8 digits of its uuid) and the sequence number of an event.

    Raises:
        BadCursor: it is not a cursor.
    """
    try:
        plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        owner, seq = plain.rsplit(".", 1)
        return owner, int(seq)
    except ValueError:
        msg = f"{cursor!r} is not a cursor: give one that an event had, or '' for the start"
        raise BadCursor(msg) from None


def _fields(cls: type) -> tuple[str, ...]:
    return tuple(cls.__dataclass_fields__)  # type: ignore[attr-defined]
