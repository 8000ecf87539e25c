"""OpenTelemetry, with the SDK's exporters in memory: what a poller did, as metrics and spans."""

from typing import Any

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_current_span
from pollers_kit import BAD, DOWN, EMPTY, NEVER, Provider, make_poller, paper_guard, results
from submit_kit import Shop

from pollers.observe import (
    DeliveryRecord,
    LookRecord,
    Observer,
    Record,
    SaveRecord,
    SearchRecord,
    StateRecord,
    to_opentelemetry,
)
from pollers.sinks import CallbackSink


class Backend:
    """Collects what an application would export."""

    def __init__(self) -> None:
        self.reader, self.spans = InMemoryMetricReader(), InMemorySpanExporter()
        self.meters = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.observer = to_opentelemetry(self.meters, self.tracers)

    def points(self, name: str) -> dict[tuple[Any, ...], Any]:
        """The points of a metric, by the values of their attributes in the order of the names."""
        found = self.reader.get_metrics_data()
        return {
            tuple(value for _, value in sorted(point.attributes.items())): point
            for resource in (found.resource_metrics if found else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }

    def names(self) -> dict[str, str]:
        """Every metric, with its unit."""
        found = self.reader.get_metrics_data()
        return {
            m.name: m.unit
            for r in found.resource_metrics
            for s in r.scope_metrics
            for m in s.metrics
        }

    def named(self, name: str) -> list[Any]:
        """The spans of a name."""
        return [span for span in self.spans.get_finished_spans() if span.name == name]


class Recorder(Observer):
    """Keeps every record, and what was under way when it came."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def tell(self, record: Record) -> None:
        self.records.append(record)

    def of(self, kind: type) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]


SOURCE = ("default", "jobs", "custom")


def test_metrics_of_a_poller(run: Any) -> None:
    """Looks, delays, events, saves and deliveries, against what happened."""
    backend = Backend()

    async def main() -> None:
        provider = Provider(delay=0.5)
        sinks = [CallbackSink(lambda _: None, name="mine")]
        settings = {"min_interval": 2.0, "max_interval": 2.0, "observe": backend.observer}
        async with make_poller(provider.source(batch=5), sinks=sinks, **settings) as poller:
            ids = [provider.add("a", at=9.0), provider.add("b", at=9.0, end="broken")]
            await results(await poller.watch_many(ids))
            await anyio.sleep(1.0)
        looks = backend.points("pollers.look.duration")[SOURCE]
        assert looks.count == len(provider.asked)
        assert looks.sum == pytest.approx(0.5 * len(provider.asked))
        assert backend.points("pollers.look.jobs")[SOURCE].value == 2 * len(provider.asked)
        delays = backend.points("pollers.job.delay")[SOURCE]
        assert (delays.count, delays.sum) == (2, pytest.approx(2 * (1.25 + 0.5)))
        events = {key[1]: point.value for key, point in backend.points("pollers.events").items()}
        assert events == {"watching": 2, "changed": 2, "succeeded": 1, "failed": 1}
        assert backend.points("pollers.save.duration")[SOURCE].count == 3
        assert backend.points("pollers.delivery.events")[("mine",)].value == 6
        assert backend.points("pollers.delivery.duration")[("mine",)].count == 6

    run(main)


def test_failures_have_an_error_type(run: Any) -> None:
    """The provider's code of a look, the class of a sink's exception."""
    backend = Backend()
    left = [1, 1]

    def sink(_: Any) -> None:
        if left:
            left.pop()
            raise RuntimeError("down")

    async def main() -> None:
        provider = Provider()
        provider.trouble = [DOWN, DOWN, DOWN]
        sinks = [CallbackSink(sink, name="mine")]
        async with make_poller(provider.source(), sinks=sinks, observe=backend.observer) as poller:
            await (await poller.watch(provider.add("a", at=3.0))).result()
            await anyio.sleep(20.0)

    run(main)
    looks = backend.points("pollers.look.duration")
    assert looks["down", *SOURCE].count == 3
    assert backend.points("pollers.delivery.duration")["RuntimeError", "mine"].count == 2
    assert backend.points("pollers.delivery.events")[("mine",)].value > 0
    failed = [
        span for span in backend.named("look jobs") if span.status.status_code is StatusCode.ERROR
    ]
    assert [span.attributes["error.type"] for span in failed] == ["down"] * 3
    assert [s.status.description for s in backend.named("deliver mine")][:2] == ["RuntimeError"] * 2


def test_the_state_is_told_every_ten_seconds(run: Any) -> None:
    """Jobs, what is due, what was left alone, stalls, and how far behind sinks are."""
    backend = Backend()
    down = [True]

    def sink(_: Any) -> None:
        if down:
            raise RuntimeError("down")

    async def main() -> None:
        provider = Provider()
        provider.always = lambda _: EMPTY if anyio.current_time() > 20.0 else None
        sinks = [CallbackSink(sink, name="mine")]
        source = provider.source(guard=paper_guard("ann"), batch=5)
        async with make_poller(source, sinks=sinks, observe=backend.observer) as poller:
            await poller.watch_many([provider.add(name, at=NEVER) for name in "abc"])
            await anyio.sleep(95.0)
            ann = ("ann", "jobs", "custom")
            assert backend.points("pollers.jobs")["ann", "jobs", "custom", "watching"].value == 3
            assert backend.points("pollers.jobs.due")[ann].value == 3
            assert 68.0 <= backend.points("pollers.look.oldest")[ann].value <= 71.0
            assert backend.points("pollers.stalled")["ann", "custom"].value == 1
            assert backend.points("pollers.sink.behind")[("mine",)].value == 7
            assert backend.points("pollers.sink.lag")[("mine",)].value == pytest.approx(
                90.0, abs=0.1
            )
            down.clear()
            provider.always = None
            await anyio.sleep(100.0)
            assert backend.points("pollers.stalled")["ann", "custom"].value == 0
            assert backend.points("pollers.sink.behind")[("mine",)].value == 0

    run(main)


def test_a_look_s_span_has_its_request_and_its_save(run: Any) -> None:
    """What an HTTP client traces is inside, and so is the transaction; times are those of the look."""
    backend = Backend()
    tracer = backend.tracers.get_tracer("an HTTP client")

    async def main() -> None:
        provider = Provider()
        one = provider.one

        async def traced(job_id: str) -> Any:
            with tracer.start_as_current_span("GET"):
                return await one(job_id)

        source = provider.source()
        source._ask = traced
        async with make_poller(source, observe=backend.observer) as poller:
            await (await poller.watch(provider.add("a", at=0.0))).result()

    run(main)
    [look] = backend.named("look jobs")
    [request] = backend.named("GET")
    inside = [span for span in backend.named("save jobs") if span.parent]
    assert request.parent.span_id == look.context.span_id == inside[0].parent.span_id
    assert look.attributes == {
        "pollers.provider": "custom", "pollers.account": "default", "pollers.kind": "jobs",
        "pollers.jobs": 1, "pollers.ended": 0,
    }  # fmt: skip
    assert inside[0].attributes["pollers.events.succeeded"] == 1
    [registered] = [span for span in backend.named("save jobs") if span.parent is None]
    assert registered.attributes["pollers.events.watching"] == 1
    assert not get_current_span().is_recording()


def test_a_search_has_a_span_and_a_metric(run: Any) -> None:
    """As a look has: what failed with the code, what was found, and the save of it inside."""
    backend = Backend()
    shop = Shop(visible_after=5.0)
    shop.search_trouble = [DOWN]

    async def main() -> None:
        async with shop.poller(observe=backend.observer) as poller:
            await (await poller.submit(shop.lose)).result()

    run(main)
    searches = backend.points("pollers.search.duration")
    assert searches["down", *SOURCE].count == 1
    assert searches[SOURCE].count == len(shop.searched) - 1 == 4
    failed, *_, found = backend.named("search jobs")
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "attempts")
    source = {
        "pollers.provider": "custom", "pollers.account": "default", "pollers.kind": "jobs",
    }  # fmt: skip
    assert failed.attributes == {**source, "error.type": "down", "pollers.found": 0}
    assert found.attributes == {**source, "pollers.found": 1}
    [save] = [
        span for span in backend.named("save jobs")
        if span.parent and span.parent.span_id == found.context.span_id
    ]  # fmt: skip
    assert save.attributes["pollers.events.watching"] == 1


def test_names_and_units() -> None:
    """Dotted, in seconds or in things; those that the docstring has, and no other."""
    from resilience.testing import run_virtual

    backend = Backend()

    async def main() -> None:
        shop = Shop()
        sinks = [CallbackSink(lambda _: None, name="mine")]
        async with shop.poller(sinks=sinks, observe=backend.observer) as poller:
            await (await poller.submit(shop.lose)).result()
            await anyio.sleep(11.0)

    run_virtual(main)
    said = to_opentelemetry.__doc__ or ""
    assert [name for name in backend.names() if f"``{name}``" not in said] == []
    assert said.count("``pollers.") == len(backend.names()) == 15
    assert {unit for name, unit in backend.names().items() if name.endswith("duration")} == {"s"}


def test_codes_are_bounded() -> None:
    """A provider that makes codes up makes no thousand time series."""
    backend = Backend()
    for i in range(1000):
        backend.observer.tell(
            LookRecord(
                provider="p",
                account="a",
                kind="k",
                jobs=1,
                elapsed=0.1,
                code=f"c{i}",
                reason="fatal",
            )
        )
    assert len(backend.points("pollers.look.duration")) == 201
    assert backend.points("pollers.look.duration")["_OTHER", "a", "k", "p"].count == 800


# -- observers ------------------------------------------------------------------------------------


def test_an_observer_gets_records(run: Any) -> None:
    """Each look, each transaction, each delivery, and the state."""
    observer = Recorder()

    async def main() -> None:
        provider = Provider(delay=0.25)
        sinks = [CallbackSink(lambda _: None, name="mine")]
        async with make_poller(provider.source(batch=2), sinks=sinks, observe=observer) as poller:
            await poller.watch(provider.add("a", at=0.0))
            await anyio.sleep(15.0)

    run(main)
    [look] = observer.of(LookRecord)
    assert (look.jobs, look.elapsed, look.reason) == (1, 0.25, None)
    assert [dict(one.events) for one in observer.of(SaveRecord)] == [
        {"watching": 1},
        {"succeeded": 1},
    ]
    assert [(one.sink, one.events, one.error) for one in observer.of(DeliveryRecord)] == [
        ("mine", 1, None)
    ] * 2
    assert [one.snapshot["state"] for one in observer.of(StateRecord)] == ["running"] * 2


def test_an_observer_gets_searches(run: Any) -> None:
    """One record for each, with how long it took; also if it is refused, or can't be made."""
    observer = Recorder()
    shop = Shop()
    shop.search_trouble = [BAD, DOWN]

    async def slowly(intent: Any) -> Any:
        await anyio.sleep(0.25)
        return await shop.find(intent)

    async def main() -> None:
        async with shop.poller(observe=observer, source={"find_submitted": slowly}) as poller:
            await (await poller.submit(shop.lose)).result()
        async with shop.poller(observe=observer, source={"find_submitted": None}) as poller:
            await poller.submit(shop.lose)
            await anyio.sleep(1.0)

    run(main)
    told = [
        (one.elapsed, one.found, one.code, one.reason) for one in observer.of(SearchRecord)
    ]  # fmt: skip
    assert told == [
        (0.25, 0, "bad", "fatal"),
        (0.25, 0, "down", "attempts"),
        (0.25, 1, None, None),
        (0.0, 0, None, "no_search"),
    ]


def test_a_job_that_is_known_stores_no_event(run: Any) -> None:
    """So none is told of."""
    observer = Recorder()

    async def main() -> None:
        provider = Provider()
        async with make_poller(provider.source(), observe=observer) as poller:
            await poller.watch(provider.add("a", at=NEVER, visible=NEVER))
            await poller.watch_many(["a", "b", "b"])

    run(main)
    assert [sum(one.events.values()) for one in observer.of(SaveRecord)] == [1, 1]


@pytest.mark.parametrize("where", ["doing", "enter", "exit", "tell"])
def test_an_observer_that_fails_harms_nobody(
    run: Any, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and everything goes on."""

    class Block:
        def __enter__(self) -> None:
            assert where != "enter"

        def __exit__(self, *_: object) -> None:
            assert where != "exit"

    class Broken(Observer):
        def doing(self, what: Any, about: Any) -> Any:
            assert where != "doing"
            return Block()

        def tell(self, record: Any) -> None:
            assert where != "tell"

    async def main() -> None:
        provider = Provider()
        got: list[Any] = []
        sinks = [CallbackSink(got.append, name="mine")]
        async with make_poller(provider.source(), sinks=sinks, observe=Broken()) as poller:
            await (await poller.watch(provider.add("a", at=0.0))).result()
            await anyio.sleep(1.0)
            assert len(got) == 2

    run(main)
    assert {line.getMessage().split()[0] for line in caplog.records} == {
        "event='pollers.observer_failed'"
    }


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: Any) -> None:
    """Not only that a module is missing."""
    import sys

    monkeypatch.delitem(sys.modules, "pollers._opentelemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ModuleNotFoundError, match=r"resilience-pollers\[otel\]"):
        to_opentelemetry()
