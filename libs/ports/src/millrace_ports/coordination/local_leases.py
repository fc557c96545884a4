"""Leases in a local directory: one host, several processes, no server.

`ROOT/<name>/<token>.lease` holds one acquisition; the highest token is the lease. A file is written
aside, synced and *linked* to its token's name, which only one process can do: taking a lease is a
compare-and-swap without a lock, so a process stopped at any instruction blocks nobody. Renewal and
release replace the holder's own file and then look again whether it is still the highest.

Deadlines are read on CLOCK_BOOTTIME and belong to one boot: after a reboot no lease is valid, while
the tokens go on rising.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import msgspec

from millrace_ports.coordination.errors import CoordinationError, LeaseLostError
from millrace_ports.coordination.port import Lease

_SUFFIX = ".lease"
_RELEASED = 0.0
_READ_ATTEMPTS = 100


class _LeaseFile(msgspec.Struct, frozen=True):
    """What one lease file says."""

    token: int
    holder: str
    deadline: float
    boot_id: str


class LocalLeases:
    """The lease methods of the port on the directory `root` (created when missing). Calls block: make them in a
    thread."""

    def __init__(self, root: Path, *, boottime: Callable[[], float], boot_id: str) -> None:
        self._root = root
        self._boottime = boottime
        self._boot_id = boot_id

    def acquire(self, name: str, ttl_s: float, holder: str) -> Lease | None:
        """See the port."""
        with _translated(name):
            directory = self._directory(name)
            directory.mkdir(parents=True, exist_ok=True)
            current = self._newest(name)
            now = self._boottime()
            if current is not None and self._valid(current, now):
                return None
            token = 1 if current is None else current.token + 1
            lease = Lease(name, token, holder, ttl_s, now + ttl_s)
            staged = self._stage(lease)
            try:
                os.link(staged, self._file(name, token))
            except FileExistsError:
                return None  # somebody else took this token first
            finally:
                staged.unlink()
            _sync_directory(directory)
            if self._newest_token(name) != token:
                # Paused between looking and linking while later tokens came and ours was tidied away.
                self._file(name, token).unlink(missing_ok=True)
                return None
            self._tidy(name, below=token)
            return lease if self._boottime() < lease.deadline else None

    def renew(self, lease: Lease) -> Lease:
        """See the port."""
        with _translated(lease.name):
            before = self._held(lease)
            renewed = replace(lease, deadline=self._boottime() + lease.ttl_s)
            self._replace(renewed)
            # A rival that read the file before it was replaced saw the old deadline. Only if that has
            # still not passed is it certain that no such rival took the lease for expired.
            if self._newest_token(lease.name) != lease.token or self._boottime() >= before.deadline:
                raise LeaseLostError(lease.name, lease.token)
            return renewed

    def check(self, lease: Lease) -> None:
        """See the port."""
        with _translated(lease.name):
            self._held(lease)

    def _held(self, lease: Lease) -> _LeaseFile:
        """The lease's entry as it stands. Raises LeaseLostError when it is expired or not the newest."""
        current = self._newest(lease.name)
        if current is None or current.token != lease.token or not self._valid(current, self._boottime()):
            raise LeaseLostError(lease.name, lease.token)
        return current

    def release(self, lease: Lease) -> None:
        """See the port."""
        with _translated(lease.name):
            if self._newest_token(lease.name) == lease.token:
                self._replace(replace(lease, deadline=_RELEASED))

    def _valid(self, entry: _LeaseFile, now: float) -> bool:
        return entry.boot_id == self._boot_id and now < entry.deadline

    def _newest(self, name: str) -> _LeaseFile | None:
        """The entry with the highest token; another attempt when it is tidied away while being read."""
        for _ in range(_READ_ATTEMPTS):
            token = self._newest_token(name)
            if token is None:
                return None
            file = self._file(name, token)
            try:
                return msgspec.json.decode(file.read_bytes(), type=_LeaseFile)
            except FileNotFoundError:
                continue
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise CoordinationError(f"{file} is not a lease file: {error}") from error
        raise CoordinationError(f"lease {name!r} changes hands too fast to be read", retryable=True)

    def _newest_token(self, name: str) -> int | None:
        tokens = [
            int(file.name.removesuffix(_SUFFIX))
            for file in self._directory(name).glob(f"*{_SUFFIX}")
            if file.name.removesuffix(_SUFFIX).isdecimal()
        ]
        return max(tokens, default=None)

    def _tidy(self, name: str, *, below: int) -> None:
        for file in self._directory(name).glob(f"*{_SUFFIX}"):
            token = file.name.removesuffix(_SUFFIX)
            if token.isdecimal() and int(token) < below:
                file.unlink(missing_ok=True)

    def _replace(self, lease: Lease) -> None:
        self._stage(lease).replace(self._file(lease.name, lease.token))
        _sync_directory(self._directory(lease.name))

    def _stage(self, lease: Lease) -> Path:
        """Write the lease to a synced temporary file beside its place."""
        entry = _LeaseFile(lease.token, lease.holder, lease.deadline, self._boot_id)
        staged = self._directory(lease.name) / f".{uuid.uuid4().hex}.tmp"
        with staged.open("xb") as stream:
            stream.write(msgspec.json.encode(entry))
            stream.flush()
            os.fsync(stream.fileno())
        return staged

    def _directory(self, name: str) -> Path:
        return self._root / quote(name, safe="").replace(".", "%2E")

    def _file(self, name: str, token: int) -> Path:
        return self._directory(name) / f"{token}{_SUFFIX}"


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn the file system's errors into the port's: worth another try, since disks fill and empty."""
    try:
        yield
    except OSError as error:
        raise CoordinationError(f"lease {name!r}: {error}", retryable=True) from error
