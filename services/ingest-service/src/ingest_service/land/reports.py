"""What landing reports of its progress: checkpoints, never the authority (ARCHITECTURE 4, rules 1 and 11)."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import pathlib
from collections.abc import Callable, Mapping

from ingest_service.land.batch import Batch
from ingest_service.land.checkpoint import CheckpointBusyError, CheckpointFile, Status, name_for
from ingest_service.land.lander import Standing
from ingest_service.land.positions import is_journal
from millrace_ports.bus.embedded import journal_of
from millrace_ports.bus.port import Partition
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

# In the lander's thread: a process that was stopped while it wrote a checkpoint must not hold up landing.
_PATIENCE_S = 0.2

Standings = Callable[[Partition], Standing]


@dataclasses.dataclass(frozen=True, slots=True)
class LastMessage:
    """The last message of some rows: its id, and its create_time in Unix seconds."""

    msg_id: str
    timestamp: int


def last_message(batch: Batch) -> LastMessage | None:
    """The last message of a batch; None without any."""
    last = batch.messages.num_rows - 1
    if last < 0:
        return None
    created = batch.messages.column("create_time")[last].value
    return LastMessage(batch.messages.column("msg_id")[last].as_py(), created // 1_000_000)


@dataclasses.dataclass(slots=True)
class _Progress:
    """What is to be told of a partition: a `trouble`, or what landed since the last write."""

    standing: Standing
    last: LastMessage | None = None
    trouble: str = ""
    dirty: bool = True
    completed: bool = False


@dataclasses.dataclass(slots=True)
class _Landed:
    partition: Partition
    last: LastMessage | None


@dataclasses.dataclass(slots=True)
class _Failed:
    partition: Partition
    message: str


def advance(
    file: CheckpointFile,
    source: str,
    partition: Partition,
    *,
    standing: Standing,
    now_standing: Standings,
    last: LastMessage | None,
    status: Status,
    error: str,
    now: datetime.datetime,
    patience_s: float,
) -> int:
    """Brings a checkpoint to where the lake stood before its last sync; returns the line that it says.

    Two drivers may report one journal at the same time. A stored line past `standing` is another one's, later
    than ours, and stays; unless the lake is not there now either: then it is of a journal that was replaced, or
    read anew. Raises CheckpointBusyError, OSError.
    """
    with file.locked(patience_s):
        checkpoint = file.read_or_new(source)
        checkpoint.source_file = source
        if checkpoint.last_processed_line > standing.line:
            newer = now_standing(partition)
            if newer.line >= checkpoint.last_processed_line:
                standing, last = Standing(newer.epoch, checkpoint.last_processed_line, newer.handled), None
            elif newer.epoch > standing.epoch:
                standing, last = newer, None
        checkpoint.last_processed_line = standing.line
        checkpoint.processed_record_count = standing.handled
        if last is not None:
            checkpoint.last_processed_msg_id = last.msg_id
            checkpoint.last_processed_timestamp = last.timestamp
        checkpoint.status, checkpoint.error_message = status, error
        file.write(checkpoint, now)
        return standing.line


class Checkpoints:
    """`metadata/checkpoints/<name>_checkpoint.json`, told of batches and written when the lake is durable.

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
        """Takes a landed batch into account, at the next `gather`, which may be under way in another thread."""
        for number, span in enumerate(batch.spans):
            last = last_message(batch) if number == len(batch.spans) - 1 else None
            self._news.append(_Landed(span.partition, last))

    def begun(self, partition: Partition, position: int) -> None:
        """A partition is read from there on: told when its checkpoint says something else, as after a crash."""
        stored = self._file(partition).read() if position else None
        if position and (
            stored is None or (stored.last_processed_line, stored.status) != (position, Status.COMPLETED)
        ):
            self._news.append(_Landed(partition, None))

    def failed(self, partitions: list[Partition], message: str) -> None:
        """An unrecoverable error so far; the next landed batch turns it back to processing. Told as `landed` is."""
        self._news.extend(_Failed(partition, message) for partition in partitions)

    def gather(self, standings: Standings) -> None:
        """Notes where the lake stands in each partition that has news: before the sync, which covers that."""
        while self._news:
            news = self._news[0]
            standing = standings(news.partition)
            progress = self._progress.setdefault(news.partition, _Progress(standing))
            progress.standing, progress.dirty, progress.completed = standing, True, False
            match news:
                case _Failed():
                    progress.trouble = news.message
                case _Landed():
                    progress.trouble = ""
                    progress.last = news.last or progress.last
            self._news.popleft()

    def write(
        self, lag: Mapping[Partition, int], now: datetime.datetime, standings: Standings
    ) -> dict[Partition, int]:
        """Writes what was gathered, each file atomically; a partition with no lag is completed. Returns the lines.

        `lag` names all partitions of Kafka that this process reads: others are somebody else's to report by now.
        Raises OSError.
        """
        for partition in [one for one in self._progress if not is_journal(one) and one not in lag]:
            del self._progress[partition]
        for partition, progress in self._progress.items():
            if not progress.trouble and not progress.completed and not lag.get(partition, 0):
                progress.completed = progress.dirty = True
            if progress.dirty:
                self._write(partition, progress, now, standings)
        return {partition: progress.standing.line for partition, progress in self._progress.items()}

    def _write(
        self, partition: Partition, progress: _Progress, now: datetime.datetime, standings: Standings
    ) -> None:
        status = Status.COMPLETED if progress.completed else Status.PROCESSING
        try:
            advance(
                self._file(partition),
                self._source(partition),
                partition,
                standing=progress.standing,
                now_standing=standings,
                last=progress.last,
                status=Status.FAILED if progress.trouble else status,
                error=progress.trouble,
                now=now,
                patience_s=_PATIENCE_S,
            )
        except CheckpointBusyError as busy:
            log.warning("checkpoint_busy", error=str(busy))
            return
        progress.dirty, progress.last = False, None

    def _source(self, partition: Partition) -> str:
        if is_journal(partition):
            return str(journal_of(self._data, partition))
        return f"kafka:{partition.topic}/{_stem(partition)}"

    def _file(self, partition: Partition) -> CheckpointFile:
        first, _, name = partition.name.rpartition("/")
        if is_journal(partition):
            name = name_for(journal_of(self._data, partition), self._directory, first)
        else:
            name = f"{partition.topic}-{name}-{first}"
        return CheckpointFile(self._directory, name)


def _stem(partition: Partition) -> str:
    """Day of a journal, number of a partition of Kafka."""
    return partition.name.rpartition("/")[2]
