"""One journal into the lake: from where the lake stands to its last whole line (LAKE-60)."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ingest_service.errors import StorageError, StorageIoError
from ingest_service.ingest.journal import Journal, JournalLines
from ingest_service.ingest.landed import Commits
from ingest_service.ingest.session import TROUBLES, Session
from ingest_service.lake.recover import mark_durable
from ingest_service.land.batch import Batch, Counts, build
from ingest_service.land.checkpoint import CheckpointBusyError, CheckpointFile, Status, name_for
from ingest_service.land.held import LostRaceError
from ingest_service.land.reports import LastMessage, advance, last_message
from millrace_ports.errors import LockTimeoutError
from millrace_ports.journal import ReplacedError
from millrace_ports.journal.lock import FileLock
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

# A commit costs some 15 ms however few lines it has, and each one leaves a file a day.
_COMMIT_BATCHES = 16
_COMMIT_BYTES = 10 << 20
_REPORT_EVERY_S = 1.0
_TIDY_EVERY_COMMITS = 40

_Built = tuple[Batch, int]

Progress = Callable[[int], None]
"""Told of bytes that are done."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a journal is read.

    Up to 16 times `batch_size` lines are one commit, fewer where lines are long. `anew`: from line 1, whatever the
    lake holds of it already. Without `deduplicate` a message is added whether its msg_id is stored or not. `tidy`:
    small files are merged meanwhile where they are too many.
    """

    batch_size: int
    deduplicate: bool = True
    anew: bool = False
    tidy: bool = True


@dataclass(slots=True)
class Ran:
    """What a run did. `files` are the data files that it added; `errors` counts rejects by their type (LAKE-91)."""

    counts: Counts = field(default_factory=Counts)
    batches: int = 0
    commits: int = 0
    offset: int = 0
    updated: bool = False
    files: list[Path] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class JournalRun:
    """One run over one journal. Raises StorageError from `run`."""

    def __init__(
        self,
        session: Session,
        journal: Journal,
        checkpoints: Path,
        options: Options,
        progress: Progress = lambda _bytes: None,
    ) -> None:
        self._session = session
        self._journal = journal
        self._options = options
        self._progress = progress
        self._clock = session.timing.clock
        self._partition = journal.partition
        self._file = CheckpointFile(checkpoints, name_for(journal.path, checkpoints, journal.root.door))
        self._ran = Ran()
        self._bytes = 0
        self._last: LastMessage | None = None
        self._line_before: int | None = None
        self._commits = Commits(session.lake)

    def run(self) -> Ran:
        """Lands what is new; the checkpoint says so, or why not (LAKE-67).

        Raises StorageIoError: another process keeps the journal's lock (LAKE-68), or the lake cannot be written.
        """
        began = self._clock.monotonic()
        with self._locked():
            try:
                position = self._start()
                self._session.persist("write checkpoint", lambda: self._report(Status.PROCESSING))
                self._land(position)
                self._session.persist("write checkpoint", lambda: self._report(Status.COMPLETED))
            except (StorageError, OSError) as error:
                self._tell_failure(error)
                raise
        self._log(self._clock.monotonic() - began)
        return self._ran

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        name = self._partition.name.replace("/", "@")
        path = self._session.places.metadata / "locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(self._session.timing.lock_wait_s)
        except LockTimeoutError:
            raise StorageIoError(
                f"{self._journal.path} is being ingested by another process for over "
                f"{self._session.timing.lock_wait_s:g} s (lock {path})",
                operation="ingest",
                source=self._journal.path,
            ) from None
        try:
            yield
        finally:
            lock.close()

    def _start(self) -> int:
        """Where to read on. From line 1 when asked to, when there is no readable checkpoint, and when the journal
        has fewer lines than were read of it (LAKE-70)."""
        session = self._session
        position = session.persist("open lake", lambda: session.lander.position(self._partition))
        stored = self._file.read()
        self._line_before = stored.last_processed_line if stored else None
        claimed = max(position, stored.last_processed_line if stored else 0)
        with contextlib.closing(self._lines()) as lines:
            available = lines.seek(claimed)
        if available < claimed:
            self._tell_replaced(claimed, available)
        elif not self._options.anew and (stored is not None or not self._options.deduplicate):
            return position
        return session.lander.restart(self._partition) if position else 0

    def _tell_replaced(self, position: int, available: int) -> None:
        log.error("journal_replaced", source_file=str(self._journal.path), position=position, lines=available)

    def _lines(self) -> JournalLines:
        return JournalLines(
            self._journal,
            lines=self._options.batch_size * _COMMIT_BATCHES,
            size=_COMMIT_BYTES,
            now_ms=self._clock.now_ms,
        )

    def _land(self, position: int) -> None:
        """Commits one batch while the next one is read and built."""
        with concurrent.futures.ThreadPoolExecutor(1, "build") as building:
            lines = self._lines_from(position)
            try:
                reported = self._clock.monotonic()
                ahead = building.submit(self._build, lines)
                while (built := self._ready(ahead)) is not None:
                    ahead = building.submit(self._build, lines)
                    if not self._took(*built):
                        # Another driver has landed these lines; or the journal is another one by now.
                        concurrent.futures.wait([ahead])
                        lines.close()
                        lines = self._lines_from(self._session.lander.position(self._partition))
                        ahead = building.submit(self._build, lines)
                    elif self._clock.monotonic() - reported >= _REPORT_EVERY_S:
                        self._session.persist("write checkpoint", lambda: self._report(Status.PROCESSING))
                        reported = self._clock.monotonic()
            finally:
                lines.close()

    def _lines_from(self, position: int) -> JournalLines:
        lines = self._lines()
        available = lines.seek(position)
        if available < position:
            self._tell_replaced(position, available)
            lines.seek(self._session.lander.restart(self._partition))
        return lines

    def _build(self, lines: JournalLines) -> _Built | None:
        """The next batch and its bytes, None at the end."""
        chunks = lines.next()
        if not chunks:
            return None
        size = sum(sum(map(len, chunk.values)) + len(chunk.values) for chunk in chunks)
        now_s = self._clock.now_ms() // 1000
        return build(chunks, ingested_at_s=now_s, mask=self._session.mask), size

    def _ready(self, ahead: concurrent.futures.Future[_Built | None]) -> _Built | None:
        try:
            return ahead.result()
        except ReplacedError as replaced:
            raise StorageIoError(
                f"{self._journal.path} was replaced while it was read: {replaced}; run it again",
                operation="ingest",
                source=self._journal.path,
            ) from None

    def _took(self, batch: Batch, size: int) -> bool:
        """Lands a batch; False when its lines are not for us to land any more."""
        self._journal.sync()
        try:
            counts = self._session.persist("write batch", lambda: self._commit(batch))
        except LostRaceError as lost:
            log.info("batch_lost_race", reason=str(lost))
            return False
        if not counts.add_up():
            log.error("accounting_is_off", source_file=str(self._journal.path), **dataclasses.asdict(counts))
        ran, span = self._ran, batch.spans[0]
        ran.counts += counts
        ran.batches += math.ceil((span.end - span.start) / self._options.batch_size)
        ran.commits += 1
        ran.files += self._commits.files
        ran.errors.update(letter.refused.error_type for letter in batch.dead_letters)
        self._last = last_message(batch) or self._last
        self._bytes += size
        self._progress(size)
        log.debug("batch_landed", end=span.end, **dataclasses.asdict(counts))
        if self._options.tidy and ran.commits % _TIDY_EVERY_COMMITS == 0:
            self._session.tidy()
        return True

    def _commit(self, batch: Batch) -> Counts:
        lander, commits = self._session.lander, self._commits
        standing = lander.standing(self._partition)
        if commits.tried is batch:
            if standing != commits.standing and standing.line == batch.spans[0].end:
                return commits.counts_of(
                    batch, standing.epoch
                )  # the attempt that raised had landed after all
            lander.position(self._partition)  # what this process thought of it need not be so any more
        else:
            commits.begin(batch, standing, lander.versions())
        with self._session.lock.held():
            counts = lander.commit(batch, deduplicate=self._options.deduplicate)
        crash_point("AFTER_INGEST_COMMIT")
        commits.done(lander.versions(), lander.standing(self._partition).epoch)
        return counts

    def _report(self, status: Status, error: str = "") -> None:
        """Files durable first, then the checkpoint."""
        session = self._session
        standing = session.lander.standing(self._partition)
        mark_durable(session.lake, session.places.metadata, session.lander.versions())
        crash_point("AFTER_SYNC_BEFORE_CHECKPOINT")
        try:
            self._ran.offset = advance(
                self._file,
                str(self._journal.path),
                self._partition,
                standing=standing,
                now_standing=session.lander.standing,
                last=self._last,
                status=status,
                error=error,
                now=self._clock.now(),
                patience_s=session.timing.lock_wait_s,
            )
        except CheckpointBusyError as busy:
            raise StorageIoError(str(busy), source=self._file.path) from busy
        self._ran.updated = self._line_before != self._ran.offset

    def _tell_failure(self, error: Exception) -> None:
        """The checkpoint says `failed` and why; where the lake cannot be asked, at the line that it said before."""
        why = error.reason if isinstance(error, StorageError) else str(error)
        try:
            self._report(Status.FAILED, why)
        except (*TROUBLES, StorageError) as problem:
            log.warning("lake_not_synced", source_file=str(self._journal.path), error=str(problem))
            self._say_failed(why)

    def _say_failed(self, why: str) -> None:
        try:
            with self._file.locked(1.0):
                checkpoint = self._file.read_or_new(str(self._journal.path))
                checkpoint.status, checkpoint.error_message = Status.FAILED, why
                self._file.write(checkpoint, self._clock.now())
        except (OSError, CheckpointBusyError) as problem:
            log.error("checkpoint_not_written", source_file=str(self._journal.path), error=str(problem))

    def _log(self, seconds: float) -> None:
        log.info(
            "journal_ingested",
            source_file=str(self._journal.path),
            duration_s=round(seconds, 3),
            offset=self._ran.offset,
            batches=self._ran.batches,
            size_bytes=self._bytes,
            errors=dict(self._ran.errors),
            **dataclasses.asdict(self._ran.counts),
        )
