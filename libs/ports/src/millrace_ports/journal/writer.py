"""Appending to day journals: one lock, one write and one fdatasync for each group of lines."""

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millrace_ports.errors import InvalidRecordError, StorageUnavailableError
from millrace_ports.journal import traceparents as traces
from millrace_ports.journal.durable import make_directories, storage_errors, sync_directory
from millrace_ports.journal.lock import FileLock
from millrace_ports.journal.root import JournalRoot, day_of
from millrace_ports.journal.sidecar import ENTRY, Entry, drop_stale, end_of_entries, last_entry

_BLOCK = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a group of `count` lines is durable: lines `first_line`.. of the journal of `day` at `door`."""

    door: str
    day: str
    first_line: int
    count: int
    received_at_ms: int


NOTHING = Appended(door="", day="", first_line=0, count=0, received_at_ms=0)


class WriteObserver(Protocol):
    """Told about each group; called in the thread that appends, while the lock is held."""

    def before_sync(self, lines: int) -> None:
        """`lines` lines are written and not yet synced."""
        ...

    def after_sync(self, lines: int, seconds: float) -> None:
        """`lines` lines are durable; the sync took `seconds`."""
        ...


class _Unobserved:
    def before_sync(self, lines: int) -> None:
        """Nobody asked."""

    def after_sync(self, lines: int, seconds: float) -> None:
        """Nobody asked."""


@dataclass(slots=True)
class _OpenDay:
    """What the writer knows of the file that it appends to, as of its last append."""

    day: str
    descriptor: int
    index: int  # descriptor of the sidecar, -1 when it cannot be had
    index_end: int
    traces: int  # descriptor of the trace contexts, -1 before there is one
    identity: tuple[int, int]
    size: int
    lines: int
    torn: bool
    received_at_ms: int

    def close(self) -> None:
        for descriptor in (self.descriptor, self.index, self.traces):
            if descriptor >= 0:
                os.close(descriptor)


class JournalWriter:
    """Appends whole lines durably, beside any number of other writers in this and other processes.

    Thread-safe. The UTC day is picked after the lock is taken, so that a past day seen under the lock is
    closed for good. When a write or a sync fails the file is closed and looked at anew before the next
    append: a torn line is ended, nothing is truncated, and no descriptor is synced a second time.
    """

    def __init__(
        self,
        root: JournalRoot,
        *,
        now_ms: Callable[[], int],
        lock_wait_s: float = 10.0,
        observer: WriteObserver | None = None,
    ) -> None:
        self.root = root
        self._now_ms = now_ms
        self._lock_wait_s = lock_wait_s
        self._observer = observer or _Unobserved()
        self._lock = FileLock(root.lock_path)
        self._mine = threading.Lock()
        self._open: _OpenDay | None = None

    def append(self, lines: Sequence[bytes], traceparents: Mapping[int, str] | None = None) -> Appended:
        """Append `lines` (no line feed in any) and return when they are on stable storage.

        An empty sequence does nothing. `traceparents` has the trace contexts of those lines, by their index, that
        are followed; readers are told of them as long as nothing goes wrong (`JournalRoot.traces`).
        Raises InvalidRecordError (checked first, nothing written), LockTimeoutError and StorageUnavailableError: the
        lines may or may not be in the journal; send them again (`LAKE-10`, `LAKE-30`..`LAKE-32`).
        """
        for index, line in enumerate(lines):
            if b"\n" in line:
                raise InvalidRecordError(index, "a journal line holds no line feed")
        if not lines:
            return NOTHING
        with self._mine, storage_errors("append to journal", self.root.path):
            self._enter(self._lock_wait_s)
            try:
                return self._append(lines, traceparents)
            except BaseException:
                self._forget()
                self._lock.look_again()
                raise
            finally:
                self._lock.release()

    def probe(self, *, lock_wait_s: float = 1.0) -> None:
        """Check that an append would succeed now, without leaving a line.

        Raises StorageUnavailableError with the cause.
        """
        with self._mine, storage_errors("append to journal", self.root.path):
            self._enter(lock_wait_s)
            try:
                self._try_out()
            finally:
                self._lock.release()

    def close(self) -> None:
        """Close the files; the next append opens them again."""
        with self._mine:
            self._forget()
            self._lock.close()

    def _enter(self, lock_wait_s: float) -> None:
        try:
            self._lock.acquire(lock_wait_s)
        except FileNotFoundError:
            make_directories(self.root.path)
            self._lock.acquire(lock_wait_s)

    def _append(self, lines: Sequence[bytes], traceparents: Mapping[int, str] | None) -> Appended:
        now_ms = self._now_ms()
        file = self._file_of(day_of(now_ms))
        received_at_ms = max(now_ms, file.received_at_ms)
        parts = [b"", *lines, b""] if file.torn else [*lines, b""]
        data = b"\n".join(parts)
        first_line = file.lines + file.torn + 1
        if file.index >= 0:
            entry = Entry(first_line, file.size + file.torn, received_at_ms)
            with suppress(OSError):  # a hint: without it the lines carry an older time
                if os.pwrite(file.index, ENTRY.pack(*entry), file.index_end) == ENTRY.size:
                    file.index_end += ENTRY.size  # else the next one goes over the torn one
        if traceparents:
            with suppress(OSError):
                traces.write(self._traces(file), traceparents, lines, first_line, file.size + file.torn)
        _write_whole(file.descriptor, data)
        self._observer.before_sync(len(lines))
        started = time.perf_counter()
        os.fdatasync(file.descriptor)
        self._observer.after_sync(len(lines), time.perf_counter() - started)
        file.size += len(data)
        file.lines = first_line + len(lines) - 1
        file.torn = False
        file.received_at_ms = received_at_ms
        return Appended(self.root.door, file.day, first_line, len(lines), received_at_ms)

    def _file_of(self, day: str) -> _OpenDay:
        # A read-only directory refuses here and not only at midnight, when the next file has to be made.
        if not os.access(self.root.path, os.W_OK | os.X_OK):
            raise StorageUnavailableError(f"append to journal {self.root.path}: directory is not writable")
        file = self._open
        if file is not None and file.day == day:
            with suppress(FileNotFoundError):
                named = self.root.file(day).stat()
                if (named.st_ino, named.st_dev) == file.identity:
                    if named.st_size != file.size:  # another writer, or what a crash left
                        _learn(file, self.root.sidecar(day), named.st_size)
                    return file
        self._forget()
        if not self._lock.is_current():
            raise StorageUnavailableError(f"append to journal {self.root.path}: directory was replaced")
        self._open = self._open_day(day)
        return self._open

    def _traces(self, file: _OpenDay) -> int:
        if file.traces < 0:
            file.traces = os.open(self.root.traces(file.day), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return file.traces

    def _open_day(self, day: str) -> _OpenDay:
        _ = self.root.door
        path = self.root.file(day)
        older = day < max(self.root.days(), default="")
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT, 0o644)
            sync_directory(self.root.path)
        index = -1
        with suppress(OSError):
            index = os.open(self.root.sidecar(day), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        contexts = -1
        with suppress(OSError):  # as a rule there are none
            contexts = os.open(self.root.traces(day), os.O_RDWR | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        file = _OpenDay(day, descriptor, index, 0, contexts, (status.st_ino, status.st_dev), 0, 0, False, 0)
        try:
            _learn(file, self.root.sidecar(day), status.st_size)
            if older:
                # The clock went back over midnight. Readers list a directory again when its time changes,
                # and so see that a day that they had finished goes on.
                os.utime(self.root.path)
        except BaseException:
            file.close()
            raise
        return file

    def _try_out(self) -> None:
        if not os.access(self.root.path, os.W_OK | os.X_OK):
            raise StorageUnavailableError(f"append to journal {self.root.path}: directory is not writable")
        path = self.root.file(day_of(self._now_ms()))
        with suppress(FileNotFoundError):
            os.close(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC))
        descriptor = _unnamed_file(self.root.path)
        try:
            _write_whole(descriptor, bytes(4096))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _forget(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _unnamed_file(directory: Path) -> int:
    try:
        # Leaves the directory's modification time alone, by which readers notice new days.
        return os.open(directory, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    trial = directory / f".probe.{os.getpid()}.tmp"
    descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    trial.unlink()
    return descriptor


def _write_whole(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):  # only when space or a limit ends: the next write names the cause
        written += os.write(descriptor, memoryview(data)[written:])


def _learn(file: _OpenDay, sidecar: Path, size: int) -> None:
    """Count the lines of a journal that somebody else has written to, from the last hint on."""
    hint = None
    if file.index >= 0:
        with suppress(OSError):  # a hint, as it is when it is written
            drop_stale(file.index, size)
        hint = last_entry(sidecar, size)
        file.index_end = end_of_entries(file.index)
    if file.traces >= 0:
        with suppress(OSError):
            traces.drop_stale(file.traces, size)
    lines, at, received_at_ms = 0, 0, 0
    if hint is not None:
        received_at_ms = hint.received_at_ms
        if hint.byte == 0 or os.pread(file.descriptor, 1, hint.byte - 1) == b"\n":
            lines, at = hint.line - 1, hint.byte
    while at < size:
        block = os.pread(file.descriptor, min(_BLOCK, size - at), at)
        if not block:
            break
        lines += block.count(b"\n")
        at += len(block)
    file.size = size
    file.lines = lines
    file.torn = size > 0 and os.pread(file.descriptor, 1, size - 1) != b"\n"
    file.received_at_ms = max(file.received_at_ms, received_at_ms)
