"""Compaction by count: many small files of one partition become few (LAKE-69)."""

from __future__ import annotations

import collections
import pathlib
from typing import NamedTuple

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties, WriterProperties

from ingest_service.keep.limits import Limits
from ingest_service.lake.archived import Day
from ingest_service.lake.durable import sync_file_system
from millrace_runtime.crash import crash_point


class Compacted(NamedTuple):
    """What one compaction did."""

    files_before: int
    files_after: int


def small_files(table: DeltaTable, limits: Limits) -> dict[Day, frozenset[str]]:
    """The paths of the small files of each partition that has any."""
    actions = pa.table(table.get_add_actions(flatten=True))
    columns = ("path", "size_bytes", "partition.year", "partition.month", "partition.day")
    found: dict[Day, set[str]] = collections.defaultdict(set)
    for path, size, *day in zip(*(actions[name].to_pylist() for name in columns), strict=True):
        if size < limits.small_bytes:
            found[Day(*day)].add(path)
    return {partition: frozenset(paths) for partition, paths in found.items()}


def live_files(table: DeltaTable) -> int:
    """How many files a reader of the table opens when it prunes nothing."""
    return len(table.file_uris())


class Compactor:
    """Compacts the crowded partitions of one table, one commit each.

    A partition that a compaction left as it was is not tried again until its files change.
    """

    def __init__(self, path: pathlib.Path, properties: WriterProperties, limits: Limits) -> None:
        self._path = path
        self._properties = properties
        self._limits = limits
        self._settled: dict[Day, frozenset[str]] = {}

    def crowded(self, table: DeltaTable) -> list[Day]:
        """The partitions with too many small files, most crowded first."""
        small = small_files(table, self._limits)
        self._settled = {day: paths for day, paths in self._settled.items() if small.get(day) == paths}
        crowded = [
            day
            for day, paths in small.items()
            if len(paths) > self._limits.small_files and day not in self._settled
        ]
        return sorted(crowded, key=lambda day: len(small[day]), reverse=True)

    def compact(self, table: DeltaTable, partition: Day) -> Compacted:
        """Rewrite the partition's small files and make the result durable.

        Appends may commit meanwhile. Raises CommitFailedError when the partition's files were
        rewritten or deleted under it: nothing happened, another round starts from a fresh handle.
        """
        crash_point("BEFORE_COMPACTION")
        result = table.optimize.compact(
            partition_filters=partition.partitions,
            target_size=self._limits.target_bytes,
            writer_properties=self._properties,
            # Log entries go only after a sync, by the log's own upkeep.
            post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
        )
        crash_point("DURING_COMPACTION")  # committed; the new files may still be in memory only
        if result["numFilesRemoved"] == 0:
            self._settled[partition] = small_files(table, self._limits).get(partition, frozenset())
        else:
            sync_file_system(self._path)
        crash_point("AFTER_COMPACTION_SYNC")
        return Compacted(result["numFilesRemoved"], result["numFilesAdded"])
