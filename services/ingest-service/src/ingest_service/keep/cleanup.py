"""Removing journals whose every line is in the lake and stays there (LAKE-111).

Nothing goes on the word of one alone: positions, the checkpoint and all consumers have to be past the journal, its
rows are looked up in the tables, and what is relied on is synced first.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import os
import pathlib
import re
import time
from collections.abc import Callable, Iterator

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from ingest_service.errors import BadArgumentError, NotFoundError, storage_errors
from ingest_service.keep.accounted import Accounts
from ingest_service.keep.covered import Positions
from ingest_service.lake.durable import sync_directory, sync_file_system
from ingest_service.lake.recover import mark_durable, marked
from ingest_service.lake.tables import TABLES, Lake
from ingest_service.land.batch import Batch, build
from millrace_ports.bus.embedded import WEBHOOK_MESSAGES
from millrace_ports.bus.port import Chunk, Partition
from millrace_ports.errors import LockTimeoutError, StorageUnavailableError
from millrace_ports.journal import JournalRoot
from millrace_ports.journal.lock import FileLock
from millrace_ports.journal.reader import JournalReader, Lines, ReplacedError, closed
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

RETENTION_DAYS = 7

_MB = 1_000_000
_BATCH_RECORDS = 20_000
_BATCH_BYTES = 32 << 20
_LOCK_WAIT_S = 2.0
_SIDECAR = re.compile(r"\.(\d{4}-\d{2}-\d{2})\.(?:idx|traces)")


@dataclasses.dataclass(slots=True)
class CleanupResult:
    """The result keys of LAKE-111; `kept` says of each old journal that stays why it does, `failed` of each that the
    disk did not let be read or removed.

    `skipped_no_parquet`: the lake does not hold, or may not keep, all of it; `skipped_in_use`: somebody still writes
    or reads it. A dry run leaves `deleted` at 0 and lists in `deleted_files` what would go.
    """

    total_scanned: int = 0
    deleted: int = 0
    skipped_no_parquet: int = 0
    skipped_in_use: int = 0
    deleted_files: list[str] = dataclasses.field(default_factory=list)
    kept: dict[str, str] = dataclasses.field(default_factory=dict)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)


class _NotCoveredError(Exception):
    """The lake may not hold all of the journal."""


class _InUseError(Exception):
    """Somebody still needs the journal."""


def clean_up(
    raw: pathlib.Path,
    lake: Lake,
    metadata: pathlib.Path,
    *,
    now_ms: Callable[[], int],
    retention_days: int = RETENTION_DAYS,
    dry_run: bool = False,
    looked_at: Callable[[str, int, int], None] = lambda *_: None,
) -> CleanupResult:
    """Remove the journals in `raw` of more than `retention_days` whole days ago that are in the lake for good.

    `looked_at` is told each old journal's day, which one it is and of how many, before it is looked at. Raises
    BadArgumentError, NotFoundError (no such directory), StorageError.
    """
    if retention_days < 0:
        raise BadArgumentError(f"retention_days: {retention_days} is below 0")
    if not raw.is_dir():
        raise NotFoundError(f"{raw}: there are no journals", operation="cleanup", source=raw)
    began = time.monotonic()
    cleanup = _Cleanup(raw, lake, metadata, now_ms, dry_run, looked_at)
    with storage_errors("cleanup", raw):
        result = cleanup.run(retention_days)
    log.info(
        "cleanup_finished",
        duration_s=round(time.monotonic() - began, 3),
        records=cleanup.lines,
        size_mb=round(cleanup.bytes / _MB, 2),
        dry_run=dry_run,
        **{name: value for name, value in dataclasses.asdict(result).items() if isinstance(value, int)},
    )
    return result


class _Cleanup:
    def __init__(
        self,
        raw: pathlib.Path,
        lake: Lake,
        metadata: pathlib.Path,
        now_ms: Callable[[], int],
        dry_run: bool,
        looked_at: Callable[[str, int, int], None],
    ) -> None:
        self._root = JournalRoot(raw)
        self._lake = lake
        self._metadata = metadata
        self._now_ms = now_ms
        self._dry_run = dry_run
        self._looked_at = looked_at
        self._accounts: Accounts | None = None
        self._synced = False
        self.result = CleanupResult()
        self.lines = self.bytes = 0  # of what is gone, or would be

    def run(self, retention_days: int) -> CleanupResult:
        result = self.result
        files = sorted(
            path.name for path in self._root.path.iterdir() if path.is_file() and not _hidden(path.name)
        )
        result.total_scanned = len(files)
        today = datetime.datetime.fromtimestamp(self._now_ms() / 1000, datetime.UTC).date()
        old = [
            day
            for day in self._root.days()
            if (today - datetime.date.fromisoformat(day)).days > retention_days
        ]
        for number, day in enumerate(old, 1):
            self._looked_at(day, number, len(old))
            name = self._root.file(day).name
            try:
                self._one(day)
            except (_NotCoveredError, ReplacedError, DeltaError, pa.ArrowException) as why:
                result.skipped_no_parquet += 1
                result.kept[name] = str(why)
            except (_InUseError, LockTimeoutError) as why:
                result.skipped_in_use += 1
                result.kept[name] = str(why)
            except (StorageUnavailableError, OSError) as error:
                if self._root.file(day).exists():  # else another cleanup was faster
                    log.error("journal_not_cleaned_up", journal=name, error=str(error))
                    result.failed[name] = str(error)
        if not self._dry_run:
            self._drop_lone_sidecars(today, retention_days)
        for name, reason in result.kept.items():
            log.info("journal_kept", journal=name, reason=reason)
        return result

    def _one(self, day: str) -> None:
        """Remove the journal. Raises _NotCoveredError, _InUseError, saying why it stays."""
        path = self._root.file(day)
        before = path.stat()
        positions = self._positions()
        lines = self._lines(day)
        if (reason := positions.uncovered(day, lines)) is not None:
            raise _NotCoveredError(reason)
        if (reason := positions.unread_by(day, lines)) is not None:
            raise _InUseError(reason)
        if self._accounts is None:
            self._accounts = Accounts(self._lake)
        if absent := self._accounts.missing(self._batches(day), path.name):
            raise _NotCoveredError(
                f"{len(absent)} of its lines are in no dataset, the first one is line {min(absent)}"
            )
        if not self._dry_run:
            self._make_durable()
            self._remove(day, before)
            self.result.deleted += 1
        self.result.deleted_files.append(path.name)
        self.lines += lines
        self.bytes += before.st_size
        log.info(
            "journal_deleted", journal=path.name, records=lines, bytes=before.st_size, dry_run=self._dry_run
        )

    def _positions(self) -> Positions:
        if not self._lake.exists("messages"):
            raise _NotCoveredError("there is no lake")
        if not (self._root.path / ".door").exists():
            raise _NotCoveredError("nothing has landed from here: the directory has no identity yet")
        messages = DeltaTable(str(self._lake.path("messages")))
        own = self._root.path.parent.parent / "metadata" / "relay"
        relay = own if own.is_dir() else self._metadata / "relay"
        return Positions(self._root.door, messages.transaction_version, self._metadata, relay)

    def _lines(self, day: str) -> int:
        """Physical lines of a closed journal, one that is not ended included."""
        if closed(self._root, day, now_ms=self._now_ms, wait_s=_LOCK_WAIT_S) is None:
            raise _InUseError("its day is not over")
        lines, last = 0, b"\n"
        with self._root.file(day).open("rb", buffering=0) as file:
            while block := file.read(1 << 23):
                lines, last = lines + block.count(b"\n"), block[-1:]
        return lines + (last != b"\n")

    def _batches(self, day: str) -> Iterator[Batch]:
        """The journal's lines as they are built for landing."""
        partition = Partition(WEBHOOK_MESSAGES, f"{self._root.door}/{day}")
        reader = JournalReader(self._root, day)
        try:
            reader.seek(0)
            while (lines := reader.read(max_records=_BATCH_RECORDS, max_bytes=_BATCH_BYTES)) is not None:
                yield build([_chunk(partition, lines)], ingested_at_s=0)
            if (tail := reader.read_tail(self._root.file(day).stat().st_size)) is not None:
                yield build([_chunk(partition, tail)], ingested_at_s=0)
        finally:
            reader.close()

    def _make_durable(self) -> None:
        """Sync what holds the rows, and have recovery never take those commits back (ARCHITECTURE 4, rule 11)."""
        if self._synced:
            return
        versions = {
            name: DeltaTable(str(self._lake.path(name))).version()
            for name in TABLES
            if self._lake.exists(name)
        }
        if self._lake.archive_root.is_dir():
            sync_file_system(self._lake.archive_root)
        if (rejected := self._root.path.parent / "rejected").is_dir():
            sync_file_system(rejected)
        mark = marked(self._metadata)
        newest = {name: max(version, mark.get(name, -1)) for name, version in versions.items()}
        mark_durable(self._lake, self._metadata, newest)
        self._synced = True

    def _remove(self, day: str, before: os.stat_result) -> None:
        path = self._root.file(day)
        lock = FileLock(self._root.lock_path)
        lock.acquire(_LOCK_WAIT_S)
        try:
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise _InUseError("another process holds a lock on it") from None
                now = os.fstat(file.fileno())
                if (now.st_ino, now.st_size, now.st_mtime_ns) != (
                    before.st_ino, before.st_size, before.st_mtime_ns,
                ):  # fmt: skip
                    raise _InUseError("it has changed while it was looked at")
                crash_point("BEFORE_JOURNAL_REMOVAL")
                path.unlink()
                crash_point("AFTER_JOURNAL_REMOVAL_BEFORE_SIDECARS")
                for beside in (self._root.sidecar(day), self._root.traces(day)):
                    beside.unlink(missing_ok=True)
        finally:
            lock.close()
        sync_directory(self._root.path)

    def _drop_lone_sidecars(self, today: datetime.date, retention_days: int) -> None:
        """What a kill between journal and sidecars has left."""
        for path in self._root.path.iterdir():
            found = _SIDECAR.fullmatch(path.name)
            if found is None or self._root.file(found[1]).exists():
                continue
            try:
                age = (today - datetime.date.fromisoformat(found[1])).days
            except ValueError:
                continue
            if age > retention_days:
                path.unlink(missing_ok=True)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.endswith((".tmp", ".lock"))


def _chunk(partition: Partition, lines: Lines) -> Chunk:
    end = lines.start + len(lines.values)
    return Chunk(
        partition, lines.start, end, lines.values, range(lines.start + 1, end + 1), lines.received_at_ms
    )
