"""A small lake of one table, and a keeper's parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ingest_service.keep.metrics import MAINTENANCE_METRICS
from ingest_service.lake.tables import WRITER_PROPERTIES, Lake
from millrace_runtime.metrics import Metrics
from millrace_testkit.othertable import OtherTable


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "parquet")


@pytest.fixture
def other(lake: Lake) -> OtherTable:
    lake.open("other")
    return OtherTable(lake.path("other"), WRITER_PROPERTIES["other"])


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return MAINTENANCE_METRICS.build(registry)
