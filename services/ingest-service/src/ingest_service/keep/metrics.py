"""What maintenance measures."""

from __future__ import annotations

from typing import Final

from millrace_runtime.metrics import Metric, MetricTable

MAINTENANCE_METRICS: Final = MetricTable(
    Metric("millrace_lake_live_files", "gauge", "files", "Files of the current version", ("table",)),
    Metric("millrace_lake_unknown_files", "gauge", "files", "Files that are not the lake's", ("table",)),
    Metric("millrace_compactions", "counter", "commits", "Partitions compacted", ("table",)),
    Metric(
        "millrace_compaction_conflicts", "counter", "attempts", "Compactions that lost a race", ("table",)
    ),
    Metric("millrace_lake_files_removed", "counter", "files", "Unneeded files removed", ("table",)),
    Metric("millrace_maintenance_failures", "counter", "rounds", "Upkeep of a table failed", ("table",)),
    Metric(
        "millrace_maintenance_round_timestamp",
        "gauge",
        "Unix seconds",
        "When the latest round over all tables ended well; 0 before the first",
    ),
    Metric("millrace_lake_free_bytes", "gauge", "bytes", "Left on the file system of the lake"),
    Metric("millrace_maintenance_lease_held", "gauge", "leases", "1 while this process keeps the lake"),
)
