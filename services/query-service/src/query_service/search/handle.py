"""The kept handle on the messages table: its live files, never older than a second.

The Delta log is asked, not listened to: a reader that waits for hints shows old rows when a hint is
lost. Asking costs half a millisecond when nothing was committed.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger
from query_service.search.files import Files, from_add_actions, no_files

log = get_logger(__name__)

MAX_AGE_S = 0.2
"""Far below the second that is promised, so that most of the second is left to landing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the table. `version` is None while there is no table; `asked_at` is the monotonic
    time before its log was asked: everything committed before then is in it."""

    version: int | None
    files: Files
    asked_at: float


class LakeHandle:
    """Thread-safe; every method may block on disk, so none is for an event loop."""

    def __init__(self, table: Path, clock: Clock, max_age_s: float = MAX_AGE_S) -> None:
        self.table = table
        self._clock = clock
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._delta: DeltaTable | None = None
        self._log_identity: tuple[int, int] | None = None
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """The table as it was at most `max_age_s` ago.

        Raises `ServiceError` UNAVAILABLE when there is a table whose log cannot be read.
        """
        kept = self._snapshot
        if kept is not None and self._fresh(kept):
            return kept
        with self._lock:
            kept = self._snapshot
            if kept is not None and self._fresh(kept):
                return kept  # another thread asked while this one waited
            return self._ask()

    def refresh(self) -> Snapshot:
        """The table as it is now."""
        with self._lock:
            return self._ask()

    def age_s(self) -> float:
        """Seconds since the log was last asked; infinite before the first time."""
        kept = self._snapshot
        return float("inf") if kept is None else self._clock.monotonic() - kept.asked_at

    def live_files(self) -> int:
        """Data files of the version known last."""
        kept = self._snapshot
        return 0 if kept is None else len(kept.files)

    def newest_row_age_s(self) -> float:
        """Seconds since the newest queryable row was ingested; NaN when there is none."""
        kept = self._snapshot
        if kept is None or kept.files.newest_us is None:
            return float("nan")
        return self._clock.now_ms() / 1000 - kept.files.newest_us / 1_000_000

    def _fresh(self, snapshot: Snapshot) -> bool:
        return self._clock.monotonic() - snapshot.asked_at < self._max_age_s

    def _ask(self) -> Snapshot:
        asked_at = self._clock.monotonic()
        try:
            self._snapshot = self._asked(asked_at)
        except (DeltaError, OSError) as error:
            self._delta = None
            log.exception("lake_unreadable")
            raise ServiceError(ErrorCode.UNAVAILABLE, "the lake's log cannot be read now") from error
        return self._snapshot

    def _asked(self, asked_at: float) -> Snapshot:
        identity = _identity(self.table / "_delta_log")
        if identity is None:
            self._delta = None
            return Snapshot(None, no_files(), asked_at)
        if self._delta is None or identity != self._log_identity:
            # First use, or the directory is another one: the table was made anew and its versions
            # mean something else.
            try:
                self._delta = DeltaTable(str(self.table))
            except TableNotFoundError:
                return Snapshot(None, no_files(), asked_at)
            self._log_identity = identity
        else:
            self._delta.update_incremental()
            version = self._delta.version()
            if self._snapshot is not None and self._snapshot.version == version:
                return Snapshot(version, self._snapshot.files, asked_at)
        actions = pa.table(self._delta.get_add_actions(flatten=True))
        return Snapshot(self._delta.version(), from_add_actions(actions), asked_at)


def _identity(directory: Path) -> tuple[int, int] | None:
    """What tells this directory from a later one of the same name; None when there is none."""
    try:
        found = directory.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
