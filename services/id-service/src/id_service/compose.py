"""Settings into a running service."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import grpc
from prometheus_client import CollectorRegistry

from id_service.api import blocks, http, rpc
from id_service.api.status import StatusProbe
from id_service.catalog.cached import Catalog
from id_service.catalog.seed import seed_demo
from id_service.catalog.store import CatalogStore
from id_service.database.connect import open_engine
from id_service.database.migrate import SCHEMA, migrate
from id_service.metrics import TABLE, RequestMetrics
from id_service.parse.reader import Reader
from id_service.router.issue import Issuer
from id_service.segment.allocator import SegmentAllocator
from id_service.segment.source import SegmentSource
from id_service.settings import IdSettings
from id_service.uuid.v7 import UuidV7
from idgen.v1 import idgen_pb2_grpc
from millrace.id.v1 import id_pb2_grpc
from millrace_runtime.auth import Verifier
from millrace_runtime.clock import Clock
from millrace_runtime.health import Health
from millrace_runtime.service import Service
from millrace_runtime.startup import needing

DATACENTER_ID: Final = 0
_MAX_NODE_ID_CHARS: Final = 64


@asynccontextmanager
async def compose(settings: IdSettings, *, verifier: Verifier, clock: Clock) -> AsyncIterator[Service]:
    """The id service, ready to be served, while the block runs. Compose after a fork, never before.

    Brings the database to this version first. The ids held in memory at the end are lost.

    Raises:
        SettingsError: the database cannot be used, by its fault or ours.
        NotThereYetError: the database's server cannot be used now.
    """
    await migrate(settings.id_database_url)
    engine = open_engine(settings.id_database_url)
    registry = CollectorRegistry()
    metrics = TABLE.build(registry)
    attempts = metrics.counter("idgen_segment_allocations")
    started = clock.monotonic()
    metrics.gauge("idgen_uptime_seconds").set_function(lambda: clock.monotonic() - started)
    segment = SegmentSource(
        SegmentAllocator(
            engine,
            datacenter_id=DATACENTER_ID,
            node_id=node_id(),
            clock=clock,
            on_outcome=lambda outcome: attempts.labels(outcome).inc(),
        )
    )
    try:
        store = CatalogStore(engine, clock)
        if settings.id_seed_demo:
            with needing(SCHEMA.setting):
                await seed_demo(store)
        catalog = Catalog(store, clock)
        uuid_v7 = UuidV7(clock)
        reader = Reader(catalog)
        issuer = Issuer(
            catalog=catalog,
            segment=segment,
            uuid_v7=uuid_v7,
            metrics=RequestMetrics(metrics),
            clock=clock,
            datacenter_id=DATACENTER_ID,
            batch_max_size=settings.id_batch_max_size,
        )
        probe = StatusProbe(engine, uuid_v7, metrics.gauge("idgen_db_up"))
        health = Health({"ids": probe.require_an_algorithm})
        names = (rpc.SERVICE_NAME, blocks.SERVICE_NAME)
        ids = rpc.IdServicer(
            issuer=issuer, reader=reader, verifier=verifier, health=health, service_names=frozenset(names)
        )
        leases = blocks.IdBlockServicer(issuer=issuer, verifier=verifier)

        def register(server: grpc.aio.Server) -> None:
            idgen_pb2_grpc.add_IdServiceServicer_to_server(ids, server)
            id_pb2_grpc.add_IdBlockServiceServicer_to_server(leases, server)

        yield Service(
            name=http.NAME,
            http=http.build_app(
                issuer=issuer,
                reader=reader,
                verifier=verifier,
                clock=clock,
                health=health,
                probe=probe,
                registry=registry,
            ),
            grpc=[register],
            grpc_service_names=names,
            health=health,
            registry=registry,
        )
    finally:
        await segment.close()
        await engine.dispose()


def node_id() -> str:
    """This process in the record of allocations: host and process id, at most 64 characters."""
    process = f"-{os.getpid()}"
    return socket.gethostname()[: _MAX_NODE_ID_CHARS - len(process)] + process
