"""What a poller tells whoever observes it: when it does something, and what came of it.

Records are plain data of low cardinality: no ids, no user's data, no provider's words.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

Doing = Literal["look", "search", "save", "deliver"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRecord:
    """One look, when it was answered or has failed.  Times are seconds.

    Attributes:
        provider: of the source, as ``account`` and ``kind``.
        account: a name, never a key.
        kind: of the jobs.
        jobs: that were asked for; 0 if the look was refused before anybody was asked.
        elapsed: from the request to its answer.
        delays: of each job that was found ended: how long that went unnoticed, as
            ``Poller.snapshot`` estimates it.
        code: the provider's, if it failed.
        reason: why it failed, in one word; None for success.
    """

    provider: str
    account: str
    kind: str
    jobs: int
    elapsed: float
    delays: tuple[float, ...] = ()
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """One search for a job whose submit had no reply, answered or failed.  Times are seconds.

    Attributes:
        provider: of the source, as ``account`` and ``kind``.
        account: a name, never a key.
        kind: of the jobs.
        elapsed: from its beginning to its end: all its requests, and their waits for a quota.
        found: how many of the provider's jobs may be the one.
        code: the provider's, if it failed.
        reason: why it failed, in one word, or ``no_search`` if the source can't search; None for an
            answer, whatever was found.
    """

    provider: str
    account: str
    kind: str
    elapsed: float
    found: int = 0
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveRecord:
    """One transaction of the store.  Times are seconds.

    Attributes:
        provider: of the source, as ``account`` and ``kind``.
        account: a name, never a key.
        kind: of the jobs.
        events: how many were stored, by the type without its prefix: ``{"succeeded": 2}``.
        elapsed: how long it took.
    """

    provider: str
    account: str
    kind: str
    events: Mapping[str, int]
    elapsed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """One attempt to deliver events.  Times are seconds.

    Attributes:
        sink: its name.
        events: how many.
        elapsed: how long it took.
        error: the exception's class, if it failed.
    """

    sink: str
    events: int
    elapsed: float
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRecord:
    """Every ten seconds: what ``Poller.snapshot`` gives."""

    snapshot: Mapping[str, Any] = field(repr=False)


Record = LookRecord | SearchRecord | SaveRecord | DeliveryRecord | StateRecord


class Observer:
    """Told of everything, does nothing: inherit from it, and write what you need.

    Both methods are called in the poller's own tasks, so they must be quick.  One that raises is
    logged, and harms nobody.
    """

    def doing(self, what: Doing, about: Mapping[str, str]) -> AbstractContextManager[object]:
        """Entered when the poller begins to do something, left when it is done.

        The record of it comes inside, so a tracer's current span is its.  A look's block has the
        requests and the save of what it found in it, and so has a search's.

        Args:
            what: ``look``, ``search``, ``save`` or ``deliver``.
            about: ``provider``, ``account`` and ``kind``; or ``sink``.
        """
        del what, about
        return nullcontext()

    def tell(self, record: Record) -> None:
        """Something is over."""


def to_opentelemetry(
    meter_provider: "MeterProvider | None" = None, tracer_provider: "TracerProvider | None" = None
) -> Observer:
    """An observer that makes OpenTelemetry metrics and spans, for ``Poller(observe=…)``.

    Metrics of what happens: ``pollers.look.duration``, ``pollers.look.jobs``, ``pollers.job.delay``,
    ``pollers.search.duration``, ``pollers.events``, ``pollers.save.duration``,
    ``pollers.delivery.duration``, ``pollers.delivery.events``; and every ten seconds the state:
    ``pollers.jobs``, ``pollers.jobs.due``, ``pollers.look.oldest``, ``pollers.stalled``,
    ``pollers.sink.behind``, ``pollers.sink.lag``, ``pollers.sink.parked``.  A span for each look,
    search, save and delivery; what HTTP clients trace of a look or search is inside its span.  What
    guards do is for ``resilience.to_opentelemetry``.

    Args:
        meter_provider: None takes the global one, as for ``tracer_provider``.
        tracer_provider: where spans go.

    Raises:
        ModuleNotFoundError: the extra ``otel`` is not installed.
    """
    try:
        from pollers._opentelemetry import Telemetry
    except ModuleNotFoundError as missing:
        said = f"to_opentelemetry needs: pip install 'resilience-pollers[otel]' (no {missing.name})"
        raise ModuleNotFoundError(said, name=missing.name) from None
    return Telemetry(meter_provider, tracer_provider)
