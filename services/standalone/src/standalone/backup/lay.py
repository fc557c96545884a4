"""What becomes different by being restored.

The door that wrote the journals may have gone on after the backup: its later lines may be on Kafka and in lakes, under
its name and their numbers. So what is taken in from now on comes in at a new door, and the journals keep their name as
those of a former one (`messages/former/<door>`), which takes nothing more. The relay begins at their first line again:
nobody knows which of them Kafka still has, and repeats change no row.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from typing import Final

import msgspec

from id_service.database.connect import open_engine
from id_service.segment.skip import skip_ahead
from ingest_service.lake.recover import ARCHIVE_MARK, MARK
from ingest_service.relay.positions import forget_sent
from millrace_ports.bus.embedded import FORMER
from millrace_relational import DatabaseUrl, RelationalError
from millrace_runtime.errors import ServiceError
from standalone.backup.errors import BackupError
from standalone.backup.lake import ARCHIVE
from standalone.backup.manifest import Manifest
from standalone.data_directory import DataDirectory

_RAW: Final = "messages/raw"


def lay(directory: DataDirectory, manifest: Manifest) -> None:
    """Make of a restored copy what is to be started. Raises OSError, BackupError."""
    if (door := manifest.doors.get(_RAW)) and not any(directory.raw.glob("*.jsonl")):
        shutil.rmtree(directory.raw)  # a door that has taken nothing has used its name for nothing
    elif door:
        former = directory.root / FORMER / door
        if former.exists():
            raise BackupError(f"the backup has two journals of {door}: in {_RAW} and in {FORMER / door}")
        former.parent.mkdir(parents=True, exist_ok=True)
        directory.raw.rename(former)
    for positions in sorted((directory.metadata / "relay").glob("*.json")):
        forget_sent(positions)
    if manifest.tables:
        # Everything is synced before the copy is there at all.
        directory.metadata.mkdir(exist_ok=True)
        archived = {
            name.removeprefix(ARCHIVE): version
            for name, version in manifest.tables.items()
            if name.startswith(ARCHIVE)
        }
        hot = {name: version for name, version in manifest.tables.items() if not name.startswith(ARCHIVE)}
        (directory.metadata / MARK).write_bytes(msgspec.json.encode(hot))
        if archived:
            (directory.metadata / ARCHIVE_MARK).write_bytes(msgspec.json.encode(archived))


async def skip_ids(at: DatabaseUrl, count: int, *, now: datetime) -> None:
    """Leave out the next `count` ids of every tag: some were issued after the backup. Raises BackupError."""
    engine = open_engine(at)
    try:
        await skip_ahead(engine, count, now=now)
    except (ServiceError, RelationalError) as error:
        raise BackupError(f"cannot move the ids of id-service on: {error}") from error
    finally:
        await engine.dispose()
