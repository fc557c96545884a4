"""A composed service over a real database, and clients of its two doors."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import grpc
import httpx
import pytest

from auth_service.bootstrap.credentials import Credentials, read_credentials
from auth_service.compose import AuthParts, compose
from auth_service.database.engine import open_engine
from auth_service.settings import AuthSettings
from millrace.auth.v1 import auth_pb2_grpc
from millrace_relational import DatabaseUrl
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.service import PORTS
from millrace_testkit.clock import ManualClock
from millrace_testkit.ports import free_offset
from millrace_testkit.relational import new_schema

AuthClient = Any
"""`AuthServiceAsyncStub`, a name that only the stubs know."""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AuthSettings.names():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
async def url(request: pytest.FixtureRequest, data: Path) -> DatabaseUrl:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return DatabaseUrl.parse(f"sqlite+aiosqlite:///{data}/metadata/auth.db")
    return DatabaseUrl.parse(await new_schema(request.getfixturevalue("real_postgresql").url))


@pytest.fixture
def make_settings(url: DatabaseUrl, data: Path) -> Callable[..., AuthSettings]:
    def make(**more: object) -> AuthSettings:
        return AuthSettings.load(
            **{
                "auth_database_url": url,
                "credentials_file": data / "credentials.json",
                **more,
            }
        )

    return make


@pytest.fixture
def start(
    make_settings: Callable[..., AuthSettings], clock: ManualClock
) -> Callable[..., AbstractAsyncContextManager[AuthParts]]:
    """One start of the service on the test's data directory; keyword arguments are settings."""
    return lambda **more: compose(make_settings(**more), clock=clock)


@pytest.fixture
async def parts(start: Callable[..., AbstractAsyncContextManager[AuthParts]]) -> AsyncIterator[AuthParts]:
    async with start() as parts:
        yield parts


@pytest.fixture
def credentials(parts: AuthParts) -> Credentials:
    found = read_credentials(parts.bootstrap.credentials_file)
    assert found is not None
    return found


@asynccontextmanager
async def rpc_client(parts: AuthParts) -> AsyncIterator[AuthClient]:
    """A gRPC client of `parts`, over a loopback port."""
    port = PORTS["auth-service"].grpc_port + free_offset()
    server = GrpcServer(
        parts.service.grpc,
        service_names=parts.service.grpc_service_names,
        host="127.0.0.1",
        port=port,
        reflection=False,
        health=parts.service.health,
    )
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield auth_pb2_grpc.AuthServiceStub(channel)
    finally:
        await server.stop(0)


@pytest.fixture
async def rpc(parts: AuthParts) -> AsyncIterator[AuthClient]:
    async with rpc_client(parts) as client:
        yield client


@pytest.fixture
async def http(parts: AuthParts) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client without a key."""
    transport = httpx.ASGITransport(app=parts.service.http)
    async with httpx.AsyncClient(transport=transport, base_url="http://auth") as client:
        yield client


@pytest.fixture
async def admin(http: httpx.AsyncClient, credentials: Credentials) -> httpx.AsyncClient:
    """The same client with the admin key."""
    http.headers["X-API-Key"] = credentials.admin_key
    return http


@pytest.fixture
def break_database(url: DatabaseUrl) -> Callable[[], Awaitable[None]]:
    """Take the keys away from under the running service."""

    async def drop() -> None:
        engine = open_engine(url)
        async with engine.begin() as connection:
            for table in ("installation", "api_keys", "workspaces"):
                await connection.exec_driver_sql(f"DROP TABLE {table}")
        await engine.dispose()

    return drop


def text_of(url: DatabaseUrl) -> str:
    """As a setting has it."""
    text = url.url.render_as_string(hide_password=False)
    return f"{text}?{urlencode(url.parameters)}" if url.parameters else text


def directories(url: DatabaseUrl) -> set[str]:
    """What a database adds to the data directory."""
    return set() if url.file is None else {"metadata"}
