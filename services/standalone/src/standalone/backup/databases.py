"""Databases on a PostgreSQL server, by its own programs.

`pg_dump` reads one snapshot, `pg_restore` writes all or nothing.
A URL of the service's own settings says where; SQLite files lie in the data directory and are copied with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, PlainValidator
from pydantic_settings import NoDecode
from sqlalchemy import text

from millrace_relational import DatabaseUrl, RelationalError, open_engine, reading
from millrace_runtime.settings import Settings
from standalone.backup.errors import BackupError

SETTINGS: Final = {"auth": "MILLRACE_AUTH_DATABASE_URL", "ids": "MILLRACE_ID_DATABASE_URL"}

_PARAMETERS: Final = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "channel_binding": "PGCHANNELBINDING",
    "host": "PGHOST",
    "application_name": "PGAPPNAME",
    "options": "PGOPTIONS",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}
_TABLES: Final = text(
    "SELECT count(*) FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
)
_SHOWN: Final = 600


def _optional(value: object) -> DatabaseUrl | None:
    return None if value is None else DatabaseUrl.parse(value)


_Optional = Annotated[DatabaseUrl | None, NoDecode, PlainValidator(_optional)]


class BackupSettings(Settings):
    """What a backup takes along beside the data directory; unset for what lies in it, or is kept safe another way."""

    auth_database_url: _Optional = Field(None, description="auth-service's database")
    id_database_url: _Optional = Field(None, description="id-service's database")
    credentials_file: Path | None = Field(None, description="the first keys; becomes credentials.json")

    def servers(self, data: Path) -> dict[str, DatabaseUrl]:
        """Those that are on a server, by name. Raises BackupError for an SQLite file outside the data directory."""
        named = {"auth": self.auth_database_url, "ids": self.id_database_url}
        for name, at in named.items():
            if at is not None and at.file is not None and not at.file.is_relative_to(data / "metadata"):
                raise BackupError(
                    f"{SETTINGS[name]}: {at.file} is not in {data / 'metadata'}, and is not copied"
                )
        return {name: at for name, at in named.items() if at is not None and at.file is None}


def dump(name: str, at: DatabaseUrl, target: Path) -> None:
    """Write one snapshot of the database to `target`. Raises BackupError that names the setting."""
    arguments = ("--format=custom", "--no-owner", "--no-privileges", "--no-password", f"--file={target}")
    _run(name, at, "pg_dump", *arguments)


def load(name: str, at: DatabaseUrl, source: Path) -> None:
    """Bring a dump into an empty database, all or nothing. Raises BackupError that names the setting."""
    arguments = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--no-password")
    _run(name, at, "pg_restore", *arguments, f"--dbname={at.url.database}", str(source))


async def require_empty(name: str, at: DatabaseUrl) -> None:
    """Raises BackupError that names the setting when the database has tables, or cannot be asked."""
    try:
        engine = open_engine(
            at, application="millrace restore", lock_timeout_ms=2_000, statement_timeout_s=5.0
        )
        try:
            async with reading(engine) as connection:
                tables = (await connection.execute(_TABLES)).scalar_one()
        finally:
            await engine.dispose()
    except RelationalError as error:
        raise BackupError(f"{SETTINGS[name]}: {error}") from error
    if tables:
        raise BackupError(f"{SETTINGS[name]}: this database has tables; name an empty one")


def _run(name: str, at: DatabaseUrl, program: str, *arguments: str) -> None:
    done = subprocess.run(
        [_found(program), *arguments],
        env=_environment(at),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BackupError(f"{SETTINGS[name]}: {program} failed: {done.stderr.strip()[-_SHOWN:]}")


def _found(program: str) -> str:
    """The program on PATH, else Debian's newest."""
    by_version = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: path.parts[-3].zfill(3)
    )
    if found := shutil.which(program):
        return found
    if by_version:
        return str(by_version[-1])
    raise BackupError(
        f"{program} is not installed: it comes with PostgreSQL's client (package postgresql-client)"
    )


def _environment(at: DatabaseUrl) -> Mapping[str, str]:
    """The URL as libpq takes it: not as arguments, which others on this host could read."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environ |= {_PARAMETERS[name]: value for name, value in at.parameters.items()}
    environ |= {
        "PGPORT": str(at.url.port or 5432),
        "PGUSER": at.url.username or "",
        "PGPASSWORD": at.url.password or "",
        "PGDATABASE": at.url.database or "",
        "PGPASSFILE": "/nonexistent",
    }
    return environ if at.url.host is None else environ | {"PGHOST": at.url.host}
