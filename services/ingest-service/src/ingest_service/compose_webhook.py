"""The door put together: settings to journals, log, HTTP handler and gRPC servicer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter

from ingest_service.accept.condition import Condition
from ingest_service.accept.door import Door, DoorOptions
from ingest_service.accept.intake import Intake
from ingest_service.accept.metrics import DOOR_METRICS
from ingest_service.accept.observer import JournalObserver
from ingest_service.accept.publish import SERVICE_NAME, IngestServicer
from ingest_service.accept.request_log import RequestLog
from ingest_service.settings_webhook import WebhookSettings
from millrace.ingest.v1 import dead_letters_pb2_grpc, ingest_pb2_grpc
from millrace_ports.errors import StorageUnavailableError
from millrace_ports.journal import GroupCommitter, JournalRoot, JournalWriter
from millrace_runtime.auth import Verifier
from millrace_runtime.clock import Clock
from millrace_runtime.health import Health
from millrace_runtime.metrics import Metrics, free_bytes
from millrace_runtime.service import Service
from millrace_runtime.tracing import tracer

if TYPE_CHECKING:
    from millrace_runtime.grpc import Register


@asynccontextmanager
async def compose_webhook(
    settings: WebhookSettings,
    *,
    verifier: Verifier,
    clock: Clock,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[Service]:
    """The door as a service, ready to be served; what it accepted is durable when the block is left.

    Touches no disk but its settings' before the first request: a door on a broken disk starts, answers 503 and
    says why in its health. Raises SettingsError for sources that make no sense.
    """
    registry = registry or CollectorRegistry()
    guards = settings.guards()
    metrics = DOOR_METRICS.build(registry)
    metrics.gauge("millrace_journal_free_bytes").set_function(partial(free_bytes, settings.data / "messages"))
    journal = _committer(settings, "raw", clock, metrics, metrics.counter("millrace_accepted"))
    rejected = _committer(settings, "rejected", clock, metrics, metrics.counter("millrace_rejected"))
    request_log = RequestLog(
        settings.log_file,
        max_bytes=settings.webhook_log_max_size_mb * 1024 * 1024,
        backups=settings.webhook_log_backup_count,
        dropped=metrics.counter("millrace_request_log_dropped").inc,
        secret_headers=frozenset().union(*(guard.headers for guard in guards.values() if guard)),
    )
    intake = Intake(journal, rejected, now_ms=clock.now_ms)
    condition = Condition((journal, rejected), request_log, clock)
    options = DoorOptions(
        webhook_path=settings.webhook_path,
        health_path=settings.webhook_health_path,
        version=settings.webhook_service_version,
        max_body_bytes=settings.max_body_bytes,
    )
    servicer = IngestServicer(intake, verifier, metrics)
    door = Door(
        options,
        intake,
        condition,
        request_log,
        metrics,
        clock,
        tracer(settings.webhook_service_name),
        guards,
    )
    http: Any = door
    grpc: list[Register] = [
        lambda server: ingest_pb2_grpc.add_IngestServiceServicer_to_server(servicer, server)
    ]
    names = [SERVICE_NAME]
    if settings.webhook_lake is not None:
        # Only here are landing and its libraries imported: most doors are none that know a lake.
        from ingest_service.accept.replays import REPLAYS_SERVICE_NAME, Replayer, ReplayRoute, ReplayServicer

        replayer = Replayer(settings.webhook_lake, settings.data / "messages" / "raw")
        replays = ReplayServicer(replayer, verifier)
        http = ReplayRoute(door, replayer, verifier, clock)
        grpc.append(
            lambda server: dead_letters_pb2_grpc.add_DeadLetterReplayServiceServicer_to_server(
                replays, server
            )
        )
        names.append(REPLAYS_SERVICE_NAME)

    async def storage_works() -> None:
        state = await condition.state()
        if state.error is not None:
            raise StorageUnavailableError(state.error)

    request_log.start()
    try:
        yield Service(
            name=settings.webhook_service_name,
            http=http,
            http_interface="rsgi",
            grpc=grpc,
            grpc_service_names=names,
            health=Health({"storage": storage_works}),
            registry=registry,
        )
    finally:
        await asyncio.gather(journal.close(), rejected.close())
        await asyncio.to_thread(request_log.close)


def _committer(
    settings: WebhookSettings, name: str, clock: Clock, metrics: Metrics, lines: Counter
) -> GroupCommitter:
    root = JournalRoot(settings.data / "messages" / name)
    writer = JournalWriter(root, now_ms=clock.now_ms, observer=JournalObserver(metrics, lines))
    return GroupCommitter(writer, name=f"journal-{name}")
