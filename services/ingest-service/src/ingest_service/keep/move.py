"""One day of one table from the lake into the archive (ARCHITECTURE 4, rule 15).

1. What the archive does not hold yet of the day is committed there, and synced.
2. The archive's files are read back and compared with the lake's: every row, every value.
3. The day is deleted from the lake by the very handle that was read: when anything was committed to the day since
   then, the deletion is refused and everything starts over.

A kill in between leaves rows in both. Readers drop those of the lake, and the next run finds them in the archive,
compares them and goes on with the deletion. A second archiver is kept out by a transaction of the archive's commit.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from ingest_service.errors import StorageIoError
from ingest_service.keep.rows import Difference, Rows, difference, missing
from ingest_service.lake.archived import Day, files_by_day, paths_of
from ingest_service.lake.durable import sync_file_system
from ingest_service.lake.log import ARCHIVED_KEY
from ingest_service.lake.recover import mark_archive_durable
from ingest_service.lake.tables import Lake, archive_properties
from ingest_service.land.contacts_table import FOLD
from ingest_service.land.held import HOOKS
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

_ATTEMPTS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Moved:
    """Rows of the day that were in the lake, their bytes there, and in the archive."""

    rows: int
    bytes_before: int
    bytes_after: int


class NotTheSameError(StorageIoError):
    """The archive does not hold what the lake holds."""


def move(lake: Lake, metadata: pathlib.Path, dataset: str, day: Day, *, level: int) -> Moved | None:
    """Move the day; None when the lake has it no more.

    Raises NotTheSameError, StorageIoError (others keep changing the day), DeltaError, OSError, ArrowException; the
    day is whole in the lake then.
    """
    for _ in range(_ATTEMPTS):
        try:
            return _attempt(lake, metadata, dataset, day, level)
        except CommitFailedError as error:
            log.info("archiving_lost_race", dataset=dataset, partition=str(day), error=str(error))
    raise StorageIoError(
        f"{dataset} {day}: changed {_ATTEMPTS} times while it was archived", operation="archive"
    )


def _attempt(lake: Lake, metadata: pathlib.Path, dataset: str, day: Day, level: int) -> Moved | None:
    hot = DeltaTable(str(lake.path(dataset)))
    here = files_by_day(hot).get(day, [])
    if not here:
        return None
    crash_point("BEFORE_ARCHIVING")
    source = Rows.of(dataset, hot, paths_of(hot, day), day)
    table = _archive_like(lake, dataset, hot)
    before = _bytes(files_by_day(table).get(day, []))
    bring = _merge if dataset == "contacts" else _append
    target = bring(table, source, day, level)
    mark_archive_durable(lake, metadata, dataset, table.version())
    crash_point("AFTER_ARCHIVE_COMMIT_BEFORE_COMPARE")
    if (found := difference(source, target)) is not None:
        raise NotTheSameError(
            _told(dataset, day, found), operation="archive", source=lake.archive.path(dataset)
        )
    crash_point("AFTER_COMPARE_BEFORE_DELETE")
    hot.delete(
        day.predicate,
        commit_properties=CommitProperties(
            custom_metadata={ARCHIVED_KEY: str(day)}, app_transactions=_deletion(hot, dataset)
        ),
        post_commithook_properties=HOOKS,
    )
    crash_point("AFTER_DELETE_BEFORE_SYNC")
    sync_file_system(lake.root)
    after = _bytes(files_by_day(table).get(day, []))
    # A run that was killed after its commit has brought the rows already.
    return Moved(source.count(), _bytes(here), after - before if after > before else after)


def _append(table: DeltaTable, source: Rows, day: Day, level: int) -> Rows:
    """Commit what the archive lacks of the day; the day as the archive has it."""
    dataset = source.dataset
    there = Rows.of(dataset, table, paths_of(table, day), day)
    wanted = missing(source, there)
    if (first := next(wanted, None)) is not None:
        write_deltalake(
            table,
            pa.RecordBatchReader.from_batches(first.schema, _chained(first, wanted)),
            mode="append",
            writer_properties=archive_properties(dataset, level),
            commit_properties=CommitProperties(app_transactions=[_claim(table, day)]),
            post_commithook_properties=HOOKS,
        )
    return Rows.of(dataset, table, paths_of(table, day), day)


def _merge(table: DeltaTable, source: Rows, day: Day, level: int) -> Rows:
    """Commit the contacts of the day, each in place of its earlier row, whatever day that was archived under."""
    there = Rows.of(source.dataset, table, paths_of(table), None)
    rows = source.newer_than(there)
    if rows.num_rows:
        merge = table.merge(
            rows,
            predicate="t.username = s.username",
            source_alias="s",
            target_alias="t",
            writer_properties=archive_properties(source.dataset, level),
            commit_properties=CommitProperties(app_transactions=[_claim(table, day)]),
            post_commithook_properties=HOOKS,
        )
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
    return Rows.of(source.dataset, table, paths_of(table), None)


def _chained(first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    yield first
    yield from rest


def _archive_like(lake: Lake, dataset: str, hot: DeltaTable) -> DeltaTable:
    """A fresh handle on the archived table, with every column that the lake's has."""
    table = lake.archive.open(dataset)
    has = {field.name for field in table.schema().fields}
    lacking: list[Field] = [field for field in hot.schema().fields if field.name not in has]
    if lacking:
        table.alter.add_columns(lacking)
        table = lake.archive.open(dataset)
    return table


def _claim(table: DeltaTable, day: Day) -> Transaction:
    """Two archivers of one day cannot both commit."""
    app = f"archive/{day}"
    return Transaction(app, (table.transaction_version(app) or 0) + 1)


def _deletion(hot: DeltaTable, dataset: str) -> list[Transaction]:
    """Of contacts, a fold that has read the rows before they went must look again: they are in the archive."""
    if dataset != "contacts":
        return []
    return [Transaction(FOLD, (hot.transaction_version(FOLD) or 0) + 1)]


def _bytes(files: Iterable[tuple[str, int]]) -> int:
    return sum(size for _, size in files)


def _told(dataset: str, day: Day, found: Difference) -> str:
    return f"{dataset} {day}: the archive differs from the lake: {found}; the day stays in the lake"
