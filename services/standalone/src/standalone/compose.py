"""All services of one data directory in one process: the only place that imports every service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from auth_service.compose import compose as compose_auth
from id_service.compose import compose as compose_id
from ingest_service.compose_lake_writer import compose_lake_writer
from ingest_service.compose_maintenance import compose_maintenance
from ingest_service.compose_webhook import compose_webhook
from millrace_runtime.auth import Verifier
from millrace_runtime.clock import Clock
from millrace_runtime.service import Service
from query_service.compose import compose as compose_query
from standalone.settings import StandaloneSettings


@asynccontextmanager
async def compose(settings: StandaloneSettings, *, clock: Clock) -> AsyncIterator[list[Service]]:
    """The four services, ready to be served; they share auth-service's verifier, so a revoked key is
    refused everywhere at once. On leaving, what feeds others stops last."""
    async with AsyncExitStack() as running:
        auth = await running.enter_async_context(compose_auth(settings.auth, clock=clock))
        ids = await running.enter_async_context(compose_id(settings.id, verifier=auth.verifier, clock=clock))
        query = await running.enter_async_context(
            compose_query(settings.query, verifier=auth.verifier, clock=clock)
        )
        ingest = await running.enter_async_context(
            _compose_ingest(settings, verifier=auth.verifier, clock=clock)
        )
        yield [auth.service, ids, ingest, query]


@asynccontextmanager
async def _compose_ingest(
    settings: StandaloneSettings, *, verifier: Verifier, clock: Clock
) -> AsyncIterator[Service]:
    """Door, lake writer and maintenance as one service: ready when all three are."""
    async with (
        compose_webhook(settings.webhook, verifier=verifier, clock=clock) as service,
        compose_lake_writer(settings.lake_writer, registry=service.registry, clock=clock) as writer,
        compose_maintenance(settings.maintenance, registry=service.registry, clock=clock) as maintenance,
    ):
        service.health.add("lake_writer", writer.check)
        service.health.add("maintenance", maintenance.check)
        yield service
