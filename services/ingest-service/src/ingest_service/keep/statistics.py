"""What lake, archive and journals amount to: sizes, ages, compression, growth (LAKE-121 to LAKE-124)."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import shutil
from collections.abc import Callable, Iterable
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from ingest_service.errors import StorageIoError, storage_errors
from ingest_service.lake.partitions import live_files
from ingest_service.lake.tables import TABLES, Lake

_MB: Final = 1_000_000
_AGES: Final = (
    ("0-7_days", 7),
    ("8-30_days", 30),
    ("31-90_days", 90),
    ("91-180_days", 180),
    ("181-365_days", 365),
)
_OLDEST: Final = "over_365_days"
_WINDOWS: Final = (7, 30)


@dataclasses.dataclass(frozen=True, slots=True)
class Partition:
    """One day of one dataset in one place: its files' sizes and paths, its rows."""

    dataset: str
    day: datetime.date
    paths: tuple[pathlib.Path, ...]
    size_bytes: int
    rows: int


def partitions_of(tables: Lake) -> list[Partition]:
    """Every day of every table below a root; of a table of ours. Raises StorageIoError that names the table."""
    found = []
    for name in TABLES:
        if not tables.exists(name):
            continue
        try:
            files = live_files(DeltaTable(str(tables.path(name))))
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise StorageIoError(
                f"{tables.path(name)}: {error}", operation="stats", source=tables.path(name)
            ) from error
        days = files.group_by("partition_key").aggregate(
            [("path", "list"), ("size_bytes", "sum"), ("rows", "sum")]
        )
        found += [
            Partition(
                name,
                datetime.date.fromisoformat(day["partition_key"]),
                tuple(tables.path(name) / path for path in day["path_list"]),
                day["size_bytes_sum"],
                day["rows_sum"],
            )
            for day in days.to_pylist()
        ]
    return found


def statistics(
    lake: Lake,
    raw: pathlib.Path,
    *,
    today: datetime.date,
    capacity_bytes: int | None = None,
    read: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """All of section 11. `capacity_bytes` is by default what the data has now and the free space of its disk.

    `read` is told how many files' footers of how many have been read. Raises StorageError.
    """
    with storage_errors("stats", lake.root):
        hot = partitions_of(lake) if lake.root.is_dir() else None
        archived = partitions_of(lake.archive) if lake.archive_root.is_dir() else None
        journals = _journals(raw)
        everything = [*(hot or ()), *(archived or ())]
        total = sum(one.size_bytes for one in everything) + (
            0 if journals is None else journals["total_size_bytes"]
        )
        if capacity_bytes is None:
            capacity_bytes = total + _free(lake.root)
        return {
            "storage": {
                "parquet": None if hot is None else _sums(hot),
                "archive": None if archived is None else _sums(archived),
                "raw": journals,
                "total_size_mb": round(total / _MB, 2),
            },
            "age_distribution": age_distribution(everything, today),
            "compression": compression(everything, read),
            "growth": growth(everything, today, total, capacity_bytes),
        }


def age_distribution(partitions: Iterable[Partition], today: datetime.date) -> dict[str, int]:
    """How many partitions are how old (LAKE-122); a day that is still to come counts as of today."""
    counts = {name: 0 for name, _ in _AGES} | {_OLDEST: 0}
    for one in partitions:
        age = (today - one.day).days
        counts[next((name for name, limit in _AGES if age <= limit), _OLDEST)] += 1
    return counts | {"total_partitions": sum(counts.values())}


def compression(
    partitions: Iterable[Partition], read: Callable[[int, int], None] = lambda *_: None
) -> dict[str, Any]:
    """Bytes of all column chunks, as stored and without compression, by the files' own metadata (LAKE-123).

    `unreadable_files` are left out of the sums.
    """
    paths = [path for one in partitions for path in one.paths]
    stored = plain = 0
    unreadable = []
    for number, path in enumerate(paths, 1):
        try:
            footer = pq.read_metadata(path)
        except (OSError, pa.ArrowException):
            unreadable.append(str(path))
        else:
            for group in map(footer.row_group, range(footer.num_row_groups)):
                for column in map(group.column, range(group.num_columns)):
                    stored += column.total_compressed_size
                    plain += column.total_uncompressed_size
        read(number, len(paths))
    return {
        "total_compressed_size_mb": round(stored / _MB, 2),
        "total_uncompressed_size_mb": round(plain / _MB, 2),
        "average_compression_ratio": round(plain / stored, 2) if stored else 0.0,
        "unreadable_files": unreadable,
    }


def growth(
    partitions: Iterable[Partition], today: datetime.date, total_bytes: int, capacity_bytes: int
) -> dict[str, Any]:
    """Bytes and rows a day over the last complete UTC days, and for how many days the capacity lasts at that rate
    (LAKE-124): 0 when it is used up, None when nothing grows."""
    found: dict[str, Any] = {"capacity_bytes": capacity_bytes, "used_bytes": total_bytes}
    listed = list(partitions)
    for days in _WINDOWS:
        within = [one for one in listed if 1 <= (today - one.day).days <= days]
        bytes_per_day = sum(one.size_bytes for one in within) / days
        left = max(0, capacity_bytes - total_bytes)
        found[f"last_{days}_days"] = {
            "bytes_per_day": round(bytes_per_day, 2),
            "rows_per_day": round(sum(one.rows for one in within) / days, 2),
            "days_until_capacity": round(left / bytes_per_day, 1)
            if bytes_per_day
            else (None if left else 0.0),
        }
    return found


def _sums(partitions: list[Partition]) -> dict[str, Any]:
    days = [one.day for one in partitions]
    size = sum(one.size_bytes for one in partitions)
    return {
        "total_partitions": len(partitions),
        "total_files": sum(len(one.paths) for one in partitions),
        "total_size_bytes": size,
        "total_size_mb": round(size / _MB, 2),
        "total_rows": sum(one.rows for one in partitions),
        "oldest_partition": min(days).isoformat() if days else None,
        "newest_partition": max(days).isoformat() if days else None,
    }


def _journals(raw: pathlib.Path) -> dict[str, Any] | None:
    if not raw.is_dir():
        return None
    sizes = [
        path.stat().st_size
        for path in raw.iterdir()
        if path.suffix == ".jsonl" and not path.name.startswith(".") and path.is_file()
    ]
    return {
        "total_files": len(sizes),
        "total_size_bytes": sum(sizes),
        "total_size_mb": round(sum(sizes) / _MB, 2),
    }


def _free(place: pathlib.Path) -> int:
    """Free bytes of the disk on which the path is, or would be."""
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
