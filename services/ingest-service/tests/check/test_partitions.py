"""validate_partition and validate_schema (LAKE section 8, LAKE-90)."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from ingest_service.check.partitions import PartitionReport, validate_dataset, validate_partition
from ingest_service.check.schemas import validate_schema
from ingest_service.registry.registry import built_in
from millrace_testkit.messages_lake import DAY, STORED, MessagesLake, message

FILE_SCHEMA = pa.schema([field for field in STORED if field.name not in ("year", "month", "day")])


def partition_of(lake: MessagesLake) -> Path:
    return lake.table / "year=2026" / "month=03" / "day=14"


def plain_file(directory: Path, name: str, *rows: dict[str, Any], schema: pa.Schema = FILE_SCHEMA) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    kept = [{key: row[key] for key in row if key in schema.names} for row in rows]
    pq.write_table(pa.Table.from_pylist(kept, schema=schema), directory / name)
    return directory / name


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The directory of a partition of a tree without a log."""
    return tmp_path / "messages" / "year=2026" / "month=03" / "day=14"


def test_a_whole_partition_is_valid(lake: MessagesLake) -> None:
    lake.append(*(message(n) for n in range(5)))
    lake.append(message(9, DAY + timedelta(hours=23, minutes=59, seconds=59)))
    report = validate_partition(partition_of(lake))
    assert report == PartitionReport(True, 2, 6, sum(path.stat().st_size for path in lake.files()), ())


@pytest.mark.parametrize(
    "name", ["zero.parquet", "part-00000-3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410-c000.parquet"]
)
@pytest.mark.parametrize("logged", [True, False])
def test_an_intact_and_an_empty_file(lake: MessagesLake, plain: Path, logged: bool, name: str) -> None:
    """LAKE-S11: not valid, and the empty file is named; it stays."""
    if logged:
        lake.append(message(1))
    else:
        plain_file(plain, "intact.parquet", message(1))
    directory = partition_of(lake) if logged else plain
    (directory / name).write_bytes(b"")
    report = validate_partition(directory)
    assert (report.is_valid, report.file_count, report.total_records) == (False, 2, 1)
    assert len(report.errors) == 1
    assert report.errors[0].startswith(f"{name}: is empty")
    assert (directory / name).exists()


@pytest.mark.parametrize("damage", ["cut", "garbage", "pages", "gone"])
def test_a_damaged_file_is_named(lake: MessagesLake, damage: str) -> None:
    lake.append(message(1))
    (file,) = lake.files()
    lake.append(message(2))
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[:-10])
    elif damage == "garbage":
        file.write_bytes(b"\xa5" * len(content))
    elif damage == "pages":
        file.write_bytes(content[:8] + b"\xa5" * 392 + content[400:])
    else:
        file.unlink()
    report = validate_partition(partition_of(lake))
    assert not report.is_valid
    assert [error.startswith(f"{file.name}: ") for error in report.errors] == [True]
    assert report.total_records == 1


def test_a_file_that_may_not_be_read_is_named(lake: MessagesLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.append(message(1))
    (file,) = lake.files()
    opening = pq.ParquetFile

    def refusing(path: Path, **options: Any) -> Any:
        if path == file:  # tests may run as root, who may read everything
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path, **options)

    monkeypatch.setattr(pq, "ParquetFile", refusing)
    assert validate_partition(partition_of(lake)).errors == (f"{file.name}: may not be read",)


def test_a_path_that_is_no_partition(tmp_path: Path, plain: Path) -> None:
    missing = validate_partition(tmp_path / "nowhere")
    assert (missing.is_valid, missing.file_count) == (False, 0)
    assert "nowhere" in missing.errors[0]
    (tmp_path / "file").write_text("x")
    assert "not a directory" in validate_partition(tmp_path / "file").errors[0]
    plain.mkdir(parents=True)
    assert validate_partition(plain).errors == (f"{plain}: has no data file",)
    plain_file(tmp_path / "today", "a.parquet", message(1))
    assert "gives no day" in validate_partition(tmp_path / "today").errors[0]


def test_files_of_different_schemas(plain: Path) -> None:
    """LAKE-84: a partition has a single schema."""
    plain_file(plain, "1.parquet", message(1))
    wider = FILE_SCHEMA.append(pa.field("reaction", pa.string()))
    plain_file(plain, "2.parquet", message(2), schema=wider)
    changed = FILE_SCHEMA.set(5, pa.field("msg_type", pa.int64()))
    plain_file(plain, "3.parquet", message(3), schema=changed)
    report = validate_partition(plain)
    assert report.errors == (
        "2.parquet: has another schema than 1.parquet: added fields: reaction",
        "3.parquet: has another schema than 1.parquet: field msg_type changed from int32 to int64",
    )
    assert report.total_records == 3


