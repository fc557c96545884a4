"""Bringing a database to the program's schema version at start."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, MetaData, inspect, text

from millrace_relational.engine import alone, open_engine
from millrace_relational.failures import AwayError, RelationalError
from millrace_relational.requirements import require_rights, require_server
from millrace_relational.url import DatabaseUrl
from millrace_runtime.logs import get_logger
from millrace_runtime.settings import SettingsError
from millrace_runtime.startup import NotThereYetError

log = get_logger(__name__)

_WAIT_MS: Final = 60_000
"""Several processes may start at once; the others wait this long for the one that migrates."""

_LONGEST_STATEMENT_S: Final = 600.0
_VERSION_TABLE: Final = "alembic_version"


@dataclass(frozen=True, slots=True)
class Schema:
    """What a service keeps in its database.

    `setting` is the variable that names the database, `scripts` the directory of the Alembic environment,
    `head` its newest revision; revisions are numbers that sort as text.
    """

    service: str
    setting: str
    metadata: MetaData
    scripts: Path
    head: str


async def migrate(at: DatabaseUrl, schema: Schema) -> None:
    """Upgrade the database to `schema.head`; does nothing when it is there.

    Repeatable, also by several processes at once: the whole upgrade is one transaction behind a lock, and
    the version is read under it. Makes the directory of an SQLite file.

    Raises:
        SettingsError: the database is newer than this program, is none of ours, lacks a part, gives us not
            the rights we need, is too old a server or cannot be opened; the text names the setting.
        NotThereYetError: the server cannot be reached, is read-only now, or another process is migrating.
    """
    try:
        await _migrate(at, schema)
    except RelationalError as error:
        if error.retryable and at.file is None:
            raise NotThereYetError(f"{schema.setting}: {error.reason}") from error
        cannot = "the database cannot be used: " if isinstance(error, AwayError) else ""
        raise SettingsError(f"{schema.setting}: {cannot}{error.reason}") from error


async def _migrate(at: DatabaseUrl, schema: Schema) -> None:
    if at.file is not None:
        await asyncio.to_thread(_make_directory, at.file.parent, schema.setting)
    engine = open_engine(
        at,
        application=f"{schema.service} (migrating)",
        lock_timeout_ms=_WAIT_MS,
        statement_timeout_s=_LONGEST_STATEMENT_S,
        connections=1,
    )
    try:
        async with alone(engine, f"{schema.service} migrate") as connection:
            await connection.run_sync(_upgrade, schema)
    finally:
        await engine.dispose()


def _make_directory(directory: Path, setting: str) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{setting}: the file's directory cannot be made: {error.strerror}") from error


def _upgrade(connection: Connection, schema: Schema) -> None:
    is_server = connection.dialect.name == "postgresql"
    if is_server:
        require_server(connection)
    found = _version(connection, schema)
    if found != schema.head:
        # Alembic takes a third of a second to import, and most starts do not need it.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(schema.scripts).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, schema.head)
        log.info("database_migrated", found=found, version=schema.head)
    if is_server:
        require_rights(connection, schema.metadata)


def _version(connection: Connection, schema: Schema) -> str | None:
    """The schema version of the database, None when it is empty.

    A version alone is not believed: another service's database has one too, and a restore may have ended
    half-way.
    """
    setting = schema.setting
    tables = set(inspect(connection).get_table_names())
    ours = set(schema.metadata.tables)
    if _VERSION_TABLE not in tables:
        if tables & ours:
            raise SettingsError(
                f"{setting}: the database holds {_some(tables & ours)} of this service and no schema version:"
                " half of a restore? Restore all of it, or name another database"
            )
        if tables:
            raise SettingsError(
                f"{setting}: the database holds tables that are not ours; name another database, or on"
                " PostgreSQL a schema of its own by the parameter options=-csearch_path=NAME"
            )
        return None
    versions = [row[0] for row in connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}"))]  # noqa: S608
    found = versions[0] if len(versions) == 1 else None
    if found == schema.head and not ours <= tables:
        raise SettingsError(
            f"{setting}: the database has schema version {found} but not {_some(ours - tables)}: half of a"
            " restore, or the database of another service? Restore all of it, or name another database"
        )
    if found != schema.head and (found is None or found not in _known(schema)):
        raise SettingsError(
            f"{setting}: the database has schema version {', '.join(versions) or 'none'}, this program knows"
            f" {schema.head} at most; start the newer version of {schema.service}, or name another database"
        )
    return str(found)


def _known(schema: Schema) -> set[str]:
    """The revisions of this program."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory(str(schema.scripts)).walk_revisions()}


def _some(tables: set[str]) -> str:
    return ("table " if len(tables) == 1 else "tables ") + ", ".join(sorted(tables))
