"""One journal into the lake, from its checkpoint on (LAKE-60 to LAKE-70)."""

from __future__ import annotations

import dataclasses
import datetime
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_service.errors import BadArgumentError, NotFoundError, StorageIoError
from ingest_service.ingest import incremental_ingest
from ingest_service.ingest.results import IngestResult
from ingest_service.ingest.session import Timing
from ingest_service.land.checkpoint import Status, checkpoint_of
from millrace_ports.journal import JournalRoot
from millrace_ports.journal.lock import FileLock
from millrace_runtime.logs import logging_during
from millrace_testkit.builders import batch, contact, data_of, encoded, message
from millrace_testkit.model import compare

from .conftest import DAY, Installation, messages

HEARTBEAT = encoded({"guid": "g-1", "notify_type": 1006, "data": {}})
BAD = b'{"guid":'
ADDED_UP_KEYS = {"lines", "blank", "rejected", "contacts", "other", "messages", "duplicates"}


def run(installation: Installation, journal: Path, batch_size: int = 1000) -> IngestResult:
    return incremental_ingest(
        journal, installation.parquet, installation.checkpoints, batch_size, timing=installation.timing
    )


def test_only_what_is_new_is_read(installation: Installation) -> None:
    """LAKE-S3, LAKE-60: 100 lines, then 20 more."""
    journal = installation.journal(*messages(range(100)))
    first = run(installation, journal)
    installation.journal(*messages(range(100, 120)))
    second = run(installation, journal)
    assert dataclasses.asdict(second) == {
        "total_processed": 20,
        "new_records": 20,
        "deduplicated": 20,
        "skipped_duplicates": 0,
        "contacts_written": 0,
        "other_written": 0,
        "rejected": 0,
        "checkpoint_offset": 120,
        "checkpoint_updated": True,
    }
    assert (first.total_processed, len(installation.rows())) == (100, 120)
    third = run(installation, journal)
    assert (third.total_processed, third.checkpoint_offset, third.checkpoint_updated) == (0, 120, False)


def test_the_checkpoint_has_the_sheet_s_fields_and_states(installation: Installation) -> None:
    """LAKE-6: not_started, processing, completed, and processing again when lines come."""
    journal = installation.journal(*messages([7, 5]))
    assert checkpoint_of(journal, installation.checkpoints).status == Status.NOT_STARTED
    run(installation, journal)
    assert installation.checkpoint() == {
        "source_file": str(journal),
        "last_processed_line": 2,
        "last_processed_msg_id": "5",
        "last_processed_timestamp": 1_772_668_805,
        "processed_record_count": 2,
        "checkpoint_time": "2026-03-18T00:00:00Z",
        "status": "completed",
        "error_message": "",
    }
    installation.journal(b"", BAD, batch(data_of("8", 1_772_668_800), data_of("9", 1_772_668_800)))
    run(installation, journal)
    found = installation.checkpoint()
    assert (
        found["last_processed_line"],
        found["processed_record_count"],
        found["last_processed_msg_id"],
    ) == (
        5,
        5,  # a blank line is none, a batch is each of its elements
        "9",
    )


def test_every_line_is_accounted_for(installation: Installation) -> None:
    """LAKE-61, LAKE-S2 in kind, LAKE-S8, LAKE-S10, LAKE-91."""
    journal = installation.journal(
        message("1"),
        BAD,
        b"",
        message("1"),
        contact("wxid_a", "A"),
        HEARTBEAT,
        batch(data_of("2", 1_772_668_800), data_of("1", 1_772_668_800), {"no": "id"}),
    )
    result = run(installation, journal)
    assert (result.new_records, result.deduplicated, result.skipped_duplicates) == (4, 2, 2)
    assert (result.contacts_written, result.other_written, result.rejected) == (1, 1, 2)
    sums = dataclasses.asdict(result.accounting)
    assert sums.keys() == ADDED_UP_KEYS
    assert sums.pop("lines") == sum(sums.values()) == result.total_processed == 9
    assert sums["blank"] == 1
    dead = installation.rows("dead_letters")
    assert [(row["src_line"], row["error_type"]) for row in dead] == [(2, "parse_error"), (7, "schema_error")]
    rejected = (installation.root / "messages" / "rejected" / "2026-03-18.jsonl").read_text().splitlines()
    assert len(rejected) == 2
    assert compare(installation.root, today="2026-03-18") == []


def test_a_bad_line_costs_only_itself(installation: Installation) -> None:
    """LAKE-S8: line 2 of 3."""
    result = run(installation, installation.journal(message("1"), BAD, message("3")))
    assert (result.deduplicated, result.rejected) == (2, 1)
    assert [row["src_line"] for row in installation.rows("dead_letters")] == [2]


