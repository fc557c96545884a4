"""Keys of the embedded coordination: a SQLite file that the processes of one host share.

Every change takes the next number of `changes`, which also is the history that watches read. A process that is
stopped in the middle of a change keeps the others from changing keys until it goes on, and they say so; leases
do not wait for it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from millrace_ports.coordination.errors import CoordinationError, HistoryLostError
from millrace_ports.coordination.port import Entry, Event, Listing
from millrace_ports.errors import ClosedError

_BUSY_S = 5.0
_EVENTS_AT_ONCE = 100
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (revision INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, value BLOB);
CREATE TABLE IF NOT EXISTS forgotten (up_to INTEGER NOT NULL);
COMMIT;
"""
_BEGINS_WITH = "substr(key, 1, length(:prefix)) = :prefix"


class LocalKeys:
    """The keys in `file`. Calls block, and one at a time is carried out: make them in a thread.

    The latest `history` changes are kept, and up to twice as many.
    """

    def __init__(self, file: Path, *, history: int) -> None:
        self._file = file
        self._history = history
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def get(self, key: str) -> Entry | None:
        """What the key holds."""
        with self._transaction() as connection:
            return _entry(connection, key)

    def list(self, prefix: str) -> Listing:
        """All keys that begin with `prefix`."""
        with self._transaction() as connection:
            rows = connection.execute(
                f"SELECT key, value, revision FROM keys WHERE {_BEGINS_WITH} ORDER BY key",  # noqa: S608
                {"prefix": prefix},
            )
            return Listing(tuple(Entry(*row) for row in rows), _latest(connection))

    def put(self, key: str, value: bytes | None, *, if_revision: int | None) -> int | None:
        """Store, or with None delete, if the key's revision is `if_revision` (0 = absent, None = whatever)."""
        with self._transaction(immediate=True) as connection:
            entry = _entry(connection, key)
            revision = 0 if entry is None else entry.revision
            if (if_revision is not None and if_revision != revision) or (value is None and entry is None):
                return None
            cursor = connection.execute("INSERT INTO changes (key, value) VALUES (?, ?)", (key, value))
            made = cursor.lastrowid
            assert made is not None
            if value is None:
                connection.execute("DELETE FROM keys WHERE key = ?", (key,))
            else:
                connection.execute("REPLACE INTO keys VALUES (?, ?, ?)", (key, value, made))
            if made % self._history == 0:
                _forget(connection, made - self._history)
            return made

    def changes(self, prefix: str, from_revision: int) -> tuple[Sequence[Event], int]:
        """Changes from `from_revision` on, oldest first, at most 100, and the revision to go on from.

        Raises HistoryLostError when some may be missing.
        """
        with self._transaction() as connection:
            (forgotten,) = connection.execute("SELECT coalesce(max(up_to), 0) FROM forgotten").fetchone()
            latest = _latest(connection)
            if from_revision <= forgotten or from_revision > latest + 1:
                raise HistoryLostError(from_revision)
            rows = connection.execute(
                "SELECT key, value, revision FROM changes "  # noqa: S608
                f"WHERE revision >= :start AND {_BEGINS_WITH} ORDER BY revision LIMIT :limit",
                {"prefix": prefix, "start": from_revision, "limit": _EVENTS_AT_ONCE},
            )
            events = tuple(Event(*row) for row in rows)
            return events, events[-1].revision + 1 if len(events) == _EVENTS_AT_ONCE else latest + 1

    def close(self) -> None:
        """Close the file. Calls after it raise ClosedError."""
        with self._turn:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _transaction(self, *, immediate: bool = False) -> Iterator[sqlite3.Connection]:
        with self._turn, self._translated():
            if self._closed:
                raise ClosedError("coordination is closed")
            connection = self._connection = self._connection or self._open()
            connection.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")
            try:
                yield connection
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    def _open(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            # Locked, full, read-only, not to be opened: all of these may pass.
            raise CoordinationError(f"{self._file}: {error}", retryable=True) from error
        except OSError as error:
            raise CoordinationError(f"{self._file}: {error}", retryable=True) from error
        except sqlite3.Error as error:
            raise CoordinationError(f"MILLRACE_COORDINATION: {self._file}: {error}") from error


def _entry(connection: sqlite3.Connection, key: str) -> Entry | None:
    row = connection.execute("SELECT key, value, revision FROM keys WHERE key = ?", (key,)).fetchone()
    return None if row is None else Entry(*row)


def _latest(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    return 0 if row is None else int(row[0])


def _forget(connection: sqlite3.Connection, up_to: int) -> None:
    connection.execute("DELETE FROM changes WHERE revision <= ?", (up_to,))
    connection.execute("DELETE FROM forgotten")
    connection.execute("INSERT INTO forgotten VALUES (?)", (up_to,))
