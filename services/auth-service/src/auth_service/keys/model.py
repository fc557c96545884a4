"""Workspaces and keys as values. None of them ever holds the text of a key, apart from `IssuedKey`."""

from dataclasses import dataclass, field
from enum import Enum

from millrace_runtime.auth.principal import Principal

DAY_MS = 86_400_000
DEFAULT_LIFETIME_MS = 30 * DAY_MS
LONGEST_LIFETIME_MS = 365 * DAY_MS

DEFAULT_RATE_LIMIT = 10_000
"""Requests per second."""

RATE_LIMITS = range(100, 1_000_001)
DEFAULT_MAX_GROUPS = 100
MAX_GROUPS = range(1, 1_001)
DEFAULT_MAX_BIZ_TAGS = 1_000
MAX_BIZ_TAGS = range(1, 10_001)


class Role(Enum):
    """`ADMIN` manages the installation and belongs to no workspace; `USER` works in one."""

    ADMIN = "admin"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant. `id` is a UUID; times are Unix milliseconds."""

    id: str
    name: str
    description: str | None
    max_groups: int
    max_biz_tags: int
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that may be made: checked, but without a text yet. No workspace: a global admin key."""

    workspace: Workspace | None
    name: str
    description: str | None
    scopes: tuple[str, ...]
    rate_limit: int
    expires_at_ms: int

    @property
    def role(self) -> Role:
        """Admin keys are those of no workspace, and the other way round."""
        return Role.ADMIN if self.workspace is None else Role.USER


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as everybody with the right may see it.

    `workspace` and `workspace_id` are None for a global admin key. A key with `enabled` false is revoked,
    which is final. `hash` is the hex SHA-256 of its text; times are Unix milliseconds.
    """

    id: str
    workspace_id: str | None
    workspace: str | None
    name: str
    description: str | None
    hash: str = field(repr=False)
    prefix: str
    role: Role
    scopes: tuple[str, ...]
    rate_limit: int
    enabled: bool
    expires_at_ms: int
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key that was just made, with its text. The text is nowhere else and cannot be had again (ID-57)."""

    key: Key
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyPrincipal(Principal):
    """A verified caller together with the key it showed; goes through the verifier's cache as one value."""

    key: Key


def principal_of(key: Key) -> KeyPrincipal:
    """What services need to know of the holder of `key`."""
    return KeyPrincipal(
        key_id=key.id,
        workspace=key.workspace,
        role=key.role.value,
        scopes=frozenset(key.scopes),
        expires_at_ms=key.expires_at_ms,
        rate_limit=key.rate_limit,
        key=key,
    )
