"""A settings file: YAML with a mapping of settings to values, below the environment and the command line.

A key is the name of a variable in any case, or that name without its prefix: `port`, `WEBHOOK_PORT` and
`MILLRACE_WEBHOOK_PORT` are one setting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ingest_service.yamlfile import read_yaml
from millrace_runtime.settings import PREFIX, Settings, SettingsError, edit_distance

_S = TypeVar("_S", bound=Settings)


def load_settings(
    cls: type[_S],
    file: Path | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    prefixes: tuple[str, ...] = (PREFIX,),
    environ: Mapping[str, str] = os.environ,
) -> _S:
    """The settings of file, environment and `options` (fields by name), of which the later ones win.

    Raises:
        SettingsError: the file cannot be read or has a key that is no setting; or a value is missing or wrong,
            named by its variable and, where it stands in the file, by file and key.
    """
    given = {} if file is None else _read(file)
    chosen = dict(options or {})
    keys: dict[str, str] = {}
    for key, value in given.items():
        field = _field(cls, key, prefixes)
        if field is None:
            raise SettingsError(f"{file}: {_no_setting(cls, key, prefixes)}")
        if field in keys:
            raise SettingsError(f"{file}: {keys[field]} and {key} are the same setting")
        keys[field] = key
        in_force = any(environ.get(variable) for variable in cls.variables(field))
        if value is not None and field not in chosen and not in_force:
            chosen[field] = value
        else:
            del keys[field]
    try:
        return cls.load(**chosen)
    except SettingsError as error:
        raise SettingsError(_placed(str(error), cls, file, keys)) from None


def _read(file: Path) -> dict[str, Any]:
    content = read_yaml(file)
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise SettingsError(f"{file}: must be a mapping of settings to values")
    return content


def _field(cls: type[Settings], key: str, prefixes: tuple[str, ...]) -> str | None:
    wanted = {key.upper(), *(f"{prefix}{key.upper()}" for prefix in prefixes)}
    fields = [field for field in cls.model_fields if wanted & set(cls.variables(field))]
    return fields[0] if len(fields) == 1 else None


def _no_setting(cls: type[Settings], key: str, prefixes: tuple[str, ...]) -> str:
    known = {
        variable.removeprefix(prefix).lower()
        for variable in cls.names()
        for prefix in prefixes
        if variable.startswith(prefix)
    }
    nearest = min(sorted(known), key=lambda name: edit_distance(key.lower(), name))
    return f"{key} is not a setting (nearest known name: {nearest})"


def _placed(text: str, cls: type[Settings], file: Path | None, keys: Mapping[str, str]) -> str:
    """The lines of a SettingsError; those about values of the file say so."""
    lines = text.splitlines()
    for field, key in keys.items():
        named = " or ".join(cls.variables(field))
        lines = [
            f"{line}, as {key} of {file}" if line.startswith(f"{named} is wrong") else line for line in lines
        ]
    return "\n".join(lines)
