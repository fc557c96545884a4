"""Reading day journals forward, in large blocks. Everything here blocks: call it in a thread."""

import os
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from millrace_ports.journal.durable import storage_errors
from millrace_ports.journal.lock import FileLock
from millrace_ports.journal.root import JournalRoot, day_of, midnight_ms
from millrace_ports.journal.sidecar import ReceiveTimes
from millrace_ports.journal.traceparents import Traceparents

_BLOCK = 8 * 1024 * 1024


class ReplacedError(Exception):
    """The journal is another file or shorter than what was read of it; it has `available` lines now."""

    def __init__(self, day: str, available: int) -> None:
        super().__init__(f"journal of {day} was replaced, {available} lines")
        self.day = day
        self.available = available


@dataclass(frozen=True, slots=True)
class Lines:
    """Physical lines of one journal without their ends, the first one being number `start` + 1."""

    start: int
    values: Sequence[bytes]
    received_at_ms: Sequence[int]
    size: int  # bytes, line ends included
    traceparents: Mapping[int, str] | None = None  # by number, of a reader that was asked for them


def closed(root: JournalRoot, day: str, *, now_ms: Callable[[], int], wait_s: float = 0.2) -> int | None:
    """Final size in bytes of a past day's journal, or None while the day lasts.

    A writer picks its day after taking the lock. So a day that is past while we hold the lock gets no line
    any more, unless the clock goes back, which `JournalRoot.path`'s modification time then shows.
    Raises LockTimeoutError, StorageUnavailableError.
    """
    if day >= day_of(now_ms()):
        return None
    with storage_errors("read journal", root.path):
        lock = FileLock(root.lock_path)
        try:
            lock.acquire(wait_s)
            return root.file(day).stat().st_size if day < day_of(now_ms()) else None
        finally:
            lock.close()


class JournalReader:
    """Reads the journal of one day from a line on, while it grows.

    An unterminated last line is not given out before the day is closed (`LAKE-34`). Holds one block of up to
    8 MiB, or one line if that is larger. `traced`: the lines come with the trace contexts that they have.
    """

    def __init__(self, root: JournalRoot, day: str, *, traced: bool = False) -> None:
        self.day = day
        self.position = 0  # lines given out
        self._path = root.file(day)
        self._times = ReceiveTimes(root.sidecar(day), midnight_ms(day))
        self._traceparents = Traceparents(root.traces(day)) if traced else None
        self._descriptor = -1
        self._identity = (0, 0)
        self._byte = 0  # where the next block begins
        self._ready: list[bytes] = []
        self._next = 0
        self._seen = -1  # size at which there was no whole line to read
        self._counted = (0, 0)  # byte and line up to which lines are counted

    def seek(self, position: int) -> int:
        """Go to `position` lines from the start. Returns the lines there are if fewer, and then stays at 0.

        Raises OSError, FileNotFoundError.
        """
        self._open()
        byte, line = self._find(position)
        if line == position:
            self._byte, self.position, self._counted = byte, line, (byte, line)
        return line

    def resume(self, position: int, byte: int) -> int:
        """Go to `position`, known to end at `byte`; returns it. Raises OSError."""
        self._open()
        self._byte, self.position, self._counted = byte, position, (byte, position)
        return position

    def read(self, *, max_records: int, max_bytes: int, alone: bool = True) -> Lines | None:
        """Next lines, or None when there is no whole one yet.

        A line longer than `max_bytes` comes alone, or is held back when `alone` is False.

        Raises ReplacedError, FileNotFoundError (journal removed), OSError.
        """
        if self._next == len(self._ready) and not self._fill(min(_BLOCK, max(max_bytes, 65_536))):
            return None
        whole_block = self._next == 0 and len(self._ready) <= max_records
        values = self._ready if whole_block else self._ready[self._next : self._next + max_records]
        size = sum(map(len, values)) + len(values)
        if size > max_bytes:
            ends = list(accumulate(len(value) + 1 for value in values))
            keep = bisect_right(ends, max_bytes)
            if keep == 0 and not alone:
                return None
            keep = max(1, keep)
            values, size = values[:keep], ends[keep - 1]
        self._next += len(values)
        if self._next == len(self._ready):
            self._ready, self._next = [], 0
        lines = self._lines(values, size, self._byte)
        self.position += len(values)
        return lines

    def read_tail(self, size: int) -> Lines | None:
        """Unterminated last line of a journal that is closed with `size` bytes, or None.

        To be called when `read` gives nothing more. Raises OSError.
        """
        if size <= self._byte:
            return None
        value = _read_whole(self._descriptor, self._byte, size)
        self._byte = size
        lines = self._lines([value], len(value), size)
        self.position += 1
        return lines

    def ahead(self) -> int:
        """Whole lines not given out yet; counts only what was added since the last call. Raises OSError."""
        self._open()
        byte, line = self._counted
        size = os.fstat(self._descriptor).st_size
        while byte < size and (block := os.pread(self._descriptor, min(_BLOCK, size - byte), byte)):
            line += block.count(b"\n")
            byte += len(block)
        self._counted = (byte, line)
        return max(0, line - self.position)

    def end(self) -> int | None:
        """Byte after the last line given out, or None while lines of a block are held back."""
        return None if self._ready else self._byte

    def close(self) -> None:
        """Close the file; `position` stays readable."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lines(self, values: Sequence[bytes], size: int, end: int) -> Lines:
        """The next lines, `values`, with what the sidecars say of them; `end` is where the block ends that has them."""
        first, count = self.position + 1, len(values)
        traceparents = None if self._traceparents is None else self._traceparents.of(first, count, end)
        return Lines(self.position, values, self._times.of(first, count, end), size, traceparents)

    def _open(self) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            status = os.fstat(self._descriptor)
            self._identity = (status.st_ino, status.st_dev)

    def _fill(self, block: int) -> bool:
        """Read whole lines from `_byte` on into `_ready`; False when there is none."""
        self._open()
        named = self._path.stat()
        if (named.st_ino, named.st_dev) != self._identity or named.st_size < self._byte:
            raise ReplacedError(self.day, count_lines(self._path))
        size = named.st_size
        if size in (self._byte, self._seen):
            return False
        data = os.pread(self._descriptor, min(block, size - self._byte), self._byte)
        while b"\n" not in data:
            if self._byte + len(data) >= size:
                self._seen = size
                return False
            # A line longer than a block: double, so that it is not searched over and over.
            data = _read_whole(self._descriptor, self._byte, min(size, self._byte + 2 * len(data)))
        lines = data.split(b"\n")
        rest = lines.pop()
        self._byte += len(data) - len(rest)
        self._ready, self._next = lines, 0
        return True

    def _find(self, position: int) -> tuple[int, int]:
        """Byte after line `position`, and that number; or the end and the number of lines if fewer."""
        byte = line = 0
        while line < position and (block := os.pread(self._descriptor, _BLOCK, byte)):
            found = block.count(b"\n")
            if line + found >= position:
                rest = block.split(b"\n", position - line)[-1]
                return byte + len(block) - len(rest), position
            line += found
            byte += len(block)
        torn = byte > 0 and os.pread(self._descriptor, 1, byte - 1) != b"\n"
        # A last line without an end was consumed only if its day was closed: it counts as a line then.
        return byte, line + torn if line + torn == position else line


def count_lines(path: Path) -> int:
    """Whole lines in a file. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))


def _read_whole(descriptor: int, start: int, end: int) -> bytes:
    parts: list[bytes] = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
