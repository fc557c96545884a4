"""The one exporter of a process: begun by its settings, found by whoever is composed afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from millrace_runtime.logs import get_logger
from millrace_runtime.settings import SettingsError
from millrace_runtime.tracing.sampling import Sampler
from millrace_runtime.tracing.settings import TracingSettings
from millrace_runtime.tracing.spans import Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

log = get_logger(__name__)

CLOSE_WITHIN_S = 2.0
"""What is not sent by then when a process stops is dropped."""

_LIBRARY = "opentelemetry"
_EXPORTERS = "opentelemetry.exporter.otlp.proto.grpc.exporter"

_running: _Exporter | None = None


@asynccontextmanager
async def exporting(settings: TracingSettings) -> AsyncIterator[None]:
    """Send traces and metrics while the block runs; nothing at all when the settings name no endpoint.

    Enter it before anything is composed, which asks for its `tracer` then, and leave it last. Once in a process.
    """
    global _running
    if not settings.exports:
        yield
        return
    if _running is not None:
        raise RuntimeError("this process has an exporter already")
    _running = exporter = await asyncio.to_thread(_Exporter, settings)
    log.info("telemetry_on", endpoint=settings.otlp_endpoint, sample_ratio=settings.trace_sample_ratio)
    collecting = asyncio.create_task(exporter.collect_always())
    try:
        yield
    finally:
        _running = None
        collecting.cancel()
        await asyncio.wait({collecting})
        await asyncio.to_thread(exporter.close)


def tracer(service: str) -> Tracer | None:
    """What begins the spans of a service, None while nothing is exported. Ask when composing, not per request."""
    return None if _running is None else _running.tracer(service)


@contextmanager
def metrics_of(service: str, registry: CollectorRegistry) -> Iterator[None]:
    """Send the metrics of this registry while the block runs, a last time when it is left."""
    if _running is None:
        yield
        return
    with _running.sending(service, registry):
        yield


class _Exporter:
    """Providers by service, the outbox behind all of them, and the registries whose metrics it sends."""

    def __init__(self, settings: TracingSettings) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        from millrace_runtime.tracing.outbox import Heard, Outbox

        self._settings = settings
        self._heard = Heard()
        # A header that it cannot read is shown in its log, and headers are secrets.
        logging.getLogger(_LIBRARY).setLevel(logging.CRITICAL)
        exporters = logging.getLogger(_EXPORTERS)
        exporters.setLevel(logging.WARNING)
        exporters.filters.insert(0, self._heard)  # its own filter drops what looks like the line before
        try:
            spans = OTLPSpanExporter(endpoint=settings.otlp_endpoint)
            metrics = OTLPMetricExporter(endpoint=settings.otlp_endpoint)
        except Exception as error:
            raise SettingsError(f"OTEL_EXPORTER_OTLP_*: {error}") from error
        self._outbox = Outbox(spans, metrics, cause=lambda: self._heard.last)
        self._tracers: dict[str, Tracer] = {}
        self._registries: list[tuple[Resource, CollectorRegistry]] = []
        self._start_ns = time.time_ns()

    def tracer(self, service: str) -> Tracer:
        """The tracer of this service, the same at every call."""
        if service not in self._tracers:
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON

            provider = TracerProvider(
                sampler=ALWAYS_ON, resource=self._resource(service), shutdown_on_exit=False
            )
            provider.add_span_processor(self._outbox)
            sampler = Sampler(self._settings.trace_sample_ratio, self._settings.trace_callers_per_s)
            self._tracers[service] = Tracer(provider, sampler)
        return self._tracers[service]

    @contextmanager
    def sending(self, service: str, registry: CollectorRegistry) -> Iterator[None]:
        """As `metrics_of`."""
        losses = _Losses(self)
        if first := not self._registries:  # of several services in the process one tells about the exporter
            registry.register(losses)
        entry = (self._resource(service), registry)
        self._registries.append(entry)
        try:
            yield
        finally:
            self._collect([entry])
            self._registries.remove(entry)
            if first:
                registry.unregister(losses)

    async def collect_always(self) -> None:
        """Send the metrics again and again; they are collected in the event loop, as for a scraper."""
        while True:
            await asyncio.sleep(self._settings.otlp_metrics_interval_s)
            self._collect(self._registries)

    def _collect(self, registries: Sequence[tuple[Resource, CollectorRegistry]]) -> None:
        from millrace_runtime.tracing.metrics import metrics_data

        try:
            data = metrics_data(registries, start_ns=self._start_ns, now_ns=time.time_ns())
        except Exception:
            log.exception("metrics_not_collected")
        else:
            self._outbox.put(data)

    def close(self) -> None:
        """Send what is left, within `CLOSE_WITHIN_S`; blocks."""
        self._outbox.close(CLOSE_WITHIN_S)
        logging.getLogger(_EXPORTERS).removeFilter(self._heard)

    def losses(self) -> Iterator[Metric]:
        """What could not be sent."""
        dropped = CounterMetricFamily("millrace_trace_spans_dropped", "Spans that could not be sent (spans)")
        dropped.add_metric([], self._outbox.dropped)
        yield dropped
        failures = CounterMetricFamily(
            "millrace_otlp_failures", "Exports that failed (exports)", labels=["signal"]
        )
        for signal, count in self._outbox.failures.items():
            failures.add_metric([signal], count)
        yield failures

    def _resource(self, service: str) -> Resource:
        from opentelemetry.sdk.resources import Resource

        return Resource.create({"service.name": self._settings.otlp_service_name or service})


class _Losses(Collector):
    def __init__(self, exporter: _Exporter) -> None:
        self._exporter = exporter

    def collect(self) -> Iterator[Metric]:
        return self._exporter.losses()
