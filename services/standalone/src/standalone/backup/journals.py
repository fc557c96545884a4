"""Journals at one moment: their lengths are taken while nobody appends, and that much of them is copied."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from millrace_ports.journal import JournalRoot
from millrace_ports.journal.lock import FileLock
from standalone.backup.staging import Source

_LOCK_WAIT_S: Final = 10.0
_BLOCK: Final = 1 << 16


def sources(root: JournalRoot, *, growing: bool, whole_lines: bool = False) -> dict[str, Source]:
    """The files of a journal root by their names: identity, journals, receive times.

    `growing`: a door may append, and is kept waiting for the moment of looking, so that every line in it is durable
    and none is half. `whole_lines`: somebody appends without the lock too, so what follows the last line end is left.
    Raises OSError, LockTimeoutError.
    """
    found: dict[str, Source] = {}
    # Whoever has ever appended has made the lock; making it here would make it ours, who may be another user.
    with _locked(root) if growing and root.lock_path.exists() else nullcontext():
        for path in (root.path / ".door", *(path for day in root.days() for path in _of_day(root, day))):
            if path.exists():
                found[path.name] = Source(path, path.stat().st_size)
    if whole_lines:
        for day in root.days():
            name = root.file(day).name
            if name in found:
                found[name] = Source(found[name].path, _line_end(found[name]))
    return found


def _of_day(root: JournalRoot, day: str) -> tuple[Path, Path]:
    return root.file(day), root.sidecar(day)


@contextmanager
def _locked(root: JournalRoot) -> Iterator[None]:
    lock = FileLock(root.lock_path)
    lock.acquire(_LOCK_WAIT_S)
    try:
        yield
    finally:
        lock.close()


def _line_end(source: Source) -> int:
    """Byte after the last line end within the source."""
    with source.path.open("rb", buffering=0) as file:
        end = source.size
        while end > 0:
            begin = max(0, end - _BLOCK)
            block = os.pread(file.fileno(), end - begin, begin)
            if (at := block.rfind(b"\n")) >= 0:
                return begin + at + 1
            end = begin
    return 0
