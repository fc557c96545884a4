"""Trace contexts of sampled lines, kept beside a day journal because a journal line is the bare payload.

`.YYYY-MM-DD.traces` holds one entry for every line that somebody follows: its number, its byte and its W3C
`traceparent` in version 00. As the receive times it is a hint, written unsynced before the line itself: whoever reads
the line finds its context, as often as it is read, and a power cut costs a trace, never a line.
"""

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace_ports.journal.sidecar import end_of_entries, entries_from

_LENGTH = 55
ENTRY = struct.Struct(f"<QQ{_LENGTH}sx")


def write(
    descriptor: int, traceparents: Mapping[int, str], lines: Sequence[bytes], first_line: int, byte: int
) -> None:
    """Add the contexts of `lines` that have one, by their index; the first line gets the number `first_line` and
    begins at `byte`. A context of another length than that of version 00 is left out. Raises OSError.
    """
    entries = []
    for index, line in enumerate(lines):
        traceparent = traceparents.get(index, "").encode("ascii", "replace")
        if len(traceparent) == _LENGTH:
            entries.append(ENTRY.pack(first_line + index, byte, traceparent))
        byte += len(line) + 1
    os.pwrite(descriptor, b"".join(entries), end_of_entries(descriptor, ENTRY))


def drop_stale(descriptor: int, size: int) -> None:
    """Remove the last entries of lines that a journal of `size` bytes does not have: it has lost them, or never got
    them, and their numbers go to other lines. Raises OSError.
    """
    kept = end = end_of_entries(descriptor, ENTRY)
    while kept > 0 and ENTRY.unpack(os.pread(descriptor, ENTRY.size, kept - ENTRY.size))[1] >= size:
        kept -= ENTRY.size
    if kept < end:
        os.ftruncate(descriptor, kept)


class Traceparents:
    """Contexts of the lines of one journal, asked for in rising order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._ahead: list[tuple[Any, ...]] = []
        self._next = 0

    def of(self, first_line: int, count: int, size: int) -> dict[int, str]:
        """The contexts, by line, of `count` lines from `first_line` on; they lie in the first `size` bytes."""
        found: dict[int, str] = {}
        end = first_line + count
        while self._next < len(self._ahead) or self._load(size):
            line, _, traceparent = self._ahead[self._next]
            if line >= end:
                break
            if line >= first_line:
                found[line] = traceparent.decode("ascii", "replace")
            self._next += 1
        return found

    def _load(self, size: int) -> bool:
        self._ahead = entries_from(self._path, self._offset, size, ENTRY)
        self._offset += len(self._ahead) * ENTRY.size
        self._next = 0
        return bool(self._ahead)
