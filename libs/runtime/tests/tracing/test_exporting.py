"""What leaves the process, and what happens when nobody takes it."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator

import grpc
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace_runtime.logs import configure_logging
from millrace_runtime.metrics import Metric as Row
from millrace_runtime.metrics import MetricTable
from millrace_runtime.settings import SettingsError
from millrace_runtime.tracing import Tracer, TracingSettings, current, exporting, metrics_of, tracer
from millrace_runtime.tracing.outbox import MOST_SPANS
from millrace_testkit.otlp import OtlpReceiver

from .conftest import CALLER, SAMPLED, TRACE, UNSAMPLED, Exporting


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged meanwhile, as lines of JSON."""
    stream = io.StringIO()
    configure_logging("test", stream=stream)
    yield stream
    configure_logging("test")


def events(logged: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in logged.getvalue().splitlines()]


def made(service: str = "demo") -> Tracer:
    found = tracer(service)
    assert found is not None
    return found


async def test_nothing_is_exported_without_an_endpoint() -> None:
    async with exporting(TracingSettings.load()):
        assert tracer("demo") is None
        with metrics_of("demo", registry := CollectorRegistry()):
            assert list(registry.collect()) == []


def test_a_process_that_is_off_imports_nothing_of_opentelemetry() -> None:
    code = """
import asyncio, sys
from prometheus_client import CollectorRegistry
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.tracing import TracingSettings, exporting, metrics_of, tracer
async def main():
    async with exporting(TracingSettings.load()):
        assert tracer("demo") is None
        with metrics_of("demo", CollectorRegistry()):
            print([name for name in sys.modules if name.startswith("opentelemetry")])
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_spans_arrive_with_their_parents(exports: Exporting, receiver: OtlpReceiver) -> None:
    async with exports():
        assert made().begin("GET /x", UNSAMPLED) is None
        assert made().begin("GET /x", None) is None
        with made().begin("GET /x", SAMPLED) or pytest.fail("sampled") as request:
            assert current.get() is request
            request.set("a", 1)
            step = request.child("step", "internal")
            step.end("DiskFullError")
        assert current.get() is None
        followed = made("other").follow("land", "consumer", step.traceparent, {"b": "x"})
        assert followed is not None
        followed.end()
        followed.end("a second end changes nothing")
    by_name = {span.name: span for span in receiver.spans}
    assert len(receiver.spans) == len(by_name) == 3
    first, second, third = by_name["GET /x"], by_name["step"], by_name["land"]
    assert (first.trace, first.parent, first.kind, first.service) == (TRACE, CALLER, "server", "demo")
    assert (second.parent, second.kind, second.failed) == (first.id, "internal", True)
    assert (third.parent, third.kind, third.service) == (second.id, "consumer", "other")
    assert {span.trace for span in receiver.spans} == {TRACE}
    assert (first.attributes, third.attributes) == ({"a": 1}, {"b": "x"})
    assert second.attributes == {"error.type": "DiskFullError"}
    assert (first.failed, third.failed) == (False, False)


async def test_a_trace_that_begins_here_has_an_id_of_its_own(
    exports: Exporting, receiver: OtlpReceiver
) -> None:
    async with exports(TRACE_SAMPLE_RATIO=1):
        for header in (None, "nonsense"):
            span = made().begin("x", header)
            assert span is not None
            span.end()
    assert len({span.trace for span in receiver.spans}) == 2
    assert {span.parent for span in receiver.spans} == {""}


async def test_an_exception_ends_the_span_with_its_type_and_no_more(
    exports: Exporting, receiver: OtlpReceiver
) -> None:
    async with exports():
        with pytest.raises(ValueError), made().begin("x", SAMPLED) or pytest.fail("sampled"):  # noqa: PT011
            raise ValueError("the secret is hunter2")
    [span] = receiver.spans
    assert (span.failed, span.attributes) == (True, {"error.type": "ValueError"})
    assert b"hunter2" not in span.raw


async def test_what_strangers_write_is_followed_within_the_limit(
    exports: Exporting, receiver: OtlpReceiver
) -> None:
    async with exports(TRACE_CALLERS_PER_S=3):
        spans = [made().follow("x", "consumer", SAMPLED, trusted=False) for _ in range(50)]
        assert 3 <= sum(span is not None for span in spans) <= 4
        assert all(made().follow("x", "consumer", SAMPLED) for _ in range(50))
        assert made().follow("x", "consumer", UNSAMPLED) is None
        assert made().follow("x", "consumer", "nonsense") is None


async def test_spans_and_metrics_of_a_process_name_the_same_instance(
    exports: Exporting, receiver: OtlpReceiver
) -> None:
    """Two lake writers count the same things; those who collect have to tell them apart."""
    async with exports():
        fill(1)
        with metrics_of("demo", CollectorRegistry()):
            pass
    assert len({resource["service.instance.id"] for resource in receiver.resources}) == 1
    assert len(receiver.resources) == 2


async def test_names_come_from_the_environment_where_it_has_them(
    exports: Exporting, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "chat")
    async with exports():
        span = made().begin("x", SAMPLED)
        assert span is not None
        span.end()
    assert [span.service for span in receiver.spans] == ["chat"]


class Odd(Collector):
    """A kind of metric that is not sent, and a value that says nothing."""

    def collect(self) -> Iterator[Metric]:
        info = Metric("odd", "Odd", "info")
        info.add_sample("odd_info", {"a": "b"}, 1)
        yield info
        yield GaugeMetricFamily("nothing", "Nothing to tell", float("nan"))


async def test_metrics_arrive_as_the_management_port_shows_them(
    exports: Exporting, receiver: OtlpReceiver
) -> None:
    registry = CollectorRegistry()
    metrics = MetricTable(
        Row("m_taken", "counter", "bodies", "Taken", ("kind",)),
        Row("m_lag", "gauge", "lines", "Lag"),
        Row("m_seconds", "histogram", "seconds", "Time", ("op",), (0.1, 1.0)),
    ).build(registry)
    registry.register(Odd())
    metrics.counter("m_taken").labels(kind="a").inc(3)
    metrics.counter("m_taken").labels(kind="b").inc()
    metrics.gauge("m_lag").set(-2.5)
    for value in (0.05, 0.06, 0.5, 7.0):
        metrics.histogram("m_seconds").labels(op="x").observe(value)
    async with exports(OTLP_METRICS_INTERVAL_S=0.05):
        with metrics_of("demo", registry):
            await asyncio.to_thread(receiver.wait_for, lambda seen: seen.points, "metrics")
            metrics.gauge("m_lag").set(4)
        assert registry.get_sample_value("millrace_trace_spans_dropped_total") is None
    points = [point for point in receiver.points if point.name.startswith("m_")]
    first, last = points[:4], points[-4:]
    assert {(p.name, *p.attributes.items(), round(p.value, 6)) for p in first} == {
        ("m_taken_total", ("kind", "a"), 3.0),
        ("m_taken_total", ("kind", "b"), 1.0),
        ("m_lag", -2.5),
        ("m_seconds", ("op", "x"), 7.61),
    }
    assert [(p.counts, p.bounds) for p in first if p.counts] == [((2, 1, 1), (0.1, 1.0))]
    assert [p.value for p in last if p.name == "m_lag"] == [4.0]
    assert {p.service for p in points} == {"demo"}
    assert not {"odd", "odd_info", "nothing"} & {p.name for p in receiver.points}
    assert {"millrace_trace_spans_dropped_total", "millrace_otlp_failures_total"} <= {
        p.name for p in receiver.points
    }


@pytest.fixture
def away(receiver: OtlpReceiver, exports: Exporting) -> Exporting:
    """The receiver's port is closed."""
    receiver.stop()
    return exports


