"""Making files of ours and of the Delta library durable: the library itself never syncs."""

from __future__ import annotations

import ctypes
import os
import pathlib
from collections.abc import Callable, Iterable

_libc = ctypes.CDLL(None, use_errno=True)


def sync_file_system(path: pathlib.Path) -> None:
    """syncfs of the file system that holds `path`; OSError when the kernel reports a failed write."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def sync_directory(path: pathlib.Path) -> None:
    """fsync of a directory: the names in it are durable afterwards."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(
    path: pathlib.Path,
    parts: Iterable[bytes | memoryview],
    *,
    before_rename: Callable[[pathlib.Path], None] | None = None,
) -> None:
    """Replaces a file whole: written beside under a `.tmp` name, synced, renamed, directory synced (LAKE-66).

    `before_rename` is given the file that is to be renamed: nobody else replaces that one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        if before_rename is not None:
            before_rename(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def drop_abandoned(path: pathlib.Path) -> None:
    """Removes what processes left that were killed while they replaced `path`; nobody may be writing it now."""
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        temporary.unlink(missing_ok=True)
