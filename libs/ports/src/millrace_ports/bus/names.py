"""Names of topics and groups, which every adapter can take as they are."""

import re

from millrace_ports.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST = 200


def checked_name(name: str) -> str:
    """`name` if it can be a topic or group, that is a plain file name. Raises ConfigurationError."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigurationError(f"{name!r} cannot name a topic or group; use letters, digits, '.', '_', '-'")
    return name
