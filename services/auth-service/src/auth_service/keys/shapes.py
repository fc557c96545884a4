"""The JSON of the HTTP door (sheet section 12)."""

from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, StrictInt

from auth_service.keys.model import (
    DEFAULT_MAX_BIZ_TAGS,
    DEFAULT_MAX_GROUPS,
    DEFAULT_RATE_LIMIT,
    IssuedKey,
    Key,
    Workspace,
)
from auth_service.keys.requests import KeyRequest, WorkspaceRequest

Item = TypeVar("Item")


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 text")
    return value


def _rfc3339(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[int, PlainSerializer(_rfc3339, return_type=str)]
"""Unix milliseconds within, RFC 3339 outside."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WorkspaceBody(_Body):
    """What POST /workspaces takes."""

    name: str
    description: str | None = None
    max_groups: StrictInt = DEFAULT_MAX_GROUPS
    max_biz_tags: StrictInt = DEFAULT_MAX_BIZ_TAGS

    def request(self) -> WorkspaceRequest:
        """The wish, to be checked by the directory."""
        return WorkspaceRequest(self.name, self.description, self.max_groups, self.max_biz_tags)


class KeyBody(_Body):
    """What POST /api-keys takes. `workspace_id` goes with role `user`, and only with it."""

    name: str
    workspace_id: str | None = None
    description: str | None = None
    role: Literal["admin", "user"] = "user"
    scopes: list[str] = []
    rate_limit: StrictInt = DEFAULT_RATE_LIMIT
    expires_at: Annotated[AwareDatetime, BeforeValidator(_text)] | None = None

    def request(self) -> KeyRequest:
        """The wish, to be checked by the directory."""
        return KeyRequest(
            self.name,
            self.description,
            tuple(self.scopes),
            self.rate_limit,
            None if self.expires_at is None else int(self.expires_at.timestamp() * 1000),
        )


class WorkspaceShape(BaseModel):
    """A workspace."""

    id: str
    name: str
    description: str | None
    max_groups: int
    max_biz_tags: int
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, workspace: Workspace) -> "WorkspaceShape":
        """`workspace` as JSON shows it."""
        return cls(**_workspace_fields(workspace))


class FirstKeyShape(BaseModel):
    """The key made with a workspace; `api_key` is shown this once."""

    id: str
    api_key: str
    key_prefix: str


class NewWorkspaceShape(WorkspaceShape):
    """A workspace that was just made."""

    user_api_key: FirstKeyShape

    @classmethod
    def made(cls, workspace: Workspace, issued: IssuedKey) -> "NewWorkspaceShape":
        """`workspace` and its key as JSON shows them once."""
        first = FirstKeyShape(id=issued.key.id, api_key=issued.text, key_prefix=issued.key.prefix)
        return cls(**_workspace_fields(workspace), user_api_key=first)


class KeyShape(BaseModel):
    """A key, without anything that would let somebody use it."""

    id: str
    workspace_id: str | None
    workspace: str | None
    name: str
    description: str | None
    key_prefix: str
    role: Literal["admin", "user"]
    scopes: list[str]
    rate_limit: int
    enabled: bool
    expires_at: Instant
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, key: Key) -> "KeyShape":
        """`key` as JSON shows it."""
        return cls(**_key_fields(key))


class NewKeyShape(KeyShape):
    """A key that was just made; `api_key` is shown this once."""

    api_key: str

    @classmethod
    def made(cls, issued: IssuedKey) -> "NewKeyShape":
        """The key with its text."""
        return cls(**_key_fields(issued.key), api_key=issued.text)


class RevokedShape(BaseModel):
    """The answer to DELETE /api-keys/{id}."""

    success: Literal[True] = True
    message: str = "the API key is revoked"


class Page(BaseModel, Generic[Item]):
    """One page of a list (ID-49)."""

    items: list[Item]
    total: int
    page: int
    page_size: int


def _workspace_fields(workspace: Workspace) -> dict[str, object]:
    return {
        "id": workspace.id,
        "name": workspace.name,
        "description": workspace.description,
        "max_groups": workspace.max_groups,
        "max_biz_tags": workspace.max_biz_tags,
        "created_at": workspace.created_at_ms,
        "updated_at": workspace.updated_at_ms,
    }


def _key_fields(key: Key) -> dict[str, object]:
    return {
        "id": key.id,
        "workspace_id": key.workspace_id,
        "workspace": key.workspace,
        "name": key.name,
        "description": key.description,
        "key_prefix": key.prefix,
        "role": key.role.value,
        "scopes": list(key.scopes),
        "rate_limit": key.rate_limit,
        "enabled": key.enabled,
        "expires_at": key.expires_at_ms,
        "created_at": key.created_at_ms,
        "updated_at": key.updated_at_ms,
    }
