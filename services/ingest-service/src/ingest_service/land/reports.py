"""What a landing process writes about its progress: reports, never the authority (ARCHITECTURE 4, rules 1 and 11)."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import pathlib
from collections.abc import Mapping

import msgspec

from ingest_service.lake.durable import write_durably
from ingest_service.land.batch import Batch
from ingest_service.land.positions import is_journal
from millrace_ports.bus.embedded import FORMER, journal_of
from millrace_ports.bus.port import Partition


class Checkpoint(msgspec.Struct):
    """One partition's checkpoint file (LAKE-6), with exactly the sheet's keys. A line is a record, in Kafka."""

    source_file: str
    last_processed_line: int = 0
    last_processed_msg_id: str = ""
    last_processed_timestamp: int = 0
    processed_record_count: int = 0
    checkpoint_time: str = ""
    status: str = "processing"
    error_message: str = ""


@dataclasses.dataclass(slots=True)
class _Progress:
    checkpoint: Checkpoint
    dirty: bool = True


@dataclasses.dataclass(slots=True)
class _Landed:
    """A batch's part of one partition; the last message of the batch with its last part."""

    partition: Partition
    line: int
    counted: int
    msg_id: str | None = None
    timestamp: int = 0


@dataclasses.dataclass(slots=True)
class _Failed:
    partition: Partition
    message: str


class Checkpoints:
    """`metadata/checkpoints/<name>_checkpoint.json`, kept in memory and written when the lake is durable.

    The name is the journal's, without its ending, and with `@<door>` that of a former door; in Kafka topic,
    partition and topic id.

    Args:
        directory: where the files go.
        data: data directory with the journals, for `source_file`.
    """

    def __init__(self, directory: pathlib.Path, data: pathlib.Path) -> None:
        self._directory = directory
        self._data = data
        self._progress: dict[Partition, _Progress] = {}
        self._news: collections.deque[_Landed | _Failed] = collections.deque()

    def landed(self, batch: Batch) -> None:
        """Takes a landed batch into account, at the next `write`, which may be under way in another thread."""
        for number, span in enumerate(batch.spans):
            news = _Landed(span.partition, span.end, span.counted)
            if number == len(batch.spans) - 1 and batch.messages.num_rows:
                last = batch.messages.num_rows - 1
                news.msg_id = batch.messages.column("msg_id")[last].as_py()
                news.timestamp = int(batch.messages.column("create_time")[last].value // 1_000_000)
            self._news.append(news)

    def failed(self, partitions: list[Partition], message: str) -> None:
        """An unrecoverable error so far; the next landed batch turns it back to processing. Told as `landed` is."""
        self._news.extend(_Failed(partition, message) for partition in partitions)

    def write(self, lag: Mapping[Partition, int], now: datetime.datetime) -> dict[Partition, int]:
        """Writes what changed, atomically; a partition with no lag is completed. Returns the positions written.

        `lag` names all partitions of Kafka that this process reads: others are somebody else's to report by now.
        """
        while self._news:
            self._take(self._news.popleft())
        for partition in [one for one in self._progress if not is_journal(one) and one not in lag]:
            del self._progress[partition]
        for partition, progress in self._progress.items():
            checkpoint = progress.checkpoint
            if checkpoint.status == "processing" and not lag.get(partition, 0):
                checkpoint.status = "completed"
                progress.dirty = True
            if progress.dirty:
                checkpoint.checkpoint_time = now.isoformat(timespec="seconds").replace("+00:00", "Z")
                write_durably(self._file(partition), [msgspec.json.encode(checkpoint)])
                progress.dirty = False
        return {
            partition: progress.checkpoint.last_processed_line
            for partition, progress in self._progress.items()
        }

    def _take(self, news: _Landed | _Failed) -> None:
        progress = self._of(news.partition)
        checkpoint = progress.checkpoint
        if isinstance(news, _Failed):
            checkpoint.status, checkpoint.error_message = "failed", news.message
        else:
            checkpoint.last_processed_line = news.line
            checkpoint.processed_record_count += news.counted
            if news.msg_id is not None:
                checkpoint.last_processed_msg_id = news.msg_id
                checkpoint.last_processed_timestamp = news.timestamp
            checkpoint.status, checkpoint.error_message = "processing", ""
        progress.dirty = True

    def _of(self, partition: Partition) -> _Progress:
        if partition not in self._progress:
            self._progress[partition] = _Progress(self._read(partition))
        return self._progress[partition]

    def _read(self, partition: Partition) -> Checkpoint:
        """The stored checkpoint, for its cumulative count; an unreadable one counts as none (LAKE-70)."""
        try:
            return msgspec.json.decode(self._file(partition).read_bytes(), type=Checkpoint)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return Checkpoint(source_file=self._source(partition))

    def _source(self, partition: Partition) -> str:
        if is_journal(partition):
            return str(journal_of(self._data, partition))
        return f"kafka:{partition.topic}/{_stem(partition)}"

    def _file(self, partition: Partition) -> pathlib.Path:
        first, _, name = partition.name.rpartition("/")
        if not is_journal(partition):
            name = f"{partition.topic}-{name}-{first}"
        elif journal_of(self._data, partition).is_relative_to(self._data / FORMER):
            name = f"{name}@{first}"
        return self._directory / f"{name}_checkpoint.json"


def _stem(partition: Partition) -> str:
    """Day of a journal, number of a partition of Kafka."""
    return partition.name.rpartition("/")[2]
