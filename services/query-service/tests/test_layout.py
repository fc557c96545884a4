"""Files of different schema versions answered as one table (LAKE-82, LAKE-83)."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType

from millrace_testkit.messages_lake import DAY, STORED, MessagesLake, message
from query_service.search.columns import COLUMNS
from query_service.search.local import BadQueryError, Lake

TODAY = "2026-03-14"


@pytest.fixture
def local(lake: MessagesLake) -> Iterator[Lake]:
    lake.root.mkdir()
    with Lake(lake.root) as opened:
        yield opened


def add_column(lake: MessagesLake, name: str, kind: str = "string") -> None:
    """What evolution does: a commit of its own that changes the table's columns and no file."""
    DeltaTable(str(lake.table)).alter.add_columns([Field(name, PrimitiveType(kind), nullable=True)])


def append_later(lake: MessagesLake, schema: pa.Schema, *rows: dict[str, Any]) -> None:
    write_deltalake(str(lake.table), pa.Table.from_pylist(list(rows), schema=schema), mode="append")
    lake.rows.extend(rows)


def test_a_later_column_answers_what_extra_fields_has_in_older_files(lake: MessagesLake, local: Lake) -> None:
    """LAKE-82, LAKE-S9: a new key lands in extra_fields; as a column of a later version older files answer it."""
    big = 2**64 + 1
    lake.append(
        message(1, extra_fields=json.dumps({"reaction": {"n": 2}, "rank": 7})),
        message(2, extra_fields=json.dumps({"reaction": "plain", "rank": big})),
        message(3, extra_fields=None),
        message(4, extra_fields="{broken"),
    )
    add_column(lake, "reaction")
    add_column(lake, "rank", "long")
    later = STORED.append(pa.field("reaction", pa.string())).append(pa.field("rank", pa.int64()))
    append_later(lake, later, message(5, reaction="new", rank=9), message(6, reaction=None, rank=None))

    found = local.query(TODAY, TODAY, columns=["rank", "reaction", "msg_type"])
    assert found.warnings == ()
    table = found.table()
    assert table["reaction"].to_pylist() == ['{"n":2}', "plain", None, None, "new", None]
    assert table["rank"].to_pylist() == [7, None, None, None, 9, None]  # 2^64 + 1 is no 64-bit number
    assert table["msg_type"].to_pylist() == [1] * 6
    assert local.query(TODAY, TODAY).schema.names == [*COLUMNS, "reaction", "rank"]
    assert local.query(TODAY, TODAY, msg_type=1, limit=2, offset=3).table().num_rows == 2
    assert local.query_by_id([lake.rows[4]["msg_id"]], columns=["reaction"]).table().to_pylist() == [
        {"reaction": "new"}
    ]


def test_older_files_keep_their_other_columns_as_before(lake: MessagesLake, local: Lake) -> None:
    lake.append(message(1, extra_fields='{"reaction":{"n":2}}'), message(2))
    before = local.query(TODAY, TODAY).table()
    assert before["extra_fields"].to_pylist() == ['{"reaction":{"n":2}}', None]
    add_column(lake, "reaction")
    assert local.query(TODAY, TODAY, columns=COLUMNS).table().equals(before)


def test_a_later_column_is_masked_like_the_key_that_it_was(lake: MessagesLake, local: Lake) -> None:
    """LAKE-55, LAKE-56."""
    person = {"name": "n", "mobile": "13905718264"}
    lake.append(message(1, extra_fields=json.dumps({"mobile": 13905718264, "person": person})))
    add_column(lake, "mobile", "long")
    add_column(lake, "person")
    columns = ["mobile", "person"]
    (masked,) = local.query(TODAY, TODAY, columns=columns).table().to_pylist()
    assert masked == {"mobile": "139****8264", "person": '{"name":"n","mobile":"139****8264"}'}
    (clear,) = local.query(TODAY, TODAY, columns=columns, unmask=True).table().to_pylist()
    assert clear["mobile"] == "13905718264"
    assert json.loads(clear["person"]) == person


def write_plain(root: Path, number: int, rows: list[dict[str, Any]], changes: dict[str, pa.DataType]) -> None:
    """A file of a tree without a log, some columns in other types; None: without the column."""
    fields = [
        pa.field(field.name, changes.get(field.name, field.type))
        for field in STORED
        if changes.get(field.name, field.type) is not None and field.name not in ("year", "month", "day")
    ]
    at = rows[0]["create_time"]
    directory = root / "messages" / f"year={at:%Y}" / f"month={at:%m}" / f"day={at:%d}"
    directory.mkdir(parents=True, exist_ok=True)
    names = {field.name for field in fields}
    plain = [{name: value for name, value in row.items() if name in names} for row in rows]
    pq.write_table(pa.Table.from_pylist(plain, schema=pa.schema(fields)), directory / f"{number}.parquet")


def test_a_column_of_conflicting_types_is_text(tmp_path: Path) -> None:
    """LAKE-83: over files of both versions it is text, over those of one version what they have."""
    root = tmp_path / "parquet"
    write_plain(root, 1, [message(1, msg_type=49, notify_type=1010)], {})
    write_plain(root, 2, [message(2, msg_type="forty-nine")], {"msg_type": pa.string()})
    write_plain(root, 3, [message(3, notify_type=2**40)], {"notify_type": pa.int64()})
    tomorrow = DAY + timedelta(days=1)
    write_plain(root, 4, [message(4, tomorrow, msg_type=3)], {})
    with Lake(root) as local:
        both = local.query(TODAY, TODAY, columns=["msg_type", "notify_type", "create_time"])
        assert both.table()["msg_type"].to_pylist() == ["49", "forty-nine", "1"]
        assert both.schema.field("notify_type").type == pa.string()
        assert both.schema.field("create_time").type == pa.timestamp("us", "UTC")
        alone = local.query("2026-03-15", "2026-03-15", columns=["msg_type"])
        assert alone.table()["msg_type"].to_pylist() == [3]
        assert local.query(TODAY, TODAY, msg_type=[49], columns=["msg_id"]).total == 1
        assert local.query(TODAY, "2026-03-15", msg_type=[3, 49]).total == 2


def test_a_column_that_some_files_lack_is_null(tmp_path: Path) -> None:
    root = tmp_path / "parquet"
    write_plain(root, 1, [message(1)], {"src_element": None, "desc": None, "extra_fields": None})  # type: ignore[dict-item]
    write_plain(root, 2, [message(2, desc="d")], {"create_time": pa.timestamp("s", "UTC")})
    with Lake(root) as local:
        found = local.query(TODAY, TODAY, columns=["desc", "src_element", "extra_fields"]).table()
        assert found.to_pylist() == [
            {"desc": None, "src_element": None, "extra_fields": None},
            {"desc": "d", "src_element": 0, "extra_fields": None},
        ]
        with pytest.raises(BadQueryError, match="reaction"):
            local.query(TODAY, TODAY, columns=["reaction"])


def test_a_column_with_a_name_that_sql_would_read(tmp_path: Path) -> None:
    root = tmp_path / "parquet"
    write_plain(root, 1, [message(1, extra_fields='{"a\\"b/~ \'x":"kept"}')], {})
    odd = "a\"b/~ 'x"
    table = pa.Table.from_pylist([message(2)], schema=STORED).drop(["year", "month", "day"])
    directory = root / "messages" / "year=2026" / "month=03" / "day=14"
    pq.write_table(table.append_column(odd, pa.array(["own"])), directory / "2.parquet")
    with Lake(root) as local:
        assert local.query(TODAY, TODAY, columns=[odd]).table()[odd].to_pylist() == ["kept", "own"]
