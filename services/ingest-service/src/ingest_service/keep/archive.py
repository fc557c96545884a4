"""Archiving: days that are old enough move from the lake to the archive, one at a time (LAKE-110).

A day that cannot be moved stays where it is and is reported; the others go on.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import time
from collections.abc import Callable, Iterator

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from ingest_service.errors import (
    BadArgumentError,
    NotFoundError,
    StorageError,
    StorageIoError,
    storage_errors,
)
from ingest_service.keep.move import Moved, move
from ingest_service.lake.archived import Day, files_by_day
from ingest_service.lake.partitions import PartitionCatalog
from ingest_service.lake.recover import LakeDamagedError, check_archive, upkeep
from ingest_service.lake.tables import ARCHIVE_LEVEL, ARCHIVED, Lake
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

OLDER_THAN_DAYS = 90
_MB = 1_000_000
_LEVELS = range(1, 23)


@dataclasses.dataclass(frozen=True, slots=True)
class ArchivedPartition:
    """A day that has moved: its rows, and its bytes in the lake before and in the archive after."""

    dataset: str
    partition_key: str
    rows: int
    bytes_before: int
    bytes_after: int


@dataclasses.dataclass(frozen=True, slots=True)
class FailedPartition:
    """A day that has stayed in the lake, and why. `exit_code` is what a command ends with."""

    dataset: str
    partition_key: str
    error: str
    error_type: str
    exit_code: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class ArchiveResult:
    """What one run did."""

    partitions: tuple[ArchivedPartition, ...]
    failed: tuple[FailedPartition, ...]

    @property
    def archived_partitions(self) -> int:
        """How many days of datasets have moved."""
        return len(self.partitions)

    @property
    def total_size_before_mb(self) -> float:
        """Their size in the lake."""
        return round(self._before / _MB, 2)

    @property
    def total_size_after_mb(self) -> float:
        """Their size in the archive."""
        return round(self._after / _MB, 2)

    @property
    def compression_ratio(self) -> float:
        """Before through after; 0 when nothing has moved."""
        return round(self._before / self._after, 2) if self._after else 0.0

    def summary(self) -> dict[str, object]:
        """The result keys of LAKE-110, and the days one by one."""
        return {
            "archived_partitions": self.archived_partitions,
            "total_size_before_mb": self.total_size_before_mb,
            "total_size_after_mb": self.total_size_after_mb,
            "compression_ratio": self.compression_ratio,
            "partitions": self.partitions,
            "failed": self.failed,
        }

    @property
    def _before(self) -> int:
        return sum(one.bytes_before for one in self.partitions)

    @property
    def _after(self) -> int:
        return sum(one.bytes_after for one in self.partitions)


def archive(
    lake: Lake,
    metadata: pathlib.Path,
    *,
    today: datetime.date,
    older_than_days: int = OLDER_THAN_DAYS,
    level: int = ARCHIVE_LEVEL,
    begun: Callable[[str, Day, int, int], None] = lambda *_: None,
) -> ArchiveResult:
    """Move every day with `today` - day > `older_than_days` into the archive, oldest first.

    `begun` is told dataset and day, which one it is and of how many, before each move. Safe beside writers, readers,
    compaction and another archiver. Raises BadArgumentError, NotFoundError (no lake), StorageError.
    """
    if older_than_days < 0:
        raise BadArgumentError(f"older_than_days: {older_than_days} is below 0")
    if level not in _LEVELS:
        raise BadArgumentError(f"compression_level: {level} is not within 1 to 22")
    if not lake.root.is_dir():
        raise NotFoundError(f"{lake.root}: there is no lake", operation="archive", source=lake.root)
    with storage_errors("archive", lake.root), upkeep(metadata):
        _recover(lake, metadata)
    began = time.monotonic()
    moved: list[ArchivedPartition] = []
    failed: list[FailedPartition] = []
    found = list(_aged(lake, today, older_than_days, failed))
    for number, (dataset, day) in enumerate(found, 1):
        begun(dataset, day, number, len(found))
        try:
            with upkeep(metadata):
                done = _moved(lake, metadata, dataset, day, level)
        except (DeltaError, OSError, pa.ArrowException, StorageError) as error:
            failed.append(_failure(dataset, str(day), error))
        else:
            moved += [] if done is None else [_archived(dataset, day, done)]
    _record(lake, metadata)
    result = ArchiveResult(tuple(moved), tuple(failed))
    log.info(
        "archive_finished",
        duration_s=round(time.monotonic() - began, 3),
        partitions=result.archived_partitions,
        failed=len(failed),
        records=sum(one.rows for one in moved),
        size_before_mb=result.total_size_before_mb,
        size_after_mb=result.total_size_after_mb,
        compression_ratio=result.compression_ratio,
    )
    return result


def _recover(lake: Lake, metadata: pathlib.Path) -> None:
    try:
        for line in check_archive(lake, metadata):
            log.warning("archive_commits_taken_back", what=line)
    except LakeDamagedError as error:
        raise StorageIoError(str(error), source=lake.archive_root) from error


def _record(lake: Lake, metadata: pathlib.Path) -> None:
    """The report of partitions; whoever changes files next makes it good when it cannot be made now."""
    try:
        PartitionCatalog(lake, metadata).refresh()
    except (DeltaError, OSError, pa.ArrowException) as error:
        log.warning("partitions_not_recorded", error=str(error))


def _aged(
    lake: Lake, today: datetime.date, older_than_days: int, failed: list[FailedPartition]
) -> Iterator[tuple[str, Day]]:
    """The days to move, by dataset; a table that cannot be read is a failure of its own."""
    for dataset in ARCHIVED:
        if not lake.exists(dataset):
            continue
        try:
            days = files_by_day(DeltaTable(str(lake.path(dataset))))
        except (DeltaError, OSError) as error:
            failed.append(_failure(dataset, "", error))
            continue
        for day in sorted(days):
            try:
                age = (today - datetime.date(*map(int, day))).days
            except (TypeError, ValueError):
                failed.append(FailedPartition(dataset, str(day), f"{day} is no day", "bad_argument"))
                continue
            if age > older_than_days:
                yield dataset, day


def _moved(lake: Lake, metadata: pathlib.Path, dataset: str, day: Day, level: int) -> Moved | None:
    began = time.monotonic()
    done = move(lake, metadata, dataset, day, level=level)
    if done is not None:
        log.info(
            "partition_archived",
            dataset=dataset,
            partition=str(day),
            duration_s=round(time.monotonic() - began, 3),
            records=done.rows,
            bytes_before=done.bytes_before,
            bytes_after=done.bytes_after,
            compression_ratio=round(done.bytes_before / done.bytes_after, 2) if done.bytes_after else 0.0,
        )
    return done


def _archived(dataset: str, day: Day, done: Moved) -> ArchivedPartition:
    return ArchivedPartition(dataset, str(day), done.rows, done.bytes_before, done.bytes_after)


def _failure(dataset: str, partition: str, error: Exception) -> FailedPartition:
    if isinstance(error, StorageError):
        kind, code = error.error_type, error.exit_code
    elif isinstance(error, pa.ArrowException):
        kind, code = "bad_data", 65
    elif isinstance(error, PermissionError):
        kind, code = "permission", 77
    else:
        kind, code = "io", 74
    log.error(
        "partition_not_archived", dataset=dataset, partition=partition, error=str(error), error_type=kind
    )
    return FailedPartition(dataset, partition, str(error), kind, code)
