"""What ends a backup or a restore."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deltalake.exceptions import DeltaError

from millrace_ports.errors import PortError


class BackupError(Exception):
    """It cannot be done. The text names the file or setting at fault; nothing is left that looks whole."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what files and ports raise inside into BackupError; `path` is named where the error names none."""
    try:
        yield
    except OSError as error:
        raise BackupError(f"{error.filename or path}: {error.strerror or error}") from error
    except (PortError, DeltaError) as error:
        raise BackupError(str(error)) from error
