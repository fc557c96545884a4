"""YAML files that people write: what cannot be read is an error that names file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from millrace_runtime.settings import SettingsError


def read_yaml(file: Path) -> Any:
    """What the file says, None when it says nothing. Raises SettingsError."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"{file}: cannot be read: {reason or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: a number or date that there is not, such as 2026-02-30.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{file}{where}: not YAML: {getattr(error, 'problem', None) or error}") from None
