"""A small Delta table, filled one row a commit, for tests of what happens to its files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake

from millrace_schemas import datasets
from millrace_testkit.model.tables import read_rows

HOUR_S = 3600


@dataclass
class OtherTable:
    """The dataset `other` at `path`, created at the first append: row n came from journal line n."""

    path: Path
    properties: WriterProperties

    def handle(self) -> DeltaTable:
        """A fresh handle."""
        return DeltaTable(str(self.path))

    def create(self, **configuration: str) -> DeltaTable:
        """The empty table, partitioned as the lake's tables are."""
        return DeltaTable.create(
            str(self.path),
            datasets.load("other").arrow_schema(),
            partition_by=list(datasets.PARTITION_COLUMNS),
            configuration={name.replace("_", "."): value for name, value in configuration.items()},
        )

    def append(
        self,
        lines: Iterable[int],
        day: str = "05",
        handle: DeltaTable | None = None,
        app_id: str = "lake/door/2026-03-05#0",
    ) -> None:
        """One commit a line, each with its position, as the landing process makes them."""
        table = handle or self.handle()
        for line in lines:
            write_deltalake(
                table,
                other_rows([line], day),
                mode="append",
                writer_properties=self.properties,
                commit_properties=CommitProperties(app_transactions=[Transaction(app_id, line)]),
            )

    def lines(self) -> list[int]:
        """The journal lines of all live rows, repeats included."""
        return sorted(row["src_line"] for row in read_rows(self.path))

    def put(self, name: str, content: bytes, hours_old: float = 2) -> Path:
        """A file below the table that no commit knows."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        moment = time.time() - hours_old * HOUR_S
        os.utime(file, (moment, moment))
        return file

    def data_files(self) -> set[str]:
        """Data files that lie below the table, needed or not."""
        return {str(file.relative_to(self.path)) for file in self.path.rglob("part-*.parquet")}


def other_rows(lines: list[int], day: str) -> pa.Table:
    """Rows of `other` from these journal lines, landed on this day of March 2026."""
    rows: list[dict[str, Any]] = [
        {
            "guid": "g",
            "notify_type": 1006,
            "payload": f'{{"line":{line}}}',
            "received_day": f"2026-03-{day}",
            "ingestion_time": datetime(2026, 3, int(day), tzinfo=UTC),
            "src_door": "door",
            "src_file": f"2026-03-{day}.jsonl",
            "src_line": line,
            "src_element": 0,
            "year": "2026",
            "month": "03",
            "day": day,
        }
        for line in lines
    ]
    return pa.Table.from_pylist(rows, schema=datasets.load("other").arrow_schema())
