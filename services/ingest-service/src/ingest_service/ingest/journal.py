"""A journal that is given by its path: who it is, and its lines in batches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ingest_service.errors import BadArgumentError, NotFoundError
from ingest_service.land.checkpoint import is_former
from millrace_ports.bus.embedded import WEBHOOK_MESSAGES
from millrace_ports.bus.embedded_consumer import chunk_of
from millrace_ports.bus.port import Chunk, Partition
from millrace_ports.journal import JournalReader, JournalRoot, Lines, closed, day_of
from millrace_ports.journal.root import day_in

_LOCK_WAIT_S = 10.0


def journal_root(path: Path) -> JournalRoot:
    """A directory of journals; that of a former door is named after it."""
    return JournalRoot(path, door=path.name if is_former(path) else None)


@dataclass(frozen=True, slots=True)
class Journal:
    """One day journal of a root. The root's identity, its door, is kept in it and names the lines for ever."""

    root: JournalRoot
    day: str

    @classmethod
    def at(cls, path: Path) -> Journal:
        """The journal at a path. Raises BadArgumentError (its name is no day), NotFoundError."""
        path = path.expanduser().absolute()
        day = day_in(path.name)
        if day is None:
            raise BadArgumentError(
                f"{path}: a journal is named after the UTC day on which its lines came in, YYYY-MM-DD.jsonl",
                source=path,
            )
        if not path.is_file():
            raise NotFoundError(f"{path}: no such journal", source=path)
        return cls(journal_root(path.parent), day)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.root.file(self.day)

    @property
    def partition(self) -> Partition:
        """Its name in the lake's positions. Raises StorageUnavailableError when the root has no identity yet
        and takes none."""
        return Partition(WEBHOOK_MESSAGES, f"{self.root.door}/{self.day}")

    def ends_at(self, line: int) -> bool:
        """Whether that is its last whole line, or its last one at all, as it is now. Raises OSError."""
        reader = JournalReader(self.root, self.day)
        try:
            return reader.seek(line) == line and reader.ahead() == 0
        finally:
            reader.close()

    def sync(self) -> None:
        """What was read of it survives a power cut: before the lake stores a position past that. Raises OSError."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


class JournalLines:
    """The lines of a journal after a position, in batches, to the last whole one (LAKE-33, LAKE-34).

    For one thread at a time. Holds one batch and one block of the file.
    """

    def __init__(self, journal: Journal, *, lines: int, size: int, now_ms: Callable[[], int]) -> None:
        """`lines`, and bytes, that are given out at once at most; a line that is longer comes alone."""
        self._journal = journal
        self._lines_at_once = lines
        self._size_at_once = size
        self._now_ms = now_ms
        self._partition = journal.partition
        self._reader = JournalReader(journal.root, journal.day)

    def seek(self, position: int) -> int:
        """Goes to that many lines from the start; returns the lines there are when they are fewer.

        Raises OSError.
        """
        return self._reader.seek(position)

    def next(self) -> list[Chunk]:
        """The next batch, empty at the end. Raises ReplacedError, OSError, PortError."""
        chunks: list[Chunk] = []
        rows, size = self._lines_at_once, self._size_at_once
        while rows > 0 and size > 0:
            lines = self._read(rows, size, alone=not chunks)
            if lines is None:
                break
            rows -= len(lines.values)
            size -= lines.size
            chunks.append(chunk_of(self._partition, lines))
        return chunks

    def close(self) -> None:
        """Closes the file."""
        self._reader.close()

    def _read(self, rows: int, size: int, *, alone: bool) -> Lines | None:
        lines = self._reader.read(max_records=rows, max_bytes=size, alone=alone)
        if lines is not None or self._reader.end() is None or self._journal.day >= day_of(self._now_ms()):
            return lines
        # Of a day that is over the last line counts also without an end, once no writer can add to it.
        end = closed(self._journal.root, self._journal.day, now_ms=self._now_ms, wait_s=_LOCK_WAIT_S)
        lines = self._reader.read(max_records=rows, max_bytes=size, alone=alone)
        if lines is not None or end is None or self._reader.end() is None:
            return lines
        return self._reader.read_tail(end)
