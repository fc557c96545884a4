"""What query-service measures."""

from prometheus_client import CollectorRegistry

from millrace_runtime.metrics import Metric, MetricTable
from query_service.search.handle import LakeHandle

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

TABLE = MetricTable(
    Metric(
        "millrace_query_seconds",
        "histogram",
        "seconds",
        "Time of one question to the lake; of a stream, until its first rows",
        ("operation",),
        _SECONDS,
    ),
    Metric("millrace_query_failures", "counter", "questions", "Questions that failed", ("operation",)),
    Metric("millrace_query_rows", "counter", "rows", "Rows given out", ("operation",)),
    Metric(
        "millrace_query_files_opened", "counter", "files", "Data files read for questions", ("operation",)
    ),
    Metric(
        "millrace_query_files_left_out",
        "counter",
        "files",
        "Data files that questions needed and could not read",
    ),
    Metric("millrace_query_handle_age_seconds", "gauge", "seconds", "Time since the lake's log was asked"),
    Metric("millrace_query_live_files", "gauge", "files", "Data files of the messages table"),
    Metric(
        "millrace_query_newest_row_age_seconds",
        "gauge",
        "seconds",
        "Time since the newest queryable row was ingested; NaN without rows",
    ),
)


class QueryMetrics:
    """The metrics of one composed service."""

    def __init__(self, registry: CollectorRegistry, handle: LakeHandle) -> None:
        metrics = TABLE.build(registry)
        self.seconds = metrics.histogram("millrace_query_seconds")
        self.failures = metrics.counter("millrace_query_failures")
        self.rows = metrics.counter("millrace_query_rows")
        self.files_opened = metrics.counter("millrace_query_files_opened")
        self.files_left_out = metrics.counter("millrace_query_files_left_out")
        metrics.gauge("millrace_query_handle_age_seconds").set_function(handle.age_s)
        metrics.gauge("millrace_query_live_files").set_function(handle.live_files)
        metrics.gauge("millrace_query_newest_row_age_seconds").set_function(handle.newest_row_age_s)
