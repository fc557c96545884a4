"""What can go wrong with a database, in words that say whether to try again.

No exception of a driver or of SQLAlchemy leaves `database_failures`, except `IntegrityError`: a violated
constraint is a finding about the data, not about the database.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class RelationalError(Exception):
    """The database did not do what was asked. `reason` is for operators: it may hold names of users, hosts
    and tables, never a password. `retryable` says whether the same call may succeed later."""

    retryable: ClassVar[bool] = False

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AwayError(RelationalError):
    """The database cannot be reached or cannot work now. Whether a commit that was under way happened is
    not known."""

    retryable = True


class RefusedError(RelationalError):
    """The database, or a file that its URL names, refuses us for a cause that somebody has to change."""


class WriteConflictError(RelationalError):
    """Another writer was first, or held what was to be written for too long. Nothing was written."""

    retryable = True

    def __init__(self, reason: str = "another writer was first") -> None:
        super().__init__(reason)


_CONFLICTS: Final = frozenset({"55P03", "40001", "40P01"})
"""lock_not_available, serialization_failure, deadlock_detected."""

READ_ONLY: Final = "25006"
"""A server that was demoted says so to every write, on connections that were opened before."""

_REFUSALS: Final = {
    "28P01": "the server refuses user or password",
    "28000": "the server refuses the connection",
    "3D000": "the server has no such database",
    "3F000": "the database has no such schema",
    "42501": "the user lacks a right",
    "22023": "the server refuses a parameter",
    "08P01": "the server, or a pooler before it, refuses a parameter",
}
_WRONG_OBJECTS: Final = "42"
"""The class of codes for tables, columns and parameters that are not what a statement takes them for."""

_CLASS_NAME: Final = re.compile(r"^<class '[^']*'>: ")
"""What SQLAlchemy puts before the words of an asyncpg error."""


@contextmanager
def database_failures() -> Iterator[None]:
    """Turn what SQLAlchemy and the drivers raise in the block into `RelationalError`s."""
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeoutError, TimeoutError, ConnectionError) as error:
        raise failure_of(error) from error


def failure_of(error: Exception) -> RelationalError:
    """What an exception of a statement or of a connection means."""
    if isinstance(error, DBAPIError):
        state = sqlstate_of(error)
        said = _CLASS_NAME.sub("", str(error.orig).partition("\n")[0])
        if state in _CONFLICTS or (isinstance(error, OperationalError) and _is_busy(said)):
            return WriteConflictError()
        return _by_state(state, said) or AwayError(said)
    if isinstance(error, PoolTimeoutError):
        return AwayError("all connections are in use")
    return _of_connecting(error)


def sqlstate_of(error: BaseException) -> str | None:
    """PostgreSQL's code of an error; None where it has none."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None)
    return state if isinstance(state, str) else None


def _of_connecting(error: Exception) -> RelationalError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return RefusedError(f"the server's certificate is not accepted: {error.verify_message}")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return RefusedError(f"TLS with the server fails: {error.reason or error.strerror}")
    if isinstance(error, TimeoutError):
        return AwayError("the server does not answer in time")
    if isinstance(error, ConnectionError) and "rejected SSL" in str(error):
        return RefusedError("the server offers no TLS, which sslmode asks for")
    if isinstance(error, OSError):
        return AwayError(f"the server cannot be reached: {error.strerror or type(error).__name__}")
    return AwayError(type(error).__name__)


def _is_busy(said: str) -> bool:
    """SQLite's way to say that another writer holds the file."""
    return "locked" in said or "busy" in said


def connecting_failure(error: Exception) -> RelationalError:
    """What an exception of the driver while it connects means, before SQLAlchemy sees it."""
    if isinstance(error, OSError | TimeoutError):
        return _of_connecting(error)
    said = str(error).partition("\n")[0]
    return _by_state(sqlstate_of(error), said) or AwayError(said or type(error).__name__)


def _by_state(state: str | None, said: str) -> RefusedError | None:
    if state is None:
        return None
    if state in _REFUSALS:
        return RefusedError(f"{_REFUSALS[state]}: {said}")
    if state.startswith(_WRONG_OBJECTS):
        return RefusedError(f"the database is not as it should be: {said}")
    return None
