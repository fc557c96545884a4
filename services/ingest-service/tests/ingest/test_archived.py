"""A msg_id that is only in the archive any more is stored no second time (LAKE-63, LAKE-64)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable

from ingest_service.ingest.journal import Journal
from ingest_service.ingest.run import JournalRun, Options
from ingest_service.ingest.session import LakePlaces, landing_session
from millrace_testkit.builders import FIRST_SECOND, message
from millrace_testkit.model import read_rows

from .conftest import Installation, messages

DAY_S = 86_400


def archive_the_first_day(installation: Installation) -> None:
    """Into the archive, then out of the table: as archiving commits it."""
    hot, archive = installation.parquet / "messages", installation.root / "archive" / "messages"
    shutil.copytree(hot, archive)
    first = "year = '2026' AND month = '03' AND day = '05'"
    DeltaTable(str(archive)).delete(f"NOT ({first})")
    DeltaTable(str(hot)).delete(first)
    assert len(read_rows(archive)) == 12
    assert len(read_rows(hot)) == 5


@pytest.fixture
def archived(installation: Installation) -> Installation:
    later = [message(str(n), FIRST_SECOND + DAY_S) for n in range(20, 25)]
    installation.journal(*messages(range(10)), message("abc"), message("007"), *later, day="2026-03-14")
    installation.ingest()
    archive_the_first_day(installation)
    return installation


REPEATS = [*messages([3, 22, 50]), message("abc", FIRST_SECOND + 5 * DAY_S), message("007"), message("abd")]


def test_a_run_after_archiving_knows_what_is_there(archived: Installation) -> None:
    """The index is built anew from the table and the archive; late messages of an archived day land in hot."""
    archived.journal(*REPEATS, day="2026-03-15")
    *_, result = archived.ingest()
    assert (result.new_records, result.deduplicated, result.skipped_duplicates) == (6, 2, 4)
    assert sorted(archived.ids()) == sorted([*map(str, range(20, 25)), "50", "abd"])


def test_a_writer_that_was_running_meanwhile_knows_it_too(installation: Installation) -> None:
    places = LakePlaces.of(installation.parquet, installation.raw)
    later = [message(str(n), FIRST_SECOND + DAY_S) for n in range(20, 25)]
    first = installation.journal(
        *messages(range(10)), message("abc"), message("007"), *later, day="2026-03-14"
    )

    def run(path: Path) -> int:
        return (
            JournalRun(session, Journal.at(path), installation.checkpoints, Options(1)).run().counts.messages
        )

    with landing_session(places, timing=installation.timing) as session:
        assert run(first) == 17
        archive_the_first_day(installation)
        assert run(installation.journal(*REPEATS, day="2026-03-15")) == 2
    assert len(installation.ids()) == 7
