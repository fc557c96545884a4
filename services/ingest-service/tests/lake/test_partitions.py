"""`metadata/partitions.json` equals the files after every change, and can be made anew (LAKE-120)."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from ingest_service.lake.partitions import NAME, PartitionCatalog, partition_date
from ingest_service.lake.tables import Lake
from millrace_testkit.messages_lake import DAY, MessagesLake, message

NEXT = DAY + datetime.timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "parquet")


@pytest.fixture
def catalog(lake: Lake, tmp_path: Path) -> PartitionCatalog:
    return PartitionCatalog(lake, tmp_path / "metadata")


def stored(lake: Lake) -> list[dict[str, Any]]:
    path = lake.root.parent / "metadata" / NAME
    found: list[dict[str, Any]] = json.loads(path.read_bytes())["partitions"]
    return found


def test_an_entry_is_what_the_day_is_made_of(lake: Lake, catalog: PartitionCatalog) -> None:
    messages = MessagesLake(lake.root)
    messages.append(message(1), message(2))
    messages.append(message(3), message(4, NEXT))
    catalog.refresh()
    first, second = stored(lake)
    size = sum(path.stat().st_size for path in messages.files() if "day=14" in str(path))
    assert first | {"created_at": "", "last_updated_at": ""} == {
        "partition_key": "2026-03-14",
        "dataset": "messages",
        "file_path": str(messages.table / "year=2026/month=03/day=14"),
        "file_count": 2,
        "record_count": 3,
        "size_bytes": size,
        "created_at": "",
        "last_updated_at": "",
        "compression": "snappy",
        "schema_version": 1,
    }
    assert first["created_at"] <= first["last_updated_at"]
    assert datetime.datetime.fromisoformat(first["created_at"]).tzinfo is not None
    assert (second["partition_key"], second["record_count"]) == ("2026-03-15", 1)


def test_it_follows_appends_compaction_and_deletion(lake: Lake, catalog: PartitionCatalog) -> None:
    messages = MessagesLake(lake.root)
    for number in range(3):
        messages.append(message(number))
    created = catalog.refresh()[0].created_at
    table = DeltaTable(str(messages.table))
    table.optimize.compact()
    (entry,) = catalog.refresh()
    assert (entry.file_count, entry.record_count, entry.created_at) == (1, 3, created)
    assert entry.last_updated_at > created
    table.delete("day = '14'")
    assert catalog.refresh() == []


def test_a_rescan_makes_it_anew(lake: Lake, catalog: PartitionCatalog, tmp_path: Path) -> None:
    MessagesLake(lake.root).append(message(1), message(2, NEXT))
    before = catalog.refresh()
    (tmp_path / "metadata" / NAME).write_bytes(b'{"tables": 7')
    assert PartitionCatalog(lake, tmp_path / "metadata").refresh() == before
    (tmp_path / "metadata" / NAME).write_bytes(b"{}")
    assert PartitionCatalog(lake, tmp_path / "metadata").rescan() == before


def test_nothing_new_leaves_the_file_alone(lake: Lake, catalog: PartitionCatalog, tmp_path: Path) -> None:
    MessagesLake(lake.root).append(message(1))
    catalog.refresh()
    written = (tmp_path / "metadata" / NAME).stat().st_ino
    catalog.refresh()
    assert (tmp_path / "metadata" / NAME).stat().st_ino == written


def test_a_table_that_was_made_anew_is_looked_at_anew(lake: Lake, catalog: PartitionCatalog) -> None:
    import shutil

    messages = MessagesLake(lake.root)
    messages.append(message(1), message(2))
    catalog.refresh()
    shutil.rmtree(messages.table)
    assert catalog.refresh() == []
    messages.append(message(3))
    assert [entry.record_count for entry in catalog.refresh()] == [1]


def test_the_day_of_a_key() -> None:
    assert partition_date("2024-02-29") == datetime.date(2024, 2, 29)


@pytest.mark.parametrize(
    "key",
    [
        "2026-03-00",
        "2026-03-32",
        "2026-13-01",
        "2026-02-29",
        "2026-3-1",
        "20260301",
        "",
        "x",
        "2026-03-01 ",
        "٢٠٢٦-٠٣-٠١",
    ],
)
def test_a_key_that_is_no_day_is_a_value_error_that_names_it(key: str) -> None:
    with pytest.raises(ValueError, match="partition_key"):
        partition_date(key)
