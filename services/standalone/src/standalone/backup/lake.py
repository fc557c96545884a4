"""The tables of lake and archive, each at one version: the files that this version needs, and the log up to it.

Data files never change, but maintenance removes those that no newer version needs. When one is gone before it is
copied, newer versions are taken; what is copied already counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable

from ingest_service.lake.log import entry
from ingest_service.lake.tables import TABLES, Lake
from standalone.backup.errors import BackupError
from standalone.backup.staging import Progress, Source, Staging

ARCHIVE: Final = "archive/"

_ATTEMPTS: Final = 10
_CHECKPOINT: Final = ".checkpoint.parquet"


def copy_lake(lake: Lake, staging: Staging, progress: Progress) -> Mapping[str, int]:
    """Copy the tables to `parquet/` and `archive/`; their versions, those of archived ones as `archive/<name>`.

    messages is looked at first: its positions say what has landed, and the others hold at least that much. The
    archive is looked at behind the lake: what moves from one to the other meanwhile is in the copy, perhaps twice,
    as between the two commits of archiving.
    Raises BackupError, DeltaError, OSError.
    """
    places = {name: lake.path(name) for name in TABLES}
    places |= {f"{ARCHIVE}{name}": lake.archive.path(name) for name in TABLES}
    for _ in range(_ATTEMPTS):
        tables = {
            name: DeltaTable(str(path))
            for name, path in places.items()
            if DeltaTable.is_deltatable(str(path))
        }
        try:
            wanted = {
                f"{name if name.startswith(ARCHIVE) else f'parquet/{name}'}/{place}": source
                for name, table in tables.items()
                for place, source in _files(places[name], table).items()
            }
            with progress("lake", sum(source.size for source in wanted.values())) as advance:
                staging.copy_all(wanted, advance)
        except FileNotFoundError:
            continue
        copied = [name for name in staging.entries if name.startswith(("parquet/", ARCHIVE))]
        for name in [name for name in copied if name not in wanted]:
            staging.drop(name)
        return {name: table.version() for name, table in tables.items()}
    raise BackupError(
        f"{lake.root}: files are removed faster than they are copied; raise MILLRACE_VACUUM_GRACE_HOURS"
    )


def _files(path: Path, table: DeltaTable) -> dict[str, Source]:
    """What the table's version is made of, by place below it. Raises FileNotFoundError."""
    files = {
        f"_delta_log/{file.name}": Source(file, file.stat().st_size) for file in _log(path, table.version())
    }
    adds = pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes"]).to_pylist()
    for add in adds:
        place = add["path"] if (path / add["path"]).exists() else unquote(add["path"])
        files[place] = Source(path / place, add["size_bytes"], whole=True)
    return files


def _log(path: Path, version: int) -> list[Path]:
    """The newest checkpoint up to that version, and the entries after it."""
    found = [file for file in (path / "_delta_log").glob(f"*{_CHECKPOINT}") if _version(file) <= version]
    checkpoint = max(found, default=None)
    start = 0 if checkpoint is None else _version(checkpoint) + 1
    entries = [entry(path, number) for number in range(start, version + 1)]
    return entries if checkpoint is None else [checkpoint, *entries]


def _version(checkpoint: Path) -> int:
    digits = checkpoint.name.removesuffix(_CHECKPOINT)
    return int(digits) if digits.isdecimal() else 1 << 62
