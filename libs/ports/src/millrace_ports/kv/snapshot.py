"""The file in which the embedded store outlives its process, and the lock that makes the process the only one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from millrace_ports.journal.durable import make_directories, sync_directory
from millrace_ports.kv.errors import KvError, KvRefusedError

Value = bytes | tuple[int, ...]
"""A plain value, or the moments (Unix ms, oldest first) of the events that `Kv.admit` counted."""

_FORMAT = 1


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What a key holds; `expires_ms` is Unix time."""

    value: Value
    expires_ms: int | None = None


class _Content(msgspec.Struct, frozen=True):
    format: int
    entries: dict[str, Entry]


class SnapshotFile:
    """`DIRECTORY/kv.snapshot`, read at the start and replaced whole; `DIRECTORY/.lock` is held meanwhile."""

    def __init__(self, directory: Path) -> None:
        """Take the directory. Raises KvRefusedError when another store has it, KvError (retryable)."""
        self._file = directory / "kv.snapshot"
        try:
            make_directories(directory)
            self._lock = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unavailable(error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise KvRefusedError(
                f"MILLRACE_KV: {directory} is in use by another process; give each its own, or use redis://"
            ) from None

    def read(self) -> dict[str, Entry]:
        """What was stored last, {} at the first start. Raises KvRefusedError for a file that is no snapshot."""
        try:
            content = msgspec.msgpack.decode(self._file.read_bytes(), type=_Content)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unavailable(error) from error
        except msgspec.DecodeError as error:
            raise KvRefusedError(
                f"MILLRACE_KV: {self._file} is not a snapshot ({error}); move it away to begin empty"
            ) from error
        if content.format != _FORMAT:
            raise KvRefusedError(f"MILLRACE_KV: {self._file} has format {content.format}, not {_FORMAT}")
        return content.entries

    def write(self, entries: Mapping[str, Entry]) -> None:
        """Replace the snapshot, durably. Raises KvError (retryable): then the old one is still there."""
        temporary = self._file.with_name(".kv.snapshot.tmp")
        content = msgspec.msgpack.encode(_Content(_FORMAT, dict(entries)))
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self._file)
            sync_directory(self._file.parent)
        except OSError as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Let another process have the directory."""
        os.close(self._lock)


def _unavailable(error: OSError) -> KvError:
    return KvError(f"key-value store: {error}", retryable=True)
