"""A receiver of OTLP over gRPC that keeps what it is sent, and can refuse or fall silent.

`python -m millrace_testkit.otlp PORT` is one that keeps nothing, until SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from millrace_runtime.tracing import TracingSettings, exporting
from millrace_testkit.stack import wait_until

ARRIVES_WITHIN_S = 20.0

Behaviour = Literal["takes", "takes_traces", "refuses", "silent"]


@dataclass(frozen=True)
class SpanSeen:
    """A span as it arrived; ids in hexadecimal, `parent` empty for the first of a trace."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    failed: bool
    start_ns: int
    end_ns: int
    raw: bytes


@dataclass(frozen=True)
class PointSeen:
    """A point of a metric as it arrived: `value` is a histogram's sum, `counts` its buckets."""

    service: str
    name: str
    attributes: dict[str, Any]
    value: float
    counts: tuple[int, ...] = ()
    bounds: tuple[float, ...] = ()


class OtlpReceiver:
    """Listens on a loopback port, a free one unless `port` says which, while the block runs."""

    def __init__(self, *, port: int = 0, keeps: bool = True) -> None:
        self.behaviour: Behaviour = "takes"
        self.requests = 0
        self.headers: list[dict[str, str]] = []
        self.resources: list[dict[str, Any]] = []
        self._keeps = keeps
        self._spans: list[SpanSeen] = []
        self._points: list[PointSeen] = []
        self._leaving = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            _Traces(self), self._server
        )
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(  # type: ignore[no-untyped-call]
            _Metrics(self), self._server
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")

    @property
    def endpoint(self) -> str:
        """What MILLRACE_OTLP_ENDPOINT has to be."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[SpanSeen]:
        """Everything that arrived so far."""
        return list(self._spans)

    @property
    def points(self) -> list[PointSeen]:
        """Everything that arrived so far, the latest last."""
        return list(self._points)

    @asynccontextmanager
    async def exporting(self, **settings: Any) -> AsyncIterator[None]:
        """This process sends here while the block runs; a setting `X` is MILLRACE_X. Nothing is sampled unasked."""
        chosen = {"OTLP_ENDPOINT": self.endpoint, "TRACE_SAMPLE_RATIO": 0} | settings
        loaded = TracingSettings.load(**{f"MILLRACE_{name}": value for name, value in chosen.items()})
        async with exporting(loaded):
            yield

    def trace(self, identity: str) -> list[SpanSeen]:
        """The spans of one trace, by the time of their start."""
        return sorted((span for span in self.spans if span.trace == identity), key=lambda span: span.start_ns)

    def wait_for(self, found: Callable[[Self], bool], what: str) -> None:
        """Return when `found` holds of what has arrived. Raises AssertionError naming `what`, and what there is."""
        try:
            wait_until(lambda: found(self), ARRIVES_WITHIN_S, what)
        except AssertionError as error:
            there = "\n".join(f"{span.service}: {span.name} {span.trace} {span.id}" for span in self.spans)
            raise AssertionError(f"{error}; arrived:\n{there}") from None

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port; calls under way are cut."""
        self._leaving.set()
        self._server.stop(None).wait()

    def answer(self, context: Any) -> None:
        """Behave as told; raises where there is no answer."""
        self.requests += 1
        self.headers.append(dict(context.invocation_metadata()))
        if self.behaviour == "silent":
            self._leaving.wait()
        if self.behaviour == "refuses":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")

    def keep_spans(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Take what was sent."""
        if self._keeps:
            self.resources += [_attributes(each.resource.attributes) for each in request.resource_spans]
            self._spans += [
                _span(_attributes(resource.resource.attributes)["service.name"], span)
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]

    def keep_points(self, request: metrics_service_pb2.ExportMetricsServiceRequest) -> None:
        """Take what was sent."""
        if self._keeps:
            self.resources += [_attributes(each.resource.attributes) for each in request.resource_metrics]
            self._points += [
                point
                for resource in request.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                for point in _points(_attributes(resource.resource.attributes)["service.name"], metric)
            ]


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 the protocol's name
        self._receiver.answer(context)
        self._receiver.keep_spans(request)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self._receiver.behaviour == "takes_traces":
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no metrics here")
        self._receiver.answer(context)
        self._receiver.keep_points(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def _span(service: str, span: trace_pb2.Span) -> SpanSeen:
    return SpanSeen(
        service,
        span.name,
        trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _attributes(span.attributes),
        span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.SerializeToString(),
    )


def _points(service: str, metric: Any) -> list[PointSeen]:
    kind = metric.WhichOneof("data")
    found = []
    for point in getattr(metric, kind).data_points:
        attributes = _attributes(point.attributes)
        if kind == "histogram":
            counts, bounds = tuple(point.bucket_counts), tuple(point.explicit_bounds)
            found.append(PointSeen(service, metric.name, attributes, point.sum, counts, bounds))
        else:
            found.append(PointSeen(service, metric.name, attributes, point.as_double))
    return found


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: common_pb2.AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with OtlpReceiver(port=int(sys.argv[1]), keeps=False):
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
