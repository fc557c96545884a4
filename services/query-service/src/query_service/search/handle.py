"""The kept handle on one dataset: the live files of its table and of its archive, never older than a second.

The Delta log is asked, not listened to: a reader that waits for hints shows old rows when a hint is
lost. Asking costs half a millisecond when nothing was committed.

A row is archived by a commit to the archive and, after it, a commit that removes it from the lake. So the lake is
asked before the archive: a row may then be seen in both, which `Files.in_both` tells, and never in neither.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger
from query_service.search.files import Files, from_add_actions, no_files, together
from query_service.search.layout import Types, types_of
from query_service.search.listed import listed
from query_service.search.tables import Tables

log = get_logger(__name__)

MAX_AGE_S = 0.2
"""Far below the second that is promised, so that most of the second is left to landing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the dataset.

    `version` is that of the table in the lake, None while there is none; `asked_at` is the monotonic time before
    its log was asked: everything committed before then is in it. `columns` are those that each log promises for
    its files, one entry for each table; None where files are read without a log. `warnings` tell of those.
    """

    version: int | None
    files: Files
    asked_at: float
    columns: tuple[Types | None, ...] = ()
    warnings: tuple[str, ...] = ()


class LakeHandle:
    """Thread-safe; every method may block on disk, so none is for an event loop.

    `unlogged`: a directory without a log is read as the Parquet files in it, and not as a table to come.
    """

    def __init__(
        self,
        table: Path,
        clock: Clock,
        max_age_s: float = MAX_AGE_S,
        *,
        archive: Path | None = None,
        unlogged: bool = False,
    ) -> None:
        self.table = table
        self.tables = Tables(table, archive)
        self._clock = clock
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._hot = _Table(table, unlogged=unlogged)
        self._archive = None if archive is None else _Table(archive, unlogged=unlogged)
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """The dataset as it was at most `max_age_s` ago.

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
        """The dataset as it is now."""
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
            former = (self._hot.content, None if self._archive is None else self._archive.content)
            hot = self._hot.ask()
            archived = None if self._archive is None else self._archive.ask()
        except (DeltaError, OSError) as error:
            self._hot.forget()
            if self._archive is not None:
                self._archive.forget()
            log.exception("lake_unreadable")
            raise ServiceError(ErrorCode.UNAVAILABLE, "the lake's log cannot be read now") from error
        if self._snapshot is not None and former[0] is hot and former[1] is archived:
            files = self._snapshot.files  # the same versions as before
        else:
            files = hot.files if archived is None else together(hot.files, archived.files)
        contents = [content for content in (hot, archived) if content is not None]
        self._snapshot = Snapshot(
            hot.version,
            files,
            asked_at,
            tuple(content.columns for content in contents if len(content.files)),
            tuple(warning for content in contents for warning in content.warnings),
        )
        return self._snapshot


@dataclass(frozen=True, slots=True)
class _Content:
    """What a table holds in one version; see `Snapshot`."""

    version: int | None = None
    files: Files = field(default_factory=no_files)
    columns: Types | None = None
    warnings: tuple[str, ...] = ()


class _Table:
    """One table and its latest known content: the same object as long as the content is the same."""

    def __init__(self, path: Path, *, unlogged: bool) -> None:
        self._path = path
        self._unlogged = unlogged
        self._delta: DeltaTable | None = None
        self._log_identity: tuple[int, int] | None = None
        self.content = _NOTHING

    def forget(self) -> None:
        """Open the table anew at the next question."""
        self._delta = None

    def ask(self) -> _Content:
        """The content now. Raises `DeltaError` or `OSError` when there is a log that cannot be read."""
        self.content = self._asked()
        return self.content

    def _asked(self) -> _Content:
        identity = _identity(self._path / "_delta_log")
        if identity is None:
            return self._without_log()
        if self._delta is None or identity != self._log_identity:
            # First use, or the directory is another one: the table was made anew and its versions
            # mean something else.
            try:
                self._delta = DeltaTable(str(self._path))
            except TableNotFoundError:
                return self._without_log()
            self._log_identity = identity
        else:
            self._delta.update_incremental()
            if self.content.version == self._delta.version():
                return self.content
        actions = pa.table(self._delta.get_add_actions(flatten=True))
        columns = types_of(pa.schema(self._delta.schema().to_arrow()))
        return _Content(self._delta.version(), from_add_actions(actions), columns)

    def _without_log(self) -> _Content:
        self._delta = None
        if self._unlogged:
            files = listed(self._path)
            if len(files):
                return _Content(
                    files=files,
                    warnings=(f"{self._path} has no table log; every Parquet file in it is read",),
                )
        return _NOTHING


_NOTHING = _Content()


def _identity(directory: Path) -> tuple[int, int] | None:
    """What tells this directory from a later one of the same name; None when there is none."""
    try:
        found = directory.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
