"""What the id service measures (ID-69)."""

from typing import Final

from millrace_runtime.metrics import Metric, Metrics, MetricTable

TABLE: Final = MetricTable(
    Metric(
        "idgen_generate_requests",
        "counter",
        "requests",
        "Answered requests for ids; result is ok or the error code",
        ("workspace", "biz_tag", "algorithm", "dc", "protocol", "result"),
    ),
    Metric(
        "idgen_generate_duration_seconds",
        "histogram",
        "seconds",
        "Time from a decoded request to its ids",
        ("algorithm", "protocol"),
        (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5),
    ),
    Metric("idgen_ids_generated", "counter", "ids", "Ids handed to callers", ("biz_tag", "algorithm", "dc")),
    Metric("idgen_errors", "counter", "requests", "Refused or failed requests for ids", ("code",)),
    Metric(
        "idgen_segment_allocations",
        "counter",
        "attempts",
        "Attempts to take a range from a row; outcome is allocated, lost_race or failed",
        ("outcome",),
    ),
    Metric("idgen_db_up", "gauge", "bool", "1 while the database answered the last check"),
    Metric("idgen_uptime_seconds", "gauge", "seconds", "Time since the service was composed"),
)

MAX_TAG_LABELS: Final = 1000
OTHER_TAGS: Final = "other"


class RequestMetrics:
    """Counts requests for ids; tags beyond the first thousand share the label `other`."""

    def __init__(self, metrics: Metrics) -> None:
        self._requests = metrics.counter("idgen_generate_requests")
        self._duration = metrics.histogram("idgen_generate_duration_seconds")
        self._ids = metrics.counter("idgen_ids_generated")
        self._errors = metrics.counter("idgen_errors")
        self._labelled: set[tuple[str, str]] = set()

    def answered(
        self,
        workspace: str,
        biz_tag: str,
        algorithm: str,
        *,
        datacenter_id: int,
        protocol: str,
        ids: int,
        seconds: float,
    ) -> None:
        """One request got its `ids` after `seconds`."""
        workspace, biz_tag = self._label(workspace, biz_tag)
        dc = str(datacenter_id)
        self._requests.labels(workspace, biz_tag, algorithm, dc, protocol, "ok").inc()
        self._duration.labels(algorithm, protocol).observe(seconds)
        self._ids.labels(biz_tag, algorithm, dc).inc(ids)

    def refused(self, code: str, *, datacenter_id: int, protocol: str) -> None:
        """One request got the error `code`. Its names may be made up, so they are no labels."""
        self._requests.labels("", "", "", str(datacenter_id), protocol, code).inc()
        self._errors.labels(code).inc()

    def _label(self, workspace: str, biz_tag: str) -> tuple[str, str]:
        names = (workspace, biz_tag)
        if names not in self._labelled:
            if len(self._labelled) >= MAX_TAG_LABELS:
                return OTHER_TAGS, OTHER_TAGS
            self._labelled.add(names)
        return names
