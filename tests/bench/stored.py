"""A messages table of millions of rows over a year, as the lake writer and compaction leave it.

Built once below build/bench/data and kept: a marker beside the table says that it is whole.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from tests.bench.payloads import DAY_S, START_S, templates

from ingest_service.lake.tables import WRITER_PROPERTIES, Lake
from ingest_service.land.messages import SCHEMA

DAYS = 365
FIRST_ID = 7_304_418_832_500_000_001
CHATROOMS, SENDERS = 2_000, 50_000
LAYOUT = "1"
"""Part of the table's directory name: raise it when rows are made another way."""

_DAYS_A_COMMIT = 5

# Ids and times rise together, as they do on the platform; chat rooms and senders are scattered.
_ROWS = """
SELECT
    CAST($first_id::UBIGINT + i AS VARCHAR) AS msg_id,
    CAST(10000000000 + hash(i) % $chatrooms AS VARCHAR) || '@chatroom' AS from_username,
    'wxid_rxtxwzysho' AS to_username,
    CAST(10000000000 + hash(i) % $chatrooms AS VARCHAR) || '@chatroom' AS chatroom,
    'wxid_' || hash(i + 1) % $senders AS chatroom_sender,
    1::INTEGER AS msg_type,
    make_timestamptz(($start_s + i * $span_s // $rows) * 1000000) AS create_time,
    1::TINYINT AS is_chatroom_msg,
    texts.content || ' ' || i AS content,
    texts.content AS "desc",
    '<msgsource><membercount>' || i % 500 || '</membercount></msgsource>' AS source,
    '0ed90475-e8e2-481e-a36f-1600099950d8' AS guid,
    1010::INTEGER AS notify_type,
    make_timestamptz(($start_s + i * $span_s // $rows + 1) * 1000000) AS ingestion_time,
    CAST(NULL AS VARCHAR) AS extra_fields,
    1::INTEGER AS schema_version,
    'door-bench' AS src_door,
    strftime(make_timestamp(($start_s + i * $span_s // $rows) * 1000000), '%Y-%m-%d') || '.jsonl' AS src_file,
    i + 1 AS src_line,
    0::INTEGER AS src_element,
    strftime(make_timestamp(($start_s + i * $span_s // $rows) * 1000000), '%Y') AS year,
    strftime(make_timestamp(($start_s + i * $span_s // $rows) * 1000000), '%m') AS month,
    strftime(make_timestamp(($start_s + i * $span_s // $rows) * 1000000), '%d') AS day
FROM range($first, $last) AS numbers(i) JOIN texts ON texts.number = i % $texts
ORDER BY i
"""


@dataclass(frozen=True, slots=True)
class StoredTable:
    """`lake` holds the messages table with rows 0 to `rows` - 1."""

    lake: Path
    rows: int

    @property
    def messages(self) -> Path:
        """The table's directory."""
        return self.lake / "messages"

    def msg_id(self, row: int) -> str:
        """The id of a row."""
        return str(FIRST_ID + row)

    def day(self, number: int) -> date:
        """Day `number` of the table's days."""
        return datetime.fromtimestamp(START_S, UTC).date() + timedelta(days=number)

    def files(self, day: date) -> list[str]:
        """The data files of a day."""
        partition = self.messages / f"year={day:%Y}" / f"month={day:%m}" / f"day={day:%d}"
        return sorted(str(path) for path in partition.glob("*.parquet"))


def stored_table(cache: Path, rows: int, say: Callable[[str], None]) -> StoredTable:
    """The table of so many rows, built if it is not there."""
    lake = cache / f"stored-{LAYOUT}-{rows}"
    table = StoredTable(lake, rows)
    whole = lake / "whole"
    if not whole.exists():
        shutil.rmtree(lake, ignore_errors=True)
        _build(table, say)
        whole.touch()
    return table


def rows_of(table: DeltaTable) -> tuple[int, int]:
    """Rows and distinct msg_ids of a messages table."""
    query = "SELECT count(*), count(DISTINCT msg_id) FROM read_parquet($files)"
    with duckdb.connect() as connection:
        [(rows, distinct)] = connection.sql(query, params={"files": table.file_uris()}).fetchall()
    return rows, distinct


def _build(table: StoredTable, say: Callable[[str], None]) -> None:
    lake = Lake(table.lake)
    table.lake.mkdir(parents=True)
    handle = lake.open("messages")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        texts = [template.tail.decode().partition('"content": "')[2].rstrip('"}') for template in templates()]
        connection.register("contents", pa.table({"content": texts}))
        connection.execute(
            "CREATE TABLE texts AS SELECT row_number() OVER () - 1 AS number, content FROM contents"
        )
        for start in range(0, DAYS, _DAYS_A_COMMIT):
            end = min(start + _DAYS_A_COMMIT, DAYS)
            first, last = (-(-table.rows * day // DAYS) for day in (start, end))
            say(f"building the table of {table.rows:,} rows: {last:,}")
            rows = connection.sql(
                _ROWS,
                params={
                    "first_id": FIRST_ID,
                    "chatrooms": CHATROOMS,
                    "senders": SENDERS,
                    "start_s": START_S,
                    "span_s": DAYS * DAY_S,
                    "rows": table.rows,
                    "texts": len(texts),
                    "first": first,
                    "last": last,
                },
            ).to_arrow_table()
            write_deltalake(
                handle,
                rows.cast(SCHEMA),
                mode="append",
                writer_properties=WRITER_PROPERTIES["messages"],
            )
