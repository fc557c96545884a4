"""Receive times of a day journal, kept beside it because a journal line is the bare payload.

`.YYYY-MM-DD.idx` holds one entry of three little-endian uint64 for every group appended: first line of the
group, its byte, Unix ms of receipt. It is written unsynced, before the group itself, so that whoever reads
the line finds its time. A missing, short or torn sidecar costs exact times only, never a line.
"""

import os
import struct
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

ENTRY = struct.Struct("<QQQ")
_BLOCK = ENTRY.size * 65_536  # of entries of any kind; what is not whole is read again


class Entry(NamedTuple):
    """`line` and everything after it up to the next entry was received at `received_at_ms`."""

    line: int
    byte: int
    received_at_ms: int


def last_entry(path: Path, size: int) -> Entry | None:
    """Newest entry that fits a journal of `size` bytes; None when there is none. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        at = os.fstat(descriptor).st_size // ENTRY.size * ENTRY.size
        while at > 0:
            at -= ENTRY.size
            entry = Entry(*ENTRY.unpack(os.pread(descriptor, ENTRY.size, at)))
            if 0 < entry.line <= entry.byte + 1 and entry.byte <= size:
                return entry
    finally:
        os.close(descriptor)
    return None


def end_of_entries(descriptor: int, entry: struct.Struct = ENTRY) -> int:
    """Byte after the last whole entry, where the next one goes: over a torn one if need be. Raises OSError."""
    size = os.fstat(descriptor).st_size
    return size - size % entry.size


def drop_stale(descriptor: int, size: int) -> None:
    """Remove the last entries that tell of bytes beyond a journal of `size` bytes: it has lost lines since.

    Left in place they would give their times to the lines that come there now. Raises OSError.
    """
    kept = end = end_of_entries(descriptor)
    while kept > 0 and Entry(*ENTRY.unpack(os.pread(descriptor, ENTRY.size, kept - ENTRY.size))).byte > size:
        kept -= ENTRY.size
    if kept < end:
        os.ftruncate(descriptor, kept)


class ReceiveTimes:
    """Times of the lines of one journal, asked for in rising order; holds one block of entries at a time."""

    def __init__(self, path: Path, default_ms: int) -> None:
        """`default_ms` is the time of lines that no entry covers: the day's midnight."""
        self._path = path
        self._offset = 0
        self._ahead: list[tuple[Any, ...]] = []
        self._next = 0
        self._current_ms = default_ms

    def of(self, first_line: int, count: int, size: int) -> list[int]:
        """Unix ms of `count` lines from `first_line` on, never falling; they lie in the first `size` bytes.

        Entries of bytes beyond are not looked at yet: until their lines are there, others may take their place.
        """
        times: list[int] = []
        line, end = first_line, first_line + count
        more = True
        while line < end:
            if self._next == len(self._ahead) and more:
                more = self._load(size)
                continue
            until = end
            if self._next < len(self._ahead):
                starts, _, received_at_ms = self._ahead[self._next]
                if starts <= line:
                    # Zeros left by a crash start at line 0 with time 0 and change nothing here.
                    self._current_ms = max(self._current_ms, received_at_ms)
                    self._next += 1
                    continue
                until = min(end, starts)
            times += [self._current_ms] * (until - line)
            line = until
        return times

    def _load(self, size: int) -> bool:
        self._ahead = entries_from(self._path, self._offset, size, ENTRY)
        self._offset += len(self._ahead) * ENTRY.size
        self._next = 0
        return bool(self._ahead)


def entries_from(path: Path, offset: int, size: int, entry: struct.Struct) -> list[tuple[Any, ...]]:
    """Some entries of a sidecar from a byte of it on, up to the first that tells of a byte, its second value,
    beyond a journal of `size` bytes; [] where the file cannot be read, for it holds nothing but hints."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            block = os.pread(descriptor, _BLOCK, offset)
        finally:
            os.close(descriptor)
    except OSError:
        return []
    whole = len(block) - len(block) % entry.size
    return list(takewhile(lambda found: found[1] < size, entry.iter_unpack(memoryview(block)[:whole])))
