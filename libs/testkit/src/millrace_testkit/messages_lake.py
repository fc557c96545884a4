"""A messages table as the lake writer leaves it, built row by row for tests of its readers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, WriterProperties, write_deltalake

from millrace_schemas import datasets

Row = dict[str, Any]

STORED: pa.Schema = datasets.load("messages").arrow_schema()
"""The messages table as the lake writer stores it."""

DAY = datetime(2026, 3, 14, tzinfo=UTC)


def message(number: int, at: datetime = DAY, **values: Any) -> Row:
    """One row as the lake writer stores it: msg_id from `number`, partition from `at`."""
    return {
        "msg_id": f"73044188255960{number:05d}",
        "from_username": "47210093358@chatroom",
        "to_username": "wxid_k7hq2n0v5t",
        "chatroom": "47210093358@chatroom",
        "chatroom_sender": "wxid_r4m8ywz6pd",
        "msg_type": 1,
        "create_time": at,
        "is_chatroom_msg": 1,
        "content": f"合同第三版 📎 {number}",
        "desc": "",
        "source": "<msgsource/>",
        "guid": "3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410",
        "notify_type": 1010,
        "ingestion_time": at + timedelta(seconds=2, microseconds=125),
        "extra_fields": None,
        "schema_version": 1,
        "src_door": "door",
        "src_file": f"{at:%Y-%m-%d}.jsonl",
        "src_line": number + 1,
        "src_element": 0,
        "year": f"{at:%Y}",
        "month": f"{at:%m}",
        "day": f"{at:%d}",
        **values,
    }


def shown(row: Row, columns: tuple[str, ...] = tuple(STORED.names)) -> Row:
    """The row as JSON shows it, unmasked."""
    texts = {
        "create_time": row["create_time"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ingestion_time": row["ingestion_time"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        **{key: int(row[key]) for key in ("year", "month", "day")},
    }
    return {name: texts.get(name, row[name]) for name in columns}


def ordered(rows: list[Row]) -> list[Row]:
    """By create_time, then msg_id as bytes."""
    return sorted(rows, key=lambda row: (row["create_time"], row["msg_id"].encode()))


@dataclass
class MessagesLake:
    """The directory of the lake's tables, and the rows appended to `messages` so far.

    `after_commit` is called after each commit, to let time pass for a reader with an injected clock.
    """

    root: Path
    rows: list[Row] = field(default_factory=list)
    after_commit: Callable[[], None] = lambda: None

    @property
    def table(self) -> Path:
        return self.root / "messages"

    def append(self, *rows: Row) -> None:
        """One commit; one file per day in it."""
        write_deltalake(
            str(self.table),
            pa.Table.from_pylist(list(rows), schema=STORED),
            mode="append",
            partition_by=["year", "month", "day"],
            writer_properties=WriterProperties(compression="SNAPPY"),
        )
        self.rows.extend(rows)
        self.after_commit()

    def files(self) -> list[Path]:
        """The data files on disk, in the order of their days."""
        return sorted(self.table.glob("year=*/**/*.parquet"))

    def compact_and_vacuum(self) -> None:
        """One file per day, and the former files really gone."""
        delta = DeltaTable(str(self.table))
        delta.optimize.compact()
        delta.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
