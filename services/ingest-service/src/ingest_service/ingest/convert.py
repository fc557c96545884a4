"""Whole journals into Parquet, in large batches (LAKE section 6)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pyarrow as pa

from ingest_service.errors import BadArgumentError, NotFoundError, StorageError
from ingest_service.ingest.failures import ingest_errors
from ingest_service.ingest.journal import Journal, journal_root
from ingest_service.ingest.results import ConvertAllResult, ConvertResult, megabytes
from ingest_service.ingest.run import JournalRun, Options, Ran
from ingest_service.ingest.session import LakePlaces, LakeRefusesError, Session, Timing, landing_session
from ingest_service.lake.tables import COMPRESSIONS, TABLES, Compression
from ingest_service.land.checkpoint import Status, checkpoint_of
from millrace_runtime.logs import get_logger
from millrace_schemas import datasets

log = get_logger(__name__)

BATCH_SIZE = 10_000


def convert_journal(
    jsonl_path: str | Path,
    parquet_root: str | Path,
    schema: pa.Schema | None = None,
    compression: str = "snappy",
    batch_size: int = BATCH_SIZE,
    *,
    timing: Timing | None = None,
) -> ConvertResult:
    """Convert one journal. Lines that the lake holds are not converted again, msg_ids that it holds not stored again.

    `schema`, where given, must be that of the messages dataset: a program that was written for another one is told
    so before anything is written. `compression` is snappy, zstd or gzip, for the files written now.

    Raises NotFoundError (no such journal), BadArgumentError, NoPermissionError, StorageIoError as
    `incremental_ingest` does.
    """
    source = Path(jsonl_path)
    with ingest_errors("convert_journal", source):
        kind = _checked(compression, batch_size)
        _check_schema(schema)
        journal = Journal.at(source)
        places = LakePlaces.of(Path(parquet_root), journal.root.path)
        with landing_session(places, compression=kind, timing=timing) as session:
            ran = _converted(session, journal, Options(batch_size, tidy=False))
    return _result(journal, ran)


def convert_all(
    raw_dir: str | Path,
    parquet_root: str | Path,
    skip_existing: bool = True,
    compression: str = "snappy",
    batch_size: int = BATCH_SIZE,
    *,
    timing: Timing | None = None,
) -> ConvertAllResult:
    """Convert every journal of a directory, oldest first; one that cannot be read is counted and the others go on.

    With `skip_existing` a journal whose checkpoint is completed and has no line after it is not opened. Without, it
    is read again from line 1, which changes no row.

    Raises NotFoundError (no such directory), BadArgumentError, and StorageIoError when the lake cannot be written.
    """
    raw = Path(raw_dir).absolute()
    with ingest_errors("convert_all", raw):
        kind = _checked(compression, batch_size)
        if not raw.is_dir():
            raise NotFoundError(f"{raw}: no such directory")
        places = LakePlaces.of(Path(parquet_root), raw)
        converted = skipped = failed = 0
        root = journal_root(raw)
        with landing_session(places, compression=kind, timing=timing) as session:
            for day in root.days():
                journal = Journal(root, day)
                if skip_existing and _is_complete(journal, places.metadata / "checkpoints"):
                    skipped += 1
                    continue
                try:
                    _converted(session, journal, Options(batch_size, anew=not skip_existing))
                except LakeRefusesError:
                    raise
                except (StorageError, OSError) as error:
                    log.error("journal_not_converted", source_file=str(journal.path), error=str(error))
                    failed += 1
                else:
                    converted += 1
            session.tidy()
    return ConvertAllResult(converted, skipped, failed)


def _checked(compression: str, batch_size: int) -> Compression:
    if compression not in COMPRESSIONS:
        raise BadArgumentError(f"compression must be one of {', '.join(COMPRESSIONS)}, not {compression!r}")
    if batch_size < 1:
        raise BadArgumentError(f"batch_size must be at least 1, not {batch_size}")
    return cast("Compression", compression)


def _check_schema(schema: pa.Schema | None) -> None:
    stored = datasets.load("messages").arrow_schema()
    for field in schema or ():
        if field.name not in stored.names:
            raise BadArgumentError(f"schema: messages have no column {field.name!r}")
        if field.type != (expected := stored.field(field.name).type):
            raise BadArgumentError(f"schema: column {field.name!r} is {expected}, not {field.type}")


def _is_complete(journal: Journal, checkpoints: Path) -> bool:
    """Whether its checkpoint is completed and covers every whole line that is there now. Raises OSError."""
    checkpoint = checkpoint_of(journal.path, checkpoints)
    return (
        checkpoint.status == Status.COMPLETED
        and checkpoint.source_file == str(journal.path)
        and journal.ends_at(checkpoint.last_processed_line)
    )


def _converted(session: Session, journal: Journal, options: Options) -> Ran:
    return JournalRun(session, journal, session.places.metadata / "checkpoints", options).run()


def _result(journal: Journal, ran: Ran) -> ConvertResult:
    counts, files = ran.counts, sorted(ran.files, key=_table_first)
    source, target = journal.path.stat().st_size, sum(path.stat().st_size for path in files)
    return ConvertResult(
        source_file=str(journal.path),
        target_file=str(files[0]) if files else "",
        target_files=[str(path) for path in files],
        total_records=counts.messages + counts.contacts + counts.other if files else 0,
        total_batches=ran.batches if files else 0,
        source_size_mb=megabytes(source) if files else 0.0,
        target_size_mb=megabytes(target),
        compression_ratio=round(source / target, 2) if target else 0.0,
    )


def _table_first(file: Path) -> int:
    return TABLES.index(file.parents[3].name)
