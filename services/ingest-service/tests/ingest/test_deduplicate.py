"""Surplus rows out of a lake: in place, one day, or into another lake."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from ingest_service.errors import BadArgumentError, BadDataError, NotFoundError
from ingest_service.ingest import deduplicate
from ingest_service.ingest.journal import Journal
from ingest_service.ingest.run import JournalRun, Options
from ingest_service.ingest.session import LakePlaces, landing_session
from millrace_testkit.builders import FIRST_SECOND, message
from millrace_testkit.model import read_rows

from .conftest import Installation, messages

DAY_S = 86_400


@pytest.fixture
def doubled(installation: Installation) -> Installation:
    """Three runs, two of them without deduplication: repeats within a file, over files, over days; odd ids too."""
    installation.journal(
        *messages(range(20)), message("abc", content="first"), message("007"), day="2026-03-14"
    )
    installation.ingest()
    installation.clock.advance(60)
    later = FIRST_SECOND + 3 * DAY_S
    installation.journal(
        *messages([3, 4, 4, 30]), message("5", later), message("abc", later, content="second"),
        message("7"), message("31", later), day="2026-03-15",
    )  # fmt: skip
    installation.ingest(deduplicate=False)
    assert len(installation.rows()) == 30
    return installation


UNIQUE = {*map(str, range(20)), "abc", "007", "30", "31"}


def test_of_each_id_the_row_stored_first_stays(doubled: Installation) -> None:
    result = deduplicate(doubled.parquet)
    assert dataclasses.asdict(result) == {
        "total_records": 30,
        "unique_records": 24,
        "duplicates_removed": 6,
        "files_processed": 3,
        "partitions_processed": 2,
    }
    rows = doubled.rows()
    assert sorted(row["msg_id"] for row in rows) == sorted(UNIQUE)
    assert {row["src_file"] for row in rows if row["msg_id"] in ("3", "4", "5", "abc")} == {
        "2026-03-14.jsonl"
    }
    assert [row["content"] for row in rows if row["msg_id"] == "abc"] == ["first"]
    again = deduplicate(doubled.parquet)
    assert (again.total_records, again.duplicates_removed) == (24, 0)
    # Landing goes on as if nothing had been.
    doubled.journal(*messages([4, 40]), day="2026-03-16")
    assert sum(one.deduplicated for one in doubled.ingest()) == 1


def test_one_day_is_compared_with_itself(doubled: Installation) -> None:
    result = deduplicate(doubled.parquet, partition="2026-03-05")
    assert (result.duplicates_removed, result.partitions_processed) == (4, 1)
    assert len(doubled.rows()) == 26  # 5 and abc are of two days


def test_the_unique_rows_go_to_another_lake(doubled: Installation, tmp_path: Path) -> None:
    before = doubled.rows()
    for _ in range(2):  # a copy that was interrupted is made again
        result = deduplicate(doubled.parquet, output_root=tmp_path / "copy")
        assert (result.total_records, result.unique_records) == (30, 24)
        copy = read_rows(tmp_path / "copy" / "messages")
        assert sorted(row["msg_id"] for row in copy) == sorted(UNIQUE)
    assert doubled.rows() == before
    assert {tuple(row.items()) for row in copy} <= {tuple(row.items()) for row in before}


def test_an_append_in_between_loses_nothing(doubled: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day's commit fails, is looked at again, and the late row is there."""
    from ingest_service.ingest import duplicates as module

    replace, late = module._replace, iter(messages([50, 51]))
    journal = doubled.journal(day="2026-03-16", end=b"")

    with landing_session(LakePlaces.of(doubled.parquet, doubled.raw), timing=doubled.timing) as session:

        def overtaken(*arguments: Any) -> None:
            if (body := next(late, None)) is not None:
                doubled.journal(body, day="2026-03-16")
                JournalRun(session, Journal.at(journal), doubled.checkpoints, Options(100)).run()
            replace(*arguments)

        monkeypatch.setattr(module, "_replace", overtaken)
        result = deduplicate(doubled.parquet)
    assert result.duplicates_removed == 6
    assert sorted(doubled.ids()) == sorted(UNIQUE | {"50", "51"})


def test_a_crash_between_two_days_leaves_whole_days(
    doubled: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each day is one commit: what was not reached is as it was, and the next call does it."""
    from ingest_service.ingest import duplicates as module

    written: list[int] = []

    def dies(*arguments: Any, **options: Any) -> None:
        if written:
            raise DeltaError("the process is gone")
        write_deltalake(*arguments, **options)
        written.append(1)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_deltalake", dies)
        with pytest.raises(OSError, match="the process is gone"):
            deduplicate(doubled.parquet)
    assert len(doubled.rows()) == 26
    assert {row["msg_id"] for row in doubled.rows()} == UNIQUE
    assert deduplicate(doubled.parquet).duplicates_removed == 2
    assert sorted(doubled.ids()) == sorted(UNIQUE)


def test_shares_of_the_keys_give_the_same(doubled: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of any size is compared in bounded memory."""
    from ingest_service.ingest import duplicates as module

    monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)
    assert deduplicate(doubled.parquet).duplicates_removed == 6
    assert sorted(doubled.ids()) == sorted(UNIQUE)


def test_what_cannot_be_done_is_named_and_nothing_changed(doubled: Installation) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        deduplicate(doubled.root / "nowhere")
    with pytest.raises(NotFoundError, match="2020-01-01"):
        deduplicate(doubled.parquet, partition="2020-01-01")
    with pytest.raises(BadArgumentError, match="partition"):
        deduplicate(doubled.parquet, partition="2026-02-30")
    with pytest.raises(BadArgumentError, match="output_root"):
        deduplicate(doubled.parquet, output_root=doubled.parquet)
    version = DeltaTable(str(doubled.parquet / "messages")).version()
    victim = DeltaTable(str(doubled.parquet / "messages")).file_uris()[0].removeprefix("file://")
    Path(victim).write_bytes(b"")
    with pytest.raises(BadDataError, match="not a whole Parquet file"):
        deduplicate(doubled.parquet)
    assert DeltaTable(str(doubled.parquet / "messages")).version() == version
