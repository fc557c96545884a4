"""Connections that keep what was committed, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from millrace_relational.failures import READ_ONLY, database_failures, sqlstate_of
from millrace_relational.server import connector
from millrace_relational.sqlite import make_durable
from millrace_relational.url import DatabaseUrl

_RECYCLE_S: Final = 1_800
"""Connections are replaced at this age, so that a moved server is followed also where nothing broke."""

_ACQUIRE_TIMEOUT_S: Final = 3.0


def open_engine(
    at: DatabaseUrl,
    *,
    application: str,
    lock_timeout_ms: int,
    statement_timeout_s: float,
    connections: int = 4,
) -> AsyncEngine:
    """An engine over the database; connects on first use. The owner disposes of it.

    A commit that returned is on stable storage on both: SQLite in WAL mode with a full sync on each commit,
    PostgreSQL with synchronous_commit on. One statement waits `lock_timeout_ms` for other writers at most.
    On PostgreSQL a statement ends after `statement_timeout_s`, also when the network swallows the answer,
    and a connection is tried before it is used, so that a restart of the server costs no failed request
    but those that were running. `application` is our name in the server's list of connections.

    Raises:
        RefusedError: a certificate or key file of the URL cannot be used.
    """
    pool: dict[str, Any] = {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": _ACQUIRE_TIMEOUT_S,
        "hide_parameters": True,
    }
    if at.file is not None:
        engine = create_async_engine(at.url, connect_args={"isolation_level": None}, **pool)
        event.listen(engine.sync_engine, "connect", _durable_sqlite(lock_timeout_ms))
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    connect = connector(
        at, application=application, lock_timeout_ms=lock_timeout_ms, statement_timeout_s=statement_timeout_s
    )
    engine = create_async_engine(
        at.url,
        connect_args={"async_creator_fn": connect},
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_S,
        **pool,
    )
    event.listen(engine.sync_engine, "handle_error", _leave_a_demoted_server)
    return engine


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction with one consistent view, for reads only.

    Raises:
        RelationalError: the database cannot be used.
    """
    with database_failures():
        async with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            async with connection.begin():
                yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that is committed on a clean exit. When an error comes from the exit itself, the commit
    may have happened all the same.

    Raises:
        RelationalError: the database cannot be used, or another writer was first.
        IntegrityError: a constraint forbids what was written.
    """
    with database_failures():
        async with engine.begin() as connection:
            yield connection


@asynccontextmanager
async def alone(engine: AsyncEngine, name: str) -> AsyncIterator[AsyncConnection]:
    """As `writing`, with no other block of this `name` on the database at the same time, in any process.

    The lock is taken before anything is read, so what the block reads stays true until its commit. SQLite's
    one write lock serves for every name; PostgreSQL has an advisory lock for each, which ends with the
    transaction, whatever becomes of the process.

    Raises:
        WriteConflictError: another block held the lock for the engine's lock timeout.
        RelationalError, IntegrityError: as `writing`.
    """
    with database_failures():
        async with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                await connection.execution_options(sqlite_begin="IMMEDIATE")
            async with connection.begin():
                if engine.dialect.name == "postgresql":
                    await connection.execute(_ADVISORY_LOCK, {"key": _lock_key(name)})
                yield connection


async def insert_if_absent(
    connection: AsyncConnection, table: Table, values: Mapping[str, Any], *key: str
) -> None:
    """Insert a row unless one with the same unique `key` columns is there; that one stays as it is."""
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    await connection.execute(insert(table).values(**values).on_conflict_do_nothing(index_elements=list(key)))


_ADVISORY_LOCK: Final = text("SELECT pg_advisory_xact_lock(CAST(:key AS bigint))")


def _lock_key(name: str) -> int:
    """PostgreSQL's advisory locks are numbers of 64 bits."""
    return int.from_bytes(sha256(f"millrace {name}".encode()).digest()[:8], "big", signed=True)


def _durable_sqlite(busy_timeout_ms: int) -> Any:
    def on_connect(connection: Any, _record: Any) -> None:
        make_durable(connection, busy_timeout_ms=busy_timeout_ms)

    return on_connect


def _begin_sqlite(connection: Connection) -> None:
    # The driver would begin a transaction at the first write only, and end it before DDL.
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _leave_a_demoted_server(context: ExceptionContext) -> None:
    """Drop the pool's connections to a server that has become a standby: a new one finds the primary."""
    if sqlstate_of(context.original_exception) == READ_ONLY:
        context.is_disconnect = True
