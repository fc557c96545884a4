"""The request log: one JSON record per POST, written in batches off the event loop (`LAKE-16`).

It helps to find things and is not the store: it is not synced, and no record holds any of a body.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import msgspec

from ingest_service.accept.rejects import iso_ms

_BATCH_S = 0.01  # short, so that encoding a batch does not keep the event loop waiting
_RETRY_S = 0.5
_MAX_WAITING = 50_000
_SECRET = ("authorization", "cookie", "api-key", "apikey", "token", "secret", "password", "signature")

_encode = msgspec.json.Encoder().encode


class Headers(Protocol):
    """Header names in lower case, with their values."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Pairs; a repeated header comes repeatedly."""
        ...


@dataclass(slots=True)
class RequestRecord:
    """One POST. Secrets among the headers are blotted out when the record is written."""

    request_id: str
    received_at_ms: int
    client_ip: str | None
    method: str
    path: str
    headers: Headers
    body_length: int
    content_type: str | None
    parse_error: str | None
    status: int
    processing_time_ms: float


class RequestLog:
    """Writes records to a file that rotates at `max_bytes`, with `backups` old ones kept as `.1` (newest) on.

    While the file cannot be written up to 50,000 records wait and `error` says why; further ones are dropped
    and counted, and writing is tried again twice a second.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        backups: int,
        dropped: Callable[[], None] = lambda: None,
        secret_headers: Collection[str] = (),
    ) -> None:
        """`secret_headers`: names in lower case of more headers whose values are blotted out."""
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._dropped = dropped
        self._secret_headers = frozenset(secret_headers)
        self._waiting: deque[RequestRecord] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._descriptor = -1
        self._size = 0
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        """Why the last write failed; None when it worked."""
        return self._error

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)
        self._thread.start()

    def add(self, record: RequestRecord) -> None:
        """Have `record` written soon. Never blocks."""
        if len(self._waiting) >= _MAX_WAITING:
            self._dropped()
            return
        self._waiting.append(record)
        if not self._wake.is_set():
            self._wake.set()

    def check(self) -> str | None:
        """Why the log cannot be written now, None when it can. Blocks."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644))
        except OSError as error:
            return self._text(error)
        return self._error

    def close(self) -> None:
        """Write what waits and end the thread. Blocks."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        lines: list[bytes] = []
        while True:
            self._wake.wait()
            self._wake.clear()  # before the look at `_stop`: cleared after it, a close in between would wake nobody
            stopping = self._stop.wait(_RETRY_S if self._error else _BATCH_S)
            while self._waiting and len(lines) < _MAX_WAITING:
                lines.append(_line(self._waiting.popleft(), self._secret_headers))
            try:
                self._write(lines)
                self._error = None
                lines = []
            except OSError as error:
                self._error = self._text(error)
                self._close_file()
                self._wake.set()  # try again without being asked
            if stopping:
                self._close_file()
                return

    def _write(self, lines: list[bytes]) -> None:
        self._open()
        batch: list[bytes] = []
        for line in lines:
            if self._size and self._size + len(line) > self._max_bytes:
                self._append(batch)
                batch = []
                self._rotate()
            batch.append(line)
            self._size += len(line)
        self._append(batch)

    def _open(self) -> None:
        """Open the file, anew when somebody else has moved it away."""
        if self._descriptor >= 0:
            held = os.fstat(self._descriptor)
            try:
                named = self._path.stat()
            except FileNotFoundError:
                named = None
            if named is not None and (named.st_ino, named.st_dev) == (held.st_ino, held.st_dev):
                return
            self._close_file()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._descriptor).st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            self._append([b"\n"])  # end what a crash or a full disk left

    def _append(self, lines: list[bytes]) -> None:
        if lines:
            data = b"".join(lines)
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, memoryview(data)[written:])

    def _rotate(self) -> None:
        self._close_file()
        for number in range(self._backups, 0, -1):
            newer = self._backup(number - 1)
            if newer.exists():
                newer.replace(self._backup(number))
        self._path.unlink(missing_ok=True)
        self._open()

    def _backup(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _close_file(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _text(self, error: OSError) -> str:
        return f"write request log {self._path}: {error.strerror or error}"


class _Line(msgspec.Struct, gc=False):
    event: str
    timestamp: str
    request_id: str
    client_ip: str | None
    method: str
    path: str
    status: int
    headers: dict[str, str]
    body_length: int
    content_type: str | None
    parse_error: str | None
    processing_time_ms: float


def _line(record: RequestRecord, secret: Collection[str]) -> bytes:
    line = _Line(
        "request",
        iso_ms(record.received_at_ms),
        record.request_id,
        record.client_ip,
        record.method,
        record.path,
        record.status,
        safe_headers(record.headers.items(), secret),
        record.body_length,
        record.content_type,
        record.parse_error,
        round(record.processing_time_ms, 3),
    )
    return _encode(line) + b"\n"


def safe_headers(headers: Iterable[tuple[str, str]], secret: Collection[str] = ()) -> dict[str, str]:
    """Headers by lower-case name, repeated ones joined, values that may be secrets, or of `secret`, blotted out."""
    safe: dict[str, str] = {}
    for name, value in headers:
        shown = "***" if name in secret or _may_be_secret(name) else value
        safe[name] = f"{safe[name]}, {shown}" if name in safe else shown
    return safe


@lru_cache(maxsize=256)
def _may_be_secret(name: str) -> bool:
    return any(part in name for part in _SECRET)
