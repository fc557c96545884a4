"""The keeper's lease in etcd: composed from settings, over an outage, and with settings that do not fit."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ingest_service.compose_maintenance import compose_maintenance
from ingest_service.keep.compaction import live_files
from ingest_service.keep.maintenance import Maintenance
from ingest_service.keep.settings import MaintenanceSettings
from ingest_service.lake.tables import Lake
from millrace_runtime.settings import SettingsError
from millrace_testkit.eventually import eventually, eventually_true
from millrace_testkit.othertable import OtherTable
from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.secured import LIMITED
from millrace_testkit.real.secured.etcd import SecuredEtcd

pytestmark = pytest.mark.real

WITHIN_S = 30.0


def settings(lake: Lake, coordination: str) -> MaintenanceSettings:
    return MaintenanceSettings.load(
        data=lake.root.parent,
        coordination=coordination,
        compact_above_files=5,
        vacuum_grace_hours=0,
        maintenance_interval_s=0.05,
        maintenance_lease_s=3.0,
    )


async def trouble(maintenance: Maintenance) -> str:
    """What its readiness says, "" when it is ready."""
    try:
        await maintenance.check()
    except RuntimeError as error:
        return str(error)
    return ""


async def test_the_lake_is_kept_before_and_after_an_outage_of_etcd(
    other: OtherTable, lake: Lake, real_etcd: EtcdServer
) -> None:
    other.append(range(1, 8))
    async with compose_maintenance(
        settings(lake, real_etcd.url), registry=CollectorRegistry()
    ) as maintenance:

        async def told() -> bool:
            return f"127.0.0.1:{real_etcd.port}" in await trouble(maintenance)

        async def ready() -> bool:
            return not await trouble(maintenance)

        await eventually(lambda: live_files(other.handle()) == 1, WITHIN_S, "compacted")
        await asyncio.to_thread(real_etcd.kill)
        await eventually_true(told, WITHIN_S, "the outage told")
        other.append(range(8, 15))
        await asyncio.to_thread(real_etcd.start)
        await eventually_true(ready, WITHIN_S, "ready again")
        await eventually(lambda: live_files(other.handle()) == 1, WITHIN_S, "compacted again")
    assert other.lines() == list(range(1, 15))


async def test_the_settings_of_a_secured_etcd_are_read_and_wrong_ones_told(
    other: OtherTable, lake: Lake, secured_etcd: SecuredEtcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.append(range(1, 8))
    for name, value in secured_etcd.settings().items():
        monkeypatch.setenv(name, value)
    async with compose_maintenance(
        settings(lake, os.environ["MILLRACE_COORDINATION"]), registry=CollectorRegistry()
    ):
        await eventually(lambda: live_files(other.handle()) == 1, WITHIN_S, "compacted")
    for name, value in secured_etcd.settings(LIMITED).items():
        monkeypatch.setenv(name, value)
    async with compose_maintenance(
        settings(lake, os.environ["MILLRACE_COORDINATION"]), registry=CollectorRegistry()
    ) as maintenance:

        async def told() -> bool:
            return "MILLRACE_ETCD_USERNAME" in await trouble(maintenance)

        await eventually_true(told, WITHIN_S, "the right that lacks")
        assert LIMITED.password not in await trouble(maintenance)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"etcd_ca_file": "nowhere.pem"}, "MILLRACE_ETCD_CA_FILE"),
        ({"etcd_username": "somebody"}, "MILLRACE_ETCD_PASSWORD"),
    ],
)
async def test_half_a_setting_ends_the_start(
    lake: Lake, tmp_path: Path, given: dict[str, str], named: str
) -> None:
    loaded = MaintenanceSettings.load(data=tmp_path, coordination="etcd://127.0.0.1:1", **given)
    with pytest.raises(SettingsError, match=named):
        async with compose_maintenance(loaded, registry=CollectorRegistry()):
            pass
