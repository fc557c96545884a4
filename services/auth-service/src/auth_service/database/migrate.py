"""Bringing the database to this program's schema version at start."""

from pathlib import Path
from typing import Final

from auth_service.database.tables import metadata
from millrace_relational import DatabaseUrl, Schema
from millrace_relational import migrate as migrate_to

SETTING: Final = "MILLRACE_AUTH_DATABASE_URL"
HEAD: Final = "0001"
"""The schema version of this program."""

SCHEMA: Final = Schema(
    service="auth-service",
    setting=SETTING,
    metadata=metadata,
    scripts=Path(__file__).with_name("migrations"),
    head=HEAD,
)


async def migrate(at: DatabaseUrl) -> None:
    """Upgrade the schema to `HEAD`; does nothing when it is there. Repeatable, also by several processes
    at once.

    Raises:
        SettingsError, NotThereYetError: as `millrace_relational.migrate`.
    """
    await migrate_to(at, SCHEMA)
