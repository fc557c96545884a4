"""What landing measures."""

from millrace_runtime.metrics import Metric, MetricTable

LAND_METRICS = MetricTable(
    Metric("millrace_landed_rows", "counter", "rows", "Rows committed to the lake", ("table",)),
    Metric(
        "millrace_landed_duplicates", "counter", "rows", "Messages dropped because their msg_id is stored"
    ),
    Metric(
        "millrace_landed_lines", "counter", "lines", "Journal lines accounted for, elements of a batch singly"
    ),
    Metric("millrace_landing_blank_lines", "counter", "lines", "Blank journal lines"),
    Metric(
        "millrace_landing_lost_races",
        "counter",
        "batches",
        "Batches dropped because another writer was first",
    ),
    Metric("millrace_landing_failures", "counter", "batches", "Batches that could not be written"),
    Metric(
        "millrace_commit_seconds",
        "histogram",
        "seconds",
        "Time to commit one batch to all tables",
        buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    ),
    Metric(
        "millrace_landing_delay_seconds",
        "histogram",
        "seconds",
        "From a batch's newest line being accepted to its commit",
        buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600),
    ),
    Metric("millrace_lag_records", "gauge", "records", "Records accepted and not yet landed", ("partition",)),
    Metric("millrace_key_index_keys", "gauge", "keys", "Distinct msg_ids in the key index"),
    Metric(
        "millrace_newest_landed_timestamp",
        "gauge",
        "Unix seconds",
        "When the newest landed line was accepted",
    ),
)
