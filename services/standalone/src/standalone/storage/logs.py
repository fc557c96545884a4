"""What storage commands log: to stderr, beside results on stdout."""

import os
import sys


def log_to_stderr() -> None:
    """Warnings and worse, or what MILLRACE_LOG_LEVEL says: as text on a terminal, else one JSON object a line.

    INFO has a line for each journal and job with its sums (LAKE-61, LAKE-125). Raises SettingsError.
    """
    from millrace_runtime.logs import configure_logging
    from millrace_runtime.settings import SettingsError

    level = os.environ.get("MILLRACE_LOG_LEVEL", "WARNING")
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingsError(f"MILLRACE_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not {level!r}")
    configure_logging("storage", level, json=not sys.stderr.isatty())
