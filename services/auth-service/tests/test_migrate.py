"""The schema at start; what is refused is tested with `millrace_relational`."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from auth_service.database import migrate as module
from auth_service.database.engine import open_engine
from auth_service.database.migrate import HEAD, SETTING, migrate
from auth_service.database.tables import metadata
from millrace_relational import DatabaseUrl
from millrace_runtime.settings import SettingsError


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def test_migrations_make_the_tables_that_the_code_uses(url: DatabaseUrl) -> None:
    await migrate(url)

    engine = open_engine(url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_starts_at_once_and_again(url: DatabaseUrl) -> None:
    await asyncio.gather(*(migrate(url) for _ in range(3)))
    await migrate(url)

    engine = open_engine(url)
    async with engine.connect() as connection:
        versions = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert versions.all() == [(HEAD,)]
    await engine.dispose()


def test_the_known_version_is_the_newest_script() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).with_name("migrations")))

    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_a_newer_database_is_refused(url: DatabaseUrl) -> None:
    await migrate(url)
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()

    with pytest.raises(SettingsError, match=rf"{SETTING}.*9999.*{HEAD}"):
        await migrate(url)
