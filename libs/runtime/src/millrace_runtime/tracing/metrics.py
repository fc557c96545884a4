"""Prometheus metrics as OTLP: the same names, labels and buckets as on the management port.

OpenTelemetry brings Prometheus' metrics into its own by the Collector alone, by scraping, and its SDK for Python has
no place for a foreign source; so the families of a registry are put into the SDK's data points here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    DataT,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

_SCOPE = InstrumentationScope("millrace")
_CUMULATIVE = AggregationTemporality.CUMULATIVE


def metrics_data(
    registries: Iterable[tuple[Resource, CollectorRegistry]], *, start_ns: int, now_ns: int
) -> MetricsData:
    """All metrics of these registries, each with its resource. `start_ns` is when counting began."""
    return MetricsData(
        [
            ResourceMetrics(
                resource, [ScopeMetrics(_SCOPE, list(_metrics(registry, start_ns, now_ns)), "")], ""
            )
            for resource, registry in registries
        ]
    )


def _metrics(registry: CollectorRegistry, start_ns: int, now_ns: int) -> Iterator[Metric]:
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        data = _data(family, name, start_ns, now_ns)
        if data is not None and data.data_points:
            yield Metric(name, family.documentation, None, data)


def _data(family: Family, name: str, start_ns: int, now_ns: int) -> DataT | None:
    match family.type:
        case "counter":
            return Sum(_points(family, name, start_ns, now_ns), _CUMULATIVE, is_monotonic=True)
        case "gauge":
            return Gauge(_points(family, name, start_ns, now_ns))
        case "histogram":
            return Histogram(_histograms(family, start_ns, now_ns), _CUMULATIVE)
        case _:
            return None  # no table of ours has it


def _points(family: Family, name: str, start_ns: int, now_ns: int) -> list[NumberDataPoint]:
    """The samples called `name`; a counter may also say when it was made."""
    return [
        NumberDataPoint(sample.labels, start_ns, now_ns, sample.value)
        for sample in family.samples
        if sample.name == name and not math.isnan(sample.value)  # nothing to tell: OTLP has no point for that
    ]


def _histograms(family: Family, start_ns: int, now_ns: int) -> list[HistogramDataPoint]:
    """One point for each set of labels; Prometheus' buckets count all that is below, OTLP's what is between."""
    by_labels: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in family.samples:
        if sample.name.endswith("_created"):
            continue
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        by_labels.setdefault(labels, []).append(sample)
    points = []
    for labels, samples in by_labels.items():
        below = [
            (float(sample.labels["le"]), int(sample.value)) for sample in samples if "le" in sample.labels
        ]
        counts = [count for _, count in below]
        points.append(
            HistogramDataPoint(
                dict(labels),
                start_ns,
                now_ns,
                count=counts[-1],
                sum=next(sample.value for sample in samples if sample.name.endswith("_sum")),
                bucket_counts=[
                    count - before for count, before in zip(counts, [0, *counts[:-1]], strict=True)
                ],
                explicit_bounds=[bound for bound, _ in below[:-1]],
                min=None,  # type: ignore[arg-type] # the encoder leaves out what is None
                max=None,  # type: ignore[arg-type]
            )
        )
    return points
