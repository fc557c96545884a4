"""The credentials file: where the command line finds the keys of the first start."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from auth_service.keys.names import GLOBAL
from auth_service.keys.text import owner_in
from millrace_runtime.crash import crash_point
from millrace_runtime.settings import SettingsError

SETTING = "MILLRACE_CREDENTIALS_FILE"

_LONGEST_FILE = 65_536


@dataclass(frozen=True, slots=True)
class Credentials:
    """The only place where the texts of the first keys are kept, on purpose; for its owner's eyes."""

    workspace: str
    admin_key: str = field(repr=False)
    user_key: str = field(repr=False)


def read_credentials(path: Path) -> Credentials | None:
    """The credentials in the file, None when there is no file.

    Raises:
        SettingsError: the file cannot be read or is none of ours; the text names the setting and shows
            nothing of the content.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{SETTING}: the file cannot be read: {error.strerror}") from error
    try:
        credentials = Credentials(**json.loads(content))
        owners = owner_in(credentials.admin_key), owner_in(credentials.user_key)
    except (ValueError, TypeError, RecursionError):
        owners = None, None
    else:
        if owners == (GLOBAL, credentials.workspace) and credentials.workspace != GLOBAL:
            return credentials
    raise SettingsError(
        f"{SETTING}: the file does not hold workspace, admin_key and user_key as a first start writes them;"
        " move it away, or name another file"
    )


def write_credentials(path: Path, credentials: Credentials) -> None:
    """Put the file in place, whole and durable or not at all, readable by its owner only from the first
    byte: temporary file made 0600, synced, renamed, directory synced.

    Raises:
        SettingsError: the file cannot be written; the text names the setting.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One fixed name, so that a killed start leaves at most one; the database's write lock is held.
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.unlink(missing_ok=True)
        with open(temporary, "x", encoding="utf-8", opener=_owner_only) as file:
            json.dump(asdict(credentials), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        crash_point("AFTER_CREDENTIALS_TEMPORARY_BEFORE_RENAME")
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise SettingsError(f"{SETTING}: the file cannot be written: {error.strerror}") from error


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
