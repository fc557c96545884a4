"""Connections to the service's database, and what their failures mean to a caller."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import millrace_relational as relational
from millrace_relational import DatabaseUrl, RelationalError
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

LOCK_TIMEOUT_MS: Final = 5_000
"""How long a writer waits for another writer before the database counts as unavailable."""

_STATEMENT_TIMEOUT_S: Final = 6.0
_WRITERS: Final = "auth-service write"


def open_engine(at: DatabaseUrl) -> AsyncEngine:
    """An engine over the service's database; connects on first use. The owner disposes of it.

    Checks go on while a key is written, and a revocation that was answered survives a power cut.

    Raises:
        RefusedError: a certificate or key file of the URL cannot be used.
    """
    return relational.open_engine(
        at,
        application="auth-service",
        lock_timeout_ms=LOCK_TIMEOUT_MS,
        statement_timeout_s=_STATEMENT_TIMEOUT_S,
    )


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that is the only one of this service's writers, from its begin, and commits on a clean
    exit: what the block reads stays true until its commit, in this process and in every other.

    Raises:
        ServiceError: UNAVAILABLE when the database cannot be used.
    """
    with translated():
        async with relational.alone(engine, _WRITERS) as connection:
            yield connection


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A read transaction: one consistent view.

    Raises:
        ServiceError: UNAVAILABLE when the database cannot be used.
    """
    with translated():
        async with relational.reading(engine) as connection:
            yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's failures into UNAVAILABLE: the caller may try again, and learns nothing of SQL."""
    try:
        yield
    except RelationalError as error:
        log.error("database_failed", error=type(error).__name__, cause=error.reason)
        raise ServiceError(ErrorCode.UNAVAILABLE, "the key store is unavailable; try again") from error
