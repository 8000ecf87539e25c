"""OpenTelemetry, with the SDK's exporters in memory: what a guard did, as metrics and spans."""

import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from resilience import AttemptRecord, CallRecord, Guard, Policy, QuotaError, to_opentelemetry
from resilience.testing import FixedChance, run_virtual, wall

POLICY = Policy.from_dict(
    {
        "name": "paper",
        "envelope": [{"required": ["/code"], "code": "/code", "success": ["0"]}],
        "codes": {
            "busy": {"verdict": "quota", "recovers": "window", "scope": "endpoint", "wait": 2.0},
            "empty": {
                "verdict": "quota", "recovers": "exhausted", "scope": "account", "probe_every": 60.0,
            },
        },
    }
)  # fmt: skip
CALL = {"endpoint": "e", "account": "a", "policy": "p@1", "code": None, "verdict": "success",
        "matched_by": None, "attempts": 1, "waited": 0.0, "elapsed": 0.5, "reason": None}  # fmt: skip
ATTEMPT = {"endpoint": "e", "account": "a", "policy": "p@1", "code": None, "verdict": "success",
           "matched_by": "", "attempt": 1, "wait": None, "wait_reason": None, "deadline_left": None,
           "certainty": "executed"}  # fmt: skip


class Backend:
    """Collects what an application would export."""

    def __init__(self):
        self.reader, self.spans = InMemoryMetricReader(), InMemorySpanExporter()
        self.meters = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.observer = to_opentelemetry(self.meters, self.tracers)

    def metrics(self):
        found = self.reader.get_metrics_data()
        return {
            m.name: m for r in found.resource_metrics for s in r.scope_metrics for m in s.metrics
        }

    def points(self, name):
        """The points of a metric, by the values of their attributes in the order of the names."""
        metric = self.metrics().get(name)
        return {
            tuple(value for _, value in sorted(point.attributes.items())): point
            for point in (metric.data.data_points if metric else ())
        }

    def guard(self, **settings):
        return Guard(
            POLICY, "ann", wall=wall, chance=FixedChance(0.0), observe=self.observer, **settings
        )


def answering(*answers):
    """A function that gives these, one after the other."""
    left = list(answers)

    async def ask():
        return {"code": left.pop(0)}

    return ask


@pytest.fixture
def backend():
    return Backend()


def test_a_call_that_waited(backend):
    """Its attempts by code and verdict, its whole time, and what of it was waiting."""

    async def main():
        await backend.guard().options(endpoint="list").call(answering("busy", "busy", "0"))

    run_virtual(main)
    attempts = {key: point.value for key, point in backend.points("resilience.attempts").items()}
    assert attempts == {
        ("ann", "busy", "list", "paper", "quota"): 2,
        ("ann", "list", "paper", "success"): 1,
    }
    [(key, duration)] = backend.points("resilience.call.duration").items()
    assert key == ("ann", "list", "paper")
    assert duration.sum >= 4.0
    [(_, wait)] = backend.points("resilience.call.wait").items()
    assert wait.sum == pytest.approx(duration.sum)
    assert backend.points("resilience.call.rejections") == {}


def test_a_call_that_is_refused_before_it_is_made(backend):
    """Counted as a rejection; its span says why, in one word."""

    async def main():
        guard = backend.guard().options(endpoint="list")
        for _ in range(3):
            with pytest.raises(QuotaError):
                await guard.call(answering("empty"))

    run_virtual(main)
    [(key, rejected)] = backend.points("resilience.call.rejections").items()
    assert backend.points("resilience.call.wait") == {}
    assert (key, rejected.value) == (("exhausted", "ann", "empty", "list", "paper"), 2)
    spans = backend.spans.get_finished_spans()
    assert [span.name for span in spans] == ["resilience list"] * 3
    assert [span.attributes["resilience.attempts"] for span in spans] == [1, 0, 0]
    assert {(s.status.status_code, s.status.description) for s in spans} == {
        (StatusCode.ERROR, "exhausted")
    }


def test_spans_are_where_the_caller_is(backend):
    """The call is a child of the caller's span, as long as it took; failed attempts are its events."""
    tracer = backend.tracers.get_tracer("mine")

    async def main():
        with tracer.start_as_current_span("request"):
            await backend.guard().options(endpoint="list").call(answering("busy", "0"))

    run_virtual(main)
    call, request = backend.spans.get_finished_spans()
    assert (call.name, call.parent.span_id) == ("resilience list", request.context.span_id)
    assert call.end_time - call.start_time == pytest.approx(
        backend.points("resilience.call.duration")["ann", "list", "paper"].sum * 1e9, abs=1e6
    )
    assert call.status.status_code is StatusCode.UNSET
    [event] = request.events
    assert event.name == "resilience.attempt"
    assert (event.attributes["resilience.code"], event.attributes["resilience.attempt"]) == (
        "busy",
        1,
    )


def test_a_guard_that_only_watches(backend):
    """What would have been."""

    async def main():
        guard = backend.guard(enforce=False).options(endpoint="list")
        await guard.call(answering("busy"))

    run_virtual(main)
    [(key, point)] = backend.points("resilience.shadow.calls").items()
    assert (key, point.value) == (("ann", "retry", "go", "busy", "list", "paper"), 1)


def test_attributes_are_bounded(backend):
    """Codes and endpoints that nobody expected make no time series without end."""
    for i in range(1000):
        backend.observer(AttemptRecord(**{**ATTEMPT, "code": f"c{i}"}))
        backend.observer(CallRecord(**{**CALL, "endpoint": f"e{i}"}))
    assert len(backend.points("resilience.attempts")) == 201
    assert len(backend.points("resilience.call.duration")) == 200
    assert backend.points("resilience.call.duration")["a", "_OTHER", "p"].count == 801


def test_metrics_are_as_documented(backend):
    """Every name is in the docstring; durations are in seconds."""
    for reason, attempts in ((None, 1), ("max_wait", 0)):
        backend.observer(
            CallRecord(**{**CALL, "reason": reason, "attempts": attempts, "waited": 1.0})
        )
    backend.observer(AttemptRecord(**ATTEMPT))
    test_a_guard_that_only_watches(backend)
    said = to_opentelemetry.__doc__
    metrics = backend.metrics()
    assert len(metrics) == 5
    assert [name for name in metrics if f"``{name}``" not in said] == []
    assert {m.unit for name, m in metrics.items() if name.endswith(("duration", "wait"))} == {"s"}


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    """Not only that a module is missing."""
    monkeypatch.delitem(sys.modules, "resilience._opentelemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ModuleNotFoundError, match=r"resilience-pollers\[otel\]"):
        to_opentelemetry()
