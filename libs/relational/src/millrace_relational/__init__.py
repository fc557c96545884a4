"""One SQL on SQLite and PostgreSQL: what every service with a database of its own needs around SQLAlchemy.

`url` reads the setting, `engine` opens connections that keep a commit, `failures` says what went wrong and
whether to try again, `migrate` brings the schema to the program's version at start.
"""

from millrace_relational.engine import alone, insert_if_absent, open_engine, reading, writing
from millrace_relational.failures import (
    AwayError,
    RefusedError,
    RelationalError,
    WriteConflictError,
    database_failures,
)
from millrace_relational.migrate import Schema, migrate
from millrace_relational.url import DatabaseSetting, DatabaseUrl

__all__ = [
    "AwayError",
    "DatabaseSetting",
    "DatabaseUrl",
    "RefusedError",
    "RelationalError",
    "Schema",
    "WriteConflictError",
    "alone",
    "database_failures",
    "insert_if_absent",
    "migrate",
    "open_engine",
    "reading",
    "writing",
]
