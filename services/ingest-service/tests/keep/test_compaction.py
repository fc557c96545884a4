"""Compaction by count keeps every row and only changes how rows lie in files (LAKE-69)."""

from __future__ import annotations

import threading

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from ingest_service.keep.compaction import Compactor, live_files, small_files
from ingest_service.keep.limits import Limits
from ingest_service.lake.archived import Day
from ingest_service.lake.tables import WRITER_PROPERTIES
from millrace_testkit.othertable import OtherTable

LIMITS = Limits(small_files=5)
FIFTH = Day("2026", "03", "05")


def compactor(other: OtherTable, limits: Limits = LIMITS) -> Compactor:
    return Compactor(other.path, WRITER_PROPERTIES["other"], limits)


def test_only_partitions_above_the_limit_are_crowded_most_crowded_first(other: OtherTable) -> None:
    other.append(range(1, 6), day="04")
    other.append(range(6, 12), day="05")
    other.append(range(12, 19), day="06")
    crowded = compactor(other).crowded(other.handle())
    assert crowded == [Day("2026", "03", "06"), FIFTH]


def test_large_files_do_not_count(other: OtherTable) -> None:
    other.append(range(1, 10))
    limits = Limits(small_files=5, small_bytes=100)
    assert compactor(other, limits).crowded(other.handle()) == []


def test_a_crowded_partition_becomes_one_file_with_the_same_rows(other: OtherTable) -> None:
    other.append(range(1, 8))
    other.append(range(8, 10), day="06")
    table = other.handle()
    done = compactor(other).compact(table, FIFTH)
    assert (done.files_before, done.files_after) == (7, 1)
    assert live_files(other.handle()) == 3
    assert other.lines() == list(range(1, 10))
    assert compactor(other).crowded(table) == []


def test_the_new_file_is_written_as_landed_files_are(other: OtherTable) -> None:
    other.append(range(1, 8))
    before = other.data_files()
    compactor(other).compact(other.handle(), FIFTH)
    (new,) = other.data_files() - before
    old = pq.ParquetFile(other.path / min(before))
    written = pq.ParquetFile(other.path / new)
    columns = written.metadata.row_group(0)
    dictionaries = {}
    for index in range(columns.num_columns):
        column = columns.column(index)
        assert column.compression == "SNAPPY"
        assert column.is_stats_set
        dictionaries[column.path_in_schema] = column.has_dictionary_page
    assert dictionaries["guid"]
    assert not dictionaries["payload"]
    assert written.schema_arrow.remove_metadata() == old.schema_arrow.remove_metadata()
    assert "/month=03/day=05/" in new


def test_compaction_keeps_positions(other: OtherTable) -> None:
    other.append(range(1, 8))
    compactor(other).compact(other.handle(), FIFTH)
    assert other.handle().transaction_version("lake/door/2026-03-05#0") == 7


def test_a_writer_with_an_older_handle_appends_after_a_compaction(other: OtherTable) -> None:
    writer = other.handle()
    other.append(range(1, 8), handle=writer)
    compactor(other).compact(other.handle(), FIFTH)
    other.append(range(8, 10), handle=writer)
    assert other.lines() == list(range(1, 10))


def test_a_partition_that_cannot_shrink_is_left_until_its_files_change(other: OtherTable) -> None:
    other.append(range(1, 8))
    table = other.handle()
    stubborn = compactor(other, Limits(small_files=5, target_bytes=100))
    assert stubborn.compact(table, FIFTH).files_before == 0
    version = table.version()
    assert stubborn.crowded(table) == []
    assert table.version() == version
    other.append([8])
    table.update_incremental()
    assert stubborn.crowded(table) == [FIFTH]


def test_the_loser_of_two_compactions_changes_nothing(other: OtherTable) -> None:
    other.append(range(1, 8))
    first, second = other.handle(), other.handle()
    compactor(other).compact(first, FIFTH)
    with pytest.raises(CommitFailedError):
        compactor(other).compact(second, FIFTH)
    assert other.lines() == list(range(1, 8))


@pytest.mark.slow
def test_compactions_and_appends_at_once_keep_every_row_once(other: OtherTable) -> None:
    """Two keepers that both believe to hold the lease, and two writers, on one partition."""
    writers = [
        threading.Thread(target=other.append, args=(lines, "05", other.handle(), f"lake/door-{lines.start}"))
        for lines in (range(1, 101), range(101, 201))
    ]
    outcomes: list[str] = []

    def keep() -> None:
        while any(writer.is_alive() for writer in writers):
            table = DeltaTable(str(other.path))
            mine = compactor(other)
            for partition in mine.crowded(table):
                try:
                    mine.compact(table, partition)
                    outcomes.append("won")
                except CommitFailedError:
                    outcomes.append("lost")

    keepers = [threading.Thread(target=keep) for _ in range(2)]
    for thread in (*writers, *keepers):
        thread.start()
    for thread in (*writers, *keepers):
        thread.join()
    assert "won" in outcomes
    assert other.lines() == list(range(1, 201))
    assert len(small_files(other.handle(), LIMITS)[FIFTH]) < 200
