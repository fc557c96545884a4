"""One payload by hand: into the journal, durably, and from there into the lake (`millrace storage ingest-message`)."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from ingest_service.errors import BadArgumentError, BadDataError
from ingest_service.ingest.failures import ingest_errors
from ingest_service.ingest.incremental import BATCH_SIZE, incremental_ingest
from ingest_service.ingest.results import MessageResult
from ingest_service.ingest.session import Timing
from ingest_service.jsontext import NotAnObject, one_line, parse_object
from ingest_service.lake.tables import Lake
from ingest_service.land.batch import Batch, build
from ingest_service.land.index.index import EPOCH, partition_filter
from millrace_ports.bus.embedded import WEBHOOK_MESSAGES
from millrace_ports.bus.port import Chunk, Partition
from millrace_ports.journal import Appended, JournalRoot, JournalWriter, day_of
from millrace_ports.journal.root import day_in


def ingest_message(
    message: str | bytes,
    raw_file: str | Path,
    parquet_root: str | Path,
    checkpoint_dir: str | Path | None = None,
    deduplicate: bool = True,
    *,
    timing: Timing | None = None,
) -> MessageResult:
    """Journal a payload and ingest what is new in that journal, the payload being the last of it.

    Args:
        message: one JSON object, as the webhook takes it.
        raw_file: today's journal (UTC), or a directory of journals: a line belongs to the day of its append.
        The others are those of `incremental_ingest`.

    Raises:
        BadDataError: not JSON, or not an object: nothing is stored. Or the row is refused: then it is in the journal,
            in the reject journal and in dead_letters.
        BadArgumentError: `raw_file` is another day's. And what `incremental_ingest` raises: the payload is in the
            journal then, and the next ingest takes it.
    """
    timing = timing or Timing()
    body = message.encode() if isinstance(message, str) else message
    with ingest_errors("ingest_message", raw_file):
        try:
            parse_object(body)
        except NotAnObject as error:
            raise BadDataError(f"the message is not a JSON object in UTF-8: {error.message}") from None
        root = _root_of(Path(raw_file).absolute(), day_of(timing.clock.now_ms()))
        line = one_line(body)
        writer = JournalWriter(root, now_ms=timing.clock.now_ms)
        try:
            appended = writer.append([line])
        finally:
            writer.close()
        batch = _batch_of(line, appended)
        journal = root.file(appended.day)
        result = incremental_ingest(
            journal, parquet_root, checkpoint_dir, BATCH_SIZE, deduplicate, timing=timing
        )
        if batch.dead_letters:
            refused = batch.dead_letters[0].refused
            raise BadDataError(
                f"line {appended.first_line} of {journal} cannot become a row: {refused.message}",
                source=journal,
            )
        dataset, days = _goes_to(batch)
        return MessageResult(
            journal=str(journal),
            line=appended.first_line,
            dataset=dataset,
            partition=", ".join(str(EPOCH + datetime.timedelta(day)) for day in days),
            rows_written=_rows_of(Lake(Path(parquet_root).absolute()), dataset, days, appended),
            checkpoint_offset=result.checkpoint_offset,
        )


def _root_of(raw: Path, today: str) -> JournalRoot:
    if raw.suffix != ".jsonl":
        return JournalRoot(raw)
    if day_in(raw.name) != today:
        raise BadArgumentError(
            f"raw_file: a line goes to the journal of the UTC day of its append, {today}.jsonl, not {raw.name}",
            source=raw,
        )
    return JournalRoot(raw.parent)


def _batch_of(line: bytes, appended: Appended) -> Batch:
    """What the line becomes, by the code that lands it."""
    number = appended.first_line
    chunk = Chunk(
        Partition(WEBHOOK_MESSAGES, f"{appended.door}/{appended.day}"),
        number - 1,
        number,
        [line],
        [number],
        [appended.received_at_ms],
    )
    return build([chunk], ingested_at_s=appended.received_at_ms // 1000)


def _goes_to(batch: Batch) -> tuple[str, list[int]]:
    """The dataset and the days of its rows (LAKE-62)."""
    if batch.messages.num_rows:
        return "messages", sorted({int(day) for day in np.unique(batch.days)})
    rows = batch.other.table if len(batch.other) else None
    if rows is not None:
        moment = rows.column("ingestion_time")[0].value // 1_000_000
        return "other", [moment // 86_400]
    return "contacts", [event.row["ingestion_time"] // 86_400 for event in batch.contacts[:1]]


def _rows_of(lake: Lake, dataset: str, days: list[int], appended: Appended) -> int:
    """Rows that this line made, by their origin."""
    table = lake.open(dataset)
    uris = [uri for day in days for uri in table.file_uris(partition_filters=partition_filter(day))]
    if not uris:
        return 0
    columns = {"src_door": pa.string(), "src_file": pa.string(), "src_line": pa.int64()}
    files = ds.dataset(
        [uri.removeprefix("file://") for uri in uris], schema=pa.schema(columns), format="parquet"
    )
    origin = (
        (pc.field("src_door") == appended.door)
        & (pc.field("src_file") == f"{appended.day}.jsonl")
        & (pc.field("src_line") == appended.first_line)
    )
    return int(files.count_rows(filter=origin))
