"""A lake asked by its files, without a service."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from millrace_testkit.messages_lake import DAY, STORED, MessagesLake, Row, message, ordered, shown
from query_service.search.columns import COLUMNS
from query_service.search.local import BadQueryError, Lake, LakeNotFoundError, LakeUnreadableError
from query_service.search.shape import json_rows

TODAY = "2026-03-14"


@pytest.fixture
def archive(tmp_path: Path) -> MessagesLake:
    return MessagesLake(tmp_path / "archive")


@pytest.fixture
def local(lake: MessagesLake, archive: MessagesLake) -> Iterator[Lake]:
    lake.root.mkdir()
    with Lake(lake.root, archive.root) as opened:
        yield opened


def ids(rows: list[Row]) -> list[str]:
    return [row["msg_id"] for row in ordered(rows)]


def found_ids(local: Lake, *days: str, **asked: Any) -> list[str]:
    first, last = days or (TODAY, TODAY)
    return local.query(first, last, columns=["msg_id"], **asked).table()["msg_id"].to_pylist()


def test_one_day_of_many_rows_opens_its_partition_alone(lake: MessagesLake, local: Lake) -> None:
    """LAKE-S4: 10,000 rows of a day, and only that day's files are opened."""
    table = pa.Table.from_pylist(
        [message(n, DAY + timedelta(seconds=n)) for n in range(10_000)], schema=STORED
    )
    lake.append(*table.to_pylist())
    lake.append(message(20_000, DAY - timedelta(days=1)), message(20_001, DAY + timedelta(days=1)))
    found = local.query(TODAY, TODAY)
    assert found.total == found.table().num_rows == 10_000
    assert (found.files_opened, found.warnings) == (1, ())


def test_each_filter_and_all_of_them_together(lake: MessagesLake, local: Lake) -> None:
    """LAKE-S5, LAKE-S6, LAKE-9: exact matches, a list is any of, an empty list no row, filters by AND."""
    rooms = [message(n, chatroom=f"{n % 3}@chatroom") for n in range(120)]
    types = [message(200 + n, msg_type=(1, 3, 49)[(n >= 50) + (n >= 60)], chatroom="t") for n in range(65)]
    lake.append(*rooms, *types)
    assert found_ids(local, chatroom="1@chatroom") == ids(rooms[1::3])
    assert len(found_ids(local, chatroom="1@chatroom")) == 40
    assert len(found_ids(local, msg_type=[3, 49], chatroom="t")) == 15
    assert found_ids(local, msg_type=[]) == []
    assert found_ids(local, msg_type="49") == ids(types[60:])
    assert found_ids(local, chatroom=["0@chatroom", "2@chatroom"], msg_type=1) == ids(
        [row for n, row in enumerate(rooms) if n % 3 != 1]
    )


def test_sender_is_the_speaker_of_a_group_and_else_whom_it_is_from(lake: MessagesLake, local: Lake) -> None:
    lake.append(
        message(1, chatroom_sender="wxid_a", from_username="room"),
        message(2, chatroom_sender="", from_username="wxid_a"),
        message(3, chatroom_sender="wxid_b", from_username="wxid_a"),
    )
    assert found_ids(local, sender="wxid_a") == ids(lake.rows[:2])


