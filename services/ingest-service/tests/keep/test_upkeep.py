"""A round of upkeep over one table: what it does, when it does nothing, what stops it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from deltalake import PostCommitHookProperties
from prometheus_client import CollectorRegistry

from ingest_service.keep.compaction import live_files
from ingest_service.keep.limits import Limits
from ingest_service.keep.logupkeep import last_checkpoint
from ingest_service.keep.upkeep import LeaseGoneError, LostRaceError, TableUpkeep
from ingest_service.lake.tables import Lake
from millrace_runtime.metrics import Metrics
from millrace_testkit.clock import ManualClock
from millrace_testkit.othertable import OtherTable

LIMITS = Limits(small_files=5, grace_hours=0, vacuum_every_s=600, checkpoint_every=10)
DAY_S = 86_400


def held() -> None:
    """The lease is held."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def upkeep(lake: Lake, clock: ManualClock, metrics: Metrics) -> TableUpkeep:
    return TableUpkeep(lake, "other", clock=clock, limits=LIMITS, metrics=metrics)


def test_a_table_that_is_not_there_yet_is_left_alone(lake: Lake, upkeep: TableUpkeep) -> None:
    upkeep.round(held)
    assert not lake.exists("other")


def test_a_round_compacts_and_removes_what_was_replaced(
    other: OtherTable, upkeep: TableUpkeep, registry: CollectorRegistry
) -> None:
    other.append(range(1, 8))
    upkeep.round(held)
    assert live_files(other.handle()) == 1
    assert len(other.data_files()) == 1
    assert other.lines() == list(range(1, 8))
    labels = {"table": "other"}
    assert registry.get_sample_value("millrace_compactions_total", labels) == 1
    assert registry.get_sample_value("millrace_lake_files_removed_total", labels) == 7
    assert registry.get_sample_value("millrace_lake_live_files", labels) == 1


def test_an_idle_round_commits_nothing_and_removes_nothing(other: OtherTable, upkeep: TableUpkeep) -> None:
    other.append(range(1, 8))
    upkeep.round(held)
    version, files = other.handle().version(), sorted(other.path.rglob("*"))
    upkeep.round(held)
    assert (other.handle().version(), sorted(other.path.rglob("*"))) == (version, files)


def test_unneeded_files_are_looked_for_now_and_then(
    other: OtherTable, upkeep: TableUpkeep, clock: ManualClock
) -> None:
    upkeep.round(held)
    other.append(range(1, 8))
    upkeep.round(held)
    assert len(other.data_files()) == 8
    clock.advance(600)
    upkeep.round(held)
    assert len(other.data_files()) == 1


def test_the_log_is_summed_up_when_no_writer_did(other: OtherTable, upkeep: TableUpkeep) -> None:
    other.append(range(1, 4))
    upkeep.round(held)
    assert last_checkpoint(other.path) == -1
    other.append(range(4, 30), day="06")
    assert last_checkpoint(other.path) == -1  # the writers' own interval is a hundred
    upkeep.round(held)
    assert last_checkpoint(other.path) == other.handle().version()
    assert other.lines() == list(range(1, 30))


def test_log_entries_older_than_a_day_go_once_a_checkpoint_covers_them(
    other: OtherTable, upkeep: TableUpkeep
) -> None:
    other.append(range(1, 12), day="06")
    table = other.handle()
    table.create_checkpoint()
    for entry in (other.path / "_delta_log").iterdir():
        os.utime(entry, (time.time() - 2 * DAY_S,) * 2)
    other.append([12], day="07", handle=table)
    upkeep.round(held)
    entries = sorted(file.name for file in (other.path / "_delta_log").glob("*.json"))
    assert entries[0] == f"{11:020d}.json"
    assert other.lines() == list(range(1, 13))


def test_a_lost_lease_stops_the_round_before_it_changes_anything(
    other: OtherTable, upkeep: TableUpkeep
) -> None:
    def lost() -> None:
        raise LeaseGoneError

    other.append(range(1, 8))
    version = other.handle().version()
    with pytest.raises(LeaseGoneError):
        upkeep.round(lost)
    assert other.handle().version() == version


def test_a_lost_race_is_told_and_the_next_round_works(
    other: OtherTable, upkeep: TableUpkeep, registry: CollectorRegistry
) -> None:
    other.append(range(1, 8))

    def overtaken() -> None:
        other.handle().optimize.compact()

    with pytest.raises(LostRaceError):
        upkeep.round(overtaken)
    upkeep.forget()
    upkeep.round(held)
    assert registry.get_sample_value("millrace_compaction_conflicts_total", {"table": "other"}) == 1
    assert other.lines() == list(range(1, 8))


def test_a_handle_beyond_commits_that_were_taken_back_is_dropped(
    other: OtherTable, upkeep: TableUpkeep, tmp_path: Path
) -> None:
    other.append(range(1, 5))
    upkeep.round(held)
    log = other.path / "_delta_log"
    for version in (4, 3):
        shutil.move(log / f"{version:020d}.json", tmp_path)
    other.append(range(3, 9))
    upkeep.round(held)
    assert other.lines() == list(range(1, 9))
    entries = sorted(int(file.stem) for file in log.glob("*.json"))
    assert entries == list(range(len(entries)))
    assert live_files(other.handle()) == 1


def test_the_hook_properties_that_keep_log_cleanup_to_us_exist() -> None:
    """A library without them would remove log entries before the checkpoint is on disk."""
    assert PostCommitHookProperties(cleanup_expired_logs=False).cleanup_expired_logs is False
