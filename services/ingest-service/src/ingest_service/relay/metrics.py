"""What the relay measures."""

from millrace_runtime.metrics import Metric, MetricTable

RELAY_METRICS = MetricTable(
    Metric("millrace_relayed_records", "counter", "records", "Records that the bus has acknowledged"),
    Metric("millrace_relayed_bytes", "counter", "bytes", "Values of these records"),
    Metric(
        "millrace_relayed_lines", "counter", "lines", "Journal lines that the bus holds, blank ones included"
    ),
    Metric(
        "millrace_relay_split_elements", "counter", "records", "Records that are one element of a 1011 batch"
    ),
    Metric(
        "millrace_relay_large_bodies", "counter", "records", "Records whose body went to the object store"
    ),
    Metric(
        "millrace_relay_refused", "counter", "records", "Records that the bus refused for good: dead letters"
    ),
    Metric(
        "millrace_relay_failures", "counter", "attempts", "Attempts that failed and are made again", ("step",)
    ),
    Metric(
        "millrace_publish_seconds",
        "histogram",
        "seconds",
        "From handing records to the bus to its acknowledgement",
        buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    ),
    Metric(
        "millrace_relay_lag_lines",
        "gauge",
        "lines",
        "Lines in the journal that the bus does not hold",
        ("partition",),
    ),
    Metric(
        "millrace_unlanded_records",
        "gauge",
        "records",
        "Records on the bus that no lake writer has reported as landed; absent while it is not known",
        ("partition",),
    ),
    Metric(
        "millrace_newest_relayed_timestamp",
        "gauge",
        "Unix seconds",
        "When the newest relayed line was accepted",
    ),
)
