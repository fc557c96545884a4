"""Connections to a PostgreSQL server."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from millrace_relational.failures import connecting_failure
from millrace_relational.tls import tls_argument
from millrace_relational.url import DatabaseUrl

OLDEST_VERSION: Final = 15
"""Oldest major version that is served."""

_CONNECT_TIMEOUT_S: Final = 3.0

# Set by a statement and not when the connection is opened: poolers refuse parameters that they do not know.
# idle_in_transaction_session_timeout: a process that is stopped in the middle of a transaction would hold its
# locks for as long as it sleeps. synchronous_commit: a commit that was answered and is lost again would let
# ids be given out twice and revoked keys live again; a stricter setting than `on` is left alone.
_SESSION: Final = """
SELECT set_config('lock_timeout', $1, false),
       set_config('statement_timeout', $2, false),
       set_config('idle_in_transaction_session_timeout', '10000', false),
       CASE WHEN current_setting('synchronous_commit') = 'off'
            THEN set_config('synchronous_commit', 'on', false) END
"""


def connector(
    at: DatabaseUrl, *, application: str, lock_timeout_ms: int, statement_timeout_s: float
) -> Callable[..., Awaitable[Any]]:
    """What opens one connection of asyncpg to the server of `at`, ready for use; the arguments that
    SQLAlchemy derives from the URL are replaced by our own.

    Calling it raises AwayError or RefusedError. Raises RefusedError at once when a file of the URL cannot
    be used.
    """
    import asyncpg  # not in the way of those who use SQLite

    parameters = at.parameters
    settings = {"application_name": parameters.get("application_name", application)}
    if "options" in parameters:
        settings["options"] = parameters["options"]
    arguments: dict[str, Any] = {
        "host": parameters.get("host", at.url.host),
        "port": at.url.port or 5432,
        "user": at.url.username,
        "password": at.url.password or "",  # None would ask PGPASSWORD and ~/.pgpass
        "database": at.url.database,
        "ssl": tls_argument(parameters),
        "timeout": float(parameters.get("connect_timeout", _CONNECT_TIMEOUT_S)),
        # Ends the wait for a server that does not answer any more; the server's own limit comes first.
        "command_timeout": statement_timeout_s + 0.5,
        "server_settings": settings,
        "target_session_attrs": parameters.get("target_session_attrs", "any"),
    }
    limits = str(lock_timeout_ms), str(round(statement_timeout_s * 1000))

    async def connect(**_derived: Any) -> Any:
        try:
            connection = await asyncpg.connect(**arguments)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise connecting_failure(error) from error
        try:
            await connection.fetchrow(_SESSION, *limits)
        except BaseException:
            connection.terminate()
            raise
        return connection

    return connect
