"""Putting the lake writer together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from ingest_service.lake.durable import drop_abandoned
from ingest_service.lake.recover import check, presence, sharing
from ingest_service.lake.tables import Lake
from ingest_service.land.index.index import KeyIndex
from ingest_service.land.lander import Lander
from ingest_service.land.lost import past_loss
from ingest_service.land.metrics import LAND_METRICS
from ingest_service.land.reject import reject_writer
from ingest_service.land.reports import Checkpoints
from ingest_service.land.settings import LakeWriterSettings
from ingest_service.land.unwrap import Unwrap, no_objects, unwrapper
from ingest_service.land.writer import LakeWriter
from ingest_service.objects import Objects
from millrace_ports.errors import StorageUnavailableError
from millrace_runtime.clock import SYSTEM_CLOCK, Clock
from millrace_runtime.logs import get_logger
from millrace_runtime.tracing import tracer

log = get_logger(__name__)

_KEY_INDEX = "key_index"
_BODY_WITHIN_S = 30


@asynccontextmanager
async def compose_lake_writer(
    settings: LakeWriterSettings, *, registry: CollectorRegistry, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[LakeWriter]:
    """Land in the background until the block is left; the batch in progress is finished first.

    Its metrics go to `registry`; `LakeWriter.check` is its readiness. On start the newest commits are
    checked, and taken back when a crash of the host has left them broken, unless another lander runs.
    Raises SettingsError when MILLRACE_BUS names no bus, or one that refuses us for good; CannotGoOnError when the
    bus has lost records that the lake does not hold.
    """
    lake = Lake(settings.data / "parquet")
    metadata = settings.data / "metadata"
    bus = settings.open_bus(now_ms=clock.now_ms)
    with presence(metadata) as alone:
        if alone:
            drop_abandoned(metadata / _KEY_INDEX)
            for line in await asyncio.to_thread(check, lake, metadata):
                log.warning("lake_commits_taken_back", what=line)
    with sharing(metadata):
        lander = await asyncio.to_thread(_lander, lake, settings, clock)
        writer = LakeWriter(
            bus,
            lander,
            lake=lake,
            metadata=metadata,
            checkpoints=Checkpoints(metadata / "checkpoints", settings.data),
            clock=clock,
            metrics=LAND_METRICS.build(registry),
            max_rows=settings.land_max_rows,
            max_bytes=settings.land_max_bytes,
            interval_s=settings.land_interval_s,
            unwrap=_unwrap(settings),
            past_loss=past_loss(settings.land_past_loss),
            tracer=tracer("ingest-service"),
        )
        stop = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(writer.run(stop))
                try:
                    yield writer
                finally:
                    stop.set()
        finally:
            await bus.close()


def _unwrap(settings: LakeWriterSettings) -> Unwrap:
    """Reads bodies in the event loop that runs now, for the thread that builds batches."""
    if settings.objects is None:
        return no_objects
    objects, loop = Objects(settings.objects), asyncio.get_running_loop()

    def read(path: str) -> bytes:
        reading = asyncio.run_coroutine_threadsafe(objects.read(path), loop)
        try:
            return reading.result(_BODY_WITHIN_S)
        except TimeoutError:
            reading.cancel()
            raise StorageUnavailableError(f"no answer within {_BODY_WITHIN_S} s") from None

    return unwrapper(read)


def _lander(lake: Lake, settings: LakeWriterSettings, clock: Clock) -> Lander:
    lake.root.mkdir(parents=True, exist_ok=True)
    index = KeyIndex(
        lake.path("messages"),
        settings.data / "metadata" / _KEY_INDEX,
        snapshot_every=settings.index_snapshot_keys,
        archive=settings.data / "archive" / "messages",
    )
    return Lander(
        lake,
        index,
        reject=reject_writer(settings.data / "messages" / "rejected", clock.now),
        now_s=lambda: clock.now_ms() // 1000,
    )
