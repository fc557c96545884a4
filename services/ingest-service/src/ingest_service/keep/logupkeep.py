"""The Delta log's own upkeep: checkpoints, and entries that a checkpoint has made dispensable."""

from __future__ import annotations

import pathlib

import msgspec
from deltalake import DeltaTable

from ingest_service.lake.durable import sync_file_system


def last_checkpoint(path: pathlib.Path) -> int:
    """Version of the newest checkpoint by `_last_checkpoint`, a hint; -1 when there is none to trust."""
    try:
        hint = msgspec.json.decode((path / "_delta_log" / "_last_checkpoint").read_bytes())
        return int(hint["version"])
    except (FileNotFoundError, msgspec.DecodeError, KeyError, TypeError):
        return -1


def checkpoint_if_due(table: DeltaTable, path: pathlib.Path, every: int) -> bool:
    """Write a checkpoint when `every` or more commits came after the newest; whether one was written.

    Writers do it themselves each 100th version; this is for one that was killed just then.
    """
    if table.version() - last_checkpoint(path) <= every:
        return False
    table.create_checkpoint()
    return True


def drop_expired_entries(table: DeltaTable, path: pathlib.Path) -> None:
    """Remove log entries older than the table's retention (one day) that a checkpoint covers.

    The checkpoint is made durable first: a power cut must not find the entries gone and it torn.
    """
    sync_file_system(path)
    table.cleanup_metadata()
