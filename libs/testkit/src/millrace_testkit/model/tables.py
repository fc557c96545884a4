"""Reading Delta tables as they lie on disk: the files of their current version, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Every row of the table at `path` as a dict, partition columns included; no table: no rows.

    The files are opened directly, so that what is compared is what any reader of the format would see.
    """
    if not DeltaTable.is_deltatable(str(path)):
        return []
    actions = pa.table(DeltaTable(str(path)).get_add_actions(flatten=True))
    partitions = [name for name in actions.column_names if name.startswith("partition.")]
    rows: list[Row] = []
    for action in actions.select(["path", *partitions]).to_pylist():
        day = {name.removeprefix("partition."): action[name] for name in partitions}
        rows += ({**row, **day} for row in pq.ParquetFile(path / unquote(action["path"])).read().to_pylist())
    return rows


KEYS = {
    "messages": ("msg_id",),
    "contacts": ("username",),
    "other": ("src_door", "src_file", "src_line", "src_element", "payload"),
}


def read_dataset(data: Path, name: str) -> list[Row]:
    """Every row of a dataset below the data directory, archived ones included, as a reader of both sees them.

    A row in both counts once. Of messages and notifications the archived one counts: they are between the two
    commits of archiving. Of contacts that of the lake: it has changed since.
    """
    hot, archived = read_rows(data / "parquet" / name), read_rows(data / "archive" / name)
    if not archived:
        return hot
    first, second = (hot, archived) if name == "contacts" else (archived, hot)
    known = {_key(name, row) for row in first}
    return [*first, *(row for row in second if _key(name, row) not in known)]


def _key(name: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[column] for column in KEYS[name])
