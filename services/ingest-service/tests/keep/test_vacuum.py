"""Vacuum removes what no version needs, and never what it does not know."""

from __future__ import annotations

import pytest
from deltalake import DeltaTable
from structlog.testing import capture_logs

from ingest_service.keep.limits import Limits
from ingest_service.keep.upkeep import LeaseGoneError
from ingest_service.keep.vacuum import Vacuum, unneeded
from millrace_testkit.clock import ManualClock
from millrace_testkit.othertable import OtherTable

DAY = "year=2026/month=03/day=05"
ORPHAN = f"{DAY}/part-00000-11111111-2222-4333-8444-555555555555-c000.snappy.parquet"
NO_GRACE = Limits(grace_hours=0)


def held() -> None:
    """The lease is held."""


def compacted(other: OtherTable) -> DeltaTable:
    """The table after its seven files became one."""
    other.append(range(1, 8))
    table = other.handle()
    table.optimize.compact()
    return table


def test_replaced_files_stay_for_the_grace(other: OtherTable) -> None:
    table = compacted(other)
    assert Vacuum(other.path, ManualClock(), Limits(grace_hours=1)).run(table, held) == 0
    assert len(other.data_files()) == 8


def test_replaced_files_go_after_the_grace(other: OtherTable) -> None:
    table = compacted(other)
    vacuum = Vacuum(other.path, ManualClock(), NO_GRACE)
    assert vacuum.run(table, held) == 7
    assert len(other.data_files()) == 1
    assert other.lines() == list(range(1, 8))
    assert vacuum.run(table, held) == 0


def test_removal_is_no_commit(other: OtherTable) -> None:
    table = compacted(other)
    version = table.version()
    Vacuum(other.path, ManualClock(), NO_GRACE).run(table, held)
    assert other.handle().version() == version


def test_files_replaced_before_a_checkpoint_are_still_known(other: OtherTable) -> None:
    table = compacted(other)
    table.create_checkpoint()
    found = unneeded(other.handle(), other.path, 0)
    assert (len(found.superseded), found.orphans, found.unknown) == (7, frozenset(), frozenset())


def test_an_orphan_goes_only_after_it_was_watched_for_the_grace(other: OtherTable) -> None:
    """Its age may come from a night in which the host slept, and its writer with it."""
    other.append([1])
    orphan = other.put(ORPHAN, b"PAR1", hours_old=9)
    clock = ManualClock()
    vacuum = Vacuum(other.path, clock, Limits(grace_hours=1))
    assert vacuum.run(other.handle(), held) == 0
    clock.advance(3599)
    assert vacuum.run(other.handle(), held) == 0
    clock.advance(1)
    with capture_logs() as logs:
        assert vacuum.run(other.handle(), held) == 1
    assert not orphan.exists()
    assert [entry["orphans"] for entry in logs] == [[ORPHAN]]
    assert other.lines() == [1]


def test_a_young_uncommitted_file_is_not_even_watched(other: OtherTable) -> None:
    other.append([1])
    young = other.put(ORPHAN, b"PAR1", hours_old=0.5)
    assert unneeded(other.handle(), other.path, 1).orphans == frozenset()
    clock = ManualClock()
    vacuum = Vacuum(other.path, clock, Limits(grace_hours=1))
    vacuum.run(other.handle(), held)
    clock.advance(7200)
    vacuum.run(other.handle(), held)
    assert young.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README", b"do not delete"),
        (f"{DAY}/notes.txt", b"x"),
        (f"{DAY}/export.parquet", b"PAR1"),
        (ORPHAN, b""),
        (f"{DAY}/.part-00000-11111111-2222-4333-8444-555555555555-c000.snappy.parquet.tmp", b"x"),
        ("backup/part-00000-11111111-2222-4333-8444-555555555555-c000.snappy.parquet", b"PAR1"),
        (f"{DAY}/odd %2e name", b"x"),
    ],
)
def test_a_file_that_is_not_the_lakes_is_reported_once_and_stays(
    other: OtherTable, name: str, content: bytes
) -> None:
    other.append([1])
    file = other.put(name, content, hours_old=100)
    clock = ManualClock()
    vacuum = Vacuum(other.path, clock, NO_GRACE)
    with capture_logs() as logs:
        vacuum.run(other.handle(), held)
        clock.advance(100_000)
        vacuum.run(other.handle(), held)
    assert file.read_bytes() == content
    assert [entry["event"] for entry in logs] == ["unknown_file_in_lake"]
    assert logs[0]["bytes"] == len(content)
    assert vacuum.unknown_files == 1


def test_the_log_is_never_touched(other: OtherTable) -> None:
    table = compacted(other)
    other.put("_delta_log/strange", b"x", hours_old=100)
    before = sorted((other.path / "_delta_log").iterdir())
    Vacuum(other.path, ManualClock(), NO_GRACE).run(table, held)
    assert sorted((other.path / "_delta_log").iterdir()) == before


def test_removal_stops_when_the_lease_is_lost(other: OtherTable) -> None:
    table = compacted(other)
    calls = iter([True, True, False])

    def lost_at_the_third() -> None:
        if not next(calls):
            raise LeaseGoneError

    with pytest.raises(LeaseGoneError):
        Vacuum(other.path, ManualClock(), NO_GRACE).run(table, lost_at_the_third)
    assert len(other.data_files()) == 6
    assert other.lines() == list(range(1, 8))
