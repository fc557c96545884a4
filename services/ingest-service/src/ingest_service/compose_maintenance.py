"""Putting the lake's maintenance together."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from ingest_service.keep.maintenance import Maintenance
from ingest_service.keep.metrics import MAINTENANCE_METRICS
from ingest_service.keep.settings import MaintenanceSettings
from ingest_service.lake.tables import Lake
from millrace_runtime.clock import SYSTEM_CLOCK, Clock


@asynccontextmanager
async def compose_maintenance(
    settings: MaintenanceSettings, *, registry: CollectorRegistry, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Maintenance]:
    """Keep the lake in the background until the block is left; then a step in progress ends first.

    Its metrics go to `registry`; `Maintenance.check` is its readiness. Raises SettingsError when
    MILLRACE_COORDINATION or MILLRACE_ETCD_* cannot be used.
    """
    coordination = settings.open_coordination(boottime=clock.boottime)
    maintenance = Maintenance(
        Lake(settings.data / "parquet"),
        metadata=settings.data / "metadata",
        coordination=coordination,
        holder=f"{socket.gethostname()}:{os.getpid()}",
        clock=clock,
        metrics=MAINTENANCE_METRICS.build(registry),
        limits=settings.limits(),
        interval_s=settings.maintenance_interval_s,
        lease_ttl_s=settings.maintenance_lease_s,
    )
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(maintenance.run(stop))
            try:
                yield maintenance
            finally:
                stop.set()
    finally:
        await coordination.close()
