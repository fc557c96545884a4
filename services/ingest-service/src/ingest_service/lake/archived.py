"""The archived part of a table, for whoever has to know every row of it.

A day is moved by two commits, first into the archive, then out of the lake. So whoever looks at the lake first and
at the archive afterwards meets each row at least once (ARCHITECTURE 4, rule 15).
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError


class Day(NamedTuple):
    """One UTC day of a table, as its directories spell it."""

    year: str
    month: str
    day: str

    def __str__(self) -> str:
        return f"{self.year}-{self.month}-{self.day}"

    @property
    def predicate(self) -> str:
        """The rows of that day, in SQL."""
        return f"year = '{self.year}' AND month = '{self.month}' AND day = '{self.day}'"

    @property
    def partitions(self) -> list[tuple[str, str, str]]:
        """The same as a partition filter."""
        return [("year", "=", self.year), ("month", "=", self.month), ("day", "=", self.day)]


class TableView:
    """The newest version of one table, at each look. Used from one thread at a time."""

    def __init__(self, path: pathlib.Path) -> None:
        """`path`: directory of the table, which need not be there."""
        self.path = path
        self._handle: DeltaTable | None = None
        self._log: tuple[int, int] | None = None

    def handle(self) -> DeltaTable | None:
        """The table as it is now, None while there is none. Raises DeltaError."""
        log = _identity(self.path / "_delta_log")
        if log is None or log != self._log:
            self._handle = None  # there is none, or another one: its versions mean something else
        self._log = log
        if self._handle is not None:
            try:
                self._handle.update_incremental()
            except DeltaError:  # the log entries in between are gone
                self._handle = None
        if self._handle is None and DeltaTable.is_deltatable(str(self.path)):
            self._handle = DeltaTable(str(self.path))
        return self._handle


def _identity(directory: pathlib.Path) -> tuple[int, int] | None:
    """What tells this directory from a later one of the same name; None when there is none."""
    try:
        found = directory.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def paths_of(table: DeltaTable, day: Day | None = None) -> list[str]:
    """Absolute paths of the live files, of one day or of all."""
    uris: Sequence[str] = table.file_uris(partition_filters=None if day is None else day.partitions)
    return [uri.removeprefix("file://") for uri in uris]


def files_by_day(table: DeltaTable) -> dict[Day, list[tuple[str, int]]]:
    """Path below the table and size of every live file, by day."""
    actions = pa.table(table.get_add_actions(flatten=True))
    names = ("path", "size_bytes", "partition.year", "partition.month", "partition.day")
    found: dict[Day, list[tuple[str, int]]] = {}
    for path, size, *day in zip(*(actions[name].to_pylist() for name in names), strict=True):
        found.setdefault(Day(*day), []).append((unquote(path), size))
    return found
