import math
import shutil
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from millrace_runtime.metrics import Metric, MetricTable, free_bytes

TABLE = MetricTable(
    Metric("millrace_accepted", "counter", "requests", "Bodies made durable", ("kind",)),
    Metric("millrace_lag", "gauge", "lines", "Lines not yet landed"),
    Metric("millrace_fsync_seconds", "histogram", "seconds", "Time of a sync", buckets=(0.001, 0.01)),
)


def test_table_becomes_metrics_of_its_registry() -> None:
    registry = CollectorRegistry()
    metrics = TABLE.build(registry)
    metrics.counter("millrace_accepted").labels(kind="message").inc(3)
    metrics.gauge("millrace_lag").set(7)
    metrics.histogram("millrace_fsync_seconds").observe(0.005)
    text = generate_latest(registry).decode()
    assert 'millrace_accepted_total{kind="message"} 3.0' in text
    assert "millrace_lag 7.0" in text
    assert 'millrace_fsync_seconds_bucket{le="0.001"} 0.0' in text
    assert 'millrace_fsync_seconds_bucket{le="0.01"} 1.0' in text
    assert "# HELP millrace_lag Lines not yet landed (lines)" in text


def test_two_services_of_one_process_do_not_share_values() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    TABLE.build(first).gauge("millrace_lag").set(1)
    TABLE.build(second).gauge("millrace_lag").set(2)
    assert (first.get_sample_value("millrace_lag"), second.get_sample_value("millrace_lag")) == (1, 2)


def test_names_and_kinds_outside_the_table_do_not_exist() -> None:
    metrics = TABLE.build(CollectorRegistry())
    with pytest.raises(KeyError):
        metrics.counter("millrace_unheard_of")
    with pytest.raises(KeyError, match="declared as a gauge"):
        metrics.counter("millrace_lag")


def test_a_name_can_be_declared_once_only() -> None:
    with pytest.raises(ValueError, match="millrace_lag"):
        TABLE + MetricTable(Metric("millrace_lag", "gauge", "lines", "again"))


def test_free_space_is_told_also_before_the_directory_is_there(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


def test_free_space_that_nobody_can_tell_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(_: Path) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(shutil, "disk_usage", stale)
    assert math.isnan(free_bytes(tmp_path))
