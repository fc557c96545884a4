"""What callers ask for, and whether they may have it. Pure: the same rules for gRPC, HTTP and first start."""

from dataclasses import dataclass, replace

from auth_service.keys.model import (
    DEFAULT_LIFETIME_MS,
    DEFAULT_MAX_BIZ_TAGS,
    DEFAULT_MAX_GROUPS,
    DEFAULT_RATE_LIMIT,
    LONGEST_LIFETIME_MS,
    MAX_BIZ_TAGS,
    MAX_GROUPS,
    RATE_LIMITS,
    NewKey,
    Workspace,
)
from auth_service.keys.names import checked_description, checked_key_name, checked_workspace_name
from auth_service.keys.scopes import checked_scopes
from millrace_runtime.errors import ErrorCode, ServiceError


@dataclass(frozen=True, slots=True)
class WorkspaceRequest:
    """A workspace that is wished for."""

    name: str
    description: str | None = None
    max_groups: int = DEFAULT_MAX_GROUPS
    max_biz_tags: int = DEFAULT_MAX_BIZ_TAGS

    def checked(self) -> "WorkspaceRequest":
        """The same, if every field is allowed.

        Raises:
            ServiceError: INVALID_REQUEST naming the field.
        """
        _require_within("max_groups", self.max_groups, MAX_GROUPS)
        _require_within("max_biz_tags", self.max_biz_tags, MAX_BIZ_TAGS)
        return replace(
            self, name=checked_workspace_name(self.name), description=checked_description(self.description)
        )


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key that is wished for. `expires_at_ms` None: 30 days from now; no scopes: the defaults."""

    name: str
    description: str | None = None
    scopes: tuple[str, ...] = ()
    rate_limit: int = DEFAULT_RATE_LIMIT
    expires_at_ms: int | None = None

    def checked(self, workspace: Workspace | None, *, now_ms: int) -> NewKey:
        """The key of `workspace` (None: a global admin key), if every field is allowed.

        Raises:
            ServiceError: INVALID_REQUEST naming the field, and the scope if it is one.
        """
        _require_within("rate_limit", self.rate_limit, RATE_LIMITS)
        return NewKey(
            workspace=workspace,
            name=checked_key_name(self.name),
            description=checked_description(self.description),
            scopes=checked_scopes(self.scopes, admin=workspace is None),
            rate_limit=self.rate_limit,
            expires_at_ms=_checked_expiry(self.expires_at_ms, now_ms),
        )


def _checked_expiry(expires_at_ms: int | None, now_ms: int) -> int:
    if expires_at_ms is None:
        return now_ms + DEFAULT_LIFETIME_MS
    if not now_ms < expires_at_ms <= now_ms + LONGEST_LIFETIME_MS:
        raise _refused("expires_at", "must be in the future, at most 365 days from now")
    return expires_at_ms


def _require_within(field: str, value: int, allowed: range) -> None:
    if value not in allowed:
        raise _refused(field, f"must be {allowed[0]} to {allowed[-1]}")


def _refused(field: str, why: str) -> ServiceError:
    return ServiceError(ErrorCode.INVALID_REQUEST, f"{field}: {why}", details={"field": field})
