"""The data directory of one installation: its layout, its version, its single owner."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LAYOUT_VERSION = "1"
OPTION = "MILLRACE_DATA / --data"

# What is written and synced on start to see that the disk takes data: one journal group, roughly.
_PROBE_BYTES = 64 * 1024


class DataDirectoryError(Exception):
    """The data directory cannot be used. The text names it and the option, and says why."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Places below the root, as LAKE section 1 fixes them."""

    root: Path

    @property
    def raw(self) -> Path:
        return self.root / "messages/raw"

    @property
    def rejected(self) -> Path:
        return self.root / "messages/rejected"

    @property
    def lake(self) -> Path:
        return self.root / "parquet"

    @property
    def metadata(self) -> Path:
        return self.root / "metadata"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def credentials(self) -> Path:
        return self.root / "credentials.json"

    @property
    def version(self) -> Path:
        return self.metadata / "version"


@contextmanager
def owned(root: Path) -> Iterator[DataDirectory]:
    """The directory, made if it is missing, and nobody else's until the block is left.

    The owner holds a lock on `metadata/.standalone.lock`; the kernel frees it however the process ends.
    Raises DataDirectoryError: in use, of another version, read-only, full, not a directory.
    """
    directory = DataDirectory(root)
    try:
        directory.metadata.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory.metadata / ".standalone.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(lock, root)
            _check_version(directory)
            for place in (directory.raw, directory.rejected, directory.lake, directory.logs):
                place.mkdir(parents=True, exist_ok=True)
            _check_writable(directory)
            if not directory.version.exists():
                write_durably(directory.version, f"{LAYOUT_VERSION}\n".encode())
        except BaseException:
            os.close(lock)
            raise
    except OSError as error:
        raise DataDirectoryError(
            f"cannot use the data directory {root}: {_reason(error)}; "
            f"choose another with {OPTION}, or mend this one"
        ) from error
    try:
        yield directory
    finally:
        os.close(lock)


def write_durably(path: Path, content: bytes) -> None:
    """Replaces the file at once: other processes and a crash see the old content or the new."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _lock(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
        raise DataDirectoryError(
            f"the data directory {root} is in use by another `millrace up`"
            f"{f' (process {holder})' if holder else ''}; stop it, or choose another with {OPTION}"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _check_version(directory: DataDirectory) -> None:
    try:
        found = directory.version.read_text(errors="replace").strip()
    except FileNotFoundError:
        return
    if found != LAYOUT_VERSION:
        raise DataDirectoryError(
            f"the data directory {directory.root} has layout version {found[:20]!r}, this Millrace reads "
            f"version {LAYOUT_VERSION!r}: use the Millrace that wrote it, or choose another with {OPTION}"
        )


def _check_writable(directory: DataDirectory) -> None:
    """Raises OSError where a journal could not be written: each place may be a mount of its own."""
    for place in (directory.root, directory.raw, directory.rejected, directory.lake, directory.metadata):
        probe = place / ".probe.tmp"
        try:
            write_durably(probe, bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
            probe.with_name(f".{probe.name}.tmp").unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "no space left on it"
        case errno.EROFS:
            return "its file system is read-only"
        case errno.EACCES | errno.EPERM:
            return f"no permission to write {error.filename or 'there'}"
        case errno.EEXIST | errno.ENOTDIR:
            return f"{error.filename} is not a directory"
        case _:
            return error.strerror or str(error)