def test_of_a_contact_synced_twice_the_later_stays(installation: Installation) -> None:
    """LAKE-S20, LAKE-65: also when an older journal is ingested after a newer one."""
    installation.journal(contact("wxid_a", "A"), contact("wxid_a", "B"))
    installation.ingest()
    assert [(row["username"], row["nickName"]) for row in installation.rows("contacts")] == [
        ("wxid_a", '{"string":"B"}')
    ]
    older = installation.journal(contact("wxid_a", "older"), day="2026-03-01")
    assert run(installation, older).contacts_written == 1
    assert [row["nickName"] for row in installation.rows("contacts")] == ['{"string":"B"}']


def test_a_msg_id_is_stored_once_over_days_journals_and_instances(installation: Installation) -> None:
    """LAKE-63, LAKE-64: the first one stored wins, wherever its day is."""
    day_s = 86_400
    installation.journal(message("1", 1_773_446_400, content="first"), day="2026-03-14")
    installation.journal(
        message("1", 1_773_446_400 - 40 * day_s, content="late"), message("2", 1_773_446_400 - 40 * day_s),
        day="2026-03-15",
    )  # fmt: skip
    first, second = installation.ingest()
    assert (first.deduplicated, second.deduplicated, second.skipped_duplicates) == (1, 1, 1)
    assert [(r["msg_id"], r["month"], r["day"], r["content"][:5]) for r in installation.rows()] == [
        ("1", "03", "14", "first"),
        ("2", "02", "02", "你好 2 "),
    ]


def test_lines_that_are_still_being_written_wait(installation: Installation) -> None:
    """LAKE-34: today's torn line is not consumed, an older day's is."""
    today = installation.clock.now().strftime("%Y-%m-%d")
    journal = installation.journal(message("1"), message("2"), day=today, end=b"")
    assert run(installation, journal).checkpoint_offset == 1
    assert installation.checkpoint(today)["status"] == "completed"
    installation.clock.advance(86_400)
    assert run(installation, journal).checkpoint_offset == 2
    assert installation.ids() == ["1", "2"]
    assert run(installation, journal).total_processed == 0


def test_an_unreadable_checkpoint_counts_as_none(installation: Installation) -> None:
    """LAKE-70: everything is read again and nothing is stored twice."""
    journal = installation.journal(*messages(range(30)), contact("wxid_a", "A"), HEARTBEAT, BAD)
    run(installation, journal)
    before = {table: installation.rows(table) for table in ("messages", "contacts", "other", "dead_letters")}
    (installation.checkpoints / f"{DAY}_checkpoint.json").write_bytes(b'{"source_file": 3')
    again = run(installation, journal, batch_size=1)
    assert (again.total_processed, again.deduplicated, again.skipped_duplicates) == (33, 0, 30)
    assert again.checkpoint_offset == 33
    assert {table: installation.rows(table) for table in before} == before
    assert installation.checkpoint()["processed_record_count"] == 66


