"""The property of the Delta library that compaction rests on; deltalake 1.6.6 does not have it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from millrace_testkit.model.tables import read_rows


def test_two_compactions_from_one_version_never_double_the_rows(tmp_path: Path) -> None:
    """deltalake 1.6.6 lets both commit: each adds its own copy of the same rows."""
    path = tmp_path / "table"
    for number in range(6):
        write_deltalake(
            path, pa.table({"number": [number], "day": ["05"]}), mode="append", partition_by=["day"]
        )
    first, second = DeltaTable(path), DeltaTable(path)
    first.optimize.compact()
    with contextlib.suppress(CommitFailedError):
        second.optimize.compact()
    assert sorted(row["number"] for row in read_rows(path)) == list(range(6))
    # Not even a second commit that happens to be harmless: the loser has to be told.
    assert DeltaTable(path).version() == first.version()
