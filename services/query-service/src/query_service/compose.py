"""Settings in, a service out: the one place where query-service's parts are put together."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry

from millrace.query.v1 import dead_letters_pb2_grpc, query_pb2_grpc, sql_pb2_grpc
from millrace_runtime.auth import Verifier, api_key_dependency
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ServiceError
from millrace_runtime.health import Health
from millrace_runtime.http import create_app
from millrace_runtime.logs import get_logger
from millrace_runtime.service import Service
from query_service.ask import Asker
from query_service.letter_routes import letter_routes
from query_service.letter_rpc import LETTERS_SERVICE_NAME, DeadLetterServicer
from query_service.metrics import QueryMetrics
from query_service.routes import routes
from query_service.rpc import SERVICE_NAME, QueryServicer
from query_service.search.contacts import ContactSearcher
from query_service.search.handle import LakeHandle
from query_service.search.letters import LetterSearcher
from query_service.search.run import Searcher, connect
from query_service.settings import QuerySettings
from query_service.sql.compose import composed_sql
from query_service.sql.routes import sql_routes
from query_service.sql.rpc import SERVICE_NAME as SQL_SERVICE_NAME
from query_service.sql.rpc import SqlServicer

log = get_logger(__name__)

VERSION = "1.0.0"
REFRESH_EVERY_S = 0.5


@asynccontextmanager
async def compose(settings: QuerySettings, *, verifier: Verifier, clock: Clock) -> AsyncIterator[Service]:
    """The service over the lake of `settings`, with keys checked by `verifier`.

    Owns the engine, its threads and its directory for large sorts. Ready while the lake's log can be
    read; a lake that has no table yet answers with no rows and is ready.
    """
    handle = LakeHandle(settings.table_of("messages"), clock, archive=settings.archive_of("messages"))
    contacts = LakeHandle(settings.table_of("contacts"), clock, archive=settings.archive_of("contacts"))
    other = LakeHandle(settings.table_of("other"), clock, archive=settings.archive_of("other"))
    letters = LakeHandle(settings.table_of("dead_letters"), clock)
    registry = CollectorRegistry()
    with (
        tempfile.TemporaryDirectory(prefix="millrace-query-") as scratch,
        connect(
            threads=settings.query_threads, memory_limit=settings.query_memory, temp_directory=Path(scratch)
        ) as connection,
        ThreadPoolExecutor(settings.query_workers, thread_name_prefix="query") as pool,
        ThreadPoolExecutor(1, thread_name_prefix="lake-handle") as refresher,
        ExitStack() as running,
    ):
        searchers = (
            Searcher(handle, connection),
            ContactSearcher(contacts, connection),
            LetterSearcher(letters, handle, other, contacts, connection),
        )
        metrics = QueryMetrics(registry, handle)
        asker = Asker(*searchers, pool, metrics)
        handles = {"messages": handle, "contacts": contacts, "other": other, "dead_letters": letters}
        sql = running.enter_context(composed_sql(settings, clock, handles, connection, metrics))
        app = create_app("query-service", VERSION, clock=clock)
        principal = api_key_dependency(verifier)
        app.include_router(routes(asker, principal))
        app.include_router(letter_routes(asker, principal))
        app.include_router(sql_routes(sql, principal))
        servicer, sql_servicer = QueryServicer(asker, verifier), SqlServicer(sql, verifier)
        letter_servicer = DeadLetterServicer(asker, verifier)

        async def lake_readable() -> None:
            await asyncio.get_running_loop().run_in_executor(refresher, handle.snapshot)

        refreshing = asyncio.create_task(_keep_fresh(handle, refresher))
        try:
            yield Service(
                name="query-service",
                http=app,
                grpc=(
                    lambda server: query_pb2_grpc.add_QueryServiceServicer_to_server(servicer, server),
                    lambda server: sql_pb2_grpc.add_SqlServiceServicer_to_server(sql_servicer, server),
                    lambda server: dead_letters_pb2_grpc.add_DeadLetterServiceServicer_to_server(
                        letter_servicer, server
                    ),
                ),
                grpc_service_names=(SERVICE_NAME, SQL_SERVICE_NAME, LETTERS_SERVICE_NAME),
                health=Health({"lake": lake_readable}),
                registry=registry,
            )
        finally:
            refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await refreshing


async def _keep_fresh(handle: LakeHandle, refresher: ThreadPoolExecutor) -> None:
    """Ask the log before a question needs it, so that questions rarely wait for that."""
    loop = asyncio.get_running_loop()
    noted = False
    while True:
        try:
            snapshot = await loop.run_in_executor(refresher, handle.refresh)
        except ServiceError:
            pass  # logged by the handle; questions and readiness see the same error
        else:
            if snapshot.version is None and not noted:
                log.info("lake_has_no_table_yet", table=str(handle.table))
            noted = snapshot.version is None
        await asyncio.sleep(REFRESH_EVERY_S)