def test_a_month_in_order_and_in_pages(lake: MessagesLake, local: Lake) -> None:
    """LAKE-S7, LAKE-9: order is create_time, then msg_id as text; pages neither overlap nor skip."""
    one = pa.Table.from_pylist([message(0)], schema=STORED).take(pa.array([0] * 5_000))
    for day in range(30):
        at = DAY + timedelta(days=day)
        seconds = [int(at.timestamp()) + n * 7919 % 5_000 // 7 for n in range(5_000)]
        values = {
            "msg_id": pa.array([f"{day * 5_000 + n}" for n in range(5_000)]),
            "create_time": pa.array(seconds, pa.timestamp("s", "UTC")).cast(pa.timestamp("us", "UTC")),
            "month": pa.array([f"{at:%m}"] * 5_000),
            "day": pa.array([f"{at:%d}"] * 5_000),
        }
        for name, column in values.items():
            one = one.set_column(one.schema.get_field_index(name), STORED.field(name), column)
        write_deltalake(str(lake.table), one, mode="append", partition_by=["year", "month", "day"])
    month = (TODAY, "2026-04-12")
    found = local.query(*month, columns=["create_time", "msg_id"])
    assert (found.total, found.files_opened) == (150_000, 30)
    rows = found.table()
    keys = list(zip(rows["create_time"].to_pylist(), rows["msg_id"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len({msg_id for _, msg_id in keys}) == 150_000
    pages = [found_ids(local, *month, limit=9_000, offset=at) for at in range(4_000, 150_000, 9_000)]
    assert [each for page in pages for each in page] == [msg_id for _, msg_id in keys[4_000:]]
    assert local.query(*month, limit=1, offset=999_999).total == 150_000


def test_the_turn_of_the_year(lake: MessagesLake, local: Lake) -> None:
    """LAKE-S19: four days across the year's end and no others."""
    lake.append(*(message(n, datetime(2025, 12, 28, 12, tzinfo=UTC) + timedelta(days=n)) for n in range(8)))
    found = local.query("2025-12-30", "2026-01-02", columns=["day"])
    assert found.files_opened == 4
    assert found.table()["day"].to_pylist() == [30, 31, 1, 2]


@pytest.mark.parametrize(
    ("days", "asked", "named"),
    [
        (("2026-03-15", TODAY), {}, "start_date"),
        (("2026-3-14", TODAY), {}, "start_date"),
        ((TODAY, "2026-02-30"), {}, "end_date"),
        ((TODAY, TODAY), {"columns": ["msg_id", "nope"]}, "columns: unknown column 'nope'"),
        ((TODAY, TODAY), {"columns": ["msg_id", "msg_id"]}, "columns"),
        ((TODAY, TODAY), {"columns": []}, "columns"),
        ((TODAY, TODAY), {"nope": 1}, "nope"),
        ((TODAY, TODAY), {"msg_type": "x"}, "msg_type"),
        ((TODAY, TODAY), {"limit": 0}, "limit"),
        ((TODAY, TODAY), {"offset": -1}, "offset"),
    ],
)
def test_what_makes_no_sense_is_a_value_error_that_names_it(
    local: Lake, days: tuple[str, str], asked: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadQueryError, match=named) as refused:
        local.query(*days, **asked)
    assert isinstance(refused.value, ValueError)


def test_a_root_that_is_not_there_and_one_that_is_empty(tmp_path: Path, local: Lake) -> None:
    with pytest.raises(LakeNotFoundError, match="nowhere"):
        Lake(tmp_path / "nowhere")
    found = local.query(TODAY, TODAY)
    assert (found.total, found.table().num_rows, tuple(found.schema.names)) == (0, 0, COLUMNS)
    assert tuple(local.query_by_id(["1"]).table().schema.names) == COLUMNS


def test_columns_come_in_the_order_asked_and_the_days_hold_without_create_time(
    lake: MessagesLake, local: Lake
) -> None:
    """LAKE-100: a row whose create_time is of another day than its partition is not answered."""
    lake.append(message(1), message(2, create_time=DAY + timedelta(days=1)))
    found = local.query(TODAY, TODAY, columns=["day", "msg_id"]).table()
    assert found.to_pylist() == [{"day": 14, "msg_id": lake.rows[0]["msg_id"]}]
    assert found.schema.names == ["day", "msg_id"]


def test_by_id(lake: MessagesLake, archive: MessagesLake, local: Lake) -> None:
    """LAKE-102: each once, wherever it is stored; unknown ids are absent."""
    lake.append(*(message(n) for n in range(5)))
    archive.append(message(7, DAY - timedelta(days=200)))
    wanted = [lake.rows[3]["msg_id"], "unknown", archive.rows[0]["msg_id"], lake.rows[3]["msg_id"]]
    found = local.query_by_id(wanted, columns=["msg_id"]).table()["msg_id"].to_pylist()
    assert found == [archive.rows[0]["msg_id"], lake.rows[3]["msg_id"]]
    assert local.query_by_id(wanted, include_archive=False).total == 1
    assert local.query_by_id([]).table().num_rows == 0
    with pytest.raises(BadQueryError, match="nope"):
        local.query_by_id(wanted, columns=["nope"])


def test_hot_and_archived_rows_of_a_day_are_merged(
    lake: MessagesLake, archive: MessagesLake, local: Lake
) -> None:
    """LAKE-101, and LAKE-63: a late message of an archived day stands in the lake."""
    archive.append(*(message(n, DAY + timedelta(seconds=n)) for n in range(0, 40, 2)))
    lake.append(*(message(n, DAY + timedelta(seconds=n)) for n in range(1, 40, 2)))
    both = ids(lake.rows + archive.rows)
    assert found_ids(local) == both
    assert found_ids(local, limit=5, offset=17) == both[17:22]
    assert found_ids(local, msg_type=1) == both
    assert found_ids(local, include_archive=False) == ids(lake.rows)


def test_a_day_between_the_two_commits_of_its_archiving_is_answered_once(
    lake: MessagesLake, archive: MessagesLake, local: Lake
) -> None:
    rows = [message(n, DAY + timedelta(seconds=n)) for n in range(30)]
    late = message(99, DAY + timedelta(seconds=3))
    lake.append(*rows, late)
    archive.append(*rows)
    wanted = [shown(row) for row in ordered([*rows, late])]
    found = local.query(TODAY, TODAY)
    assert found.total == 31
    assert json_rows(found.batches()) == wanted
    assert found_ids(local, msg_type=1, limit=4, offset=2) == [row["msg_id"] for row in wanted[2:6]]
    assert local.query_by_id([rows[4]["msg_id"]]).total == 1


def test_masked_unless_clear_values_are_asked_for(lake: MessagesLake, local: Lake) -> None:
    """LAKE-54, LAKE-55, LAKE-56."""
    extra = '{"mobile":"+86 13905718264","customInfo":{"detailVisible":1,"detail":"secret"},"n":18446744073709551617}'
    lake.append(message(1, extra_fields=extra))
    (masked,) = local.query(TODAY, TODAY, columns=["extra_fields"]).table()["extra_fields"].to_pylist()
    (clear,) = local.query_by_id([lake.rows[0]["msg_id"]], unmask=True).table()["extra_fields"].to_pylist()
    assert masked == (
        '{"mobile":"+86 139****8264","customInfo":{"detailVisible":1,"detail":"***"},"n":18446744073709551617}'
    )
    assert clear == extra


def test_a_damaged_file_is_named_and_the_rest_is_answered(lake: MessagesLake, local: Lake) -> None:
    """LAKE-90."""
    lake.append(message(1))
    (broken,) = lake.files()
    lake.append(message(2))
    broken.write_bytes(b"")
    found = local.query(TODAY, TODAY, columns=["msg_id"])
    assert found.table()["msg_id"].to_pylist() == [lake.rows[1]["msg_id"]]
    assert [broken.name in warning for warning in found.warnings] == [True]


@pytest.mark.parametrize(("name", "content"), [("empty.parquet", b""), ("report.xlsx", b"PK")])
def test_a_file_that_the_table_does_not_know_is_named(
    lake: MessagesLake, local: Lake, name: str, content: bytes
) -> None:
    """LAKE-90: an empty or foreign file is never silently passed over, nor touched."""
    lake.append(message(1), message(2, DAY + timedelta(days=1)))
    strange = lake.files()[0].parent / name
    strange.write_bytes(content)
    for found in (local.query(TODAY, TODAY), local.query_by_id([lake.rows[0]["msg_id"]])):
        assert found.table().num_rows == 1
        assert [name in warning for warning in found.warnings] == [True]
    assert local.query("2026-03-15", "2026-03-15").warnings == ()
    assert strange.read_bytes() == content


def test_what_our_writers_leave_behind_is_no_matter(lake: MessagesLake, local: Lake) -> None:
    """LAKE-1: hidden, temporary and lock files are never read; replaced and orphaned ones are the keeper's."""
    lake.append(message(1))
    lake.append(message(2))
    partition = lake.files()[0].parent
    DeltaTable(str(lake.table)).optimize.compact()
    for name in (".hidden.parquet", "x.parquet.tmp", "x.lock", "_SUCCESS"):
        (partition / name).write_bytes(b"not parquet")
    orphan = partition / "part-00000-3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410-c000.snappy.parquet"
    shutil.copy(lake.files()[0], orphan)
    found = local.query(TODAY, TODAY)
    assert (found.table().num_rows, found.warnings) == (2, ())


def test_a_tree_without_a_log_is_read_as_its_files(tmp_path: Path) -> None:
    rows = [message(n, DAY + timedelta(days=n % 3)) for n in range(30)]
    root = tmp_path / "parquet"
    pq.write_to_dataset(
        pa.Table.from_pylist(rows, schema=STORED), root / "messages", partition_cols=["year", "month", "day"]
    )
    empty = root / "messages" / "year=2026" / "month=03" / "day=14" / "zero.parquet"
    empty.write_bytes(b"")
    (empty.parent / ".part.parquet").write_bytes(b"junk")
    (empty.parent / "part.parquet.tmp").write_bytes(b"junk")
    for place in (root, root / "messages"):
        with Lake(place) as local:
            found = local.query(TODAY, TODAY, columns=["msg_id", "month"])
            assert found.table()["msg_id"].to_pylist() == ids(rows[::3])
            assert any("zero.parquet is empty" in warning for warning in found.warnings)
            assert any("no table log" in warning for warning in found.warnings)
            assert local.query_by_id([rows[4]["msg_id"]]).total == 1
            assert found_ids(local, TODAY, "2026-03-16", limit=7, offset=8) == ids(rows)[8:15]


def test_a_log_that_cannot_be_read_is_said_so(lake: MessagesLake, local: Lake) -> None:
    lake.append(message(1))
    (lake.table / "_delta_log" / f"{0:020}.json").write_bytes(b"{ torn")
    with pytest.raises(LakeUnreadableError, match="log cannot be read"):
        local.query(TODAY, TODAY)


def test_nothing_depends_on_the_working_directory(
    lake: MessagesLake, local: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LAKE-2."""
    lake.append(message(1))
    monkeypatch.chdir("/")
    assert found_ids(local) == ids(lake.rows)
    assert Path.cwd() == Path(os.sep)
