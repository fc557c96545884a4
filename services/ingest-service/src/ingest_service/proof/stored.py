"""The row of a msg_id, and the data file that holds it, in the lake or its archive."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from ingest_service.lake.archived import TableView
from ingest_service.lake.tables import Lake
from millrace_schemas import datasets

_STORED: Final = datasets.load("messages").arrow_schema()
_COLUMNS: Final = (
    "src_door",
    "src_file",
    "src_line",
    "src_element",
    "guid",
    "create_time",
    "ingestion_time",
)

_SCHEMA: Final = pa.schema([_STORED.field(name) for name in _COLUMNS])


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of messages. `table` is the directory of the table that has it, `file` the path below; `written_at_ms`
    is when the log says that the file was made."""

    table: pathlib.Path
    file: str
    archived: bool
    written_at_ms: int | None
    src_door: str
    src_file: str
    src_line: int
    src_element: int
    guid: str
    create_time: datetime.datetime
    ingestion_time: datetime.datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """As a rule one row; two where it is on its way to the archive. `unreadable` names files that may hold more."""

    rows: Sequence[StoredRow]
    unreadable: Sequence[str]


def stored_rows(lake: Lake, msg_id: str) -> Stored:
    """The rows of this id. Raises DeltaError."""
    rows: list[StoredRow] = []
    unreadable: list[str] = []
    # The archive behind the lake: a row on its way is met at least once.
    for table, archived in ((lake.path("messages"), False), (lake.archive.path("messages"), True)):
        handle = TableView(table).handle()
        for file, written_at_ms in _candidates(handle, msg_id) if handle is not None else ():
            try:
                rows += [
                    StoredRow(table, file, archived, written_at_ms, *values)
                    for values in _matching(table / file, msg_id)
                ]
            except (OSError, pa.ArrowException) as error:
                unreadable.append(f"{table / file}: {error}")
    return Stored(rows, unreadable)


def holds(path: pathlib.Path, msg_id: str) -> bool:
    """Whether this data file has a row of the id. Raises OSError, ArrowException."""
    return bool(_matching(path, msg_id))


def _candidates(handle: DeltaTable, msg_id: str) -> Iterator[tuple[str, int | None]]:
    """Live files whose statistics allow them to hold the id, and when they were written."""
    adds = pa.table(handle.get_add_actions(flatten=True))
    may = pa.array([True] * adds.num_rows, pa.bool_())
    for name, compare in (("min.msg_id", pc.less_equal), ("max.msg_id", pc.greater_equal)):
        if name in adds.column_names:
            may = pc.and_(may, pc.fill_null(compare(adds[name].cast(pa.string()), msg_id), True))
    chosen = adds.filter(may)
    for path, moment in zip(chosen["path"].to_pylist(), chosen["modification_time"].to_pylist(), strict=True):
        time = moment if isinstance(moment, int | None) else int(moment.timestamp() * 1000)
        yield path, time


def _matching(path: pathlib.Path, msg_id: str) -> list[tuple[Any, ...]]:
    """Values of `_COLUMNS`: only row groups that may have the id are read, and of them its column first."""
    found: list[tuple[Any, ...]] = []
    with pa.OSFile(str(path)) as source:
        file = pq.ParquetFile(source)
        at = file.schema_arrow.get_field_index("msg_id")
        for group in range(file.num_row_groups):
            bounds = file.metadata.row_group(group).column(at).statistics
            if bounds is not None and bounds.has_min_max and not bounds.min <= msg_id <= bounds.max:
                continue
            ids = file.read_row_group(group, ["msg_id"])["msg_id"].cast(pa.string())
            here = pc.equal(ids, msg_id)
            if pc.any(here).as_py():
                # A compaction writes views of strings, which no filter takes.
                rows = file.read_row_group(group, list(_COLUMNS)).select(_COLUMNS).cast(_SCHEMA).filter(here)
                found += list(zip(*(rows[name].to_pylist() for name in _COLUMNS), strict=True))
    return found
