"""Bringing the database to this version (ID-7); what is refused is tested with `millrace_relational`."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, func, select, text

from id_service.catalog.store import CatalogStore
from id_service.database.connect import open_engine
from id_service.database.migrate import SCHEMA, migrate
from id_service.database.tables import groups, metadata
from millrace_relational import DatabaseUrl
from millrace_runtime.settings import SettingsError


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def test_the_revisions_make_exactly_the_declared_tables(url: DatabaseUrl) -> None:
    engine = open_engine(url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_it_is_repeatable_and_keeps_rows(url: DatabaseUrl, store: CatalogStore) -> None:
    await store.add_group("acme", "shop")

    await migrate(url)

    engine = open_engine(url)
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(groups)) == 1
    await engine.dispose()


async def test_several_starts_at_once(empty: DatabaseUrl) -> None:
    await asyncio.gather(*(migrate(empty) for _ in range(4)))

    engine = open_engine(empty)
    async with engine.connect() as connection:
        versions = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert versions.all() == [(SCHEMA.head,)]
    await engine.dispose()


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(url: DatabaseUrl) -> None:
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SettingsError, match=r"MILLRACE_ID_DATABASE_URL.*9999.*newer version"):
        await migrate(url)

    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    await engine.dispose()
