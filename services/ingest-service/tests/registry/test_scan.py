"""The evolution scan (LAKE-85)."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest_service.errors import NotFoundError
from ingest_service.registry.registry import built_in
from ingest_service.registry.scan import FilesOfVersion, scan_evolution
from millrace_testkit.messages_lake import DAY, MessagesLake, message

OLD = pa.schema([("msg_id", pa.string()), ("msg_type", pa.int32())])
NEW = OLD.append(pa.field("reaction", pa.string()))


def write(root: Path, day: int, name: str, schema: pa.Schema) -> str:
    partition = f"year=2026/month=03/day={day:02d}"
    (root / "messages" / partition).mkdir(parents=True, exist_ok=True)
    pq.write_table(schema.empty_table(), root / "messages" / partition / name)
    return f"{partition}/{name}"


def test_a_lake_of_one_version(tmp_path: Path) -> None:
    lake = MessagesLake(tmp_path / "parquet")
    lake.append(message(1), message(2, DAY + timedelta(days=1)))
    lake.append(message(3))
    report = scan_evolution(lake.root, latest=built_in("message_content"))
    assert not report.has_evolution
    assert [(each.field_count, each.file_count) for each in report.schema_versions] == [(20, 3)]
    assert (report.incompatible_partitions, report.warnings) == ((), ())


def test_files_of_two_versions(tmp_path: Path) -> None:
    first = write(tmp_path, 1, "a.parquet", OLD)
    write(tmp_path, 2, "a.parquet", OLD)
    second = write(tmp_path, 3, "a.parquet", NEW)
    report = scan_evolution(tmp_path)
    assert report.has_evolution
    assert report.schema_versions == (FilesOfVersion(2, 2, first), FilesOfVersion(3, 1, second))
    assert report.incompatible_partitions == ()


def test_files_that_the_latest_version_breaks_are_listed(tmp_path: Path) -> None:
    write(tmp_path, 1, "a.parquet", OLD)
    changed = write(tmp_path, 2, "b.parquet", OLD.set(1, pa.field("msg_type", pa.string())))
    report = scan_evolution(tmp_path, latest=NEW)
    assert [(each.file, each.errors) for each in report.incompatible_partitions] == [
        (changed, ("field msg_type changed from string to int32",))
    ]


def test_damaged_files_are_warnings_and_not_fatal(tmp_path: Path) -> None:
    write(tmp_path, 1, "a.parquet", OLD)
    for name, content in (("zero.parquet", b""), ("junk.parquet", b"junk")):
        (tmp_path / "messages" / "year=2026" / "month=03" / "day=01" / name).write_bytes(content)
    report = scan_evolution(tmp_path)
    assert [(each.field_count, each.file_count) for each in report.schema_versions] == [(2, 1)]
    assert len(report.warnings) == 2
    assert "junk.parquet" in report.warnings[0]
    assert "zero.parquet" in report.warnings[1]


def test_no_root_and_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        scan_evolution(tmp_path / "nowhere")
    report = scan_evolution(tmp_path)
    assert (report.has_evolution, report.schema_versions, report.warnings) == (False, (), ())
