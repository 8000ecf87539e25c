"""Records of calls as OpenTelemetry metrics and spans.  Only who asks for it imports this module.

Names and units follow the general rules of the semantic conventions (dotted, UCUM units, seconds,
``error.type`` for what went wrong).  There are none for guards, so the rest is ``resilience.*``.

Everything that becomes an attribute of a metric is bounded: an endpoint or a code that is one too
many is counted under ``_OTHER``, as the conventions name it.
"""

import time
from collections.abc import Callable

from opentelemetry import metrics, trace
from opentelemetry.trace import Status, StatusCode

from resilience.records import AttemptRecord, CallRecord, Record, ShadowRecord

SCOPE = "resilience"
OTHER = "_OTHER"

MOST = 200
"""Endpoints, and codes, that are told apart."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds: those of HTTP durations, and on to what a wait for a quota takes."""

Attributes = dict[str, str | int | float | bool]


class Bounded:
    """Values of an attribute, of which only so many are told apart."""

    def __init__(self, most: int = MOST) -> None:
        self._known: set[str] = set()
        self._most = most

    def __call__(self, value: str) -> str:
        """The value, or ``_OTHER``."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value


class Telemetry:
    """An observer of guards."""

    def __init__(
        self,
        meter_provider: metrics.MeterProvider | None,
        tracer_provider: trace.TracerProvider | None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._clock = clock
        self._endpoints, self._codes = Bounded(), Bounded()
        self._attempts = meter.create_counter(
            "resilience.attempts", "{attempt}", "Attempts, by what they brought"
        )
        self._durations = meter.create_histogram(
            "resilience.call.duration", "s", "Calls from the first wait to the last answer",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )  # fmt: skip
        self._waits = meter.create_histogram(
            "resilience.call.wait", "s", "What calls waited for quotas, doors and retries",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )  # fmt: skip
        self._rejections = meter.create_counter(
            "resilience.call.rejections", "{call}", "Calls that were refused before any attempt"
        )
        self._shadows = meter.create_counter(
            "resilience.shadow.calls",
            "{call}",
            "Calls that were only watched, by what would have been",
        )

    def __call__(self, record: Record) -> None:
        """Count it, and trace it."""
        if isinstance(record, AttemptRecord):
            self._attempt(record)
        elif isinstance(record, CallRecord):
            self._call(record)
        else:
            self._shadow(record)

    def _attempt(self, record: AttemptRecord) -> None:
        facts = {**self._common(record), "resilience.verdict": record.verdict}
        self._attempts.add(1, facts)
        if record.verdict != "success":  # whoever traces finds it in the span that it delayed
            wait = {} if record.wait is None else {"resilience.wait": record.wait}
            trace.get_current_span().add_event(
                "resilience.attempt", {**facts, "resilience.attempt": record.attempt, **wait}
            )

    def _call(self, record: CallRecord) -> None:
        facts = self._common(record)
        if record.reason is not None:
            facts["error.type"] = record.reason
        self._durations.record(record.elapsed, facts)
        if record.waited > 0:
            self._waits.record(record.waited, facts)
        if record.reason is not None and not record.attempts:
            self._rejections.add(1, facts)
        self._trace(record, facts)

    def _trace(self, record: CallRecord, facts: Attributes) -> None:
        end = self._clock()
        span = self._tracer.start_span(
            f"resilience {facts['resilience.endpoint']}",
            attributes={
                **facts, "resilience.attempts": record.attempts, "resilience.waited": record.waited,
            },
            start_time=end - int(record.elapsed * 1e9),
        )  # fmt: skip
        if record.reason is not None:
            span.set_status(Status(StatusCode.ERROR, record.reason))
        span.end(end)

    def _shadow(self, record: ShadowRecord) -> None:
        would = {"resilience.before": record.before, "resilience.after": record.after}
        self._shadows.add(1, {**self._common(record), **would})

    def _common(self, record: Record) -> Attributes:
        facts: Attributes = {
            "resilience.policy": record.policy.partition("@")[0],
            "resilience.account": record.account,
            "resilience.endpoint": self._endpoints(record.endpoint),
        }
        if record.code is not None:
            facts["resilience.code"] = self._codes(record.code)
        return facts
