"""Which origins have a row in the lake or its archive: what a letter that was replayed is known by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest_service.lake.archived import TableView
from ingest_service.lake.tables import Lake
from ingest_service.land.stored_origins import files_that_may_hold
from ingest_service.letters.letter import LetterId, origins_table
from millrace_schemas import datasets

DATASETS: Final = ("messages", "other", "contacts")
_ORIGIN: Final = ("src_door", "src_file", "src_line", "src_element")


@dataclass(frozen=True, slots=True)
class Landed:
    """`datasets`: where an origin has its row. `guids`: of lines any element of which is a message, its guid."""

    datasets: Mapping[LetterId, str]
    guids: Mapping[tuple[str, str, int], str]


def landed(lake: Lake, ids: Sequence[LetterId]) -> Landed:
    """What the newest versions of the tables say of these origins. Raises DeltaError, OSError."""
    asked = frozenset(ids)
    lines = frozenset((each.door, each.file, each.line) for each in ids)
    datasets: dict[LetterId, str] = {}
    guids: dict[tuple[str, str, int], str] = {}
    for name in DATASETS if ids else ():
        columns = [*_ORIGIN, "guid"]
        for rows in _rows(lake, name, ids, columns):
            for door, file, line, element, guid in zip(
                *(rows[column].to_pylist() for column in columns), strict=True
            ):
                if name == "messages" and (door, file, line) in lines:
                    guids[door, file, line] = guid
                if (origin := LetterId(door, file, line, element)) in asked:
                    datasets[origin] = name
    return Landed(datasets, guids)


def _rows(lake: Lake, name: str, ids: Sequence[LetterId], columns: list[str]) -> Iterator[pa.Table]:
    """Rows of the lines of these origins. The archive behind the lake: a row on its way is met at least once."""
    wanted = origins_table(ids)
    condition = pc.field("src_line").isin(pc.unique(wanted["src_line"]))
    whole = datasets.load(name).arrow_schema()
    schema = pa.schema([whole.field(column) for column in columns])
    for path in (lake.path(name), lake.archive.path(name)):
        handle = TableView(path).handle()
        if handle is None:
            continue
        for file in files_that_may_hold(handle, wanted):
            with pa.OSFile(file) as source:
                for batch in pq.ParquetFile(source).iter_batches(columns=columns):
                    # A compaction writes views of strings, which no filter takes.
                    yield pa.Table.from_batches([batch]).select(columns).cast(schema).filter(condition)
