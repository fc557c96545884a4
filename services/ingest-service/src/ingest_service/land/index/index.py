"""The index as a cache of a table version: loaded, rebuilt, and kept in step with the commit log.

It holds the ids of the archive too (LAKE-64). Rows come into the archive from the table alone, so only a rebuild
has to read it.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from ingest_service.lake.archived import TableView, files_by_day
from ingest_service.lake.log import Commit, LogUnavailableError, read_commit
from ingest_service.lake.tables import Lake
from ingest_service.land.index.keys import Keys, keys_of
from ingest_service.land.index.store import Days, KeyStore, SnapshotUnusableError

EPOCH = datetime.date(1970, 1, 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Pending:
    """Keys of a batch whose commit is being tried: they enter the index only when the log shows it."""

    batch: str
    keys: Keys
    days: Days


class KeyIndex:
    """Every msg_id of the messages table and its archive, as of one table version. Not thread safe: the lander
    owns it.

    What is archived came out of the table, so the archive's commits bring no keys: a key that was followed, or read
    once, stays. Only a rebuild reads the archive, behind the table, and meets every row (LAKE-64).

    Args:
        table: directory of the messages table.
        snapshot: file that holds the index between runs; missing or unusable means a rebuild.
        snapshot_every: new keys after which the snapshot is written again, at the least.
        archive: directory of the archived messages, which need not be there; by default beside the lake.
    """

    def __init__(
        self,
        table: pathlib.Path,
        snapshot: pathlib.Path,
        *,
        snapshot_every: int = 1_000_000,
        archive: pathlib.Path | None = None,
    ) -> None:
        self._table = table
        self._archive = TableView(archive or Lake(table.parent).archive.path(table.name))
        self._snapshot = snapshot
        self._snapshot_every = snapshot_every
        self._store = KeyStore()
        self._version = -1
        self._table_id = ""

    @property
    def version(self) -> int:
        """Table version that the index holds; -1 before it was opened."""
        return self._version

    def __len__(self) -> int:
        return len(self._store)

    def follow(self, handle: DeltaTable, pending: Pending | None = None) -> bool:
        """Catches up with the version of `handle`; returns whether the pending batch is among the commits.

        Reads only what was committed since; where the log or a file of it is gone, rebuilds from the live files.
        """
        if self._version < 0:
            self._open(handle)
        landed = removed = False
        version = handle.version()
        try:
            while self._version < version:
                commit = read_commit(self._table, self._version + 1)
                removed = removed or commit.removed
                if pending is not None and commit.batch == pending.batch:
                    self._store.add(pending.keys, pending.days)
                    landed = True
                elif not removed:
                    self._add_commit(commit)
                self._version += 1
            if removed:
                # Rows that went to the archive are there; those of a damaged file have to land again.
                self._rebuild(handle)
        except (LogUnavailableError, FileNotFoundError):
            # Log cleanup or vacuum was faster than we: the live files hold all that counts. Whether the
            # pending batch landed is then read from the table itself by the caller's position check.
            self._rebuild(handle)
        if self._store.recent_count > max(self._snapshot_every, len(self._store) // 10):
            self.save()
        return landed

    def stored(self, ids: pa.StringArray, keys: Keys, handle: DeltaTable) -> npt.NDArray[np.bool_]:
        """Which of these msg_ids have a row already. Exact: a hit on a hash is verified in the files."""
        found = self._store.contains(keys)
        for row in np.flatnonzero(found & ~keys.exact):
            days = self._store.candidate_days(int(keys.buckets[row]), int(keys.values[row]))
            found[row] = any(self._day_holds(handle, day, ids[int(row)].as_py()) for day in sorted(days))
        return found

    def save(self) -> None:
        """Writes the snapshot: a later start loads it and reads only the commits after it."""
        if self._version >= 0:
            self._store.save(self._snapshot, self._table_id, self._version)

    def save_if_worthwhile(self) -> None:
        """At a clean stop: the snapshot is written when catching up would cost more than a moment."""
        if self._store.recent_count > min(self._snapshot_every, 50_000):
            self.save()

    def _open(self, handle: DeltaTable) -> None:
        self._table_id = str(handle.metadata().id)
        try:
            store, version = KeyStore.load(self._snapshot, self._table_id)
        except SnapshotUnusableError:
            self._rebuild(handle)
            return
        if version > handle.version():  # a table put back from a copy: what it lost is not stored
            self._rebuild(handle)
            return
        self._store, self._version = store, version

    def _rebuild(self, handle: DeltaTable) -> None:
        store = KeyStore()
        store.add_all(_keys_below(self._table, handle))
        if (archived := self._archive.handle()) is not None:
            store.add_all(_keys_below(self._archive.path, archived))
        self._store = store
        self._version = handle.version()

    def _day_holds(self, handle: DeltaTable, day: int, msg_id: str) -> bool:
        """Whether that day has the row, in the table or, looked at afterwards, in the archive."""
        if _day_holds(handle, day, msg_id):
            return True
        archived = self._archive.handle()
        return archived is not None and _day_holds(archived, day, msg_id)

    def _add_commit(self, commit: Commit) -> None:
        for file in commit.added:
            year, month, day = (int(file.partition[name]) for name in ("year", "month", "day"))
            self._store.add(*_file_keys(str(self._table / file.path), day_number(year, month, day)))


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01."""
    return (datetime.date(year, month, day) - EPOCH).days


def partition_filter(day: int) -> list[tuple[str, str, str]]:
    """Delta partition filter of a day number."""
    date = EPOCH + datetime.timedelta(days=day)
    return [("year", "=", f"{date:%Y}"), ("month", "=", f"{date:%m}"), ("day", "=", f"{date:%d}")]


def _keys_below(root: pathlib.Path, handle: DeltaTable) -> Iterator[tuple[Keys, Days]]:
    for day, files in files_by_day(handle).items():
        for path, _ in files:
            yield _file_keys(str(root / path), day_number(*map(int, day)))


def _file_keys(path: str, day: int) -> tuple[Keys, Days]:
    """Keys and days of all rows of a data file of that day."""
    # Read as one file, not as a dataset: the directory names must not become columns.
    with pa.OSFile(path) as source:
        column = pq.ParquetFile(source).read(["msg_id"]).column("msg_id")
    keys = keys_of(column.cast(pa.string()).combine_chunks())
    return keys, np.full(len(keys), day, np.int32)


def _day_holds(handle: DeltaTable, day: int, msg_id: str) -> bool:
    paths: Iterable[str] = handle.file_uris(partition_filters=partition_filter(day))
    for path in paths:
        with pa.OSFile(path.removeprefix("file://")) as source:
            column = pq.ParquetFile(source).read(["msg_id"]).column("msg_id")
        if pa.compute.any(pa.compute.equal(column, msg_id)).as_py():
            return True
    return False
