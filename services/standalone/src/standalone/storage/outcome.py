"""How a storage command ends: results on stdout, the cause of a failure in one line on stderr (LAKE section 12)."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

EX_CHECK_FAILED = 3
EX_CONFIG = 78
EX_INTERRUPTED = 130

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@contextmanager
def outcome(command: str = "millrace storage") -> Iterator[None]:
    """Ends the `command` with the exit code of what the block raised: that of a `StorageError`, 78 for a wrong
    setting, 130 when interrupted. Log lines go to stderr."""
    from ingest_service.errors import StorageError
    from millrace_runtime.logs import logging_during

    # A person at a terminal is told the cause once, by `_say`.
    level = os.environ.get("MILLRACE_LOG_LEVEL") or ("CRITICAL" if sys.stderr.isatty() else "WARNING")
    try:
        _check(level)
        with logging_during("storage", level):
            yield
    except StorageError as error:
        _say(command, error.reason)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        _say(command, "interrupted")
        raise typer.Exit(EX_INTERRUPTED) from None
    except Exception as error:
        if not _is_of_settings(error):
            raise
        _say(command, str(error))
        raise typer.Exit(EX_CONFIG) from None


def print_json(result: Any) -> None:
    """The result as one indented JSON object."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(result), indent=2))


def _check(level: str) -> None:
    if level not in _LEVELS:
        from millrace_runtime.settings import SettingsError

        raise SettingsError(f"MILLRACE_LOG_LEVEL is wrong: {level!r} is none of {', '.join(_LEVELS)}")


def _is_of_settings(error: Exception) -> bool:
    """Whether it is a SettingsError: looked up only where settings were read, since to import them takes a tenth of
    a second and 13 MB."""
    settings = sys.modules.get("millrace_runtime.settings")
    return settings is not None and isinstance(error, settings.SettingsError)


def _say(command: str, text: str) -> None:
    sys.stderr.write(f"{command}: {text}\n")
