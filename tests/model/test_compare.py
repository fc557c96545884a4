"""The comparison finds what is wrong with a lake, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from millrace_testkit.model import compare, read_rows, sums

JOURNAL = [
    b'{"guid":"g","notify_type":1010,"data":{"msg_id":"7","from_username":"a","to_username":"b",'
    b'"create_time":1773450729,"is_chatroom_msg":0,"content":"first"}}',
    b'{"guid":"g","notify_type":1010,"data":{"msg_id":"7","from_username":"a","to_username":"b",'
    b'"create_time":1773450729,"is_chatroom_msg":0,"content":"second"}}',
    b'{"guid":"g","notify_type":1200,"data":{"userName":{"string":"u"},"alias":"one"}}',
    b'{"guid":"g","notify_type":1006,"data":{}}',
    b"",
    b'{"guid":',
]
Damage = Callable[[Path], None]


@pytest.fixture
def data(tmp_path: Path, landed: Callable[[Path, list[bytes]], None]) -> Path:
    landed(tmp_path / "data", JOURNAL)
    return tmp_path / "data"


def differences(data: Path) -> list[str]:
    return compare(data, today="2026-03-20")


def table(data: Path, name: str) -> Path:
    return data / "parquet" / name


def again(data: Path, name: str, **changes: Any) -> None:
    """Append the table's first row once more, with changes."""
    path = table(data, name)
    schema = pa.schema(DeltaTable(str(path)).schema().to_arrow())
    write_deltalake(
        str(path), pa.Table.from_pylist([read_rows(path)[0] | changes], schema=schema), mode="append"
    )


def change(data: Path, name: str, **changes: Any) -> None:
    """Replace the table's only row by one with changes."""
    row = read_rows(table(data, name))[0]
    schema = pa.schema(DeltaTable(str(table(data, name))).schema().to_arrow())
    changed = pa.Table.from_pylist([row | changes], schema=schema)
    write_deltalake(str(table(data, name)), changed, mode="overwrite")


def test_a_right_lake_has_no_differences(data: Path) -> None:
    assert differences(data) == []
    totals = sums(data, today="2026-03-20")
    assert (totals.lines, totals.accounted, totals.duplicates) == (6, 6, 1)


@pytest.mark.parametrize("name", ["messages", "contacts", "other", "dead_letters"])
def test_a_doubled_row(data: Path, name: str) -> None:
    again(data, name)
    assert any("is stored 2 times" in line for line in differences(data))


@pytest.mark.parametrize("name", ["messages", "contacts", "other", "dead_letters"])
def test_a_missing_row(data: Path, name: str) -> None:
    DeltaTable(str(table(data, name))).delete()
    assert any(line.startswith(name) and "is missing" in line for line in differences(data))


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("messages", {"content": "second"}, "content is 'second', not 'first'"),
        ("messages", {"src_line": 3}, "where the journal has another line"),
        ("messages", {"msg_id": "8"}, "is in no journal"),
        ("messages", {"day": "15"}, "day is '15', not '14'"),
        ("contacts", {"alias": "two"}, "alias is 'two', not 'one'"),
        ("contacts", {"extra_fields": "{}"}, "extra_fields is '{}', not None"),
        ("other", {"payload": "{}"}, "payload is '{}'"),
        ("other", {"day": "01"}, "lies in"),
        ("dead_letters", {"body": "x"}, "body is 'x'"),
        ("dead_letters", {"fields": '["guid"]'}, "names ['guid'], not []"),
    ],
)
def test_a_wrong_column(data: Path, name: str, changes: dict[str, Any], told: str) -> None:
    change(data, name, **changes)
    assert any(line.startswith(name) and told in line for line in differences(data))


def test_either_of_two_occurrences_may_be_stored(data: Path) -> None:
    change(data, "messages", content="second", src_line=2)
    assert differences(data) == []


def test_lines_that_are_not_landed_yet_are_missing(data: Path) -> None:
    with (data / "messages" / "raw" / "2026-03-14.jsonl").open("ab") as journal:
        journal.write(JOURNAL[3] + b"\n")
    assert any(line.startswith("other") and "is missing" in line for line in differences(data))
    assert any(line.startswith("sums") for line in differences(data))
