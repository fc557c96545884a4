"""Every journal of a directory into the lake: what `millrace storage dump-parquet` does."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Protocol

from ingest_service.errors import BadArgumentError, NotFoundError, StorageError
from ingest_service.ingest.failures import ingest_errors
from ingest_service.ingest.incremental import BATCH_SIZE
from ingest_service.ingest.journal import Journal, journal_root
from ingest_service.ingest.repair import lay_damage_aside
from ingest_service.ingest.results import DirectoryReport, JournalReport, ingest_result
from ingest_service.ingest.run import JournalRun, Options
from ingest_service.ingest.session import LakePlaces, LakeRefusesError, Session, Timing, landing_session
from millrace_runtime.logs import get_logger

log = get_logger(__name__)


class Watcher(Protocol):
    """Is told how far a run is, in bytes of journals."""

    def planned(self, size: int) -> None:
        """So much there is to read at most."""
        ...

    def advanced(self, size: int) -> None:
        """So much more is done, or was done before."""
        ...


class _Unwatched:
    def planned(self, size: int) -> None:
        """Nobody asked."""

    def advanced(self, size: int) -> None:
        """Nobody asked."""


def ingest_directory(
    raw_dir: str | Path,
    parquet_root: str | Path,
    checkpoint_dir: str | Path | None = None,
    batch_size: int = BATCH_SIZE,
    deduplicate: bool = True,
    *,
    day: str | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    timing: Timing | None = None,
) -> DirectoryReport:
    """Ingest what is new in the journals of a directory, oldest first.

    A journal that cannot be read is reported with its error, and the others go on.

    Args:
        day: only the journal of that UTC day, `YYYY-MM-DD`.
        overwrite: read from line 1 whatever the checkpoint says; rows that are there stay, so none is doubled. Data
            files of the lake that are empty or damaged are laid aside first, and what they held lands again
            (LAKE-90). Their rows may have come from any journal, so then all of them are read.
        watcher: is told of the progress.
        The other arguments are those of `incremental_ingest`, and so are the errors; NotFoundError too when there is
        no journal, BadArgumentError for `overwrite` without `deduplicate`, which would double every row.
    """
    raw = Path(raw_dir).absolute()
    with ingest_errors("ingest_directory", raw):
        if batch_size < 1:
            raise BadArgumentError(f"batch_size must be at least 1, not {batch_size}")
        if overwrite and not deduplicate:
            raise BadArgumentError(
                "overwrite reads every line again: without deduplicate it would double rows"
            )
        days = _days(raw, day)
        places = LakePlaces.of(Path(parquet_root), raw)
        checkpoints = Path(checkpoint_dir).absolute() if checkpoint_dir else places.metadata / "checkpoints"
        with landing_session(places, timing=timing) as session:
            repaired = lay_damage_aside(session.lake, places.metadata) if overwrite else []
            if repaired:
                days = journal_root(raw).days()
            options = Options(batch_size, deduplicate, anew=overwrite)
            run = _Run(session, checkpoints, options, watcher or _Unwatched())
            reports = run.over([Journal(journal_root(raw), each) for each in days])
            session.tidy()
    return DirectoryReport(reports, [str(path) for path in repaired])


def _days(raw: Path, day: str | None) -> list[str]:
    if day is not None:
        try:
            if datetime.date.fromisoformat(day).isoformat() != day:
                raise ValueError
        except ValueError:
            raise BadArgumentError(f"date: {day!r} is not a day YYYY-MM-DD") from None
    days = [each for each in journal_root(raw).days() if day in (None, each)]
    if not days:
        raise NotFoundError(f"{raw}: no journal{f' of {day}' if day else ''}", source=raw)
    return days


class _Run:
    """One run over several journals."""

    def __init__(self, session: Session, checkpoints: Path, options: Options, watcher: Watcher) -> None:
        self._session = session
        self._checkpoints = checkpoints
        self._options = options
        self._watcher = watcher

    def over(self, journals: list[Journal]) -> list[JournalReport]:
        """Each journal's result or error. Raises LakeRefusesError: another journal would fare no better."""
        sizes = [_size(journal) for journal in journals]
        self._watcher.planned(sum(sizes))
        return [self._one(journal, size) for journal, size in zip(journals, sizes, strict=True)]

    def _one(self, journal: Journal, size: int) -> JournalReport:
        left = size

        def progress(done: int) -> None:
            nonlocal left
            left -= done
            self._watcher.advanced(done)

        try:
            with ingest_errors("ingest_directory", journal.path):
                ran = JournalRun(self._session, journal, self._checkpoints, self._options, progress).run()
        except LakeRefusesError:
            raise
        except StorageError as error:
            return JournalReport(str(journal.path), None, {}, error.reason, error.error_type, error.exit_code)
        self._watcher.advanced(max(0, left))
        result = ingest_result(ran.counts, ran.offset, updated=ran.updated)
        return JournalReport(str(journal.path), result, dict(ran.errors))


def _size(journal: Journal) -> int:
    try:
        return journal.path.stat().st_size
    except OSError:
        return 0  # its run says why
