"""What the door measures."""

from typing import Final

from millrace_runtime.metrics import Metric, MetricTable

DOOR_METRICS: Final = MetricTable(
    Metric("millrace_accepted", "counter", "payloads", "Payloads durable in the journal"),
    Metric("millrace_rejected", "counter", "payloads", "Payloads durable in the reject journal"),
    Metric("millrace_refused", "counter", "requests", "Requests answered 503: not durable"),
    Metric("millrace_failed", "counter", "requests", "Requests answered 500: a fault of the door"),
    Metric(
        "millrace_unsigned", "counter", "requests", "Requests answered 401: their signature does not hold"
    ),
    Metric(
        "millrace_replayed", "counter", "requests", "Signed requests that came once more and were not stored"
    ),
    Metric(
        "millrace_fsync_seconds",
        "histogram",
        "seconds",
        "Time of one sync of a journal",
        buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
    ),
    Metric(
        "millrace_group_size",
        "histogram",
        "payloads",
        "Payloads made durable by one sync",
        buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    ),
    Metric("millrace_door_healthy", "gauge", "doors", "1 while log and journals can be written"),
    Metric("millrace_journal_free_bytes", "gauge", "bytes", "Left on the file system of the journals"),
    Metric(
        "millrace_request_log_dropped", "counter", "records", "Request log records lost: log not writable"
    ),
)
