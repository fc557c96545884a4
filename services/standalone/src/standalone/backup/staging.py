"""Copies of files with their checksums, below a directory that is no backup yet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from standalone.backup.errors import BackupError
from standalone.backup.manifest import Entry

Advance = Callable[[int], None]
"""Told of bytes that were copied."""

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""`progress(part, bytes)` around the copying of a part."""

_BLOCK: Final = 1 << 20
_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class Source:
    """The first `size` bytes of a file; `whole`: it has no more, and never did."""

    path: Path
    size: int
    whole: bool = False


class Staging:
    """What is copied so far. `entries` has every file by its place below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, Entry] = {}

    def copy_all(self, sources: Mapping[str, Source], advance: Advance) -> None:
        """Copy those that are not there yet, some at a time. Raises FileNotFoundError, OSError, BackupError."""
        missing = [(name, source) for name, source in sources.items() if name not in self.entries]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="copy") as threads:
            done = [threads.submit(self.copy, name, source, advance) for name, source in missing]
            try:
                for each in done:
                    each.result()
            except BaseException:
                threads.shutdown(wait=True, cancel_futures=True)
                raise

    def copy(self, name: str, source: Source, advance: Advance = lambda count: None) -> None:
        """Copy one file to `name`. Raises BackupError when it is shorter or, being whole, of another size."""
        target = self.place(name)
        with source.path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if status.st_size < source.size or (source.whole and status.st_size != source.size):
                raise BackupError(f"{source.path} is damaged: {status.st_size} of {source.size} bytes")
            checksum = copied(source, file.fileno(), target, status.st_mode & 0o777, advance)
        self.entries[name] = Entry(name, source.size, checksum, status.st_mode & 0o777)

    def add(self, name: str) -> None:
        """Take in a file that was made at `place(name)`."""
        path = self.root / name
        status = path.stat()
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        self.entries[name] = Entry(name, status.st_size, checksum, status.st_mode & 0o777)

    def drop(self, name: str) -> None:
        """Remove a copy."""
        del self.entries[name]
        (self.root / name).unlink()

    def place(self, name: str) -> Path:
        """Where the file `name` goes; its directory is there."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def copied(source: Source, descriptor: int, target: Path, mode: int, advance: Advance) -> str:
    """Copy the source, opened as `descriptor`, to a new file with these permission bits; the SHA-256.

    Raises OSError, BackupError when it has become shorter.
    """
    digest = hashlib.sha256()
    left = source.size
    # Nobody else may read a copy of keys, not even until its permissions are set.
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", 0) as out:
        while left and (block := os.read(descriptor, min(_BLOCK, left))):
            digest.update(block)
            view = memoryview(block)
            while view:
                view = view[out.write(view) :]
            left -= len(block)
            advance(len(block))
        os.fchmod(out.fileno(), mode)
    if left:
        raise BackupError(f"{source.path} became {left} bytes shorter while it was copied")
    return digest.hexdigest()
