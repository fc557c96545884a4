"""A journal root: one directory of day journals, one line per payload, shared by all who append there."""

import os
import re
import secrets
from datetime import UTC, date, datetime
from pathlib import Path

from millrace_ports.journal.durable import make_directories, storage_errors, sync_directory

DAY_MS = 86_400_000
SUFFIX = ".jsonl"
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})\.jsonl")


def day_of(now_ms: int) -> str:
    """UTC day of a moment, `YYYY-MM-DD`, whatever the host's time zone."""
    return datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y-%m-%d")


def midnight_ms(day: str) -> int:
    """Unix milliseconds at which the UTC `day` began."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000


class JournalRoot:
    """Names and identity of one journal directory (`LAKE-1`, `LAKE-30`). Making one touches no disk.

    `door` is its identity where that is known: of a directory that is named after its door.
    """

    def __init__(self, path: Path, *, door: str | None = None) -> None:
        self.path = path
        self.lock_path = path / ".lock"
        self._door = door

    @property
    def door(self) -> str:
        """Identity of this root, made once and kept in `.door`; the same for all processes.

        Raises StorageUnavailableError when it can be neither read nor made.
        """
        if self._door is None:
            with storage_errors("read the identity of journal", self.path / ".door"):
                self._door = self._read_door() or self._make_door()
        return self._door

    def days(self) -> list[str]:
        """Days that have a journal, oldest first; empty when the directory is not there."""
        try:
            names = [entry.name for entry in os.scandir(self.path)]
        except FileNotFoundError:
            return []
        return sorted(day for name in names if (day := day_in(name)))

    def file(self, day: str) -> Path:
        """Journal of `day`."""
        return self.path / f"{day}{SUFFIX}"

    def sidecar(self, day: str) -> Path:
        """Receive times of the journal of `day`: a hint, never data."""
        return self.path / f".{day}.idx"

    def traces(self, day: str) -> Path:
        """Trace contexts of sampled lines of the journal of `day`: a hint too."""
        return self.path / f".{day}.traces"

    def _read_door(self) -> str | None:
        try:
            return (self.path / ".door").read_text("ascii").strip() or None
        except FileNotFoundError:
            return None

    def _make_door(self) -> str:
        # Linked into place with its content: of several processes that start together one wins, and all read
        # the winner's name.
        make_directories(self.path)
        temporary = self.path / f".door.{secrets.token_hex(8)}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(descriptor, f"door-{secrets.token_hex(8)}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            (self.path / ".door").hardlink_to(temporary)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        sync_directory(self.path)
        return self._read_door() or ""


def day_in(name: str) -> str | None:
    """UTC day of a journal's file name, None for any other name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        date.fromisoformat(found[1])
    except ValueError:
        return None
    return found[1]
