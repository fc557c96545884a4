"""The keeper under its lease: one works, the others wait, and a lost lease ends the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry

from ingest_service.compose_maintenance import compose_maintenance
from ingest_service.keep.compaction import live_files
from ingest_service.keep.limits import Limits
from ingest_service.keep.maintenance import LEASE, Maintenance
from ingest_service.keep.metrics import MAINTENANCE_METRICS
from ingest_service.keep.settings import MaintenanceSettings
from ingest_service.lake.archived import paths_of
from ingest_service.lake.partitions import PartitionCatalog
from ingest_service.lake.tables import Lake, archive_properties
from millrace_ports.coordination import Coordination, open_coordination
from millrace_runtime.settings import SettingsError
from millrace_testkit.clock import ManualClock
from millrace_testkit.othertable import OtherTable

LIMITS = Limits(small_files=5, grace_hours=0)
Keeper = Callable[[str], Maintenance]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def coordination(tmp_path: Path, clock: ManualClock) -> Coordination:
    return open_coordination(f"local:{tmp_path / 'coordination'}", boottime=clock.boottime)


@pytest.fixture
def keeper_metrics() -> CollectorRegistry:
    """Of the keeper that is made first."""
    return CollectorRegistry()


@pytest.fixture
def keeper(
    lake: Lake, clock: ManualClock, coordination: Coordination, keeper_metrics: CollectorRegistry
) -> Keeper:
    registries = iter([keeper_metrics])

    def make(holder: str) -> Maintenance:
        return Maintenance(
            lake,
            metadata=lake.root.parent / "metadata",
            coordination=coordination,
            holder=holder,
            clock=clock,
            metrics=MAINTENANCE_METRICS.build(next(registries, CollectorRegistry())),
            limits=LIMITS,
        )

    return make


async def test_only_the_holder_of_the_lease_works(
    other: OtherTable, keeper: Keeper, clock: ManualClock
) -> None:
    first, second = keeper("first"), keeper("second")
    assert await first.step()
    other.append(range(1, 8))
    assert not await second.step()
    assert live_files(other.handle()) == 7
    clock.advance(20)  # the first one is gone without a word
    assert await second.step()
    assert live_files(other.handle()) == 1
    assert not await first.step()


async def test_the_archive_is_kept_too_and_stays_as_it_is_packed(lake: Lake, keeper: Keeper) -> None:
    """LAKE-69, LAKE-120: late messages bring an archived day many small files."""
    lake.archive.open("other")
    archived = OtherTable(lake.archive.path("other"), archive_properties("other", 1))
    archived.append(range(1, 8))
    assert await keeper("first").step()
    assert live_files(archived.handle()) == 1
    assert archived.lines() == list(range(1, 8))
    footer = pq.read_metadata(paths_of(archived.handle())[0])
    assert footer.row_group(0).column(0).compression == "ZSTD"
    (entry,) = PartitionCatalog(lake, lake.root.parent / "metadata").refresh()
    assert (entry.file_count, entry.record_count, entry.compression) == (1, 7, "zstd")


async def test_a_stopped_keeper_frees_the_lease(keeper: Keeper, coordination: Coordination) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(keeper("first").run(stop))
    async with asyncio.timeout(10):
        while (lease := await coordination.acquire(LEASE, 1.0, "probe")) is not None:
            await coordination.release(lease)
            await asyncio.sleep(0.1)  # the keeper tries once per interval: leave it the lease meanwhile
    stop.set()
    await running
    assert await coordination.acquire(LEASE, 1.0, "next") is not None


async def test_trouble_with_one_table_is_told_and_does_not_stop_the_others(
    lake: Lake, other: OtherTable, keeper: Keeper
) -> None:
    other.append(range(1, 8))
    lake.open("messages")
    log = lake.path("messages") / "_delta_log" / f"{0:020d}.json"
    good = log.read_bytes()
    log.write_bytes(b"not a log")
    keeping = keeper("first")
    await keeping.step()
    assert live_files(other.handle()) == 1
    with pytest.raises(RuntimeError, match="messages"):
        await keeping.check()
    log.write_bytes(good)
    await keeping.step()
    await keeping.check()


async def test_the_time_of_a_good_round_and_the_space_left_are_told(
    lake: Lake, keeper_metrics: CollectorRegistry, keeper: Keeper, clock: ManualClock
) -> None:
    def told(name: str) -> float | None:
        return keeper_metrics.get_sample_value(name)

    keeping = keeper("first")
    assert told("millrace_maintenance_round_timestamp") == 0
    await keeping.step()
    ended_well = told("millrace_maintenance_round_timestamp")
    assert ended_well == clock.now_ms() / 1000
    free = told("millrace_lake_free_bytes")
    assert free is not None
    assert free > 0

    lake.open("messages")
    (lake.path("messages") / "_delta_log" / f"{0:020d}.json").write_bytes(b"not a log")
    clock.advance(60)
    await keeping.step()
    assert told("millrace_maintenance_round_timestamp") == ended_well


async def test_composed_from_settings_it_keeps_the_lake(
    other: OtherTable, lake: Lake, tmp_path: Path
) -> None:
    other.append(range(1, 8))
    settings = MaintenanceSettings.load(
        data=lake.root.parent,
        coordination=f"local:{tmp_path / 'coordination'}",
        compact_above_files=5,
        vacuum_grace_hours=0,
        maintenance_interval_s=0.01,
    )
    async with (
        compose_maintenance(settings, registry=CollectorRegistry()) as maintenance,
        asyncio.timeout(10),
    ):
        while live_files(other.handle()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await maintenance.check()
    assert other.lines() == list(range(1, 8))


async def test_a_wrong_coordination_url_names_the_variable(tmp_path: Path) -> None:
    settings = MaintenanceSettings.load(data=tmp_path, coordination="memory:")
    with pytest.raises(SettingsError, match="MILLRACE_COORDINATION"):
        async with compose_maintenance(settings, registry=CollectorRegistry()):
            pass


def test_missing_and_wrong_settings_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_DATA", raising=False)
    monkeypatch.delenv("MILLRACE_COORDINATION", raising=False)
    monkeypatch.setenv("MILLRACE_VACUUM_GRACE_HOURS", "-1")
    with pytest.raises(SettingsError) as caught:
        MaintenanceSettings.load()
    for name in ("MILLRACE_DATA", "MILLRACE_COORDINATION", "MILLRACE_VACUUM_GRACE_HOURS"):
        assert name in str(caught.value)
