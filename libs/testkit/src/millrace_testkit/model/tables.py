"""Reading a Delta table as it lies on disk: the files of its current version, one by one."""

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
