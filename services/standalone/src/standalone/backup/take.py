"""A backup of a data directory that is in use.

What is copied first is the oldest. Positions say how much of something else has been done, so whatever has a position
is copied before what the position is in: databases and the relay's positions, then the lake, then the journals. A lake
that is older than its journals goes on from its position, as after any crash; one that is newer would hold rows of
lines that are not there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ingest_service.lake.durable import sync_directory, sync_file_system, write_durably
from ingest_service.lake.tables import Lake
from millrace import __version__
from millrace_ports.bus.embedded import FORMER, former_roots
from millrace_ports.journal import JournalRoot
from millrace_relational import DatabaseUrl
from millrace_runtime.crash import crash_point
from standalone.backup import databases, journals, manifest
from standalone.backup.errors import BackupError, explained
from standalone.backup.lake import copy_lake
from standalone.backup.manifest import FORMAT, Manifest, encoded
from standalone.backup.metadata import copy_metadata
from standalone.backup.staging import Progress, Source, Staging
from standalone.data_directory import LAYOUT_VERSION, DataDirectory

_KNOWN: Final = frozenset(
    {"messages", "parquet", "archive", "metadata", "bus", "credentials.json", "logs", "servers", "objects"}
)
_KNOWN_MESSAGES: Final = frozenset({"raw", "rejected", FORMER.name})


@dataclass(frozen=True, slots=True)
class Taken:
    """A finished backup, and what of the data directory is not in it because nobody knows what it is."""

    manifest: Manifest
    left_out: list[str]


def take(
    root: Path, target: Path, servers: Mapping[str, DatabaseUrl], credentials: Path, progress: Progress
) -> Taken:
    """Copy the installation in `root`, its databases on `servers` and the file of its first keys, which need not be
    there, to the new directory `target`.

    The copy is made beside `target` and renamed when it is whole and on stable storage.
    Raises BackupError; then there is no `target`.
    """
    directory = DataDirectory(root)
    _require_installation(directory)
    if target.is_relative_to(root):
        raise BackupError(f"{target} is in the data directory itself; name a place outside {root}")
    if os.path.lexists(target):
        raise BackupError(f"{target} is there already; name a new directory")
    with explained(target), _unfinished(target) as partial:
        staging = Staging(partial)
        copy_metadata(directory.metadata, staging)
        if credentials.exists():
            staging.copy("credentials.json", Source(credentials, credentials.stat().st_size))
        for name, at in servers.items():
            path = staging.place(f"databases/{name}.dump")
            path.touch(mode=0o600)
            databases.dump(name, at, path)
            staging.add(f"databases/{name}.dump")
        tables = copy_lake(Lake(directory.lake), staging, progress)
        doors = _copy_journals(directory, staging, progress)
        whole = Manifest(
            FORMAT,
            f"millrace {__version__}",
            datetime.now(UTC).isoformat(timespec="seconds"),
            LAYOUT_VERSION,
            dict(tables),
            doors,
            sorted(servers),
            sorted(staging.entries.values(), key=lambda file: file.path),
        )
        sync_file_system(partial)
        crash_point("AFTER_COPY_BEFORE_MANIFEST")
        write_durably(partial / manifest.NAME, [encoded(whole)])
        partial.rename(target)
        sync_directory(target.parent)
    return Taken(whole, _unknown(directory))


def _copy_journals(directory: DataDirectory, staging: Staging, progress: Progress) -> dict[str, str]:
    """Copy every journal root; the identity of each by its place."""
    found: dict[str, Source] = {}
    for root in former_roots(directory.root):
        found |= _below(directory, root, journals.sources(root, growing=False))
    for path in sorted((directory.root / "bus").glob("*/")):
        root = JournalRoot(path)
        found |= _below(directory, root, journals.sources(root, growing=True))
    for path, whole_lines in ((directory.rejected, True), (directory.raw, False)):
        root = JournalRoot(path)
        if path.is_dir():
            found |= _below(directory, root, journals.sources(root, growing=True, whole_lines=whole_lines))
    with progress("journals", sum(source.size for source in found.values())) as advance:
        staging.copy_all(found, advance)
    return {
        str(Path(name).parent): (staging.root / name).read_text("ascii").strip()
        for name in staging.entries
        if name.endswith("/.door")
    }


def _below(directory: DataDirectory, root: JournalRoot, sources: Mapping[str, Source]) -> dict[str, Source]:
    place = root.path.relative_to(directory.root).as_posix()
    return {f"{place}/{name}": source for name, source in sources.items()}


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """An empty directory beside `target` that is nobody else's; removed on an error, by the next one after a kill."""
    partial = target.with_name(f"{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"{partial} is being written by another backup") from None
        _clear(partial)
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _clear(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _require_installation(directory: DataDirectory) -> None:
    signs = (
        directory.raw,
        directory.root / FORMER,
        directory.lake / "messages" / "_delta_log",
        directory.version,
    )
    if not any(sign.exists() for sign in signs):
        raise BackupError(
            f"there is no installation in {directory.root}; name its data directory with --data"
        )


def _unknown(directory: DataDirectory) -> list[str]:
    """Names below the data directory that no backup takes along and no documentation tells of."""
    places = ((directory.root, _KNOWN), (directory.raw.parent, _KNOWN_MESSAGES))
    return sorted(
        path.relative_to(directory.root).as_posix()
        for place, known in places
        if place.is_dir()
        for path in place.iterdir()
        if path.name not in known and not path.name.startswith(".")
    )
