"""Log lines of the process go to a file: the terminal is for the person."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace_runtime.logs import configure_logging

NAME = "millrace.log"
# A start begins a new file when the last one is larger; one old file is kept.
_ROTATE_ABOVE_BYTES = 10 * 1024 * 1024


@contextmanager
def logging_to(directory: Path) -> Iterator[Path]:
    """Send the log of the process to `millrace.log` in `directory` while the block runs."""
    path = directory / NAME
    if path.exists() and path.stat().st_size > _ROTATE_ABOVE_BYTES:
        path.replace(path.with_suffix(".log.1"))
    with path.open("a", buffering=1, encoding="utf-8") as file:
        configure_logging("standalone", os.environ.get("MILLRACE_LOG_LEVEL", "INFO"), file)
        try:
            yield path
        finally:
            configure_logging("standalone")
