"""Telling whole data files from missing and broken ones (LAKE-90).

A broken file is left out of an answer and named in its warnings. The size in the table's log finds
empty, short and overwritten files for the price of one `stat`; the marks at both ends of a Parquet
file are looked at once for each state of it; what neither finds is learnt when DuckDB fails on it.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from query_service.search.files import Files
from query_service.search.layout import Types, types_of
from query_service.search.tables import Tables

_MARK = b"PAR1"
_MOST_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Checked:
    """`whole` can be read; `warnings` names each broken file and what is wrong; `missing` are gone."""

    whole: Files
    warnings: tuple[str, ...]
    missing: tuple[str, ...]


class FileCheck:
    """Remembers what it found by path, size and time of change. Thread-safe."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._found: dict[str, tuple[tuple[int, int], str | None]] = {}
        self._types: dict[str, tuple[tuple[int, int], Types]] = {}
        self._lock = threading.Lock()

    def check(self, files: Files) -> Checked:
        """Sort `files` into whole, broken and missing ones."""
        whole: list[int] = []
        warnings: list[str] = []
        missing: list[str] = []
        for position, path in enumerate(files.paths):
            try:
                fault = self._fault(path, int(files.size[position]))
            except FileNotFoundError:
                missing.append(path)
                continue
            if fault is None:
                whole.append(position)
            else:
                warnings.append(f"{path} {fault}; its rows are left out")
        kept = files if len(whole) == len(files) else files.take(whole)
        return Checked(kept, tuple(warnings), tuple(missing))

    def condemn(self, path: str) -> None:
        """Remember that this file, as it is now, cannot be decoded."""
        state = self._state(path)
        self._remember(path, state, "cannot be decoded")

    def types(self, path: str) -> Types | None:
        """The columns that a whole file has; None, and the file condemned, when it does not tell."""
        state = self._state(path)
        known = self._types.get(path)
        if known is not None and known[0] == state:
            return known[1]
        try:
            types = types_of(pq.read_schema(self._tables.locate(path)))
        except (pa.ArrowException, OSError):
            self.condemn(path)
            return None
        with self._lock:
            if len(self._types) >= _MOST_REMEMBERED:
                self._types.clear()
            self._types[path] = (state, types)
        return types

    def _fault(self, path: str, expected_size: int) -> str | None:
        try:
            state = self._state(path)
        except PermissionError:
            return "may not be read"
        size = state[0]
        if size == 0:
            return "is empty"
        if size != expected_size:
            return f"has {size} bytes instead of {expected_size}"
        known = self._found.get(path)
        if known is not None and known[0] == state:
            return known[1]
        fault = _mark_fault(self._tables.locate(path))
        self._remember(path, state, fault)
        return fault

    def _state(self, path: str) -> tuple[int, int]:
        found = self._tables.locate(path).stat()
        return found.st_size, found.st_mtime_ns

    def _remember(self, path: str, state: tuple[int, int], fault: str | None) -> None:
        with self._lock:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()  # files of long ago; those in use are looked at again
            self._found[path] = (state, fault)


def _mark_fault(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(len(_MARK))
            file.seek(-len(_MARK), 2)
            tail = file.read(len(_MARK))
    except FileNotFoundError:
        raise
    except OSError as error:
        return f"cannot be read ({error.strerror or 'input/output error'})"
    return None if head == tail == _MARK else "is not a Parquet file"
