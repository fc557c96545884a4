"""Sizes, ages, compression and growth are those of the files (LAKE-121 to LAKE-124)."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest_service.errors import StorageIoError
from ingest_service.keep.archive import archive
from ingest_service.keep.statistics import Partition, age_distribution, growth, statistics
from ingest_service.lake.tables import Lake
from millrace_testkit.messages_lake import DAY, MessagesLake, message

TODAY = DAY.date() + datetime.timedelta(days=10)


def of(day: int, size: int = 100, rows: int = 1) -> Partition:
    """A partition so many days before TODAY."""
    return Partition("messages", TODAY - datetime.timedelta(days=day), (), size, rows)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "messages" / "raw"


def stats(lake: Lake, raw: Path, **options: Any) -> dict[str, Any]:
    return statistics(lake, raw, today=TODAY, **options)


def test_what_is_absent_is_null_and_what_is_empty_is_zero(lake: Lake, raw: Path) -> None:
    assert stats(lake, raw)["storage"] == {
        "parquet": None, "archive": None, "raw": None, "total_size_mb": 0.0,
    }  # fmt: skip
    for root in (lake.root, lake.archive_root, raw):
        root.mkdir(parents=True)
    found = stats(lake, raw)
    assert (
        found["storage"]["parquet"]
        == found["storage"]["archive"]
        == {
            "total_partitions": 0,
            "total_files": 0,
            "total_size_bytes": 0,
            "total_size_mb": 0.0,
            "total_rows": 0,
            "oldest_partition": None,
            "newest_partition": None,
        }
    )
    assert found["storage"]["raw"] == {"total_files": 0, "total_size_bytes": 0, "total_size_mb": 0.0}
    assert found["compression"]["average_compression_ratio"] == 0.0


def test_sizes_are_those_of_the_live_files(lake: Lake, raw: Path, tmp_path: Path) -> None:
    table = MessagesLake(lake.root)
    table.append(message(1), message(2, DAY + datetime.timedelta(days=3)))
    table.append(message(3))
    archive(lake, tmp_path / "metadata", today=TODAY, older_than_days=9, level=1)
    table.append(message(4, DAY + datetime.timedelta(days=4)))
    raw.mkdir(parents=True)
    (raw / "2026-03-14.jsonl").write_bytes(b"x" * 700)
    (raw / ".2026-03-14.idx").write_bytes(b"no journal")

    found = stats(lake, raw)["storage"]

    newest = [path for path in table.files() if "day=14" not in str(path)]
    size = sum(path.stat().st_size for path in newest)
    assert found["parquet"] == {
        "total_partitions": 2,
        "total_files": 2,
        "total_size_bytes": size,
        "total_size_mb": round(size / 1e6, 2),
        "total_rows": 2,
        "oldest_partition": "2026-03-17",
        "newest_partition": "2026-03-18",
    }
    archived = sum(path.stat().st_size for path in lake.archive_root.rglob("part-*.parquet"))
    assert (found["archive"]["total_rows"], found["archive"]["total_size_bytes"]) == (2, archived)
    assert found["raw"] == {"total_files": 1, "total_size_bytes": 700, "total_size_mb": 0.0}
    assert found["total_size_mb"] == round((size + archived + 700) / 1e6, 2)


@pytest.mark.parametrize(
    ("age", "name"),
    [
        (-1, "0-7_days"), (0, "0-7_days"), (7, "0-7_days"), (8, "8-30_days"), (30, "8-30_days"),
        (31, "31-90_days"), (90, "31-90_days"), (91, "91-180_days"), (180, "91-180_days"),
        (181, "181-365_days"), (365, "181-365_days"), (366, "over_365_days"), (4000, "over_365_days"),
    ],
)  # fmt: skip
def test_an_age_is_counted_once(age: int, name: str) -> None:
    """LAKE-122."""
    counts = age_distribution([of(age)], TODAY)
    assert {key for key, count in counts.items() if count} == {name, "total_partitions"}
    assert len(counts) == 7


def test_the_ratio_is_that_of_the_column_chunks(lake: Lake, raw: Path) -> None:
    """LAKE-123."""
    table = MessagesLake(lake.root)
    table.append(*(message(number, content=f"{number} the same again " * 500) for number in range(50)))
    table.append(message(60, DAY + datetime.timedelta(days=1)))
    stored = plain = 0
    for path in table.files():
        group = pq.read_metadata(path).row_group(0)
        stored += sum(group.column(n).total_compressed_size for n in range(group.num_columns))
        plain += sum(group.column(n).total_uncompressed_size for n in range(group.num_columns))
    found = stats(lake, raw)["compression"]
    assert found["average_compression_ratio"] == round(plain / stored, 2) > 2
    assert found["total_uncompressed_size_mb"] == round(plain / 1e6, 2) > 0.3
    damaged = table.files()[0]
    damaged.write_bytes(b"")
    assert stats(lake, raw)["compression"]["unreadable_files"] == [str(damaged)]


def test_growth_is_of_complete_days_and_empty_days_count() -> None:
    """LAKE-124."""
    partitions = [of(0, 10**9), of(1, 700, 7), of(7, 700, 7), of(8, 1000, 16), of(30, 600), of(31, 10**9)]
    found = growth(partitions, TODAY, total_bytes=2_000, capacity_bytes=12_000)
    assert found["last_7_days"] == {"bytes_per_day": 200.0, "rows_per_day": 2.0, "days_until_capacity": 50.0}
    assert found["last_30_days"] == {
        "bytes_per_day": 100.0,
        "rows_per_day": 1.03,
        "days_until_capacity": 100.0,
    }


def test_a_full_disk_lasts_no_day_and_one_that_does_not_fill_lasts_for_ever() -> None:
    assert growth([of(1)], TODAY, 100, 100)["last_7_days"]["days_until_capacity"] == 0.0
    assert growth([], TODAY, 100, 50)["last_7_days"]["days_until_capacity"] == 0.0
    assert growth([], TODAY, 50, 100)["last_7_days"]["days_until_capacity"] is None


def test_capacity_is_by_default_what_the_disk_still_takes(lake: Lake, raw: Path) -> None:
    found = stats(lake, raw)["growth"]
    assert found["used_bytes"] == 0
    assert found["capacity_bytes"] > 0
    assert stats(lake, raw, capacity_bytes=7)["growth"]["capacity_bytes"] == 7


def test_a_table_that_cannot_be_read_is_named(lake: Lake, raw: Path) -> None:
    MessagesLake(lake.root).append(message(1))
    (lake.path("messages") / "_delta_log" / f"{0:020d}.json").write_bytes(b"no log")
    with pytest.raises(StorageIoError, match="messages"):
        stats(lake, raw)


def test_rows_that_no_log_counts_are_counted_in_the_files(lake: Lake) -> None:
    from deltalake import DeltaTable

    from ingest_service.lake.partitions import live_files

    MessagesLake(lake.root).append(message(1), message(2))
    log = lake.path("messages") / "_delta_log" / f"{0:020d}.json"
    log.write_bytes(b"\n".join(_without_stats(line) for line in log.read_bytes().splitlines()))
    files = live_files(DeltaTable(str(lake.path("messages"))))
    assert files["rows"].to_pylist() == [2]
    assert isinstance(files, pa.Table)


def _without_stats(line: bytes) -> bytes:
    import json

    action = json.loads(line)
    action.get("add", {}).pop("stats", None)
    return json.dumps(action).encode()
