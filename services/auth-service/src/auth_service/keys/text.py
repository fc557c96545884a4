"""The text of an API key, and what may be kept of it (ID-57).

`idgen_{workspace}_{32 of [A-Za-z0-9]}`, `idgen_global_...` for an admin key: 190 random bits, so that a
plain SHA-256 is as strong as the key itself and can be the lookup key of every cache.
"""

import re
import secrets
import string
from collections.abc import Callable

from auth_service.keys.names import GLOBAL, NAME_PATTERN

ALPHABET = string.ascii_letters + string.digits
RANDOM_LENGTH = 32
PREFIX_LENGTH = 16

_KEY = re.compile(rf"idgen_({NAME_PATTERN})_[A-Za-z0-9]{{{RANDOM_LENGTH}}}")


def random_part() -> str:
    """32 characters of [A-Za-z0-9] from the operating system's cryptographic source."""
    return "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))


def new_key_text(workspace: str | None, *, random: Callable[[], str] = random_part) -> str:
    """A new key of `workspace`, or a global admin key for None. Whoever calls this shows it once."""
    return f"idgen_{GLOBAL if workspace is None else workspace}_{random()}"


def key_prefix(text: str) -> str:
    """The first 16 characters, for display and logs only."""
    return text[:PREFIX_LENGTH]


def owner_in(text: str) -> str | None:
    """The workspace name written in a key (`global` for an admin key), None when it is no key at all."""
    match = _KEY.fullmatch(text)
    return match.group(1) if match else None
