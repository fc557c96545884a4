"""Recording what the relay does in its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace_ports.bus.port import Partition, Record
from millrace_runtime.metrics import Metrics


class RelayObserver:
    """The relay's metrics, looked up once."""

    def __init__(self, metrics: Metrics) -> None:
        self.publish_seconds = metrics.histogram("millrace_publish_seconds")
        self._records = metrics.counter("millrace_relayed_records")
        self._bytes = metrics.counter("millrace_relayed_bytes")
        self._lines = metrics.counter("millrace_relayed_lines")
        self._elements = metrics.counter("millrace_relay_split_elements")
        self._large = metrics.counter("millrace_relay_large_bodies")
        self._refused = metrics.counter("millrace_relay_refused")
        self._failures = metrics.counter("millrace_relay_failures")
        self._lag = metrics.gauge("millrace_relay_lag_lines")
        self._unlanded = metrics.gauge("millrace_unlanded_records")
        self._newest = metrics.gauge("millrace_newest_relayed_timestamp")

    def published(self, records: Sequence[Record]) -> None:
        """The bus has acknowledged these records."""
        self._records.inc(len(records))
        self._bytes.inc(sum(len(record.value) for record in records))

    def relayed(self, *, lines: int, elements: int, newest_received_at_ms: int) -> None:
        """The bus holds so many more lines of the journals."""
        self._lines.inc(lines)
        self._elements.inc(elements)
        self._newest.set(newest_received_at_ms / 1000)

    def large(self) -> None:
        """A body went to the object store."""
        self._large.inc()

    def refused(self) -> None:
        """The bus refused a record for good."""
        self._refused.inc()

    def failed(self, step: str) -> None:
        """An attempt at `step` failed; it is made again."""
        self._failures.labels(step=step).inc()

    def lag(self, lag: Mapping[Partition, int]) -> None:
        """Lines that the bus does not hold; a journal that is relayed to its end leaves the metric."""
        self._lag.clear()
        for partition, lines in lag.items():
            self._lag.labels(partition=partition.name).set(lines)

    def unlanded(self, lag: Mapping[Partition, int]) -> None:
        """Records of each partition of the bus that lake writers have not reported; {} when it is not known."""
        self._unlanded.clear()
        for partition, records in lag.items():
            self._unlanded.labels(partition=partition.name).set(records)
