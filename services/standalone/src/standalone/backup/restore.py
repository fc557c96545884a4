"""A backup into an empty data directory, and into empty databases."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from ingest_service.lake.durable import sync_directory, sync_file_system
from millrace_relational import DatabaseUrl
from millrace_runtime.crash import crash_point
from standalone.backup import databases
from standalone.backup.errors import BackupError, explained
from standalone.backup.lay import lay, skip_ids
from standalone.backup.manifest import Entry, Manifest, read
from standalone.backup.staging import Advance, Progress, Source, copied
from standalone.data_directory import LAYOUT_VERSION, DataDirectory

_UNFINISHED: Final = ".restoring"
_IDS: Final = "metadata/ids.sqlite"
_DUMPS: Final = "databases/"


def restore(
    source: Path, root: Path, servers: Mapping[str, DatabaseUrl] | None, skip: int, progress: Progress
) -> Manifest:
    """Lay the backup in `source` into `root`, which is empty or not there, and its dumps into `servers`.

    Everything is looked at before anything is written, and each file's checksum while it is copied. `skip` ids of
    every tag are left out. The files come to their places when all of them are on stable storage. `servers` None: the
    databases are there already.
    Raises BackupError; then `root` is as empty as it was.
    """
    manifest = read(source)
    _require_whole(source, manifest)
    _require_empty(root)
    wanted = _dumps(source, manifest, servers)
    with explained(root):
        root.mkdir(parents=True, exist_ok=True)
        unfinished = root / _UNFINISHED
        unfinished.mkdir(mode=0o700)
        try:
            _copy(source, unfinished, manifest, progress)
            lay(DataDirectory(unfinished), manifest)
            _skip_own_ids(unfinished, skip)
            for name, at in wanted.items():
                databases.load(name, at, source / f"{_DUMPS}{name}.dump")
                if name == "ids":
                    asyncio.run(skip_ids(at, skip, now=datetime.now(UTC)))
            sync_file_system(root)
            crash_point("AFTER_COPY_BEFORE_MOVE")
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        for path in sorted(unfinished.iterdir()):
            path.rename(root / path.name)
        unfinished.rmdir()
        sync_directory(root)
    return manifest


def _require_whole(source: Path, manifest: Manifest) -> None:
    if manifest.layout != LAYOUT_VERSION:
        raise BackupError(
            f"{source} is of layout version {manifest.layout}, this Millrace has {LAYOUT_VERSION}: restore it by the "
            "Millrace that made it"
        )
    for file in manifest.files:
        try:
            size = (source / file.path).stat().st_size
        except OSError as error:
            raise BackupError(
                f"the backup is not complete: {source / file.path}: {error.strerror}"
            ) from error
        if size != file.size:
            raise BackupError(f"the backup is damaged: {source / file.path} has {size} of {file.size} bytes")


def _require_empty(root: Path) -> None:
    try:
        names = sorted(path.name for path in root.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise BackupError(f"{root}: {error.strerror}") from error
    if names == [_UNFINISHED]:
        raise BackupError(f"{root / _UNFINISHED} is what a restore that was killed has left; remove it")
    if names:
        raise BackupError(f"{root} is not empty: it has {', '.join(names[:3])}; name an empty data directory")


def _dumps(
    source: Path, manifest: Manifest, servers: Mapping[str, DatabaseUrl] | None
) -> Mapping[str, DatabaseUrl]:
    """Where each dump goes, which is empty. Raises BackupError, also for a dump that is damaged."""
    if servers is None:
        return {}
    if missing := [databases.SETTINGS[name] for name in manifest.databases if name not in servers]:
        raise BackupError(
            f"the backup has databases of a server: set {' and '.join(missing)} to empty databases that take them, or "
            "say --no-databases where they are there already"
        )
    for name in manifest.databases:
        dump = manifest.by_path[f"{_DUMPS}{name}.dump"]
        with (source / dump.path).open("rb") as file:
            _require_checksum(source, dump, hashlib.file_digest(file, "sha256").hexdigest())
        asyncio.run(databases.require_empty(name, servers[name]))
    return {name: servers[name] for name in manifest.databases}


def _copy(source: Path, unfinished: Path, manifest: Manifest, progress: Progress) -> None:
    files = [file for file in manifest.files if not file.path.startswith(_DUMPS)]
    with progress("restoring", sum(file.size for file in files)) as advance:
        for file in files:
            _copy_checked(source, unfinished, file, advance)


def _copy_checked(source: Path, unfinished: Path, file: Entry, advance: Advance) -> None:
    target = unfinished / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    path = source / file.path
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        checksum = copied(Source(path, file.size), descriptor, target, file.mode, advance)
    finally:
        os.close(descriptor)
    _require_checksum(source, file, checksum)


def _require_checksum(source: Path, file: Entry, checksum: str) -> None:
    if checksum != file.sha256:
        raise BackupError(f"the backup is damaged: {source / file.path} has another checksum")


def _skip_own_ids(unfinished: Path, skip: int) -> None:
    path = unfinished / _IDS
    if path.exists():
        at = DatabaseUrl(URL.create("sqlite+aiosqlite", database=str(path)))
        asyncio.run(skip_ids(at, skip, now=datetime.now(UTC)))
