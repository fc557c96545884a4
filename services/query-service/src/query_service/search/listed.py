"""Data files as a directory lists them: of a tree that no log describes, and of what lies beside a table's files.

Names that begin with `.` or `_`, or end in `.tmp` or `.lock`, are never data (LAKE-1).
"""

import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from query_service.search.files import UNKNOWN_ROWS, Files, no_files

# As the Delta library names what it writes; while it does so, with `#` and a number behind.
_WRITTEN = re.compile(r"part-[0-9]+-[0-9a-f-]{36}-c[0-9]+(\.\w+)?\.parquet(#[0-9]+)?")
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_FEW_DAYS = 400
_LOWEST, _HIGHEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def may_be_data(name: str) -> bool:
    """Whether a file or directory of this name may be read at all (LAKE-1)."""
    return not name.startswith((".", "_")) and not name.endswith((".tmp", ".lock"))


@dataclass(frozen=True, slots=True)
class Partition:
    """The directory of one day: its name relative to the table, and the day since 1970-01-01."""

    name: str
    day: int


def partitions(table: Path, first: date = date.min, last: date = date.max) -> Iterator[Partition]:
    """The directories `year=YYYY/month=MM/day=DD` of these days, in order of time; other names are none."""
    # Texts, not paths: a question about years looks at each of its days.
    for year in _children(f"{table}", "year=", first.year, last.year):
        for month in _children(f"{table}/year={year}", "month=", 1, 12):
            for day in _children(f"{table}/year={year}/month={month}", "day=", 1, 31):
                try:
                    moment = date(int(year), int(month), int(day))
                except ValueError:
                    continue
                if first <= moment <= last:
                    name = f"year={year}/month={month}/day={day}"
                    yield Partition(name, moment.toordinal() - _EPOCH_ORDINAL)


def between(table: Path, first: date, last: date) -> Iterator[Partition]:
    """The partitions of these days; of a year or so by their names alone, whether they are there or not."""
    if (last - first).days > _FEW_DAYS:
        yield from partitions(table, first, last)
        return
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield _named(ordinal - _EPOCH_ORDINAL)


def of_files(files: Files) -> Iterator[Partition]:
    """The partitions that these files lie in."""
    for day in np.unique(files.day):
        if day > _LOWEST:  # else its directories name no day
            yield _named(int(day))


def _named(day: int) -> Partition:
    moment = date.fromordinal(day + _EPOCH_ORDINAL)
    return Partition(f"year={moment.year:04d}/month={moment.month:02d}/day={moment.day:02d}", day)


def listed(table: Path) -> Files:
    """Every Parquet file of a tree that has no log; nothing is known of its content."""
    paths: list[str] = []
    days: list[int] = []
    for partition in partitions(table):
        names = sorted(entry.name for entry in _entries(f"{table}/{partition.name}"))
        found = [name for name in names if may_be_data(name) and name.endswith(".parquet")]
        paths += [f"{partition.name}/{name}" for name in found]
        days += [partition.day] * len(found)
    if not paths:
        return no_files()
    count = len(paths)
    return Files(
        paths=tuple(paths),
        day=np.asarray(days, dtype=np.int64),
        size=np.asarray([_size(f"{table}/{path}") for path in paths], dtype=np.int64),
        rows=np.full(count, UNKNOWN_ROWS, dtype=np.int64),
        lo_us=np.full(count, _LOWEST, dtype=np.int64),
        hi_us=np.full(count, _HIGHEST, dtype=np.int64),
        id_lo=(None,) * count,
        id_hi=(None,) * count,
    )


class Strangers:
    """Files in the partitions of a table that its log does not have and no writer of ours leaves behind (LAKE-90).

    They are not read, and never removed; whoever asks for their day is told. Remembers what it found by the
    directory's time of change. Thread-safe.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def among(self, table: Path, where: Iterable[Partition], prefix: str = "") -> Iterator[tuple[str, str]]:
        """Name (relative to the table, after `prefix`) and what is wrong with it, of those in these partitions."""
        for partition in where:
            for name, fault in self._of(f"{table}/{partition.name}"):
                yield f"{prefix}{partition.name}/{name}", fault

    def _of(self, directory: str) -> Iterator[tuple[str, str]]:
        try:
            changed = os.stat(directory).st_mtime_ns  # noqa: PTH116 as above
        except OSError:
            return
        known = self._found.get(directory)
        if known is None or known[0] != changed:
            names = tuple(
                entry.name for entry in _entries(directory) if may_be_data(entry.name) and _is_strange(entry)
            )
            known = (changed, names)
            with self._lock:
                self._found[directory] = known
        for name in known[1]:
            yield name, "is empty" if _size(f"{directory}/{name}") == 0 else "is not a file of the lake"


def _is_strange(entry: "os.DirEntry[str]") -> bool:
    """Not named by a writer of ours, or empty, as a writer leaves none."""
    if not entry.is_file():
        return False
    if not _WRITTEN.fullmatch(entry.name):
        return True
    return not entry.name.rpartition("#")[2].isdigit() and entry.stat().st_size == 0


def _children(directory: str, prefix: str, first: int, last: int) -> list[str]:
    """The texts after `prefix` of the subdirectories whose number lies within, in order."""
    found = []
    for entry in _entries(directory):
        text = entry.name.removeprefix(prefix)
        if text != entry.name and text.isdecimal() and first <= int(text) <= last and entry.is_dir():
            found.append(text)
    return sorted(found, key=int)


def _entries(directory: str) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 as above
    except OSError:
        return 0
