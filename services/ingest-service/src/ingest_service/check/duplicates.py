"""detect_duplicates: msg_ids that stand in more than one row (LAKE-64).

Exact, with memory that hardly grows with the dataset: the ids become 64-bit keys in bucket files, a bucket at a time
is sorted, and only ids whose keys came twice are read again and counted as texts.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest_service.check.content import UnreadableFileError, batches, opened
from ingest_service.check.files import Listing, dataset_directory, partition_day
from ingest_service.errors import storage_errors
from ingest_service.land.index.keys import BUCKETS, keys_of

_ID: Final = "msg_id"
Watch = Callable[[int, int], None]
"""Told how many files are read, and how many there are to read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Duplicate:
    """A msg_id and in how many rows it stands."""

    msg_id: str
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class DuplicateReport:
    """Highest count first, then by msg_id. `unreadable`: what is wrong with each file that could not be looked into."""

    rows: tuple[Duplicate, ...]
    unreadable: tuple[str, ...]
    files_read: int
    total_records: int

    @property
    def surplus_rows(self) -> int:
        """Rows that would go if each msg_id stood once."""
        return sum(row.count - 1 for row in self.rows)


def detect_duplicates(
    root: pathlib.Path, archive_root: pathlib.Path | None = None, *, watch: Watch = lambda done, of: None
) -> DuplicateReport:
    """Repeated msg_ids of the messages below `root`, and below `archive_root` as one with them.

    A root that is missing or empty has none. Rows that the archive holds already, while their day is on its way there,
    are no duplicates.
    """
    with storage_errors("detect_duplicates", root):
        files, problems = _files(dataset_directory(root, "messages"))
        archived: list[pathlib.Path] = []
        if archive_root is not None:
            archived, more = _files(dataset_directory(archive_root, "messages"))
            problems += more
        with tempfile.TemporaryDirectory(prefix="millrace-duplicates-") as scratch:
            return _Count([*archived, *files], len(archived), problems, watch).run(pathlib.Path(scratch))


def _files(table: pathlib.Path) -> tuple[list[pathlib.Path], list[str]]:
    if not table.is_dir():
        return [], []
    found = Listing(table).below(table)
    problems = [f"{path}: is missing" for path in found.missing]
    problems += [f"{each.path}: {each.fault}" for each in found.strangers]
    return list(found.data), problems


class _Count:
    def __init__(self, files: list[pathlib.Path], archived: int, problems: list[str], watch: Watch) -> None:
        self._files = files
        self._archived = frozenset(files[:archived])
        self._problems = problems
        self._watch = watch
        self._records = 0
        days = [
            {partition_day(path.parent) for path in some} for some in (files[:archived], files[archived:])
        ]
        self._in_both = days[0] & days[1]

    def run(self, scratch: pathlib.Path) -> DuplicateReport:
        readable = self._spill(scratch)
        repeated = np.unique(np.concatenate([_repeated(scratch / str(b)) for b in range(BUCKETS)]))
        counts = self._counts(readable, repeated) if len(repeated) else collections.Counter()
        rows = [Duplicate(msg_id, count) for msg_id, count in counts.items() if count > 1]
        return DuplicateReport(
            rows=tuple(sorted(rows, key=lambda row: (-row.count, row.msg_id))),
            unreadable=tuple(sorted(self._problems)),
            files_read=len(readable),
            total_records=self._records,
        )

    def _spill(self, scratch: pathlib.Path) -> list[pathlib.Path]:
        """Writes the keys of every id to the file of its bucket; the files that could be read."""
        readable = []
        for number, path in enumerate(self._files):
            self._watch(number, len(self._files))
            try:
                for ids in _ids(path):
                    self._records += len(ids)
                    keys = keys_of(ids)
                    for bucket in np.unique(keys.buckets):
                        with (scratch / str(bucket)).open("ab") as file:
                            file.write(keys.values[keys.buckets == bucket].tobytes())
            except UnreadableFileError as error:
                self._problems.append(f"{path}: {error}")
            else:
                readable.append(path)
        self._watch(len(self._files), len(self._files))
        return readable

    def _counts(
        self, readable: list[pathlib.Path], repeated: npt.NDArray[np.uint64]
    ) -> collections.Counter[str]:
        """How often each id of these keys stands there."""
        counts: collections.Counter[str] = collections.Counter()
        moving: set[str] = set()
        for path in readable:
            moves = partition_day(path.parent) in self._in_both
            for ids in _ids(path):
                some = ids.filter(pa.array(np.isin(keys_of(ids).values, repeated)))
                for each in pc.value_counts(some).to_pylist():
                    if not moves or path in self._archived:
                        counts[each["values"]] += each["counts"]
                        if moves:
                            moving.add(each["values"])
                    elif each["values"] not in moving:
                        counts[each["values"]] += each["counts"]
        return counts


def _ids(path: pathlib.Path) -> Iterator[pa.StringArray]:
    with opened(path) as file:
        if _ID not in file.schema_arrow.names:
            raise UnreadableFileError(f"has no column {_ID}")
        for batch in batches(file, [_ID]):
            yield batch.column(0).cast(pa.string()).drop_null()


def _repeated(path: pathlib.Path) -> npt.NDArray[np.uint64]:
    """The keys that stand in the file more than once."""
    if not path.exists():
        return np.empty(0, np.uint64)
    keys = np.fromfile(path, np.uint64)
    keys.sort()
    return np.unique(keys[1:][keys[1:] == keys[:-1]])
