"""The schema at start: made, kept, refused."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, text
from sqlalchemy.ext.asyncio import AsyncEngine

from millrace_relational import AwayError, DatabaseUrl, Schema, alone, migrate, writing
from millrace_runtime.settings import SettingsError
from millrace_runtime.startup import NotThereYetError
from millrace_testkit.real.postgresql import PostgresqlServer

from .conftest import SETTING, SecuredServer, opened
from .rewriting import rewriting

pytestmark = pytest.mark.timeout(120)


async def run(engine: AsyncEngine, *statements: str) -> None:
    async with writing(engine) as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def refusal(url: DatabaseUrl, schema: Schema) -> str:
    """Why the start ends; naming the setting, repeating nothing of it."""
    with pytest.raises(SettingsError, match=f"^{SETTING}: ") as refused:
        await migrate(url, schema)
    for secret in ("s3cret", str(url.file)):
        assert secret not in str(refused.value)
    return str(refused.value)


async def version(engine: AsyncEngine) -> list[str]:
    async with writing(engine) as connection:
        return list(await connection.scalars(text("SELECT version_num FROM alembic_version")))


async def test_it_makes_the_schema_and_repeats(url: DatabaseUrl, engine: AsyncEngine, schema: Schema) -> None:
    for _ in range(2):
        await migrate(url, schema)
    await run(engine, "INSERT INTO things (id, name) VALUES (1, 'one')")
    await migrate(url, schema)

    assert await version(engine) == ["0002"]


async def test_it_goes_on_from_an_older_version(
    url: DatabaseUrl, engine: AsyncEngine, schema: Schema
) -> None:
    older = MetaData()
    Table("things", older, Column("id", Integer, primary_key=True))
    await migrate(url, replace(schema, head="0001", metadata=older))
    await run(engine, "INSERT INTO things (id) VALUES (1)")
    await migrate(url, schema)

    await run(engine, "UPDATE things SET name = 'one' WHERE id = 1")
    assert await version(engine) == ["0002"]


async def test_several_at_once(url: DatabaseUrl, engine: AsyncEngine, schema: Schema) -> None:
    await asyncio.gather(*(migrate(url, schema) for _ in range(4)))

    assert await version(engine) == ["0002"]


@pytest.mark.parametrize("found", ["9999", "d34db33f"])
async def test_a_version_that_is_not_known_is_refused_and_left_alone(
    url: DatabaseUrl, engine: AsyncEngine, schema: Schema, found: str
) -> None:
    await migrate(url, schema)
    await run(engine, f"UPDATE alembic_version SET version_num = '{found}'")

    said = await refusal(url, schema)
    assert found in said
    assert "0002 at most" in said
    assert await version(engine) == [found]


async def test_no_version_and_two_versions_are_refused(
    url: DatabaseUrl, engine: AsyncEngine, schema: Schema
) -> None:
    await migrate(url, schema)
    await run(engine, "INSERT INTO alembic_version VALUES ('0001')")
    assert "0001" in await refusal(url, schema)
    await run(engine, "DELETE FROM alembic_version")
    assert "schema version none" in await refusal(url, schema)


async def test_half_of_the_schema_is_refused(url: DatabaseUrl, engine: AsyncEngine, schema: Schema) -> None:
    await migrate(url, schema)
    await run(engine, "DROP TABLE parts")
    assert "not table parts: half of a restore" in await refusal(url, schema)
    await run(engine, "DROP TABLE alembic_version")
    assert "holds table things of this service and no schema version" in await refusal(url, schema)


async def test_a_database_of_somebody_else_is_refused(
    url: DatabaseUrl, engine: AsyncEngine, schema: Schema
) -> None:
    if url.file is not None:
        url.file.parent.mkdir()
    await run(engine, "CREATE TABLE orders (id INTEGER)")
    assert "tables that are not ours" in await refusal(url, schema)
    # Another service of ours, whose version has the same number.
    await run(engine, "CREATE TABLE alembic_version (version_num VARCHAR(32))")
    await run(engine, "INSERT INTO alembic_version VALUES ('0002')")
    assert "not tables parts, things" in await refusal(url, schema)


async def test_a_migration_that_fails_leaves_nothing(
    url: DatabaseUrl, engine: AsyncEngine, schema: Schema
) -> None:
    last = schema.scripts / "versions" / "r0002.py"
    good = _read(last)
    _write(last, good + '    op.execute("SELECT no_such_column FROM things")\n')
    await refusal(url, schema)

    _write(last, good)
    await migrate(url, schema)
    assert await version(engine) == ["0002"]


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, schema: Schema) -> None:
    _write(tmp_path / "things.db", "not a database, but long enough to look at " * 100)
    url = DatabaseUrl.parse(f"sqlite+aiosqlite:///{tmp_path}/things.db")

    assert "not a database" in await refusal(url, schema)
    assert _read(tmp_path / "things.db").startswith("not a database")


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path, schema: Schema) -> None:
    _write(tmp_path / "file", "")
    url = DatabaseUrl.parse(f"sqlite+aiosqlite:///{tmp_path}/file/things.db")

    assert "directory cannot be made" in await refusal(url, schema)


@pytest.mark.real
class TestServer:
    """What a server may lack."""

    async def test_an_older_server_is_refused(
        self, real_postgresql: PostgresqlServer, server_url: DatabaseUrl, schema: Schema
    ) -> None:
        """The words of version 15 are changed on their way into those of version 14."""
        async with rewriting(real_postgresql.port, b"1500", b"1400") as port:
            url = DatabaseUrl(server_url.url.set(port=port), {"sslmode": "disable"})
            assert "PostgreSQL 14, too old: version 15" in await refusal(url, schema)

    async def test_wrong_passwords_and_missing_databases_are_refused(
        self, secured: SecuredServer, schema: Schema
    ) -> None:
        assert "user or password" in await refusal(DatabaseUrl.parse(secured.url(password="s3crets")), schema)
        absent = secured.url().replace("/things", "/absent")
        assert "no such database" in await refusal(DatabaseUrl.parse(absent), schema)

    async def test_a_user_who_may_not_make_tables_is_refused(
        self, secured: SecuredServer, schema: Schema
    ) -> None:
        """As PostgreSQL 15 is: the schema public belongs to the database's owner alone."""
        said = await refusal(DatabaseUrl.parse(secured.url()), schema)
        assert "lacks a right: permission denied for schema public" in said

    async def test_a_user_without_rights_on_a_table_is_refused(
        self, secured: SecuredServer, schema: Schema
    ) -> None:
        owner = secured.url("millrace", password="", options="-csearch_path%3Downed")
        other = secured.url(options="-csearch_path%3Downed")
        administrator = await asyncpg.connect(secured.url("millrace", password=""))
        await administrator.execute("CREATE SCHEMA owned; GRANT USAGE ON SCHEMA owned TO locked")
        await migrate(DatabaseUrl.parse(owner), schema)
        grant = "GRANT SELECT ON ALL TABLES IN SCHEMA owned TO locked"
        await administrator.execute(grant)
        assert "may not read and write table things" in await refusal(DatabaseUrl.parse(other), schema)

        await administrator.execute(grant.replace("SELECT", "SELECT, INSERT, UPDATE, DELETE"))
        await administrator.close()
        await migrate(DatabaseUrl.parse(other), schema)

    async def test_a_schema_that_does_not_exist_is_refused(
        self, server_url: DatabaseUrl, schema: Schema
    ) -> None:
        url = DatabaseUrl(server_url.url, {"options": "-csearch_path=nowhere"})
        assert "search_path" in await refusal(url, schema)

    async def test_another_encoding_is_refused(
        self, real_postgresql: PostgresqlServer, schema: Schema
    ) -> None:
        administrator = await asyncpg.connect(real_postgresql.url)
        await administrator.execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        await administrator.close()
        url = real_postgresql.url.replace("/postgres", "/latin")
        assert "LATIN1: UTF8 is needed" in await refusal(DatabaseUrl.parse(url), schema)

    async def test_a_read_only_server_is_waited_for(self, server_url: DatabaseUrl, schema: Schema) -> None:
        url = DatabaseUrl(server_url.url, {"options": "-cdefault_transaction_read_only=on"})
        with pytest.raises(NotThereYetError, match=f"^{SETTING}: .*read-only"):
            await migrate(url, schema)

    async def test_a_server_that_is_not_there_is_waited_for(
        self, server_url: DatabaseUrl, schema: Schema
    ) -> None:
        nobody = server_url.url.set(port=1, password="s3cret")
        with pytest.raises(NotThereYetError, match=f"^{SETTING}: .*cannot be reached") as waited:
            await migrate(DatabaseUrl(nobody), schema)
        assert "s3cret" not in str(waited.value)

    async def test_another_process_that_migrates_for_long_is_waited_for(
        self, server_url: DatabaseUrl, schema: Schema, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.modules[migrate.__module__], "_WAIT_MS", 100)
        other = opened(server_url)
        async with alone(other, f"{schema.service} migrate"):
            with pytest.raises(NotThereYetError, match=f"^{SETTING}: another writer was first"):
                await migrate(server_url, schema)
        await migrate(server_url, schema)
        await other.dispose()

    async def test_a_process_that_sleeps_with_the_lock_does_not_keep_it(
        self, server_url: DatabaseUrl, schema: Schema
    ) -> None:
        """The server ends a transaction in which nothing is asked for ten seconds."""
        sleeper = opened(server_url)

        async def sleep_in_the_middle() -> None:
            async with writing(sleeper) as connection:
                await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '300ms'"))
                await connection.execute(text("CREATE TABLE things (id int)"))
                await migrate(server_url, schema)

        with pytest.raises(AwayError):
            await sleep_in_the_middle()
        await migrate(server_url, schema)
        await sleeper.dispose()


def _read(file: Path) -> str:
    return file.read_text()


def _write(file: Path, content: str) -> None:
    file.write_text(content)
