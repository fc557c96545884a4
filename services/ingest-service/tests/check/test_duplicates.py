"""detect_duplicates (LAKE section 8, LAKE-64)."""

import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_service.check.duplicates import Duplicate, detect_duplicates
from millrace_testkit.messages_lake import DAY, MessagesLake, message


def test_a_lake_without_repeats_and_one_that_is_not_there(lake: MessagesLake, tmp_path: Path) -> None:
    assert detect_duplicates(tmp_path / "nowhere").rows == ()
    lake.root.mkdir()
    assert detect_duplicates(lake.root).rows == ()
    lake.append(*(message(n) for n in range(50)))
    report = detect_duplicates(lake.root)
    assert (report.rows, report.unreadable, report.total_records, report.surplus_rows) == ((), (), 50, 0)


def test_repeats_across_files_and_days_highest_count_first(lake: MessagesLake) -> None:
    lake.append(*(message(n) for n in range(10)))
    lake.append(message(3), message(4), message(11, msg_id="text-id"), message(12, msg_id=""))
    lake.append(message(4, DAY + timedelta(days=1)), message(13, msg_id="text-id"))
    one, two = message(4)["msg_id"], message(3)["msg_id"]
    for root in (lake.root, lake.table):
        report = detect_duplicates(root)
        assert report.rows == (Duplicate(one, 3), Duplicate(two, 2), Duplicate("text-id", 2))
        assert report.surplus_rows == 4


def test_damaged_files_are_reported_and_the_others_counted(lake: MessagesLake) -> None:
    lake.append(message(1))
    broken = lake.files()[0]
    lake.append(message(2))
    lake.append(message(2))
    broken.write_bytes(b"")
    (broken.parent / "foreign.parquet").write_bytes(b"x")
    report = detect_duplicates(lake.root)
    assert report.rows == (Duplicate(message(2)["msg_id"], 2),)
    assert len(report.unreadable) == 2
    assert all(name in "".join(report.unreadable) for name in (broken.name, "foreign.parquet"))


def test_the_archive_counts_too_but_not_a_day_on_its_way_there(lake: MessagesLake, tmp_path: Path) -> None:
    archive = MessagesLake(tmp_path / "archive")
    old = DAY - timedelta(days=100)
    archive.append(message(1, old), message(2, old))
    lake.append(message(1, old), message(2, old), message(5, old))  # archived, not yet removed
    lake.append(message(7))
    assert detect_duplicates(lake.root, archive.root).rows == ()
    lake.append(message(2))  # on another day: a repeat
    lake.append(message(5, old))
    found = detect_duplicates(lake.root, archive.root).rows
    assert found == (Duplicate(message(2)["msg_id"], 2), Duplicate(message(5)["msg_id"], 2))
    assert detect_duplicates(lake.root).total_records == 6


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["7", "07", "18446744073709551616", "a", "é", "", "8", "9"]), max_size=60))
def test_every_repeat_is_found_and_nothing_else(tmp_path: Path, ids: list[str]) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    directory = root / "messages" / "year=2026" / "month=03" / "day=14"
    directory.mkdir(parents=True)
    for number in range(0, len(ids), 7):
        table = pa.table({"msg_id": pa.array(ids[number : number + 7], pa.string())})
        pq.write_table(table, directory / f"{number}.parquet")
    wanted = {each: count for each, count in Counter(ids).items() if count > 1}
    assert {row.msg_id: row.count for row in detect_duplicates(root).rows} == wanted
