"""What a PostgreSQL server must be and allow before a service runs on it."""

from typing import Final

from sqlalchemy import Connection, MetaData, text

from millrace_relational.failures import AwayError, RefusedError
from millrace_relational.server import OLDEST_VERSION
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

_SERVER: Final = text(
    "SELECT current_setting('server_version_num'), current_setting('server_encoding'),"
    " current_setting('transaction_read_only'), current_setting('fsync'), current_schema()"
)
_RIGHTS: Final = text(
    "SELECT has_table_privilege(CAST(:name AS text), 'SELECT') AND has_table_privilege(CAST(:name AS text), 'INSERT')"
    " AND has_table_privilege(CAST(:name AS text), 'UPDATE') AND has_table_privilege(CAST(:name AS text), 'DELETE')"
)


def require_server(connection: Connection) -> None:
    """Return when the server can be worked with.

    Raises:
        RefusedError: it is older than PostgreSQL 15, keeps texts in another encoding than UTF-8, or the
            schema to work in does not exist.
        AwayError: it is read-only: a standby, or a primary that is about to change.
    """
    version, encoding, read_only, fsync, schema = connection.execute(_SERVER).one()
    major = int(version) // 10_000
    if major < OLDEST_VERSION:
        raise RefusedError(
            f"the server is PostgreSQL {major}, too old: version {OLDEST_VERSION} or newer is needed"
        )
    if encoding != "UTF8":
        raise RefusedError(f"the database's encoding is {encoding}: UTF8 is needed")
    if schema is None:
        raise RefusedError("the schema of search_path does not exist, or the user may not use it")
    if read_only == "on":
        raise AwayError("the server is read-only: a standby?")
    if fsync != "on":
        log.warning(
            "database_does_not_sync", consequence="a power cut may repeat ids and revive revoked keys"
        )


def require_rights(connection: Connection, metadata: MetaData) -> None:
    """Return when the user may read and write every table.

    Raises:
        RefusedError: the tables were made by another user who gave us no right to one of them.
    """
    for name in metadata.tables:
        if not connection.scalar(_RIGHTS, {"name": name}):
            raise RefusedError(
                f"the user may not read and write table {name}; grant SELECT, INSERT, UPDATE, DELETE"
            )
