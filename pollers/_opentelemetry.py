"""What a poller tells, as OpenTelemetry metrics and spans.  Only who asks for it imports this module.

Attributes are sources' and sinks' names, states, and codes of the provider, of which so many are told
apart as in ``resilience``.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.trace import Status, StatusCode

from pollers.observe import (
    DeliveryRecord,
    Doing,
    LookRecord,
    Observer,
    Record,
    SaveRecord,
    SearchRecord,
    StateRecord,
)

SCOPE = "pollers"
OTHER = "_OTHER"

MOST = 200
"""Codes that are told apart."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Seconds."""


class Telemetry(Observer):
    """An observer of pollers."""

    def __init__(
        self,
        meter_provider: metrics.MeterProvider | None,
        tracer_provider: trace.TracerProvider | None,
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._codes: set[str] = set()
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)

        def histogram(name: str, description: str) -> metrics.Histogram:
            return meter.create_histogram(
                name, "s", description, explicit_bucket_boundaries_advisory=BUCKETS
            )

        self._looks = histogram("pollers.look.duration", "From the request of a look to its answer")
        self._looked = meter.create_counter("pollers.look.jobs", "{job}", "Jobs asked for")
        self._delays = histogram("pollers.job.delay", "How long the end of a job went unnoticed")
        self._searches = histogram(
            "pollers.search.duration", "Searches for submits without a reply"
        )
        self._events = meter.create_counter("pollers.events", "{event}", "Events stored, by type")
        self._saves = histogram("pollers.save.duration", "Transactions of the store")
        self._deliveries = histogram("pollers.delivery.duration", "Attempts to deliver events")
        self._delivered = meter.create_counter("pollers.delivery.events", "{event}", "Delivered")
        self._state = _State(meter)

    def doing(self, what: Doing, about: Mapping[str, str]) -> AbstractContextManager[object]:
        """A span, which is the current one inside."""
        name = about.get("kind") or about.get("sink", "")
        return self._tracer.start_as_current_span(
            f"{what} {name}", attributes=_named(about),
            record_exception=False, set_status_on_exception=False,
        )  # fmt: skip

    def tell(self, record: Record) -> None:
        """Count it, and say in its span what came of it."""
        if isinstance(record, LookRecord):
            self._look(record)
        elif isinstance(record, SearchRecord):
            self._search(record)
        elif isinstance(record, SaveRecord):
            self._save(record)
        elif isinstance(record, DeliveryRecord):
            self._delivery(record)
        else:
            self._state.show(record)

    def _look(self, record: LookRecord) -> None:
        facts = _source(record)
        self._looked.add(record.jobs, facts)
        for delay in record.delays:
            self._delays.record(delay, facts)
        facts |= self._error(record)
        self._looks.record(record.elapsed, facts)
        ended = len(record.delays)
        _mark(record.reason, {**facts, "pollers.jobs": record.jobs, "pollers.ended": ended})

    def _search(self, record: SearchRecord) -> None:
        facts = _source(record) | self._error(record)
        self._searches.record(record.elapsed, facts)
        _mark(record.reason, {**facts, "pollers.found": record.found})

    def _save(self, record: SaveRecord) -> None:
        facts = _source(record)
        self._saves.record(record.elapsed, facts)
        for name, count in record.events.items():
            self._events.add(count, {**facts, "pollers.event": name})
        _mark(None, {f"pollers.events.{name}": count for name, count in record.events.items()})

    def _delivery(self, record: DeliveryRecord) -> None:
        facts: dict[str, Any] = {"pollers.sink": record.sink}
        if record.error is None:
            self._delivered.add(record.events, facts)
        else:
            facts["error.type"] = record.error
        self._deliveries.record(record.elapsed, facts)
        _mark(record.error, {**facts, "pollers.events": record.events})

    def _error(self, record: LookRecord | SearchRecord) -> dict[str, str]:
        if record.reason is None:
            return {}
        return {"error.type": self._code(record.code) or record.reason}

    def _code(self, code: str | None) -> str | None:
        if code is None or code in self._codes:
            return code
        if len(self._codes) >= MOST:
            return OTHER
        self._codes.add(code)
        return code


class _State:
    """Gauges of what snapshots have: the last of each is shown whenever somebody collects.

    That may be in another thread, so it reads what was put there and asks no poller.
    """

    def __init__(self, meter: metrics.Meter) -> None:
        self._meter = meter
        self._jobs = self._gauge("pollers.jobs", "{job}", "Live jobs, by state")
        self._due = self._gauge("pollers.jobs.due", "{job}", "Jobs whose look is due")
        self._oldest = self._gauge("pollers.look.oldest", "s", "Since the oldest look")
        self._stalled = self._gauge("pollers.stalled", "1", "Whether the API refuses the account")
        self._behind = self._gauge("pollers.sink.behind", "{event}", "Events still to be delivered")
        self._lag = self._gauge("pollers.sink.lag", "s", "The age of the oldest of them")
        self._parked = self._gauge("pollers.sink.parked", "{event}", "Events that were not taken")

    def _gauge(self, name: str, unit: str, description: str) -> "_Values":
        values = _Values()
        self._meter.create_observable_gauge(name, [values.observe], unit, description)
        return values

    def show(self, record: StateRecord) -> None:
        """Set them all."""
        for one in record.snapshot["sources"]:
            facts = _named({name: one[name] for name in ("provider", "account", "kind")})
            for state, count in one["jobs"].items():
                self._jobs.set(count, {**facts, "pollers.state": state})
            self._due.set(one["due"], facts)
            self._oldest.set(one["oldest_look"], facts)
        for one in record.snapshot["accounts"]:
            facts = _named({name: one[name] for name in ("provider", "account")})
            self._stalled.set(int(one["stalled_since"] is not None), facts)
        for one in record.snapshot["sinks"]:
            facts = _named({"sink": one["sink"]})
            self._behind.set(one["behind"], facts)
            self._lag.set(one["behind_seconds"], facts)
            self._parked.set(one["parked"], facts)


class _Values:
    """One gauge's, by attributes."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], metrics.Observation] = {}

    def set(self, value: float, facts: Mapping[str, str]) -> None:
        """From now on it is this."""
        self._last[tuple(facts.values())] = metrics.Observation(value, facts)

    def observe(self, _options: metrics.CallbackOptions) -> list[metrics.Observation]:
        """What is shown."""
        return list(self._last.values())


def _mark(error: str | None, facts: Mapping[str, Any]) -> None:
    """Say in the span that we are in what came of it."""
    span = trace.get_current_span()
    span.set_attributes(facts)
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, error))


def _source(record: LookRecord | SearchRecord | SaveRecord) -> dict[str, Any]:
    return _named({"provider": record.provider, "account": record.account, "kind": record.kind})


def _named(about: Mapping[str, str]) -> dict[str, Any]:
    return {f"pollers.{name}": value for name, value in about.items()}
