"""One table's upkeep: what a round of maintenance does to it."""

from __future__ import annotations

from collections.abc import Callable

from deltalake import DeltaTable, WriterProperties
from deltalake.exceptions import CommitFailedError

from ingest_service.keep import logupkeep
from ingest_service.keep.compaction import Compactor, live_files
from ingest_service.keep.limits import Limits
from ingest_service.keep.vacuum import Vacuum
from ingest_service.lake.log import entry
from ingest_service.lake.tables import WRITER_PROPERTIES, Lake
from millrace_runtime.clock import Clock
from millrace_runtime.logs import get_logger
from millrace_runtime.metrics import Metrics

log = get_logger(__name__)


class LostRaceError(Exception):
    """Somebody else rewrote the files that a compaction was about to replace."""


class LeaseGoneError(Exception):
    """The right to act was lost in the middle of a round."""


class TableUpkeep:
    """Keeps one table in shape. Not for use by two threads at once.

    Everything here is safe beside writers and readers, and beside a second keeper that believes to hold
    the lease: commits are compare-and-swap, and only files go that no version has needed for long.
    """

    def __init__(
        self,
        lake: Lake,
        name: str,
        *,
        clock: Clock,
        limits: Limits,
        metrics: Metrics,
        properties: WriterProperties | None = None,
        label: str = "",
    ) -> None:
        """`properties`: how its files are written; `label` names it in metrics and logs where `name` would not do."""
        self._lake = lake
        self._table_name = name
        self._name = name = label or name
        self._path = lake.path(self._table_name)
        self._clock = clock
        self._limits = limits
        self._compactor = Compactor(self._path, properties or WRITER_PROPERTIES[self._table_name], limits)
        self._vacuum = Vacuum(self._path, clock, limits)
        self._table: DeltaTable | None = None
        self._seen_version = -1
        self._head: tuple[int, int, int] | None = None
        self._vacuum_due = 0.0
        self._live = metrics.gauge("millrace_lake_live_files").labels(table=name)
        self._compactions = metrics.counter("millrace_compactions").labels(table=name)
        self._conflicts = metrics.counter("millrace_compaction_conflicts").labels(table=name)
        self._removed = metrics.counter("millrace_lake_files_removed").labels(table=name)
        self._unknown = metrics.gauge("millrace_lake_unknown_files").labels(table=name)

    def round(self, check: Callable[[], None]) -> None:
        """Compact what is crowded, sum up the log and, when it is time, remove what nobody needs.

        `check` is called before each step that changes something and raises LeaseGoneError when the
        lease is lost. Raises LostRaceError, DeltaError or OSError: call `forget` before the next round.
        A table that does not exist yet is left alone. An idle table costs one look at its log.
        """
        table = self._current()
        if table is None:
            return
        if table.version() != self._seen_version:
            self._compact(table, check)
            check()
            logupkeep.checkpoint_if_due(table, self._path, self._limits.checkpoint_every)
            self._live.set(live_files(table))
            self._seen_version = table.version()
        if self._clock.monotonic() >= self._vacuum_due:
            check()
            logupkeep.drop_expired_entries(table, self._path)
            self._removed.inc(self._vacuum.run(table, check))
            self._unknown.set(self._vacuum.unknown_files)
            self._vacuum_due = self._clock.monotonic() + self._limits.vacuum_every_s
        self._head = self._identity(table)

    @property
    def version(self) -> int:
        """The table's version at the end of the latest round; -1 before the first."""
        return self._seen_version

    def forget(self) -> None:
        """Start the next round from a fresh handle: after an error it is unknown what this one holds."""
        self._table = None
        self._seen_version = -1

    def _current(self) -> DeltaTable | None:
        """The handle at the newest version, None while there is no table."""
        # Recovery from a crash of the host takes commits back, and other commits get their versions. A handle
        # that was beyond that point would go on from rows which are no more: its log entry has to be the same.
        if self._table is not None and (self._head is None or self._identity(self._table) != self._head):
            self.forget()
        if self._table is not None:
            self._table.update_incremental()
        elif self._lake.exists(self._table_name):
            self._table = DeltaTable(str(self._path))
        return self._table

    def _identity(self, table: DeltaTable) -> tuple[int, int, int] | None:
        """Which file is the log entry of the handle's version; None when it is gone."""
        try:
            status = entry(self._path, table.version()).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _compact(self, table: DeltaTable, check: Callable[[], None]) -> None:
        for partition in self._compactor.crowded(table):
            check()
            began = self._clock.monotonic()
            try:
                done = self._compactor.compact(table, partition)
            except CommitFailedError as error:
                self._conflicts.inc()
                log.info("compaction_lost_race", table=self._name, partition=str(partition), error=str(error))
                raise LostRaceError(self._name) from error
            self._compactions.inc()
            log.info(
                "partition_compacted",
                table=self._name,
                partition=str(partition),
                files_before=done.files_before,
                files_after=done.files_after,
                duration_s=round(self._clock.monotonic() - began, 3),
            )
