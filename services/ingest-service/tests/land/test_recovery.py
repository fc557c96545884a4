"""What a crash of the host may leave behind, and how the next start heals it (ARCHITECTURE 4, rule 11)."""

import pathlib
from collections.abc import Callable

import pytest
from deltalake import DeltaTable

from ingest_service.lake.log import entry
from ingest_service.lake.recover import LakeDamagedError, check, mark_durable, presence, sharing, upkeep

from .conftest import DAY, Landing, contact, message


def newest_file(landing: Landing, table: str) -> pathlib.Path:
    handle = DeltaTable(str(landing.lake.path(table)))
    return max(
        (pathlib.Path(uri.removeprefix("file://")) for uri in handle.file_uris()),
        key=lambda p: p.stat().st_mtime_ns,
    )


def test_a_torn_data_file_takes_its_commit_back_and_the_lines_land_again(
    landing: Landing, another: Callable[[], Landing], tmp_path: pathlib.Path
) -> None:
    metadata = tmp_path / "metadata"
    landing.land(message("1"))
    mark_durable(landing.lake, metadata, landing.lander.versions())
    landing.land(message("2"), contact("wxid_a"))
    file = newest_file(landing, "messages")
    file.write_bytes(file.read_bytes()[:-7])
    assert check(landing.lake, metadata) == ["messages: took back 1 commits from version 2 on"]
    healed = another()
    assert healed.lander.position(DAY) == 1
    assert healed.land(message("2"), contact("wxid_a")).messages == 1
    assert [row["msg_id"] for row in healed.rows("messages")] == ["1", "2"]
    assert len(healed.rows("contacts")) == 1
    assert check(landing.lake, metadata) == []


def test_an_empty_log_entry_is_taken_back(
    landing: Landing, another: Callable[[], Landing], tmp_path: pathlib.Path
) -> None:
    metadata = tmp_path / "metadata"
    landing.land(message("1"))
    mark_durable(landing.lake, metadata, landing.lander.versions())
    landing.land(message("2"))
    landing.land(message("3"))
    entry(landing.lake.path("messages"), 2).write_bytes(b"")
    assert check(landing.lake, metadata) == ["messages: took back 2 commits from version 2 on"]
    assert another().lander.position(DAY) == 1


def test_a_side_table_that_loses_rows_takes_the_positions_back(
    landing: Landing, another: Callable[[], Landing], tmp_path: pathlib.Path
) -> None:
    metadata = tmp_path / "metadata"
    note = {"guid": "g", "notify_type": 1003, "data": {}}
    landing.land(message("1"), note)
    mark_durable(landing.lake, metadata, landing.lander.versions())
    landing.land(message("2"), note)
    newest_file(landing, "other").write_bytes(b"")
    assert len(check(landing.lake, metadata)) == 2
    healed = another()
    assert healed.land(message("2"), note).messages == 1
    assert [len(healed.rows(table)) for table in ("messages", "other")] == [2, 2]


def test_without_a_mark_everything_is_checked(landing: Landing, tmp_path: pathlib.Path) -> None:
    landing.land(message("1"))
    newest_file(landing, "messages").unlink()
    assert check(landing.lake, tmp_path / "metadata") == ["messages: took back 1 commits from version 1 on"]


def test_what_cannot_be_healed_is_said(landing: Landing, tmp_path: pathlib.Path) -> None:
    for number in range(3):
        landing.land(message(str(number)))
    entry(landing.lake.path("messages"), 1).unlink()
    entry(landing.lake.path("messages"), 2).write_bytes(b"{")
    with pytest.raises(LakeDamagedError, match="Restore the table from a copy"):
        check(landing.lake, tmp_path / "metadata")


def test_commits_are_taken_back_only_when_nobody_lands(tmp_path: pathlib.Path) -> None:
    with presence(tmp_path) as alone:
        assert alone
    with sharing(tmp_path), sharing(tmp_path), presence(tmp_path) as alone:
        assert not alone


def test_a_round_of_maintenance_is_waited_for_and_a_stuck_one_is_not(tmp_path: pathlib.Path) -> None:
    with upkeep(tmp_path), presence(tmp_path, patience_s=0.1) as alone:
        assert not alone
    with presence(tmp_path, patience_s=0.1) as alone:
        assert alone
