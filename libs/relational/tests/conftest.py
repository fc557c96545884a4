"""A small schema of its own, on an empty database of each kind, and a server that asks for TLS and passwords."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import trustme
from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.ext.asyncio import AsyncEngine

from millrace_relational import DatabaseUrl, Schema, open_engine
from millrace_testkit.real.home import Home
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.relational import new_schema

SETTING = "MILLRACE_THINGS_DATABASE_URL"
METADATA = MetaData()
THINGS = Table(
    "things", METADATA, Column("id", Integer, primary_key=True), Column("name", String(8), unique=True)
)
PARTS = Table("parts", METADATA, Column("id", Integer, primary_key=True))

_ENV = """
from alembic import context
context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
"""
_REVISIONS = {
    "0001": ("None", 'op.create_table("things", sa.Column("id", sa.Integer, primary_key=True))'),
    "0002": (
        '"0001"',
        'op.add_column("things", sa.Column("name", sa.String(8)))\n'
        '    op.create_index("uq_things_name", "things", ["name"], unique=True)\n'
        '    op.create_table("parts", sa.Column("id", sa.Integer, primary_key=True))',
    ),
}


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    """Two revisions, of which the second needs the first."""
    versions = tmp_path / "scripts" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text(_ENV)
    for revision, (down, body) in _REVISIONS.items():
        (versions / f"r{revision}.py").write_text(
            f'import sqlalchemy as sa\nfrom alembic import op\nrevision = "{revision}"\ndown_revision = {down}\n'
            f"def upgrade():\n    {body}\n"
        )
    return Schema("things-service", SETTING, METADATA, versions.parent, "0002")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseUrl:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return DatabaseUrl.parse(f"sqlite+aiosqlite:///{tmp_path}/new/things.db")
    return DatabaseUrl.parse(await new_schema(request.getfixturevalue("real_postgresql").url))


@pytest.fixture
async def server_url(real_postgresql: PostgresqlServer) -> DatabaseUrl:
    """An empty schema on the shared server."""
    return DatabaseUrl.parse(await new_schema(real_postgresql.url))


def opened(url: DatabaseUrl, **more: Any) -> AsyncEngine:
    """An engine with short patience."""
    return open_engine(
        url, **{"application": "tests", "lock_timeout_ms": 200, "statement_timeout_s": 1.0, **more}
    )


@pytest.fixture
async def engine(url: DatabaseUrl) -> AsyncIterator[AsyncEngine]:
    engine = opened(url)
    yield engine
    await engine.dispose()


@dataclass(frozen=True)
class SecuredServer:
    """A server of its own. User `locked` has the password `s3cret/1` and comes by TLS only, `open` the same
    password and comes as it likes, `certified` shows a certificate; `millrace` is the superuser."""

    server: PostgresqlServer
    authority: Path
    other_authority: Path
    client_certificate: Path
    client_key: Path

    def url(
        self, user: str = "locked", *, host: str = "127.0.0.1", password: str = "s3cret%2F1", **more: str
    ) -> str:
        secret = f":{password}" if password else ""
        parameters = "&".join(f"{name}={value}" for name, value in more.items())
        return f"postgresql://{user}{secret}@{host}:{self.server.port}/things?{parameters}".rstrip("?")


_HBA = """
host    all millrace  127.0.0.1/32 trust
hostssl all locked    127.0.0.1/32 scram-sha-256
host    all open      127.0.0.1/32 scram-sha-256
hostssl all certified 127.0.0.1/32 cert
"""


@pytest.fixture(scope="session")
def secured(
    real_postgresql: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredServer]:
    """A server with TLS and passwords. Where PostgreSQL is missing, the shared server has said so."""
    assert real_postgresql.started
    home = Home()
    server = PostgresqlServer(home)
    try:
        server.start()
        yield _secure(server, tmp_path_factory.mktemp("certificates"))
    finally:
        server.end()
        home.close()


def _secure(server: PostgresqlServer, directory: Path) -> SecuredServer:
    authority, other = trustme.CA(), trustme.CA()
    data = server.directory / "data"
    certificate = authority.issue_cert("127.0.0.1")
    for name, blob in (
        ("server.crt", certificate.cert_chain_pems[0]),
        ("server.key", certificate.private_key_pem),
        ("root.crt", authority.cert_pem),
    ):
        blob.write_to_path(str(data / name))
        (data / name).chmod(0o600)
        owner = data.stat()
        os.chown(data / name, owner.st_uid, owner.st_gid)
    (data / "pg_hba.conf").write_text(_HBA)
    secured = SecuredServer(
        server,
        directory / "ca.pem",
        directory / "other.pem",
        directory / "client.pem",
        directory / "client.key",
    )
    authority.cert_pem.write_to_path(str(secured.authority))
    other.cert_pem.write_to_path(str(secured.other_authority))
    client = authority.issue_cert("certified.example", common_name="certified")
    client.cert_chain_pems[0].write_to_path(str(secured.client_certificate))
    client.private_key_pem.write_to_path(str(secured.client_key))
    in_thread(_prepare(server))
    return secured


async def _prepare(server: PostgresqlServer) -> None:
    connection = await asyncpg.connect(server.url)
    for name, value in (
        ("ssl_cert_file", "server.crt"),
        ("ssl_key_file", "server.key"),
        ("ssl_ca_file", "root.crt"),
        ("ssl", "on"),
    ):
        await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    for user in ("locked", "open", "certified"):
        await connection.execute(f"CREATE USER {user} PASSWORD 's3cret/1'")
    await connection.execute("CREATE DATABASE things")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


@pytest.fixture(autouse=True)
async def _the_driver_has_settled() -> AsyncIterator[None]:
    """asyncpg cancels a statement by a task and a connection of its own, which may outlive the statement."""
    yield
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=10)
    await asyncio.sleep(0)  # transports that were closed last call back once more


def in_thread(work: Coroutine[Any, Any, Any]) -> None:
    """Run in a loop of its own, beside a loop that may be running here."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
