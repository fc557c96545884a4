"""Writes that several processes may attempt at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.database.connect import database_errors
from millrace_relational import WriteConflictError
from millrace_relational import insert_if_absent as insert_row_if_absent

T = TypeVar("T")

BUDGET_S: Final = 2.0
_FIRST_PAUSE_S: Final = 0.002
_LONGEST_PAUSE_S: Final = 0.064


async def retry_conflicts(
    attempt: Callable[[], Awaitable[T]],
    *,
    monotonic: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
) -> T:
    """What `attempt` returns, repeated while it loses against other writers (ID-13).

    The pause doubles from 2 ms to 64 ms, each time a random share of it, and everything ends within
    2 s. An attempt waits 0.4 s for other writers at most, so at least three retries fit.

    Raises:
        WriteConflictError: when the time is used up. Anything else that `attempt` raises, at once.
    """
    deadline = monotonic() + BUDGET_S
    longest_pause = _FIRST_PAUSE_S
    while True:
        try:
            return await attempt()
        except WriteConflictError:
            pause = longest_pause * jitter()
            if monotonic() + pause >= deadline:
                raise
            await sleep(pause)
            longest_pause = min(2 * longest_pause, _LONGEST_PAUSE_S)


async def insert_if_absent(engine: AsyncEngine, table: Table, values: Mapping[str, Any], *key: str) -> None:
    """Insert a row unless one with the same unique `key` columns is there; that one stays as it is.

    Raises:
        WriteConflictError: another writer held the database; nothing was written.
        ServiceError: DATABASE_UNAVAILABLE.
        IntegrityError: a row that `values` refers to is not there.
    """
    with database_errors():
        async with engine.begin() as connection:
            await insert_row_if_absent(connection, table, values, *key)
