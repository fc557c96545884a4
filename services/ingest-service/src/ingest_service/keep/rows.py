"""The rows of some data files, streamed, and how two such lots differ: what archiving compares.

Memory holds the keys of a day, and of the other columns one batch or, when comparing, one part of the rows: a day
is compared in as many parts as it takes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from ingest_service.lake.archived import Day
from ingest_service.land.index.keys import keys_of
from millrace_schemas import datasets

_KEYS: Final = {
    "messages": ("msg_id",),
    "contacts": ("username",),
    "other": ("src_door", "src_file", "src_line", "src_element", "payload"),
}
"""What makes a row one of its own."""

_BATCH_ROWS: Final = 32_768
_PART_BYTES: Final = 24_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """Why one lot is not held by another."""

    what: str

    def __str__(self) -> str:
        return self.what


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """The rows of `paths`; `day` None: those of all days, whose directory keys are not asked."""

    dataset: str
    schema: pa.Schema
    paths: tuple[str, ...]
    day: Day | None

    @classmethod
    def of(cls, dataset: str, table: DeltaTable, paths: Sequence[str], day: Day | None) -> Rows:
        """Rows of these files of a table, in its types."""
        schema = pa.schema(
            [
                pa.field(field.name, _plain(field.type), field.nullable)
                for field in pa.schema(table.schema().to_arrow())
                if field.name not in datasets.PARTITION_COLUMNS
            ]
        )
        return cls(dataset, schema, tuple(paths), day)

    def count(self) -> int:
        """How many rows the files have, by their footers."""
        return sum(pq.read_metadata(path).num_rows for path in self.paths)

    def bytes(self) -> int:
        """Their size without compression, by the footers."""
        found = 0
        for path in self.paths:
            footer = pq.read_metadata(path)
            found += sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
        return found

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in batches, null where a file lacks a column."""
        wanted = list(self.schema.names if columns is None else columns)
        schema = pa.schema([self.schema.field(name) for name in wanted])
        for path in self.paths:
            with pa.OSFile(path) as source:
                file = pq.ParquetFile(source)
                has = [name for name in wanted if name in file.schema_arrow.names]
                for batch in file.iter_batches(_BATCH_ROWS, columns=has):
                    yield pa.RecordBatch.from_arrays(
                        [
                            batch.column(field.name).cast(field.type)
                            if field.name in has
                            else pa.nulls(batch.num_rows, field.type)
                            for field in schema
                        ],
                        schema=schema,
                    )

    def keys(self) -> pa.Array:
        """The key of each row."""
        found = [_key(self.dataset, batch) for batch in self.batches(_KEYS[self.dataset])]
        return pa.concat_arrays(found) if found else pa.array([], pa.string())

    def part(self, number: int, parts: int, among: pa.ChunkedArray | None = None) -> pa.Table:
        """The rows of one part of `parts`, by key, with the key as column `_key`; `among`: only those of these keys."""
        schema = self.schema.append(pa.field("_key", pa.string()))
        found = [schema.empty_table()]
        for batch in self.batches():
            keys = _key(self.dataset, batch)
            rows = pa.Table.from_arrays([*batch.columns, keys], schema=schema)
            if parts > 1:
                rows = rows.filter(pa.array(keys_of(keys).values % np.uint64(parts) == number))
            if among is not None:
                rows = rows.filter(pc.is_in(rows["_key"], among))
            found.append(rows)
        return pa.concat_tables(found).sort_by("_key")

    def newer_than(self, there: Rows) -> pa.Table:
        """The rows that `there` lacks or has in another state, with their directory keys; contacts are few."""
        assert self.day is not None
        mine = self.part(0, 1)
        held = {row["_key"]: row for row in there.part(0, 1, mine["_key"]).to_pylist()}
        changed = [held.get(row["_key"]) != row for row in mine.to_pylist()]
        return _with_day(mine.filter(pa.array(changed, pa.bool_())).drop_columns("_key"), self.day)


def missing(source: Rows, there: Rows) -> Iterator[pa.RecordBatch]:
    """The rows whose key `there` lacks, in batches, with their directory keys."""
    assert source.day is not None
    held = there.keys()
    for batch in source.batches():
        new = batch.filter(pc.invert(pc.is_in(_key(source.dataset, batch), held))) if len(held) else batch
        if new.num_rows:
            yield from _with_day(pa.Table.from_batches([new]), source.day).combine_chunks().to_batches()


def difference(source: Rows, target: Rows) -> Difference | None:
    """What `target` lacks of `source`, or has in another form; None when every row is there once and the same."""
    parts = max(1, -(-source.bytes() // _PART_BYTES))
    for number in range(parts):
        mine = source.part(number, parts)
        theirs = target.part(number, parts, mine["_key"])
        if mine.num_rows != theirs.num_rows:
            return Difference(f"{mine.num_rows} rows in the lake, {theirs.num_rows} of them in the archive")
        for name in source.schema.names:
            left, right = mine[name], theirs[name]
            if not left.equals(right):
                at = _first_unequal(left, right)
                return Difference(f"column {name} of row {mine['_key'][at].as_py()!r}")
    return None


def _first_unequal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> int:
    pairs = enumerate(zip(left.to_pylist(), right.to_pylist(), strict=True))
    return next((number for number, (one, other) in pairs if one != other), 0)


def _key(dataset: str, rows: pa.RecordBatch) -> pa.Array:
    columns = [rows.column(name).cast(pa.string()) for name in _KEYS[dataset]]
    return columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, "\x1f")


def _with_day(rows: pa.Table, day: Day) -> pa.Table:
    for name, value in zip(datasets.PARTITION_COLUMNS, day, strict=True):
        column = pa.repeat(pa.scalar(value, pa.string()), rows.num_rows)
        rows = rows.append_column(pa.field(name, pa.string(), nullable=False), column)
    return rows


def _plain(kind: pa.DataType) -> pa.DataType:
    """What files of ours hold: a table's log knows one type of text, the library hands out views of it."""
    return pa.string() if pa.types.is_string_view(kind) or pa.types.is_large_string(kind) else kind
