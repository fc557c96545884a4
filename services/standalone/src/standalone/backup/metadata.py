"""What lies in `metadata/`: databases, the relay's positions, coordination, marks. Caches and reports are left out."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from standalone.backup.errors import BackupError
from standalone.backup.staging import Source, Staging

_MADE_ANEW: Final = frozenset(
    {"key_index", "checkpoints", "offsets", "durable.json", "archive_durable.json", "partitions.json"}
)
"""The key index from the tables, reports by whoever writes them, the marks of what is durable by the restore."""

_LEFT: Final = frozenset({"quarantine"})
"""What recovery has laid aside, for a person to look at."""

_SQLITE: Final = b"SQLite format 3\0"
_SQLITE_BESIDE: Final = ("-wal", "-shm", "-journal")
_BUSY_S: Final = 30.0


def copy_metadata(directory: Path, staging: Staging) -> None:
    """Copy the directory to `metadata/`; SQLite databases by their own backup, the rest being files that are only ever
    replaced whole. Names that begin with a dot are locks and halves. Raises OSError, BackupError."""
    for parent, directories, names in os.walk(directory):
        here = Path(parent)
        outermost = here == directory
        skipped = _MADE_ANEW | _LEFT if outermost else frozenset[str]()
        directories[:] = [name for name in directories if name not in skipped and not name.startswith(".")]
        for name in names:
            if name in skipped or name.startswith(".") or name.endswith(_SQLITE_BESIDE):
                continue
            place = f"metadata/{(here / name).relative_to(directory).as_posix()}"
            with suppress(FileNotFoundError):  # a lease that was given up meanwhile
                _copy(here / name, place, staging)


def _copy(path: Path, name: str, staging: Staging) -> None:
    with path.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if not is_database:
        staging.copy(name, Source(path, path.stat().st_size))
        return
    target = staging.place(name)
    target.touch(mode=0o600)
    try:
        with (
            closing(sqlite3.connect(path, timeout=_BUSY_S)) as source,
            closing(sqlite3.connect(target, timeout=_BUSY_S)) as copy,
        ):
            source.backup(copy)
    except sqlite3.Error as error:
        raise BackupError(f"cannot copy the database {path}: {error}") from error
    target.chmod(path.stat().st_mode & 0o777)
    staging.add(name)
