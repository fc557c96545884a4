"""What is new in one journal (LAKE-60, LAKE-S3)."""

from __future__ import annotations

from pathlib import Path

from ingest_service.errors import BadArgumentError
from ingest_service.ingest.failures import ingest_errors
from ingest_service.ingest.journal import Journal
from ingest_service.ingest.results import IngestResult, ingest_result
from ingest_service.ingest.run import JournalRun, Options
from ingest_service.ingest.session import LakePlaces, Timing, landing_session

BATCH_SIZE = 1000


def incremental_ingest(
    source_jsonl: str | Path,
    parquet_root: str | Path,
    checkpoint_dir: str | Path | None = None,
    batch_size: int = BATCH_SIZE,
    deduplicate: bool = True,
    *,
    timing: Timing | None = None,
) -> IngestResult:
    """Land the lines of a journal that the lake does not hold, and bring its checkpoint up to date.

    Args:
        source_jsonl: the journal, `YYYY-MM-DD.jsonl`. Rejects go to `rejected` beside its directory.
        parquet_root: the lake; what is kept about it goes to `metadata` beside it.
        checkpoint_dir: where checkpoints go; default `metadata/checkpoints` beside the lake.
        batch_size: lines of a batch; up to 16 batches, or 10 MiB, are one commit, which bounds the memory.
        deduplicate: keep one row per msg_id, over all days, hot and archive (LAKE-64). Otherwise every line
            is a row; lines that the lake holds are not read again either way.
        timing: clock, sleep and patience, for tests.

    Raises:
        NotFoundError, NoPermissionError, BadArgumentError.
        StorageIoError: the journal's lock was not to be had within 60 s (LAKE-68), or the disk refuses after
            three retries; then the checkpoint says `failed` (LAKE-67), and the next run goes on.
    """
    source = Path(source_jsonl)
    with ingest_errors("incremental_ingest", source):
        if batch_size < 1:
            raise BadArgumentError(f"batch_size must be at least 1, not {batch_size}")
        journal = Journal.at(source)
        places = LakePlaces.of(Path(parquet_root), journal.root.path)
        checkpoints = Path(checkpoint_dir).absolute() if checkpoint_dir else places.metadata / "checkpoints"
        with landing_session(places, timing=timing) as session:
            ran = JournalRun(session, journal, checkpoints, Options(batch_size, deduplicate)).run()
            session.tidy()
    return ingest_result(ran.counts, ran.offset, updated=ran.updated)
