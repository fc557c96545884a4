"""One checkpoint file: what people and other tools read of how far a journal is in the lake (LAKE-6, LAKE-70).

A report, never the authority: the position travels in the Delta commit (ARCHITECTURE 4, rule 1).
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import errno
import fcntl
import os
import pathlib
import time
from collections.abc import Iterator

import msgspec

from ingest_service.lake.durable import write_durably
from millrace_ports.bus.embedded import FORMER

SUFFIX = "_checkpoint.json"
_RETRY_S = 0.01


class Status(enum.StrEnum):
    """Where a journal stands; `NOT_STARTED` is reported for one that has no checkpoint and never stored."""

    NOT_STARTED = "not_started"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class Checkpoint(msgspec.Struct):
    """A checkpoint file, with exactly the sheet's fields. A line is a record, in Kafka."""

    source_file: str
    last_processed_line: int = 0
    last_processed_msg_id: str = ""
    last_processed_timestamp: int = 0
    processed_record_count: int = 0
    checkpoint_time: str = ""
    status: Status = Status.PROCESSING
    error_message: str = ""


class CheckpointBusyError(Exception):
    """Another process holds a checkpoint's lock, perhaps stopped in the middle: report another time."""


class CheckpointFile:
    """`<name>_checkpoint.json` in a directory, and the lock under which it is read and replaced."""

    def __init__(self, directory: pathlib.Path, name: str) -> None:
        self.path = directory / f"{name}{SUFFIX}"
        self._lock = directory / f".{name}_checkpoint.lock"

    def read(self) -> Checkpoint | None:
        """The stored checkpoint; None where there is none, or none that can be read (LAKE-70)."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Checkpoint)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def read_or_new(self, source: str) -> Checkpoint:
        """The stored checkpoint, else one at the start."""
        return self.read() or Checkpoint(source)

    @contextlib.contextmanager
    def locked(self, patience_s: float) -> Iterator[None]:
        """Nobody else reads to replace it meanwhile. Raises CheckpointBusyError after `patience_s`, OSError."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a") as file:
            end = time.monotonic() + patience_s
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise CheckpointBusyError(f"{self.path} is held by another process") from None
                    time.sleep(_RETRY_S)
                else:
                    break
            yield

    def write(self, checkpoint: Checkpoint, now: datetime.datetime) -> None:
        """Replaces the file at once, durably. To be called within `locked`. Raises OSError."""
        checkpoint.checkpoint_time = now.isoformat(timespec="seconds").replace("+00:00", "Z")
        content = msgspec.json.encode(checkpoint)
        try:
            write_durably(self.path, [content])
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.path.exists():
                raise
            self._write_over(content)

    def _write_over(self, content: bytes) -> None:
        # No space for a second file beside: that of the first one still says so. Torn, it counts as none.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def checkpoint_of(journal: pathlib.Path, checkpoint_dir: pathlib.Path) -> Checkpoint:
    """Where a journal stands as its checkpoint says; `not_started` without one."""
    file = CheckpointFile(checkpoint_dir, name_for(journal, checkpoint_dir, ""))
    return file.read() or Checkpoint(str(journal), status=Status.NOT_STARTED)


def name_for(journal: pathlib.Path, directory: pathlib.Path, door: str) -> str:
    """The checkpoint's name: the journal's stem, with `@<door>` for a former door, and where another journal's file
    has that name."""
    name = journal.stem
    if is_former(journal.parent):
        return f"{name}@{door}"
    stored = CheckpointFile(directory, name).read()
    if stored is not None and door:
        other = pathlib.Path(stored.source_file)
        # One whose journal is gone was moved with it, or seen by another path.
        if other.is_absolute() and other.is_file() and not (journal.exists() and other.samefile(journal)):
            return f"{name}@{door}"
    return name


def is_former(directory: pathlib.Path) -> bool:
    """Whether journals there are those of a former door, after which the directory is named."""
    return directory.parent.parts[-2:] == FORMER.parts
