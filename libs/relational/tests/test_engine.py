"""Transactions and their failures, on both kinds of database."""

import asyncio
import contextlib
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from millrace_relational import (
    AwayError,
    DatabaseUrl,
    RefusedError,
    Schema,
    WriteConflictError,
    alone,
    insert_if_absent,
    migrate,
    reading,
    writing,
)
from millrace_testkit.real.postgresql import PostgresqlServer

from .conftest import THINGS, in_thread, opened

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def things(engine: AsyncEngine, url: DatabaseUrl, schema: Schema) -> AsyncEngine:
    """An engine over the migrated schema."""
    await migrate(url, schema)
    return engine


async def names(engine: AsyncEngine) -> list[str]:
    async with reading(engine) as connection:
        return list(await connection.scalars(select(THINGS.c.name).order_by(THINGS.c.id)))


async def test_a_clean_exit_commits_and_an_error_does_not(things: AsyncEngine) -> None:
    async with writing(things) as connection:
        await connection.execute(insert(THINGS).values(id=1, name="kept"))
    with contextlib.suppress(ZeroDivisionError):
        async with writing(things) as connection:
            await connection.execute(insert(THINGS).values(id=2, name="dropped"))
            raise ZeroDivisionError

    assert await names(things) == ["kept"]


async def test_a_constraint_is_a_finding_about_the_data(things: AsyncEngine) -> None:
    async with writing(things) as connection:
        await connection.execute(insert(THINGS).values(id=1, name="one"))
    with pytest.raises(IntegrityError):
        async with writing(things) as connection:
            await connection.execute(insert(THINGS).values(id=2, name="one"))


async def test_a_row_that_is_there_stays_as_it_is(things: AsyncEngine) -> None:
    for number in (1, 2):
        async with writing(things) as connection:
            await insert_if_absent(connection, THINGS, {"id": number, "name": "one"}, "name")

    async with reading(things) as connection:
        assert (await connection.execute(select(THINGS))).all() == [(1, "one")]


async def test_a_read_is_one_view(things: AsyncEngine) -> None:
    count = select(func.count()).select_from(THINGS)
    async with reading(things) as connection:
        before = await connection.scalar(count)
        async with writing(things) as other:
            await other.execute(insert(THINGS).values(id=1, name="later"))
        assert await connection.scalar(count) == before == 0


async def test_a_read_may_not_write_where_the_server_can_tell(things: AsyncEngine, url: DatabaseUrl) -> None:
    if url.file is not None:
        return  # SQLite has no such transaction; nothing in the code relies on it
    with pytest.raises(AwayError):
        async with reading(things) as connection:
            await connection.execute(insert(THINGS).values(id=1, name="no"))


async def test_what_is_alone_reads_what_the_one_before_wrote(things: AsyncEngine) -> None:
    """Lost updates would leave fewer rows."""

    async def add() -> None:
        async with alone(things, "count") as connection:
            rows = await connection.scalar(select(func.count()).select_from(THINGS))
            await asyncio.sleep(0)
            await connection.execute(insert(THINGS).values(id=rows, name=f"{rows}"))

    await asyncio.gather(*(add() for _ in range(8)))

    assert await names(things) == [str(number) for number in range(8)]


async def test_waiting_for_the_lock_ends_in_a_conflict(things: AsyncEngine) -> None:
    async with alone(things, "count"):
        with pytest.raises(WriteConflictError):
            async with alone(things, "count"):
                pass
    async with alone(things, "count"):
        pass


async def test_a_missing_table_is_refused_or_away_and_names_it(engine: AsyncEngine, url: DatabaseUrl) -> None:
    if url.file is not None:
        url.file.parent.mkdir()
    with pytest.raises(RefusedError if url.file is None else AwayError, match="things") as failed:
        async with reading(engine) as connection:
            await connection.execute(select(THINGS))
    assert failed.value.retryable is (url.file is not None)


async def test_sqlite_syncs_every_commit(tmp_path: Any) -> None:
    engine = opened(DatabaseUrl.parse(f"sqlite+aiosqlite:///{tmp_path}/a.db"), lock_timeout_ms=5_000)
    async with engine.connect() as connection:
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        ]
    await engine.dispose()
    assert pragmas == ["wal", 2, 5000, 1]


async def setting(engine: AsyncEngine, name: str) -> str:
    async with reading(engine) as connection:
        return str(await connection.scalar(text(f"SELECT current_setting('{name}')")))


