"""Reading journals again from line 1: rebuilds what is damaged, doubles nothing (LAKE-90)."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from ingest_service.errors import BadArgumentError, NotFoundError
from ingest_service.ingest import ingest_directory
from ingest_service.land.index.index import KeyIndex
from millrace_testkit.builders import FIRST_SECOND, contact, encoded, message
from millrace_testkit.model import compare

from .conftest import Installation, messages

HEARTBEAT = encoded({"guid": "g-1", "notify_type": 1006, "data": {}})
TODAY = "2026-03-18"


def files_of(installation: Installation, table: str) -> list[Path]:
    uris = DeltaTable(str(installation.parquet / table)).file_uris()
    return sorted(Path(uri.removeprefix("file://")) for uri in uris)


@pytest.fixture
def filled(installation: Installation) -> Installation:
    """Three journals with every kind, of which one has late messages of another's day."""
    installation.journal(*messages(range(40)), contact("wxid_a", "A"), HEARTBEAT, b"{", day="2026-03-05")
    installation.journal(*messages(range(30, 60)), HEARTBEAT, day="2026-03-06")
    installation.journal(*messages(range(60, 70)), message("x-1", FIRST_SECOND + 86_400), day="2026-03-07")
    installation.ingest()
    assert compare(installation.root, today=TODAY) == []
    return installation


def test_reading_all_again_changes_nothing(filled: Installation) -> None:
    tables = ("messages", "contacts", "other", "dead_letters")
    before = {table: filled.rows(table) for table in tables}
    results = filled.ingest(overwrite=True, batch_size=1)
    assert [one.total_processed for one in results] == [43, 31, 11]
    assert sum(one.deduplicated for one in results) == 0
    assert {table: filled.rows(table) for table in tables} == before


@pytest.mark.parametrize("table", ["messages", "contacts", "other", "dead_letters"])
@pytest.mark.parametrize("damage", ["empty", "cut", "gone"])
def test_a_damaged_file_is_laid_aside_and_its_rows_land_again(
    filled: Installation, table: str, damage: str
) -> None:
    """LAKE-90: whatever journal the rows came from, and whichever day was asked for."""
    victim = files_of(filled, table)[0]
    content = victim.read_bytes()
    match damage:
        case "empty":
            victim.write_bytes(b"")
        case "cut":
            victim.write_bytes(content[: len(content) // 2])
        case _:
            victim.unlink()
    report = ingest_directory(
        filled.raw, filled.parquet, filled.checkpoints, day="2026-03-07", overwrite=True, timing=filled.timing
    )
    assert report.repaired == [str(victim)]
    assert len(report.journals) == 3
    assert compare(filled.root, today=TODAY) == []
    kept = filled.root / "metadata" / "quarantine" / table / victim.relative_to(filled.parquet / table)
    assert kept.exists() == (damage != "gone")
    # The index that a resident writer goes on with knows that these ids are free, and that they are taken again.
    index = KeyIndex(filled.parquet / "messages", filled.root / "nothing")
    index.follow(DeltaTable(str(filled.parquet / "messages")))
    assert len(index) == 71


def test_a_stranger_that_is_empty_is_laid_aside_and_a_whole_one_stays(filled: Installation) -> None:
    """LAKE-S11's partition is valid again."""
    day = files_of(filled, "messages")[0].parent
    empty, whole = day / "empty.parquet", day / "whole.parquet"
    empty.touch()
    whole.write_bytes(files_of(filled, "messages")[0].read_bytes())
    report = ingest_directory(filled.raw, filled.parquet, overwrite=True, timing=filled.timing)
    assert report.repaired == [str(empty)]
    assert (empty.exists(), whole.exists()) == (False, True)
    assert compare(filled.root, today=TODAY) == []


def test_without_overwrite_nothing_is_laid_aside(filled: Installation) -> None:
    victim = files_of(filled, "other")[0]
    victim.write_bytes(b"")
    assert ingest_directory(filled.raw, filled.parquet, timing=filled.timing).repaired == []
    assert victim.exists()


def test_one_day_alone(filled: Installation) -> None:
    filled.journal(*messages([90]), day="2026-03-06")
    filled.journal(*messages([91]), day="2026-03-07")
    [result] = filled.ingest(day="2026-03-06")
    assert (result.total_processed, result.deduplicated) == (1, 1)
    assert "91" not in filled.ids()


def test_what_makes_no_sense_is_refused(filled: Installation) -> None:
    with pytest.raises(BadArgumentError, match="deduplicate"):
        filled.ingest(overwrite=True, deduplicate=False)
    for day in ("2026-02-30", "2026-3-5", "yesterday"):
        with pytest.raises(BadArgumentError, match="date"):
            filled.ingest(day=day)
    with pytest.raises(NotFoundError, match="2020-01-01"):
        filled.ingest(day="2020-01-01")
