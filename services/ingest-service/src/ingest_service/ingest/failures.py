"""Whatever fails below an operation, by the names of LAKE-92."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from deltalake.exceptions import DeltaError

from ingest_service.errors import NoPermissionError, StorageIoError, storage_errors
from ingest_service.ingest.session import is_permission
from millrace_ports.errors import PortError


@contextmanager
def ingest_errors(operation: str, source: str | PathLike[str]) -> Iterator[None]:
    """Turn errors of files, of the ports and of the Delta library into a StorageError, and log each."""
    with storage_errors(operation, source):
        try:
            yield
        except (PortError, DeltaError) as error:
            kind = NoPermissionError if is_permission(error) else StorageIoError
            raise kind(str(error), source=source) from error