@pytest.mark.real
class TestServer:
    """What only a server can do to us."""

    async def test_the_session_is_named_bounded_and_keeps_commits(self, server_url: DatabaseUrl) -> None:
        parameters = {"options": server_url.parameters["options"] + " -csynchronous_commit=off"}
        engine = opened(DatabaseUrl(server_url.url, parameters))
        names = ("application_name", "lock_timeout", "statement_timeout", "synchronous_commit")
        found = [await setting(engine, name) for name in names]
        await engine.dispose()
        assert found == ["tests", "200ms", "1s", "on"]

    async def test_a_stricter_commit_is_left_alone(self, server_url: DatabaseUrl) -> None:
        engine = opened(DatabaseUrl(server_url.url, {"options": "-csynchronous_commit=remote_apply"}))
        assert await setting(engine, "synchronous_commit") == "remote_apply"
        await engine.dispose()

    async def test_an_unknown_parameter_of_the_server_is_refused(self, server_url: DatabaseUrl) -> None:
        engine = opened(DatabaseUrl(server_url.url, {"options": "-cno_such_setting=1"}))
        with pytest.raises(RefusedError, match="no_such_setting"):
            await setting(engine, "fsync")
        await engine.dispose()

    async def test_a_statement_that_takes_too_long_ends(self, server_url: DatabaseUrl) -> None:
        engine = opened(server_url, statement_timeout_s=0.2)
        with pytest.raises(AwayError, match="statement timeout"):
            async with reading(engine) as connection:
                await connection.execute(text("SELECT pg_sleep(60)"))
        assert await setting(engine, "fsync")
        await engine.dispose()

    async def test_all_connections_in_use_is_away_not_a_hang(self, server_url: DatabaseUrl) -> None:
        engine = opened(server_url, connections=1)
        async with reading(engine):
            with pytest.raises(AwayError, match="in use"):
                async with reading(engine):
                    pass
        await engine.dispose()

    async def test_connections_that_the_server_ended_are_replaced_without_a_failure(
        self, server_url: DatabaseUrl
    ) -> None:
        engine = opened(server_url, application="victims")

        async def end_all() -> None:
            other = opened(server_url)
            async with other.connect() as connection:
                await connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'victims'"
                    )
                )
            await other.dispose()

        for _ in range(3):
            assert await setting(engine, "fsync")
            in_thread(end_all())
        assert await setting(engine, "fsync")
        await engine.dispose()

    async def test_a_stopped_server_is_away_and_comes_back(
        self, real_postgresql: PostgresqlServer, server_url: DatabaseUrl
    ) -> None:
        engine = opened(server_url)
        assert await setting(engine, "fsync")
        await asyncio.to_thread(real_postgresql.stop)
        for _ in range(2):
            with pytest.raises(AwayError):
                await setting(engine, "fsync")
        await asyncio.to_thread(real_postgresql.start)
        assert await setting(engine, "fsync")
        await engine.dispose()

    async def test_a_server_that_stands_still_is_away_within_the_time_limits(
        self, real_postgresql: PostgresqlServer, server_url: DatabaseUrl
    ) -> None:
        engine = opened(server_url, statement_timeout_s=0.5)
        assert await setting(engine, "fsync")
        loop = asyncio.get_running_loop()
        real_postgresql.pause()
        try:
            started = loop.time()
            with pytest.raises(AwayError):
                await setting(engine, "fsync")
            took = loop.time() - started
        finally:
            real_postgresql.resume()
        assert took < 10
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await setting(engine, "fsync")
                    break
                except AwayError:
                    await asyncio.sleep(0.05)
        await engine.dispose()

    async def test_a_server_that_became_read_only_is_left(self, server_url: DatabaseUrl) -> None:
        """As a primary that was demoted: connections opened before it refuse every write."""
        engine = opened(server_url, connections=1)

        async def backend() -> int:
            async with writing(engine) as connection:
                return int(await connection.scalar(text("SELECT pg_backend_pid()")) or 0)

        async def write_as_on_a_standby() -> None:
            async with writing(engine) as connection:
                await connection.execute(text("SET TRANSACTION READ ONLY"))
                await connection.execute(text("CREATE TABLE t (a int)"))

        first = await backend()
        with pytest.raises(AwayError, match="read-only"):
            await write_as_on_a_standby()
        assert await backend() != first
        await engine.dispose()