def test_a_journal_with_fewer_lines_than_its_checkpoint_is_read_anew(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """LAKE-70: an error is logged; the rows of both journals are there."""
    journal = installation.journal(*messages(range(10)), HEARTBEAT)
    run(installation, journal)
    journal.write_bytes(b"\n".join([*messages([3, 50]), HEARTBEAT]) + b"\n")
    with logging_during("test", "ERROR"):
        result = run(installation, journal)
    assert (result.total_processed, result.deduplicated, result.checkpoint_offset) == (3, 1, 3)
    assert sorted(installation.ids(), key=int) == [*map(str, range(10)), "50"]
    # A notification has no key but its line: that of the new journal is another one.
    assert [row["src_line"] for row in installation.rows("other")] == [3, 11]
    assert "journal_replaced" in capsys.readouterr().err
    assert installation.checkpoint()["last_processed_line"] == 3


def test_a_second_ingest_of_a_journal_waits_and_then_says_so(installation: Installation) -> None:
    """LAKE-68, LAKE-60: within the wait it goes on, after it it is a lock error, and nothing is changed."""
    journal = installation.journal(*messages(range(3)))
    door = JournalRoot(installation.raw).door
    path = installation.root / "metadata" / "locks" / f"{door}@{DAY}.lock"
    path.parent.mkdir(parents=True)
    lock = FileLock(path)
    lock.acquire(0)
    installation.timing = Timing(installation.clock, lock_wait_s=0.05)
    with pytest.raises(StorageIoError, match="being ingested by another process") as refused:
        run(installation, journal)
    assert refused.value.exit_code == 74
    assert installation.rows() == []
    installation.timing = Timing(installation.clock, lock_wait_s=30)
    threading.Timer(0.2, lock.close).start()
    assert run(installation, journal).deduplicated == 3
    assert Timing().lock_wait_s == 60


def test_two_journals_of_one_day_have_a_checkpoint_each(installation: Installation, tmp_path: Path) -> None:
    """Two roots into one lake: each has its own door, lines and checkpoint."""
    first = installation.journal(*messages(range(3)))
    other = Installation(tmp_path / "elsewhere")
    second = other.journal(*messages(range(2, 6)))
    assert run(installation, first).checkpoint_offset == 3
    assert run(installation, second).skipped_duplicates == 1
    assert run(installation, first).total_processed == run(installation, second).total_processed == 0
    names = {path.name for path in installation.checkpoints.glob("*.json")}
    assert names == {f"{DAY}_checkpoint.json", f"{DAY}@{JournalRoot(other.raw).door}_checkpoint.json"}


def test_what_is_no_journal_is_named(installation: Installation) -> None:
    """LAKE-92."""
    installation.raw.mkdir(parents=True)
    with pytest.raises(NotFoundError, match="2026-03-15"):
        run(installation, installation.raw / "2026-03-15.jsonl")
    strange = installation.raw / "notes.jsonl"
    strange.touch()
    with pytest.raises(BadArgumentError, match=r"notes\.jsonl.*YYYY-MM-DD"):
        run(installation, strange)
    with pytest.raises(BadArgumentError, match="batch_size"):
        run(installation, strange, batch_size=0)
    assert not installation.parquet.exists()


def test_without_deduplication_every_line_is_a_row_and_a_second_run_adds_none(
    installation: Installation,
) -> None:
    """LAKE-66 holds by position."""
    journal = installation.journal(message("1"), message("1"), message("2"))
    first = incremental_ingest(journal, installation.parquet, deduplicate=False, timing=installation.timing)
    assert (first.new_records, first.deduplicated, first.skipped_duplicates) == (3, 3, 0)
    (installation.checkpoints / f"{DAY}_checkpoint.json").unlink()
    second = incremental_ingest(journal, installation.parquet, deduplicate=False, timing=installation.timing)
    assert second.total_processed == 0
    assert installation.ids() == ["1", "1", "2"]


def test_files_have_dictionaries_where_they_help_and_statistics(installation: Installation) -> None:
    """LAKE-69, read from the file's own metadata."""
    run(installation, installation.journal(*messages(range(500))))
    [file] = DeltaTable(str(installation.parquet / "messages")).file_uris()
    group = pq.read_metadata(file.removeprefix("file://")).row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    encoded_by = {name for name, column in columns.items() if "RLE_DICTIONARY" in column.encodings}
    assert {"from_username", "to_username", "chatroom", "chatroom_sender", "msg_type"} <= encoded_by
    assert not {"content", "source", "msg_id"} & encoded_by
    assert {column.compression for column in columns.values()} == {"SNAPPY"}
    assert (columns["msg_id"].statistics.min, columns["msg_id"].statistics.max) == ("0", "99")
    assert all(column.statistics is not None for column in columns.values())
    assert not {"year", "month", "day"} & columns.keys()


@settings(max_examples=5)
@given(
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    batch_size=st.integers(1, 2),
    again=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_any_sequence_of_runs_gives_the_lake_of_the_journal(
    cuts: list[int], batch_size: int, again: list[bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """LAKE-61, LAKE-66: however lines come and runs repeat, every run adds up and the model agrees."""
    installation = Installation(tmp_path_factory.mktemp("runs"))
    kinds = [message("1"), BAD, b"", contact("wxid_a", "A"), HEARTBEAT, b"[]", message("2"), message("1")]
    read = lines = 0
    for cut, lost in zip(cuts, again, strict=False):
        journal = installation.journal(*[kinds[(lines + n) % len(kinds)] for n in range(cut)])
        lines += cut
        if lost:
            (installation.checkpoints / f"{DAY}_checkpoint.json").unlink(missing_ok=True)
        result = run(installation, journal, batch_size)
        assert result.accounting.add_up()
        assert result.total_processed == (lines if lost else lines - read)
        assert result.checkpoint_offset == lines
        read = lines
    today = datetime.datetime.fromtimestamp(installation.clock.now_ms() / 1000, datetime.UTC)
    assert compare(installation.root, today=f"{today:%Y-%m-%d}") == []
