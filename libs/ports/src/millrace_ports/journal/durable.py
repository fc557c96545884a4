"""File operations that last: directories synced, files replaced whole, errors in the words of the port."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace_ports.errors import StorageUnavailableError


@contextmanager
def storage_errors(operation: str, path: Path) -> Iterator[None]:
    """Turn an OSError into StorageUnavailableError that names the operation, the file and the cause.

    `path` is named when the error names none.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise StorageUnavailableError(f"{operation} {where}: {error.strerror or error}") from error


def sync_directory(path: Path) -> None:
    """Make names created in or removed from `path` survive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path) -> None:
    """Create `path` and its parents, each one's name synced in its parent. Raises OSError."""
    if path.is_dir():
        return
    make_directories(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
    sync_directory(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: readers see the old file or the new one. Raises OSError."""
    make_directories(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
