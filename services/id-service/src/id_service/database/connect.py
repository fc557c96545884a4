"""Connections to the service's database, and its failures in the service's own words."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.errors import database_unavailable
from millrace_relational import DatabaseUrl, RelationalError, WriteConflictError, database_failures
from millrace_relational import open_engine as open_relational_engine

LOCK_TIMEOUT_MS: Final = 400
"""How long one statement waits for another writer. Four attempts must fit into the 2 s of ID-13."""

_STATEMENT_TIMEOUT_S: Final = 1.5

_PING_WITHIN_S: Final = 1.0
"""Well within the time in which readiness is asked: a silent database makes nobody unready (ID-50)."""


def open_engine(at: DatabaseUrl) -> AsyncEngine:
    """An engine over the service's database.

    A commit that returned is on stable storage: else the last ones would be lost in a power cut, and their
    ranges would be given out again (ID-20). The owner disposes of the engine.

    Raises:
        RefusedError: a certificate or key file of the URL cannot be used.
    """
    return open_relational_engine(
        at,
        application="id-service",
        lock_timeout_ms=LOCK_TIMEOUT_MS,
        statement_timeout_s=_STATEMENT_TIMEOUT_S,
    )


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what the database raises inside into `WriteConflictError` or the 503 of ID-54.

    A constraint violation passes unchanged: it is a finding about the data, not about the database.
    """
    try:
        with database_failures():
            yield
    except WriteConflictError:
        raise
    except RelationalError as error:
        raise database_unavailable() from error


async def ping(engine: AsyncEngine) -> None:
    """Return when the database answers a read within a second. ServiceError DATABASE_UNAVAILABLE otherwise."""
    try:
        with database_errors():
            async with asyncio.timeout(_PING_WITHIN_S), engine.connect() as connection:
                await connection.execute(text("SELECT 1 FROM groups LIMIT 1"))
    except WriteConflictError as error:
        raise database_unavailable() from error
