"""Brings the database to this package's version (ID-7)."""

from pathlib import Path
from typing import Final

from id_service.database.tables import metadata
from millrace_relational import DatabaseUrl, Schema
from millrace_relational import migrate as migrate_to

SCHEMA: Final = Schema(
    service="id-service",
    setting="MILLRACE_ID_DATABASE_URL",
    metadata=metadata,
    scripts=Path(__file__).with_name("migrations"),
    head="0001",
)


async def migrate(at: DatabaseUrl) -> None:
    """Run the missing revisions, all in one transaction; safe from several processes at once.

    Raises:
        SettingsError, NotThereYetError: as `millrace_relational.migrate`.
    """
    await migrate_to(at, SCHEMA)