def fill(spans: int) -> float:
    """Make and end so many spans; how long the slowest took."""
    slowest = 0.0
    for _ in range(spans):
        began = time.perf_counter()
        span = made().follow("x", "consumer", SAMPLED)
        assert span is not None
        span.end()
        slowest = max(slowest, time.perf_counter() - began)
    return slowest


async def test_a_receiver_that_is_away_costs_one_log_line_and_bounded_memory(
    away: Exporting, receiver: OtlpReceiver, logged: io.StringIO
) -> None:
    registry = CollectorRegistry()
    async with away(OTLP_METRICS_INTERVAL_S=0.05), asyncio.timeout(60):
        with metrics_of("demo", registry):
            fill(2 * MOST_SPANS)
            while events(logged).count("telemetry_does_not_arrive") < 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            dropped = registry.get_sample_value("millrace_trace_spans_dropped_total")
            assert dropped is not None
            assert MOST_SPANS - 1024 <= dropped < 2 * MOST_SPANS
            began = time.perf_counter()
    assert time.perf_counter() - began < 3.5
    names = events(logged)
    assert names.count("telemetry_does_not_arrive") <= 2  # one for traces, one for metrics
    assert names[-1] == "spans_dropped"
    assert json.loads(logged.getvalue().splitlines()[-1])["spans"] == 2 * MOST_SPANS
    [cause, *_] = [
        json.loads(line).get("cause") for line in logged.getvalue().splitlines() if "cause" in line
    ]
    assert f"127.0.0.1:{receiver.port}" in cause


