"""Looking for revocations by other processes goes on whatever a look has met (ID-59)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.bootstrap.credentials import Credentials
from auth_service.compose import AuthParts
from auth_service.database.engine import open_engine
from auth_service.database.tables import api_keys
from auth_service.keys import elsewhere
from auth_service.keys.elsewhere import obeying_revocations
from millrace_relational import DatabaseUrl
from millrace_testkit.waiting import until


async def test_an_error_that_nobody_foresaw_ends_one_look_alone(
    parts: AuthParts, credentials: Credentials, url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    @asynccontextmanager
    async def fails_once(engine: AsyncEngine) -> AsyncIterator[Any]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise RuntimeError("not foreseen")
        async with read(engine) as connection:
            yield connection

    read = elsewhere.reading
    monkeypatch.setattr(elsewhere, "LOOK_EVERY_S", 0.02)
    engine = open_engine(url)
    await parts.verifier.check(credentials.user_key)
    async with obeying_revocations(engine, parts.verifier):
        monkeypatch.setattr(elsewhere, "reading", fails_once)

        async def looked() -> bool:
            return looks >= 2

        await until(looked, 10, "another look")
        async with engine.begin() as connection:
            await connection.execute(update(api_keys).values(enabled=False))

        async def forgotten() -> bool:
            return len(parts.verifier) == 0

        await until(forgotten, 10, "the key forgotten")
    await engine.dispose()
