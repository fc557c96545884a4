"""Days that are old enough move to the archive: every row once, whatever happens in between (LAKE-110)."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from ingest_service.errors import BadArgumentError, NotFoundError
from ingest_service.keep import move as moving
from ingest_service.keep.archive import ArchiveResult, archive
from ingest_service.lake.archived import Day, files_by_day, paths_of
from ingest_service.lake.partitions import NAME as PARTITIONS
from ingest_service.lake.recover import check_archive
from ingest_service.lake.tables import WRITER_PROPERTIES, Lake
from millrace_testkit.messages_lake import DAY, MessagesLake, message
from millrace_testkit.model.tables import read_dataset, read_rows
from millrace_testkit.othertable import OtherTable

OLD = Day("2026", "03", "14")
"""`DAY`, 91 days before `TODAY`."""

TODAY = DAY.date() + datetime.timedelta(days=91)
MOMENTS = ("AFTER_ARCHIVE_COMMIT_BEFORE_COMPARE", "AFTER_COMPARE_BEFORE_DELETE", "AFTER_DELETE_BEFORE_SYNC")


@pytest.fixture
def messages(lake: Lake) -> MessagesLake:
    return MessagesLake(lake.root)


@pytest.fixture
def run(lake: Lake, tmp_path: Path) -> Callable[..., ArchiveResult]:
    return lambda **options: archive(lake, tmp_path / "metadata", **{"today": TODAY} | options)


def day(number: int) -> datetime.datetime:
    """Noon of a day that is so many days after the old one."""
    return DAY + datetime.timedelta(days=number, hours=12)


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["msg_id"] for row in rows)


def at(monkeypatch: pytest.MonkeyPatch, moment: str, act: Callable[[], None], times: int = 1) -> None:
    """Have something happen at a moment of a move, the first so many times that it comes."""
    left = [times]

    def crash_point(name: str) -> None:
        if name == moment and left[0]:
            left[0] -= 1
            act()

    monkeypatch.setattr(moving, "crash_point", crash_point)


def test_of_days_aged_89_90_and_91_only_the_oldest_moves(
    messages: MessagesLake, lake: Lake, run: Callable[..., ArchiveResult], tmp_path: Path
) -> None:
    """LAKE-S12."""
    rows = [message(number, day(number % 3)) for number in range(90)]
    messages.append(*rows[:50])
    messages.append(*rows[50:])
    before = ids(read_rows(messages.table))

    result = run()

    assert [(one.dataset, one.partition_key, one.rows) for one in result.partitions] == [
        ("messages", str(OLD), 30)
    ]
    assert result.failed == ()
    assert sorted(map(str, files_by_day(DeltaTable(str(messages.table))))) == ["2026-03-15", "2026-03-16"]
    archived = DeltaTable(str(lake.archive.path("messages")))
    assert list(files_by_day(archived)) == [OLD]
    assert ids(read_dataset(tmp_path, "messages")) == before
    assert len(read_rows(lake.archive.path("messages"))) == 30
    codecs = {pq.read_metadata(path).row_group(0).column(0).compression for path in paths_of(archived)}
    assert codecs == {"ZSTD"}


def test_the_result_has_the_sizes_and_their_ratio(
    messages: MessagesLake, lake: Lake, run: Callable[..., ArchiveResult]
) -> None:
    messages.append(*(message(number, content="the same again and again " * 200) for number in range(3000)))
    before = sum(path.stat().st_size for path in messages.files())

    found = run().summary()

    after = sum(path.stat().st_size for path in lake.archive.path("messages").rglob("part-*.parquet"))
    assert found["archived_partitions"] == 1
    assert found["total_size_before_mb"] == round(before / 1e6, 2) > 0
    assert found["total_size_after_mb"] == round(after / 1e6, 2)
    assert found["compression_ratio"] == round(before / after, 2) > 1
    nothing = run().summary()
    assert [nothing[name] for name in list(nothing)[:4]] == [0, 0.0, 0.0, 0.0]


def test_a_day_in_the_archive_is_merged_with(
    messages: MessagesLake, lake: Lake, run: Callable[..., ArchiveResult], tmp_path: Path
) -> None:
    """LAKE-63, LAKE-110: late messages of an archived day join it, nothing is overwritten."""
    messages.append(message(1), message(2))
    run()
    messages.append(message(3, ingestion_time=day(91)))
    assert run().partitions[0].rows == 1
    assert ids(read_rows(lake.archive.path("messages"))) == ids(messages.rows)
    assert read_rows(messages.table) == []
    assert run().archived_partitions == 0
    entries = json.loads((tmp_path / "metadata" / PARTITIONS).read_bytes())["partitions"]
    assert [(one["file_count"], one["record_count"], one["compression"]) for one in entries] == [
        (2, 3, "zstd")
    ]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_ends_in_between_leaves_every_row_once_and_is_gone_on_with(
    messages: MessagesLake,
    lake: Lake,
    run: Callable[..., ArchiveResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """Also for a day that has been archived before."""

    def killed() -> None:
        raise KeyboardInterrupt

    messages.append(*(message(number) for number in range(20)))
    run()
    messages.append(*(message(number) for number in range(20, 30)))
    at(monkeypatch, moment, killed)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert ids(read_dataset(tmp_path, "messages")) == ids(messages.rows)

    run()
    assert ids(read_rows(lake.archive.path("messages"))) == ids(messages.rows)
    assert read_rows(messages.table) == []


def test_a_message_that_lands_while_its_day_is_compared_is_not_lost(
    messages: MessagesLake,
    lake: Lake,
    run: Callable[..., ArchiveResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages.append(message(1))
    at(monkeypatch, "AFTER_COMPARE_BEFORE_DELETE", lambda: messages.append(message(2)), times=1)
    assert run().partitions[0].rows == 2
    assert ids(read_rows(lake.archive.path("messages"))) == ids(messages.rows)
    assert read_rows(messages.table) == []


def test_a_day_to_which_messages_keep_coming_stays_and_the_others_go_on(
    messages: MessagesLake, run: Callable[..., ArchiveResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages.append(message(0, day(-1)), message(1))
    numbers = iter(range(100, 200))
    at(
        monkeypatch,
        "AFTER_COMPARE_BEFORE_DELETE",
        lambda: messages.append(message(next(numbers), day(-1))),
        times=8,
    )
    result = run()
    assert [(one.partition_key, one.error_type) for one in result.failed] == [("2026-03-13", "io")]
    assert [one.partition_key for one in result.partitions] == [str(OLD)]
    assert ids(read_dataset(tmp_path, "messages")) == ids(messages.rows)


def test_a_compaction_in_between_makes_it_start_over(
    messages: MessagesLake, lake: Lake, run: Callable[..., ArchiveResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        messages.append(message(number))
    at(
        monkeypatch,
        "AFTER_COMPARE_BEFORE_DELETE",
        lambda: DeltaTable(str(messages.table)).optimize.compact(),  # type: ignore[func-returns-value]
    )
    assert run().partitions[0].rows == 4
    assert ids(read_rows(lake.archive.path("messages"))) == ids(messages.rows)
    assert read_rows(messages.table) == []


def test_two_archivers_at_once_move_every_row_once(
    messages: MessagesLake, lake: Lake, tmp_path: Path
) -> None:
    for number in range(3):
        messages.append(*(message(number * 20 + row, day(-(row % 5))) for row in range(20)))
    start = threading.Barrier(2)

    def work() -> None:
        start.wait()
        archive(lake, tmp_path / "metadata", today=TODAY, level=1)

    both = [threading.Thread(target=work) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    archive(lake, tmp_path / "metadata", today=TODAY, level=1)  # what one of them may have given up
    assert ids(read_rows(lake.archive.path("messages"))) == ids(messages.rows)
    assert read_rows(messages.table) == []


def test_a_damaged_file_keeps_its_day_in_the_lake_and_is_named(
    messages: MessagesLake, run: Callable[..., ArchiveResult], tmp_path: Path
) -> None:
    """LAKE-90: the others go on."""
    messages.append(message(1, day(-1)), message(2, day(-2)), message(3))
    damaged = messages.files()[1]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    result = run()
    assert [one.partition_key for one in result.failed] == ["2026-03-13"]
    assert [one.partition_key for one in result.partitions] == ["2026-03-12", "2026-03-14"]
    assert list(files_by_day(DeltaTable(str(messages.table)))) == [Day("2026", "03", "13")]
    assert len(read_rows(tmp_path / "archive" / "messages")) == 2


def test_a_row_that_is_another_one_in_the_archive_keeps_its_day_in_the_lake(
    messages: MessagesLake, lake: Lake, run: Callable[..., ArchiveResult]
) -> None:
    messages.append(message(1, content="as it was"))
    run()
    messages.append(message(1, content="as it came again"), message(2))
    (failed,) = run().failed
    assert "column content" in failed.error
    assert message(1)["msg_id"] in failed.error
    assert ids(read_rows(messages.table)) == [message(1)["msg_id"], message(2)["msg_id"]]
    assert {row["content"] for row in read_rows(lake.archive.path("messages"))} >= {"as it was"}


def test_a_day_of_notifications_moves_as_well_and_dead_letters_stay(
    lake: Lake, run: Callable[..., ArchiveResult]
) -> None:
    lake.open("other")
    lake.open("dead_letters")
    other = OtherTable(lake.path("other"), WRITER_PROPERTIES["other"])
    other.append(range(1, 5), day="05")
    assert [(one.dataset, one.rows) for one in run().partitions] == [("other", 4)]
    assert other.lines() == []
    assert sorted(row["src_line"] for row in read_rows(lake.archive.path("other"))) == [1, 2, 3, 4]
    assert not lake.archive.exists("dead_letters")


def test_a_large_day_is_compared_part_by_part(
    messages: MessagesLake, lake: Lake, run: Callable[..., ArchiveResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest_service.keep.rows._PART_BYTES", 1000)
    rows = [message(number, msg_id=f"m-{number}" if number % 2 else str(number)) for number in range(100)]
    messages.append(*rows)
    assert run().partitions[0].rows == 100
    assert ids(read_rows(lake.archive.path("messages"))) == ids(rows)


def test_a_column_that_the_lake_has_got_since_is_archived_too(
    messages: MessagesLake, lake: Lake, run: Callable[..., ArchiveResult]
) -> None:
    """LAKE-82."""
    messages.append(message(1))
    run()
    messages.append(message(2))
    table = DeltaTable(str(messages.table))
    table.alter.add_columns([_reaction()])
    assert run().failed == ()
    rows = read_rows(lake.archive.path("messages"))
    assert ids(rows) == ids(messages.rows)
    assert [field.name for field in DeltaTable(str(lake.archive.path("messages"))).schema().fields][-1] == (
        "reaction"
    )


def _reaction() -> Any:
    from deltalake import Field

    return Field("reaction", "string", nullable=True)


@pytest.mark.parametrize("cut", ["file", "log"])
def test_a_power_cut_that_takes_a_commit_of_the_archive_is_healed(
    messages: MessagesLake,
    lake: Lake,
    run: Callable[..., ArchiveResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cut: str,
) -> None:
    """ARCHITECTURE 4, rule 11: nothing has left the lake before the archive was synced."""

    def power_cut() -> None:
        table = lake.archive.path("messages")
        torn = max(table.rglob("part-*.parquet" if cut == "file" else "*.json"))
        torn.write_bytes(b"" if cut == "log" else torn.read_bytes()[:100])
        raise KeyboardInterrupt

    messages.append(message(1), message(2))
    monkeypatch.setattr(moving, "mark_archive_durable", lambda *_: power_cut())
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.undo()
    assert ids(read_rows(messages.table)) == ids(messages.rows)

    assert check_archive(lake, tmp_path / "metadata") == [
        "archive/messages: took back 1 commits from version 1 on"
    ]
    assert run().failed == ()
    assert ids(read_rows(lake.archive.path("messages"))) == ids(messages.rows)


@pytest.mark.parametrize("options", [{"level": 0}, {"level": 23}, {"older_than_days": -1}])
def test_an_argument_that_makes_no_sense_is_named(
    messages: MessagesLake, run: Callable[..., ArchiveResult], options: dict[str, int]
) -> None:
    messages.append(message(1))
    with pytest.raises(BadArgumentError, match=r"compression_level|older_than_days"):
        run(**options)


def test_without_a_lake_there_is_an_error_and_with_an_empty_one_nothing_to_do(
    lake: Lake, run: Callable[..., ArchiveResult]
) -> None:
    with pytest.raises(NotFoundError, match="parquet"):
        run()
    lake.root.mkdir()
    assert run().summary()["archived_partitions"] == 0
    assert not lake.archive_root.exists()
