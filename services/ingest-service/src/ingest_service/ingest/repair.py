"""Damaged data files are laid aside, so that their rows can land again from the journals (LAKE-90).

Only on demand: a person decides about files that are not whole (ARCHITECTURE 4, rule 14).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from ingest_service.lake.durable import sync_directory, sync_file_system
from ingest_service.lake.tables import TABLES, Lake
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger

log = get_logger(__name__)


def lay_damage_aside(lake: Lake, metadata: Path) -> list[Path]:
    """Moves every empty or unreadable data file of the lake to `metadata/quarantine`, and takes those that belong
    to a table out of it. Returns where they were.

    Safe beside writers and readers: a reader that meets the gap asks for a newer version, as it does after vacuum.
    A crash in between leaves files that the log names and that are missing, which the next call takes out.
    Raises DeltaError, OSError.
    """
    found: list[Path] = []
    for name in TABLES:
        if lake.exists(name):
            found += _of_table(lake.path(name), metadata / "quarantine" / name)
    return found


def _of_table(table: Path, quarantine: Path) -> list[Path]:
    handle = DeltaTable(str(table))
    adds = pa.table(handle.get_add_actions(flatten=True))
    live: Mapping[Path, int] = {
        table / path: size
        for path, size in zip(adds["path"].to_pylist(), adds["size_bytes"].to_pylist(), strict=True)
    }
    damaged = [path for path, size in live.items() if not _whole(path, size)]
    strangers = [path for path in _data_files(table) if path not in live and not _whole(path, None)]
    for path in (*damaged, *strangers):
        log.warning("damaged_file_laid_aside", table=table.name, file=str(path), in_the_table=path in live)
        if path.exists():
            target = quarantine / path.relative_to(table)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            sync_directory(path.parent)
    crash_point("AFTER_QUARANTINE_BEFORE_REPAIR")
    if damaged:
        # Takes out of the table what the log names and the file system does not have.
        handle.repair()
        sync_file_system(table)
    return [*damaged, *strangers]


def _data_files(table: Path) -> list[Path]:
    """What lies in the day directories under the name of a data file (LAKE-1)."""
    files = table.glob("year=*/month=*/day=*/*.parquet")
    return sorted(path for path in files if not path.name.startswith("."))


def _whole(path: Path, size: int | None) -> bool:
    try:
        if size is not None and path.stat().st_size != size:
            return False
        with pa.OSFile(str(path)) as source:
            pq.read_metadata(source)
    except FileNotFoundError:
        return False
    except pa.ArrowInvalid:
        return False
    return True
