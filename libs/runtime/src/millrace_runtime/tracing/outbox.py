"""What is to be sent to the receiver, and the thread that sends it: nobody else ever waits for the receiver."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExportResult

from millrace_runtime.logs import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

log = get_logger(__name__)

MOST_SPANS = 4096
"""Spans that wait at most, some 2 KB each; one more is dropped."""

_MOST_METRICS = 8
_BATCH = 512
_SPANS_EVERY_S = 1.0
_ABORT_S = 0.5

_T = TypeVar("_T")


class _Outage:
    """Says once that a signal does not arrive, and once that it does again."""

    def __init__(self, signal: str, cause: Callable[[], str]) -> None:
        self._signal = signal
        self._cause = cause
        self.failures = 0
        self.lasts = False

    def sent(self, arrived: bool) -> None:
        if not arrived:
            self.failures += 1
        if arrived == self.lasts:
            self.lasts = not arrived
            if arrived:
                log.info("telemetry_arrives_again", signal=self._signal)
            else:
                log.warning("telemetry_does_not_arrive", signal=self._signal, cause=self._cause())


class Outbox(SpanProcessor):
    """Holds at most `MOST_SPANS` spans and the latest metrics. What cannot be sent is dropped; spans are counted.

    Args:
        spans, metrics: the exporters; `close` ends them.
        cause: why the last export failed, in words.
    """

    def __init__(
        self, spans: SpanExporter, metrics: MetricExporter, *, cause: Callable[[], str] = lambda: ""
    ) -> None:
        self._span_exporter = spans
        self._metric_exporter = metrics
        self._spans: deque[ReadableSpan] = deque()
        self._metrics: deque[MetricsData] = deque(maxlen=_MOST_METRICS)
        self._outages = {"traces": _Outage("traces", cause), "metrics": _Outage("metrics", cause)}
        self._counting = threading.Lock()
        self._dropped = 0
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Spans that were never delivered so far."""
        return self._dropped

    @property
    def failures(self) -> dict[str, int]:
        """Exports that failed so far, by signal."""
        return {signal: outage.failures for signal, outage in self._outages.items()}

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended, from any thread."""
        waiting = len(self._spans)
        if waiting >= MOST_SPANS or self._closing:
            self._drop(1)
            return
        self._spans.append(span)
        if waiting + 1 >= _BATCH:
            self._wake.set()

    def put(self, metrics: MetricsData) -> None:
        """Take these; the oldest ones that wait give way, which loses nothing, since they are sums."""
        self._metrics.append(metrics)

    def close(self, within_s: float) -> None:
        """Send what waits for at most `within_s` seconds, hardly any while spans do not arrive; blocks."""
        self._closing = True
        self._wake.set()
        self._thread.join(_ABORT_S if self._outages["traces"].lasts else within_s)
        # Ends an export under way; what was not taken from the queue yet fails at once.
        self._span_exporter.shutdown()
        self._metric_exporter.shutdown()
        self._thread.join(_ABORT_S)
        self._drop(len(self._spans))
        self._spans.clear()
        if self._dropped:
            log.warning("spans_dropped", spans=self._dropped)

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(_SPANS_EVERY_S)
            self._wake.clear()
            self._send()
        self._send()

    def _send(self) -> None:
        while self._metrics:
            self._outages["metrics"].sent(_arrived(self._metric_exporter.export, self._metrics.popleft()))
        while self._spans:
            batch = [self._spans.popleft() for _ in range(min(_BATCH, len(self._spans)))]
            arrived = _arrived(self._span_exporter.export, batch)
            if not arrived:
                self._drop(len(batch))
            self._outages["traces"].sent(arrived)

    def _drop(self, spans: int) -> None:
        with self._counting:
            self._dropped += spans


def _arrived(export: Callable[[_T], MetricExportResult | SpanExportResult], data: _T) -> bool:
    try:
        return export(data) in (MetricExportResult.SUCCESS, SpanExportResult.SUCCESS)
    except Exception:
        # An exporter's own fault; this thread has to live on.
        log.debug("telemetry_export_failed", exc_info=True)
        return False


class Heard(logging.Filter):
    """Keeps the last line of the exporters' logger to itself: they write one for every attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Remember the line, and let nobody else have it."""
        self.last = record.getMessage()
        return False
