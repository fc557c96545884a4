"""What an administrator does with workspaces and keys: the part both doors share."""

import asyncio
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service import metrics as names
from auth_service.database.engine import reading, writing
from auth_service.keys import store
from auth_service.keys.model import IssuedKey, Key, Role, Workspace
from auth_service.keys.requests import KeyRequest, WorkspaceRequest
from auth_service.keys.scopes import WORKSPACE_KEY
from auth_service.keys.text import new_key_text
from millrace_runtime.auth import CachedVerifier, Principal
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger
from millrace_runtime.metrics import Metrics

log = get_logger(__name__)


class KeyDirectory:
    """Creates, lists and revokes, each in one transaction. Who may call it is the doors' matter; `actor`
    is the caller, for the log. Every method raises UNAVAILABLE when the database cannot be used."""

    def __init__(
        self, engine: AsyncEngine, verifier: CachedVerifier, *, clock: Clock, metrics: Metrics
    ) -> None:
        self._engine = engine
        self._verifier = verifier
        self._clock = clock
        self._workspaces_created = metrics.counter(names.WORKSPACES_CREATED)
        self._keys_created = metrics.counter(names.KEYS_CREATED)
        self._keys_revoked = metrics.counter(names.KEYS_REVOKED)

    async def create_workspace(self, request: WorkspaceRequest, *, actor: Principal) -> Workspace:
        """Add a workspace without keys.

        Raises:
            ServiceError: INVALID_REQUEST naming the field; ALREADY_EXISTS.
        """
        checked = request.checked()
        async with writing(self._engine) as connection:
            workspace = await store.insert_workspace(connection, checked, now_ms=self._clock.now_ms())
        self._tell_workspace(workspace, actor)
        return workspace

    async def create_workspace_with_key(
        self, request: WorkspaceRequest, *, actor: Principal
    ) -> tuple[Workspace, IssuedKey]:
        """Add a workspace together with a user key `default` of all five scopes of ID-60.

        Raises:
            ServiceError: as `create_workspace`.
        """
        checked = request.checked()
        key = KeyRequest("default", scopes=WORKSPACE_KEY)
        async with writing(self._engine) as connection:
            workspace = await store.insert_workspace(connection, checked, now_ms=self._clock.now_ms())
            issued = await self._issue(connection, workspace, key)
        self._tell_workspace(workspace, actor)
        self._tell_key(issued.key, actor)
        return workspace, issued

    async def list_workspaces(
        self, *, only: str | None, offset: int, limit: int
    ) -> tuple[list[Workspace], int]:
        """A page of workspaces by name, and how many there are; `only` narrows to one name."""
        async with reading(self._engine) as connection:
            return await store.list_workspaces(connection, only=only, offset=offset, limit=limit)

    async def create_admin_key(self, request: KeyRequest, *, actor: Principal) -> IssuedKey:
        """Make a global admin key.

        Raises:
            ServiceError: INVALID_REQUEST naming the field; ALREADY_EXISTS while another admin key is
                enabled (ID-59).
        """
        async with writing(self._engine) as connection:
            issued = await self._issue(connection, None, request)
        self._tell_key(issued.key, actor)
        return issued

    async def create_user_key(
        self,
        request: KeyRequest,
        *,
        workspace: str | None = None,
        workspace_id: str | None = None,
        actor: Principal,
    ) -> IssuedKey:
        """Make a user key of the workspace with this name or this id.

        Raises:
            ServiceError: INVALID_REQUEST naming the field; WORKSPACE_NOT_FOUND; ALREADY_EXISTS when the
                workspace has a key of this name.
        """
        async with writing(self._engine) as connection:
            owner = await _existing_workspace(connection, workspace, workspace_id)
            issued = await self._issue(connection, owner, request)
        self._tell_key(issued.key, actor)
        return issued

    async def list_keys(
        self, *, workspace: str | None = None, offset: int = 0, limit: int | None = None
    ) -> tuple[list[Key], int]:
        """A page of keys, oldest first, and how many there are; revoked ones are among them.

        Raises:
            ServiceError: WORKSPACE_NOT_FOUND when `workspace` names none.
        """
        async with reading(self._engine) as connection:
            if workspace is not None:
                await _existing_workspace(connection, workspace, None)
            return await store.list_keys(connection, workspace=workspace, offset=offset, limit=limit)

    async def revoke_key(self, key_id: str, *, actor: Principal) -> Key:
        """Revoke a key for good. True for every check that begins after the return, also when another
        check reads the key from the database at the same moment. A revoked key stays as it is.

        Raises:
            ServiceError: NOT_FOUND; QUOTA_EXCEEDED for the last enabled admin key (ID-59).
        """
        # A caller that hangs up must not stop us between the commit and the eviction.
        return await asyncio.shield(self._revoke(key_id, actor))

    async def _revoke(self, key_id: str, actor: Principal) -> Key:
        found: Key | None = None
        now_ms = self._clock.now_ms()
        try:
            async with writing(self._engine) as connection:
                found = await store.key_by_id(connection, key_id)
                if found is None:
                    raise ServiceError(ErrorCode.NOT_FOUND, "no API key has this id")
                if not found.enabled:
                    return found
                if found.role is Role.ADMIN:  # there is never a second enabled one, so this is the last
                    raise ServiceError(
                        ErrorCode.QUOTA_EXCEEDED, "the last enabled admin key cannot be revoked"
                    )
                await store.disable_key(connection, key_id, now_ms=now_ms)
        finally:
            # Also when it is unknown what became of the commit: to forget a key costs one query.
            if found is not None:
                self._verifier.evict(found.hash)
        self._keys_revoked.inc()
        log.info("key_revoked", key_id=found.id, key_prefix=found.prefix, actor=actor.key_id)
        return replace(found, enabled=False, updated_at_ms=now_ms)

    async def _issue(
        self, connection: AsyncConnection, workspace: Workspace | None, request: KeyRequest
    ) -> IssuedKey:
        now_ms = self._clock.now_ms()
        new = request.checked(workspace, now_ms=now_ms)
        text = new_key_text(workspace.name if workspace else None)
        return IssuedKey(await store.insert_key(connection, new, text, now_ms=now_ms), text)

    def _tell_workspace(self, workspace: Workspace, actor: Principal) -> None:
        self._workspaces_created.inc()
        log.info("workspace_created", workspace=workspace.name, actor=actor.key_id)

    def _tell_key(self, key: Key, actor: Principal) -> None:
        self._keys_created.inc()
        log.info(
            "key_created",
            key_id=key.id,
            key_prefix=key.prefix,
            workspace=key.workspace,
            role=key.role.value,
            actor=actor.key_id,
        )


async def _existing_workspace(
    connection: AsyncConnection, name: str | None, workspace_id: str | None
) -> Workspace:
    if name is not None:
        found = await store.workspace_named(connection, name)
    else:
        found = await store.workspace_by_id(connection, workspace_id or "")
    if found is None:
        raise ServiceError(ErrorCode.WORKSPACE_NOT_FOUND, "there is no such workspace")
    return found
