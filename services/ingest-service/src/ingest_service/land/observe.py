"""Recording what landing does in its metrics and in LAKE-61's sums."""

from __future__ import annotations

from collections.abc import Mapping

from ingest_service.land.batch import Batch, Counts
from millrace_ports.bus.port import Partition
from millrace_runtime.metrics import Metrics


class Observer:
    """The lake writer's metrics, looked up once; `totals` are the sums since the start of the process."""

    def __init__(self, metrics: Metrics) -> None:
        self.totals = Counts()
        self.commit_seconds = metrics.histogram("millrace_commit_seconds")
        self._rows = metrics.counter("millrace_landed_rows")
        self._duplicates = metrics.counter("millrace_landed_duplicates")
        self._lines = metrics.counter("millrace_landed_lines")
        self._blank = metrics.counter("millrace_landing_blank_lines")
        self._lost = metrics.counter("millrace_landing_lost_races")
        self._failed = metrics.counter("millrace_landing_failures")
        self._delay = metrics.histogram("millrace_landing_delay_seconds")
        self._lag = metrics.gauge("millrace_lag_records")
        self._keys = metrics.gauge("millrace_key_index_keys")
        self._newest = metrics.gauge("millrace_newest_landed_timestamp")

    def landed(self, batch: Batch, counts: Counts, *, index_size: int, now_ms: int) -> None:
        """A batch is in the lake."""
        self.totals += counts
        self._lines.inc(counts.lines)
        self._blank.inc(counts.blank)
        self._duplicates.inc(counts.duplicates)
        self._rows.labels(table="messages").inc(counts.messages)
        self._rows.labels(table="contacts").inc(counts.contacts)
        self._rows.labels(table="other").inc(counts.other)
        self._rows.labels(table="dead_letters").inc(counts.rejected)
        self._keys.set(index_size)
        self._newest.set(batch.newest_received_at_ms / 1000)
        self._delay.observe(max(0, now_ms - batch.newest_received_at_ms) / 1000)

    def lost_race(self) -> None:
        """A batch was dropped because another writer was first."""
        self._lost.inc()

    def failed(self) -> None:
        """A batch or a read could not be done."""
        self._failed.inc()

    def lag(self, lag: Mapping[Partition, int]) -> None:
        """Records not landed yet; a journal that is read to its end leaves the metric."""
        self._lag.clear()
        for partition, records in lag.items():
            self._lag.labels(partition=partition.name).set(records)
