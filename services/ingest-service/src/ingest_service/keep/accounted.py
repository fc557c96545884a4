"""Whether every line of a journal is in a dataset: asked of the tables themselves, before the journal goes.

The lines are built once more by the code that lands them. A message has to be there by its msg_id, a contact in a
state that is not older, a notification and a dead letter by origin and content. What is not found so is looked for
by its origin alone: a release that tells lines apart in another way may have stored it as something else. Sums that
were saved beside the journal could only say that somebody had counted.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from ingest_service.lake.archived import Day, paths_of
from ingest_service.lake.tables import TABLES, Lake
from ingest_service.land.batch import Batch
from ingest_service.land.contacts import Event
from ingest_service.land.held import HeldTable
from ingest_service.land.index.index import EPOCH
from ingest_service.land.side import SideRows, dead_letter_rows
from ingest_service.land.stored_origins import StoredOrigins

_DAYS_KEPT = 4
_ORDER_END = "\n"

Lines = set[int]


class Accounts:
    """The rows of lake and archive, as of its making. Raises DeltaError, OSError, ArrowException throughout."""

    def __init__(self, lake: Lake) -> None:
        # The archive behind the lake: what moves in between is met at least once.
        self._handles = {name: DeltaTable(str(lake.path(name))) for name in TABLES if lake.exists(name)}
        self._archived = {
            name: DeltaTable(str(lake.archive.path(name))) for name in TABLES if lake.archive.exists(name)
        }
        self._other = _origins(lake, "other", ["payload"])
        self._dead = _origins(lake, "dead_letters", ["body", "body_base64"])
        self._contacts: dict[str, str] | None = None
        self._ids_of = lru_cache(_DAYS_KEPT)(self._ids_of_day)

    def missing(self, batches: Iterable[Batch], file: str) -> Lines:
        """The lines of journal `file` that no table accounts for."""
        absent: Lines = set()
        doubtful: list[pa.Table] = []
        for batch in batches:
            doubtful.append(self._strangers(batch))
            absent |= self._contact_lines(batch.contacts)
            absent |= _lines_without(self._other, batch.other)
            absent |= _lines_without(self._dead, dead_letter_rows(batch.dead_letters, 0))
        # Of a repeat with another time the first one was stored, on another day.
        absent |= self._nowhere(pa.concat_tables(doubtful)) if doubtful else set()
        return absent - self._by_origin(absent, file) if absent else absent

    def _strangers(self, batch: Batch) -> pa.Table:
        """msg_id and line of the messages that their own days do not hold."""
        rows = batch.messages.select(["msg_id", "src_line"])
        known = np.zeros(rows.num_rows, np.bool_)
        for number in np.unique(batch.days):
            here = batch.days == number
            ids = self._ids_of(int(number))
            known[here] = pc.is_in(rows["msg_id"].filter(pa.array(here)), ids).to_numpy()
        return rows.filter(pa.array(~known))

    def _ids_of_day(self, number: int) -> pa.Array:
        moment = EPOCH + datetime.timedelta(days=number)
        day = Day(f"{moment:%Y}", f"{moment:%m}", f"{moment:%d}")
        paths = [path for handle in self._both("messages") for path in paths_of(handle, day)]
        return _column(paths, "msg_id")

    def _nowhere(self, rows: pa.Table) -> Lines:
        """The lines of those whose msg_id no file holds."""
        for handle in self._both("messages"):
            for path in _files_within(handle, "msg_id", rows):
                if not rows.num_rows:
                    return set()
                rows = rows.filter(pc.invert(pc.is_in(rows["msg_id"], _column([path], "msg_id"))))
        return set(rows["src_line"].to_pylist())

    def _contact_lines(self, events: Iterable[Event]) -> Lines:
        """The lines of contact events that came after what is stored of the contact."""
        if self._contacts is None:
            self._contacts = self._contact_orders()
        return {
            event.row["src_line"] for event in events if self._contacts.get(event.username, "") < event.order
        }

    def _contact_orders(self) -> dict[str, str]:
        """The order of the latest event that each contact has seen."""
        found: dict[str, str] = {}
        for handle in self._both("contacts"):
            for path in paths_of(handle):
                rows = _read(path, ["username", "row_order", "delete_order"])
                for name, row, deleted in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                    order = max(row.removeprefix("-"), deleted.partition(_ORDER_END)[0])
                    found[name] = max(found.get(name, ""), order)
        return found

    def _by_origin(self, lines: Lines, file: str) -> Lines:
        """Which of these lines of the journal any table has a row of."""
        found: Lines = set()
        wanted = pa.table({"src_file": [file] * len(lines), "src_line": pa.array(sorted(lines), pa.int64())})
        for name in TABLES:
            for handle in self._both(name):
                for path in _files_within(handle, "src_file", wanted):
                    rows = _read(path, ["src_file", "src_line"])
                    here = pc.and_(
                        pc.equal(rows["src_file"], file), pc.is_in(rows["src_line"], wanted["src_line"])
                    )
                    found |= set(rows["src_line"].filter(here).to_pylist())
        return found

    def _both(self, name: str) -> Iterator[DeltaTable]:
        for handles in (self._handles, self._archived):
            if name in handles:
                yield handles[name]


def _origins(lake: Lake, name: str, content: list[str]) -> StoredOrigins | None:
    return StoredOrigins(HeldTable(lake, name), content) if lake.exists(name) else None


def _lines_without(stored: StoredOrigins | None, rows: SideRows) -> Lines:
    lines = rows.table["src_line"]
    if stored is None or not len(rows):
        return set(lines.to_pylist())
    return set(lines.filter(pa.array(~stored.among(rows.table))).to_pylist())


def _files_within(handle: DeltaTable, column: str, rows: pa.Table) -> list[str]:
    """Live files whose statistics allow them to hold one of these values."""
    adds = pa.table(handle.get_add_actions(flatten=True))
    root = str(handle.table_uri).removeprefix("file://").rstrip("/") + "/"
    paths = [root + path for path in adds["path"].to_pylist()]
    low, high = f"min.{column}", f"max.{column}"
    if not rows.num_rows or low not in adds.column_names or high not in adds.column_names:
        return paths if rows.num_rows else []
    bounds = pc.min_max(rows[column]).as_py()
    above = pc.fill_null(pc.less_equal(adds[low], bounds["max"]), True)
    below = pc.fill_null(pc.greater_equal(adds[high], bounds["min"]), True)
    return [path for path, may in zip(paths, pc.and_(above, below).to_pylist(), strict=True) if may]


def _column(paths: list[str], name: str) -> pa.Array:
    found = [_read(path, [name])[name].cast(pa.string()) for path in paths]
    return pa.chunked_array(found or [[]], pa.string()).combine_chunks()


def _read(path: str, columns: list[str]) -> pa.Table:
    with pa.OSFile(path) as source:
        rows = pq.ParquetFile(source).read(columns).select(columns)
    # A file that a merge or a deletion has written holds views of text.
    views = {pa.string_view(): pa.string()}
    return rows.cast(pa.schema([(field.name, views.get(field.type, field.type)) for field in rows.schema]))