async def test_a_receiver_that_says_nothing_does_not_hold_up_the_stop(
    exports: Exporting, receiver: OtlpReceiver, logged: io.StringIO
) -> None:
    receiver.behaviour = "silent"
    async with exports():
        assert fill(600) < 1.0
        await asyncio.to_thread(receiver.wait_for, lambda seen: seen.requests, "a request")
        began = time.perf_counter()
    assert time.perf_counter() - began < 4.0
    assert events(logged)[-1] == "spans_dropped"


async def test_a_receiver_that_refuses_is_told_once_and_that_it_takes_again_once(
    exports: Exporting, receiver: OtlpReceiver, logged: io.StringIO
) -> None:
    receiver.behaviour = "refuses"
    async with exports(), asyncio.timeout(60):
        for wanted in (1, 2, 3):
            fill(1)
            while receiver.requests < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        receiver.behaviour = "takes"
        fill(1)
        await asyncio.to_thread(receiver.wait_for, lambda seen: seen.spans, "the last span")
    names = events(logged)
    assert names.count("telemetry_does_not_arrive") == 1
    assert names.count("telemetry_arrives_again") == 1
    assert "PERMISSION_DENIED" in logged.getvalue()
    assert len(receiver.spans) == 1


async def test_a_receiver_of_traces_alone_gets_them_all(
    exports: Exporting, receiver: OtlpReceiver, logged: io.StringIO
) -> None:
    receiver.behaviour = "takes_traces"
    async with exports(OTLP_METRICS_INTERVAL_S=0.02), asyncio.timeout(30):
        with metrics_of("demo", CollectorRegistry()):
            while "telemetry_does_not_arrive" not in events(logged):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            fill(1000)
    assert len(receiver.spans) == 1000
    assert events(logged).count("telemetry_does_not_arrive") == 1
    assert "UNIMPLEMENTED" in logged.getvalue()


async def test_an_exporter_that_breaks_is_a_failure_and_no_more(
    exports: Exporting, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    broken = [True]
    real = OTLPSpanExporter.export

    def export(self: OTLPSpanExporter, spans: object) -> object:
        if broken.pop():
            raise RuntimeError("a fault of the library")
        broken.append(False)
        return real(self, spans)  # type: ignore[arg-type]

    monkeypatch.setattr(OTLPSpanExporter, "export", export)
    async with exports(), asyncio.timeout(30):
        fill(1)
        while broken == [True]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        broken.append(False)
        fill(1)
        await asyncio.to_thread(receiver.wait_for, lambda seen: seen.spans, "the second span")
    assert "telemetry_does_not_arrive" in events(logged)


async def test_a_process_has_one_exporter_and_may_begin_another_after_it(exports: Exporting) -> None:
    for _ in range(2):
        async with exports():
            with pytest.raises(RuntimeError):
                async with exports():
                    raise AssertionError("must not get here")
            assert tracer("demo") is tracer("demo")
        assert tracer("demo") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli")],
)
async def test_a_variable_that_the_exporter_refuses_is_a_wrong_setting(
    exports: Exporting, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_"):
        async with exports():
            raise AssertionError("must not get here")


async def test_headers_are_sent_and_never_shown(
    exports: Exporting, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hunter2,hunter3")
    async with exports():
        fill(1)
    assert [headers["authorization"] for headers in receiver.headers] == ["Bearer hunter2"]
    assert "hunter" not in logged.getvalue()


async def test_the_exporters_own_lines_do_not_reach_the_log(away: Exporting, logged: io.StringIO) -> None:
    async with away():
        logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter").warning("Transient error")
    assert "Transient" not in logged.getvalue()
    assert grpc.__name__ == "grpc"
