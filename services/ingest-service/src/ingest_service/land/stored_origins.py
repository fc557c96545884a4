"""Which rows of a side table are there already, by their origin and content.

A row that came by a relay may come again by any way: repeated by the relay, sent again by `replay`, by another
partition or a topic made anew, or by the journal itself where an installation has changed its bus. Its origin
is the same each time. Content counts too, since a journal that was replaced gives its line numbers again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from ingest_service.lake.archived import TableView
from ingest_service.land.held import HeldTable
from ingest_service.land.side import Mask

_ORIGIN: Final = ("src_door", "src_file", "src_line", "src_element")
_ELEMENT_BITS: Final = 24
_LAST_ELEMENT: Final = (1 << _ELEMENT_BITS) - 1

Numbers = npt.NDArray[np.int64]
_Origins = Mapping[tuple[str, str], Numbers]


class StoredOrigins:
    """Looks at the files whose statistics allow them to hold an origin that is asked for, each once.

    What it keeps of a file are 8 bytes a row, until the file is no part of the table any more.
    """

    def __init__(self, table: HeldTable, content: Sequence[str]) -> None:
        """`content`: the columns that tell a row from another one of the same origin."""
        self._table = table
        self._archive = TableView(table.lake.archive.path(table.name))
        self._content = tuple(content)
        self._read: dict[str, _Origins] = {}

    def among(self, rows: pa.Table) -> Mask:
        """Which of these rows the table holds as of its handle, or its archive, or an earlier one of them repeats."""
        found = np.zeros(rows.num_rows, np.bool_)
        if not rows.num_rows:
            return found
        wanted = _origins_of(rows)
        holding = [file for file in self._files_with(rows) if _meet(self._origins_in(file), wanted)]
        if not holding and all(len(np.unique(numbers)) == len(numbers) for numbers in wanted.values()):
            return found
        columns = [*_ORIGIN, *self._content]
        lines = pc.field("src_line").isin(pc.unique(rows.column("src_line")))
        known = {tuple(row.values()) for row in self._table.read(columns, lines, holding).to_pylist()}
        for number, row in enumerate(rows.select(columns).to_pylist()):
            found[number] = tuple(row.values()) in known
            known.add(tuple(row.values()))
        return found

    def _files_with(self, rows: pa.Table) -> list[str]:
        """Live files that may hold an origin of these rows. Forgets files that are not live any more."""
        live: set[str] = set()
        found: list[str] = []
        # The archive behind the table: a row on its way from one to the other is met at least once.
        for handle in (self._table.handle, self._archive.handle()):
            if handle is not None:
                files, may = _looked_at(handle, rows)
                live.update(files)
                found += _chosen(files, may)
        self._read = {file: origins for file, origins in self._read.items() if file in live}
        return found

    def _origins_in(self, file: str) -> _Origins:
        if file not in self._read:
            with pa.OSFile(file) as source:
                rows = pq.ParquetFile(source).read(list(_ORIGIN))
            self._read[file] = _origins_of(rows)
        return self._read[file]


def files_that_may_hold(handle: DeltaTable, rows: pa.Table) -> list[str]:
    """Absolute paths of the live files that may hold an origin of these rows, of which there is one at least."""
    return _chosen(*_looked_at(handle, rows))


def _chosen(files: Sequence[str], may: Mask) -> list[str]:
    return [file for file, possible in zip(files, may, strict=True) if possible]


def _looked_at(handle: DeltaTable, rows: pa.Table) -> tuple[list[str], Mask]:
    """The live files, and which of them may hold an origin of these rows by what the log says."""
    adds = pa.table(handle.get_add_actions(flatten=True))
    root = str(handle.table_uri).removeprefix("file://").rstrip("/") + "/"
    files = [root + path for path in adds.column("path").to_pylist()]
    may = np.ones(len(files), np.bool_)
    for name in ("src_door", "src_file", "src_line"):
        if f"min.{name}" not in adds.column_names or f"max.{name}" not in adds.column_names:
            continue  # a file without statistics may hold anything
        bounds = pc.min_max(rows.column(name)).as_py()
        above = pc.less_equal(adds.column(f"min.{name}"), bounds["max"])
        below = pc.greater_equal(adds.column(f"max.{name}"), bounds["min"])
        may &= pc.and_(pc.fill_null(above, True), pc.fill_null(below, True)).to_numpy()
    return files, may


def _origins_of(rows: pa.Table) -> _Origins:
    """(door, file) -> sorted lines and elements, one number each; elements past 16,777,215 count as that one."""
    elements = np.minimum(rows.column("src_element").to_numpy().astype(np.int64), _LAST_ELEMENT)
    numbers = rows.column("src_line").to_numpy() << _ELEMENT_BITS | elements
    doors, files = rows.column("src_door"), rows.column("src_file")
    places = pa.table({"door": doors.cast(pa.string()), "file": files.cast(pa.string())})
    found: dict[tuple[str, str], Numbers] = {}
    for place in places.group_by(["door", "file"]).aggregate([]).to_pylist():
        here = pc.and_(pc.equal(places["door"], place["door"]), pc.equal(places["file"], place["file"]))
        found[place["door"], place["file"]] = np.sort(numbers[here.to_numpy()])
    return found


def _meet(stored: _Origins, wanted: _Origins) -> bool:
    return any(_common(stored[place], numbers) for place, numbers in wanted.items() if place in stored)


def _common(stored: Numbers, wanted: Numbers) -> bool:
    """Whether two sorted arrays, of which the first is not empty, have a number in common."""
    if wanted[-1] < stored[0] or stored[-1] < wanted[0]:
        return False
    places = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
    return bool((stored[places] == wanted).any())
