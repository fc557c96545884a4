"""Settings to a running service: the one place where the parts are put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from importlib.metadata import version
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.bootstrap.first_start import BootstrapInfo, bootstrap
from auth_service.database.engine import open_engine, reading
from auth_service.database.migrate import SETTING, migrate
from auth_service.keys.directory import KeyDirectory
from auth_service.keys.elsewhere import obeying_revocations
from auth_service.keys.routes import key_routes
from auth_service.keys.rpc import SERVICE_NAME, AuthRpc
from auth_service.keys.verify import StoreVerifier
from auth_service.metrics import TABLE
from auth_service.settings import AuthSettings
from millrace_runtime.auth import CachedVerifier
from millrace_runtime.clock import Clock
from millrace_runtime.health import Health
from millrace_runtime.http import create_app
from millrace_runtime.service import Service
from millrace_runtime.startup import needing

NAME = "auth-service"


class AuthParts(NamedTuple):
    """What `compose` yields. `verifier` is for services in the same process; `bootstrap` says what this
    start did about the first keys, None when it leaves them to `auth-service bootstrap`."""

    service: Service
    verifier: CachedVerifier
    bootstrap: BootstrapInfo | None


@asynccontextmanager
async def compose(settings: AuthSettings, *, clock: Clock) -> AsyncIterator[AuthParts]:
    """The service over its migrated database, with the first keys made if the settings name a file for them;
    closes the database at the end.

    Raises:
        SettingsError: the database or the credentials file cannot be used; the text names the setting.
        NotThereYetError: the database's server cannot be used now.
    """
    await migrate(settings.auth_database_url)
    engine = open_engine(settings.auth_database_url)
    try:
        path = settings.credentials_file
        with needing(SETTING):
            first = None if path is None else await bootstrap(engine, settings, path, clock=clock)
        registry = CollectorRegistry()
        metrics = TABLE.build(registry)
        verifier = CachedVerifier(StoreVerifier(engine, clock=clock), clock=clock)
        verifier.export(registry)
        directory = KeyDirectory(engine, verifier, clock=clock, metrics=metrics)
        app = create_app(NAME, version(NAME), clock=clock)
        app.include_router(key_routes(directory, verifier))
        service = Service(
            name=NAME,
            http=app,
            grpc=[AuthRpc(directory, verifier, metrics).register],
            grpc_service_names=[SERVICE_NAME],
            health=Health({"database": lambda: _answers(engine)}),
            registry=registry,
        )
        # A file has one process; on a server there may be several.
        alone = settings.auth_database_url.file is not None
        async with nullcontext() if alone else obeying_revocations(engine, verifier):
            yield AuthParts(service, verifier, first)
    finally:
        await engine.dispose()


async def _answers(engine: AsyncEngine) -> None:
    """Raise unless the database answers a query."""
    async with reading(engine) as connection:
        await connection.execute(text("SELECT 1 FROM installation"))
