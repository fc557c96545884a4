"""Opening an SQLite database that several processes start on at once."""

import sqlite3
import time
from typing import Any

_RETRY_S = 0.02


def make_durable(connection: Any, *, busy_timeout_ms: int) -> None:
    """Set a new DBAPI connection to WAL with a full sync on each commit, and foreign keys on.

    SQLite does not wait its busy timeout for the change to WAL, which the first two connections to a new
    database may both make; so it is tried again for that long. Raises sqlite3.OperationalError after it.
    """
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
    end = time.monotonic() + busy_timeout_ms / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
            time.sleep(_RETRY_S)
        else:
            break
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
