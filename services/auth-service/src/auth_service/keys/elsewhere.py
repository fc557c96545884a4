"""Revocations by other processes on the same database, obeyed by this one's cache (ID-59)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.database.tables import api_keys
from millrace_relational import RelationalError, reading
from millrace_runtime.auth import CachedVerifier
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

LOOK_EVERY_S: Final = 0.5

_REVOKED: Final = select(func.count()).select_from(api_keys).where(~api_keys.c.enabled)


@asynccontextmanager
async def obeying_revocations(engine: AsyncEngine, verifier: CachedVerifier) -> AsyncIterator[None]:
    """Inside the block `verifier` forgets what it keeps at most `LOOK_EVERY_S` and a query after any process has
    revoked a key. While the database is away nobody can revoke through it, and what is kept goes on for its TTL."""
    watching = asyncio.create_task(_watch(engine, verifier, await _revoked(engine)))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(engine: AsyncEngine, verifier: CachedVerifier, known: int | None) -> None:
    """A revoked key stays in its table as revoked, so how many there are tells a revocation: without clocks that
    differ between hosts, and without a notice that gets lost while nobody listens."""
    away = False
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        found = await _revoked(engine)
        if found is None:
            if not away:
                log.warning("revocations_not_seen", reason="the database is away")
            away = True
            continue
        away = False
        if found != known:
            verifier.evict_all()
        known = found


async def _revoked(engine: AsyncEngine) -> int | None:
    """How many keys are revoked; None when the database cannot tell."""
    try:
        async with reading(engine) as connection:
            return await connection.scalar(_REVOKED)
    except RelationalError:
        return None
    except Exception:  # what the driver did not foresee must not end the looking: nobody else would notice
        log.exception("revocations_not_read")
        return None