def test_rows_of_another_day_and_empty_required_fields(plain: Path) -> None:
    """LAKE-62: 00:00:00 UTC is the next day, whatever the host's time zone."""
    plain_file(
        plain,
        "1.parquet",
        message(1, DAY + timedelta(hours=23, minutes=59, seconds=59)),
        message(2, DAY + timedelta(days=1)),
        message(3, DAY - timedelta(microseconds=1)),
        message(4, guid="", from_username=""),
    )
    assert validate_partition(plain).errors == (
        "1.parquet: required field from_username is empty in 1 rows",
        "1.parquet: required field guid is empty in 1 rows",
        "1.parquet: 2 rows are not of the UTC day 2026-03-14, such as one of 2026-03-15 00:00:00+00:00",
    )


def test_a_required_column_that_is_not_there(plain: Path) -> None:
    plain_file(plain, "1.parquet", message(1), schema=FILE_SCHEMA.remove(0))
    assert "1.parquet: required field msg_id is missing" in validate_partition(plain).errors


def test_what_a_writer_of_ours_leaves_behind_is_neither_read_nor_wrong(lake: MessagesLake) -> None:
    """LAKE-1: and hidden, temporary and lock files are no data."""
    lake.append(message(1))
    lake.append(message(2))
    DeltaTable(str(lake.table)).optimize.compact()
    orphan = "part-00000-3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410-c000.snappy.parquet"
    shutil.copy(lake.files()[0], partition_of(lake) / orphan)
    for name in (".hidden.parquet", "x.parquet.tmp", "x.lock", f"{orphan}#1"):
        (partition_of(lake) / name).write_bytes(b"")
    report = validate_partition(partition_of(lake))
    assert (report.is_valid, report.file_count, report.total_records) == (True, 1, 2)


def test_a_foreign_file_is_reported_and_stays(lake: MessagesLake) -> None:
    lake.append(message(1))
    foreign = [
        plain_file(partition_of(lake), "mine.parquet", message(2)),
        partition_of(lake) / "notes.txt",
    ]
    foreign[1].write_text("do not delete")
    report = validate_partition(partition_of(lake))
    assert report.errors == tuple(f"{path.name}: is not a file of the lake" for path in foreign)
    assert (report.file_count, report.total_records) == (1, 1)
    assert all(path.exists() for path in foreign)


def test_all_partitions_and_files_that_lie_in_none(lake: MessagesLake) -> None:
    lake.append(*(message(n, DAY + timedelta(days=n)) for n in range(3)))
    (lake.table / "year=2026" / "lost.parquet").write_bytes(b"x")
    reports = list(validate_dataset(lake.table))
    assert [path.name for path, _ in reports] == ["day=14", "day=15", "day=16", "messages"]
    assert [report.is_valid for _, report in reports] == [True, True, True, False]
    assert reports[-1][1].errors == ("year=2026/lost.parquet: is not a file of the lake",)


def test_validate_schema(plain: Path) -> None:
    expected = built_in("message_content")
    assert validate_schema(plain_file(plain, "1.parquet", message(1)), expected).is_valid
    different = FILE_SCHEMA.remove(0).append(pa.field("later", pa.int8()))
    different = different.set(4, pa.field("msg_type", pa.string()))
    report = validate_schema(
        plain_file(plain, "2.parquet", message(2, msg_type="1"), schema=different), expected
    )
    assert (report.is_valid, report.missing_fields, report.extra_fields) == (False, ("msg_id",), ("later",))
    assert [(each.field, each.expected, each.actual) for each in report.type_mismatches] == [
        ("msg_type", "int32", "string")
    ]
    assert report.errors == ("missing field msg_id", "field msg_type is string, expected int32")


def test_validate_schema_allows_more_fields_and_refuses_what_it_cannot_read(plain: Path) -> None:
    wider = FILE_SCHEMA.append(pa.field("later", pa.int8()))
    file = plain_file(plain, "1.parquet", message(1), schema=wider)
    report = validate_schema(file, built_in("message_content"))
    assert (report.is_valid, report.extra_fields) == (True, ("later",))
    (plain / "2.parquet").write_bytes(b"")
    assert "is empty" in validate_schema(plain / "2.parquet", FILE_SCHEMA).errors[0]
    assert "is missing" in validate_schema(plain / "3.parquet", FILE_SCHEMA).errors[0]
