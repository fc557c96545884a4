"""Metrics as a table: what a service measures can be read in one place, and nothing else exists."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

# A second series per counter that says when the process started says nothing new.
disable_created_metrics()  # type: ignore[no-untyped-call]

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row: `name` as Prometheus shows it (a counter's without `_total`), `unit` in words
    (`seconds`, `rows`, `bytes`, ...), `meaning` as its help text."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = Histogram.DEFAULT_BUCKETS


class MetricTable:
    """The metrics of one service, declared in its `metrics.py`:

    TABLE = MetricTable(
        Metric("millrace_accepted", "counter", "requests", "Bodies made durable", ("kind",)),
        Metric("millrace_fsync_seconds", "histogram", "seconds", "Time of one journal sync"),
    )
    metrics = TABLE.build(registry)
    metrics.counter("millrace_accepted").labels(kind="message").inc()
    """

    def __init__(self, *rows: Metric) -> None:
        names = [row.name for row in rows]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"metrics declared twice: {', '.join(sorted(twice))}")
        self._rows = rows

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._rows)

    def __add__(self, other: "MetricTable") -> "MetricTable":
        return MetricTable(*self, *other)

    def build(self, registry: CollectorRegistry) -> "Metrics":
        """Create every metric of the table in `registry`: one registry per composed service, since
        several services may live in one process."""
        return Metrics({row.name: (row.kind, _created(row, registry)) for row in self._rows})


class Metrics:
    """The built metrics by name. Asking for a name or kind that is not in the table is a `KeyError`;
    look metrics up once, when composing, not per request."""

    def __init__(self, built: dict[str, tuple[Kind, Counter | Gauge | Histogram]]) -> None:
        self._built = built

    def counter(self, name: str) -> Counter:
        """The counter of this name."""
        metric = self._find(name, "counter")
        assert isinstance(metric, Counter)
        return metric

    def gauge(self, name: str) -> Gauge:
        """The gauge of this name."""
        metric = self._find(name, "gauge")
        assert isinstance(metric, Gauge)
        return metric

    def histogram(self, name: str) -> Histogram:
        """The histogram of this name."""
        metric = self._find(name, "histogram")
        assert isinstance(metric, Histogram)
        return metric

    def _find(self, name: str, kind: Kind) -> Counter | Gauge | Histogram:
        declared, metric = self._built[name]
        if declared != kind:
            raise KeyError(f"{name} is declared as a {declared}, not as a {kind}")
        return metric


def free_bytes(directory: Path) -> float:
    """What the file system of `directory` has left for us, also before the directory is made; NaN when nobody
    can tell. For gauges that are read when they are asked for."""
    there = next((path for path in (directory, *directory.parents) if path.exists()), directory)
    try:
        return float(shutil.disk_usage(there).free)
    except OSError:
        return float("nan")


def _created(row: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    help_text = f"{row.meaning} ({row.unit})"
    match row.kind:
        case "counter":
            return Counter(row.name, help_text, row.labels, registry=registry)
        case "gauge":
            return Gauge(row.name, help_text, row.labels, registry=registry)
        case "histogram":
            return Histogram(row.name, help_text, row.labels, buckets=row.buckets, registry=registry)
