"""What the library's operations on files raise (LAKE-92): one name for each cause, whatever raised it below."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import ClassVar

from millrace_runtime.logs import get_logger

log = get_logger(__name__)


class StorageError(Exception):
    """An operation on journals, lake or archive did not do what was asked.

    `operation` and `source` (a path or a setting, empty where there is none) say where; `error_type` is the
    name of the cause for logs and JSON; `exit_code` is what a command ends with (LAKE section 12).
    """

    error_type: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, reason: str, *, operation: str = "", source: str | PathLike[str] = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.operation = operation
        self.source = fspath(source)


class BadArgumentError(StorageError, ValueError):
    """An argument makes no sense: a day that does not exist, a level out of range, an unknown column."""

    error_type = "bad_argument"
    exit_code = 2


class BadDataError(StorageError):
    """Input is not JSON, or cannot become a row."""

    error_type = "bad_json"
    exit_code = 65


class NotFoundError(StorageError, FileNotFoundError):
    """A file or directory that has to be there is not."""

    error_type = "not_found"
    exit_code = 66


class StorageIoError(StorageError, OSError):
    """The disk refuses, also after retries, or a lock was not to be had in time."""

    error_type = "io"
    exit_code = 74


class NoPermissionError(StorageError, PermissionError):
    """The rights to read or write a path are missing."""

    error_type = "permission"
    exit_code = 77


@contextmanager
def storage_errors(operation: str, source: str | PathLike[str] = "") -> Iterator[None]:
    """Turn an `OSError` of the block into the `StorageError` of its cause, and log each with operation, source
    file, text and type (LAKE-92)."""
    try:
        yield
    except StorageError as error:
        error.operation = error.operation or operation
        error.source = error.source or fspath(source)
        _tell(error)
        raise
    except OSError as error:
        named = _of_os(error)(
            f"{error.filename or fspath(source)}: {error.strerror or error}",
            operation=operation,
            source=error.filename or source,
        )
        _tell(named)
        raise named from error


def _of_os(error: OSError) -> type[StorageError]:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFoundError
    if error.errno in (errno.EACCES, errno.EPERM):
        return NoPermissionError
    return StorageIoError


def _tell(error: StorageError) -> None:
    log.error(
        "storage_operation_failed",
        operation=error.operation,
        source_file=error.source,
        error=error.reason,
        error_type=error.error_type,
    )
