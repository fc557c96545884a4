"""`metadata/partitions.json`: what each day of each dataset is made of (LAKE-120), made from the tables' logs.

A report: it equals the live files after every change, and when it is lost, the next refresh makes it anew.
"""

from __future__ import annotations

import datetime
import fcntl
import pathlib
import re
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from ingest_service.errors import BadArgumentError
from ingest_service.lake.archived import TableView
from ingest_service.lake.durable import write_durably
from ingest_service.lake.tables import TABLES, Lake
from millrace_schemas import datasets

NAME: Final = "partitions.json"
_LOCK: Final = ".partitions.lock"
_KEY: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)


class PartitionMetadata(msgspec.Struct, frozen=True):
    """One day of one dataset, in the lake or in the archive; times are ISO 8601 in UTC."""

    partition_key: str
    dataset: str
    file_path: str
    file_count: int
    record_count: int
    size_bytes: int
    created_at: str
    last_updated_at: str
    compression: str
    schema_version: int


class _Stored(msgspec.Struct):
    """`tables` says of which version of which table the entries are."""

    tables: dict[str, str]
    partitions: list[PartitionMetadata]


def partition_date(key: str) -> datetime.date:
    """The day of a key `YYYY-MM-DD`. Raises BadArgumentError, a ValueError, that names the key (LAKE-120)."""
    if (found := _KEY.fullmatch(key)) is not None:
        try:
            return datetime.date(*map(int, found.groups()))
        except ValueError as error:
            raise BadArgumentError(f"partition_key: {key!r} is no day: {error}") from None
    raise BadArgumentError(f"partition_key: {key!r} is not of the form YYYY-MM-DD")


class PartitionCatalog:
    """Keeps the report level with the tables. Used from one thread at a time; processes take turns by a lock."""

    def __init__(self, lake: Lake, metadata: pathlib.Path) -> None:
        self._metadata = metadata
        self._tables = {
            **{name: TableView(lake.path(name)) for name in TABLES},
            **{f"archive/{name}": TableView(lake.archive.path(name)) for name in TABLES},
        }

    def refresh(self) -> list[PartitionMetadata]:
        """Bring the file up to date and return its entries. An unchanged table costs one look at its log.

        Raises DeltaError, OSError.
        """
        self._metadata.mkdir(parents=True, exist_ok=True)
        with (self._metadata / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            stored = _read(self._metadata / NAME)
            handles = {
                name: handle for name, table in self._tables.items() if (handle := table.handle()) is not None
            }
            tables = {name: f"{handle.metadata().id}@{handle.version()}" for name, handle in handles.items()}
            if stored.tables == tables:
                return stored.partitions
            entries: list[PartitionMetadata] = []
            for name, handle in handles.items():
                place = self._tables[name].path
                earlier = [
                    one for one in stored.partitions if pathlib.Path(one.file_path).is_relative_to(place)
                ]
                if stored.tables.get(name) == tables[name]:
                    entries += earlier
                else:
                    entries += _entries(name.rpartition("/")[2], place, handle, earlier)
            entries.sort(key=lambda one: (one.dataset, one.partition_key, one.file_path))
            content = msgspec.json.format(msgspec.json.encode(_Stored(tables, entries)), indent=1)
            write_durably(self._metadata / NAME, [content, b"\n"])
            return entries

    def rescan(self) -> list[PartitionMetadata]:
        """Make the report anew from the tables alone."""
        (self._metadata / NAME).unlink(missing_ok=True)
        return self.refresh()


def _read(path: pathlib.Path) -> _Stored:
    """An unreadable one counts as none: it is only a report."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Stored)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return _Stored({}, [])


def live_files(handle: DeltaTable) -> pa.Table:
    """Live files: path, size_bytes, modified_ms, rows, schema_version and partition_key, a row each.

    `rows` are those of the log, or of the footer where the log has none.
    """
    adds = pa.table(handle.get_add_actions(flatten=True))
    root = pathlib.Path(str(handle.table_uri).removeprefix("file://"))
    known = "num_records" in adds.column_names
    rows = adds["num_records"].to_pylist() if known else [None] * adds.num_rows
    for number, count in enumerate(rows):
        if count is None:
            rows[number] = pq.read_metadata(root / adds["path"][number].as_py()).num_rows
    versions = "max.schema_version"
    unknown = pa.nulls(adds.num_rows, pa.int32())
    day = (adds[f"partition.{name}"].cast(pa.string()) for name in datasets.PARTITION_COLUMNS)
    return pa.table(
        {
            "path": adds["path"],
            "size_bytes": adds["size_bytes"],
            "modified_ms": adds["modification_time"].cast(pa.int64()),
            "rows": pa.array(rows, pa.int64()),
            "schema_version": adds[versions].cast(pa.int32()) if versions in adds.column_names else unknown,
            "partition_key": pc.binary_join_element_wise(*day, "-"),
        }
    )


def _entries(
    dataset: str, place: pathlib.Path, handle: DeltaTable, earlier: list[PartitionMetadata]
) -> list[PartitionMetadata]:
    files = live_files(handle)
    days = files.group_by("partition_key").aggregate(
        [
            ("path", "count"),
            ("path", "min"),
            ("size_bytes", "sum"),
            ("rows", "sum"),
            ("modified_ms", "min"),
            ("modified_ms", "max"),
            ("schema_version", "max"),
        ]
    )
    known = {one.file_path: one for one in earlier}
    found = []
    for day in days.to_pylist():
        before = known.get(str(place / day["path_min"].rpartition("/")[0]))
        created, updated = _moment(day["modified_ms_min"]), _moment(day["modified_ms_max"])
        same = before is not None and (before.file_count, before.size_bytes, before.last_updated_at) == (
            day["path_count"], day["size_bytes_sum"], updated,
        )  # fmt: skip
        found.append(
            PartitionMetadata(
                partition_key=day["partition_key"],
                dataset=dataset,
                file_path=str(place / day["path_min"].rpartition("/")[0]),
                file_count=day["path_count"],
                record_count=day["rows_sum"],
                size_bytes=day["size_bytes_sum"],
                # A compaction replaces the files; the day is as old as it was.
                created_at=created if before is None else min(created, before.created_at),
                last_updated_at=updated,
                compression=before.compression
                if before is not None and same
                else _compression(place / day["path_min"]),
                schema_version=day["schema_version_max"] or datasets.load(dataset).schema_version,
            )
        )
    return found


def _compression(path: pathlib.Path) -> str:
    """The codec of a data file's first column; `unknown` for one that cannot be read or has no rows."""
    try:
        footer = pq.read_metadata(path)
        return str(footer.row_group(0).column(0).compression).lower()
    except (OSError, pa.ArrowException, IndexError):
        return "unknown"


def _moment(ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
