"""Workspaces and keys in the relational store.

Functions over an open connection, so that a caller decides what belongs in one transaction
(`database.engine.writing`). They keep the invariants of the tables and know nothing of callers' rights.
"""

from collections.abc import Sequence
from dataclasses import asdict
from uuid import uuid4

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.database.tables import api_keys, workspaces
from auth_service.keys.model import Key, NewKey, Role, Workspace
from auth_service.keys.names import is_storable
from auth_service.keys.requests import WorkspaceRequest
from auth_service.keys.text import key_prefix
from millrace_runtime.auth import key_hash
from millrace_runtime.errors import ErrorCode, ServiceError

_KEYS = select(api_keys, workspaces.c.name.label("workspace")).join(
    workspaces, workspaces.c.id == api_keys.c.workspace_id, isouter=True
)


async def insert_workspace(
    connection: AsyncConnection, request: WorkspaceRequest, *, now_ms: int
) -> Workspace:
    """Add a workspace that was checked.

    Raises:
        ServiceError: ALREADY_EXISTS when one has this name.
    """
    workspace = Workspace(
        id=str(uuid4()),
        name=request.name,
        description=request.description,
        max_groups=request.max_groups,
        max_biz_tags=request.max_biz_tags,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )
    try:
        await connection.execute(insert(workspaces).values(asdict(workspace)))
    except IntegrityError as error:
        raise ServiceError(ErrorCode.ALREADY_EXISTS, f"workspace {workspace.name} exists already") from error
    return workspace


async def workspace_named(connection: AsyncConnection, name: str) -> Workspace | None:
    """The workspace of this name."""
    if not is_storable(name):
        return None
    row = (await connection.execute(select(workspaces).where(workspaces.c.name == name))).one_or_none()
    return _workspace(row) if row is not None else None


async def workspace_by_id(connection: AsyncConnection, workspace_id: str) -> Workspace | None:
    """The workspace of this id."""
    if not is_storable(workspace_id):
        return None
    row = (await connection.execute(select(workspaces).where(workspaces.c.id == workspace_id))).one_or_none()
    return _workspace(row) if row is not None else None


async def list_workspaces(
    connection: AsyncConnection, *, only: str | None, offset: int, limit: int
) -> tuple[list[Workspace], int]:
    """A page of the workspaces by name, and how many there are; `only` narrows to one name."""
    asked = select(workspaces) if only is None else select(workspaces).where(workspaces.c.name == only)
    rows, total = await _page(connection, asked.order_by(workspaces.c.name), offset, limit)
    return [_workspace(row) for row in rows], total


async def insert_key(connection: AsyncConnection, new: NewKey, text: str, *, now_ms: int) -> Key:
    """Store a key by the hash and the prefix of its `text`, never the text.

    Raises:
        ServiceError: ALREADY_EXISTS when the workspace has a key of this name, or when an enabled admin
            key exists and this would be the second (ID-59).
    """
    key = Key(
        id=str(uuid4()),
        workspace_id=new.workspace.id if new.workspace else None,
        workspace=new.workspace.name if new.workspace else None,
        name=new.name,
        description=new.description,
        hash=key_hash(text),
        prefix=key_prefix(text),
        role=new.role,
        scopes=new.scopes,
        rate_limit=new.rate_limit,
        enabled=True,
        expires_at_ms=new.expires_at_ms,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )
    try:
        await connection.execute(
            insert(api_keys).values(
                id=key.id,
                workspace_id=key.workspace_id,
                name=key.name,
                description=key.description,
                key_hash=key.hash,
                key_prefix=key.prefix,
                role=key.role.value,
                scopes=list(key.scopes),
                rate_limit=key.rate_limit,
                enabled=True,
                expires_at_ms=key.expires_at_ms,
                created_at_ms=now_ms,
                updated_at_ms=now_ms,
            )
        )
    except IntegrityError as error:
        raise ServiceError(ErrorCode.ALREADY_EXISTS, _conflict(key)) from error
    return key


async def key_by_id(connection: AsyncConnection, key_id: str) -> Key | None:
    """The key of this public id."""
    if not is_storable(key_id):
        return None
    return _key_or_none((await connection.execute(_KEYS.where(api_keys.c.id == key_id))).one_or_none())


async def key_by_hash(connection: AsyncConnection, hashed: str) -> Key | None:
    """The key whose text has this hash. One probe of a unique index over digests, so that its time says
    nothing about the text."""
    return _key_or_none((await connection.execute(_KEYS.where(api_keys.c.key_hash == hashed))).one_or_none())


async def enabled_admin(connection: AsyncConnection) -> Key | None:
    """The one admin key that is not revoked."""
    asked = _KEYS.where(api_keys.c.enabled, api_keys.c.role == Role.ADMIN.value)
    return _key_or_none((await connection.execute(asked)).one_or_none())


async def list_keys(
    connection: AsyncConnection, *, workspace: str | None, offset: int = 0, limit: int | None = None
) -> tuple[list[Key], int]:
    """A page of the keys, oldest first, and how many there are; `workspace` narrows to one name."""
    asked = _KEYS if workspace is None else _KEYS.where(workspaces.c.name == workspace)
    rows, total = await _page(
        connection, asked.order_by(api_keys.c.created_at_ms, api_keys.c.id), offset, limit
    )
    return [_key(row) for row in rows], total


async def disable_key(connection: AsyncConnection, key_id: str, *, now_ms: int) -> None:
    """Revoke a key for good. Revoking it again changes nothing."""
    await connection.execute(
        update(api_keys)
        .where(api_keys.c.id == key_id, api_keys.c.enabled)
        .values(enabled=False, updated_at_ms=now_ms)
    )


async def extend_key(connection: AsyncConnection, key_id: str, *, expires_at_ms: int, now_ms: int) -> None:
    """Set a new end of a key's life."""
    await connection.execute(
        update(api_keys)
        .where(api_keys.c.id == key_id)
        .values(expires_at_ms=expires_at_ms, updated_at_ms=now_ms)
    )


async def _page(
    connection: AsyncConnection, asked: Select[*tuple[object, ...]], offset: int, limit: int | None
) -> tuple[Sequence[Row[*tuple[object, ...]]], int]:
    total = await connection.scalar(select(func.count()).select_from(asked.order_by(None).subquery()))
    rows = (await connection.execute(asked.offset(offset).limit(limit))).all()
    return rows, total or 0


def _conflict(key: Key) -> str:
    if key.role is Role.ADMIN:
        return "an enabled admin key exists; there is only one at a time"
    return f"workspace {key.workspace} has a key of this name already"


def _workspace(row: Row[*tuple[object, ...]]) -> Workspace:
    return Workspace(**row._mapping)


def _key_or_none(row: Row[*tuple[object, ...]] | None) -> Key | None:
    return None if row is None else _key(row)


def _key(row: Row[*tuple[object, ...]]) -> Key:
    found = row._mapping
    return Key(
        id=found["id"],
        workspace_id=found["workspace_id"],
        workspace=found["workspace"],
        name=found["name"],
        description=found["description"],
        hash=found["key_hash"],
        prefix=found["key_prefix"],
        role=Role(found["role"]),
        scopes=tuple(found["scopes"]),
        rate_limit=found["rate_limit"],
        enabled=found["enabled"],
        expires_at_ms=found["expires_at_ms"],
        created_at_ms=found["created_at_ms"],
        updated_at_ms=found["updated_at_ms"],
    )
